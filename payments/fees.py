"""Fee arithmetic: shares in basis points and fixed parts, within a floor and a cap, and what a refund gives back of the fee.  Pure; who pays
what is `fee_schedules.terms_of`.

The fee is computed once, at intake, and frozen on the order: whatever a schedule becomes later, a sale is booked by the terms it was
offered under.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from djmoney.money import Money

from ledger.money import from_minor, to_minor, zero

WHOLE = 10_000  # basis points


@dataclass(frozen=True, slots=True)
class Tier:
    """A step: what of an order lies above `above` is charged by `basis_points`, and `fixed` comes on top, once, of any order above it."""

    above: Money
    basis_points: int
    fixed: Money


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """What the platform takes of an order: `basis_points` of 10,000 of the amount up to the first tier, plus `fixed`, and so on by tiers.

    The tiers ascend.  `floor` is the least fee and `cap` the largest; None: there is none.
    """

    basis_points: int
    fixed: Money
    tiers: Sequence[Tier] = ()
    floor: Money | None = None
    cap: Money | None = None


def fee_of(amount: Money, terms: FeeTerms) -> Money:
    """Return the platform's fee, to the minor unit: the shares of all tiers together rounded half up, plus the fixed parts.

    Tiers are graduated: each part of the amount is charged by the tier it lies in, so that a larger order never pays less.  The fee is at
    least the floor, at most the cap, and never more than the amount, so that a net is never negative.
    """
    currency = amount.currency.code
    tiers = [Tier(zero(currency), terms.basis_points, terms.fixed), *terms.tiers]
    ends = [*(min(tier.above, amount) for tier in tiers[1:]), amount]
    reached = [(tier, to_minor(end - tier.above)) for tier, end in zip(tiers, ends, strict=True) if tier.above < end]
    shares = sum(tier.basis_points * units for tier, units in reached)
    units = (2 * shares + WHOLE) // (2 * WHOLE) + sum(to_minor(tier.fixed) for tier, _units in reached)
    fee = from_minor(units, currency)
    if terms.floor is not None:
        fee = max(fee, terms.floor)
    if terms.cap is not None:
        fee = min(fee, terms.cap)
    return min(fee, amount)


def fee_and_net(amount: Money, terms: FeeTerms) -> tuple[Money, Money]:
    """Return the platform's fee and the seller's net; together they are the amount, to the last minor unit."""
    fee = fee_of(amount, terms)
    return fee, amount - fee


class Policy(StrEnum):
    """What a refund gives back of the fee: its share of it, all that is left of it, or nothing (the values of Shop.FeePolicy)."""

    PRO_RATA = "pro_rata"
    FULL = "full"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Return:
    """A part of an order that goes back: so much of its amount, and with it so much of its fee."""

    amount: Money
    fee: Money
    is_pro_rata: bool


def given_back(part: Money, *, policy: str, amount: Money, fee: Money, others: Sequence[Return]) -> Money:
    """Return how much of an order's fee goes back with a part of its amount; `others` are the parts that went, or are going, already.

    Never more than the part, nor than is left of the fee.  Pro rata, the parts together give back the share of what they are together, so
    that any partition of the amount gives back the whole fee; what went by another policy is left out of that count, and so is its share.
    """
    nothing = zero(amount.currency.code)
    most = min(part, fee - sum((other.fee for other in others), start=nothing))
    match Policy(policy):
        case Policy.KEEP:
            return nothing
        case Policy.FULL:
            return most
        case Policy.PRO_RATA:
            return max(nothing, min(pro_rata(part, amount=amount, fee=fee, others=others), most))


def pro_rata(part: Money, *, amount: Money, fee: Money, others: Sequence[Return]) -> Money:
    """Return the share of the fee that is due to the part, given the others, be it more than is left of it or less than nothing.

    At least so much that the rest of the amount can bear the rest of the fee: parts fail and come back in any order.
    """
    nothing = zero(amount.currency.code)
    before = sum((other.amount for other in others if other.is_pro_rata), start=nothing)
    given = sum((other.fee for other in others if other.is_pro_rata), start=nothing)
    whole = amount - sum((other.amount for other in others if not other.is_pro_rata), start=nothing)
    rest = whole - before - part
    least = share(whole, amount=amount, fee=fee) - given - rest
    return max(least, share(before + part, amount=amount, fee=fee) - given)


def share(part: Money, *, amount: Money, fee: Money) -> Money:
    """Return the part of the fee that belongs to so much of the amount, rounded half up to the minor unit."""
    units = Decimal(to_minor(fee)) * to_minor(part) / to_minor(amount)
    return from_minor(int(units.quantize(Decimal(1), ROUND_HALF_UP)), amount.currency.code)
