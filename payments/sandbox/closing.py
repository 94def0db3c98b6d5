"""The end of a day: the PSP settles what happened, in one batch for each currency, and the bank makes its statements.

A day (UTC, by the test clock) is closed when it is over and somebody asks, once and for ever. What belongs to it is decided
by the journal's order: all rows up to the first one of a later day. So a day that is closed late is the same as one closed
at midnight, and what happens after the clock was put back belongs to the first day that is not closed yet.

What a batch makes is on the merchant's bank account the day after; what it lacks is carried over to the next batch of its
currency. A batch without lines and a statement without bookings are not made. Payouts to sellers are paid from the bank
account and are in no batch.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Max, Sum

from payments.sandbox import charges, clock, disputes, journal, payouts, planting, refunds
from payments.sandbox.amounts import digits_of
from payments.sandbox.models import BankEntry, BankStatement, ClosedDay, JournalRow, SettlementBatch, SettlementLine

ONE_AT_A_TIME = 7_311_043
A_DAY, A_MOMENT = timedelta(days=1), timedelta(seconds=1)
RIPENED_AT_ONCE = 100
SETTLED = {  # what becomes of a row of the journal: its line, the sign of its gross, the sign of the fee that it costs
    "charge.succeeded": ("charge", 1, 1),
    "charge.voided": ("refund", -1, -1),
    "refund.succeeded": ("refund", -1, 0),
    "refund.failed": ("refund_failed", 1, 0),
    "dispute.opened": ("dispute", -1, 0),
    "dispute.fee": ("dispute_fee", 0, 0),
    "dispute.returned": ("dispute_won", 1, 0),
}
BOOKED = ("payout.paid", "payout.returned")
MONEY = [*SETTLED, *BOOKED]
SETTLE = """
    WITH today AS (
        SELECT * FROM sandbox_journal WHERE seq > %(after)s AND seq <= %(up_to)s AND type = ANY(%(types)s::text[]) AND currency = %(currency)s
    ), undone AS (  -- taken and given back on one day: nothing to settle
        SELECT object_id FROM today WHERE type IN ('charge.succeeded', 'charge.voided') GROUP BY object_id HAVING count(DISTINCT type) > 1
    )
    INSERT INTO sandbox_settlementline (batch_id, type, object_id, charge, key, reference, charge_reference, method, currency, gross,
                                        fee, occurred_at)
    SELECT %(batch)s::bigint, becomes.line, fact.object_id, charge.id, fact.key, fact.reference, charge.reference,
           CASE session.method WHEN 'card' THEN session.card_brand ELSE session.method END,
           fact.currency, becomes.sign * fact.amount,
           CASE WHEN fact.type = 'dispute.fee' THEN fact.amount
                ELSE becomes.costs * round(fact.amount * %(rate)s::numeric + %(fixed)s::numeric) END,
           fact.at
    FROM today AS fact
    JOIN unnest(%(types)s::text[], %(lines)s::text[], %(signs)s::int[], %(costs)s::int[]) AS becomes (type, line, sign, costs) ON becomes.type = fact.type
    LEFT JOIN sandbox_refund AS refund ON refund.id = fact.object_id
    LEFT JOIN sandbox_dispute AS dispute ON dispute.id = fact.object_id
    JOIN sandbox_charge AS charge ON charge.id = coalesce(refund.charge_id, dispute.charge_id, fact.object_id)
    JOIN sandbox_session AS session ON session.id = charge.session_id
    WHERE fact.amount <> 0 AND fact.object_id NOT IN (SELECT object_id FROM undone)
      AND (fact.type <> 'refund.failed'  -- one that had succeeded: the money came back
           OR EXISTS (SELECT FROM sandbox_journal AS before
                      WHERE before.type = 'refund.succeeded' AND before.object_id = fact.object_id AND before.seq < fact.seq))
    ORDER BY fact.seq
