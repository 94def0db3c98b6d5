"""The European Central Bank's euro reference rates: its daily file and its history, as XML and as CSV.

Bytes in, rates out; nothing is decided here.  The file comes from outside: a document type or entities, and whatever says anything else than
a day and rates of currencies, is refused with the line and the reason, and then nothing of the file counts.  Each rate is what one euro
costs.  Currencies that nobody uses any more, which the history has, are named and left out.
https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from xml.parsers import expat

from ledger.currencies import MINOR_UNITS
from ledger.errors import DomainError

EURO = "EUR"
LARGEST = 20_000_000  # bytes; the whole history as XML has some eight million
MOST_COLUMNS = 100
RATE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
CODE = re.compile(r"[A-Z]{3}")
ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
WORDY_DAY = "%d %B %Y"  # 20 November 2026: the daily file's
NOT_QUOTED = frozenset({"N/A", ""})  # the history's, of a currency that was not quoted on that day
ENCODINGS = frozenset({"UTF-8", "US-ASCII", "ISO-8859-1"})

GESMES = "http://www.gesmes.org/xml/2002-08-01"
EUROFXREF = "http://www.ecb.int/vocabulary/2002-08-01/eurofxref"
ENVELOPE, CUBE = f"{GESMES} Envelope", f"{EUROFXREF} Cube"
WORDS = frozenset(f"{GESMES} {name}" for name in ("subject", "Sender", "name"))


class UnreadableRates(DomainError):
    """The file is none of the European Central Bank's reference rates.  Says the line and what is wrong with it."""

    code = "unreadable_rates"


@dataclass(slots=True)
class RatesFile:
    """What a file says: what a euro cost on each day, the earliest day first, and the currencies that were left out."""

    days: dict[date, dict[str, Decimal]] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)


def read(content: bytes) -> RatesFile:
    """Read a file, in whichever of its forms it is.  Raises UnreadableRates."""
    if len(content) > LARGEST:
        raise UnreadableRates(f"The file has more than {LARGEST // 1_000_000} million bytes: that is not a file of rates.", field="file")
    found = read_xml(content) if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else read_csv(content)
    if not any(found.days.values()):
        raise refusal(1, "there is no rate in the file")
    found.days = dict(sorted(found.days.items()))
    return found


def refusal(line: int, reason: str) -> UnreadableRates:
    return UnreadableRates(f"Line {line}: {reason}. Nothing of the file was taken.", field="file")


# --- What both forms say --------------------------------------------------------------------------------------------


def day_in(text: str, *, line: int) -> date:
    try:
        return date.fromisoformat(text) if ISO_DAY.fullmatch(text) else datetime.strptime(text, WORDY_DAY).date()  # noqa: DTZ007 (a day)
    except ValueError:
        raise refusal(line, f"{text[:40]!r} is not a day") from None


def currency_in(text: str, *, line: int) -> str:
    if not CODE.fullmatch(text) or text == EURO:
        raise refusal(line, f"{text[:20]!r} is not another currency than the euro, in three capital letters")
    return text


def rate_in(text: str, *, line: int) -> Decimal:
    if not RATE.fullmatch(text) or not (rate := Decimal(text)):
        raise refusal(line, f"{text[:40]!r} is not a rate: digits, with twelve decimals at most, and more than nothing")
    return rate


def add_day(to: RatesFile, day: date, *, line: int) -> dict[str, Decimal]:
    if day in to.days:
        raise refusal(line, f"{day} comes twice")
    return to.days.setdefault(day, {})


def add_rate(to: RatesFile, rates: dict[str, Decimal], currency: str, rate: Decimal) -> None:
    if currency in MINOR_UNITS:
        rates[currency] = rate
    else:
        to.left_out.add(currency)


# --- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(content: bytes) -> RatesFile:
    """Read `Date, USD, JPY, ..., ` with a line for each day; each line ends with a comma, or none does."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise refusal(1, "this is neither XML nor CSV in UTF-8") from None
    header = cells_of(lines[0]) if lines else []
    if header[:1] != ["Date"] or len(header) > MOST_COLUMNS:
        raise refusal(1, "it does not begin as the file does, with Date and then the currencies")
    columns = [currency_in(cell, line=1) for cell in header[1:]]
    if len(set(columns)) < len(columns):
        raise refusal(1, "a currency comes twice")
    found = RatesFile()
    for number, text in enumerate(lines[1:], start=2):
        if text.strip():
            add_line(found, columns, cells_of(text), line=number)
    return found


def cells_of(line: str) -> list[str]:
    """Return the cells of a line; the comma at its end begins none."""
    return [cell.strip() for cell in line.strip().removesuffix(",").split(",")]


def add_line(to: RatesFile, columns: Sequence[str], cells: Sequence[str], *, line: int) -> None:
    if len(cells) != len(columns) + 1:
        raise refusal(line, f"there are {len(cells) - 1} rates for {len(columns)} currencies")
    rates = add_day(to, day_in(cells[0], line=line), line=line)
    for currency, cell in zip(columns, cells[1:], strict=True):
        if cell not in NOT_QUOTED:
            add_rate(to, rates, currency, rate_in(cell, line=line))


# --- XML ------------------------------------------------------------------------------------------------------------


def read_xml(content: bytes) -> RatesFile:
    """Read gesmes:Envelope > Cube > Cube time > Cube currency rate."""
    reader = _Reader()
    try:
        reader.parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise refusal(reader.line, f"this is no XML that can be read ({str(error).partition(':')[0]})") from None
    return reader.found


class _Reader:
    """What expat tells, made into rates."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.XmlDeclHandler = self._declare
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.EntityDeclHandler = self._refuse_document_type
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.found = RatesFile()
        self._path: list[str] = []
        self._rates: dict[str, Decimal] = {}

    @property
    def line(self) -> int:
        return self.parser.CurrentLineNumber

    def _declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in ENCODINGS:
            raise refusal(self.line, f"it is written in {encoding[:20]}, and not in UTF-8")

    def _refuse_document_type(self, *_: object) -> None:
        raise refusal(self.line, "it has a document type or an entity, which the file never has")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        within = tuple(self._path)
        self._path.append(name)
        match within, name:
            case ((), tag) if tag == ENVELOPE:
                pass
            case ((_envelope,), tag) if tag == CUBE and not attributes:
                pass
            case ((_envelope, outer), tag) if outer == tag == CUBE and attributes.keys() == {"time"}:
                self._rates = add_day(self.found, day_in(attributes["time"], line=self.line), line=self.line)
            case ((_envelope, outer, _day), tag) if outer == tag == CUBE and attributes.keys() == {"currency", "rate"}:
                self._add(attributes)
            case ((_envelope,) | (_envelope, _), tag) if tag in WORDS and CUBE not in within:
                pass
            case _:
                raise refusal(self.line, f"<{name.rpartition(' ')[2][:30]}> stands where the file has none, or says something else there")

    def _add(self, said: Mapping[str, str]) -> None:
        currency = currency_in(said["currency"], line=self.line)
        if currency in self._rates:
            raise refusal(self.line, f"{currency} comes twice on one day")
        add_rate(self.found, self._rates, currency, rate_in(said["rate"], line=self.line))

    def _end(self, _name: str) -> None:
        self._path.pop()
