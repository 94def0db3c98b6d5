"""Month close: two people, one transaction, evidence that stays, and no entry into a closed month, whatever comes in whatever order."""

import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from ledger import journal, periods, queries, seals
from ledger.approvals import MakerMayNotApprove
from ledger.journal import Draft
from ledger.models import ClosedMonth, ClosedTotal, JournalEntry
from payments import releases, settlement
from payments.models import PaymentEvent
from reconciliation import close, close_checks, invariants, watch
from reconciliation.close import NotReady
from reconciliation.close_checks import Span
from reconciliation.models import CloseEvidence, ExpectedFile, Mismatch, MonthClose
from tests.bank_statements import mt940
from tests.factories import FEES, draft, eur
from tests.fixtures_money import Oracle, all_at_once, captures_of, charge_and_keep_the_answer, errors_in, wait_until_somebody_waits
from tests.flows.test_bank_matching import NOW, booked_by
from wallet import months

Open = Callable[..., PaymentEvent]
MONTH = months.of(timezone.now()).previous.first_day  # the last one that is over
BEFORE = months.of(periods.begin_of(MONTH)).previous.first_day
BANK = "operating_bank"
WITHIN = periods.begin_of(MONTH) + timedelta(days=20)
RAW = """
WITH entry AS (INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', 'raw', '', %s) RETURNING id)
INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
SELECT entry.id, row_number() OVER (), account.id, CASE WHEN code = 'fee_revenue' THEN -1 ELSE 1 END, 'EUR' FROM entry, ledger_account AS account
"""


@pytest.fixture
def books(real_db: None) -> None:
    """Open two accounts, with an entry in the month, and one in the month before."""
    with transaction.atomic():
        journal.open_accounts([BANK, FEES], currency="EUR")
    post("before", "3.00", at=periods.begin_of(BEFORE) + timedelta(days=3))
    post("within", "5.00", at=WITHIN)


def of(reference: str, amount: str = "5.00", *, at: datetime = WITHIN) -> Draft:
    return draft(reference, effective_at=at, debits=[(BANK, eur(amount))], credits=[(FEES, eur(amount))])


def post(reference: str, amount: str = "5.00", *, at: datetime) -> JournalEntry:
    with transaction.atomic():
        [entry_id] = journal.post([of(reference, amount, at=at)])
    return JournalEntry.objects.get(pk=entry_id)


def prepare(month: date = MONTH) -> MonthClose:
    """Let ada prepare the close, with all that the machine does by itself every minute or night."""
    seals.seal()
    watch.run_full(now=timezone.now())
    return close.prepare(month, actor="staff:ada", reason="Complete", now=timezone.now())


def close_it(prepared: MonthClose) -> MonthClose:
    return close.close(prepared.pk, actor="staff:bea", reason="Looked at", now=timezone.now())


def found_wrong(month: date = MONTH) -> set[str]:
    return {check.name for check in close_checks.checks(close_checks.span_of(month), now=timezone.now()) if not check.holds}


# --- Two people, and the evidence -----------------------------------------------------------------------------------


