"""What of an order is pending in its seller's wallet: all that the order brings, as things stand, until it is released; then nothing.

What refunds and disputes take of an order, they take from what is pending of that very order, and beyond that from what the seller has
available, which may go below zero (ADR 9).  What comes back fills that up again first.  So it is the same in the end, in whatever order we hear
of refunds and disputes; and money of an order that is not released never becomes available on such a way (ADR 15).
"""

from dataclasses import dataclass

from djmoney.money import Money

from ledger import chart
from ledger.journal import Leg
from ledger.money import zero
from payments import queries
from payments.models import PaymentOrder


@dataclass(frozen=True, slots=True)
class Parts:
    """By how much the seller's pending and available figures change; negative takes away, and neither goes against the other."""

    pending: Money
    available: Money


def moved(order: PaymentOrder, net: Money) -> Parts:
    """Return what it changes of the seller's figures that the order brings `net` more than before (negative: less).

    Changes `unreleased` on the order, which the caller holds and saves.  To be called before the refund or dispute behind it is written.
    """
    nothing = zero(net.currency.code)
    if order.released_at is not None:
        pending = nothing
    elif net < nothing:
        pending = max(net, nothing - order.unreleased)
    else:
        borrowed = max(nothing, order.unreleased - queries.earned(order))
        pending = max(nothing, net - borrowed)
    order.unreleased += pending
    return Parts(pending, net - pending)


def taken(order: PaymentOrder, parts: Parts) -> list[Leg]:
    """Return the legs of an entry that takes the parts which are negative."""
    nothing = zero(parts.pending.currency.code)
    return [
        (chart.seller_pending(order.seller_id), max(nothing, nothing - parts.pending)),
        (chart.seller_available(order.seller_id), max(nothing, nothing - parts.available)),
    ]


def given(order: PaymentOrder, parts: Parts) -> list[Leg]:
    """Return the legs of an entry that gives the parts which are positive."""
    nothing = zero(parts.pending.currency.code)
    return [
        (chart.seller_pending(order.seller_id), max(nothing, parts.pending)),
        (chart.seller_available(order.seller_id), max(nothing, parts.available)),
    ]
