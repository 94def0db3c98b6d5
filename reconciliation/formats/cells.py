"""Amounts, rates and moments of a file, read exactly: what is anything but plain is refused with its column, never rounded and never guessed.

Most amounts of a file come many times, so that reading one is mostly a look into a dictionary; what the dictionary holds is bounded.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from ledger.currencies import MINOR_UNITS

MOST_DIGITS = 15  # before the point
MOST_KEPT = 50_000  # amounts of a column, some 10 MB
YEARS = range(1980, 2080)  # of days and moments that can be meant; SWIFT's two digits say no others
OFFSETS = {  # hours from UTC; what stands for several zones (CST, IST) is not here
    **dict.fromkeys(("UTC", "GMT", "WET"), 0), **dict.fromkeys(("CET", "WEST", "BST"), 1), **dict.fromkeys(("CEST", "EET"), 2),
    "EEST": 3, "HKT": 8, "SGT": 8, "AWST": 8, "JST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
    "BRT": -3, "EDT": -4, "EST": -5, "CDT": -5, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8, "AKDT": -8, "AKST": -9, "HST": -10,
}  # fmt: skip
NOTHING = Decimal(0)  # there is no minus nothing

any_number = re.compile(f"-?[0-9]{{1,{MOST_DIGITS}}}(?:\\.[0-9]{{1,12}})?").fullmatch


class Unreadable(ValueError):
    """A cell is not what its column has.  The message says the column; whoever reads the file adds the line."""


class Amounts(dict[str, Decimal]):
    """The amounts of one column in one currency, by how they are written: plain digits, a point, no more decimals than the currency counts.

    Raises Unreadable for a currency that ISO 4217 does not have in use; looking up raises it for what is no such amount.
    """

    def __init__(self, column: str, currency: str) -> None:
        super().__init__()
        if currency not in MINOR_UNITS:
            raise Unreadable(f"{currency[:40]!r} is not a currency of ISO 4217 in use")
        self.column, self.currency, self.places = column, currency, MINOR_UNITS[currency]

    def __missing__(self, text: str) -> Decimal:
        whole, point, fraction = text.removeprefix("-").partition(".")
        is_plain = text.isascii() and whole.isdigit() and len(whole) <= MOST_DIGITS and (fraction.isdigit() or not point)
        if not is_plain or (len(fraction) > self.places and fraction[self.places :].strip("0")):
            raise Unreadable(f"{self.column} is {text[:40]!r}: {self._objection(text)}")
        if len(self) >= MOST_KEPT:
            self.clear()
        amount = self[text] = Decimal(text) or NOTHING
        return amount

    def _objection(self, text: str) -> str:
        if "," in text:
            return "a comma is refused, since it may part thousands or decimals"
        if any_number(text):
            return f"that is finer than {self.currency} counts, which has {self.places} decimals"
        return f"that is no amount of {self.currency}: plain digits are expected, such as -19.99"


class AmountsByCurrency(dict[str, Amounts]):
    """The amounts of one column of a file with several currencies."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def __missing__(self, currency: str) -> Amounts:
        amounts = self[currency] = Amounts(self.column, currency)
        return amounts


class Rates(dict[str, Decimal]):
    """Exchange rates by how they are written: above zero, with twelve decimals at most."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def __missing__(self, text: str) -> Decimal:
        if not any_number(text) or not (rate := Decimal(text)) > 0:
            raise Unreadable(f"{self.column} is {text[:40]!r}, which is no rate: digits above zero are expected, such as 1.0837")
        if len(self) >= MOST_KEPT:
            self.clear()
        self[text] = rate
        return rate


class Zones(dict[str, tzinfo]):
    """The time zones of a file by how it names them: an abbreviation is always the same offset, a place (Europe/Berlin) has its summer."""

    def __missing__(self, text: str) -> tzinfo:
        name = text.strip()
        if name in OFFSETS:
            zone: tzinfo = timezone(timedelta(hours=OFFSETS[name]))
        elif "/" in name and name in _places():
            zone = ZoneInfo(name)
        else:
            raise Unreadable(f"{text[:40]!r} is no time zone that says one thing only: write a place, such as Europe/Berlin")
        self[text] = zone
        return zone


@cache
def _places() -> frozenset[str]:
    return frozenset(available_timezones())


def utc_moment(column: str, text: str) -> datetime:
    """Read an ISO 8601 moment in UTC, such as 2026-11-20T23:15:00Z."""
    written = text.strip()
    if written[10:11] == "T" and written[-1:] == "Z":
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            pass
        else:
            if moment.year in YEARS:
                return moment
    raise Unreadable(f"{column} is {text[:40]!r}, which is no moment in UTC: one such as 2026-11-20T23:15:00Z is expected")


def local_moment(column: str, text: str, zone: tzinfo) -> datetime:
    """Read a moment in that zone, such as 2026-11-20 23:15:00.

    An hour that comes twice as summer ends is the first of both, where the zone's name does not tell; one that summer's begin leaves out is
    refused.
    """
    if len(text) == 19 and text[10] == " ":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if moment.year in YEARS:
                return in_zone(column, moment, zone) if isinstance(zone, ZoneInfo) else moment.replace(tzinfo=zone)
    raise Unreadable(f"{column} is {text[:40]!r}, which is no moment: one such as 2026-11-20 23:15:00 is expected")


def in_zone(column: str, moment: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clocks of the zone showed that moment.  Raises Unreadable where they never did."""
    local = moment.replace(tzinfo=zone)
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise Unreadable(f"{column} is {moment}, which the clocks of {zone.key} left out")
    return local


def day(column: str, text: str) -> date:
    """Read an ISO 8601 day, such as 2026-11-20."""
    written = text.strip()
    if len(written) == 10:
        try:
            found = date.fromisoformat(written)
        except ValueError:
            pass
        else:
            if found.year in YEARS:
                return found
    raise Unreadable(f"{column} is {text[:40]!r}, which is no day: one such as 2026-11-20 is expected")
