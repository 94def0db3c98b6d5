"""Stripe's itemized payout reconciliation report (payout_reconciliation.itemized.5): what each automatic payout is made of.

A payout is the batch, its id the batch's name.  The report may have a line of the payout itself; where it has, all lines of the batch add up
to nothing.  Where it has none, their sum is what was paid, and the line is added behind the last.  The balance report may have the same
columns, but what was not paid out yet stands there without a payout.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from reconciliation.formats import rows, stripe
from reconciliation.formats.cells import NOTHING
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine

NAME = "stripe_payout_reconciliation"
COLUMNS = (*stripe.COLUMNS, stripe.PAYOUT)
KEPT_BACK = ("payout_minimum_balance_hold", "payout_minimum_balance_release")  # of one payout, and given back for the next
MOST_BATCHES = 20_000  # in one report: payouts of a year in many currencies


def looks_like(head: bytes) -> bool:
    """Say whether the header is Stripe's and each line that can be seen is of a payout; where none can, whether the payout stands first."""
    header = rows.columns(head)
    if stripe.PAYOUT not in header or not rows.has_most(header, COLUMNS):
        return False
    payouts = [row[stripe.PAYOUT].strip() for row in rows.seen(head) if row.get("reporting_category") != "payout"]
    return all(payouts) if payouts else rows.place_of(stripe.PAYOUT, header) < rows.place_of("balance_transaction_id", header)


def read(stream: BinaryIO) -> Iterator[SettlementLine]:
    """Yield the lines, then one of each payout that has none; before, those that have one are checked.  Raises MalformedFile."""
    left: defaultdict[str, Decimal] = defaultdict(Decimal)
    last: dict[str, SettlementLine] = {}
    paid: dict[str, int] = {}
    for line in stripe.lines(rows.read(stream, COLUMNS, optional=stripe.OPTIONAL)):
        batch = line.batch or (line.psp_reference if line.kind is LineKind.PAYOUT else "")
        if not batch:
            raise MalformedFile(line.line, "automatic_payout_id is empty: each line of this report belongs to a payout")
        if batch in last and last[batch].currency != line.currency:
            raise MalformedFile(line.line, f"is in {line.currency}, but {batch[:40]} pays out {last[batch].currency}")
        left[batch] += line.net
        kind = LineKind.CARRIED_OVER if line.type in KEPT_BACK else line.kind
        last[batch] = line if (line.batch, line.kind) == (batch, kind) else line._replace(batch=batch, kind=kind)
        if line.kind is LineKind.PAYOUT and line.psp_reference == batch:
            paid[batch] = line.line
        if len(left) > MOST_BATCHES:
            raise MalformedFile(line.line, f"has the {MOST_BATCHES + 1:,}th payout of this report: ask Stripe for a shorter time")
        yield last[batch]
    for batch, number in paid.items():
        if left[batch]:
            raise MalformedFile(number, f"the lines of {batch[:40]} and its payout add up to {left[batch]}, not to nothing")
    yield from (payout_behind(line, left[batch]) for batch, line in last.items() if batch not in paid and left[batch])


def payout_behind(last: SettlementLine, amount: Decimal) -> SettlementLine:
    """Return the line of a payout of which the report has none: what all its lines, of which that is the last, add up to."""
    return SettlementLine(
        last.line, LineKind.PAYOUT, "payout", last.batch, last.batch, "", "",
        last.currency, -amount, last.net_currency, NOTHING, -amount, stripe.ONE, None, settled_on=last.settled_on,
    )  # fmt: skip
