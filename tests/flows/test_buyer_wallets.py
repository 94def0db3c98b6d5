"""Buyers' wallets: topped up by a payment that no seller and no fee has a part in, and spent without any PSP."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from payments import confirmation, executor, intake, settlement
from payments.confirmation import Confirmed
from payments.intake import CheckoutConflict, InvalidCheckout, NewOrder, NewPayment
from payments.models import ChosenTender, PaymentEvent
from tests.factories import eur, new_shop
from tests.fixtures_money import (
    DECLINED,
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    errors_in,
    pay_with_card,
    statuses,
)
from wallet import buyer_wallets, stored_value
from wallet.buyer_wallets import TopUp
from wallet.models import Buyer, Shop, StoredValue, Wallet

Open = Callable[..., PaymentEvent]


def top_up_of(amount: str = "80.00", **terms: Any) -> NewPayment:
    order = NewOrder("", eur(amount), fills=TopUp("EUR"))
    return NewPayment(**({"checkout_id": "top-1", "buyer_reference": "rosa", "orders": [order]} | terms))


def topped_up(shop: Shop, amount: str = "80.00", **terms: Any) -> PaymentEvent:
    event, _is_new = intake.open_event(shop, top_up_of(amount, **terms), now=timezone.now())
    return event


def wallet_of(event: PaymentEvent) -> StoredValue:
    [wallet] = buyer_wallets.of(event.buyer)
    return wallet


def owed_to(buyer: Buyer) -> Money:
    return queries.balance_of(chart.buyer_wallet(buyer.pk), currency="EUR")


def movements(event: PaymentEvent) -> list[tuple[str, Money]]:
    return [(each.kind, each.amount) for each in buyer_wallets.entries_of(event.buyer).order_by("pk")]


def test_a_top_up_is_owed_to_the_buyer_whole(shop: Shop, oracle: Oracle) -> None:
    event = topped_up(shop)
    fees = queries.balance_of(chart.fee_revenue(), currency="EUR")
    pay_with_card(event)
    assert wallet_of(event).balance == owed_to(event.buyer) == eur("80.00")
    assert queries.balance_of(chart.fee_revenue(), currency="EUR") == fees
    assert movements(event) == [("bought", eur("80.00"))]
    assert not Wallet.objects.filter(seller__shop=shop).exists()
    assert oracle.charged() == [event.orders.get().public_id]


def test_a_top_up_replayed_has_one_effect(shop: Shop, oracle: Oracle) -> None:
    """The shop asks twice, the PSP tells thrice, and the worker runs again."""
    event, again = topped_up(shop), topped_up(shop)
    assert event == again
    captures = captures_of(charge_and_keep_the_answer(event))
    for _time in range(3):
        settlement.settle(captures)
    executor.execute_due_orders(now=timezone.now())
    assert wallet_of(event).balance == eur("80.00")
    assert movements(event) == [("bought", eur("80.00"))]
    assert len(oracle.charged()) == 1


@pytest.mark.race
def test_a_top_up_settled_by_eight_at_once_has_one_effect(shop: Shop) -> None:
    event = topped_up(shop)
    captures = captures_of(charge_and_keep_the_answer(event))
    assert errors_in(all_at_once(*[partial(settlement.settle, captures)] * 8)) == []
    assert wallet_of(event).balance == eur("80.00")


@pytest.mark.race
def test_a_buyers_first_top_ups_at_once_open_one_wallet(shop: Shop) -> None:
    answers = all_at_once(*[partial(topped_up, shop, checkout_id=f"top-{number}") for number in range(6)])
    assert errors_in(answers) == []
    assert StoredValue.objects.filter(shop=shop).count() == Buyer.objects.filter(shop=shop).count() == 1


def test_other_terms_under_the_same_checkout_are_refused(shop: Shop) -> None:
    topped_up(shop)
    for changed in (top_up_of("90.00"), top_up_of(buyer_reference="anna")):
        with pytest.raises(CheckoutConflict):
            intake.open_event(shop, changed, now=timezone.now())


def test_nobody_fills_the_wallet_of_somebody_else(shop: Shop) -> None:
    event = topped_up(shop)
    elsewhere = new_shop("Elsewhere")
    orders = [NewOrder("", eur("5.00"), fills=wallet_of(event))]
    for where, buyer in ((shop, "anna"), (elsewhere, "rosa")):
        with pytest.raises(InvalidCheckout):
            intake.open_event(where, NewPayment("theirs", buyer, orders), now=timezone.now())


def test_a_declined_top_up_leaves_nothing(shop: Shop) -> None:
    event = topped_up(shop)
    pay_with_card(event, DECLINED)
    assert statuses(event) == ["FAILED"]
    assert (wallet_of(event).balance, movements(event)) == (eur("0.00"), [])
    pay_with_card(event)
    assert wallet_of(event).balance == eur("80.00")


def test_the_wallet_pays_in_one_commit_without_any_psp(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    event = topped_up(shop)
    pay_with_card(event)
    basket = open_payment("30.00", "20.00")
    ChosenTender.objects.create(event=basket, value=wallet_of(event))
    confirmation.confirm(basket.pk, Confirmed(f"stored:{basket.public_id}", "", eur("0.00")), now=timezone.now())
    assert statuses(basket) == ["SUCCESS", "SUCCESS"]
    assert wallet_of(event).balance == owed_to(event.buyer) == eur("30.00")
    assert movements(event) == [("bought", eur("80.00")), ("spent", eur("-30.00")), ("spent", eur("-20.00"))]
    assert len(oracle.charged()) == 1, "the PSP knows of the top-up alone"


def test_a_frozen_wallet_pays_nothing(shop: Shop, open_payment: Open) -> None:
    event = topped_up(shop)
    pay_with_card(event)
    wallet = wallet_of(event)
    stored_value.freeze(wallet.pk, because="dsp_1", now=timezone.now())
    basket = open_payment("30.00")
    ChosenTender.objects.create(event=basket, value=wallet)
    with pytest.raises(confirmation.AmountChanged):
        confirmation.confirm(basket.pk, Confirmed(f"stored:{basket.public_id}", "", eur("0.00")), now=timezone.now())
    assert wallet_of(event).balance == eur("80.00")
