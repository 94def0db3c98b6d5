"""The tests of money: a shop with sellers, a buyer who pays through the running sandbox PSP, and the oracle at the end.

Whoever uses `shop` (or `books_hold`) works with real commits, and ends with every invariant holding and with books that equal the
sandbox's own journal.  Nothing is mocked and nothing sleeps: time is the `now` that is handed to the executor.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from djmoney.money import Money

from config import celery
from payments import claims, confirmation, executor, intake, queries, refund_executor, tenders
from payments.claims import Work
from payments.confirmation import Confirmed
from payments.management import buyer
from payments.models import DueOrder, PaymentEvent, PaymentOrder
from payments.psp import registry
from payments.psp.protocol import Charged, Psp, Session, SessionRequest
from payments.psp.sandbox import SandboxPsp
from payments.settlement import Capture
from payments.states import PAYABLE
from payments.verdicts import Outcome
from payouts.providers import registry as banks
from payouts.providers.sandbox import SandboxBank
from reconciliation import invariants
from tests.factories import basket, new_sellers, new_shop
from tests.fixtures_services import SandboxCompany, admin_url, running_sandbox
from wallet.models import Seller, Shop

VISA = "4242424242424242"
DECLINED = "4000000000000002"
ROUNDS = 12  # eighteen hours: less than a PSP remembers a key

Answer = TypeVar("Answer")
__all__ = ["celery"]  # views and tasks ring on its broker


def pytest_configure() -> None:
    os.environ["SANDBOX_PENDING_S"] = "2"  # how long the sandbox leaves a pending charge or refund pending


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with a living worker last: from its first test to the end of the session it would take part in all others."""
    items.sort(key=lambda item: "live_house" in getattr(item, "fixturenames", ()))


# --- The oracle -----------------------------------------------------------------------------------------------------


