"""Whose fee applies: the most specific schedule of that day, the shop's plain share without one; and what is agreed stays agreed."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from djmoney.money import Money

from ledger.models import JournalEntry
from ledger.money import exact
from payments import fee_schedules, intake
from payments.intake import NewOrder
from payments.models import FeeSchedule, FeeTier, PaymentEvent
from tests.factories import NOON, basket, eur, new_sellers, new_shop
from wallet.models import Seller, Shop

Open = Callable[..., PaymentEvent]
TODAY, TOMORROW = date(2026, 11, 2), date(2026, 11, 3)


def fees(event: PaymentEvent) -> list[Money]:
    return [order.fee for order in event.orders.order_by("id")]


def schedule(shop: Shop, seller: Seller | None, basis_points: int, fixed: Money, **terms: Any) -> FeeSchedule:
    return FeeSchedule.objects.create(shop=shop, seller=seller, basis_points=basis_points, fixed=fixed, **terms)


def points_of(shop: Shop, *orders: tuple[Seller, str], now: datetime = NOON) -> list[int]:
    """Return the basis points of the terms that orders of these sellers and categories are opened under."""
    asked = [(seller.pk, category) for seller, category in orders]
    return [terms.basis_points for terms in fee_schedules.terms_of(shop, asked, currency="EUR", method="card", now=now)]


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
    today = timezone.now().date()
    FeeSchedule.objects.filter(pk=standing.pk).update(valid_until=today)
    schedule(shop, None, 9000, eur("0.00"), valid_from=today)
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


# --- Which one ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_most_specific_schedule_counts_seller_before_category_before_method() -> None:
    shop = new_shop(fee_basis_points=1)
    ada, bolt = new_sellers(shop, "Ada", "Bolt")
    orders = [(ada, "books"), (ada, ""), (bolt, "books"), (bolt, "bikes")]
    seen = [points_of(shop, *orders)]
    for points, (seller, category, method) in enumerate(
        [(None, "", ""), (None, "", "card"), (None, "books", ""), (ada, "", ""), (ada, "books", ""), (ada, "books", "card")], start=2
    ):
        schedule(shop, seller, points, eur("0.00"), category=category, method=method)
        seen.append(points_of(shop, *orders))
    assert seen == [
        [1, 1, 1, 1],
        [2, 2, 2, 2],
        [3, 3, 3, 3],
        [4, 3, 4, 3],
        [5, 5, 4, 3],
        [6, 5, 4, 3],
        [7, 5, 4, 3],
    ]


@pytest.mark.django_db
def test_a_basket_asks_once_for_its_terms_however_many_orders_and_tiers() -> None:
    shop = new_shop()
    sellers = new_sellers(shop, "Ada", "Bolt", "Cleo")
    for seller in sellers:
        FeeTier.objects.create(schedule=schedule(shop, seller, 1, eur("0.00")), above=eur("10.00"), basis_points=2, fixed=eur("0.00"))
    orders = [(seller, "") for seller in sellers] * 10
    points_of(shop, *orders)
    with CaptureQueriesContext(connection) as captured:
        assert points_of(shop, *orders) == [1] * 30
    assert len(captured) == 1


@pytest.mark.django_db
def test_a_schedule_counts_from_its_first_day_until_the_day_on_which_it_is_over() -> None:
    shop = new_shop(fee_basis_points=1)
    [ada] = new_sellers(shop, "Ada")
    schedule(shop, None, 2, eur("0.00"), valid_until=TODAY)
    schedule(shop, None, 3, eur("0.00"), valid_from=TODAY, valid_until=TOMORROW)
    moments = [datetime(2026, 11, 1, 23, 59, 59, 999999), datetime(2026, 11, 2), datetime(2026, 11, 2, 23, 59, 59), datetime(2026, 11, 3)]  # noqa: DTZ001
    assert [points_of(shop, (ada, ""), now=moment.replace(tzinfo=UTC)) for moment in moments] == [[2], [3], [3], [1]]


@pytest.mark.django_db
def test_a_graduated_fee_with_its_category_is_frozen_on_the_order() -> None:
    shop = new_shop()
    [ada] = new_sellers(shop, "Ada")
    standing = schedule(shop, None, 1000, eur("0.30"), category="books", floor=eur("0.50"), cap=eur("9.00"))
    FeeTier.objects.create(schedule=standing, above=eur("50.00"), basis_points=200, fixed=eur("0.10"))
    orders = [NewOrder(ada.public_id, eur(amount), category="books") for amount in ("1.00", "50.00", "50.01", "100.00", "1000.00")]
    event, _is_new = intake.open_event(shop, basket([ada], orders=orders), now=NOON)
    assert fees(event) == [eur("0.50"), eur("5.30"), eur("5.40"), eur("6.40"), eur("9.00")]
    assert set(event.orders.values_list("category", flat=True)) == {"books"}
    standing.refresh_from_db()
    assert standing.used_at == NOON


# --- What Postgres refuses ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("terms", "overlaps"),
    [
        ({}, True),
        ({"valid_from": TODAY}, True),
        ({"valid_from": TOMORROW}, False),
        ({"valid_until": TODAY}, True),
        ({"valid_until": date(2026, 11, 1)}, False),
        ({"category": "books"}, False),
        ({"method": "card"}, False),
        ({"seller": None}, False),
        ({"fixed": exact("0", "JPY")}, False),
    ],
)
def test_two_schedules_are_never_for_the_same_orders_on_the_same_day(terms: dict[str, Any], overlaps: bool) -> None:
    shop = new_shop()
    [ada] = new_sellers(shop, "Ada")
    schedule(shop, ada, 100, eur("0.00"), valid_from=date(2026, 11, 1), valid_until=TOMORROW)
    second: dict[str, Any] = {"seller": ada, "basis_points": 200, "fixed": eur("0.00"), **terms}
    if overlaps:
        with pytest.raises(IntegrityError, match="fee_schedules_never_overlap"):
            schedule(shop, **second)
    else:
        schedule(shop, **second)


@pytest.mark.django_db
def test_of_a_schedule_that_was_used_only_the_end_may_change() -> None:
    shop = new_shop()
    [ada] = new_sellers(shop, "Ada")
    standing = schedule(shop, None, 100, eur("0.00"))
    tier = FeeTier.objects.create(schedule=standing, above=eur("50.00"), basis_points=200, fixed=eur("0.00"))
    FeeTier.objects.filter(pk=tier.pk).update(basis_points=300)  # nobody used it yet
    points_of(shop, (ada, ""))
    mine, its_tiers = FeeSchedule.objects.filter(pk=standing.pk), FeeTier.objects.filter(pk=tier.pk)
    deeds: list[Callable[[], Any]] = [
        lambda: mine.update(basis_points=101),
        lambda: mine.update(category="books"),
        lambda: mine.update(used_at=None),
        lambda: mine._raw_delete(mine.db),
        lambda: its_tiers.update(above=60),
        its_tiers.delete,
        lambda: FeeTier.objects.create(schedule=standing, above=eur("70.00"), basis_points=1, fixed=eur("0.00")),
    ]
    for deed in deeds:
        with pytest.raises(IntegrityError, match="was used"), transaction.atomic():
            deed()
    assert mine.update(valid_until=TOMORROW) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("terms", "rule"),
    [
        ({"floor": eur("2.00"), "cap": eur("1.00")}, "fee_floor_is_below_its_cap"),
        ({"cap": eur("-1.00")}, "fee_floor_is_below_its_cap"),
        ({"valid_from": TODAY, "valid_until": TODAY}, "fee_schedule_begins_before_it_ends"),
        ({"method": "iban"}, "known_method"),
        ({"cap": Money("1.001", "EUR")}, "cap_is_in_minor_units"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(terms: dict[str, Any], rule: str) -> None:
    with pytest.raises(IntegrityError, match=rule):
        schedule(new_shop(), None, 100, eur("0.00"), **terms)


@pytest.mark.django_db
def test_a_tier_is_in_the_currency_of_its_schedule() -> None:
    standing = schedule(new_shop(), None, 100, eur("0.00"))
    with pytest.raises(IntegrityError, match="fee_tier_is_in_its_schedules_currency"):
        FeeTier.objects.create(schedule=standing, above=exact("50", "JPY"), basis_points=1, fixed=exact("0", "JPY"))
