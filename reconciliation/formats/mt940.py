"""MT940: a bank's statement in SWIFT's form, one or many in a file.  Each proves its closing balance (:62F:, :62M: of a part).

Written here and not taken from a library: the one that there is (mt-940, which the tests compare with) keeps a file whole in memory, takes
the last balances of a file with many statements for those of all and proves none, and reads a credit that is taken back as a credit.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from reconciliation.formats import narrative, swift
from reconciliation.formats.proof import Proof
from reconciliation.formats.records import BankLine, BankRecord, MalformedFile, StatementOpened
from reconciliation.formats.swift import Field

NAME = "mt940"
_begins = re.compile(rb"^:20:", re.MULTILINE).search
_opens = re.compile(rb"^:60[FM]:", re.MULTILINE).search


def looks_like(head: bytes) -> bool:
    return bool(_begins(head) and _opens(head))


def read(stream: BinaryIO) -> Iterator[BankRecord]:
    """Yield the statements with their lines.  Raises MalformedFile."""
    reader, line = _Reader(), 1
    for field in swift.fields(stream):
        line = field.line
        yield from reader.field(field)
    reader.end(line)
    if not reader.statements:
        raise MalformedFile(line, "the file has no statement: no field :60F: or :60M:")


class _Reader:
    """One message after the other: its account and number, then its statement, held open until its closing balance."""

    def __init__(self) -> None:
        self.statements = 0
        self._begun_at = 0  # 0 once its statement is complete
        self._account = self._number = ""
        self._proof: Proof | None = None
        self._line: BankLine | None = None  # waits for its :86:

    def field(self, field: Field) -> Iterator[BankRecord]:
        """Yield what the field completes.  Raises MalformedFile."""
        text = field.lines[0].strip() if field.lines else ""
        if field.tag == "86":
            self._line = self._line and narrative.told(self._line, field.lines)
            yield from self._taken()
            return
        yield from self._taken()
        match field.tag:
            case "20" | "-":
                self.end(field.line)
                self._begun_at = field.line if field.tag == "20" else 0
                self._account = self._number = ""
            case "25" | "25P":
                self._account = swift.kept(text)
            case "28" | "28C":
                self._number = swift.kept(text)
            case "60F" | "60M":
                yield self._open(field)
            case "61":
                self._line, is_expected = swift.statement_line(field, self._statement(field).opened.currency)
                if is_expected:
                    raise MalformedFile(field.line, ":61: is of an expected line, which no statement has")
            case "62F" | "62M":
                balance = swift.balance(field)
                proof, self._proof, self._begun_at = self._statement(field), None, 0
                self.statements += 1
                yield proof.closed(field.line, balance.amount, balance.currency, on=balance.on, is_intermediate=field.tag == "62M")
            case _:
                pass  # what else a bank says: the balance available, sums, its own fields

    def end(self, line: int) -> None:
        """End a message.  Raises MalformedFile where its statement has no closing balance."""
        if self._begun_at:
            raise MalformedFile(line, f"the statement that begins in line {self._begun_at} has no closing balance (:62F:): half a file")

    def _open(self, field: Field) -> StatementOpened:
        if self._proof:
            self.end(field.line)
        if not self._account:
            raise MalformedFile(field.line, "the statement names no account (:25:)")
        balance = swift.balance(field)
        opened = StatementOpened(
            field.line, self._account, balance.currency, self._number, balance.amount, balance.on, is_intermediate=field.tag == "60M"
        )
        self._proof, self._begun_at = Proof(opened), self._begun_at or field.line
        return opened

    def _statement(self, field: Field) -> Proof:
        if not self._proof:
            raise MalformedFile(field.line, f":{field.tag}: comes before an opening balance (:60F:)")
        return self._proof

    def _taken(self) -> Iterator[BankLine]:
        """Yield the line that waited, once."""
        line, self._line = self._line, None
        if line and self._proof:
            yield self._proof.add(line)