@dataclass
class Oracle:
    """The sandbox's journal, read on from where it was read before, so that each test sees its own rows."""

    sandbox: SandboxCompany
    read: list[dict[str, Any]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Take all that happened so far for somebody else's, and whatever still becomes of it."""
        self.rows()
        self.known |= {row["object_id"] for row in self.read} | {row["key"] for row in self.read if row["key"]}
        self.read = self.read[-1:]

    def rows(self, *types: str) -> list[dict[str, Any]]:
        """Return this test's rows, oldest first, of the given types."""
        more = True
        while more:
            after = self.read[-1]["seq"] if self.read else 0
            page = self.sandbox.client.get("/v1/journal", params={"after": after, "limit": 1000}).json()
            self.read += page["data"]
            more = page["has_more"]
        mine = [row for row in self.read if self.known.isdisjoint((row["object_id"], row["key"]))]
        return [row for row in mine if not types or row["type"] in types]

    def explain(self, object_id: str) -> None:
        """Leave a charge or refund out from now on: the test has shown that it is not in our books, and why."""
        self.known.add(object_id)

    def wait_for(self, *types: str, count: int) -> list[dict[str, Any]]:
        """Ask the PSP until so many things of these types have happened; it asks for a quarter of a minute at most."""
        until = time.monotonic() + 15
        while len(rows := self.rows(*types)) < count:
            assert time.monotonic() < until, f"{count} of {types} were awaited, and there are {rows}"
            self.sandbox.letterbox.wait(0.02)
        return rows

    def charged(self) -> list[str]:
        """Return the references that were charged, each as often as it was, in order."""
        return sorted(row["reference"] for row in self.rows("charge.succeeded"))


@pytest.fixture(scope="session")
def journal_readers() -> dict[str, Oracle]:
    """Give the readers that there are, by the API key of the sandbox whose journal they read."""
    return {}


@pytest.fixture
def journal_reader(sandbox: SandboxCompany, journal_readers: dict[str, Oracle]) -> Oracle:
    """Give the one reader of this sandbox's journal: what it has read it does not read again."""
    if sandbox.api_key not in journal_readers:
        journal_readers[sandbox.api_key] = Oracle(sandbox)
        registry.psp_named.cache_clear()  # an adapter made before the sandbox ran would not know where it is
        banks.provider_named.cache_clear()
    return journal_readers[sandbox.api_key]


@pytest.fixture
def oracle(journal_reader: Oracle) -> Oracle:
    """Give what the PSP says happened in this test."""
    journal_reader.begin()
    return journal_reader


@pytest.fixture
def books_hold(real_db: None, sandbox: SandboxCompany, oracle: Oracle) -> Iterator[None]:
    """End the test with every invariant holding, and with books that are the sandbox's journal to the minor unit."""
    yield
    assert invariants.violations() == []
    assert invariants.differences_from(oracle.rows(), psp="sandbox") == []
    assert invariants.receivable_differs_from(oracle.rows(), psp="sandbox") == []


# --- A sandbox of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def own_sandbox(worker_name: str, tmp_path: Path) -> Iterator[SandboxCompany]:
    """Give a sandbox that no test has used before: nothing was paid, paid out or closed there, and its balance is zero.

    For tests of its days: on the one that all share, refunds and disputes of others may leave nothing to be paid of a day's charges, and
    these are carried over.
    A module says so by a fixture `sandbox` of its own, which is this one.
    """
    with running_sandbox(f"{worker_name}_own", logs=tmp_path) as company:
        hang_up()
        for adapter_named in (registry.psp_named, banks.provider_named):
            adapter_named("sandbox")  # made once, before several threads ask for it at the same moment
        yield company
        hang_up()


def hang_up() -> None:
    """Close our lines to the PSP and to the bank, which must be running: the next call finds out anew where they are."""
    psp = registry.psp_named(SandboxPsp.name)
    if isinstance(psp, SandboxPsp):
        psp.close()
    registry.psp_named.cache_clear()
    bank = banks.provider_named(SandboxBank.name)
    if isinstance(bank, SandboxBank):
        bank.close()
    banks.provider_named.cache_clear()


# --- Who sells, and who buys ----------------------------------------------------------------------------------------


@pytest.fixture
def shop(books_hold: None) -> Shop:
    return new_shop()


@pytest.fixture
def sellers(shop: Shop) -> list[Seller]:
    return new_sellers(shop, "Ada", "Bolt", "Cleo")


@pytest.fixture
def open_payment(shop: Shop, sellers: list[Seller]) -> Callable[..., PaymentEvent]:
    """Open a checkout: `open_payment("24.90", "89.00")` is two orders, of the first and the second seller, in euros."""

    def open_(*amounts: str, **terms: Any) -> PaymentEvent:
        chosen = terms.pop("sellers", sellers)
        asked = basket(chosen, *(amounts or ("24.90", "89.00", "14.50")), **terms)
        event, _is_new = intake.open_event(shop, asked, now=timezone.now())
        return event

    return open_


@pytest.fixture
def pay() -> Callable[..., PaymentEvent]:
    """Pay as the buyer and the worker do: card on the PSP's page, one confirmation, the executor until nothing is due."""
    return pay_with_card


def pay_with_card(event: PaymentEvent, card: str = VISA) -> PaymentEvent:
    confirm_card(event, card)
    executor.execute_due_orders(now=timezone.now())
    event.refresh_from_db()
    return event


def confirm_card(event: PaymentEvent, card: str = VISA, *, now: datetime | None = None) -> list[PaymentOrder]:
    """Give the card to the PSP and confirm what is left to pay; nothing is charged before the executor runs."""
    return confirmation.confirm(event.pk, card_given(event, card), now=now or timezone.now())


def card_given(event: PaymentEvent, card: str = VISA, *, tab: str = "") -> Confirmed:
    """Let the buyer give a card for what no gift card or wallet pays; return what the PSP then says, ready to be confirmed."""
    event.refresh_from_db()
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    to_charge = tenders.plan(event, queries.sum_of(payable), now=timezone.now()).rest
    session = session_for(to_charge, card, nonce=f"{event.public_id}:{event.confirmations + 1}{tab}")
    return Confirmed.by(session)


def session_for(amount: Money, card: str, *, nonce: str) -> Session:
    """Open a session of the PSP, give the card on the PSP's own page, and ask the PSP how the session stands."""
    psp = registry.psp_named("sandbox")
    origin = settings.PUBLIC_URL
    asked = SessionRequest(nonce, amount, origin, return_url="https://shop.example/thanks", locale="en", description="basket")
    session = psp.open_session(asked)
    buyer.give_card(session.hosted_url, number=card)
    return psp.session(session.id)


def charge_and_keep_the_answer(event: PaymentEvent, card: str = VISA) -> list[tuple[Work, Outcome]]:
    """Confirm, claim and charge, and die before the answers are handed over: what the PSP did, and we do not know yet."""
    confirm_card(event, card)
    works = claims.claim_due(now=timezone.now(), limit=1000)
    return sorted((pair for batch in executor.call_all(works) for pair in batch), key=lambda pair: pair[0].order_id)


def captures_of(answered: Sequence[tuple[Work, Outcome]]) -> list[Capture]:
    return [executor.capture_of(work, outcome) for work, outcome in answered if isinstance(outcome, Charged)]


def execute_until_settled() -> int:
    """Run the executor with a clock that jumps an hour and a half a round, until nothing is due; return the rounds it took."""
    for passed in range(ROUNDS):
        if not DueOrder.objects.exists():
            return passed
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=90 * passed))
    raise AssertionError(f"still due after {ROUNDS} rounds: {list(DueOrder.objects.all())}")


