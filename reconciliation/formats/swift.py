"""SWIFT's statements (MT940, MT942) as banks send them: fields with a tag each, in whatever envelope, down to lines and balances.

A field begins with its tag (`:61:`) and goes on until the next; what stands between the end of a message (`-`) and the next tag is envelope.
Text is UTF-8 or Latin-1, line by line: in another code page its letters may come out wrong, its figures not.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import BinaryIO, NamedTuple

from ledger.currencies import MINOR_UNITS
from reconciliation.formats.records import BankLine, MalformedFile

LONGEST_LINE = 1 << 16  # bytes
MOST_LINES = 200  # of one field
LONGEST_TEXT = 500  # what is kept of a text
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
NO_REFERENCE = frozenset({"NONREF", "NOTPROVIDED", "EREF", "PREF", "MARF"})  # also the words that say which field of :86: has it
SIGNS = {"C": 1, "RD": 1, "D": -1, "RC": -1}
PIVOT = 80  # years from here on are of the last century

_tag = re.compile(r":([0-9]{2}[A-Z]?|NS):").match
_ends_message = re.compile(r"-(\}.*|XXX|\x03)?\s*\Z|\{1:").match
_balance = re.compile(r"([CD])([0-9]{6})([A-Z]{3})([0-9]{1,15},[0-9]*)").fullmatch
_line = re.compile(r"([0-9]{6})([0-9]{4}| {4})?(R?[CD]|E[CD])([A-Z]?)([0-9]{1,15},[0-9]*)([A-Z][A-Z0-9 ]{3})(.*)").fullmatch
_control = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Field(NamedTuple):
    """A field of a message: where it begins, its tag without the colons, and its lines."""

    line: int
    tag: str
    lines: list[str]


class Balance(NamedTuple):
    """A balance as the account sees it."""

    amount: Decimal
    currency: str
    on: date


def fields(stream: BinaryIO) -> Iterator[Field]:
    """Yield the fields; one with the tag `-` for the end of a message.  Raises MalformedFile for what is no text."""
    field: Field | None = None
    for number, line in lines(stream):
        tagged = _tag(line)
        if tagged or _ends_message(line):
            if field:
                yield field
            field = Field(number, tagged[1], [line[tagged.end() :]]) if tagged else None
            if not tagged:
                yield Field(number, "-", [])
        elif field and line.strip():
            if len(field.lines) >= MOST_LINES:
                raise MalformedFile(number, f"is the {MOST_LINES + 1}th line of :{field.tag}:, more than any bank sends")
            field.lines.append(line)
    if field:
        yield field


def lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, without what ends them."""
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
        if number == 1:
            if line.startswith(UTF16_MARKS):
                raise MalformedFile(1, "the file is in UTF-16: save it as UTF-8 or Latin-1")
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > LONGEST_LINE:
            raise MalformedFile(number, f"is longer than {LONGEST_LINE:,} bytes")
        if b"\0" in line:
            raise MalformedFile(number, "has a NUL byte: text is expected")
        try:
            yield number, line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            yield number, line.decode("latin-1").rstrip("\r\n")


def balance(field: Field) -> Balance:
    """Read a balance, such as C161230EUR1200,00.  Raises MalformedFile."""
    text = field.lines[0].strip()
    found = _balance(text)
    if not found or len(field.lines) > 1:
        raise MalformedFile(field.line, f"the balance :{field.tag}: is {text[:40]!r}: one such as C161230EUR1200,00 is expected")
    mark, on, currency, amount = found.groups()
    return Balance(signed(mark, amount, currency, field), currency, day(on, field))


def signed(mark: str, text: str, currency: str, field: Field) -> Decimal:
    """Read an amount as the account sees it.  Raises MalformedFile."""
    return SIGNS[mark] * decimal(text, currency, field) + 0  # + 0: there is no minus nothing


def decimal(text: str, currency: str, field: Field) -> Decimal:
    """Read an amount with its comma, as fine as the currency counts.  Raises MalformedFile."""
    if currency not in MINOR_UNITS:
        raise MalformedFile(field.line, f"{currency!r} is not a currency of ISO 4217 in use")
    whole, _, fraction = text.partition(",")
    if len(fraction.rstrip("0")) > MINOR_UNITS[currency]:
        raise MalformedFile(field.line, f"{text[:40]} is finer than {currency} counts, which has {MINOR_UNITS[currency]} decimals")
    return Decimal(f"{whole}.{fraction}" if fraction else whole)


def day(text: str, field: Field) -> date:
    """Read YYMMDD.  Raises MalformedFile."""
    year = int(text[:2])
    try:
        return date((1900 if year >= PIVOT else 2000) + year, int(text[2:4]), int(text[4:]))
    except ValueError:
        raise MalformedFile(field.line, f"{text} is no day of the calendar (YYMMDD)") from None


def value_day(text: str, field: Field) -> date:
    """Read the YYMMDD on which interest begins: banks that count months of 30 days know a February 30, the last of the month."""
    if text[2:] in ("0229", "0230"):
        return day(f"{text[:2]}0301", field) - timedelta(days=1)
    return day(text, field)


def entry_day(text: str, valued_on: date, field: Field) -> date:
    """Read the MMDD of the booking, in the year in which it is nearest to the value date.  Raises MalformedFile."""
    near = []
    for year in (valued_on.year - 1, valued_on.year, valued_on.year + 1):
        try:
            near.append(date(year, int(text[:2]), int(text[2:])))
        except ValueError:
            continue
    if not near:
        raise MalformedFile(field.line, f"{text} is no day of the calendar (MMDD)")
    return min(near, key=lambda one: abs(one - valued_on))


def statement_line(field: Field, currency: str) -> tuple[BankLine, bool]:
    """Read a line, such as 1701190119CN0,01NTRFNONREF//MB170119012058, and whether it is only expected (MT942).  Raises MalformedFile."""
    found = _line(field.lines[0].strip())
    if not found:
        raise MalformedFile(field.line, f":61: is {field.lines[0][:60]!r}: one such as 1612301230C25,03NTRFNONREF//B1 is expected")
    valued, entered, mark, _, amount, code, references = found.groups()
    valued_on = value_day(valued, field)
    ours, _, banks = references.partition("//")
    line = BankLine(
        line=field.line,
        amount=signed(mark.removeprefix("E"), amount, currency, field),
        currency=currency,
        booked_on=entry_day(entered, valued_on, field) if entered and entered.strip() else valued_on,
        valued_on=valued_on,
        is_reversal=mark.startswith("R"),
        bank_reference=kept(banks),
        end_to_end_id="" if ours.strip() in NO_REFERENCE else kept(ours),
        batch_reference="",
        counterparty="",
        counterparty_account="",
        text=kept(" ".join(text.strip() for text in field.lines[1:])),
        code=code.strip(),
    )
    return line, mark.startswith("E")


def kept(text: str) -> str:
    """Return a text without the blanks around it and what cannot be shown, not longer than what is kept."""
    return _control.sub("?", text.strip())[:LONGEST_TEXT]
