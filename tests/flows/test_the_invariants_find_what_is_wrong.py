"""Testing the tester: each invariant is broken by hand, behind the guards' back, and must be the one that says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone

from ledger import snapshots
from payments import refunds
from payments.models import PaymentEvent
from reconciliation import invariants
from tests.factories import eur
from tests.fixtures_money import Oracle, confirm_card, execute_refunds, execute_until_settled

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
    (
        "INV-08",
        "UPDATE payments_paymentorder SET status = 'FAILED', journal_entry_id = NULL, wallet_entry_id = NULL WHERE status = 'SUCCESS'",
    ),
    ("INV-08", "UPDATE payments_paymentorder SET amount = amount + 1, net = net + 1 WHERE status = 'SUCCESS'"),
    ("INV-08", "UPDATE ledger_journalentry SET reference = 'ord_other' WHERE kind = 'sale'"),
    ("INV-08", "UPDATE wallet_walletentry SET source = 'ord_other' WHERE kind = 'sale'"),
    ("INV-12", "DELETE FROM payments_dueorder"),
    ("INV-12", "UPDATE payments_paymentorder SET status = 'NOT_STARTED' WHERE status = 'EXECUTING'"),
    ("INV-12", "UPDATE payments_paymentevent SET is_payment_done = false"),
    ("INV-12", "UPDATE payments_paymentevent SET status = 'partly_paid'"),
    ("INV-12", "UPDATE payments_paymentevent SET amount = amount + 1"),
    ("INV-12", "DELETE FROM payments_opencheckout"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'payment_order.succeeded'"),
    ("INV-16", "DELETE FROM wallet_outboxmessage WHERE topic = 'refund.succeeded'"),
    (
        "INV-16",
        "INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, payload) "
        "SELECT 'evt_twice', shop_id, topic, about, payload FROM wallet_outboxmessage WHERE topic = 'refund.succeeded'",
    ),
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
def a_bit_of_everything(open_payment: Open, pay: Open) -> Iterator[None]:
    """One payment that is paid and partly refunded, and one that executes."""
    order = pay(open_payment("10.00")).orders.get()
    refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    snapshots.take()
    confirm_card(open_payment("20.00"))
    yield
    execute_until_settled()


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


def test_the_command_ends_with_an_error_when_something_is_wrong(a_bit_of_everything: None) -> None:
    call_command("check_invariants", verbosity=0)
    with damaged("UPDATE wallet_wallet SET pending = pending + 0.01"), pytest.raises(CommandError, match="INV-03"):
        call_command("check_invariants", verbosity=0)