def execute_refunds(*, now: datetime) -> None:
    """Execute the refunds that are due at that time, one after the other, as the worker does."""
    while refund_executor.execute_due_refunds(now=now):
        pass


def statuses(event: PaymentEvent) -> list[str]:
    """Return the orders' statuses, in the basket's order."""
    return list(event.orders.order_by("id").values_list("status", flat=True))


# --- Another PSP adapter --------------------------------------------------------------------------------------------


@pytest.fixture
def use_psp(monkeypatch: pytest.MonkeyPatch) -> Callable[[Psp], Psp]:
    """Put an adapter in the place of the configured one."""

    def use(psp: Psp) -> Psp:
        monkeypatch.setattr(registry, "psp_named", _Only(psp))
        return psp

    return use


class _Only:
    """A registry of one."""

    def __init__(self, psp: Psp) -> None:
        self._psp = psp

    def __call__(self, name: str) -> Psp:
        return self._psp

    def cache_clear(self) -> None:
        """There is nothing cached."""


def sandbox_psp(sandbox: SandboxCompany, **terms: Any) -> SandboxPsp:
    """Return an adapter of the running sandbox; `read_timeout_s`, `api_key` and `url` may say otherwise."""
    said: dict[str, Any] = {
        "url": sandbox.url,
        "api_key": sandbox.api_key,
        "account": sandbox.account,
        "webhook_secrets": [sandbox.webhook_secret],
    }
    return SandboxPsp(**(said | terms))


# --- Threads --------------------------------------------------------------------------------------------------------

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def all_at_once(*calls: Callable[[], Answer]) -> list[Answer | Exception]:
    """Make all calls at the same moment, each in a thread and on a connection of its own; return answers and errors in order."""
    barrier = threading.Barrier(len(calls), timeout=30)
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Answer]) -> None:
        with closing(connection):
            try:
                connection.ensure_connection()
                barrier.wait()
                answers[place] = call()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                answers[place] = error

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "somebody still waits after a minute"
    return answers


def wait_until_somebody_waits() -> None:
    """Wait until another connection to this database waits for a lock, inside the caller's transaction."""
    until = time.monotonic() + 30
    with connection.cursor() as cursor:
        while cursor.execute(WAITING).fetchone() == (0,):
            assert time.monotonic() < until, "nobody waits for a lock"
            cursor.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")


def errors_in(answers: Sequence[object]) -> list[Exception]:
    return [answer for answer in answers if isinstance(answer, Exception)]


def environment_of_a_child() -> dict[str, str]:
    """Return the environment in which another process works on this test's database and with this test's sandbox."""
    database = str(connection.settings_dict["NAME"])
    return os.environ | {
        "DATABASE_URL": admin_url(database),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "ERROR",
    }
