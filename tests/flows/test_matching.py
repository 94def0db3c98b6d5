"""Settlement files against our books: what agrees is marked and posted as one entry of its batch, what does not is a mismatch in suspense."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.test import Client
from django.utils import timezone

from ledger import chart, journal, queries
from ledger.models import JournalEntry, Posting
from payments import confirmation, disputes, intake, late, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import ChosenTender, PaymentOrder, PspAttempt
from payments.psp.protocol import DisputeNotice
from payments.sandbox import settlement_files
from payments.settlement import Capture
from reconciliation import ingestion, invariants, matching, recognition, staging
from reconciliation.formats.records import LineKind, SettlementLine
from reconciliation.models import ExpectedFee, LineMatch, Mismatch, SettlementBatch
from tests.factories import basket, eur, new_sellers, new_shop, stored_value_of
from tests.settlement_files import HEADER, batch_of
from wallet.models import Seller, StoredValue

pytestmark = pytest.mark.django_db
NOW = datetime(2037, 11, 20, 12, 15, tzinfo=UTC)
ALL_HERE = NOW + timedelta(days=10)  # files came of all days that are meant here
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
    return settle_file(batch_of(*lines, **terms))


def settle_file(body: bytes) -> SettlementBatch:
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=ALL_HERE)
    assert ingestion.stage(file.pk, now=NOW).error == ""
    assert matching.match_waiting(now=NOW) == 1
    return SettlementBatch.objects.get(file=file)


def as_said(*lines: Line, day: str, batch: str = "") -> bytes:
    """Write a file of exactly these lines: its payout, or what it carries over, is among them."""
    name = batch or f"sb-{day.replace('-', '')}-eur"
    rows = (
        f"{name},{day},{number},{type_},{id_},,{key},visa,EUR,{gross},{fee},{Decimal(gross) - Decimal(fee)},{day}T12:15:00Z\n"
        for number, (type_, id_, key, gross, fee) in enumerate(lines, 1)
    )
    return (HEADER + "".join(rows)).encode()


def settle_lines(*lines: SettlementLine) -> SettlementBatch:
    """Stage and compare these lines, as no file of our sandbox's could say them; return their batch."""
    body = batch_of(("fee", "", "", "0.00", "1.00"))
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    staging.finish(file, count=staging.stage_settlement(file, iter(lines)), now=NOW)
    assert matching.match_waiting(now=NOW) == 1
    return SettlementBatch.objects.get(file=file)


def line_of(kind: LineKind, about: str, gross: str, net: str, *, currency: str = "EUR", rate: str = "1") -> SettlementLine:
    amounts = Decimal(gross), "EUR", Decimal(0), Decimal(net), Decimal(rate)
    return SettlementLine(2, kind, kind.value, "4711", about, "", "", currency, *amounts, NOW)


def dispute(order: PaymentOrder) -> None:
    """Open a dispute over the whole order, with a fee of 15.00."""
    charge = order.attempts.get().psp_reference
    terms = "open", order.amount, eur("15.00"), eur("0.00"), "fraudulent", NOW, NOW, NOW
    disputes.open_dispute(DisputeNotice("dp_1", order.public_id, order.public_id, charge, *terms), psp="sandbox")


def charge_late(order: PaymentOrder) -> None:
    """Let the PSP charge the order, which is paid, once more under the key k2."""
    attempt = PspAttempt.objects.create(order=order, number=2, psp="sandbox", psp_key="k2")
    assert late.receive(Capture(order.pk, attempt.pk, "k2", "ch_late", order.amount, NOW)) == ""


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
    assert {order.settled_at for order in PaymentOrder.objects.all()} == {NOW}, "the day is not over yet"


def test_a_batch_is_compared_once(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0]))
    assert matching.match_waiting(now=NOW + timedelta(days=1)) == 0
    assert matching.match(batch.pk, now=NOW + timedelta(days=1)).matched_at == NOW
    assert JournalEntry.objects.filter(kind="settlement").count() == 1


