"""Fee arithmetic: a share in basis points, plus a fixed part.  Pure; which schedule applies is `queries.fee_terms`.

The fee is computed once, at intake, and frozen on the order: whatever a schedule becomes later, a sale is booked by the terms it was
offered under.
"""

from dataclasses import dataclass

from djmoney.money import Money

from ledger.money import split

WHOLE = 10_000  # basis points


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """What the platform takes of an order: `basis_points` of 10,000 of the amount, plus `fixed`."""

    basis_points: int
    fixed: Money


def fee_and_net(amount: Money, terms: FeeTerms) -> tuple[Money, Money]:
    """Return the platform's fee and the seller's net; together they are the amount, to the last minor unit.

    The share is cut by largest remainder, the fixed part added; a fee never exceeds the amount, so that a net is never negative.
    """
    share, _rest = split(amount, [terms.basis_points, WHOLE - terms.basis_points])
    fee = min(share + terms.fixed, amount)
    return fee, amount - fee
