"""MT942: what a bank has booked so far within a day, in SWIFT's form.  It has no balances: its lines come again in the day's statement.

What is expected and not booked (marks EC, ED) is passed over.  Where the bank counts its debits and credits (:90D:, :90C:) and leaves none
out for being small (:34F: of nothing), they are held against the lines.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from reconciliation.formats import narrative, swift
from reconciliation.formats.cells import NOTHING
from reconciliation.formats.records import BankLine, BankRecord, MalformedFile, StatementClosed, StatementOpened
from reconciliation.formats.swift import Field

NAME = "mt942"
_begins = re.compile(rb"^:20:", re.MULTILINE).search
_limits = re.compile(rb"^:34F:", re.MULTILINE).search
_limit = re.compile(r"([A-Z]{3})([CD]?)([0-9]{1,15},[0-9]*)").fullmatch
_total = re.compile(r"([0-9]{1,5})([A-Z]{3})([0-9]{1,15},[0-9]*)").fullmatch


def looks_like(head: bytes) -> bool:
    return bool(_begins(head) and _limits(head))


def read(stream: BinaryIO) -> Iterator[BankRecord]:
    """Yield the reports with their lines, each opened and closed as a statement without balances.  Raises MalformedFile."""
    reader, line = _Reader(), 1
    for field in swift.fields(stream):
        line = field.line
        yield from reader.field(field)
    yield from reader.end(line)
    if not reader.reports:
        raise MalformedFile(line, "the file has no report: no field :34F:")


class _Reader:
    """One report after the other."""

    def __init__(self) -> None:
        self.reports = 0
        self._begin()

    def _begin(self) -> None:
        self._account = self._number = self._currency = ""
        self._begun_at = 0
        self._opened: StatementOpened | None = None
        self._line: BankLine | None = None  # waits for its :86:
        self._limit, self._lines = NOTHING, 0
        self._counts, self._sums = {"C": 0, "D": 0}, {"C": NOTHING, "D": NOTHING}
        self._told: dict[str, tuple[int, int, Decimal]] = {}

    def field(self, field: Field) -> Iterator[BankRecord]:
        """Yield what the field completes.  Raises MalformedFile."""
        text = field.lines[0].strip() if field.lines else ""
        if field.tag == "86":
            self._line = self._line and narrative.told(self._line, field.lines)
        yield from self._taken()
        match field.tag:
            case "20" | "-":
                yield from self.end(field.line)
                self._begun_at = field.line if field.tag == "20" else 0
            case "25" | "25P":
                self._account = swift.kept(text)
            case "28" | "28C":
                self._number = swift.kept(text)
            case "34F":
                self._read_limit(field, text)
            case "61":
                yield from self._open(field)
                self._add(field)
            case "90C" | "90D":
                yield from self._open(field)
                self._read_total(field, text)
            case "60F" | "60M" | "62F" | "62M":
                raise MalformedFile(field.line, f":{field.tag}: is a balance, which an MT942 does not have: is this an MT940?")
            case _:
                pass  # what else a bank says

    def end(self, line: int) -> Iterator[BankRecord]:
        """End a report, if one has begun.  Raises MalformedFile where it is half of one, or does not have what it counts."""
        yield from self._taken()
        if not self._begun_at:
            return
        if not self._currency:
            raise MalformedFile(
                line, f"the report that begins in line {self._begun_at} has no floor limit (:34F:), which names its currency"
            )
        for mark, (told_at, count, sum_) in self._told.items():
            if self._limit == NOTHING and (count, sum_) != (self._counts[mark], self._sums[mark]):
                raise MalformedFile(
                    told_at, f":90{mark}: says {count} lines of {sum_}, but there are {self._counts[mark]} of {self._sums[mark]}"
                )
        yield from self._open(Field(line, "-", []))
        yield StatementClosed(line, NOTHING, None, self._lines, is_intermediate=True)
        self.reports += 1
        self._begin()

    def _open(self, field: Field) -> Iterator[StatementOpened]:
        """Yield the record of the report's beginning, once."""
        if self._opened:
            return
        if not self._account or not self._currency:
            raise MalformedFile(field.line, f":{field.tag}: comes before {':34F:' if self._account else 'the account (:25:)'}")
        self._opened = StatementOpened(
            self._begun_at, self._account, self._currency, self._number, NOTHING, None, is_intermediate=True, has_balances=False
        )
        yield self._opened

    def _read_limit(self, field: Field, text: str) -> None:
        found = _limit(text)
        if not found or found[1] != (self._currency or found[1]):
            raise MalformedFile(field.line, f":34F: is {text[:40]!r}: one floor limit such as EUR0, in one currency, is expected")
        self._currency = found[1]
        self._limit = max(self._limit, swift.decimal(found[3], found[1], field))

    def _read_total(self, field: Field, text: str) -> None:
        found = _total(text)
        if not found or found[2] != self._currency:
            raise MalformedFile(field.line, f":{field.tag}: is {text[:40]!r}: one such as 12{self._currency}340,00 is expected")
        self._told[field.tag[2]] = (field.line, int(found[1]), swift.decimal(found[3], found[2], field))

    def _add(self, field: Field) -> None:
        line, is_expected = swift.statement_line(field, self._currency)
        mark = "C" if line.amount > 0 else "D"
        self._counts[mark] += 1
        self._sums[mark] += abs(line.amount)
        self._line = None if is_expected else line

    def _taken(self) -> Iterator[BankLine]:
        """Yield the line that waited, once."""
        line, self._line = self._line, None
        if line:
            self._lines += 1
            yield line
