"""The formats that we read.  A new one is a module beside this one, a line in FORMATS and a golden file for its test.

Settlement files come from PSPs, statements from banks.  `named` finds the format that a file was stored with, `recognise` the one that a
file's first bytes look like.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from reconciliation.formats import (
    adyen_settlement,
    camt053,
    mt940,
    mt942,
    sandbox_settlement,
    stripe_balance_change,
    stripe_payout_reconciliation,
)
from reconciliation.formats.records import BankRecord, SettlementLine

HEAD = 4096  # bytes; what `recognise` wants to see


class UnknownFormat(LookupError):
    """No format has that name.  The message says it."""


@dataclass(frozen=True, slots=True)
class SettlementFormat:
    """A file in which a PSP says what it settled.  `read` is lazy and raises MalformedFile, also after its last record."""

    name: str
    title: str
    looks_like: Callable[[bytes], bool]
    read: Callable[[BinaryIO], Iterator[SettlementLine]]
    kind: Literal["settlement"] = "settlement"


@dataclass(frozen=True, slots=True)
class StatementFormat:
    """A file in which a bank says what it booked.  `read` is lazy and raises MalformedFile, also after its last record."""

    name: str
    title: str
    looks_like: Callable[[bytes], bool]
    read: Callable[[BinaryIO], Iterator[BankRecord]]
    kind: Literal["statement"] = "statement"


Format = SettlementFormat | StatementFormat

FORMATS: tuple[Format, ...] = (
    SettlementFormat(sandbox_settlement.NAME, "Sandbox settlement file", sandbox_settlement.looks_like, sandbox_settlement.read),
    SettlementFormat(adyen_settlement.NAME, "Adyen settlement details report", adyen_settlement.looks_like, adyen_settlement.read),
    SettlementFormat(
        stripe_payout_reconciliation.NAME,
        "Stripe payout reconciliation report, itemized",
        stripe_payout_reconciliation.looks_like,
        stripe_payout_reconciliation.read,
    ),
    SettlementFormat(
        stripe_balance_change.NAME, "Stripe balance report, itemized", stripe_balance_change.looks_like, stripe_balance_change.read
    ),
    StatementFormat(camt053.NAME, "Bank statement, camt.053", camt053.looks_like, camt053.read),
    StatementFormat(mt940.NAME, "Bank statement, MT940", mt940.looks_like, mt940.read),
    StatementFormat(mt942.NAME, "Bank report within the day, MT942", mt942.looks_like, mt942.read),
)
_BY_NAME = {format_.name: format_ for format_ in FORMATS}


def named(name: str) -> Format:
    """Return the format of that name.  Raises UnknownFormat."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownFormat(f"{name!r} is no format that we read: there are {', '.join(_BY_NAME)}") from None


def recognise(head: bytes) -> Format | None:
    """Return the format that a file with these first bytes (4096 are enough) seems to be; None where it looks like none of ours."""
    return next((format_ for format_ in FORMATS if format_.looks_like(head)), None)