def test_inv_19_a_month_is_closed_by_two_people_and_keeps_what_it_came_to_with_its_evidence(books: None) -> None:
    trial_balance = queries.trial_balance()
    prepared = prepare()
    with pytest.raises(MakerMayNotApprove):
        close.close(prepared.pk, actor="user:ada", reason="I am sure", now=timezone.now())
    closed = close_it(prepared)
    assert (closed.status, closed.decided_by, closed.closed_month) == ("CLOSED", "staff:bea", ClosedMonth.objects.get(month=MONTH))
    kept = [(total.kind, total.currency, total.debits, total.credits) for total in periods.totals_of(MONTH)]
    assert kept == [("fee_revenue", "EUR", Decimal(0), Decimal(8)), ("operating_bank", "EUR", Decimal(8), Decimal(0))]  # and all before it

    document = bytes(closed.evidence.document)
    assert closed.evidence.sha256 == hashlib.sha256(document).hexdigest()
    evidence = json.loads(document)
    assert {check["name"]: check["holds"] for check in evidence["checks"]}["invariants"]
    assert evidence["seal_head"] == str(seals.head())
    assert (evidence["prepared"]["by"], evidence["closed"]["by"]) == ("staff:ada", "staff:bea")
    assert [line["balance"] for line in evidence["trial_balance"]] == ["8.00", "8.00"]

    post("after", "2.00", at=timezone.now())
    assert queries.trial_balance(as_of=periods.end_of(MONTH)) == trial_balance
    assert [line.debits.amount for line in queries.trial_balance()] == [0, 10]
    assert queries.trial_balance(as_of=periods.end_of(BEFORE))[1].debits.amount == 3  # not a closed one by itself: summed up
    assert invariants.violations() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_closedtotal SET debits = debits + 1",
        "DELETE FROM ledger_closedmonth",
        "UPDATE reconciliation_closeevidence SET document = '{}'",
        "DELETE FROM reconciliation_closeevidence",
        "UPDATE reconciliation_monthclose SET memo = 'another'",
        "UPDATE reconciliation_monthclose SET status = 'PREPARED'",
        "INSERT INTO ledger_closedmonth (month) VALUES (date_trunc('month', now()))",
        "INSERT INTO ledger_closedmonth (month) SELECT min(month) - interval '1 month' FROM ledger_closedmonth",
        "INSERT INTO reconciliation_monthclose (public_id, month, status, prepared_by, prepared_at, memo, decided_by, reason) "
        "VALUES ('mc_1', '2026-01-01', 'CLOSED', 'staff:ada', now(), 'x', '', '')",
    ],
)
def test_postgres_itself_lets_nobody_change_or_open_a_closed_month(closed_month: None, change: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)


@pytest.fixture
def closed_month(db: None) -> None:
    """Close the month as far as Postgres is concerned, in a transaction that is rolled back."""
    journal.open_accounts([BANK, FEES], currency="EUR")
    journal.post([of("within")])
    prepared = MonthClose.objects.create(month=MONTH, prepared_by="staff:ada", prepared_at=timezone.now(), memo="Complete")
    closed = periods.close(MONTH)
    close.decide(prepared, MonthClose.Status.CLOSED, actor="staff:bea", reason="Right", now=timezone.now(), closed=closed)
    close.keep(prepared, {"checks": []})


def test_maker_and_checker_are_two_people_by_a_check_of_the_database(db: None) -> None:
    journal.open_accounts([BANK, FEES], currency="EUR")
    prepared = MonthClose.objects.create(month=MONTH, prepared_by="staff:ada", prepared_at=timezone.now(), memo="Complete")
    with pytest.raises(IntegrityError, match="two_people_close_a_month"):
        close.decide(prepared, MonthClose.Status.CLOSED, actor="user:ada", reason="x", now=timezone.now(), closed=periods.close(MONTH))


def test_months_are_closed_in_order_and_not_before_they_are_over(closed_month: None) -> None:
    running = months.of(timezone.now()).first_day
    assert found_wrong(running) >= {"order"}
    for month in (running, MONTH, BEFORE):
        with pytest.raises(periods.NotTheNextMonth):
            periods.close(month)


# --- Nothing comes in any more, and nothing gets stuck --------------------------------------------------------------


