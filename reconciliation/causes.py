"""How well a mismatch is understood, and by when it must be explained: so many bank days after the day on which it was found.

The kind of a mismatch tells its cause, and settings (MISMATCH_DUE_BANK_DAYS) how many bank days each cause is given.  Neither is stored: what
is LATE after all, or is given other days, is due accordingly at once.  A bank day is one of TARGET, in UTC.
"""

from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from enum import StrEnum
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db.models import Case, DateTimeField, Expression, F, Func, IntegerField, QuerySet, Value, When

from payouts.calendars import bank_day
from reconciliation.models import Mismatch

A_DAY = timedelta(days=1)
LOOKED_BACK = 250  # bank days, about a year: what was found before that is overdue, whatever it is given


class Cause(StrEnum):
    """How well a mismatch is understood: what resolved itself, what a person adjusts, and what nobody knows the reason of."""

    AUTOMATIC = "automatic"
    BY_HAND = "by_hand"
    UNKNOWN = "unknown"


CAUSES = {
    Mismatch.Kind.LATE: Cause.AUTOMATIC,
    Mismatch.Kind.FEE: Cause.BY_HAND,
    Mismatch.Kind.AMOUNT: Cause.BY_HAND,
    Mismatch.Kind.DUPLICATE: Cause.BY_HAND,
    Mismatch.Kind.WRONG_BATCH: Cause.BY_HAND,
}


def cause_of(mismatch: Mismatch) -> Cause:
    """Return how well the mismatch is understood, by its kind alone."""
    return CAUSES.get(Mismatch.Kind(mismatch.kind), Cause.UNKNOWN)


def kinds_of(cause: Cause) -> list[Mismatch.Kind]:
    """Return the kinds of mismatches that are understood so well."""
    return [kind for kind in Mismatch.Kind if CAUSES.get(kind, Cause.UNKNOWN) == cause]


def due_on(mismatch: Mismatch) -> date:
    """Return the bank day by whose end the mismatch must be explained."""
    day = mismatch.found_at.astimezone(UTC).date()
    for _day in range(settings.MISMATCH_DUE_BANK_DAYS[cause_of(mismatch)]):
        day = bank_day(day + A_DAY, country="")
    return day


def with_days_left(mismatches: QuerySet[Mismatch], *, now: datetime) -> QuerySet[Any]:
    """Return them with `days_left`: how many bank days until they must be explained.  Below zero they are overdue.

    0 is today, or the next bank day if today is none.  Bank days are numbered, and a mismatch found on a weekend has Friday's number.
    """
    days = bank_days_until(now.astimezone(UTC).date())
    found = Func(F("found_at"), Value(list(days), ArrayField(DateTimeField())), function="width_bucket", output_field=IntegerField())
    return mismatches.annotate(days_left=found + given() - len(days))


def given() -> Expression:
    """Return how many bank days a mismatch is given, in SQL."""
    cases = [When(kind__in=kinds_of(cause), then=Value(settings.MISMATCH_DUE_BANK_DAYS[cause])) for cause in Cause]
    return Case(*cases, output_field=IntegerField())


@lru_cache(maxsize=10)
def bank_days_until(today: date) -> tuple[datetime, ...]:
    """Return when each of the past bank days began, the oldest first; the last of them is today, or the next if today is none."""
    last = bank_day(today, country="")
    days = (last - A_DAY * ago for ago in range(LOOKED_BACK * 2))
    past = [day for day in days if bank_day(day, country="") == day][:LOOKED_BACK]
    return tuple(datetime.combine(day, time_of_day.min, UTC) for day in reversed(past))


def overdue(*, now: datetime) -> QuerySet[Mismatch]:
    """Return the open mismatches that should be explained by now: there should be none."""
    return with_days_left(Mismatch.objects.filter(resolved_at=None), now=now).filter(days_left__lt=0)
