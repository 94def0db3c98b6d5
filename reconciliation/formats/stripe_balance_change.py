"""Stripe's itemized balance report (balance_change_from_activity.itemized.3): all that changed our balance there in some days.

It cuts through payouts as its days do, so that there is nothing that its lines must add up to: each is proved by itself.
"""

from collections.abc import Iterator
from typing import BinaryIO

from reconciliation.formats import rows, stripe
from reconciliation.formats.records import SettlementLine

NAME = "stripe_balance_change"


def looks_like(head: bytes) -> bool:
    return rows.has_most(rows.columns(head), stripe.COLUMNS)


def read(stream: BinaryIO) -> Iterator[SettlementLine]:
    """Yield the lines.  Raises MalformedFile."""
    return stripe.lines(rows.read(stream, stripe.COLUMNS, optional=(stripe.PAYOUT, *stripe.OPTIONAL)))
