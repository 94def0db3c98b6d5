"""Payout runs: everybody whose period is over is paid by one transaction, once, and just as if each had asked."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ledger import chart, journal
from ledger.approvals import AlreadyDecided, MakerMayNotApprove
from ledger.models import JournalEntry
from ledger.money import exact, zero
from payouts import choice, news, payout_entries, queries, requests, scheduling, settlement, terms
from payouts.calendars import Calendar, UnknownPeriod
from payouts.choice import Which
from payouts.models import BankAccount, Payout, PayoutRun, PayoutSchedule, new_bank_account_id
from payouts.providers.registry import UnknownProvider
from payouts.scheduling import PeriodNotOver
from payouts.states import Interval, PayoutStatus, RunStatus
from reconciliation import invariants
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from tests.fixtures_money import all_at_once, errors_in, wait_until_somebody_waits
from wallet import holds
from wallet.models import OutboxMessage, Seller, Shop, Wallet, WalletEntry

NOW = datetime(2037, 12, 1, 0, 5, tzinfo=UTC)  # see tests/settlement_files.py
MONTHLY, WEEKLY = Calendar(), Calendar(Interval.WEEKLY)


@pytest.fixture
def shop(db: None) -> Shop:
    return Shop.objects.get(pk=new_shop(created_at=NOW - timedelta(days=90)).pk)


def payee(shop: Shop, name: str, amount: str = "100.00", **terms: Any) -> Seller:
    """Return a seller who has so much available and a bank account that is verified, and terms of his own if any are given."""
    [seller] = new_sellers(shop, name)
    make_available(seller, eur(amount))
    new_bank_account(seller)
    if terms:
        schedule(shop, seller, **terms)
    return seller


def schedule(shop: Shop, seller: Seller | None = None, **terms: Any) -> PayoutSchedule:
    said = {"minimum": eur("0"), "keep_back": eur("0"), "in_force_since": NOW - timedelta(days=60)}
    return PayoutSchedule.objects.create(shop=shop, seller=seller, **said | terms)


def november(shop: Shop, calendar: Calendar = MONTHLY) -> Which:
    return Which(shop.pk, "EUR", calendar, "2037-11")


def run(which: Which, *, made_by: str = "staff:ana") -> PayoutRun:
    made, _is_new = scheduling.run(which, now=NOW, made_by=made_by)
    return made


def paid_by(made: PayoutRun) -> dict[str, Decimal]:
    return {payout.seller.name: payout.amount.amount for payout in made.payouts.select_related("seller")}


def replace_account(seller: Seller, **columns: Any) -> None:
    """Give the seller another bank account: an account is never changed, only replaced."""
    account = BankAccount.objects.get(seller=seller, replaced_at=None)
    BankAccount.objects.filter(pk=account.pk).update(replaced_at=NOW)
    account.pk, account.public_id = None, new_bank_account_id()
    for name, value in columns.items():
        setattr(account, name, value)
    account.save(force_insert=True)


REASONS: dict[str, Callable[[Seller], object]] = {
    "": lambda seller: None,
    "seller_on_hold": lambda seller: holds.place(seller.pk, reason="Fraud?", until=None, actor="staff:bo", now=NOW),
    "no_bank_account": lambda seller: BankAccount.objects.filter(seller=seller).update(replaced_at=NOW),
    "bank_account_not_verified": lambda seller: replace_account(seller, verified_at=None),
    "bank_account_on_hold": lambda seller: replace_account(seller, usable_from=NOW + timedelta(seconds=1)),
    "nothing_available": lambda seller: schedule(seller.shop, seller, keep_back=eur("100.00")),
    "below_minimum": lambda seller: schedule(seller.shop, seller, keep_back=eur("50.00"), minimum=eur("50.01")),
}
ERRORS = {"nothing_available": "not_payable", "below_minimum": "not_payable", "": ""}  # others are called alike


def test_a_run_pays_exactly_what_each_seller_could_ask_for_and_says_why_it_passes_over_the_others(shop: Shop) -> None:
    schedule(shop, minimum=eur("10.00"), keep_back=eur("0.01"))
    for reason, befalls in REASONS.items():
        befalls(payee(shop, reason))
    holds.lift(
        holds.place(payee(shop, "held before").pk, reason="?", until=None, actor="staff:bo", now=NOW).pk,
        reason="!",
        actor="staff:bo",
        now=NOW,
    )
    holds.place(payee(shop, "held until now").pk, reason="?", until=NOW, actor="staff:bo", now=NOW - timedelta(days=1))
    payee(shop, "at the minimum", "10.01")
    payee(shop, "below the minimum", "10.00")
    replace_account(payee(shop, "usable from now on", "33.33"), usable_from=NOW)
    payee(new_shop("Another shop"), "of another shop")

    looked_at = {each.name: each for each in choice.stream(november(shop), now=NOW)}
    made = run(november(shop))
    for name, each in looked_at.items():
        seller = Seller.objects.get(name=name)
        could_ask = queries.payable_of(seller, terms.of(seller, "EUR"), available=each.available, now=NOW)
        assert each.amount == could_ask.amount, name
        assert ERRORS.get(each.why_not, each.why_not) == (could_ask.why_not.code if could_ask.why_not else ""), name
        assert each.why_not in ("below_minimum", name) or name not in REASONS, name
    assert paid_by(made) == {name: each.amount.amount for name, each in looked_at.items() if not each.why_not}
    assert paid_by(made) == {
        "": Decimal("99.99"),
        "held before": Decimal("99.99"),
        "held until now": Decimal("99.99"),
        "at the minimum": Decimal("10.00"),
        "usable from now on": Decimal("33.32"),
    }
    assert (made.count, made.total, made.status) == (5, eur("343.29"), RunStatus.APPROVED)
    assert invariants.violations() == []


def test_a_payout_of_a_run_is_written_just_as_a_requested_one(shop: Shop) -> None:
    ada = payee(shop, "Ada", "1234.50")
    [payout] = run(november(shop)).payouts.select_related("seller")
    entry = JournalEntry.objects.get(pk=payout.journal_entry_id)
    draft = payout_entries.made(payout, at=NOW)
    assert (entry.kind, entry.reference, entry.memo, entry.effective_at) == (draft.kind, draft.reference, "", NOW)
    legs = [(posting.account.code, posting.amount) for posting in entry.postings.select_related("account").order_by("line")]
    assert legs == [*draft.debits, *((code, -amount) for code, amount in draft.credits)]
    change = payout_entries.taken(payout, entry.pk)
    movement = WalletEntry.objects.get(pk=payout.wallet_entry_id)
    for column in ("journal_entry_id", "kind", "source", "gross", "fee", "pending", "available", "reserved"):
        assert getattr(movement, column) == getattr(change, column), column
    message, told = OutboxMessage.objects.get(about=payout.public_id), news.payout_news(payout)
    for column in ("shop_id", "topic", "sequence", "payload"):
        assert getattr(message, column) == getattr(told, column), column
    assert (payout.status, payout.cause, payout.requested_by) == (PayoutStatus.EXECUTING, Payout.Cause.RUN, "staff:ana")
    assert payout.next_attempt_at is not None
    assert NOW <= payout.next_attempt_at <= NOW + timedelta(seconds=1)
    assert re.fullmatch("po_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", payout.public_id), "its id is a UUIDv7"
    assert Wallet.objects.get(seller=ada).available == zero("EUR")


def test_a_period_is_run_once_over_or_not_at_all(shop: Shop) -> None:
    ada = payee(shop, "Ada")
    with pytest.raises(PeriodNotOver, match="over at 2038-01-01 00:00 UTC") as refused:
        run(Which(shop.pk, "EUR", MONTHLY, "2037-12"))
    assert (refused.value.code, refused.value.field) == ("period_not_over", "period")
    with pytest.raises(UnknownPeriod):
        run(Which(shop.pk, "EUR", MONTHLY, "2037-13"))
    first = run(november(shop))
    make_available(ada, eur("7.00"))
    assert scheduling.run(november(shop), now=NOW, made_by="staff:bo") == (first, False)
    assert paid_by(first) == {"Ada": Decimal("100.00")}


def test_a_run_that_pays_nobody_is_kept_so_that_nobody_is_paid_in_the_middle_of_the_next_period(shop: Shop) -> None:
    [ada] = new_sellers(shop, "Ada")
    new_bank_account(ada)
    with transaction.atomic():
        make_available(ada, eur("1.00"))
    schedule(shop, minimum=eur("50.00"))
    assert scheduling.run_due(now=NOW) == 1
    make_available(ada, eur("99.00"))
    assert scheduling.run_due(now=NOW + timedelta(days=7)) == 0
    made = PayoutRun.objects.get()
    assert (made.count, made.total, made.status, made.made_by) == (0, zero("EUR"), RunStatus.APPROVED, "calendar")


def test_each_is_paid_by_the_calendar_that_is_his_own(shop: Shop) -> None:
    payee(shop, "by the shop's")
    payee(shop, "every week", interval=Interval.WEEKLY, weekday=1)
    payee(shop, "on the 15th", month_day=15)
    payee(shop, "in Berlin", zone="Europe/Berlin")
    payee(shop, "on request", interval=Interval.ON_REQUEST)
    assert {(each.calendar.interval, each.calendar.key, each.period) for each in scheduling.due(now=NOW)} == {
        ("monthly", "1 00:00:00 UTC -", "2037-11"),
        ("monthly", "1 00:00:00 Europe/Berlin -", "2037-11"),
        ("monthly", "15 00:00:00 UTC -", "2037-10"),
        ("weekly", "1 00:00:00 UTC -", "2037-W48"),
    }
    assert scheduling.run_due(now=NOW) == 4
    assert [paid_by(made) for made in PayoutRun.objects.order_by("interval", "calendar")] == [
        {"in Berlin": Decimal("100.00")},
        {"by the shop's": Decimal("100.00")},
        {"on the 15th": Decimal("100.00")},
        {"every week": Decimal("100.00")},
    ]
    assert (scheduling.due(now=NOW), scheduling.run_due(now=NOW)) == ([], 0)


def test_nothing_is_due_that_was_over_before_its_calendar_came_into_force(shop: Shop) -> None:
    payee(shop, "Ada")
    agreed = schedule(shop, in_force_since=NOW - timedelta(minutes=4))
    assert scheduling.due(now=NOW) == []
    PayoutSchedule.objects.filter(pk=agreed.pk).update(in_force_since=NOW - timedelta(minutes=6))
    assert len(scheduling.due(now=NOW)) == 1


def test_sec_29_a_run_above_the_limit_waits_for_another_person_with_its_money_set_aside(shop: Shop) -> None:
    ada, _bolt = payee(shop, "Ada"), payee(shop, "Bolt")
    schedule(shop, approval_limit=Decimal("199.99"))
    waiting = run(november(shop))
    assert (waiting.status, waiting.decided_at) == (RunStatus.WAITING, None)
    assert set(waiting.payouts.values_list("status", "next_attempt_at")) == {(PayoutStatus.WAITING, None)}
    assert Wallet.objects.get(seller=ada).available == zero("EUR")
    with pytest.raises(MakerMayNotApprove):
        requests.decide_run(waiting.pk, approve=True, actor="staff:ana", reason="Mine", now=NOW)
    for decide in (requests.approve, requests.reject):
        with pytest.raises(AlreadyDecided, match="the run as a whole"):
            decide(waiting.payouts.get(seller=ada).pk, actor="staff:bo", reason="This one", now=NOW)
    requests.decide_run(waiting.pk, approve=True, actor="staff:bo", reason="As every month", now=NOW)
    assert set(waiting.payouts.values_list("status", "decided_by")) == {(PayoutStatus.EXECUTING, "staff:bo")}
    due = list(waiting.payouts.order_by("pk").values_list("next_attempt_at", flat=True))
    assert (due, requests.SPREAD) == ([NOW + requests.SPREAD, NOW + 2 * requests.SPREAD], timedelta(milliseconds=20))
    assert invariants.violations() == []


def test_in_a_run_below_the_limit_a_payout_above_the_sellers_own_waits_alone(shop: Shop) -> None:
    payee(shop, "Ada", approval_limit=Decimal("99.99"))
    payee(shop, "Bolt", approval_limit=Decimal("100.00"))
    made = run(november(shop))
    assert made.status == RunStatus.APPROVED
    assert dict(made.payouts.values_list("seller__name", "status")) == {"Ada": PayoutStatus.WAITING, "Bolt": PayoutStatus.EXECUTING}


def test_an_approved_run_leaves_out_who_has_another_bank_account_by_then_and_says_so(shop: Shop) -> None:
    ada, _bolt = payee(shop, "Ada"), payee(shop, "Bolt")
    schedule(shop, approval_limit=Decimal("1.00"))
    waiting = run(november(shop))
    replace_account(ada)
    decided = requests.decide_run(waiting.pk, approve=True, actor="staff:bo", reason="As agreed", now=NOW)
    assert decided.reason == "As agreed (1 cancelled: bank account replaced since)"
    found = {payout.seller.name: (payout.status, payout.failure_code) for payout in waiting.payouts.select_related("seller")}
    assert found == {"Ada": (PayoutStatus.CANCELLED, "bank_account_replaced"), "Bolt": (PayoutStatus.EXECUTING, "")}
    assert Wallet.objects.get(seller=ada).available == eur("100.00")
    assert invariants.violations() == []


def test_a_run_counts_what_a_seller_was_paid_before_on_that_day(shop: Shop) -> None:
    ada = payee(shop, "Ada", approval_limit=Decimal("99.99"))
    requests.request_payout(ada, amount=eur("50.00"), now=NOW, requested_by="user:ada")
    assert [payout.status for payout in run(november(shop)).payouts.all()] == [PayoutStatus.WAITING]


def test_a_run_that_nobody_would_pay_out_is_not_made(shop: Shop, settings: Any) -> None:
    payee(shop, "Ada")
    settings.DEFAULT_PAYOUT_PROVIDER = ""
    with pytest.raises(UnknownProvider):
        run(november(shop))
    assert not PayoutRun.objects.exists()


def test_a_rejected_run_gives_everybody_everything_back(shop: Shop) -> None:
    ada = payee(shop, "Ada")
    schedule(shop, approval_limit=Decimal("1.00"))
    requests.decide_run(run(november(shop)).pk, approve=False, actor="staff:bo", reason="Wrong month", now=NOW)
    assert Wallet.objects.get(seller=ada).available == eur("100.00")
    assert invariants.violations() == []


def test_a_rehearsal_says_what_the_run_then_does_and_leaves_no_trace(shop: Shop) -> None:
    payee(shop, "Ada")
    bolt = payee(shop, "Bolt", "40.00")
    replace_account(payee(shop, "Cleo"), verified_at=None)
    scheduling.run(Which(shop.pk, "EUR", MONTHLY, "2037-10"), now=NOW, made_by="staff:ana")
    make_available(bolt, eur("55.00"))
    before = list(WalletEntry.objects.values_list("pk", flat=True))
    rehearsed = scheduling.rehearse(november(shop), now=NOW, made_by="staff:ana")
    assert list(WalletEntry.objects.values_list("pk", flat=True)) == before
    assert PayoutRun.objects.count() == 1
    assert (rehearsed.run.count, rehearsed.run.total) == (1, eur("55.00"))
    assert [(each.name, each.before, each.now) for each in rehearsed.differences] == [
        ("Ada", eur("100.00"), zero("EUR")),
        ("Bolt", eur("40.00"), eur("55.00")),
    ]
    assert [(each.why_not, each.count, each.available) for each in rehearsed.passed_over] == [
        ("bank_account_not_verified", 1, eur("100.00")),
    ]
    in_transit = [line.balance for line in rehearsed.trial_balance if line.kind == "payouts_in_transit"]
    assert in_transit == [eur("195.00")]
    assert paid_by(run(november(shop))) == {"Bolt": Decimal("55.00")}


def test_a_rehearsal_locks_no_wallet(shop: Shop) -> None:
    payee(shop, "Ada")
    with CaptureQueriesContext(connection) as statements:
        assert scheduling.rehearse(november(shop), now=NOW, made_by="staff:ana").run.count == 1
    said = [query["sql"] for query in statements.captured_queries]
    assert not [each for each in said if "OF wallet" in each or "UPDATE wallet_wallet" in each]
    with CaptureQueriesContext(connection) as statements:
        run(november(shop))
    said = [query["sql"] for query in statements.captured_queries]
    assert len([each for each in said if "OF wallet" in each or "UPDATE wallet_wallet" in each]) == 2, "a run does"


def test_a_run_takes_the_same_number_of_statements_for_any_number_of_sellers(shop: Shop) -> None:
    payee(shop, "Ada")
    with CaptureQueriesContext(connection) as for_one:
        run(Which(shop.pk, "EUR", MONTHLY, "2037-10"))
    for name in ("Bolt", "Cleo", "Dune"):
        payee(shop, name)
    with CaptureQueriesContext(connection) as for_three:
        made = run(november(shop))
    assert made.count == 3
    assert len(for_three) == len(for_one)


def test_a_run_counts_as_a_writer_of_the_books_before_it_draws_an_id(shop: Shop) -> None:
    with CaptureQueriesContext(connection) as statements:
        run(november(shop))
    said = [query["sql"] for query in statements.captured_queries]
    [locked] = [place for place, sql in enumerate(said) if sql == journal.WILL_WRITE]
    [drawn] = [place for place, sql in enumerate(said) if journal.NEXT_ID in sql]
    assert locked < drawn, "whoever seals the books would not wait for it"


def test_money_is_written_with_the_currencys_own_decimals(shop: Shop) -> None:
    [ada] = new_sellers(shop, "Ada")
    make_available(ada, exact("500", "JPY"))
    new_bank_account(ada, currency="JPY")
    run(Which(shop.pk, "JPY", MONTHLY, "2037-11"))
    assert OutboxMessage.objects.get(topic="payout.created").payload["amount"] == {"amount": "500", "currency": "JPY"}


@pytest.mark.race
def test_cel_10_many_beats_at_once_make_one_run_and_pay_everybody_once(books_hold: None) -> None:
    shop = new_shop()
    Shop.objects.filter(pk=shop.pk).update(created_at=NOW - timedelta(days=90))
    for name in ("Ada", "Bolt", "Cleo"):
        payee(shop, name)
    fired = all_at_once(*[lambda: scheduling.run_due(now=NOW)] * 12)
    assert sorted(map(str, fired)) == ["0"] * 11 + ["1"]
    made = PayoutRun.objects.get()
    assert (made.count, made.total, Payout.objects.count()) == (3, eur("300.00"), 3)


@pytest.mark.race
def test_a_run_and_a_request_at_once_pay_the_same_money_once(books_hold: None) -> None:
    shop = new_shop()
    ada = payee(shop, "Ada")
    all_at_once(
        lambda: scheduling.run(november(shop), now=NOW, made_by="staff:ana"),
        lambda: requests.request_payout(ada, currency="EUR", now=NOW, requested_by="seller:ada"),
    )
    assert [payout.amount for payout in Payout.objects.all()] == [eur("100.00")]
    assert Wallet.objects.get(seller=ada).available == zero("EUR")


@pytest.mark.race
def test_sec_29_a_run_and_a_request_at_once_stay_below_the_limit_together(books_hold: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run begins while the request, of 80 of 150, is granted and not committed."""
    shop = new_shop()
    ada = payee(shop, "Ada", "150.00", approval_limit=100)
    with transaction.atomic():
        journal.open_accounts([chart.payouts_in_transit(), chart.operating_bank()], currency="EUR")  # or the run would wait for these
    granted, plain = threading.Event(), settlement.make

    def make_and_hold(payout: Payout, *, now: datetime) -> Payout:
        made = plain(payout, now=now)
        granted.set()
        wait_until_somebody_waits()
        return made

    def run_meanwhile() -> None:
        assert granted.wait(timeout=30)
        scheduling.run(november(shop), now=NOW, made_by="staff:ana")

    monkeypatch.setattr(settlement, "make", make_and_hold)
    asking = partial(requests.request_payout, ada, amount=eur("80.00"), now=NOW, requested_by="seller:ada")
    assert errors_in(all_at_once(asking, run_meanwhile)) == []
    assert {payout.amount: payout.status for payout in Payout.objects.all()} == {eur("80.00"): "EXECUTING", eur("70.00"): "WAITING"}
