"""The journal: one row per thing that happened, only ever added; the truth that others compare their books with.

Writers hold a shared advisory lock from their insert to their commit (a trigger takes it), readers ask for it alone for
a moment: so whoever reads after=<seq> never misses a row that got its number early and was committed late. Write the
journal after all row locks are held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from payments.sandbox import wire
from payments.sandbox.models import JournalRow

WRITERS_LOCK = 7_311_042  # the trigger of migration 0002 takes the same number, shared
INSERT = """
    INSERT INTO sandbox_journal (at, type, key, object_id, reference, amount, currency, account)
    SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[],
                         %s::text[])
"""


@dataclass(frozen=True)
class Fact:
    """One line for the journal. `amount` in minor units of `currency`; both None where no money is meant."""

    type: str
    object_id: str
    reference: str
    key: str | None = None
    amount: int | None = None
    currency: str | None = None


def write(facts: Iterable[Fact], *, now: datetime) -> None:
    """Add the facts inside the caller's transaction; without one there is nothing they would stand beside."""
    rows = list(facts)
    if not connection.in_atomic_block:
        raise RuntimeError("The journal is written inside the transaction that made the facts true.")
    if not rows:
        return
    columns: list[Any] = [
        [now] * len(rows),
        [row.type for row in rows],
        [row.key for row in rows],
        [row.object_id for row in rows],
        [row.reference for row in rows],
        [row.amount for row in rows],
        [row.currency for row in rows],
        [settings.SANDBOX_ACCOUNT] * len(rows),
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, columns)


@transaction.atomic
def rows_after(seq: int, *, limit: int) -> Sequence[JournalRow]:
    """Return up to `limit` rows behind `seq`, all of them committed and with none to come in between."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITERS_LOCK])
    return list(JournalRow.objects.filter(seq__gt=seq).order_by("seq")[:limit])


@transaction.atomic
def last_seq() -> int:
    """Return the number of the last row: all rows up to it are committed, with none to come in between. 0 while there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITERS_LOCK])
    return JournalRow.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def latest(limit: int) -> Sequence[JournalRow]:
    return list(JournalRow.objects.order_by("-seq")[:limit])


def as_wire(row: JournalRow) -> dict[str, object]:
    return {
        "seq": row.seq,
        "at": wire.moment(row.at),
        "type": row.type,
        "key": row.key,
        "object_id": row.object_id,
        "reference": row.reference,
        "amount": row.amount,
        "currency": row.currency,
        "account": row.account,
    }
