"""A bank statement as SWIFT MT940, with the narrative as German banks structure it: EREF+ what the payer called it, SVWZ+ the text."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from payments.sandbox.amounts import digits_of, plain
from payments.sandbox.bank_files import IBAN, Entry, Kind, Statement

LONGEST_LINE, LONGEST_REFERENCE, LONGEST_PART = 65, 16, 27
PARTS = 6  # of EREF+ and SVWZ+ together, in the fields ?20 to ?25: what fits into the six lines of the tag
CODES: Mapping[Kind, tuple[str, str, str]] = {
    "settlement": ("NTRF", "166", "SEPA CREDIT"),
    "payout": ("NTRF", "116", "SEPA TRANSFER"),
    "return": ("NRTI", "159", "SEPA RETURN"),
}


def written(statement: Statement, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the file, a piece at a time. The same entries always make the same bytes."""
    head = [f":20:{statement.name}"[:20], f":25:{IBAN}", f":28C:{statement.number:05}/00001", _balance("60F", statement.opening, statement)]
    yield _lines(head)
    for entry in entries:
        yield _lines([_booking(entry, statement), *_narrative(entry)])
    yield _lines([_balance("62F", statement.closing, statement), "-"])


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1", errors="replace")


def _balance(tag: str, amount: int, statement: Statement) -> str:
    return f":{tag}:{'D' if amount < 0 else 'C'}{_day(statement.day)}{statement.currency}{_amount(amount, statement)}"


def _booking(entry: Entry, statement: Statement) -> str:
    """A return is the reversal of a debit (RD): it comes in."""
    mark = "RD" if entry.kind == "return" else "D" if entry.amount < 0 else "C"
    named = entry.end_to_end_id if len(entry.end_to_end_id) <= LONGEST_REFERENCE else "NONREF"
    dates = f"{_day(statement.day)}{statement.day:%m%d}"
    return f":61:{dates}{mark}{_amount(entry.amount, statement)}{CODES[entry.kind][0]}{named}//{entry.bank_reference}"


def _narrative(entry: Entry) -> list[str]:
    """Return the tag's lines, broken between its fields."""
    _, code, name = CODES[entry.kind]
    parts = [*_parts(f"EREF+{entry.end_to_end_id}"), *_parts(f"SVWZ+{entry.text}")][:PARTS]
    fields = [f"{code}", f"?00{name}", *(f"?2{number}{part}" for number, part in enumerate(parts)), f"?32{entry.counterparty}"[:30]]
    fields += [f"?34{entry.reason}"] if entry.reason else []
    lines, line = [], ":86:"
    for field in fields:
        if len(line) + len(field) > LONGEST_LINE:
            lines.append(line)
            line = ""
        line += field
    return [*lines, line]


def _parts(text: str) -> list[str]:
    return [text[start : start + LONGEST_PART] for start in range(0, len(text), LONGEST_PART)]


def _day(day: date) -> str:
    return f"{day:%y%m%d}"


def _amount(amount: int, statement: Statement) -> str:
    digits = digits_of(statement.currency)
    return plain(abs(amount), digits, point=",") + ("" if digits else ",")
