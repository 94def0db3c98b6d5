"""The platform's fee: a share in basis points and a fixed part, cut so that fee and net are the amount."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import exact, from_minor, minor_units, to_minor
from payments.fees import FeeTerms, fee_and_net

CURRENCY = st.sampled_from(["JPY", "USD", "KWD", "CLF"])
BASIS_POINTS = st.integers(0, 10_000)


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
