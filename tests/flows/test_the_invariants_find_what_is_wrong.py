"""Testing the tester: each invariant is broken by hand, behind the guards' back, and must be the one that says so."""

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone

from ledger import approvals, chart, entry_approvals, journal, periods, seals, snapshots
from ledger.money import exact, text, zero
from payments import cancellations, disputes, expiry, inbox, late, refunds, releases, settlement
from payments.intake import NewOrder
from payments.models import DueOrder, PaymentEvent, PaymentOrder
from payments.psp.protocol import Notice
from payments.psp.sandbox import dispute_of
from payments.settlement import Capture, Failure
from payouts import executor as payout_executor
from payouts import files
from payouts import requests as payout_requests
from payouts import settlement as payout_settlement
from payouts.models import PayoutSchedule
from reconciliation import bank_matching, close, ingestion, invariants, matching, resolution
from reconciliation.models import Mismatch, MonthClose, SettlementBatch
from tests.bank_statements import mt940
from tests.factories import draft, eur, make_available, new_bank_account, new_sellers, new_shop, stored_value_of
from tests.fixtures_money import (
    Oracle,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    pay_with_card,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_tenders import choose
from tests.rates import quote_euro
from tests.settlement_files import batch_of
from wallet import balances, conversions, idempotency, invoices, monthly, months, stored_value
from wallet.balances import Change
from wallet.conversions import Wish
from wallet.models import ReleaseTerms, Shop, TaxRate, WebhookEndpoint
from wallet.notifications import relay

Open = Callable[..., PaymentEvent]

TWO_HOURS_AGO = "now() - interval '2 hours'"
DAMAGE = [
    ("INV-01", "UPDATE ledger_posting SET amount = amount + 0.01 WHERE line = 1"),
    ("INV-01", "DELETE FROM ledger_posting WHERE line = 2"),
    ("INV-01", "DELETE FROM ledger_posting"),
    ("INV-02", "UPDATE ledger_posting SET amount = amount - 1 WHERE line = 3"),
    ("INV-02", "UPDATE ledger_posting SET currency = 'USD' WHERE line = 3"),
    ("INV-03", "UPDATE wallet_wallet SET pending = pending + 0.01"),
    ("INV-03", "UPDATE wallet_wallet SET available = 5.00"),
    ("INV-03", "UPDATE wallet_wallet SET pending = 0, reserved = pending"),
    (
        "INV-03",
        "UPDATE wallet_walletentry SET pending = pending + 1, net = net + 1, gross = gross + 1 WHERE kind = 'sale'",
    ),
    ("INV-03", "DELETE FROM wallet_walletentry WHERE kind = 'refund'"),
    ("INV-03", "UPDATE wallet_monthlyfigures SET net = net + 0.01"),
    ("INV-03", "UPDATE wallet_monthlyfigures SET month = month - interval '1 month'"),
    ("INV-04", "UPDATE wallet_wallet SET available = -100"),
    ("INV-05", "UPDATE wallet_wallet SET reserved = reserved + 1"),
    ("INV-05", "UPDATE payments_dispute SET held = held - 1 WHERE status = 'open'"),
    ("INV-05", "UPDATE payments_paymentorder SET unreleased = unreleased - 1 WHERE unreleased > 1"),
    ("INV-05", "UPDATE payments_paymentorder SET unreleased = 5 WHERE released_at IS NOT NULL"),
    ("INV-05", "UPDATE payments_reserve SET amount = amount - 0.01"),
    ("INV-05", "UPDATE payments_reserve SET released_at = now()"),
    ("INV-07", "UPDATE payments_paymentorder SET unreleased = net WHERE status = 'SUCCESS' AND refunded > 0"),
    ("INV-07", "UPDATE payments_paymentorder SET refunded = refunded + 1 WHERE status = 'SUCCESS'"),
    ("INV-07", "UPDATE payments_refund SET status = 'FAILED', journal_entry_id = NULL, wallet_entry_id = NULL"),
    ("INV-07", "DELETE FROM payments_refund"),
    ("INV-07", "UPDATE payments_paymentorder SET disputed = 0 WHERE disputed > 0"),
    ("INV-07", "UPDATE payments_dispute SET held = held - 1"),
    ("INV-07", "UPDATE ledger_journalentry SET reference = 'dsp_other' WHERE kind = 'dispute'"),
    ("INV-07", "UPDATE payments_refund SET amount = amount + 1, net = net + 1 WHERE reversal_entry_id IS NOT NULL"),
    ("INV-07", "UPDATE payments_refund SET reversal_entry_id = NULL, reversal_wallet_entry_id = NULL WHERE reversal_entry_id IS NOT NULL"),
    ("INV-07", "UPDATE payments_refund SET reversal_wallet_entry_id = wallet_entry_id WHERE reversal_entry_id IS NOT NULL"),
    ("INV-07", "UPDATE payments_refund SET fee = fee + 1, net = net - 1 WHERE status = 'SUCCESS'"),
    ("INV-07", "UPDATE payments_refund SET fee = fee - 0.10, net = net + 0.10 WHERE status = 'SUCCESS'"),
    ("INV-07", "UPDATE payments_refund SET wallet_entry_id = (SELECT min(id) FROM wallet_walletentry) WHERE status = 'SUCCESS'"),
    ("INV-07", "UPDATE payments_dispute SET wallet_entry_id = closing_wallet_entry_id WHERE status = 'lost'"),
    ("INV-07", "UPDATE payments_dispute SET closing_wallet_entry_id = wallet_entry_id WHERE status = 'lost'"),
    ("INV-07", "UPDATE payments_dispute SET fee = 0 WHERE status = 'open'"),
    ("INV-07", "UPDATE payments_dispute SET amount = amount - 1, lost = lost - 1 WHERE status = 'lost'"),
    ("INV-07", "UPDATE payments_dispute SET fee_returned = 0 WHERE status = 'lost'"),
    ("INV-07", "UPDATE payments_dispute SET fee_returned = fee_returned + 1 WHERE status = 'lost'"),
    (
        "INV-07",
        "UPDATE payments_paymentorder SET disputed = disputed - 1 WHERE id = (SELECT order_id FROM payments_dispute WHERE status = 'lost'); "
        "UPDATE payments_dispute SET held = held - 1 WHERE status = 'lost'",
    ),
    ("INV-07", "UPDATE payments_dispute SET charge = 'ch_other'"),
    ("INV-07", "UPDATE payments_refund SET borne = borne + 1, net = net - 1 WHERE status = 'SUCCESS'"),
    ("INV-08", "DELETE FROM payments_latecharge"),
    ("INV-08", "UPDATE payments_latecharge SET taken_back = 1"),
    ("INV-08", "UPDATE payments_latecharge SET amount = amount + 1"),
    ("INV-08", "UPDATE payments_refund SET status = 'SUCCESS' WHERE late_charge_id IS NOT NULL"),
    (
        "INV-08",
        "UPDATE payments_paymentorder SET status = 'FAILED', journal_entry_id = NULL, wallet_entry_id = NULL WHERE status = 'SUCCESS'",
    ),
    ("INV-08", "UPDATE payments_paymentorder SET amount = amount + 1, net = net + 1 WHERE status = 'SUCCESS'"),
    ("INV-08", "UPDATE ledger_journalentry SET reference = 'other:' || reference WHERE kind = 'sale'"),
    ("INV-08", "UPDATE wallet_walletentry SET source = 'ord_other' WHERE kind = 'sale'"),
    ("INV-08", "UPDATE payments_paymentorder SET released_at = NULL"),
    ("INV-08", "UPDATE ledger_journalentry SET kind = 'manual' WHERE kind = 'release'"),
    ("INV-08", "DELETE FROM payments_reserve"),
    ("INV-08", "UPDATE payments_reserve SET amount = amount + 1"),
    ("INV-09", "UPDATE payments_dispute SET amount = amount + 1"),
    ("INV-09", "UPDATE ledger_account SET code = 'suspense' WHERE code LIKE 'disputed:%'"),
    ("INV-09", "UPDATE payments_paymentorder SET psp = 'other' WHERE status = 'SUCCESS'"),
    ("INV-09", "UPDATE payments_latecharge SET psp = 'other'"),
    ("INV-09", "UPDATE ledger_account SET code = 'psp_receivable:other' WHERE code = 'psp_receivable:sandbox'"),
    ("INV-11", "UPDATE payments_pspevent SET reason = '' WHERE status = 'parked'"),
    ("INV-11", "UPDATE payments_pspevent SET next_attempt_at = now() WHERE status = 'applied'"),
    ("INV-11", "UPDATE payments_pspevent SET finished_at = NULL"),
    ("INV-11", "UPDATE payments_pspevent SET event_id = 'evt_same'"),
    ("INV-12", "DELETE FROM payments_dueorder"),
    ("INV-12", "DELETE FROM payments_duerelease"),
    (
        "INV-12",
        "INSERT INTO payments_duerelease (order_id) SELECT id FROM payments_paymentorder WHERE released_at IS NOT NULL",
    ),
    ("INV-12", "UPDATE payments_dueorder SET next_attempt_at = NULL"),
    ("INV-12", "UPDATE payments_refund SET next_attempt_at = NULL WHERE status = 'EXECUTING'"),
    ("INV-12", "UPDATE payouts_payout SET next_attempt_at = NULL WHERE status = 'EXECUTING'"),
    ("INV-12", "DELETE FROM payments_cancellation"),
    ("INV-12", "UPDATE payments_cancellation SET outcome = 'refunded'"),
    ("INV-12", "UPDATE payments_paymentorder SET status = 'NOT_STARTED' WHERE status = 'EXECUTING'"),
    ("INV-12", "UPDATE payments_paymentevent SET is_payment_done = false"),
    ("INV-12", "UPDATE payments_paymentevent SET status = 'partly_paid'"),
    ("INV-12", "UPDATE payments_paymentevent SET amount = amount + 1"),
    ("INV-12", "DELETE FROM payments_opencheckout"),
    ("INV-14", "UPDATE wallet_idempotencyrecord SET body = NULL"),
    ("INV-14", "UPDATE wallet_idempotencyrecord SET status = NULL"),
    ("INV-14", "UPDATE payments_refund SET once = 'the same wish'"),
    ("INV-14", "UPDATE payments_refund SET reference = 'the same wish'"),
    ("INV-15", "UPDATE ledger_account SET code = 'suspense' WHERE code = 'payouts_in_transit'"),
    ("INV-15", "DELETE FROM payouts_payout"),
    ("INV-15", "UPDATE payouts_payout SET amount = amount + 1 WHERE status = 'SUCCESS'"),
    ("INV-15", "UPDATE payouts_payout SET return_wallet_entry_id = wallet_entry_id WHERE status = 'RETURNED'"),
    ("INV-15", "UPDATE payouts_payout SET status = 'RETURNED' WHERE status = 'SUCCESS'"),
    ("INV-15", "UPDATE payouts_payout SET status = 'SUCCESS' WHERE status = 'EXECUTING'"),
    ("INV-15", "UPDATE payouts_payout SET status = 'SUCCESS' WHERE status = 'RETURNED'"),
    ("INV-15", "UPDATE payouts_paymentfile SET total = total + 1"),
    ("INV-15", "DELETE FROM payouts_paymentfileline"),
    ("INV-16", "UPDATE payouts_payout SET told = told + 1"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'payment_order.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'refund.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'dispute.opened'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'payment_order.released'"),
    ("INV-16", "UPDATE payments_paymentorder SET delivered_at = now() WHERE status = 'SUCCESS' AND delivered_at IS NULL"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'cancellation.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'late_charge.received'"),
    ("INV-16", "UPDATE wallet_outboxmessage SET sequence = sequence + 1 WHERE topic = 'refund.failed'"),
    ("INV-16", "UPDATE payments_paymentorder SET told = told + 1"),
    ("INV-16", "UPDATE payments_paymentevent SET told = 0"),
    (
        "INV-16",
        "INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, payload) "
        "SELECT public_id || '_twice', shop_id, topic, about, payload FROM wallet_outboxmessage WHERE topic = 'refund.succeeded'",
    ),
    ("INV-16", "UPDATE wallet_relayposition SET message_id = message_id + 1000"),
    ("INV-17", "UPDATE ledger_journalentry SET memo = 'another' WHERE kind = 'sale'"),
    ("INV-17", "DELETE FROM ledger_ledgerseal"),
    ("INV-18", "UPDATE payments_paymentorder SET shop_id = (SELECT shop_id FROM wallet_seller WHERE name = 'Zoe')"),
    ("INV-18", "UPDATE payments_paymentorder SET seller_id = (SELECT id FROM wallet_seller WHERE name = 'Zoe')"),
    ("INV-18", "UPDATE payments_paymentevent SET shop_id = (SELECT shop_id FROM wallet_seller WHERE name = 'Zoe')"),
    ("INV-18", "UPDATE payouts_bankaccount SET currency = 'USD'"),
    ("INV-18", "UPDATE wallet_buyer SET shop_id = (SELECT shop_id FROM wallet_seller WHERE name = 'Zoe')"),
    (
        "INV-18",
        "UPDATE ledger_account SET code = 'seller_reserved:' || (SELECT id FROM wallet_seller WHERE name = 'Zoe') "
        "WHERE code LIKE 'seller_reserved:%'",
    ),
    ("INV-19", "UPDATE wallet_walletentry SET fee = fee + 1, gross = gross + 1 WHERE kind = 'sale'"),
    ("INV-19", "DELETE FROM wallet_feeinvoiceline"),
    ("INV-19", "UPDATE wallet_feeinvoice SET tax = tax + 1, net = net - 1"),
    ("INV-19", "DELETE FROM wallet_feeinvoice WHERE sequence = 1"),
    ("INV-19", "UPDATE wallet_feeinvoice SET sequence = sequence + 1"),
    ("INV-19", "UPDATE ledger_journalentry SET reference = 'inv_other' WHERE kind = 'fee_invoice'"),
    ("INV-19", "UPDATE ledger_closedtotal SET debits = debits + 0.01"),
    ("INV-19", "DELETE FROM ledger_closedtotal WHERE kind = 'tax_payable'"),
    ("INV-19", "UPDATE ledger_journalentry SET effective_at = effective_at - interval '2 months' WHERE kind = 'sale'"),
    ("INV-19", "UPDATE reconciliation_closeevidence SET document = 'another'"),
    ("INV-19", "DELETE FROM reconciliation_closeevidence"),
    ("INV-19", "UPDATE reconciliation_monthclose SET status = 'PREPARED'"),
    ("INV-20", "UPDATE ledger_balancesnapshot SET balance = balance + 0.01"),
    ("INV-20", f"UPDATE payments_dueorder SET next_attempt_at = {TWO_HOURS_AGO}"),
    ("INV-20", f"UPDATE payments_dueorder SET next_attempt_at = {TWO_HOURS_AGO}, claimed_until = {TWO_HOURS_AGO}"),
    ("INV-20", f"UPDATE payments_refund SET next_attempt_at = {TWO_HOURS_AGO} WHERE status = 'EXECUTING'"),
    ("INV-20", f"UPDATE payouts_payout SET next_attempt_at = {TWO_HOURS_AGO} WHERE status = 'EXECUTING'"),
    ("INV-20", f"UPDATE payments_duerelease SET due_at = {TWO_HOURS_AGO}"),
    (
        "INV-20",
        "UPDATE payments_duerelease SET waits_for_file = true; "
        "UPDATE ledger_journalentry SET effective_at = now() - interval '31 days' WHERE kind = 'sale'",
    ),
    ("INV-20", f"UPDATE payments_reserve SET free_at = {TWO_HOURS_AGO}"),
    ("INV-20", f"UPDATE payments_pspevent SET status = 'received', reason = '', received_at = {TWO_HOURS_AGO}"),
    ("INV-20", f"UPDATE payments_pspevent SET next_attempt_at = {TWO_HOURS_AGO} WHERE status = 'parked'"),
    (
        "INV-20",
        f"UPDATE payments_cancellation SET status = 'EXECUTING', created_at = {TWO_HOURS_AGO}; "
        f"UPDATE payments_transition SET at = {TWO_HOURS_AGO}",
    ),
    (
        "INV-20",
        f"UPDATE wallet_outboxmessage SET created_at = {TWO_HOURS_AGO}; UPDATE wallet_relayposition SET message_id = message_id - 1",
    ),
    ("INV-21", "UPDATE reconciliation_settlementbatch SET fees = fees + 0.01"),
    ("INV-21", "UPDATE reconciliation_mismatch SET resolved_at = now() WHERE resolved_at IS NULL"),
    ("INV-21", "UPDATE reconciliation_proposal SET status = 'WAITING'"),
    ("INV-21", "UPDATE reconciliation_proposal SET journal_entry_id = NULL"),
    ("INV-21", "UPDATE ledger_journalentry SET reference = 'mm_other' WHERE kind = 'resolution'"),
    ("INV-21", "UPDATE reconciliation_mismatch SET suspended = suspended - 0.01"),
    ("INV-21", "DELETE FROM reconciliation_mismatch"),
    ("INV-21", "DELETE FROM reconciliation_linematch WHERE kind = 'payout'"),
    ("INV-21", "UPDATE reconciliation_comparedstatement SET paid_in = paid_in + 0.01"),
    ("INV-21", "DELETE FROM reconciliation_banklinematch"),
    ("INV-21", "UPDATE reconciliation_banklinematch SET short_by = short_by + 0.01 WHERE batch_id IS NOT NULL"),
    ("INV-21", "UPDATE reconciliation_comparedstatement SET charges = charges + 0.01"),
    ("INV-21", "UPDATE ledger_account SET code = 'bank_in_transit:other' WHERE code = 'bank_in_transit'"),
    ("INV-22", "UPDATE ledger_approval SET status = 'WAITING' WHERE kind = 'write_off'"),
    ("INV-22", "UPDATE ledger_approval SET journal_entry_id = NULL WHERE kind = 'entry'"),
    ("INV-22", "UPDATE ledger_approval SET decided_by = 'user:ada'"),
    ("INV-22", "UPDATE ledger_approval SET terms = jsonb_set(terms, '{amount}', '\"3.01\"') WHERE kind = 'write_off'"),
    ("INV-22", "UPDATE ledger_journalentry SET reference = 'other' WHERE reference = 'fee-1'"),
    ("INV-22", "DELETE FROM ledger_approval WHERE kind = 'write_off'"),
    ("INV-08", "DELETE FROM wallet_storedvalueentry WHERE kind = 'bought'"),
    ("INV-08", "UPDATE ledger_journalentry SET kind = 'manual' WHERE kind = 'stored_value'"),
    ("INV-09", "UPDATE payments_paymentorder SET tendered = 0 WHERE status = 'SUCCESS' AND tendered > 0"),
    ("INV-23", "UPDATE payments_paymentorder SET fills_id = (SELECT min(id) FROM wallet_storedvalue) WHERE disputed > 0"),
    ("INV-23", "UPDATE wallet_storedvalue SET balance = balance + 0.01"),
    ("INV-23", "UPDATE wallet_storedvalue SET held = 0 WHERE held > 0"),
    ("INV-23", "UPDATE wallet_storedvalueentry SET amount = amount + 1 WHERE kind = 'granted'"),
    ("INV-23", "UPDATE wallet_storedvalueentry SET journal_entry_id = (SELECT min(id) FROM ledger_journalentry) WHERE kind = 'spent'"),
    ("INV-23", "UPDATE ledger_account SET code = 'suspense' WHERE code = 'gift_cards'"),
    ("INV-23", "UPDATE payments_tender SET amount = amount - 1 WHERE status = 'TAKEN'"),
    ("INV-23", "UPDATE payments_tender SET status = 'RELEASED' WHERE status = 'HELD'"),
    ("INV-23", "UPDATE payments_paymentorder SET tendered = tendered - 1 WHERE tendered > 0"),
    ("INV-23", "UPDATE payments_paymentorder SET tendered_back = 0 WHERE tendered_back > 0"),
    ("INV-23", "UPDATE payments_tender SET refunded = refunded + 1 WHERE refunded > 0"),
    ("INV-23", "UPDATE payments_refund SET tendered = tendered + 1 WHERE tendered > 0"),
    ("INV-23", "DELETE FROM payments_tenderrefund"),
    ("INV-23", "UPDATE wallet_storedvalueentry SET source = 're_other' WHERE kind = 'refund'"),
    ("INV-23", "UPDATE wallet_storedvalueentry SET amount = amount - 1 WHERE kind = 'bought_back'"),
    ("INV-23", "UPDATE wallet_storedvalue SET shop_id = (SELECT shop_id FROM wallet_seller WHERE name = 'Zoe')"),
    ("INV-23", "UPDATE payments_refund SET reversal_entry_id = journal_entry_id WHERE tendered > 0"),
    ("INV-24", "UPDATE wallet_exchangerate SET quoted_on = quoted_on + 1 WHERE source = 'manual'"),
    ("INV-24", "UPDATE wallet_exchangerate SET approval = 'apr_other' WHERE source = 'manual'"),
    ("INV-24", "UPDATE wallet_conversion SET bought = bought - 0.01"),
    ("INV-24", "UPDATE wallet_conversion SET sold_entry_id = bought_entry_id"),
    ("INV-24", "UPDATE wallet_exchangerate SET rate = rate * 2"),
    ("INV-24", "DELETE FROM wallet_conversion"),
    ("INV-24", "UPDATE ledger_journalentry SET kind = 'sale' WHERE kind = 'conversion'"),
    ("INV-24", "UPDATE wallet_walletentry SET source = 'cnv_other' WHERE kind = 'conversion'"),
]


@contextmanager
def damaged(statement: str) -> Iterator[None]:
    """Do the damage as a superuser with the guards off, for as long as the block lasts."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(";".join(without_the_guards()))
        cursor.execute(statement)
        assert cursor.rowcount > 0, "the damage must do some"
        yield
        transaction.set_rollback(True)


@functools.cache
def without_the_guards() -> list[str]:
    """Return the statements that drop every CHECK and whatever keeps rows unique, but the primary keys."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname) FROM pg_constraint
            WHERE contype IN ('c', 'u') AND connamespace = 'public'::regnamespace
            UNION ALL
            SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indisunique AND relnamespace = 'public'::regnamespace
              AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        """)
        return [statement for (statement,) in cursor.fetchall()]


@pytest.fixture
def a_bit_of_everything(shop: Shop, open_payment: Open, pay: Open, oracle: Oracle, sandbox: SandboxCompany) -> Iterator[None]:
    """One payment that is paid and partly refunded (another refund came back), and others: charged too late, disputed, cancelled, executing.

    What PSPs told, what shops asked under a key and whom they have told; and a seller of another shop.
    """
    new_sellers(new_shop("Southwind"), "Zoe")
    WebhookEndpoint.objects.create(shop=shop, url="https://shop.example/told")
    order = pay(open_payment("10.00")).orders.get()
    _kept, other = (refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now()) for amount in ("4.00", "1.00"))
    execute_refunds(now=timezone.now())
    settlement.reverse_refund(other.pk, code="refund_failed", at=timezone.now())
    other.refresh_from_db()
    oracle.explain(other.psp_reference)  # the PSP knows nothing of its coming back
    pay_by_gift_card(shop, open_payment)
    late.settle(given_up_for_good(open_payment("30.00")))
    for outcome in ("lost", "open"):
        disputed = pay(open_payment("30.00")).orders.get()
        wire = sandbox.client.post("/v1/disputes", json={"reference": disputed.public_id}).json()
        disputes.open_dispute(dispute_of(wire), psp="sandbox")
        if outcome == "lost":
            wire = sandbox.client.post(f"/v1/disputes/{wire['id']}/close", json={"outcome": "lost"}).json()
            disputes.close_dispute(dispute_of(wire), psp="sandbox")
    release(pay(open_payment("50.00")).orders.get())
    pay_out(shop, oracle)
    pay_out_by_file(shop)
    cancellations.cancel_event(open_payment("40.00").pk, reason="", once="", requested_by="", now=timezone.now())
    invoice_all_fees(shop)
    close_last_month()
    settle_a_batch(order)
    approve_an_entry_and_a_write_off(shop)
    convert_some_dollars(shop)
    monthly.keep_sums(now=timezone.now())
    snapshots.take()
    seals.seal()
    confirm_card(open_payment("20.00"))
    confirm_card(choose(open_payment("20.00"), stored_value_of(shop, "3.00")))
    for kind in ("session.completed", "payout.paid"):
        inbox.store("sandbox", Notice(f"evt_{shop.pk}_{kind}", kind, "", None), body='{"data": {"object": {}}}')
    inbox.apply_received(now=timezone.now())
    asked = idempotency.claim(idempotency.Request(shop, "POST /v1/payments", "once", "0" * 64), now=timezone.now())
    assert isinstance(asked, idempotency.Claim)
    idempotency.finish(asked, idempotency.Answer(201, "{}"))
    relay.fan_out(now=timezone.now())
    yield
    execute_until_settled()
    execute_refunds(now=timezone.now())


def pay_by_gift_card(shop: Shop, open_payment: Open) -> None:
    """Let a gift card pay a part of an order, and have some of it back; sell another one, part of which goes back, and more is about to."""
    now = timezone.now()
    order = pay_with_card(choose(open_payment("9.00"), stored_value_of(shop, "4.00"))).orders.get()
    refunds.request_refund(order.pk, amount=eur("6.00"), reason="", now=now)
    with transaction.atomic():
        sold = stored_value.open_gift_card(shop, currency="EUR", expires_at=None)
    bought = pay_with_card(open_payment(orders=[NewOrder("", eur("8.00"), fills=sold)])).orders.get()
    refunds.request_refund(bought.pk, amount=eur("3.00"), reason="", now=now)
    execute_refunds(now=now + timedelta(seconds=1))
    refunds.request_refund(bought.pk, amount=eur("2.00"), reason="", now=now)


def settle_a_batch(order: PaymentOrder) -> None:
    """Let the PSP's file settle the order's charge, and two that nobody knows; one of them is explained.  The bank shows it, and a line more."""
    charge, now = order.attempts.get(operation="charge"), timezone.now()
    unknown = ("charge", "ch_x", "", "1.00", "0.00"), ("charge", "ch_y", "", "2.00", "0.10")
    lines = ("charge", charge.psp_reference, charge.psp_key, "10.00", "0.30"), *unknown
    body = io.BytesIO(batch_of(*lines, day=now.date().isoformat()))
    file, _is_new = ingestion.receive(body, "sb.csv", source="sandbox", received_by="folder", now=now)
    ingestion.stage(file.pk, now=now)
    matching.match_waiting(now=now)
    known = Mismatch.objects.get(found=2)
    proposal = resolution.propose(known.pk, chart.owed_to_buyers(), "The buyer told us", actor="staff:ada", now=now)
    resolution.approve(proposal.pk, actor="staff:bea", reason="So it is", now=now)
    batch = SettlementBatch.objects.get(file=file)
    statement = mt940((str(batch.paid_out), "BK1", batch.name, ""), ("5.00", "BK2", "", "Somebody"), day=f"{now:%y%m%d}")
    file, _is_new = ingestion.receive(io.BytesIO(statement), "sta", source="sandbox_bank", received_by="folder", now=now)
    ingestion.stage(file.pk, now=now)
    bank_matching.match_waiting(now=now)


def convert_some_dollars(shop: Shop) -> None:
    """Let a seller change a part of what is there into euros."""
    [seller] = new_sellers(shop, "Hal")
    now, dollars = timezone.now(), exact("10.00", "USD")
    quote_euro(now, USD="1.0512")
    make_available(seller, dollars)
    conversions.convert(seller, Wish(dollars / 2, "EUR"), kept=zero("USD"), now=now)


def approve_an_entry_and_a_write_off(shop: Shop) -> None:
    """Let two people book a fee, and write off what a seller owes after the loss of a dispute."""
    [seller] = new_sellers(shop, "Gus")
    owing, nothing, now = eur("3.00"), eur("0.00"), timezone.now()
    make_available(seller, eur("1.00"))
    with transaction.atomic():
        debits, credits = [(chart.seller_available(seller.pk), eur("4.00"))], [(chart.operating_bank(), eur("4.00"))]
        [entry] = journal.post([draft("lost", debits=debits, credits=credits)])
        taken = Change(seller.pk, entry, "dispute_closed", "lost", -eur("4.00"), nothing, nothing, available=-eur("4.00"), reserved=nothing)
        balances.change([taken])
    loss = {"wallet": seller.wallets.get().pk, "amount": text(owing), "currency": "EUR"}
    fee = draft("fee-1", memo="A fee", debits=[(chart.psp_fees(), owing)], credits=[(chart.operating_bank(), owing)])
    rate = {"base": "EUR", "quote": "KES", "rate": "150.5", "quoted_on": now.date().isoformat()}
    for proposal in (
        approvals.Proposal("write_off", "wallet", loss, "Bankrupt"),
        approvals.Proposal("exchange_rate", "EUR/KES", rate, "The bank does not quote it"),
        entry_approvals.proposal_of(fee, evidence=""),
    ):
        proposed = approvals.propose(proposal, actor="staff:ada", now=now)
        approvals.approve(proposed.pk, actor="staff:bea", reason="So it is", now=now)


def release(order: PaymentOrder) -> None:
    """Deliver the order and let it become available, less a reserve."""
    now = timezone.now()
    ReleaseTerms.objects.create(shop=order.shop, reserve_basis_points=1000, reserve_days=30)
    releases.deliver(order.pk, at=now, actor="api:test", now=now)
    releases.release_due(now=now)


def invoice_all_fees(shop: Shop) -> None:
    """Let all that happened have happened last month, and invoice it, with tax."""
    now = timezone.now()
    month = months.of(now).previous
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE wallet_walletentry SET created_at = %s", [month.since])
    shop.sellers.update(country="DE")
    TaxRate.objects.create(shop=shop, country="DE", basis_points=1900, since=month.first_day)
    assert invoices.issue_month(shop, month, now=now, by="test") > 0


def close_last_month() -> None:
    """Close the month in which the tax of the invoices is booked."""
    now = timezone.now()
    month = months.of(now).previous.first_day
    prepared = MonthClose.objects.create(month=month, prepared_by="staff:ada", prepared_at=now, memo="Complete")
    with transaction.atomic():
        close.decide(prepared, MonthClose.Status.CLOSED, actor="staff:bea", reason="Right", now=now, closed=periods.close(month))
        close.keep(prepared, {"checks": []})


def pay_out(shop: Shop, oracle: Oracle) -> None:
    """Let one payout be paid, another come back, and a third be on its way."""
    [seller] = new_sellers(shop, "Emi")
    new_bank_account(seller)
    make_available(seller, eur("20.00"))
    for amount in ("5.00", "6.00"):
        payout = payout_requests.request_payout(seller, amount=eur(amount), now=timezone.now())
        payout_executor.execute_due_payouts(now=timezone.now())
        payout.refresh_from_db()
    terms = {"provider_reference": payout.provider_reference, "code": "account_closed"}
    payout_settlement.return_payout(payout.pk, **terms, returned_at=timezone.now())
    oracle.explain(payout.provider_reference)  # the bank knows nothing of its coming back
    payout_requests.request_payout(seller, amount=eur("7.00"), now=timezone.now())


def pay_out_by_file(shop: Shop) -> None:
    """Let a payout stand in a payment file."""
    [seller] = new_sellers(shop, "Fay")
    new_bank_account(seller)
    make_available(seller, eur("20.00"))
    terms = {"minimum": zero("EUR"), "keep_back": zero("EUR")}
    PayoutSchedule(shop=shop, seller=seller, provider=files.PROVIDER, **terms).save()
    payout_requests.request_payout(seller, amount=eur("8.00"), now=timezone.now())
    files.make("EUR", execute_on=timezone.now().date(), made_by="staff:ada", now=timezone.now())


def given_up_for_good(event: PaymentEvent) -> list[Capture]:
    """Charge, lose the answer, give the order up, and let the checkout's time run out; return what the PSP did."""
    [capture] = captures_of(charge_and_keep_the_answer(event))
    settlement.fail([Failure(capture.order_id, capture.attempt_id, capture.psp_key, "", "gave_up", "")])
    expiry.expire_checkouts(now=event.expires_at)
    return [capture]


def test_each_kind_of_damage_is_found_by_its_invariant_and_every_check_is_broken_by_some_damage(a_bit_of_everything: None) -> None:
    assert invariants.violations() == []
    missed, broken = [], set()
    for invariant, damage in DAMAGE:
        with damaged(damage):
            found = [violation.invariant for violation in invariants.violations()]
        if invariant not in [name.split()[0] for name in found]:
            missed.append((invariant, damage, found))
        broken |= set(found)
    assert missed == []
    assert set(invariants.CHECKS) - broken == set()
    assert invariants.violations() == []


def test_inv_05_money_that_is_reserved_for_nothing_is_found_where_books_and_wallet_agree_on_it(open_payment: Open, pay: Open) -> None:
    """What a dispute would leave behind that was closed and did not free its hold: nobody would ever free it."""
    seller_id = pay(open_payment("30.00")).orders.get().seller_id
    held, nothing = eur("5.00"), zero("EUR")
    with transaction.atomic():
        debits, credits = [(chart.seller_available(seller_id), held)], [(chart.seller_reserved(seller_id), held)]
        [entry] = journal.post([draft("stuck", debits=debits, credits=credits)])
        terms = {"gross": nothing, "fee": nothing, "pending": nothing, "available": -held, "reserved": held}
        balances.change([Change(seller_id, entry, "dispute", "dsp_gone", **terms)])
        assert [violation.invariant.split()[0] for violation in invariants.violations()] == ["INV-05"]
        transaction.set_rollback(True)


def test_inv_20_what_is_due_in_the_time_of_a_test_clock_is_not_overdue(open_payment: Open) -> None:
    confirm_card(open_payment("20.00"), now=timezone.now() + timedelta(minutes=20))
    assert invariants.violations() == []


def test_inv_20_what_a_worker_has_claimed_is_not_overdue(open_payment: Open) -> None:
    confirm_card(open_payment("20.00"))
    DueOrder.objects.update(next_attempt_at=timezone.now() - timedelta(hours=2), claimed_until=timezone.now() + timedelta(seconds=30))
    assert invariants.violations() == []
    execute_until_settled()


def test_the_oracle_finds_what_only_one_side_knows(a_bit_of_everything: None, oracle: Oracle) -> None:
    rows = oracle.rows()
    charge = next(row for row in rows if row["type"] == "charge.succeeded")
    others = [row for row in rows if row is not charge]
    lies = {
        "nothing": rows,
        "a charge that we never booked": [*rows, charge | {"reference": "ord_unknown"}],
        "a charge made twice": [*rows, charge],
        "a charge of another amount": [*others, charge | {"amount": 999}],
        "a charge in another currency": [*others, charge | {"currency": "USD"}],
        "a charge that the PSP does not know": others,
        "a refund made twice": [*rows, next(row for row in rows if row["type"] == "refund.succeeded")],
        "a payout made twice": [*rows, next(row for row in rows if row["type"] == "payout.paid")],
    }
    found = {lie: len(invariants.differences_from(journal, psp="sandbox")) for lie, journal in lies.items()}
    assert found == {
        "nothing": 0,
        "a charge that we never booked": 1,
        "a charge made twice": 1,
        "a charge of another amount": 2,
        "a charge in another currency": 2,
        "a charge that the PSP does not know": 1,
        "a refund made twice": 1,
        "a payout made twice": 1,
    }


def test_inv_09_the_oracle_owes_us_what_the_books_say_to_the_minor_unit(a_bit_of_everything: None, oracle: Oracle) -> None:
    rows = oracle.rows()
    charge, refund = (next(row for row in rows if row["type"] == kind) for kind in ("charge.succeeded", "refund.succeeded"))
    lies = {
        "nothing": rows,
        "a charge that we never booked": [*rows, charge],
        "a void": [*rows, charge | {"type": "charge.voided"}],
        "a void of what was pending": [*rows, charge | {"type": "charge.voided", "amount": None}],
        "a refund that came back": [*rows, refund | {"type": "refund.failed"}],
        "a refund that never went": [*rows, refund | {"type": "refund.failed", "object_id": "re_other"}],
        "no fee for the dispute": [row for row in rows if row["type"] != "dispute.fee"],
        "another currency": [*rows, charge | {"currency": "USD"}],
    }
    found = {lie for lie, journal in lies.items() if invariants.receivable_differs_from(journal, psp="sandbox")}
    assert found == lies.keys() - {"nothing", "a void of what was pending", "a refund that never went"}


def test_the_command_ends_with_an_error_when_something_is_wrong(a_bit_of_everything: None) -> None:
    call_command("check_invariants", verbosity=0)
    with damaged("UPDATE wallet_wallet SET pending = pending + 0.01"), pytest.raises(CommandError, match="INV-03"):
        call_command("check_invariants", verbosity=0)
