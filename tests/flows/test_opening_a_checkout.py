"""Intake: what becomes a payment, what is refused, and what the same checkout id means the second time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from ledger.errors import DomainError
from ledger.models import Account
from ledger.money import TooLarge, exact, from_minor
from payments import intake
from payments.intake import (
    CheckoutConflict,
    InvalidCheckout,
    MixedCurrencies,
    NewOrder,
    NewPayment,
    OrderReferenceUsed,
    ReturnUrlRefused,
    UnknownSeller,
)
from payments.models import OpenCheckout, PaymentEvent, PaymentOrder
from tests.factories import basket, eur, new_sellers, new_shop
from wallet.models import Buyer, Seller, Shop

Open = Callable[..., PaymentEvent]


def order(seller: Seller, amount: str = "10.00", currency: str = "EUR", **terms: Any) -> NewOrder:
    return NewOrder(seller.public_id, exact(amount, currency), **terms)


def ask(shop: Shop, payment: NewPayment) -> tuple[PaymentEvent, bool]:
    return intake.open_event(shop, payment, now=timezone.now())


@pytest.fixture
def asked(sellers: list[Seller]) -> NewPayment:
    orders = [order(sellers[0], reference="A-1"), order(sellers[1], "20.00", reference="A-2")]
    return basket(sellers, checkout_id="C-1", orders=orders, return_url="https://shop.example/thanks")


def test_a_checkout_becomes_one_event_and_one_order_per_seller(shop: Shop, asked: NewPayment) -> None:
    event, is_new = ask(shop, asked)
    assert (is_new, event.amount, event.status, event.is_payment_done) == (True, eur("30.00"), "open", False)
    assert [(o.reference, o.amount, o.fee, o.net, o.status) for o in event.orders.order_by("id")] == [
        ("A-1", eur("10.00"), eur("1.00"), eur("9.00"), "NOT_STARTED"),
        ("A-2", eur("20.00"), eur("2.00"), eur("18.00"), "NOT_STARTED"),
    ]
    assert OpenCheckout.objects.get().expires_at == event.expires_at


def test_bug_05_the_same_checkout_again_answers_with_the_same_payment(shop: Shop, asked: NewPayment) -> None:
    first, _new = ask(shop, asked)
    again, is_new = ask(shop, asked)
    assert (again.pk, is_new) == (first.pk, False)
    assert PaymentOrder.objects.count() == 2


def test_bug_05_a_paid_checkout_answers_the_same_way(shop: Shop, asked: NewPayment, pay: Open) -> None:
    event = pay(ask(shop, asked)[0])
    again, is_new = ask(shop, asked)
    assert (again.status, is_new, again.pk) == ("paid", False, event.pk)


@pytest.mark.parametrize(
    ("term", "change"),
    [
        ("buyer.reference", lambda asked, sellers: {"buyer_reference": "somebody else"}),
        ("return_url", lambda asked, sellers: {"return_url": "https://shop.example/elsewhere"}),
        ("payment_orders", lambda asked, sellers: {"orders": asked.orders[:1]}),
        ("payment_orders", lambda asked, sellers: {"orders": [*asked.orders, order(sellers[2])]}),
        (
            "payment_orders[0].amount",
            lambda asked, sellers: {"orders": [order(sellers[0], "10.01", reference="A-1"), asked.orders[1]]},
        ),
        (
            "payment_orders[1].seller",
            lambda asked, sellers: {"orders": [asked.orders[0], order(sellers[2], "20.00", reference="A-2")]},
        ),
        (
            "payment_orders[1].reference",
            lambda asked, sellers: {"orders": [asked.orders[0], order(sellers[1], "20.00", reference="A-3")]},
        ),
        ("payment_orders[0].seller", lambda asked, sellers: {"orders": asked.orders[::-1]}),
        (
            "payment_orders[0].amount",
            lambda asked, sellers: {
                "orders": [
                    order(sellers[0], "10.00", "USD", reference="A-1"),
                    order(sellers[1], "20.00", "USD", reference="A-2"),
                ]
            },
        ),
    ],
)
def test_changed_terms_under_the_same_checkout_id_are_refused_by_name(
    shop: Shop, asked: NewPayment, sellers: list[Seller], term: str, change: Callable[..., dict[str, Any]]
) -> None:
    ask(shop, asked)
    with pytest.raises(CheckoutConflict) as refused:
        ask(shop, dataclasses.replace(asked, **change(asked, sellers)))
    assert refused.value.field == term
    assert PaymentEvent.objects.count() == 1


def test_bug_29_two_shops_may_use_the_same_checkout_id_and_references(shop: Shop, asked: NewPayment) -> None:
    other = new_shop("Southwind")
    [seller] = new_sellers(other, "Dune")
    ask(shop, asked)
    event, is_new = ask(other, basket([seller], checkout_id="C-1", orders=[order(seller, reference="A-1")]))
    assert (is_new, event.shop) == (True, other)
    assert Buyer.objects.filter(reference="rosa").count() == 2


def test_sec_12_another_shops_seller_is_unknown_here(shop: Shop, sellers: list[Seller]) -> None:
    [stranger] = new_sellers(new_shop("Southwind"), "Dune")
    with pytest.raises(UnknownSeller) as refused:
        ask(shop, basket([sellers[0], stranger], "1.00", "2.00"))
    assert refused.value.field == "payment_orders[1].seller"


def test_an_order_reference_is_used_once_in_a_shop(shop: Shop, asked: NewPayment, sellers: list[Seller]) -> None:
    ask(shop, asked)
    with pytest.raises(OrderReferenceUsed) as refused:
        ask(shop, basket(sellers, orders=[order(sellers[0]), order(sellers[0], reference="A-2")]))
    assert refused.value.field == "payment_orders[1].reference"


def test_an_order_reference_comes_once_in_a_checkout(shop: Shop, sellers: list[Seller]) -> None:
    with pytest.raises(OrderReferenceUsed):
        ask(shop, basket(sellers, orders=[order(sellers[0], reference="A"), order(sellers[1], reference="A")]))


def test_orders_without_a_reference_are_no_conflict(shop: Shop, sellers: list[Seller]) -> None:
    for _time in range(2):
        ask(shop, basket(sellers, "1.00", "2.00"))
    assert PaymentOrder.objects.filter(reference="").count() == 4


@pytest.mark.parametrize(
    ("amounts", "error"),
    [
        ([], InvalidCheckout),
        (["0.00"], InvalidCheckout),
        (["5.00", "-5.00"], InvalidCheckout),
        (["1.00"] * 1001, InvalidCheckout),
    ],
    ids=["no orders", "nothing", "negative", "too many"],
)
def test_bug_18_a_checkout_of_nothing_is_refused(shop: Shop, sellers: list[Seller], amounts: list[str], error: type[DomainError]) -> None:
    with pytest.raises(error):
        ask(shop, basket(sellers, *amounts))
    assert not PaymentEvent.objects.exists()
    assert not Account.objects.exists()


def test_a_sum_too_large_for_any_column_is_refused(shop: Shop, sellers: list[Seller]) -> None:
    with pytest.raises(TooLarge):
        ask(shop, basket(sellers, "999999999999.99", "0.01"))


def test_two_currencies_in_one_checkout_are_refused(shop: Shop, sellers: list[Seller]) -> None:
    with pytest.raises(MixedCurrencies) as refused:
        ask(shop, basket(sellers, orders=[order(sellers[0]), order(sellers[1], "5", "JPY")]))
    assert refused.value.field == "payment_orders[1].amount.currency"


@pytest.mark.parametrize(
    "address",
    [
        "https://shop.example.evil.example/",
        "https://evil.example/https://shop.example",
        "https://shop.example@evil.example/",
        "https://shop.example:8443/",
        "http://shop.example/",
        "//shop.example/",
        "/thanks",
        "https:/\\shop.example",
        "https://shop.example\\@evil.example",
        " https://shop.example/",
        "https://shop.example/\n",
        "https://shop.example/\u0000",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://[::1",
        "HTTPS://SHOP.EXAMPLE.EVIL/",
    ],
)
def test_sec_08_nobody_is_sent_elsewhere(shop: Shop, sellers: list[Seller], address: str) -> None:
    with pytest.raises(ReturnUrlRefused):
        ask(shop, basket(sellers, "1.00", return_url=address))


def test_a_basket_of_a_thousand_orders_is_one_event(shop: Shop, sellers: list[Seller]) -> None:
    event, _new = ask(shop, basket(sellers, *["0.01"] * 1000))
    assert (event.amount, event.orders.count()) == (from_minor(1000, "EUR"), 1000)
