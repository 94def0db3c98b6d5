"""What refunds give back of the fee: its share, all that is left of it, or nothing - in any order, with any that fail in between."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import exact, from_minor, to_minor
from payments.fees import Policy, Return, given_back, share

CURRENCY = st.sampled_from(["JPY", "USD", "KWD", "CLF"])
POLICY = st.sampled_from(list(Policy))
ORDER = {"units": st.integers(1, 10**9), "rate": st.fractions(0, 1), "currency": CURRENCY}


class Sold:
    """An order in minor units, and what went back of it."""

    def __init__(self, units: int, rate: Any, currency: str) -> None:
        self.currency, self.units, self.fee_units = currency, units, int(units * rate)
        self.gone: list[Return] = []

    def left(self) -> int:
        return self.units - sum(to_minor(part.amount) for part in self.gone)

    def give_back(self, units: int, policy: Policy) -> int:
        part, amount, fee = (from_minor(count, self.currency) for count in (units, self.units, self.fee_units))
        back = given_back(part, policy=policy, amount=amount, fee=fee, others=self.gone)
        self.gone.append(Return(part, back, policy == Policy.PRO_RATA))
        assert 0 <= to_minor(back) <= units, "the seller never gives back more than the buyer gets, nor we"
        assert self.fee_back() <= self.fee_units, "never more of the fee than was taken"
        return to_minor(back)

    def fee_back(self) -> int:
        return sum(to_minor(part.fee) for part in self.gone)


@given(**ORDER, cuts=st.lists(st.fractions(0, 1), max_size=8))
def test_pg_17_any_partition_gives_back_the_whole_fee_pro_rata(units: int, rate: Any, currency: str, cuts: list[Any]) -> None:
    sold = Sold(units, rate, currency)
    for cut in [*cuts, 1]:
        if part := int(sold.left() * cut):
            sold.give_back(part, Policy.PRO_RATA)
    assert (sold.left(), sold.fee_back()) == (0, sold.fee_units)


@given(**ORDER, cuts=st.lists(st.fractions(0, 1), max_size=8))
def test_any_partition_gives_back_the_whole_fee_by_the_full_policy_and_nothing_by_keep(
    units: int, rate: Any, currency: str, cuts: list[Any]
) -> None:
    full, keep = Sold(units, rate, currency), Sold(units, rate, currency)
    for cut in [*cuts, 1]:
        for sold, policy in ((full, Policy.FULL), (keep, Policy.KEEP)):
            if part := int(sold.left() * cut):
                sold.give_back(part, policy)
    assert (full.fee_back(), keep.fee_back()) == (full.fee_units, 0)


@given(**ORDER, steps=st.lists(st.tuples(st.fractions(0, 1), POLICY, st.booleans()), max_size=12))
def test_inv_07_any_mix_of_policies_with_any_that_fail_gives_back_no_more_than_the_fee(
    units: int, rate: Any, currency: str, steps: list[tuple[Any, Policy, bool]]
) -> None:
    sold = Sold(units, rate, currency)
    for cut, policy, fails in steps:
        if part := int(sold.left() * cut):
            sold.give_back(part, policy)
        if fails and sold.gone:
            sold.gone.pop(int(cut * (len(sold.gone) - 1)))
    if sold.left():
        sold.give_back(sold.left(), Policy.FULL)
    assert sold.left() == 0


@given(**ORDER, cuts=st.lists(st.tuples(st.fractions(0, 1), st.booleans()), max_size=8))
def test_pg_17_pro_rata_parts_keep_giving_back_the_whole_fee_when_others_fail(
    units: int, rate: Any, currency: str, cuts: list[tuple[Any, bool]]
) -> None:
    sold = Sold(units, rate, currency)
    for cut, fails in cuts:
        if part := int(sold.left() * cut):
            sold.give_back(part, Policy.PRO_RATA)
        if fails and sold.gone:
            sold.gone.pop(int(cut * (len(sold.gone) - 1)))
    if sold.left():
        sold.give_back(sold.left(), Policy.PRO_RATA)
    assert sold.fee_back() == sold.fee_units


@given(**ORDER, cuts=st.lists(st.tuples(st.fractions(0, 1), st.sampled_from([Policy.PRO_RATA, Policy.KEEP])), max_size=8))
def test_what_is_refunded_pro_rata_gives_back_its_share_whatever_else_was_refunded_without_any_fee(
    units: int, rate: Any, currency: str, cuts: list[tuple[Any, Policy]]
) -> None:
    sold = Sold(units, rate, currency)
    for cut, policy in [*cuts, (1, Policy.PRO_RATA)]:
        if part := int(sold.left() * cut):
            sold.give_back(part, policy)
    pro_rata = sum(to_minor(part.amount) for part in sold.gone if part.is_pro_rata)
    assert abs(sold.fee_back() - Decimal(sold.fee_units) * pro_rata / units) <= Decimal("0.5")


def test_pg_17_three_thirds_of_a_refund_give_back_the_fee_of_one() -> None:
    ten, one = exact("10.00", "EUR"), exact("1.00", "EUR")
    stations = [share(exact(amount, "EUR"), amount=ten, fee=one).amount for amount in ("3.33", "6.66", "10.00")]
    assert stations == [Decimal("0.33"), Decimal("0.67"), Decimal("1.00")]


@pytest.mark.parametrize(("policy", "fee"), [("pro_rata", "0.50"), ("full", "1.00"), ("keep", "0.00")])
def test_half_of_an_order_gives_back_of_the_fee_what_the_policy_says(policy: str, fee: str) -> None:
    ten, one = exact("10.00", "EUR"), exact("1.00", "EUR")
    assert given_back(exact("5.00", "EUR"), policy=policy, amount=ten, fee=one, others=[]) == exact(fee, "EUR")


def test_a_full_policy_gives_back_no_more_than_the_refund() -> None:
    part, order, fee = (exact(amount, "EUR") for amount in ("0.40", "10.00", "1.00"))
    assert given_back(part, policy="full", amount=order, fee=fee, others=[]) == part
