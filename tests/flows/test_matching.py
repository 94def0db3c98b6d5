"""Settlement files against our books: what agrees is marked and posted as one entry of its batch, what does not is a mismatch in suspense."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client
from django.utils import timezone

from ledger import chart, journal, queries
from ledger.models import JournalEntry, Posting
from payments import confirmation, disputes, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentOrder, PspAttempt
from payments.psp.protocol import DisputeNotice
from payments.settlement import Capture
from reconciliation import ingestion, invariants, matching
from reconciliation.models import ExpectedFee, LineMatch, Mismatch, SettlementBatch
from tests.factories import basket, eur, new_sellers, new_shop
from tests.settlement_files import batch_of

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
Line = tuple[str, str, str, str, str]


@pytest.fixture
def orders() -> list[PaymentOrder]:
    """Give three orders of 10.00, 20.00 and 30.00 EUR that the PSP has charged."""
    return sell("10.00", "20.00", "30.00")


def sell(*amounts: str, at: datetime = NOW) -> list[PaymentOrder]:
    sellers = new_sellers(new_shop(), "Ada's Books")
    event, _is_new = intake.open_event(sellers[0].shop, basket(sellers, *amounts), now=at)
    orders = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount), now=at)
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    pairs = zip(orders, attempts, strict=True)
    settlement.settle([Capture(one.order_id, one.pk, one.psp_key, f"ch_{one.pk}", order.amount, at) for order, one in pairs])
    return list(PaymentOrder.objects.filter(event=event).order_by("pk"))


def charged(order: PaymentOrder, gross: str = "", *, key: str | None = None, fee: str = "0.30") -> Line:
    attempt = order.attempts.get(operation="charge")
    return "charge", attempt.psp_reference, order.public_id if key is None else key, gross or f"{order.amount.amount:.2f}", fee


def settle(*lines: Line, **terms: Any) -> SettlementBatch:
    """Receive, stage and compare a file of these lines; return its batch."""
    body = batch_of(*lines, **terms)
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    assert ingestion.stage(file.pk, now=NOW).error == ""
    assert matching.match_waiting(now=NOW) == 1
    return SettlementBatch.objects.get(file=file)


def booked(batch: SettlementBatch) -> dict[str, str]:
    """Return the legs of the batch's entry: debits above zero."""
    legs = Posting.objects.filter(entry=batch.journal_entry_id).select_related("account")
    return {leg.account.code: f"{leg.amount.amount:.2f}" for leg in legs}


def owed() -> Decimal:
    return queries.balance_of(chart.psp_receivable("sandbox"), currency="EUR").amount


def found(batch: SettlementBatch) -> list[tuple[str, str, str]]:
    mismatches = Mismatch.objects.filter(batch=batch).order_by("line__number")
    return [(one.kind, one.subject, f"{one.suspended:.2f}") for one in mismatches]


@pytest.fixture(autouse=True)
def the_books_hold() -> Any:
    yield
    assert invariants.violations() == []


# --- What agrees ----------------------------------------------------------------------------------------------------


def test_a_batch_that_agrees_is_one_entry_and_the_psp_owes_nothing_more(orders: list[PaymentOrder]) -> None:
    refund = refunds.request_refund(orders[0].pk, amount=eur("4.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    batch = settle(*(charged(order) for order in orders), ("refund", "re_1", "", "-4.00", "0.00"), ("fee", "", "", "0.00", "1.10"))
    assert (batch.lines, batch.matched, batch.mismatched) == (6, 6, 0)
    assert booked(batch) == {"bank_in_transit": "54.00", "psp_fees": "2.00", "psp_receivable:sandbox": "-56.00"}
    assert owed() == 0
    entry = JournalEntry.objects.get(reference=batch.public_id)
    assert (entry.pk, entry.kind, entry.effective_at.date()) == (batch.journal_entry_id, "settlement", NOW.date())
    about = LineMatch.objects.filter(batch=batch).order_by("line")
    assert [(one.kind, one.order_id or one.refund_id) for one in about[:4]] == [
        *(("capture", order.pk) for order in orders), ("refund", refund.pk),
    ]  # fmt: skip
    assert {order.settled_at for order in PaymentOrder.objects.all()} == {batch.closed_at}


def test_a_batch_is_compared_once(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0]))
    assert matching.match_waiting(now=NOW + timedelta(days=1)) == 0
    assert matching.match(batch.pk, now=NOW + timedelta(days=1)).matched_at == NOW
    assert JournalEntry.objects.filter(kind="settlement").count() == 1


