"""The platform's fee: shares in basis points and fixed parts, within floor and cap, cut so that fee and net are the amount."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import exact, from_minor, minor_units, to_minor
from payments.fees import FeeTerms, Tier, fee_and_net, fee_of

CURRENCY = st.sampled_from(["JPY", "USD", "KWD", "CLF"])
BASIS_POINTS = st.integers(0, 10_000)
UNITS = st.integers(1, 10**9)
STEPS = st.lists(st.tuples(UNITS, BASIS_POINTS, st.integers(0, 10**6)), max_size=3, unique_by=lambda step: step[0]).map(sorted)


def terms(basis_points: int, fixed: str = "0", currency: str = "EUR") -> FeeTerms:
    return FeeTerms(basis_points, exact(fixed, currency))


@pytest.mark.parametrize(
    ("amount", "basis_points", "fixed", "fee"),
    [
        ("100.00", 1000, "0", "10.00"),
        ("100.00", 0, "0", "0.00"),
        ("100.00", 10_000, "0", "100.00"),
        ("100.00", 290, "0.30", "3.20"),
        ("0.01", 1000, "0", "0.00"),
        ("0.05", 1000, "0", "0.01"),
        ("0.04", 1000, "0", "0.00"),
        ("0.20", 290, "0.30", "0.20"),
        ("0.30", 0, "0.30", "0.30"),
        ("50.00", 10_000, "1.00", "50.00"),
    ],
)
def test_a_fee_is_its_share_plus_its_fixed_part_and_never_more_than_the_amount(
    amount: str, basis_points: int, fixed: str, fee: str
) -> None:
    taken, net = fee_and_net(exact(amount, "EUR"), terms(basis_points, fixed))
    assert taken == exact(fee, "EUR")
    assert taken + net == exact(amount, "EUR")


@given(units=st.integers(1, 10**12), fixed=st.integers(0, 10**6), basis_points=BASIS_POINTS, currency=CURRENCY)
def test_bug_55_fee_and_net_are_the_amount_to_the_last_minor_unit(units: int, fixed: int, basis_points: int, currency: str) -> None:
    amount = from_minor(units, currency)
    fee, net = fee_and_net(amount, FeeTerms(basis_points, from_minor(fixed, currency)))
    assert fee + net == amount
    assert fee.amount >= 0
    assert net.amount >= 0
    assert [part.amount == round(part.amount, minor_units(currency)) for part in (fee, net)] == [True, True]


@given(units=st.integers(1, 10**9), basis_points=BASIS_POINTS)
def test_a_share_is_the_nearest_minor_unit(units: int, basis_points: int) -> None:
    fee, _net = fee_and_net(from_minor(units, "USD"), terms(basis_points, currency="USD"))
    assert abs(to_minor(fee) - Decimal(units) * basis_points / 10_000) <= Decimal("0.5")


@st.composite
def schedules(draw: st.DrawFn, currency: str) -> FeeTerms:
    """Draw terms with up to three tiers, with or without floor and cap."""
    tiers = [Tier(from_minor(above, currency), points, from_minor(fixed, currency)) for above, points, fixed in draw(STEPS)]
    limits = sorted([draw(UNITS), draw(UNITS)])
    floor, cap = (from_minor(units, currency) if draw(st.booleans()) else None for units in limits)
    return FeeTerms(draw(BASIS_POINTS), from_minor(draw(st.integers(0, 10**6)), currency), tiers, floor, cap)


@settings(max_examples=60)
@given(data=st.data(), units=UNITS, more=st.integers(0, 10**6), currency=CURRENCY)
def test_bug_55_a_fee_stays_within_its_limits_and_never_shrinks_as_the_order_grows(
    data: st.DataObject, units: int, more: int, currency: str
) -> None:
    terms = data.draw(schedules(currency))
    amount, larger = from_minor(units, currency), from_minor(units + more, currency)
    fee = fee_of(amount, terms)
    assert 0 <= to_minor(fee) <= units
    assert fee.amount == round(fee.amount, minor_units(currency))
    assert terms.floor is None or fee == amount or fee >= terms.floor
    assert terms.cap is None or fee <= terms.cap
    assert fee <= fee_of(larger, terms)


@settings(max_examples=60)
@given(data=st.data(), units=UNITS, currency=CURRENCY)
def test_each_part_of_an_order_is_charged_by_the_tier_it_lies_in(data: st.DataObject, units: int, currency: str) -> None:
    """Counted another way: what a tier adds to the share is its difference from the one below, on all that lies above it."""
    terms = data.draw(schedules(currency))
    share, fixed, below = Decimal(units * terms.basis_points), to_minor(terms.fixed), terms.basis_points
    for tier in terms.tiers:
        if (part := units - to_minor(tier.above)) > 0:
            share, fixed = share + part * (tier.basis_points - below), fixed + to_minor(tier.fixed)
        below = tier.basis_points
    fee = fee_of(from_minor(units, currency), FeeTerms(terms.basis_points, terms.fixed, terms.tiers))
    if to_minor(fee) < units:
        assert abs(to_minor(fee) - fixed - share / 10_000) <= Decimal("0.5")
    else:
        assert share / 10_000 + fixed >= units - Decimal("0.5")


@pytest.mark.parametrize(
    ("amount", "currency", "fee"),
    [
        ("1000", "JPY", "50"),
        ("1001", "JPY", "70"),  # 50.02 of the share, and 20 once
        ("1025", "JPY", "71"),  # 50.5 of the share
        ("1.000", "KWD", "0.050"),
        ("1000.001", "KWD", "70.000"),
        ("1000.025", "KWD", "70.001"),
    ],
)
def test_a_tier_begins_above_its_amount_and_adds_its_fixed_part_once(amount: str, currency: str, fee: str) -> None:
    tiers = [Tier(exact("1000", currency), 200, exact("20", currency))]
    assert fee_of(exact(amount, currency), FeeTerms(500, exact("0", currency), tiers)) == exact(fee, currency)
