"""The settlement file of our sandbox PSP: CSV, one batch in a file, a batch being one day and one currency.

Each line says what it did to our balance there, the last what was paid to our bank, so that the `net` of all lines together is nothing: half
a file does not add up.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from reconciliation.formats import rows
from reconciliation.formats.cells import Amounts, Unreadable, day, utc_moment
from reconciliation.formats.records import LineKind, MalformedFile, SettlementLine

NAME = "sandbox_settlement"
COLUMNS = "batch closed_on line type id charge key method currency gross fee net occurred_at".split()
KINDS = {
    "charge": LineKind.CAPTURE,
    "refund": LineKind.REFUND,
    "refund_failed": LineKind.REFUND_FAILED,
    "dispute": LineKind.DISPUTE,
    "dispute_won": LineKind.DISPUTE_REVERSED,
    "dispute_fee": LineKind.FEE,
    "fee": LineKind.FEE,
    "payout": LineKind.PAYOUT,
    "payout_returned": LineKind.PAYOUT_RETURNED,
    "carried_over": LineKind.CARRIED_OVER,
    "seller_payout": LineKind.SELLER_PAYOUT,
    "seller_payout_returned": LineKind.SELLER_PAYOUT_RETURNED,
}
ONE = Decimal(1)


def looks_like(head: bytes) -> bool:
    return rows.has_most(rows.columns(head), COLUMNS)


def read(stream: BinaryIO) -> Iterator[SettlementLine]:
    """Yield the lines; after the last comes the check that all of them add up to nothing.  Raises MalformedFile."""
    count, balance, line = 0, Decimal(0), 1
    said_at: str | None = None
    for line, (batch, closed_on, number, type_, id_, charge, key, method, currency, gross, fee, net, at) in rows.read(stream, COLUMNS):
        try:
            if not count:
                same, closed = (batch, closed_on, currency), day("closed_on", closed_on)
                name, grosses, fees, nets = batch.strip(), Amounts("gross", currency), Amounts("fee", currency), Amounts("net", currency)
            count += 1
            if (batch, closed_on, currency) != same:
                raise Unreadable(f"batch, closed_on, currency are {batch}, {closed_on}, {currency}, but {', '.join(same)} before")
            if number != str(count):
                raise Unreadable(f"line is {number[:40]!r} where {count} is expected: lines are missing, doubled or in disorder")
            if type_ not in KINDS:
                raise Unreadable(f"type is {type_[:40]!r}, which the sandbox does not know")
            amount, kept, left = grosses[gross], fees[fee], nets[net]
            if left != amount - kept:
                raise Unreadable(f"net is {net}, but gross - fee is {amount - kept}")
            balance += left
            if at != said_at:  # or else as in the line before, as often in a file in order of time
                moment, said_at = utc_moment("occurred_at", at), at
        except Unreadable as error:
            raise MalformedFile(line, str(error)) from None
        yield SettlementLine(
            line, KINDS[type_], type_, name, id_.strip(), charge.strip(), key.strip(),
            currency, amount, currency, kept, left, ONE, moment, method.strip(), "", closed,
        )  # fmt: skip
    if not count:
        raise MalformedFile(1, "the file has a header and no line: a batch has one at least")
    if balance:
        raise MalformedFile(line, f"the net of all lines adds up to {balance}, not to nothing: a line is missing, doubled or wrong")
