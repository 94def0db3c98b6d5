"""The books across transactions: later postings, the number of statements, balances as of a day, snapshots among writers."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ledger import journal, queries, snapshots
from ledger.models import Account, BalanceSnapshot, JournalEntry, Posting
from ledger.money import exact, zero
from reconciliation import invariants
from tests.factories import FEES, NOON, RECEIVABLE, draft, eur
from tests.fixtures_money import all_at_once, errors_in

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def accounts(real_db: None) -> None:
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="EUR")


def post(*references: str, amount: str = "5.00", days: int = 0) -> list[int]:
    with transaction.atomic():
        return journal.post([draft(reference, amount, effective_at=NOON + days * DAY) for reference in references])


def test_a_balanced_posting_added_in_a_later_transaction_is_refused() -> None:
    [entry_id] = post("standing")
    [first, second] = Account.objects.values_list("id", flat=True).order_by("id")
    late = [
        Posting(entry_id=entry_id, line=8, account_id=first, amount=eur("5.00")),
        Posting(entry_id=entry_id, line=9, account_id=second, amount=eur("-5.00")),
    ]
    with pytest.raises(IntegrityError, match="stands already"):
        Posting.objects.bulk_create(late)
    assert Posting.objects.count() == 2


def test_bug_28_fifty_writers_of_one_reference_write_one_entry() -> None:
    answers = all_at_once(*[lambda: post("same") for _writer in range(20)])
    assert errors_in(answers) == []
    assert len({entry_id for [entry_id] in answers}) == 1  # type: ignore[misc]
    assert Posting.objects.count() == 2


def test_writers_of_one_reference_who_say_different_things_leave_one_entry_and_say_who_was_late() -> None:
    answers = all_at_once(*[lambda amount=f"{cents}.00": post("same", amount=amount) for cents in range(1, 9)])
    assert {type(error) for error in errors_in(answers)} == {journal.ReferenceConflict}
    assert len(errors_in(answers)) == 7
    assert JournalEntry.objects.count() == 1
    assert invariants.violations() == []


def test_opening_the_same_accounts_at_once_opens_them_once() -> None:
    def open_accounts() -> None:
        with transaction.atomic():
            journal.open_accounts([f"seller_pending:{seller}" for seller in range(50)], currency="EUR")

    assert errors_in(all_at_once(*[open_accounts] * 8)) == []
    assert Account.objects.filter(code__startswith="seller_pending").count() == 50


@pytest.mark.parametrize("size", [1, 10, 100])
def test_any_number_of_drafts_is_posted_by_one_statement(size: int) -> None:
    drafts = [draft(f"draft-{number}") for number in range(size)]
    with transaction.atomic(), CaptureQueriesContext(connection) as first_time:
        journal.post(drafts)
    with transaction.atomic(), CaptureQueriesContext(connection) as second_time:
        journal.post(drafts)
    assert (len(first_time), len(second_time)) == (1, 2)


def test_ids_come_in_the_order_of_the_drafts() -> None:
    references = [f"draft-{number}" for number in (5, 3, 9, 1)]
    entries = JournalEntry.objects.in_bulk(ids := post(*references))
    assert [entries[entry_id].reference for entry_id in ids] == references


def test_a_balance_stands_in_its_accounts_own_direction() -> None:
    post("a")
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("5.00")
    assert queries.balance_of(FEES, currency="EUR") == eur("5.00")


@pytest.mark.parametrize(("currency", "code"), [("EUR", "seller_pending:7"), ("JPY", FEES), ("KWD", RECEIVABLE)])
def test_an_account_nobody_opened_stands_at_nothing(currency: str, code: str) -> None:
    assert queries.balance_of(code, currency=currency) == zero(currency)


def test_inv_19_a_day_that_is_over_says_the_same_whatever_is_booked_later() -> None:
    post("monday", days=0)
    post("tuesday", amount="7.00", days=1)
    post("also monday", amount="1.00", days=0)
    as_of = [queries.balance_of(FEES, currency="EUR", as_of=NOON + day * DAY) for day in (0, 1, 2)]
    assert as_of == [eur("0.00"), eur("6.00"), eur("13.00")]
    assert queries.balance_of(FEES, currency="EUR") == eur("13.00")


def test_a_moment_is_half_open_an_entry_counts_from_the_instant_after_its_own() -> None:
    post("a")
    instant = timedelta(microseconds=1)
    assert queries.balance_of(FEES, currency="EUR", as_of=NOON) == eur("0.00")
    assert queries.balance_of(FEES, currency="EUR", as_of=NOON + instant) == eur("5.00")


def test_inv_02_the_trial_balance_balances_in_each_currency_as_of_any_day() -> None:
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="JPY")
        journal.post([draft("yen", debits=[(RECEIVABLE, exact("700", "JPY"))], credits=[(FEES, exact("700", "JPY"))])])
    post("a", days=0)
    post("b", days=3)
    for as_of, euros in ((NOON, None), (NOON + DAY, "5.00"), (queries.ALL_BOOKED, "10.00")):
        lines = queries.trial_balance(as_of=as_of)
        for currency in {line.debits.currency.code for line in lines}:
            mine = [line for line in lines if line.debits.currency.code == currency]
            assert sum(line.debits.amount for line in mine) == sum(line.credits.amount for line in mine)
        assert [line.balance for line in lines if line.debits.currency.code == "EUR"] == [eur(euros)] * 2 if euros else not lines


def test_a_statement_opens_with_what_was_and_closes_with_what_is() -> None:
    for day in range(4):
        post(f"day {day}", amount=f"{day + 1}.00", days=day)
    told = queries.statement(FEES, currency="EUR", since=NOON + DAY, until=NOON + 3 * DAY)
    assert (told.opening, told.closing) == (eur("1.00"), eur("6.00"))
    assert [(line.reference, line.amount, line.balance) for line in told.lines] == [
        ("day 1", eur("2.00"), eur("3.00")),
        ("day 2", eur("3.00"), eur("6.00")),
    ]


def test_statements_of_two_days_meet_without_a_gap_or_an_overlap() -> None:
    for day in range(4):
        post(f"day {day}", days=day)
    first, second = (queries.statement(FEES, currency="EUR", since=NOON + since * DAY, until=NOON + (since + 2) * DAY) for since in (0, 2))
    assert first.closing == second.opening
    assert [line.reference for line in first.lines + second.lines] == [f"day {day}" for day in range(4)]


def test_a_snapshot_changes_no_balance() -> None:
    post("a", "b")
    before = queries.balance_of(FEES, currency="EUR")
    assert snapshots.take() == 2
    assert queries.balance_of(FEES, currency="EUR") == before
    post("c")
    assert queries.balance_of(FEES, currency="EUR") == before + eur("5.00")
    assert snapshots.take() == 2
    assert snapshots.take() == 0, "nothing moved, so nothing is kept"
    assert invariants.violations() == []


def test_a_snapshot_of_an_account_that_did_not_move_is_not_lost() -> None:
    post("a")
    snapshots.take()
    with transaction.atomic():
        journal.open_accounts(["suspense"], currency="EUR")
        journal.post([draft("b", credits=[("suspense", eur("5.00"))])])
    snapshots.take()
    post("c")
    assert [queries.balance_of(code, currency="EUR") for code in (RECEIVABLE, FEES, "suspense")] == [
        eur("15.00"),
        eur("10.00"),
        eur("5.00"),
    ]


def test_a_snapshot_gives_up_while_a_writer_is_under_way_and_misses_nothing_later() -> None:
    """The writer draws the lower id and commits last: a horizon read by `max(id)` alone would lose its entry for ever."""
    drawn, may_commit = threading.Event(), threading.Event()

    def slow_writer() -> None:
        with transaction.atomic():
            journal.post([draft("drawn first, committed last")])
            drawn.set()
            assert may_commit.wait(timeout=30)

    def quick_writer_and_snapshot() -> tuple[int, int]:
        assert drawn.wait(timeout=30)
        post("drawn second, committed first")
        try:
            return snapshots.take(wait_ms=50), BalanceSnapshot.objects.count()
        finally:
            may_commit.set()

    _slow, taken = all_at_once(slow_writer, quick_writer_and_snapshot)
    assert taken == (0, 0)
    assert snapshots.take() == 2
    assert queries.balance_of(FEES, currency="EUR") == eur("10.00")
    assert invariants.violations() == []


def test_snapshots_taken_among_writers_equal_the_sums() -> None:
    def write(name: int) -> None:
        for number in range(15):
            post(f"{name}-{number}", amount="0.01")

    def snap() -> None:
        for _round in range(10):
            snapshots.take(wait_ms=200)

    writers = [lambda name=name: write(name) for name in range(4)]
    assert errors_in(all_at_once(*writers, snap, snap)) == []
    assert queries.balance_of(FEES, currency="EUR") == eur("0.60")
    snapshots.take()
    assert queries.balance_of(FEES, currency="EUR") == eur("0.60")
    assert invariants.violations() == []
