"""What Postgres refuses of orders, attempts, refunds and wallets, whoever asks."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ledger import chart, journal
from ledger.models import JournalEntry
from ledger.money import exact
from payments import refunds, settlement
from payments.models import ChosenTender, DueOrder, PaymentEvent, PaymentOrder
from payments.settlement import Capture
from tests.factories import draft, eur, stored_value_of
from tests.fixtures_money import confirm_card, execute_until_settled
from wallet import balances
from wallet.balances import Change, Movement, UnknownWallet
from wallet.models import OutboxMessage, Seller, Shop, Wallet

Open = Callable[..., PaymentEvent]


def change(order: PaymentOrder, **values: Any) -> None:
    PaymentOrder.objects.filter(pk=order.pk).update(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "FAILED"},
        {"status": "EXECUTING"},
        {"status": "NOT_STARTED"},
        {"status": "CANCELLED"},
        {"amount": eur("9.00"), "net": eur("8.10"), "fee": eur("0.90")},
        {"fee": eur("0.00"), "net": eur("10.00")},
        {"currency": "USD"},
        {"journal_entry": None},
        {"wallet_entry": None},
        {"refunded": eur("10.01")},
        {"refunded": eur("-0.01")},
    ],
    ids=lambda values: ", ".join(values),
)
def test_bug_41_a_paid_order_stays_as_it_was_paid(open_payment: Open, pay: Open, values: dict[str, Any]) -> None:
    [order] = pay(open_payment("10.00")).orders.all()
    with pytest.raises(IntegrityError):
        change(order, **values)


def test_an_order_that_is_not_paid_keeps_its_terms_as_well(open_payment: Open, sellers: list[Seller]) -> None:
    [order] = open_payment("10.00").orders.all()
    for values in ({"fee": eur("0.50"), "net": eur("9.50")}, {"seller_id": sellers[2].id}):
        with pytest.raises(IntegrityError, match="neither its terms"):
            change(order, **values)


def test_bug_27_success_without_an_entry_is_refused(open_payment: Open) -> None:
    [order] = open_payment("10.00").orders.all()
    with transaction.atomic():
        journal.open_accounts([chart.psp_fees()], currency="EUR")
        [entry] = journal.post([draft("not its own", debits=[(chart.psp_fees(), eur("5.00"))])])
    for values in (
        {"status": "SUCCESS"},
        {"status": "SUCCESS", "journal_entry_id": entry},
        {"journal_entry_id": entry},
    ):
        with pytest.raises(IntegrityError, match="success_has_its_entries"):
            change(order, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"amount": eur("0.00"), "net": eur("0.00"), "fee": eur("0.00")},
        {"fee": eur("-1.00"), "net": eur("11.00")},
        {"fee": eur("1.00"), "net": eur("8.99")},
        {"amount": eur("10.01")},
    ],
    ids=["nothing", "negative fee", "parts that are not the whole", "another sum"],
)
def test_an_order_of_impossible_amounts_cannot_be_written(open_payment: Open, values: dict[str, Any]) -> None:
    [order] = open_payment("10.00").orders.all()
    fresh = PaymentOrder(event=order.event, shop=order.shop, seller=order.seller, psp="sandbox")
    for column in ("amount", "fee", "net", "refunded", "disputed", "unreleased", "tendered", "tendered_back"):
        setattr(fresh, column, getattr(order, column))
    for name, value in values.items():
        setattr(fresh, name, value)
    with pytest.raises(IntegrityError, match="violates check constraint"):
        fresh.save()


def test_an_order_executes_once_at_a_time(open_payment: Open) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    [order] = event.orders.all()
    with pytest.raises(IntegrityError), transaction.atomic():
        DueOrder.objects.create(order=order, psp_key="another", payment_token="tok", next_attempt_at=timezone.now())
    execute_until_settled()


def test_two_attempts_of_one_order_never_have_one_number(open_payment: Open, pay: Open) -> None:
    [order] = pay(open_payment("10.00")).orders.all()
    [attempt] = order.attempts.all()
    attempt.pk = None
    with pytest.raises(IntegrityError, match="psp_attempt_is_numbered_once"):
        attempt.save(force_insert=True)


def test_pg_05_settling_inside_another_transaction_is_refused(open_payment: Open) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    [due] = DueOrder.objects.all()
    capture = Capture(due.order_id, 0, due.psp_key, "ch_1", eur("10.00"), timezone.now())
    for inside_another in (
        lambda: settlement.settle([capture]),
        lambda: settlement.fail([]),
        lambda: refunds.request_refund(due.order_id, amount=eur("1.00"), reason="", now=timezone.now()),
    ):
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            inside_another()
    execute_until_settled()


def test_pg_05_a_wallet_moves_and_a_message_is_kept_in_a_transaction_only() -> None:
    for outside in (
        lambda: balances.credit([Movement(1, 1, "x", eur("1.00"), eur("0.00"), eur("1.00"))]),
        lambda: balances.open_wallets([1], currency="EUR"),
    ):
        with pytest.raises(RuntimeError, match="inside a transaction"):
            outside()


def test_a_seller_without_a_wallet_in_the_currency_is_credited_nothing(open_payment: Open, sellers: list[Seller]) -> None:
    open_payment("10.00")
    yen = exact("10", "JPY")
    with pytest.raises(UnknownWallet), transaction.atomic():
        [entry] = journal.post([draft("a")])
        balances.credit([Movement(sellers[0].id, entry, "a", yen, yen - yen, yen)])
    assert not JournalEntry.objects.exists()


@pytest.mark.parametrize("figure", ["pending", "reserved"])
def test_inv_04_no_more_than_is_pending_or_reserved_is_taken(open_payment: Open, pay: Open, sellers: list[Seller], figure: str) -> None:
    pay(open_payment("10.00"))
    nothing = dict.fromkeys(("pending", "available", "reserved"), eur("0.00"))
    with pytest.raises(IntegrityError, match="wallet_is_not_overdrawn"), transaction.atomic():
        [entry] = journal.post([draft("a")])
        taken = nothing | {figure: eur("-9.01")}
        balances.change([Change(sellers[0].id, entry, "refund", "a", gross=eur("-9.01"), fee=eur("0.00"), **taken)])
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("9.00")


def test_a_movement_says_its_arithmetic_or_is_refused(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    pay(open_payment("10.00"))
    for gross, fee, net in (("5.00", "1.00", "5.00"), ("5.00", "0.00", "4.99")):
        with pytest.raises(IntegrityError, match="net_is_what_the_wallet_changed_by"), transaction.atomic():
            [entry] = journal.post([draft("a")])
            balances.credit([Movement(sellers[0].id, entry, "a", eur(gross), eur(fee), eur(net))])


def test_a_movement_whose_net_is_not_its_gross_less_its_fee_is_refused(open_payment: Open, pay: Open) -> None:
    movement = pay(open_payment("10.00")).orders.get().wallet_entry
    assert movement is not None
    movement.pk, movement.gross = None, eur("10.01")
    with pytest.raises(IntegrityError, match="net_is_gross_less_fee"):
        movement.save(force_insert=True)


def test_opening_a_wallet_twice_opens_it_once_and_keeps_what_is_in_it(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    pay(open_payment("10.00"))
    with transaction.atomic():
        balances.open_wallets([seller.id for seller in sellers] * 2, currency="EUR")
    assert [wallet.pending.amount for wallet in Wallet.objects.order_by("seller")] == [9, 0, 0]


@pytest.mark.parametrize("table", ["wallet_walletentry", "wallet_outboxmessage"])
def test_what_was_told_and_moved_is_never_taken_back(open_payment: Open, pay: Open, table: str) -> None:
    pay(open_payment("10.00"))
    told = OutboxMessage.objects.count()
    for verb in (f"DELETE FROM {table}", f"UPDATE {table} SET id = id + 1"):
        with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(verb)
    assert OutboxMessage.objects.count() == told


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payments_tender SET amount = amount - 1",
        "UPDATE payments_tender SET order_id = order_id + 1",
        "UPDATE payments_tender SET value_id = value_id + 1",
        "UPDATE payments_tender SET status = 'RELEASED'",
        "UPDATE payments_tender SET status = 'HELD'",
        "UPDATE payments_tender SET refunded = 5",
        "UPDATE payments_paymentorder SET tendered = 0 WHERE tendered > 0",
        "UPDATE payments_paymentorder SET tendered_back = 1 WHERE tendered > 0",
        "UPDATE payments_paymentorder SET refunded = 7 WHERE tendered > 0",
        "UPDATE payments_paymentorder SET fills_id = (SELECT min(id) FROM wallet_storedvalue)",
        "UPDATE wallet_storedvalue SET held = 1",
    ],
)
def test_how_an_order_was_paid_never_changes(shop: Shop, open_payment: Open, pay: Open, change: str) -> None:
    """Of 10.00 that were paid, 4.00 came from a gift card: as much of the card's 6.00 goes back as was charged, and no more."""
    event = open_payment("10.00")
    ChosenTender.objects.create(event=event, value=stored_value_of(shop, "4.00"))
    pay(event)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