def test_a_charge_without_our_key_is_found_by_the_psps_id(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0], key=""), charged(orders[1], key="of somebody else"))
    assert (batch.matched, batch.mismatched) == (3, 0)


def test_a_dispute_its_fee_and_its_end_are_found(orders: list[PaymentOrder]) -> None:
    order, charge = orders[0], orders[0].attempts.get().psp_reference
    notice = DisputeNotice(
        "dp_1", order.public_id, order.public_id, charge, "open", order.amount, eur("15.00"), eur("0.00"), "fraudulent", NOW, NOW, NOW
    )
    disputes.open_dispute(notice, psp="sandbox")
    first = settle(
        *(charged(order) for order in orders), ("dispute", "dp_1", "", "-10.00", "0.00"), ("dispute_fee", "dp_1", "", "0.00", "15.00")
    )
    assert (first.mismatched, booked(first)) == (0, {"bank_in_transit": "34.10", "psp_fees": "0.90", "psp_receivable:sandbox": "-35.00"})
    disputes.close_dispute(replace(notice, status="won"), psp="sandbox")
    second = settle(("dispute_won", "dp_1", "", "10.00", "0.00"), batch="sb-20261121-eur", day="2026-11-21")
    assert (second.mismatched, booked(second)) == (0, {"bank_in_transit": "10.00", "psp_receivable:sandbox": "-10.00"})
    assert owed() == 0


