"""Closed months: what they came to is kept, and Postgres lets no entry into them any more (migration 0011).

Months are those of UTC, by the effective date of entries, and are closed one after the other; the first one that is closed closes all before
it.  Nothing opens a month again: a correction is booked in the open month.  What happened in a closed month and is heard of later is booked at
the first open moment, with the time at which it happened beside it (`journal.post`): no payment waits for a month.

Whoever posts holds the lock of closing shared until its commit, without ever waiting for it; whoever closes holds it alone.  So an entry
is in what is kept of its month, or is booked after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from ledger.errors import DomainError
from ledger.models import ClosedMonth, JournalEntry
from ledger.statements import require_transaction

LOCK = "hashtextextended('ledger.closing', 0)"
TAKE_IT = f"SELECT pg_advisory_lock({LOCK})"
LET_IT_GO = f"SELECT pg_advisory_unlock({LOCK})"

BEFORE_ALL = datetime.min.replace(tzinfo=UTC)  # since when the first month that is closed counts

KEEP_TOTALS = """
INSERT INTO ledger_closedtotal (month_id, kind, currency, debits, credits)
SELECT %(month)s, split_part(account.code, ':', 1), account.currency,
       coalesce(sum(posting.amount) FILTER (WHERE posting.amount > 0), 0), coalesce(-sum(posting.amount) FILTER (WHERE posting.amount < 0), 0)
FROM ledger_journalentry AS entry
JOIN ledger_posting AS posting ON posting.entry_id = entry.id
JOIN ledger_account AS account ON account.id = posting.account_id
WHERE entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
GROUP BY 2, 3 ORDER BY 3, 2
"""


class BooksAreBusy(DomainError):
    """Somebody posts for longer than whoever closes will wait, or closes a month just now."""

    code = "books_are_busy"


class NotTheNextMonth(DomainError):
    """Months are closed one after the other, each once, and only when they are over."""

    code = "not_the_next_month"


@dataclass(frozen=True, slots=True)
class Total:
    """What was debited and credited in a closed month to all accounts of one kind in one currency, in units of that currency."""

    kind: str
    currency: str
    debits: Decimal
    credits: Decimal


@contextmanager
def no_one_posts_into_the_past() -> Iterator[None]:
    """Keep everybody from posting into a month that is over, for as long as the block lasts: what they post is booked later meanwhile.

    Not within a transaction: one that is begun inside sees whatever was posted before.  Waits for those that post just now.  Raises
    BooksAreBusy when they do not end within the lock_timeout of the connection.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute(TAKE_IT)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            raise BooksAreBusy("The books are written to for long just now, or another month is closed. Try again in a minute.") from error
    try:
        yield
    finally:
        if connection.is_usable():  # a line that broke has let it go
            with connection.cursor() as cursor:
                cursor.execute(LET_IT_GO)


def close(month: date) -> ClosedMonth:
    """Close the month that begins with that day, and keep what it came to.  Inside the caller's transaction, begun while nobody posts into it.

    Raises NotTheNextMonth.  Postgres refuses it, too, and refuses it to whoever is not alone.
    """
    require_transaction("close")
    since, expected = closed_until(), next_month()
    if month.day != 1 or (expected and month != expected) or not is_over(month):
        wanted = f"The next one is {expected:%Y-%m}." if expected else "Name one by its first day."
        raise NotTheNextMonth(
            f"{month:%Y-%m} cannot be closed: months are closed in their order, once they are over. {wanted}", field="month"
        )
    closed = ClosedMonth.objects.create(month=month)
    with connection.cursor() as cursor:
        cursor.execute(KEEP_TOTALS, {"month": month, "since": since or BEFORE_ALL, "until": end_of(month)})
    return closed


def closed_until() -> datetime | None:
    """Return the first moment after the last closed month; None while no month is closed."""
    last = last_closed()
    return end_of(last) if last else None


def last_closed() -> date | None:
    return ClosedMonth.objects.order_by("-month").values_list("month", flat=True).first()


def first_closed() -> date | None:
    return ClosedMonth.objects.order_by("month").values_list("month", flat=True).first()


def next_month() -> date | None:
    """Return the month that is closed next, as its first day; None while any month that is over may be the first."""
    last = last_closed()
    return following(last) if last else None


def is_over(month: date) -> bool:
    """Is the month over by Postgres' own clock?  A test clock that was moved ahead closes no month that still grows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s <= clock_timestamp()", [end_of(month)])
        [is_over_now] = cursor.fetchone()
    return bool(is_over_now)


def first_month() -> date | None:
    """Return the month of the earliest entry, as its first day; None of empty books.  Looks through all entries."""
    first = JournalEntry.objects.order_by("effective_at").values_list("effective_at", flat=True).first()
    return first.astimezone(UTC).date().replace(day=1) if first else None


def totals_of(month: date) -> list[Total]:
    """Return what a closed month came to, by currency and kind of account."""
    kept = ClosedMonth.objects.get(month=month).totals.order_by("currency", "kind")
    return [Total(each.kind, each.currency, each.debits, each.credits) for each in kept]


def following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def begin_of(month: date) -> datetime:
    return datetime.combine(month, time(), tzinfo=UTC)


def end_of(month: date) -> datetime:
    """Return the first moment after the month."""
    return begin_of(following(month))