def test_a_charge_without_our_key_is_found_by_the_psps_id(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0], key=""), charged(orders[1], key="of somebody else"))
    assert (batch.matched, batch.mismatched) == (3, 0)


def test_a_charge_whose_call_was_made_twice_is_one_line_and_one_match(orders: list[PaymentOrder]) -> None:
    lines, call = [charged(order) for order in orders], orders[0].attempts.get()
    PspAttempt.objects.create(
        order=orders[0], number=2, psp="sandbox", psp_key=call.psp_key, status="SUCCEEDED", psp_reference=call.psp_reference
    )
    batch = settle(*lines)
    assert (batch.lines, batch.matched, found(batch)) == (4, 4, [])
    again = settle(lines[0], batch="sb-20371121-eur", day="2037-11-21")
    assert found(again) == [("duplicate", orders[0].public_id, "9.70")]


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
    second = settle(("dispute_won", "dp_1", "", "10.00", "0.00"), batch="sb-20371121-eur", day="2037-11-21")
    assert (second.mismatched, booked(second)) == (0, {"bank_in_transit": "10.00", "psp_receivable:sandbox": "-10.00"})
    assert owed() == 0


def test_a_fee_of_adyens_that_names_a_dispute_is_the_disputes_and_one_that_names_none_is_ours(orders: list[PaymentOrder]) -> None:
    dispute(orders[0])
    batch = settle_file(adyens(orders))
    assert (batch.file.format, batch.mismatched) == ("adyen_settlement", 0)
    assert booked(batch) == {"bank_in_transit": "33.90", "psp_fees": "1.10", "psp_receivable:sandbox": "-35.00"}
    assert owed() == 0


def test_a_fee_of_adyens_whose_dispute_comes_in_no_file_of_its_own_is_not_taken_for_ours(orders: list[PaymentOrder]) -> None:
    file, _is_new = ingestion.receive(
        io.BytesIO(adyens(orders, with_dispute=False)), "118.csv", source="sandbox", received_by="folder", now=NOW
    )
    ingestion.stage(file.pk, now=NOW)
    assert matching.match_waiting(now=NOW) == 0
    assert matching.match_waiting(now=NOW + timedelta(days=2, seconds=1)) == 1
    assert found(SettlementBatch.objects.get()) == [("missing_here", "", "-15.00")]


@pytest.mark.parametrize("is_heard_of", [True, False])
def test_a_fee_of_adyens_waits_for_the_dispute_that_it_names_but_not_for_ever(orders: list[PaymentOrder], is_heard_of: bool) -> None:
    file, _is_new = ingestion.receive(io.BytesIO(adyens(orders)), "118.csv", source="sandbox", received_by="folder", now=NOW)
    ingestion.stage(file.pk, now=NOW)
    assert matching.match_waiting(now=NOW) == 0
    if is_heard_of:
        dispute(orders[0])
    assert matching.match_waiting(now=NOW if is_heard_of else NOW + timedelta(days=2, seconds=1)) == 1
    batch = SettlementBatch.objects.get()
    assert found(batch) == ([] if is_heard_of else [("missing_here", "", "-10.00"), ("missing_here", "", "-15.00")])
    assert owed() == 0
    assert booked(batch)["psp_fees"] == "1.10"


def adyens(orders: list[PaymentOrder], *, with_dispute: bool = True) -> bytes:
    """Write a file as Adyen does, of these charges, a dispute of the first with its fee, and a fee of no payment."""
    charges = [(order, order.attempts.get().psp_reference) for order in orders]
    said = [
        *(("charge", id_, id_, int(order.amount.amount * 100), 0) for order, id_ in charges),
        *([("dispute", "dp_1", charges[0][1], -10_00, 0)] if with_dispute else []),
        ("dispute_fee", "dp_1", charges[0][1], 0, 15_00),
        ("dispute_fee", "Transaction fees", "", 0, 1_10),
    ]
    return as_written("adyen", *said)


