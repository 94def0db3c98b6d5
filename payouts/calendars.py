"""Payout calendars: which periods there are, when each of them is over, and on which days a seller is paid.  Pure: `now` comes in.

A period is half-open, from one cut-off to the next, and is called by the month, week or day in which it begins: 2026-10, 2026-W47,
2026-11-21.  A cut-off on a weekend or a bank holiday of the calendar's country is put off to the next working day; a period that is left
without time by that is none.
"""

import calendar as months
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count, islice
from typing import Any
from zoneinfo import ZoneInfo

import holidays

from ledger.errors import DomainError
from payouts.states import Interval

A_DAY = timedelta(days=1)
FORMS = {Interval.DAILY: r"2\d{3}-\d\d-\d\d", Interval.WEEKLY: r"2\d{3}-W\d\d", Interval.MONTHLY: r"2\d{3}-\d\d"}
EXAMPLES = {
    Interval.DAILY: "Days are written 2026-11-21.",
    Interval.WEEKLY: "Weeks are written 2026-W47.",
    Interval.MONTHLY: "Months are written 2026-10.",
    Interval.ON_REQUEST: "It pays only when asked for.",
}


class UnknownPeriod(DomainError):
    code = "unknown_period"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When somebody is paid out: how often, on which day, at which time of which zone, and whose bank holidays count ("": nobody's)."""

    interval: str = Interval.MONTHLY
    weekday: int = 1
    month_day: int = 1
    cut_off: time = time(0)
    zone: str = "UTC"
    holidays: str = ""

    @property
    def day(self) -> int:
        """The day of the week or month on which a period begins; 1 for every day."""
        return {Interval.WEEKLY: self.weekday, Interval.MONTHLY: self.month_day}.get(Interval(self.interval), 1)

    @property
    def key(self) -> str:
        """What tells it from others of its interval, in one line: `15 18:00:00 Europe/Berlin DE`."""
        return f"{self.day} {self.cut_off.isoformat()} {self.zone} {self.holidays or '-'}"


@dataclass(frozen=True, slots=True)
class Period:
    """A time that is paid out at its end: `begins_at <= t < ends_at`, in UTC."""

    name: str
    begins_at: datetime
    ends_at: datetime


def of(schedule: Any) -> Calendar:
    """Return the calendar of whatever has its columns: a schedule, terms."""
    return Calendar(**{field.name: getattr(schedule, field.name) for field in fields(Calendar)})


def of_key(interval: str, key: str) -> Calendar:
    """Return the calendar of that interval and key."""
    day, cut_off, zone, country = key.split(" ")
    return Calendar(interval, int(day), int(day), time.fromisoformat(cut_off), zone, country.replace("-", ""))


def period_of(calendar: Calendar, moment: datetime) -> Period:
    """Return the period in which the moment lies.  Raises UnknownPeriod for a calendar that has none (only when asked for)."""
    return period(calendar, number_at(calendar, moment))


def period_named(calendar: Calendar, name: str) -> Period:
    """Return the calendar's period of that name.  Raises UnknownPeriod, also for one without time: a holiday of a daily calendar."""
    try:
        found = period(calendar, number_named(calendar, name))
    except (ValueError, OverflowError):
        found = None
    if found is None or found.begins_at == found.ends_at:
        raise UnknownPeriod(f"{name[:20]!r} is no period of this calendar. {EXAMPLES[Interval(calendar.interval)]}", field="period")
    return found


def last_over(calendar: Calendar, now: datetime) -> Period:
    """Return the latest period that is over: the one whose cut-off is now, or was last before.  Raises UnknownPeriod as `period_of`."""
    current = number_at(calendar, now)
    return next(each for number in count(1) if (each := period(calendar, current - number)).begins_at < each.ends_at)


def cut_off(calendar: Calendar, name: str) -> datetime:
    """Return when the period of that name is over, in UTC.  Raises UnknownPeriod."""
    return period_named(calendar, name).ends_at


def next_payouts(calendar: Calendar, now: datetime, count: int = 3) -> list[date]:
    """Return the days of the next cut-offs, as the calendar's zone counts days; none if it pays only when asked for."""
    return [] if calendar.interval == Interval.ON_REQUEST else list(islice(payout_days(calendar, now), count))


def payout_days(calendar: Calendar, now: datetime) -> Iterator[date]:
    number, before = number_at(calendar, now), None
    while True:
        number += 1
        day = working_day(first_day(calendar, number), country=calendar.holidays)
        if day != before:
            yield day
        before = day


# --- Periods are numbered: by days, weeks or months since the year 0 -------------------------------------------------


def period(calendar: Calendar, number: int) -> Period:
    """Return the period of that number; it may be empty."""
    return Period(name_of(calendar, number), begin(calendar, number), begin(calendar, number + 1))


def number_at(calendar: Calendar, moment: datetime) -> int:
    """Return the number of the period in which the moment lies: the last that has begun."""
    number = number_of(calendar, moment.astimezone(ZoneInfo(calendar.zone)).date()) + 1
    while begin(calendar, number) > moment:
        number -= 1
    return number


def begin(calendar: Calendar, number: int) -> datetime:
    """Return when the period begins: at the cut-off on its first day, or on the first working day from then on.

    A time that the zone skips (clocks go forward) is an hour later; of a time that comes twice it is the first.
    """
    day = working_day(first_day(calendar, number), country=calendar.holidays)
    return datetime.combine(day, calendar.cut_off, tzinfo=ZoneInfo(calendar.zone)).astimezone(UTC)


def first_day(calendar: Calendar, number: int) -> date:
    """Return the day on which the period begins if that is a working day.  In a month without the day it is the last one."""
    match calendar.interval:
        case Interval.MONTHLY:
            year, month = divmod(number, 12)
            return date(year, month + 1, min(calendar.month_day, months.monthrange(year, month + 1)[1]))
        case Interval.WEEKLY:
            return date.fromordinal(7 * number + calendar.weekday)
        case Interval.DAILY:
            return date.fromordinal(number)
        case _:
            raise UnknownPeriod("This calendar has no periods: it pays only when asked for.", field="interval")


def number_of(calendar: Calendar, day: date) -> int:
    """Return the number of the month, week or day that the day lies in."""
    if calendar.interval == Interval.MONTHLY:
        return 12 * day.year + day.month - 1
    return (day.toordinal() - 1) // 7 if calendar.interval == Interval.WEEKLY else day.toordinal()


def name_of(calendar: Calendar, number: int) -> str:
    """Return what the period is called: at most ten characters."""
    match calendar.interval:
        case Interval.MONTHLY:
            return f"{number // 12:04}-{number % 12 + 1:02}"
        case Interval.WEEKLY:
            year, week, _weekday = date.fromordinal(7 * number + 1).isocalendar()
            return f"{year:04}-W{week:02}"
        case _:
            return first_day(calendar, number).isoformat()


def number_named(calendar: Calendar, name: str) -> int:
    """Return the number of the period of that name.  Raises ValueError for what is none."""
    if not re.fullmatch(FORMS.get(Interval(calendar.interval), "(?!)"), name):
        raise ValueError(name)
    match calendar.interval:
        case Interval.MONTHLY:
            return number_of(calendar, date.fromisoformat(f"{name}-01"))
        case Interval.WEEKLY:
            return number_of(calendar, date.fromisocalendar(int(name[:4]), int(name[6:8]), 1))
        case _:
            return number_of(calendar, date.fromisoformat(name))


# --- Working days ---------------------------------------------------------------------------------------------------


def working_day(day: date, *, country: str) -> date:
    """Return the day, or the next one on which the country's banks work.  Without a country banks always work."""
    while country and not holidays_of(country, day.year).is_working_day(day):
        day += A_DAY
    return day


def bank_day(day: date, *, country: str) -> date:
    """Return the day, or the next one on which TARGET, through which banks pay euros, is open and the banks of the country work.

    The holidays of a country that we do not know are not minded.
    """
    known = country if country in countries() else ""
    while not target_days(day.year).is_working_day(day) or working_day(day, country=known) != day:
        day += A_DAY
    return day


@lru_cache(maxsize=100)
def target_days(year: int) -> holidays.HolidayBase:
    """Return the weekends and holidays of TARGET in one year.  Never grown later, as `holidays_of`."""
    return holidays.financial_holidays("ECB", years=year, expand=False)


@lru_cache(maxsize=1000)
def holidays_of(country: str, year: int) -> holidays.HolidayBase:
    """Return a country's weekends and bank holidays of one year.  Never grown later: another thread may be reading it."""
    offered = getattr(holidays, country)(years=year, expand=False).supported_categories
    wanted = [category for category in (holidays.PUBLIC, holidays.BANK) if category in offered]
    return holidays.country_holidays(country, years=year, expand=False, categories=wanted)


@lru_cache(maxsize=1)
def countries() -> frozenset[str]:
    """Return the countries whose bank holidays are known, by ISO 3166-1."""
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """Return the time zones there are, such as Europe/Berlin."""
    return frozenset(zoneinfo.available_timezones())
