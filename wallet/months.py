"""Months, as statements and invoices mean them: from midnight to midnight in the house's time zone, the first moment counted in, the last not.

A movement belongs to the month in which Postgres wrote it, so that what is asked here is measured against true time and not against the
clock of business (ledger/clock.py): a test clock that was moved ahead must not close a month that still grows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.utils import timezone

from ledger.errors import DomainError

LONGER_THAN_ANY_WRITER = timedelta(minutes=10)  # config/settings.py ends every transaction sooner
FIRST_YEAR, LAST_YEAR = 2000, 2999


class UnknownPeriod(DomainError):
    code = "unknown_period"


class PeriodNotOver(DomainError):
    code = "period_not_over"


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, written 2026-10."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02d}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def last_day(self) -> date:
        return self.following.first_day - timedelta(days=1)

    @property
    def since(self) -> datetime:
        return midnight(self.first_day)

    @property
    def until(self) -> datetime:
        return midnight(self.following.first_day)

    @property
    def following(self) -> "Month":
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def previous(self) -> "Month":
        return of(self.since - timedelta(days=1))

    def is_over(self, now: datetime) -> bool:
        """Is every movement of the month written and committed?"""
        return now >= self.until + LONGER_THAN_ANY_WRITER

    def require_over(self, now: datetime) -> None:
        """Raise PeriodNotOver unless every movement of the month is written and committed."""
        if not self.is_over(now):
            raise PeriodNotOver(f"{self} is not over yet. Ask again some minutes after it is.", field="period")


def parse(text: str) -> Month:
    """Read a month such as 2026-10.  Raises UnknownPeriod."""
    found = re.fullmatch("([0-9]{4})-(0[1-9]|1[0-2])", text, re.ASCII)
    if found is None or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        raise UnknownPeriod(f"{text[:20]!r} is not a month. Write one such as 2026-10.", field="period")
    return Month(int(found[1]), int(found[2]))


def of(moment: datetime) -> Month:
    """Return the month in which the moment lies."""
    local = timezone.localtime(moment)
    return Month(local.year, local.month)


def newest_first(since: datetime, *, until: datetime) -> Iterator[Month]:
    """Yield the months from the one of `until` back to the one of `since`, both counted in."""
    month, first = of(until), of(since)
    while month >= first:
        yield month
        month = month.previous


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
