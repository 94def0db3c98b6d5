"""Who did what, when and why, from what to what: one list over all tables in which Postgres and the admin write that down.

Each table is read by id from the days that are asked for (ledger/seek.py), newest first and no further than needed, and what it is about is
looked up for the rows that are shown.  A test holds this list to every table of transitions in the house.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import connection, models
from django.utils.text import capfirst

from ledger import seek
from ledger.models import Approval, ApprovalTransition
from payments.models import Cancellation, Dispute, PaymentEvent, PaymentOrder, Refund, Transition
from payouts.models import PaymentFile, Payout, PayoutRun, PayoutTransition
from reconciliation.models import Mismatch, MismatchTransition, RightsTransition, ToleranceChange, ToleranceRule
from wallet.models import SecondFactorChange


@dataclass(frozen=True, slots=True)
class Asked:
    """What the trail is asked for: from a moment until before another; by one actor, or by whoever is a person; about one object, or any."""

    since: datetime
    until: datetime
    actor: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that was done.  `about` is the id of what it was done to, or its name where it has none."""

    at: datetime
    actor: str
    what: str
    about: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A table of transitions: its columns in SQL, and what its rows are about.

    `kinds` are the tables behind `kind` and `object_id`, each with the column by which people know a row; without them `about` is SQL itself.
    """

    model: type[models.Model]
    at: str
    actor: str
    kind: str
    about: str
    before: str
    after: str
    reason: str
    kinds: tuple[tuple[str, type[models.Model], str], ...] = ()
    joined: str = ""

    @property
    def table(self) -> str:
        return str(self.model._meta.db_table)


SOURCES = (
    Source(
        ApprovalTransition, "at", "actor", "'approval'", "approval_id::text", "before", "after", "reason",
        kinds=(("approval", Approval, "public_id"),),
    ),
    Source(
        Transition, "at", "actor", "kind", "object_id::text", "before", "after", "reason",
        kinds=(
            ("event", PaymentEvent, "public_id"),
            ("order", PaymentOrder, "public_id"),
            ("refund", Refund, "public_id"),
            ("cancellation", Cancellation, "public_id"),
            ("dispute", Dispute, "public_id"),
        ),
    ),
    Source(
        PayoutTransition, "at", "actor", "kind", "object_id::text", "before", "after", "reason",
        kinds=(("payout", Payout, "public_id"), ("run", PayoutRun, "public_id"), ("file", PaymentFile, "public_id")),
    ),
    Source(
        MismatchTransition, "at", "actor", "'mismatch'", "mismatch_id::text", "before", "after", "reason",
        kinds=(("mismatch", Mismatch, "public_id"),),
    ),
    Source(
        ToleranceChange, "at", "actor", "'tolerance'", "rule_id::text", "before", "after", "reason",
        kinds=(("tolerance", ToleranceRule, "id::text"),),
    ),
    Source(
        SecondFactorChange, "at", '"by"', "'second factor'", "auth_user.username", "''", "kind", "reason",
        joined="JOIN auth_user ON auth_user.id = row.user_id",
    ),
    Source(RightsTransition, "at", "actor", "'rights: ' || what", "login", "before", "after", "reason"),
    Source(
        LogEntry, "action_time", "'staff:' || auth_user.username", "'admin: ' || django_content_type.model", "object_repr", "''", "''",
        "change_message",
        joined="JOIN auth_user ON auth_user.id = row.user_id JOIN django_content_type ON django_content_type.id = row.content_type_id",
    ),
)  # fmt: skip

ROWS = """
SELECT row.{at} AS at, {actor} AS actor, {kind} AS kind, {about} AS about, {before} AS before, {after} AS after, {reason} AS reason, row.id
FROM {table} AS row {joined}
WHERE row.id >= %s AND row.{at} >= %s AND row.{at} < %s AND {actor} <> '' {asked}
ORDER BY row.id DESC LIMIT %s
"""
OF_KIND = "{kind} = %s AND {about} IN (SELECT id::text FROM {table} WHERE {column} = %s)"
NAMES = "SELECT id, {column} FROM {table} WHERE id = ANY(%s)"


def rows(asked: Asked, *, limit: int) -> list[Done]:
    """Return what people did, the newest first, `limit` at most."""
    found = [done for source in SOURCES for done in rows_of(source, asked, limit=limit)]
    return sorted(found, key=lambda done: done.at, reverse=True)[:limit]


def rows_of(source: Source, asked: Asked, *, limit: int) -> Iterable[Done]:
    """Return what stands in one table."""
    conditions, parameters = [], []
    if asked.actor:
        conditions.append(f"AND {source.actor} = %s")
        parameters.append(asked.actor)
    if asked.about:
        said, keys = condition_about(source, asked.about)
        conditions.append(f"AND ({said})")
        parameters += keys
    names = ("at", "actor", "kind", "about", "before", "after", "reason", "table", "joined")
    statement = ROWS.format(asked=" ".join(conditions), **{name: getattr(source, name) for name in names})
    first = seek.first_id_since(source.model, source.at, asked.since)
    with connection.cursor() as cursor:
        cursor.execute(statement, [first, asked.since, asked.until, *parameters, limit])
        found = cursor.fetchall()
    return named(source, found)


def condition_about(source: Source, about: str) -> tuple[str, list[Any]]:
    """Return the condition that a row is about what has this id or name, and its parameters."""
    if not source.kinds:
        return f"{source.about} = %s", [about]
    said, keys = [], []
    for kind, model, column in source.kinds:
        said.append(OF_KIND.format(kind=source.kind, about=source.about, table=model._meta.db_table, column=column))
        keys += [kind, about]
    return " OR ".join(said), keys


def named(source: Source, found: Sequence[tuple[Any, ...]]) -> Iterable[Done]:
    """Return the rows with the ids by which people know what they are about."""
    known: dict[tuple[str, str], str] = {}
    for kind, model, column in source.kinds:
        keys = [int(row[3]) for row in found if row[2] == kind]
        if keys:
            with connection.cursor() as cursor:
                cursor.execute(NAMES.format(column=column, table=model._meta.db_table), [keys])
                known |= {(kind, str(key)): str(name) for key, name in cursor.fetchall()}
    for at, actor, kind, about, before, after, reason, _key in found:
        yield Done(at, actor, capfirst(kind), known.get((kind, about), about), readable(before), readable(after), said_in(source, reason))


def readable(state: str) -> str:
    """Return a state as people read it: NOT_STARTED is Not started.  What is no state stays as it is."""
    return capfirst(state.lower().replace("_", " ")) if state.isupper() else state


def said_in(source: Source, reason: str) -> str:
    """Return the reason as people read it: the admin writes which fields were changed as JSON."""
    return LogEntry(change_message=reason).get_change_message() if source.model is LogEntry else reason
