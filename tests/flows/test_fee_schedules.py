"""Whose fee applies: a seller's own schedule, the shop's for all, the shop's plain share; and what is agreed stays agreed."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError
from djmoney.money import Money

from ledger.models import JournalEntry
from ledger.money import exact
from payments.models import FeeSchedule, PaymentEvent
from tests.factories import eur, new_sellers, new_shop
from wallet.models import Seller, Shop

Open = Callable[..., PaymentEvent]


def fees(event: PaymentEvent) -> list[Money]:
    return [order.fee for order in event.orders.order_by("id")]


def schedule(shop: Shop, seller: Seller | None, basis_points: int, fixed: Money) -> FeeSchedule:
    standing = FeeSchedule(shop=shop, seller=seller, basis_points=basis_points)
    standing.fixed = fixed
    standing.save()
    return standing


def test_without_a_schedule_the_shops_plain_share_applies(open_payment: Open) -> None:
    assert fees(open_payment("100.00", "0.01")) == [eur("10.00"), eur("0.00")]


def test_the_shops_schedule_goes_before_its_plain_share_and_a_sellers_own_before_both(
    open_payment: Open, shop: Shop, sellers: list[Seller]
) -> None:
    schedule(shop, None, 290, eur("0.30"))
    schedule(shop, sellers[1], 0, eur("1.00"))
    assert fees(open_payment("100.00", "100.00", "100.00")) == [eur("3.20"), eur("1.00"), eur("3.20")]


def test_a_schedule_of_another_currency_does_not_apply(open_payment: Open, shop: Shop, sellers: list[Seller]) -> None:
    schedule(shop, sellers[0], 0, exact("50", "JPY"))
    assert fees(open_payment("100.00")) == [eur("10.00")]
    assert fees(open_payment("1000", currency="JPY")) == [exact("50", "JPY")]


def test_another_shops_schedule_does_not_apply(open_payment: Open) -> None:
    other = new_shop("Southwind")
    [stranger] = new_sellers(other, "Dune")
    schedule(other, None, 0, eur("0.00"))
    schedule(other, stranger, 10_000, eur("0.00"))
    assert fees(open_payment("100.00")) == [eur("10.00")]


def test_a_fee_is_frozen_when_the_checkout_is_opened(open_payment: Open, pay: Open, shop: Shop) -> None:
    standing = schedule(shop, None, 500, eur("0.00"))
    event = open_payment("100.00")
    standing.basis_points = 9000
    standing.save()
    assert fees(pay(event)) == [eur("5.00")]
    assert fees(open_payment("100.00")) == [eur("90.00")]


def test_all_or_nothing_is_booked_without_empty_legs(open_payment: Open, pay: Open, shop: Shop, sellers: list[Seller]) -> None:
    schedule(shop, sellers[0], 10_000, eur("0.00"))
    schedule(shop, sellers[1], 0, eur("0.00"))
    event = pay(open_payment("10.00", "10.00"))
    entries = [JournalEntry.objects.get(reference=order.public_id) for order in event.orders.order_by("id")]
    legs = [list(entry.postings.order_by("line").values_list("account__code", flat=True)) for entry in entries]
    assert legs == [
        ["psp_receivable:sandbox", "fee_revenue"],
        ["psp_receivable:sandbox", f"seller_pending:{sellers[1].id}"],
    ]


def test_a_fixed_part_larger_than_the_order_takes_the_order_and_no_more(open_payment: Open, pay: Open, shop: Shop) -> None:
    schedule(shop, None, 0, eur("5.00"))
    [order] = pay(open_payment("3.00")).orders.all()
    assert (order.fee, order.net) == (eur("3.00"), eur("0.00"))


@pytest.mark.parametrize(("basis_points", "fixed"), [(10_001, "0.00"), (100, "-0.01")])
def test_a_fee_is_between_nothing_and_all(shop: Shop, basis_points: int, fixed: str) -> None:
    with pytest.raises(IntegrityError, match="fee_is_between"):
        schedule(shop, None, basis_points, eur(fixed))


def test_a_seller_and_a_shop_each_have_one_schedule_per_currency(shop: Shop, sellers: list[Seller]) -> None:
    for seller in (sellers[0], None):
        schedule(shop, seller, 100, eur("0.00"))
        with pytest.raises(IntegrityError, match="seller_has_one_fee_schedule"):
            schedule(shop, seller, 200, eur("0.00"))
