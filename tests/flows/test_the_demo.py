"""The demo's story: what a visitor finds there was bought, delivered and paid out the usual way, and is told once."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.urls import reverse

from ledger import approvals, clock
from ledger.models import Approval, JournalEntry
from payments import executor as payments_executor
from payments.management import stories
from payments.management.stories import STORIES
from payments.models import DueOrder, PaymentEvent, PaymentOrder
from payouts import conversions, executor, queries, seller_home, views
from payouts.models import BankAccount, Payout
from payouts.states import PayoutStatus
from reconciliation import expected
from reconciliation.management.commands import demo_finance
from reconciliation.models import Mismatch, Proposal
from reconciliation.roles import Role
from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from wallet import rates
from wallet.models import Seller, SellerHold, Shop, Wallet

THREE_DAYS = timedelta(hours=72)


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.fixture
def test_clock(sandbox: SandboxCompany, settings: Any, tmp_path: Path) -> None:
    """Move both sides to a day that is a few days after the last one that the sandbox has closed."""
    settings.TEST_CLOCK_FILE, settings.DEMO_SHOWN_FILE = str(tmp_path / "clock"), str(tmp_path / "shown.json")
    sandbox.client.post("/control/end_day").raise_for_status()
    demo_finance.put_clock(timedelta(seconds=sandbox.client.get("/v1/clock").json()["offset_s"], days=4))


def tell_the_story() -> None:
    call_command("demo_finance")
    call_command("demo_data")
    call_command("demo_payouts")


def own_clock_of(sandbox: SandboxCompany) -> int:
    return int(sandbox.client.get("/v1/clock").json()["offset_s"])


def what_stands() -> list[int]:
    return [model.objects.count() for model in (JournalEntry, Payout, BankAccount, SellerHold, Mismatch, Approval, User)]


def statuses() -> dict[str, str]:
    return dict(Payout.objects.values_list("seller__reference", "status"))


def require_something_for_finance_to_do() -> None:
    """Find three days that were sold and compared, faults of several kinds, and a proposal and an approval that wait for the checker."""
    assert User.objects.get(username="checker").groups.get().name == Role.CHECKER
    ours = set(PaymentOrder.objects.values_list("public_id", flat=True))
    open_ones = Mismatch.objects.filter(resolved_at=None)
    assert sorted(kind for kind, about in open_ones.values_list("kind", "subject") if about in ours) == ["amount", "duplicate", "fee"]
    assert {bool(line.bank_line_id) for line in open_ones.filter(kind="missing_here", subject="")} == {True, False}
    assert Proposal.objects.get(status=Proposal.Status.WAITING).made_by == "staff:maker"
    assert approvals.waiting().get().made_by == "staff:maker"
    assert PaymentOrder.objects.exclude(settled_at=None).values("created_at__date").distinct().count() == len(demo_finance.DAYS)
    assert not PaymentOrder.objects.filter(settled_at__lt=F("created_at")).exists()


def pressed(client: Client, event: PaymentEvent, what: str, **form: str) -> Any:
    return client.post(reverse(f"checkout-{what}", args=[event.token]), form, headers={"Accept": "application/json"})


def require_every_story_to_be_ready(shop: Shop) -> None:
    """Find a checkout for each, asked for twice the same, whose page opens in its language and offers what it is about."""
    for story in STORIES:
        event = stories.checkout_of(shop, story, now=clock.now())
        assert stories.checkout_of(shop, story, now=clock.now()) == event
        page = Client().get(reverse("checkout", args=[event.token]))
        assert (page.status_code, page["Content-Language"], page.context["state"]) == (200, story.basket.locale, "pay"), story.name
        offered = {method.name: method.disabled_reason for method in page.context["methods"]}
        wanted = {"digital-wallet": "digital_wallet", "qr": "qr", "pay-later": "pay_later"}.get(story.name, "card")
        assert offered[wanted] == "", story.name
        assert bool(page.context["saved_cards"]) == story.basket.signed_in, story.name
        assert page.context["may_use_gift_card"] or not story.gift_card
    assert Shop.objects.get(pk=shop.pk).logo


def require_stories_that_can_be_paid(shop: Shop, codes: dict[str, str]) -> None:
    """Pay by gift card, from the wallet, with the saved card; the next visitor finds each ready again, with a card of which all is there.

    The codes from before a start are over: a start makes new ones.
    """
    now = clock.now()
    assert set(codes) == {"gift-card", "gift-card-and-card"}
    assert not any(stories.is_good(shop, code, now=now) for code in codes.values())
    gift, wallet, saved = (stories.BY_NAME[name] for name in ("gift-card", "wallet", "saved-card"))
    code = stories.code_of(shop, gift, now=now)
    paid = [stories.checkout_of(shop, story, now=now) for story in (gift, wallet, saved)]
    assert pressed(Client(), paid[0], "gift-card", code=code).status_code == 200
    pressed(Client(), paid[0], "complete")
    pressed(Client(), paid[1], "wallet", use="1")
    pressed(Client(), paid[1], "complete")
    [card] = Client().get(reverse("checkout", args=[paid[2].token])).context["saved_cards"]
    opened = pressed(Client(), paid[2], "session", method="card", saved_card=card.id).json()
    pressed(Client(), paid[2], "complete", session=opened["session"])
    while payments_executor.execute_due_orders(now=clock.now()):
        pass
    assert set(PaymentEvent.objects.filter(pk__in=[event.pk for event in paid]).values_list("status", flat=True)) == {"paid"}
    assert not stories.is_good(shop, code, now=now)
    assert stories.is_good(shop, stories.code_of(shop, gift, now=now), now=now)
    assert stories.checkout_of(shop, gift, now=now) != paid[0]


def require_the_page_to_lead_to_them(shop: Shop) -> None:
    """Open /demo/: each story's button leads to its checkout; a gift card is made first, and its code is kept where nobody else reads it."""
    client = Client()
    page = client.get("/demo/")
    assert [story["name"] for story in page.context["stories"]] == list(stories.BY_NAME)
    assert client.post("/demo/gift-card").headers["Location"] == "/demo/#gift-card"
    kept = Path(settings.DEMO_SHOWN_FILE)
    code = json.loads(kept.read_text())["gift_cards"]["gift-card"]
    assert kept.stat().st_mode & 0o077 == 0
    assert code in client.get("/demo/").content.decode()
    for name in ("gift-card", "wallet", "saved-card", "qr"):
        event = stories.checkout_of(shop, stories.BY_NAME[name], now=clock.now())
        answer = client.post(f"/demo/{name}")
        assert (answer.status_code, answer.headers["Location"]) == (303, reverse("checkout", args=[event.token]))
    assert client.post("/demo/nothing").status_code == 404
    assert Client(enforce_csrf_checks=True).post("/demo/qr").status_code == 403


