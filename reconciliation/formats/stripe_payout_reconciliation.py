"""Stripe's itemized payout reconciliation report (payout_reconciliation.itemized.5): what each automatic payout is made of.

A payout is the batch, its id the batch's name.  The report may have a line of the payout itself; where it has, all lines of the batch add up
to nothing.  Where it has none, their sum is what was paid.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from reconciliation.formats import rows, stripe
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine

NAME = "stripe_payout_reconciliation"
COLUMNS = (*stripe.COLUMNS, stripe.PAYOUT)
MOST_BATCHES = 20_000  # in one report: payouts of a year in many currencies


def looks_like(head: bytes) -> bool:
    """Say whether the header is Stripe's and begins with the payout, as that of the balance report does not."""
    header = rows.columns(head)
    return rows.has_most(header, COLUMNS) and rows.place_of(stripe.PAYOUT, header) < rows.place_of("balance_transaction_id", header)


def read(stream: BinaryIO) -> Iterator[SettlementLine]:
    """Yield the lines; after the last comes the check of the payouts that have a line.  Raises MalformedFile."""
    left: defaultdict[str, Decimal] = defaultdict(Decimal)
    paid: dict[str, int] = {}
    for line in stripe.lines(rows.read(stream, COLUMNS, optional=stripe.OPTIONAL)):
        batch = line.batch or (line.psp_reference if line.kind is LineKind.PAYOUT else "")
        if not batch:
            raise MalformedFile(line.line, "automatic_payout_id is empty: each line of this report belongs to a payout")
        left[batch] += line.net
        if line.kind is LineKind.PAYOUT and line.psp_reference == batch:
            paid[batch] = line.line
        if len(left) > MOST_BATCHES:
            raise MalformedFile(line.line, f"has the {MOST_BATCHES + 1:,}th payout of this report: ask Stripe for a shorter time")
        yield line if line.batch else line._replace(batch=batch)
    for batch, number in paid.items():
        if left[batch]:
            raise MalformedFile(number, f"the lines of {batch[:40]} and its payout add up to {left[batch]}, not to nothing")