def as_written(form: str, *said: tuple[str, str, str, int, int], name: str = "118", at: datetime = NOW, carried_in: int = 0) -> bytes:
    """Write a file in the form of a PSP, of lines - type, its id, the charge's, gross, fee in minor units - and what they pay or lack."""
    lines = [settlement_files.Line(kind, id_, charge, "", "", "", "", gross, fee, at) for kind, id_, charge, gross, fee in said]
    about = settlement_files.Batch(name, at.date(), "EUR", "Northwind", carried_in)
    return b"".join(settlement_files.written(about, lines, form=settlement_files.FORMATS[form]))


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
    batch = settle(("refund", "re_1", "", "-10.00", "0.00"), batch="sb-20371121-eur", day="2037-11-21")
    assert (batch.matched, batch.mismatched, batch.journal_entry_id) == (2, 0, None)
    assert owed() == -10


def test_what_is_only_carried_over_is_not_paid_until_a_later_batch_pays(orders: list[PaymentOrder]) -> None:
    first, second, third = orders
    refund = refunds.request_refund(second.pk, amount=eur("20.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    lacking = charged(first), ("refund", "re_1", "", "-20.00", "0.00")
    paying = ("carried_over", "", "", "-10.30", "0.00"), charged(second), charged(third)
    settle(*lacking)
    assert not PaymentOrder.objects.filter(settled_at__isnull=False).exists(), "the PSP has paid nothing out"
    paid = settle(*paying, batch="sb-20371121-eur", day="2037-11-21")
    assert (paid.mismatched, paid.paid_out) == (0, Decimal("39.10"))
    assert not PaymentOrder.objects.filter(settled_at=None).exists()


@pytest.mark.parametrize("form", ["adyen", "stripe_payout"])
def test_what_another_form_says_is_carried_over_is_no_line_that_nobody_knows(orders: list[PaymentOrder], form: str) -> None:
    first, second, third = orders
    refund = refunds.request_refund(second.pk, amount=eur("20.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    sold, *later = [("charge", id_, id_, int(order.amount.amount * 100), 30) for order in orders for id_ in [charged(order)[1]]]
    lacking = settle_file(as_written(form, sold, ("refund", "re_1", charged(second)[1], -20_00, 0)))
    assert (lacking.matched, lacking.mismatched, lacking.paid_out) == (3, 0, Decimal(0))
    assert booked(lacking) == {"psp_fees": "0.30", "psp_receivable:sandbox": "-0.30"}
    assert not PaymentOrder.objects.filter(settled_at__isnull=False).exists(), "the PSP has paid nothing out"
    paid = settle_file(as_written(form, *later, name="119", at=NOW + timedelta(days=1), carried_in=10_30))
    assert (paid.matched, paid.mismatched, paid.paid_out) == (4, 0, Decimal("39.10"))
    assert set(PaymentOrder.objects.filter(settled_at__isnull=False)) == {first, second, third}
    assert owed() == 0


def test_what_was_carried_over_is_paid_even_if_its_file_comes_last(orders: list[PaymentOrder]) -> None:
    first, second, third = orders
    refund = refunds.request_refund(second.pk, amount=eur("20.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    settle(("carried_over", "", "", "-10.30", "0.00"), charged(second), charged(third), batch="sb-20371121-eur", day="2037-11-21")
    assert PaymentOrder.objects.get(settled_at=None) == first
    settle(charged(first), ("refund", "re_1", "", "-20.00", "0.00"))
    assert not PaymentOrder.objects.filter(settled_at=None).exists()


def test_a_payout_that_came_back_pays_for_nothing(orders: list[PaymentOrder]) -> None:
    first, second, third = orders
    settle_file(as_said(charged(first), ("carried_over", "", "", "-9.70", "0.00"), day="2037-11-10"))
    came_back = ("payout_returned", "po_1", "", "50.00", "0.00"), charged(second), ("carried_over", "", "", "-69.70", "0.00")
    assert settle_file(as_said(*came_back, day="2037-11-11")).paid_out == -50
    assert not PaymentOrder.objects.filter(settled_at__isnull=False).exists()
    settle_file(
        as_said(("carried_over", "", "", "79.40", "0.00"), charged(third), ("payout", "po_2", "", "-109.10", "0.00"), day="2037-11-12")
    )
    assert not PaymentOrder.objects.filter(settled_at=None).exists()


def test_what_is_carried_over_is_paid_by_the_second_batch_of_the_same_day(orders: list[PaymentOrder]) -> None:
    first, second, _third = orders
    settle_file(as_said(charged(first), ("carried_over", "", "", "-9.70", "0.00"), day="2037-11-10"))
    paying = ("carried_over", "", "", "9.70", "0.00"), charged(second), ("payout", "po_1", "", "-29.40", "0.00")
    settle_file(as_said(*paying, batch="second", day="2037-11-10"))
    assert set(PaymentOrder.objects.filter(settled_at__isnull=False)) == {first, second}


def test_what_comes_again_in_a_batch_that_is_only_carried_over_is_not_paid(orders: list[PaymentOrder]) -> None:
    first, second, _third = orders
    settle_file(as_said(charged(first), ("carried_over", "", "", "-9.70", "0.00"), day="2037-11-10"))
    again = settle_file(as_said(charged(first), charged(second), ("carried_over", "", "", "-29.40", "0.00"), day="2037-11-10"))
    assert again.copy_of is not None
    assert not PaymentOrder.objects.filter(settled_at__isnull=False).exists()


def test_a_charge_that_is_known_later_waits_for_the_batch_that_pays_it(orders: list[PaymentOrder]) -> None:
    first, second, _third = orders
    attempt, line = first.attempts.get(), charged(first)
    PspAttempt.objects.filter(pk=attempt.pk).update(psp_reference="ch_other")
    settle_file(as_said(line, ("carried_over", "", "", "-9.70", "0.00"), day="2037-11-10"))
    PspAttempt.objects.filter(pk=attempt.pk).update(psp_reference=attempt.psp_reference)
    assert recognition.resolve_known(now=NOW) == 1
    assert not PaymentOrder.objects.filter(settled_at__isnull=False).exists()
    paying = ("carried_over", "", "", "9.70", "0.00"), charged(second), ("payout", "po_1", "", "-29.40", "0.00")
    settle_file(as_said(*paying, day="2037-11-11"))
    assert set(PaymentOrder.objects.filter(settled_at__isnull=False)) == {first, second}


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
    again = settle(charged(orders[0]), batch="sb-20371121-eur", day="2037-11-21")
    assert found(again) == [("duplicate", orders[0].public_id, "9.70")]


def test_a_charge_settled_in_another_currency_is_a_mismatch(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0]), currency="USD", batch="sb-20371120-usd")
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
    again = settle(charged(third, fee="0.59"), batch="sb-20371121-eur", day="2037-11-21")
    assert found(again) == [("duplicate", third.public_id, "29.41")]
    assert {order.settled_at for order in PaymentOrder.objects.all()} == {NOW}


def test_the_file_has_what_was_charged_and_nothing_of_what_a_gift_card_paid() -> None:
    """Of 100.00, 30.00 are a gift card's; 80.00 go back, 10.00 of them to it, then 5.00 to it alone.  Another order has no charge."""
    [seller] = new_sellers(new_shop(), "Ada's Books")
    mixed, alone = (
        sell_by(stored_value_of(seller.shop, "30.00"), seller, "100.00"),
        sell_by(stored_value_of(seller.shop, "8.00"), seller, "8.00"),
    )
    back, to_card = (refunds.request_refund(mixed.pk, amount=eur(amount), reason="", now=NOW) for amount in ("80.00", "5.00"))
    settlement.settle_refund(back.pk, psp_reference="re_1", refunded_at=NOW)
    settlement.settle_refund(to_card.pk, psp_reference="", refunded_at=NOW)
    [later] = sell("7.00", at=NOW + timedelta(days=9))
    first = settle(charged(later), batch="sb-20371129-eur", day="2037-11-29")
    settle(("fee", "", "", "0.00", "0.10"))
    assert matching.find_missing(now=NOW + timedelta(days=30)) == 2
    missed = [(each.subject, each.expected) for each in Mismatch.objects.order_by("pk")]
    assert missed == [(mixed.public_id, Decimal(70)), (back.public_id, Decimal(-70))]
    both = ("charge", "ch_mixed", mixed.public_id, "70.00", "1.00"), ("refund", "re_1", "", "-70.00", "0.00")
    batch = settle(*both, batch="sb-20371130-eur", day="2037-11-30")
    assert (first.mismatched, batch.mismatched, Mismatch.objects.filter(resolved_at=None).count()) == (0, 0, 0)
    assert owed() == Decimal("-1.10"), "what the PSP keeps of the next charges as its fees"
    mixed.refresh_from_db()
    assert (mixed.settled_at is None, alone.settled_at is None) == (batch.paid_out == 0, False)


def sell_by(value: StoredValue, seller: Seller, amount: str) -> PaymentOrder:
    """Sell for so much, of which the stored value pays what it can, and the PSP charges the rest."""
    event, _is_new = intake.open_event(seller.shop, basket([seller], amount), now=NOW)
    ChosenTender.objects.create(event=event, value=value)
    rest = event.amount - min(event.amount, value.balance)
    confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1" if rest else "", rest), now=NOW)
    order = event.orders.get()
    if rest:
        attempt = PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id, asked_for=rest.amount)
        settlement.settle([Capture(order.pk, attempt.pk, order.public_id, "ch_mixed", rest, NOW)])
    return event.orders.get()


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
    settle(charged(later), batch="sb-20371129-eur", day="2037-11-29")
    assert [matching.find_missing(now=NOW + timedelta(days=30)) for _twice in range(2)] == [2, 0]
    assert [(one.kind, one.subject, one.expected) for one in Mismatch.objects.filter(resolved_at=None).order_by("pk")] == [
        ("missing_there", second.public_id, Decimal(20)),
        ("missing_there", third.public_id, Decimal(30)),
    ]
    batch = settle(charged(second), batch="sb-20371130-eur", day="2037-11-30")
    assert (batch.mismatched, found(batch)) == (0, [("late", second.public_id, "0.00")])
    assert [one.subject for one in Mismatch.objects.filter(resolved_at=None).order_by("pk")] == [third.public_id]


def test_the_look_for_what_no_file_has_is_not_cut_off_by_the_timeout_of_a_statement() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("30s",)
        matching.find_missing(now=NOW)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("4min",), "until the commit, which this test's transaction holds back"


def test_a_refund_and_a_late_charge_that_no_file_has_are_missed_too(orders: list[PaymentOrder]) -> None:
    settle(*(charged(order) for order in orders))
    charge_late(orders[0])
    refund = refunds.request_refund(orders[1].pk, amount=eur("20.00"), reason="", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    [later] = sell("7.00", at=NOW + timedelta(days=9))
    settle(charged(later), batch="sb-20371129-eur", day="2037-11-29")
    assert [matching.find_missing(now=NOW + timedelta(days=30)) for _twice in range(2)] == [2, 0]
    late_charge = orders[0].late_charges.get()
    missed = Mismatch.objects.filter(resolved_at=None).values_list("subject", "expected")
    assert dict(missed) == {late_charge.public_id: Decimal(10), refund.public_id: Decimal(-20)}
    lines = ("charge", "ch_late", "k2", "10.00", "0.30"), ("refund", "re_1", "", "-20.00", "0.00")
    batch = settle(*lines, batch="sb-20371130-eur", day="2037-11-30")
    assert batch.mismatched == 0
    assert {(one.kind, one.resolved_at) for one in batch.mismatches.all()} == {("late", NOW)}


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


def test_a_batch_that_comes_again_in_other_bytes_books_nothing_twice_and_says_so(orders: list[PaymentOrder]) -> None:
    body = batch_of(*(charged(order) for order in orders), ("fee", "", "", "0.00", "1.10"))
    first, again = settle_file(body), settle_file(body + b"\n")
    assert (first.copy_of, first.mismatched, owed()) == (None, 0, Decimal(0))
    assert (again.copy_of, again.matched, again.journal_entry_id) == (first, 0, None)
    about = [(order.public_id, f"{order.amount.amount - Decimal('0.30'):.2f}") for order in orders]
    assert found(again) == [
        *(("duplicate", order_id, net) for order_id, net in about), ("duplicate", "", "-1.10"), ("duplicate", "", "-58.00"),
    ]  # fmt: skip


def test_what_is_new_in_a_batch_that_comes_again_counts(orders: list[PaymentOrder]) -> None:
    settle(charged(orders[0]))
    again = settle(charged(orders[0]), charged(orders[1]))
    assert found(again) == [("duplicate", orders[0].public_id, "9.70"), ("duplicate", "", "-29.40")]
    assert booked(again) == {"psp_fees": "0.30", "suspense": "19.70", "psp_receivable:sandbox": "-20.00"}


def test_batches_without_a_name_are_not_the_same_batch(orders: list[PaymentOrder]) -> None:
    for day in ("2037-11-20", "2037-11-21"):
        assert settle(("fee", "", "", "0.00", "1.00"), batch="", day=day).mismatched == 0


def test_another_charge_under_the_key_of_an_order_does_not_settle_it(orders: list[PaymentOrder]) -> None:
    its_own = charged(orders[0])
    charge_late(orders[0])
    batch = settle(("charge", "ch_third", "k2", "10.00", "0.30"), ("charge", "ch_third", orders[0].public_id, "10.00", "0.30"))
    assert found(batch) == [("missing_here", "", "9.70")] * 2
    assert not PaymentOrder.objects.exclude(settled_at=None).exists()
    assert settle(its_own, batch="sb-20371121-eur", day="2037-11-21").mismatched == 0


def test_a_net_that_is_not_the_gross_less_the_fee_is_a_mismatch(orders: list[PaymentOrder]) -> None:
    charge = orders[0].attempts.get().psp_reference
    batch = settle_lines(line_of(LineKind.CAPTURE, charge, "10", "5", rate="0.5"), line_of(LineKind.PAYOUT, "", "-5", "-5"))
    assert found(batch) == [("amount", orders[0].public_id, "5.00")]
    assert (Mismatch.objects.get().expected, Mismatch.objects.get().found, owed()) == (Decimal(10), Decimal(5), Decimal(60))


def test_what_is_paid_out_is_what_our_balance_is_less_by_whatever_the_currency_of_its_gross(orders: list[PaymentOrder]) -> None:
    charge = orders[0].attempts.get().psp_reference
    batch = settle_lines(
        line_of(LineKind.CAPTURE, charge, "10", "10"), line_of(LineKind.PAYOUT, "", "-11", "-10", currency="USD", rate="0.9091")
    )
    assert (batch.mismatched, booked(batch)) == (0, {"bank_in_transit": "10.00", "psp_receivable:sandbox": "-10.00"})


@pytest.mark.parametrize(("fee", "suspended", "kept"), [("-5.00", "5.00", None), ("10.01", "-0.01", "10.00"), ("9.99", None, "9.99")])
def test_without_an_agreed_fee_none_is_below_zero_or_above_the_charge(
    orders: list[PaymentOrder], fee: str, suspended: str | None, kept: str | None
) -> None:
    batch = settle(charged(orders[0], fee=fee))
    assert found(batch) == ([("fee", orders[0].public_id, suspended)] if suspended else [])
    assert booked(batch).get("psp_fees") == kept


@pytest.mark.parametrize(("fee", "mismatches"), [("15.00", []), ("16.00", ["-1.00"])])
def test_the_fee_in_the_line_of_a_dispute_is_booked_by_the_dispute_alone(
    orders: list[PaymentOrder], fee: str, mismatches: list[str]
) -> None:
    dispute(orders[0])
    batch = settle(*(charged(order) for order in orders), ("dispute", "dp_1", "", "-10.00", fee))
    assert [(kind, suspended) for kind, _subject, suspended in found(batch)] == [("fee", suspended) for suspended in mismatches]
    assert (booked(batch)["psp_fees"], owed()) == ("0.90", Decimal(0))


IN_ITS_LINE = ("dispute", "dp_1", "", "-10.00", "15.00")
BARE = ("dispute", "dp_1", "", "-10.00", "0.00")
ALONE = ("dispute_fee", "dp_1", "", "0.00", "15.00")


@pytest.mark.parametrize(
    ("batches", "kind"),
    [
        ([[IN_ITS_LINE, ALONE]], "duplicate"),
        ([[IN_ITS_LINE], [ALONE]], "duplicate"),
        ([[ALONE], [IN_ITS_LINE]], "fee"),
        ([[ALONE], [BARE]], ""),
    ],
)
def test_the_fee_of_a_dispute_in_two_lines_is_one_too_many(orders: list[PaymentOrder], batches: list[list[Line]], kind: str) -> None:
    dispute(orders[0])
    for number, lines in enumerate(batches):
        settle(charged(orders[number]), *lines, batch=f"sb-{number}")
    assert list(Mismatch.objects.values_list("kind", "suspended")) == ([(kind, Decimal(-15))] if kind else [])


def test_a_batch_of_a_day_that_is_yet_to_come_is_settled_now(orders: list[PaymentOrder]) -> None:
    batch = settle(charged(orders[0]), day="2037-11-27")
    orders[0].refresh_from_db()
    entry = JournalEntry.objects.get(reference=batch.public_id)
    assert (orders[0].settled_at, entry.effective_at) == (NOW, NOW)


# --- Looked at ------------------------------------------------------------------------------------------------------


def test_finance_looks_at_batches_and_mismatches(orders: list[PaymentOrder], admin_client: Client) -> None:
    batch = settle(charged(orders[0]), charged(orders[1], "20.01"))
    mismatch = Mismatch.objects.get()
    for address, sought in (
        ("settlementbatch/", "29.41"),
        (f"settlementbatch/{batch.pk}/change/", f"reconciliation/mismatch/?q={batch.public_id}"),
        (f"settlementbatch/?q={batch.public_id}", "sb-20371120-eur"),
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


def test_a_batch_that_cannot_be_compared_keeps_no_other_one_waiting(orders: list[PaymentOrder], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, order in zip(("sb-bad", "sb-good"), orders, strict=False):
        body = batch_of(charged(order), batch=name)
        file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
        ingestion.stage(file.pk, now=NOW)
    post = matching.post

    def post_unless_bad(batch: SettlementBatch, *, now: datetime) -> int | None:
        if batch.name == "sb-bad":
            raise DataError("numeric field overflow")
        return post(batch, now=now)

    with monkeypatch.context() as patch:
        patch.setattr(matching, "post", post_unless_bad)
        assert matching.match_waiting(now=NOW) == 1
    assert list(SettlementBatch.objects.filter(matched_at=None).values_list("name", flat=True)) == ["sb-bad"]
    assert owed() == 40, "the good one is booked"
    assert (matching.match_waiting(now=NOW), owed()) == (1, Decimal(30))


def test_a_file_that_is_not_read_to_its_end_is_not_compared(orders: list[PaymentOrder]) -> None:
    body = batch_of(charged(orders[0]))
    ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=NOW)
    assert matching.match_waiting(now=NOW) == 0
    assert not SettlementBatch.objects.exists()
