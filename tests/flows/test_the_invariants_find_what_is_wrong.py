"""Testing the tester: each invariant is broken by hand, behind the guards' back, and must be the one that says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone

from ledger import seals, snapshots
from payments import cancellations, disputes, expiry, late, refunds, settlement
from payments.models import PaymentEvent
from payments.psp.sandbox import dispute_of
from payments.settlement import Capture, Failure
from reconciliation import invariants
from tests.factories import eur
from tests.fixtures_money import Oracle, captures_of, charge_and_keep_the_answer, confirm_card, execute_refunds, execute_until_settled
from tests.fixtures_services import SandboxCompany

Open = Callable[..., PaymentEvent]

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
    ("INV-08", "DELETE FROM payments_latecharge"),
    ("INV-08", "UPDATE payments_latecharge SET amount = amount + 1"),
    ("INV-08", "UPDATE payments_refund SET status = 'SUCCESS' WHERE late_charge_id IS NOT NULL"),
    (
        "INV-08",
        "UPDATE payments_paymentorder SET status = 'FAILED', journal_entry_id = NULL, wallet_entry_id = NULL WHERE status = 'SUCCESS'",
    ),
    ("INV-08", "UPDATE payments_paymentorder SET amount = amount + 1, net = net + 1 WHERE status = 'SUCCESS'"),
    ("INV-08", "UPDATE ledger_journalentry SET reference = 'other:' || reference WHERE kind = 'sale'"),
    ("INV-08", "UPDATE wallet_walletentry SET source = 'ord_other' WHERE kind = 'sale'"),
    ("INV-09", "UPDATE payments_dispute SET amount = amount + 1"),
    ("INV-09", "UPDATE ledger_account SET code = 'suspense' WHERE code LIKE 'disputed:%'"),
    ("INV-12", "DELETE FROM payments_dueorder"),
    ("INV-12", "DELETE FROM payments_cancellation"),
    ("INV-12", "UPDATE payments_cancellation SET outcome = 'refunded'"),
    ("INV-12", "UPDATE payments_paymentorder SET status = 'NOT_STARTED' WHERE status = 'EXECUTING'"),
    ("INV-12", "UPDATE payments_paymentevent SET is_payment_done = false"),
    ("INV-12", "UPDATE payments_paymentevent SET status = 'partly_paid'"),
    ("INV-12", "UPDATE payments_paymentevent SET amount = amount + 1"),
    ("INV-12", "DELETE FROM payments_opencheckout"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'payment_order.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'refund.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'dispute.opened'"),
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
    ("INV-17", "UPDATE ledger_journalentry SET memo = 'another' WHERE kind = 'sale'"),
    ("INV-17", "DELETE FROM ledger_ledgerseal"),
    ("INV-20", "UPDATE ledger_balancesnapshot SET balance = balance + 0.01"),
]


@contextmanager
def damaged(statement: str) -> Iterator[None]:
    """Do the damage as a superuser with the guards off, for as long as the block lasts."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for constraint in checks():
            cursor.execute(f"ALTER TABLE {constraint[0]} DROP CONSTRAINT {constraint[1]}")
        cursor.execute(statement)
        assert cursor.rowcount > 0, "the damage must do some"
        yield
        transaction.set_rollback(True)


def checks() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
        )
        return list(cursor.fetchall())


@pytest.fixture
def a_bit_of_everything(open_payment: Open, pay: Open, oracle: Oracle, sandbox: SandboxCompany) -> Iterator[None]:
    """One payment that is paid and partly refunded (another refund came back), and others: charged too late, disputed, cancelled, executing."""
    order = pay(open_payment("10.00")).orders.get()
    _kept, other = (refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now()) for amount in ("4.00", "1.00"))
    execute_refunds(now=timezone.now())
    settlement.reverse_refund(other.pk, code="refund_failed", at=timezone.now())
    other.refresh_from_db()
    oracle.explain(other.psp_reference)  # the PSP knows nothing of its coming back
    late.settle(given_up_for_good(open_payment("30.00")))
    disputed = pay(open_payment("30.00")).orders.get()
    wire = sandbox.client.post("/v1/disputes", json={"reference": disputed.public_id}).json()
    disputes.open_dispute(dispute_of(wire), psp="sandbox")
    cancellations.cancel_event(open_payment("40.00").pk, reason="", once="", requested_by="", now=timezone.now())
    snapshots.take()
    seals.seal()
    confirm_card(open_payment("20.00"))
    yield
    execute_until_settled()
    execute_refunds(now=timezone.now())


def given_up_for_good(event: PaymentEvent) -> list[Capture]:
    """Charge, lose the answer, give the order up, and let the checkout's time run out; return what the PSP did."""
    [capture] = captures_of(charge_and_keep_the_answer(event))
    settlement.fail([Failure(capture.order_id, capture.attempt_id, capture.psp_key, "", "gave_up", "")])
    expiry.expire_checkouts(now=event.expires_at)
    return [capture]


@pytest.mark.parametrize(("invariant", "damage"), DAMAGE)
def test_each_kind_of_damage_is_found_by_its_invariant(a_bit_of_everything: None, invariant: str, damage: str) -> None:
    assert invariants.violations() == []
    with damaged(damage):
        found = [violation.invariant for violation in invariants.violations()]
    assert invariant in [name.split()[0] for name in found]


def test_every_check_is_broken_by_some_damage() -> None:
    assert {name.split()[0] for name in invariants.CHECKS} == {invariant for invariant, _damage in DAMAGE}


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