def test_postgres_refuses_an_entry_in_a_closed_month_whoever_writes_it(closed_month: None) -> None:
    with pytest.raises(IntegrityError, match="closed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RAW, [periods.end_of(MONTH) - timedelta(microseconds=1)])
    with connection.cursor() as cursor:
        cursor.execute(RAW, [periods.end_of(MONTH)])


def test_whoever_sees_an_older_state_may_not_post(books: None) -> None:
    with watch.one_state(timeout_s=5, read_only=False), pytest.raises(DatabaseError, match="READ COMMITTED"):
        journal.post([of("unseen", at=timezone.now())])


def test_a_payment_that_is_heard_of_after_its_month_was_closed_is_booked_in_the_open_month(
    closed_before: None, open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment("24.90")
    [capture] = captures_of(charge_and_keep_the_answer(event))
    at = periods.end_of(MONTH) - timedelta(seconds=30)
    settlement.settle([dataclasses.replace(capture, charged_at=at)])
    order = event.orders.get()
    assert (order.status, oracle.charged()) == ("SUCCESS", [order.public_id])
    entry = order.journal_entry
    assert entry is not None
    assert (entry.effective_at, entry.occurred_at, entry.happened_at) == (periods.end_of(MONTH), at, at)
    seals.seal()
    assert seals.verify() == []
    releases.release_due(now=timezone.now())


@pytest.fixture
def closed_before(books: None, books_hold: None) -> None:
    close_it(prepare())


def test_the_seals_cover_when_a_late_entry_happened(closed_before: None) -> None:
    post("late", at=WITHIN)
    seals.seal()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ledger_journalentry SET occurred_at = occurred_at - interval '1 hour' WHERE reference = 'late'")
        assert [finding.what for finding in seals.verify()] == ["the entry or one of its postings was changed"]
        transaction.set_rollback(True)


def test_whoever_posts_as_a_month_is_closed_is_in_what_is_kept_of_it_or_booked_after_it(books: None) -> None:
    """One has posted and not committed: the close waits for it.  Another one posts meanwhile: it waits for nobody, and is booked later."""
    prepared, closed = prepare(), []
    with transaction.atomic():
        journal.post([of("committed in time", "1.00")])
        closer = threading.Thread(target=in_a_thread(lambda: closed.append(periods_only(prepared.month))))
        closer.start()
        wait_until_somebody_waits()
        other = threading.Thread(target=in_a_thread(lambda: post("meanwhile", "100.00", at=WITHIN)))
        other.start()
        other.join(timeout=10)
        assert not other.is_alive()
    closer.join(timeout=30)
    assert closed == [MONTH]
    assert [total.debits for total in periods.totals_of(MONTH) if total.kind == "operating_bank"] == [9]
    late = JournalEntry.objects.get(reference="meanwhile")
    assert (late.occurred_at, late.effective_at >= periods.end_of(MONTH)) == (WITHIN, True)
    assert invariants.violation_of("INV-19 closed months are what was kept of them as they were closed") is None


def test_many_who_post_into_a_month_while_it_is_closed_change_nothing_of_what_is_kept(books: None) -> None:
    writers = 4

    def write(name: int) -> None:
        for number in range(25):
            post(f"{name}:{number}", "1.00", at=WITHIN)

    writing: list[Callable[[], object]] = [partial(write, name) for name in range(writers)]
    assert errors_in(all_at_once(*writing, partial(periods_only, MONTH))) == []
    assert JournalEntry.objects.count() == 2 + writers * 25
    assert invariants.violation_of("INV-19 closed months are what was kept of them as they were closed") is None
    assert not JournalEntry.objects.filter(effective_at__lt=periods.end_of(MONTH), occurred_at__isnull=False).exists()


def periods_only(month: date) -> date:
    """Close the month in the books, as `close.close` does after all of its checks."""
    with periods.no_one_posts_into_the_past(), watch.one_state(timeout_s=30, read_only=False):
        return periods.close(month).month


def in_a_thread(what: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with closing(connection):
            what()

    return run


def test_cp_41_a_close_that_is_killed_between_any_two_of_its_statements_has_done_nothing(books: None) -> None:
    prepared = prepare()
    for point in (
        'INTO "ledger_closedmonth"',
        "INTO ledger_closedtotal",
        'UPDATE "reconciliation_monthclose"',
        'INTO "reconciliation_closeevidence"',
        "COMMIT",
    ):
        with pytest.raises(DatabaseError), connection.execute_wrapper(killed_at(point)):
            close_it(prepared)
        connection.close()
        prepared.refresh_from_db()
        left = [model.objects.count() for model in (ClosedMonth, ClosedTotal, CloseEvidence)]
        assert (point, prepared.status, left) == (point, "PREPARED", [0, 0, 0])
    call_command("close_month", f"{MONTH:%Y-%m}", by="bea", note="Looked at", stdout=io.StringIO())
    prepared.refresh_from_db()
    assert (prepared.status, prepared.decided_by) == ("CLOSED", "shell:bea")
    assert invariants.violations() == []


def killed_at(point: str) -> Callable[..., Any]:
    """Return what ends the line's process at the server before the statement; for COMMIT, after the last statement before it."""

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        answer = execute(sql, params, many, context) if point == "COMMIT" else None
        if (point if point != "COMMIT" else 'INTO "reconciliation_closeevidence"') in sql:
            line: psycopg.Connection = context["connection"].connection
            other = context["connection"].copy()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [line.info.backend_pid])
            other.close()
        return answer if point == "COMMIT" else execute(sql, params, many, context)

    return wrapper


# --- What keeps a month open ----------------------------------------------------------------------------------------


def test_each_thing_that_is_missing_keeps_the_month_open(db: None) -> None:
    journal.open_accounts([BANK, FEES], currency="EUR")
    journal.post([of("within")])
    assert found_wrong() == {"seals", "invariants"}  # nobody has sealed it, and nobody has looked
    ExpectedFile.objects.create(source="sandbox", kind="settlement", due_at=time(6), since=periods.end_of(MONTH).date() - timedelta(days=2))
    assert found_wrong() == {"seals", "invariants", "files"}
    missing = next(check for check in close_checks.checks(close_checks.span_of(MONTH), now=timezone.now()) if check.name == "files")
    assert len(missing.rows) == 2
    Mismatch.objects.create(kind="missing_there", psp="sandbox", subject="ord_x", currency="EUR", expected=3, suspended=0, found_at=WITHIN)
    with pytest.raises(NotReady, match="suspense are within their limits"):
        close.require_all(close_checks.checks(close_checks.span_of(MONTH), now=timezone.now()))


def test_what_a_statement_of_the_month_left_unexplained_keeps_it_open_though_it_was_found_later(db: None) -> None:
    booked_by(mt940(("5.00", "BK1", "", "Somebody"), day="261031"))
    assert Mismatch.objects.get().found_at == NOW  # in November
    for month, holds in ((date(2026, 10, 1), False), (date(2026, 9, 1), True)):
        span = Span(month, periods.begin_of(month), periods.end_of(month))
        assert close_checks.mismatches_are_explained(span, NOW + timedelta(days=6)).holds is holds


@pytest.fixture(autouse=True)
def few_limits(settings: Any) -> Iterator[None]:
    settings.CLOSE_MISMATCH_DAYS, settings.CLOSE_MISMATCH_LIMITS = 5, {}
    yield


# --- In the admin ---------------------------------------------------------------------------------------------------


def staff(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="-", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_monthclose", *permissions]))
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def words(content: bytes) -> str:
    return " ".join(strip_tags(content.decode()).split())


def test_finance_closes_a_month_at_the_desk(books: None) -> None:
    ada, bea = staff("ada", "prepare_close"), staff("bea", "approve_close")
    page = reverse("admin:reconciliation_monthclose_month", args=[f"{MONTH:%Y-%m}"])
    missing = words(ada.get(page).content)
    assert "cannot be closed yet" in missing
    assert "Entries are sealed each minute" in missing
    assert "The month is not ready" in words(ada.post(f"{page}prepare/", {"note": "Complete"}).content)
    seals.seal()
    watch.run_full(now=timezone.now())
    assert "Prepare the close" in words(ada.get(page).content)
    assert bea.post(f"{page}prepare/", {"note": "Complete"}).status_code == 403
    assert ada.post(f"{page}prepare/", {"note": "Complete"}).status_code == 302
    prepared = MonthClose.objects.get()
    do = reverse("admin:reconciliation_monthclose_close", args=[prepared.pk])
    assert ada.post(do, {"note": "Mine"}).status_code == 403
    assert bea.post(do, {"note": "Looked at it"}).status_code == 302
    done = words(bea.get(page).content)
    assert "Closed" in done
    assert "is never opened again" in done
    evidence = bea.get(reverse("admin:reconciliation_monthclose_evidence", args=[prepared.pk]))
    assert hashlib.sha256(evidence.content).hexdigest() == MonthClose.objects.get().evidence.sha256
    listed = words(bea.get(reverse("admin:reconciliation_monthclose_changelist")).content)
    assert "Running" in listed
    nobody = Client()
    nobody.force_login(User.objects.create_user("cleo", password="-", is_staff=True))
    assert nobody.get(page).status_code == 403
