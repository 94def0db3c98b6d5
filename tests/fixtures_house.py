"""The whole house for a test: our web server, a real Celery worker with beat on the real broker, the sandbox PSP, and a browser.

`live_house` opens checkouts and waits for what the worker does; it ends by checking the invariants and comparing the books with the
sandbox's journal.  `page` is a tab of Debian's Chromium that fails the test on any console error or Content-Security-Policy report.
"""

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from config.supervisor import Child, log_line, stop_together, wait_until_ready
from ledger.money import exact
from payments import intake
from payments.intake import NewOrder, NewPayment
from payments.models import PaymentEvent
from payments.psp import registry
from reconciliation import invariants
from tests.fixtures_services import ROOT, SandboxCompany, admin_url
from wallet.models import Seller, Shop

PATIENCE_MS = 15_000  # a machine may be busy with other things

NAMES = ("Ada's Books", "Bolt Bikes", "Cleo Ceramics", "Dune Audio", "Emi Tea House")
DEADLINE_S = 30


@dataclass(frozen=True)
class LiveHouse:
    """Our site at `url`, with a worker behind it and the sandbox beside it."""

    url: str
    sandbox: SandboxCompany
    shop: Shop

    def checkout(
        self,
        *,
        sellers: int = 3,
        amounts: Sequence[str] = ("24.90", "89.00", "14.50"),
        currency: str = "EUR",
        locale: str = "en",
        signed_in: bool = False,
    ) -> str:
        """Open a checkout of so many sellers and return the address of its page."""
        known = [Seller.objects.get_or_create(shop=self.shop, name=name)[0] for name in NAMES[:sellers]]
        orders = [
            NewOrder(
                seller.public_id,
                exact(amount, currency),
                items=[{"name": f"Thing of {seller.name}", "quantity": 1, "amount": {"amount": amount, "currency": currency}}],
            )
            for seller, amount in zip(known, amounts, strict=False)
        ]
        payment = NewPayment(
            checkout_id=f"test-{secrets.token_hex(6)}",
            buyer_reference="buyer",
            buyer_name="Rosa Martín",
            buyer_email="rosa@example.com",
            buyer_signed_in=signed_in,
            orders=orders,
            return_url=f"{self.sandbox.url}/shop/thanks",
            locale=locale,
        )
        event, _is_new = intake.open_event(self.shop, payment, now=timezone.now())
        return f"{self.url}/checkout/{event.token}"

    def payment(self, checkout_url: str) -> PaymentEvent:
        """Return the event behind the address of a checkout page, as it stands now."""
        token = checkout_url.split("/checkout/")[1].split("/")[0].split("?")[0]
        return PaymentEvent.objects.get(token=token)

    def wait_until(self, holds: Callable[[], bool], *, what: str) -> None:
        """Wait for something that the worker does; fail after DEADLINE_S."""
        until = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < until, f"{what}: not within {DEADLINE_S} s"
            time.sleep(0.05)

    def charges_of(self, event: PaymentEvent) -> list[dict[str, object]]:
        """Return what the sandbox's journal says it charged for the event's orders."""
        references = set(event.orders.values_list("public_id", flat=True))
        return [row for row in self.sandbox.journal(type="charge.succeeded") if row["reference"] in references]


@pytest.fixture
def live_house(site: str, sandbox: SandboxCompany, worker: None) -> Iterator[LiveHouse]:
    """Give the running house; afterwards the invariants hold and the books are those of the sandbox's journal."""
    forget_adapters()
    sandbox.letterbox.forward_to = f"{site}/webhooks/psp/sandbox"
    before = len(sandbox.journal())
    yield LiveHouse(site, sandbox, Shop.objects.create(name="Northwind", return_origins=[sandbox.url]))
    assert invariants.violations() == []
    assert invariants.differences_from(sandbox.journal()[before:], psp="sandbox") == []
    forget_adapters()


def forget_adapters() -> None:
    """Hang up, and let the next one who asks make an adapter for the addresses of that time."""
    if registry.psp_named.cache_info().currsize:
        registry.psp_named("sandbox").close()  # type: ignore[attr-defined]
    registry.psp_named.cache_clear()


@pytest.fixture(scope="session")
def worker(sandbox_company: SandboxCompany, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a real Celery worker with beat on this test's database and the real broker."""
    directory = tmp_path_factory.mktemp("worker")
    environment = os.environ | {
        "DATABASE_URL": admin_url(str(connection.settings_dict["NAME"])),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    schedule = f"--schedule={directory / 'beat'}"
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "config",
        "worker",
        "-B",
        schedule,
        "-Q",
        "money,webhooks,bulk",
        "--concurrency=2",
        "--loglevel=INFO",
    ]
    child = Child("worker", command=command, log=directory / "worker.log", env=environment, cwd=ROOT)
    child.stop_signal = signal.SIGQUIT  # at once: nobody waits for its work any more
    child.when(log_line("ready.")).start()
    try:
        wait_until_ready([child])
        yield
    finally:
        stop_together([child])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give Debian's Chromium, headless."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE_MS)  # on every tab, a test's own as well
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # playwright's loop lives in our thread; our queries do not run on it
        chromium = playwright.chromium.launch(executable_path=path, args=[*arguments, "--disable-gpu", "--disable-background-networking"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Give a tab whose console stays empty."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(said(message)) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.set_default_timeout(PATIENCE_MS)
    yield tab
    context.close()
    assert complaints == []


def said(message: ConsoleMessage) -> str:
    return f"{message.type}: {message.text} ({message.location.get('url')})"