@pytest.mark.usefixtures("test_clock")
def test_the_demo_has_work_for_finance_and_every_way_a_payout_goes_and_safely_begins_again(
    books_hold: None, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    tell_the_story()
    require_something_for_finance_to_do()
    ada, cleo, emi = (Seller.objects.get(reference=name) for name in ("ada", "cleo", "emi"))
    assert statuses() == {"ada": "SUCCESS", "bolt": "EXECUTING", "cleo": "FAILED", "dune": "WAITING"}
    wallet = Wallet.objects.get(seller=ada, currency="EUR")
    assert wallet.pending.amount > 0
    assert wallet.available.amount > 0
    assert "did not arrive" in seller_home.part(cleo, now=clock.now()).tasks[0].title
    held_back = queries.payable(emi, "JPY", now=clock.now()).why_not
    assert isinstance(held_back, queries.SellerOnHold)
    assert BankAccount.objects.get(verified_at=None).seller == emi

    shop = ada.shop
    codes = stories.get_ready(shop, now=clock.now())
    require_every_story_to_be_ready(shop)
    assert conversions.chosen_by(cleo) == "EUR"
    assert rates.pair("JPY", "EUR", now=clock.now()).rate > 0

    stood = what_stands()
    tell_the_story()
    assert what_stands() == stood
    require_stories_that_can_be_paid(shop, codes)
    require_the_page_to_lead_to_them(shop)

    before = clock.now()
    for step, least in (("hour", timedelta(hours=1)), ("day", timedelta(days=1)), ("nonsense", timedelta())):
        assert Client().post("/demo/clock", {"step": step}).headers["Location"] == "/demo/#clock"
        assert timedelta() <= clock.now() - before - least < timedelta(minutes=1)
        before = clock.now()
    assert own_clock_of(sandbox) == int(clock.offset().total_seconds())

    call_command("advance_clock", "72h")
    oracle.wait_for("payout.paid", count=2)
    while executor.execute_due_payouts(now=clock.now()):
        pass
    assert statuses()["bolt"] == PayoutStatus.SUCCESS
    made, sent, paid = sorted(views.steps(Payout.objects.get(seller__reference="bolt")), key=lambda step: step.at)
    assert (made.what, sent.what, paid.what) == ("Made by the calendar", "Sent to the bank", "Paid to your bank")
    assert paid.at - sent.at >= THREE_DAYS
    demo_finance.take_files_in(since=clock.now() - timedelta(days=10))
    assert expected.missing(now=clock.now()) == [], "on most of these days nothing happened"
    while DueOrder.objects.exists():  # the charge that the buyer's bank was thinking about
        assert payments_executor.execute_due_orders(now=clock.now())
