"""Which files must be here by now and are not.  What is expected are rows (ExpectedFile), which finance keeps in the admin.

An expected file is one about each day, or each weekday.  The day of a file is the last that its lines are about, and only a file that was
read to its end, and is compared, counts: a refused one, or one that is only read, is as good as none.

Who writes no file about a quiet day (`has_quiet_days` is off) is asked for one only where our books know of something that it must tell: of a
PSP, what was taken or given back on that day; of a bank, money that was ordered to us or from us and is on no statement yet.
Looked at by the banner of the admin, by /metrics' watchers and by beat.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.db.models import Q

from ledger import chart
from ledger.models import Account
from reconciliation import not_at_the_bank
from reconciliation.models import ExpectedFile, SourceFile

LOOK_BACK = 30  # days; what was missing before that is found by the mismatches that it left
ON_ITS_WAY_FOR = 7  # days; what takes longer to our bank, or from it, is a mismatch by then
A_DAY = timedelta(days=1)

# What is booked as owed by a PSP of what the PSP itself knows: neither what its files settled, nor what people booked.
OF_THE_PSP = ("sale", "stored_value", "refund", "refund_reversal", "late_charge", "dispute", "dispute_closed")

# By when it happened, as the PSP counts it: where its month was closed by then, our books have it later, and never sooner.
MOVED_AT_THE_PSP = """
SELECT DISTINCT (coalesce(booked.occurred_at, booked.effective_at) AT TIME ZONE %(zone)s)::date
FROM ledger_journalentry AS booked
JOIN ledger_posting AS posting ON posting.entry_id = booked.id JOIN ledger_account AS account ON account.id = posting.account_id
WHERE booked.effective_at >= %(first)s::timestamp AT TIME ZONE %(zone)s
  AND coalesce(booked.occurred_at, booked.effective_at) >= %(first)s::timestamp AT TIME ZONE %(zone)s
  AND coalesce(booked.occurred_at, booked.effective_at) < (%(last)s + 1)::timestamp AT TIME ZONE %(zone)s
  AND booked.kind = ANY(%(kinds)s) AND account.code = %(code)s AND %(currency)s IN ('', account.currency)
"""


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
        absent = [day for day in wanted if day not in here]
        yield from (Missing(expected, day, due_of(expected, day)) for day in told_of(expected, absent))


def told_of(expected: ExpectedFile, days: Collection[date]) -> list[date]:
    """Return those of the days, of which no file is here, that there must be one about: all but the quiet ones."""
    if expected.has_quiet_days or not days:
        return list(days)
    moved = MOVED[SourceFile.Kind(expected.kind)](expected, days)
    return [day for day in days if day in moved]


def moved_at_the_psp(expected: ExpectedFile, days: Collection[date]) -> set[date]:
    """Return the days on which, by our books, the PSP took something or gave it back; on those before a day that have no file, too."""
    asked: dict[str, Any] = {
        "first": first_of(expected, min(days)),
        "last": max(days),
        "zone": expected.zone,
        "kinds": list(OF_THE_PSP),
        "code": chart.psp_receivable(expected.source),
        "currency": expected.currency,
    }
    with connection.cursor() as cursor:
        cursor.execute(MOVED_AT_THE_PSP, asked)
        moved = {day for (day,) in cursor.fetchall()}
    return {day for day in days if any(first_of(expected, day) <= each <= day for each in moved)}


def moved_at_the_bank(expected: ExpectedFile, days: Collection[date]) -> set[date]:
    """Return the days at whose end money is on its way to our bank, or from it, that no statement has: it may stand on that day's."""
    currencies = [expected.currency] if expected.currency else Account.objects.values_list("currency", flat=True).distinct()
    week = ON_ITS_WAY_FOR * A_DAY
    since, until = min(days) - week, max(days)
    soonest = {day for currency in currencies for day in not_at_the_bank.on_its_way(currency, since=since, until=until)}
    return {day for day in days if any(day - week <= each <= day for each in soonest)}


MOVED = {SourceFile.Kind.SETTLEMENT: moved_at_the_psp, SourceFile.Kind.STATEMENT: moved_at_the_bank}


def first_of(expected: ExpectedFile, day: date) -> date:
    """Return the first day that the file about that day tells of: of Monday's, where weekends have none, it is Saturday."""
    return day - 2 * A_DAY if day.isoweekday() == 1 and not expected.has_weekends else day


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
