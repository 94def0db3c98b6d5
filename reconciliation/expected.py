"""Which files must be here by now and are not.  What is expected are rows (ExpectedFile), which finance keeps in the admin.

An expected file is one about each day, or each weekday.  The day of a file is the last that its lines are about, and only a file that was
read to its end, and is compared, counts: a refused one, or one that is only read, is as good as none.  Looked at by the banner of the admin, by /metrics' watchers and by beat.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q

from reconciliation.models import ExpectedFile, SourceFile

LOOK_BACK = 30  # days; what was missing before that is found by the mismatches that it left
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that should be here: the day that it is about, and since when it is overdue."""

    expected: ExpectedFile
    day: date
    due: datetime

    def __str__(self) -> str:
        return f"{self.expected} of {self.day}, due since {self.due:%Y-%m-%d %H:%M %Z}"


def missing(*, now: datetime) -> list[Missing]:
    """Return the files of the last 30 days that are due and not here, the oldest first."""
    return sorted((each for expected in ExpectedFile.objects.order_by("pk") for each in missing_of(expected, now=now)), key=overdue_since)


def missing_between(first_day: date, last_day: date) -> list[Missing]:
    """Return the files about these days (both are counted in) that are not here, due or not, the oldest first."""
    days = [first_day + number * A_DAY for number in range((last_day - first_day).days + 1)]
    missed = (each for expected in ExpectedFile.objects.order_by("pk") for each in missing_about(expected, days))
    return sorted(missed, key=overdue_since)


def missing_of(expected: ExpectedFile, *, now: datetime) -> Iterator[Missing]:
    return missing_about(expected, [day for day in days_back(now=now) if due_of(expected, day) <= now])


def missing_about(expected: ExpectedFile, days: Iterable[date]) -> Iterator[Missing]:
    wanted = [day for day in days if is_wanted(expected, day)]
    if wanted:
        here = days_here(expected, since=min(wanted))
        yield from (Missing(expected, day, due_of(expected, day)) for day in wanted if day not in here)


def days_back(*, now: datetime) -> Iterator[date]:
    today = now.date() + A_DAY  # it is tomorrow already somewhere
    return (today - number * A_DAY for number in range(LOOK_BACK + 1))


def is_wanted(expected: ExpectedFile, day: date) -> bool:
    return day >= expected.since and (expected.has_weekends or day.isoweekday() <= 5)


def due_of(expected: ExpectedFile, day: date) -> datetime:
    """Return when the file about that day must be here."""
    return datetime.combine(day + expected.days_after * A_DAY, expected.due_at, tzinfo=ZoneInfo(expected.zone))


def days_here(expected: ExpectedFile, *, since: date) -> set[date | None]:
    in_currency = Q(currencies__contains=[expected.currency]) if expected.currency else Q()
    here = SourceFile.objects.filter(in_currency, source=expected.source, kind=expected.kind, status=SourceFile.Status.STAGED)
    compared = here.exclude(format__in=settings.FILE_FORMATS_ONLY_READ)
    return set(compared.filter(last_day__gte=since).values_list("last_day", flat=True))


def overdue_since(missing: Missing) -> datetime:
    return missing.due