"""
BOOK = """
    INSERT INTO sandbox_bankentry (kind, booked_on, currency, amount, object_id, end_to_end_id, account_last4, reason)
    SELECT CASE fact.type WHEN 'payout.paid' THEN 'payout' ELSE 'return' END, %(day)s::date, fact.currency,
           CASE fact.type WHEN 'payout.paid' THEN -fact.amount ELSE fact.amount END, fact.object_id, fact.reference, payout.account_last4,
           CASE fact.type WHEN 'payout.paid' THEN '' ELSE coalesce(substring(payout.failure ->> 'message' FROM '\\(([A-Z0-9]{4})\\)'), 'MS03') END
    FROM sandbox_journal AS fact JOIN sandbox_payout AS payout ON payout.id = fact.object_id
    WHERE fact.seq > %(after)s AND fact.seq <= %(up_to)s AND fact.type = ANY(%(types)s::text[])
    ORDER BY fact.seq
"""


class Day(NamedTuple):
    """A day to be closed: the rows of the journal that belong to it are those behind `after`, up to `up_to`."""

    day: date
    after: int
    up_to: int


def close_days(*, now: datetime) -> None:
    """Close every day that is over and not closed yet, in one transaction; who finds nothing to close does nothing."""
    last_seq = journal.last_seq()
    if _next_day(last_seq, now=now) is None:
        return
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
        while day := _next_day(last_seq, now=now):
            _close(day)


def end_day(*, now: datetime) -> date:
    """Put the clock forward to the end of today, or of the day that is open if that is later, and close it. Return the day.

    What was pending, and is decided by then, is decided on that day, as if the clock had run.
    """
    last_seq = journal.last_seq()
    closed = ClosedDay.objects.aggregate(day=Max("day"), up_to=Max("up_to_seq"))
    rows = JournalRow.objects.filter(seq__gt=closed["up_to"] or 0, seq__lte=last_seq, type__in=MONEY)
    latest: datetime | None = rows.aggregate(at=Max("at"))["at"]
    open_day: date | None = closed["day"] and closed["day"] + A_DAY
    day = max(filter(None, [now.date(), open_day, latest and latest.date()]))
    _ripen(now=_midnight_after(day) - A_MOMENT)
    clock.advance((_midnight_after(day) - now).total_seconds())
    close_days(now=clock.now())
    return day


def _ripen(*, now: datetime) -> None:
    while max(ripen(now=now, limit=RIPENED_AT_ONCE) for ripen in (charges.ripen, refunds.ripen, disputes.ripen, payouts.ripen)):
        pass


def _next_day(last_seq: int, *, now: datetime) -> Day | None:
    """Return the first day that is not closed, is over, and has anything to settle or to book; or None."""
    closed = ClosedDay.objects.order_by("-day").first()
    after = closed.up_to_seq if closed else 0
    rows = JournalRow.objects.filter(seq__gt=after, seq__lte=last_seq, type__in=MONEY).order_by("seq")
    first = rows.values_list("at", flat=True).first()
    open_days = [first.date()] if first else []
    if closed and (BankEntry.objects.filter(statement=None).exists() or SettlementLine.objects.filter(batch=None).exists()):
        open_days.append(closed.day + A_DAY)
    if not open_days:
        return None
    day = max(min(open_days), closed.day + A_DAY) if closed else min(open_days)
    if day >= now.date():
        return None
    later = rows.filter(at__gte=_midnight_after(day)).values_list("seq", flat=True).first()
    return Day(day, after, max(after, later - 1 if later else last_seq))  # somebody else may have closed more meanwhile


def _midnight_after(day: date) -> datetime:
    return datetime.combine(day + A_DAY, time(), tzinfo=UTC)


def _close(day: Day) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BOOK, {"day": day.day, "after": day.after, "up_to": day.up_to, "types": list(BOOKED)})
    booked = BankEntry.objects.filter(statement=None, booked_on__lte=day.day)
    for currency in booked.order_by("currency").values_list("currency", flat=True).distinct():
        _make_statement(day, currency)
    rows = JournalRow.objects.filter(seq__gt=day.after, seq__lte=day.up_to, type__in=list(SETTLED))
    waiting = SettlementLine.objects.filter(batch=None)
    currencies = {str(one) for found in (rows, waiting) for one in found.values_list("currency", flat=True).distinct()}
    for currency in sorted(currencies):
        _make_batch(day, currency)
    ClosedDay.objects.create(day=day.day, up_to_seq=day.up_to)


def _name(prefix: Literal["sb", "st"], day: date, currency: str) -> str:
    return f"{prefix}-{day:%Y%m%d}-{currency.lower()}"


def _make_batch(day: Day, currency: str) -> None:
    """Make the batch of one currency: what was late, what happened, and the faults that strike it; it is paid out or carries over."""
    before = SettlementBatch.objects.filter(currency=currency).order_by("-day").first()
    waiting = SettlementLine.objects.filter(batch=None, currency=currency).exclude(waits_until__gt=day.day)
    late = list(waiting.values_list("id", flat=True))
    batch = SettlementBatch.objects.create(name=_name("sb", day.day, currency), day=day.day, currency=currency)
    _add_lines(batch, day)
    planting.strike_batch(batch)
    SettlementLine.objects.filter(id__in=late).update(batch=batch)
    made = SettlementLine.objects.filter(batch=batch).aggregate(lines=Count("id"), gross=Sum("gross"), fee=Sum("fee"))
    if not made["lines"]:
        batch.delete()
        return
    batch.lines, batch.carried_in = made["lines"], before.carried_out if before else 0
    balance = made["gross"] - made["fee"] - batch.carried_in
    batch.paid_out, batch.carried_out = max(balance, 0), max(-balance, 0)
    batch.save()
    if batch.paid_out:
        paid_in = {"currency": currency, "amount": batch.paid_out, "object_id": batch.name, "end_to_end_id": batch.name}
        BankEntry.objects.create(kind="settlement", booked_on=day.day + A_DAY, **paid_in)


def _add_lines(batch: SettlementBatch, day: Day) -> None:
    lines, signs, costs = zip(*SETTLED.values(), strict=True)
    terms = {
        "batch": batch.id,
        "after": day.after,
        "up_to": day.up_to,
        "currency": batch.currency,
        "types": list(SETTLED),
        "lines": list(lines),
        "signs": list(signs),
        "costs": list(costs),
        "rate": settings.SANDBOX_FEE_RATE,
        "fixed": settings.SANDBOX_FEE_FIXED.scaleb(digits_of(batch.currency)),
    }
    with connection.cursor() as cursor:
        cursor.execute(SETTLE, terms)


def _make_statement(day: Day, currency: str) -> None:
    """Make the statement of one currency: what was booked up to this day, and the faults that strike it."""
    before = BankStatement.objects.filter(currency=currency).order_by("-number").first()
    opening = before.closing if before else 0
    number = before.number + 1 if before else 1
    name = _name("st", day.day, currency)
    statement = BankStatement.objects.create(name=name, day=day.day, currency=currency, number=number, opening=opening, closing=opening)
    BankEntry.objects.filter(statement=None, currency=currency, booked_on__lte=day.day).update(statement=statement)
    planting.strike_statement(statement)
    made = BankEntry.objects.filter(statement=statement).aggregate(lines=Count("id"), amount=Sum("amount"))
    if not made["lines"]:
        statement.delete()
        return
    statement.lines, statement.closing = made["lines"], opening + made["amount"]
    statement.save()


def closed_batches(after: int, *, limit: int) -> Sequence[SettlementBatch]:
    """Return up to `limit` batches behind the id `after`, oldest first."""
    return list(SettlementBatch.objects.filter(id__gt=after).order_by("id")[:limit])


def made_statements(after: int, *, limit: int) -> Sequence[BankStatement]:
    """Return up to `limit` statements behind the id `after`, oldest first."""
    return list(BankStatement.objects.filter(id__gt=after).order_by("id")[:limit])