def test_the_fee_of_a_dispute_waits_for_the_dispute_and_is_booked_once(orders: list[PaymentOrder]) -> None:
    order, charge = orders[0], orders[0].attempts.get().psp_reference
    said = [*(charged(order) for order in orders), ("dispute", "dp_1", "", "-10.00", "0.00"), ("dispute_fee", "dp_1", "", "0.00", "15.00")]
    file, _is_new = ingestion.receive(io.BytesIO(batch_of(*said)), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    ingestion.stage(file.pk, now=NOW)
    assert matching.match_waiting(now=NOW) == 0
    notice = DisputeNotice(
        "dp_1", order.public_id, order.public_id, charge, "open", order.amount, eur("15.00"), eur("0.00"), "fraudulent", NOW, NOW, NOW
    )
    disputes.open_dispute(notice, psp="sandbox")
    assert matching.match_waiting(now=NOW) == 1
    assert (SettlementBatch.objects.get().mismatched, owed()) == (0, Decimal(0))


def test_the_fee_of_a_dispute_that_nobody_tells_of_is_no_fee_of_ours(orders: list[PaymentOrder]) -> None:
    body = batch_of(charged(orders[1]), ("dispute_fee", "dp_x", "", "0.00", "15.00"))
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    ingestion.stage(file.pk, now=NOW)
    assert matching.match_waiting(now=NOW + timedelta(days=2)) == 0
    assert matching.match_waiting(now=NOW + timedelta(days=2, seconds=1)) == 1
    batch = SettlementBatch.objects.get()
    assert found(batch) == [("missing_here", "", "-15.00")]
    assert booked(batch) == {"bank_in_transit": "4.70", "psp_fees": "0.30", "suspense": "15.00", "psp_receivable:sandbox": "-20.00"}


def test_the_second_report_of_the_same_payments_is_read_and_not_compared(orders: list[PaymentOrder], settings: Any) -> None:
    settings.FILE_FORMATS_ONLY_READ = ["sandbox_settlement"]
    file, _is_new = ingestion.receive(io.BytesIO(batch_of(charged(orders[0]))), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    assert ingestion.stage(file.pk, now=NOW).status == "STAGED"
    assert (matching.match_waiting(now=NOW), SettlementBatch.objects.count(), owed()) == (0, 0, Decimal(60))
    settings.FILE_FORMATS_ONLY_READ = []
    assert matching.match_waiting(now=NOW) == 1


def test_what_a_batch_lacks_is_carried_over_to_the_next(orders: list[PaymentOrder]) -> None:
    settle(*(charged(order, fee="0.00") for order in orders))
    refund = refunds.request_refund(orders[0].pk, amount=eur("10.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    batch = settle(("refund", "re_1", "", "-10.00", "0.00"), batch="sb-20261121-eur", day="2026-11-21")
    assert (batch.matched, batch.mismatched, batch.journal_entry_id) == (2, 0, None)
    assert owed() == -10


# --- What does not --------------------------------------------------------------------------------------------------


def test_what_cannot_be_explained_stands_in_suspense_until_somebody_explains_it(orders: list[PaymentOrder]) -> None:
    first, second, third = orders
    batch = settle(charged(first), charged(first), charged(second, "20.01"), ("charge", "ch_x", "ord_x", "5.00", "0.00"), charged(third))
    assert found(batch) == [
        ("duplicate", first.public_id, "9.70"),
        ("amount", second.public_id, "19.71"),
        ("missing_here", "", "5.00"),
    ]
    assert booked(batch) == {
        "bank_in_transit": "73.81", "psp_fees": "0.60", "suspense": "-34.41", "psp_receivable:sandbox": "-40.00",
    }  # fmt: skip
    assert owed() == 20, "what the PSP did not settle as it is, it still owes"
    amount = Mismatch.objects.get(kind="amount")
    assert (amount.expected, amount.found) == (Decimal(20), Decimal("20.01"))
    settled = dict(PaymentOrder.objects.values_list("pk", "settled_at"))
    assert [settled[order.pk] is not None for order in orders] == [True, False, True]


def test_what_was_settled_in_one_batch_is_a_duplicate_in_another(orders: list[PaymentOrder]) -> None:
    settle(charged(orders[0]))
    again = settle(charged(orders[0]), batch="sb-20261121-eur", day="2026-11-21")
    assert found(again) == [("duplicate", orders[0].public_id, "9.70")]


def test_a_charge_settled_in_another_currency_is_a_mismatch(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0]), currency="USD", batch="sb-20261120-usd")
    assert found(batch) == [("currency", orders[0].public_id, "9.70")]
    assert booked(batch) == {"bank_in_transit": "9.70", "suspense": "-9.70"}


def test_a_fee_that_is_not_the_expected_one_leaves_the_difference_in_suspense(orders: list[PaymentOrder]) -> None:
    ExpectedFee.objects.create(psp="sandbox", currency="EUR", basis_points=145, fixed=Decimal("0.155"))  # 0.30 of 10.00, 0.445 of 20.00
    first, second, third = orders
    batch = settle(charged(first), charged(second, fee="0.45"), charged(third, fee="0.60"))
    assert found(batch) == [("fee", third.public_id, "-0.01")]
    assert booked(batch) == {
        "bank_in_transit": "58.65", "psp_fees": "1.34", "suspense": "0.01", "psp_receivable:sandbox": "-60.00",
    }  # fmt: skip
    assert (batch.matched, batch.mismatched, owed()) == (3, 1, Decimal(0))
    fee = Mismatch.objects.get()
    assert (fee.expected, fee.found) == (Decimal("0.59"), Decimal("0.60"))
    again = settle(charged(third, fee="0.59"), batch="sb-20261121-eur", day="2026-11-21")
    assert found(again) == [("duplicate", third.public_id, "29.41")]
    assert {order.settled_at for order in PaymentOrder.objects.all()} == {batch.closed_at}


def test_a_refund_that_is_not_booked_is_a_mismatch(orders: list[PaymentOrder]) -> None:
    refund = refunds.request_refund(orders[0].pk, amount=eur("4.00"), reason="", now=timezone.now())
    batch = settle(*(charged(order) for order in orders), ("refund", "re_1", refund.public_id, "-4.00", "0.00"))
    assert found(batch) == [("missing_here", "", "-4.00")]
    assert booked(batch)["suspense"] == "4.00"


def test_what_no_file_has_is_missed_and_what_comes_after_all_is_late(orders: list[PaymentOrder]) -> None:
    first, second, third = orders
    settle(charged(first))
    assert matching.find_missing(now=NOW + timedelta(days=30)) == 0, "no later file has come that could have it"
    [later] = sell("7.00", at=NOW + timedelta(days=9))
    settle(charged(later), batch="sb-20261129-eur", day="2026-11-29")
    assert [matching.find_missing(now=NOW + timedelta(days=30)) for _twice in range(2)] == [2, 0]
    assert [(one.kind, one.subject, one.expected) for one in Mismatch.objects.filter(resolved_at=None).order_by("pk")] == [
        ("missing_there", second.public_id, Decimal(20)),
        ("missing_there", third.public_id, Decimal(30)),
    ]
    batch = settle(charged(second), batch="sb-20261130-eur", day="2026-11-30")
    assert (batch.mismatched, found(batch)) == (0, [("late", second.public_id, "0.00")])
    assert [one.subject for one in Mismatch.objects.filter(resolved_at=None).order_by("pk")] == [third.public_id]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciliation_mismatch SET suspended = suspended + 0.01",
        "UPDATE reconciliation_settlementbatch SET fees = fees + 0.01",
        "UPDATE reconciliation_settlementbatch SET matched_at = NULL, journal_entry_id = NULL",
        "DELETE FROM reconciliation_linematch WHERE kind = 'capture'",
        "DELETE FROM reconciliation_mismatch",
    ],
)
def test_postgres_keeps_what_was_compared_as_it_is(orders: list[PaymentOrder], statement: str) -> None:
    settle(charged(orders[0]), charged(orders[1], "20.01"))
    with pytest.raises((IntegrityError, InternalError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


# --- Looked at ------------------------------------------------------------------------------------------------------


def test_finance_looks_at_batches_and_mismatches(orders: list[PaymentOrder], admin_client: Client) -> None:
    batch = settle(charged(orders[0]), charged(orders[1], "20.01"))
    mismatch = Mismatch.objects.get()
    for address, sought in (
        ("settlementbatch/", "29.41"),
        (f"settlementbatch/{batch.pk}/change/", f"reconciliation/mismatch/?q={batch.public_id}"),
        (f"settlementbatch/?q={batch.public_id}", "sb-20261120-eur"),
        ("mismatch/?state=open", orders[1].public_id),
        (f"mismatch/?q={batch.public_id}", orders[1].public_id),
        (f"mismatch/{mismatch.pk}/change/", "20.01"),
    ):
        assert sought in admin_client.get(f"/admin/reconciliation/{address}", headers={"accept-language": "en"}).content.decode(), address


# --- All of it or nothing -------------------------------------------------------------------------------------------


def test_cp_40_whoever_dies_between_matching_and_posting_leaves_nothing(
    orders: list[PaymentOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_drafts: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal, "post", die)
        with pytest.raises(Killed):
            settle(charged(orders[0]))
    batch = SettlementBatch.objects.get()
    assert (batch.matched_at, LineMatch.objects.count(), owed()) == (None, 0, Decimal(60))
    assert matching.match_waiting(now=NOW) == 1
    assert (LineMatch.objects.count(), owed()) == (2, Decimal(50))


def test_a_file_that_is_not_read_to_its_end_is_not_compared(orders: list[PaymentOrder]) -> None:
    body = batch_of(charged(orders[0]))
    ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    assert matching.match_waiting(now=NOW) == 0
    assert not SettlementBatch.objects.exists()
