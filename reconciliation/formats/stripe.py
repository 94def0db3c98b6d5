"""What Stripe's itemized reports have in common: one balance transaction on each line.

Amounts are major units as our balance at Stripe sees them, and `net = gross - fee` in one currency: what a customer paid in another has been
changed by then.  Stripe adds categories now and then; one that we do not know is kept as OTHER, in its own word, for a person to explain.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC
from decimal import Decimal

from reconciliation.formats.cells import AmountsByCurrency, Unreadable, local_moment
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine
from reconciliation.formats.rows import LONGEST_CELL, Row

COLUMNS = "balance_transaction_id created_utc currency gross fee net reporting_category source_id".split()
PAYOUT = "automatic_payout_id"
OPTIONAL = (
    "automatic_payout_effective_at_utc charge_id payment_method_type description payment_metadata[ refund_metadata[ transfer_metadata["
).split()
KINDS = {
    "charge": LineKind.CAPTURE,
    "refund": LineKind.REFUND,
    "refund_failure": LineKind.REFUND_FAILED,
    "dispute": LineKind.DISPUTE,
    "dispute_reversal": LineKind.DISPUTE_REVERSED,
    "fee": LineKind.FEE,
    "network_cost": LineKind.FEE,
    "tax": LineKind.FEE,
    "payout": LineKind.PAYOUT,
    "payout_reversal": LineKind.PAYOUT_RETURNED,
    "transfer": LineKind.SELLER_PAYOUT,
    "transfer_reversal": LineKind.SELLER_PAYOUT_RETURNED,
    "connect_reserved_funds": LineKind.RESERVE,
    "risk_reserved_funds": LineKind.RESERVE,
    "payout_minimum_balance_hold": LineKind.RESERVE,
    "payout_minimum_balance_release": LineKind.RESERVE,
}
REFUNDS = frozenset({LineKind.REFUND, LineKind.REFUND_FAILED})
TRANSFERS = frozenset({LineKind.SELLER_PAYOUT, LineKind.SELLER_PAYOUT_RETURNED})
ONE = Decimal(1)
LONGEST_TEXT = 500


def lines(rows: Iterable[Row]) -> Iterator[SettlementLine]:
    """Yield the line of each row of COLUMNS, PAYOUT and OPTIONAL, in this order.  Raises MalformedFile."""
    grosses, fees, nets = AmountsByCurrency("gross"), AmountsByCurrency("fee"), AmountsByCurrency("net")
    effective_before, settled_on = "", None
    for line, cells in rows:
        (
            _,
            created,
            code,
            gross,
            fee,
            net,
            category,
            source,
            payout,
            effective,
            charge,
            method,
            text,
            ours,
            ours_of_refund,
            ours_of_transfer,
        ) = cells
        try:
            currency = code.strip().upper()
            amount, kept, left = grosses[currency][gross], fees[currency][fee], nets[currency][net]
            if left != amount - kept:
                raise Unreadable(f"net is {net}, but gross - fee is {amount - kept}")
            if not category.strip():
                raise Unreadable("reporting_category is empty")
            moment = local_moment("created_utc", created, UTC)
            if effective != effective_before:
                settled_on = local_moment("automatic_payout_effective_at_utc", effective, UTC).date() if effective else None
                effective_before = effective
        except Unreadable as error:
            raise MalformedFile(line, str(error)) from None
        kind = KINDS.get(category, LineKind.OTHER)
        reference = ours_of_refund if kind in REFUNDS else ours_of_transfer if kind in TRANSFERS else ours
        yield SettlementLine(
            line, kind, category, payout.strip(), source.strip(), charge.strip(), reference.strip()[:LONGEST_CELL],
            currency, amount, currency, kept, left, ONE, moment, method.strip(), " ".join(text.split())[:LONGEST_TEXT], settled_on,
        )  # fmt: skip
