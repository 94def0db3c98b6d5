"""Tolerances: how much of what a PSP pays may be missing at our bank, and how long it may take; by rows that finance keeps (ToleranceRule).

Days are bank days, as TARGET has them, whatever the currency.  A rule is made and ended, never changed, and Postgres writes both down.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from ledger import transitions
from ledger.errors import DomainError
from payouts import calendars
from reconciliation.models import ToleranceRule

A_DAY = timedelta(days=1)


class ToleranceHasEnded(DomainError):
    """It ends by then already, or would end before it held."""

    code = "already_decided"


class Allowed(NamedTuple):
    """What a rule allows of a payment that the bank books on that day: so much may be missing, if the PSP ordered it on `since` or later."""

    psp: str
    day: date
    amount: str
    since: date
    made_at: datetime
    rule_id: int


def allowed(currency: str, days: Iterable[date]) -> list[Allowed]:
    """Return what is allowed in the currency on each of the days, for each PSP that has a rule of its own, and ("") for all others."""
    return [
        Allowed(rule.psp, day, str(rule.amount), first_day_in_time(day, rule.days), rule.made_at, rule.pk)
        for day in days
        for rule in holding(currency, day)
    ]


def holding(currency: str, day: date, *, without: int | None = None) -> list[ToleranceRule]:
    """Return the rules that hold in the currency on that day: one for each PSP, the latest, and at most one ("") for all others."""
    rules = ToleranceRule.objects.filter(Q(valid_until=None) | Q(valid_until__gte=day), currency=currency, valid_from__lte=day)
    if without is not None:
        rules = rules.exclude(pk=without)
    return list({rule.psp: rule for rule in rules.order_by("valid_from", "pk")}.values())


def due_day(ordered: date, days: int) -> date:
    """Return the day by which something that was ordered on a day must be at the bank: so many bank days later."""
    for _day in range(days):
        ordered = calendars.bank_day(ordered + A_DAY, country="")
    return ordered


def first_day_in_time(booked: date, days: int) -> date:
    """Return the first day on which something may have been ordered that is booked on that day, and is not late."""
    first = booked
    while due_day(first - A_DAY, days) >= booked:
        first -= A_DAY
    return first


def last_day_due(through: date, days: int) -> date:
    """Return the last day on which something may have been ordered that must be on statements through that day."""
    last = through
    while due_day(last, days) > through:
        last -= A_DAY
    return last


@transaction.atomic
def make(rule: ToleranceRule, *, made_by: str, actor: str, reason: str, now: datetime) -> ToleranceRule:
    """Let a new rule hold that `made_by` proposed.  Writes down whose deed it is (`actor`) and why."""
    transitions.by(actor, reason=reason)
    rule.made_by, rule.made_at = made_by, now
    rule.save(force_insert=True)
    return rule


@transaction.atomic
def end(rule_id: int, *, last_day: date, actor: str, reason: str) -> ToleranceRule:
    """Let a rule hold until that day, and no longer.  Locks the rule.  What was matched by it stays so.

    Writes down who ended it and why.  Raises ToleranceHasEnded.
    """
    transitions.by(actor, reason=reason)
    rule = ToleranceRule.objects.select_for_update(no_key=True).get(pk=rule_id)
    if last_day < rule.valid_from or (rule.valid_until is not None and rule.valid_until <= last_day):
        raise ToleranceHasEnded("It ends by that day already, or begins after it. Name another day.", field="last_day")
    rule.valid_until = last_day
    rule.save(update_fields=["valid_until"])
    return rule
