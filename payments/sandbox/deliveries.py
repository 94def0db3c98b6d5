"""Webhooks: an event is stored in the transaction that made it true and sent afterwards, until somebody takes it.

Delivery is at least once and in no particular order, as everywhere. Every try is written into the journal. The sender
is a thread of the serving process (sender.py), which also ripens what is pending.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from payments.sandbox import doorbell, journal, wire
from payments.sandbox.faults import Fault
from payments.sandbox.models import Delivery

API_VERSION = "2026-11-01"
LEASE_S = 60
MAX_BACKOFF_S = 60.0
INSERT = """
    INSERT INTO sandbox_delivery (event_id, type, object_id, body, created_at, attempts, next_attempt_at, last_result)
    VALUES (%s, %s, %s, %s, %s, 0, %s, %s)
"""
CLAIM = """
    UPDATE sandbox_delivery SET attempts = attempts + 1, next_attempt_at = %s
    WHERE id IN (SELECT id FROM sandbox_delivery WHERE next_attempt_at <= %s
                 ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING id, event_id, object_id, body, attempts
"""
RECORD = """
    UPDATE sandbox_delivery AS delivery
    SET delivered_at = tried.delivered_at, next_attempt_at = tried.next_attempt_at, last_result = tried.result
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[])
         AS tried (id, delivered_at, next_attempt_at, result)
    WHERE delivery.id = tried.id
"""


@dataclass(frozen=True)
class Due:
    """A delivery that was claimed; `attempts` counts this one."""

    id: int
    event_id: str
    object_id: str
    body: str
    attempts: int


@dataclass(frozen=True)
class Tried:
    """How one try ended: `result` is "HTTP 200" or what went wrong."""

    due: Due
    result: str
    arrived: bool


def queue(event_type: str, subject: dict[str, Any], *, fault: Fault | None, now: datetime) -> None:
    """Store the event about `subject` for sending, inside the caller's transaction. `fault` loses, doubles, delays."""
    event_id = "evt_" + secrets.token_hex(16)
    event = {
        "id": event_id,
        "type": event_type,
        "api_version": API_VERSION,
        "account": settings.SANDBOX_ACCOUNT,
        "created_at": wire.moment(now),
        "data": {"object": subject},
    }
    kind = fault.kind if fault else ""
    due_at: datetime | None = now
    if kind == "webhook_lost":
        due_at = None
        lost = journal.Fact("webhook.lost", event_id, subject["id"])
        journal.write([lost], now=now)
    elif fault and kind == "webhook_late":
        due_at = now + timedelta(seconds=fault.delay_s)
    note = "" if due_at else "lost on purpose"
    row = [event_id, event_type, subject["id"], orjson.dumps(event).decode(), now, due_at, note]
    with connection.cursor() as cursor:
        for _ in range(2 if kind == "webhook_doubled" else 1):
            cursor.execute(INSERT, row)
    if due_at == now:
        transaction.on_commit(doorbell.ring)


def claim_due(*, now: datetime, limit: int) -> Sequence[Due]:
    """Take up to `limit` deliveries that are due; nobody else gets them before the lease has run out."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [now + timedelta(seconds=LEASE_S), now, limit])
        return [Due(*row) for row in cursor.fetchall()]


@transaction.atomic
def record(tries: Sequence[Tried], *, now: datetime) -> None:
    """Write down how the tries ended; what did not arrive is due again later."""
    with connection.cursor() as cursor:
        columns: list[Any] = [
            [tried.due.id for tried in tries],
            [now if tried.arrived else None for tried in tries],
            [None if tried.arrived else now + backoff(tried.due.attempts) for tried in tries],
            [tried.result for tried in tries],
        ]
        cursor.execute(RECORD, columns)
    journal.write([_fact(tried) for tried in tries], now=now)


def _fact(tried: Tried) -> journal.Fact:
    kind = "webhook.delivered" if tried.arrived else "webhook.refused"
    return journal.Fact(kind, tried.due.event_id, tried.due.object_id)


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many tries: half a second, doubled each time, a minute at most, with jitter."""
    jitter = 0.8 + secrets.randbelow(400) / 1000
    return timedelta(seconds=jitter * min(MAX_BACKOFF_S, 0.5 * 2 ** min(attempts - 1, 10)))


def of_object(object_id: str) -> Sequence[Delivery]:
    """Return the webhooks about one charge, refund or session, oldest first."""
    return list(Delivery.objects.filter(object_id=object_id).order_by("id"))


def as_wire(delivery: Delivery) -> dict[str, object]:
    return {
        "event_id": delivery.event_id,
        "type": delivery.type,
        "object_id": delivery.object_id,
        "created_at": wire.moment(delivery.created_at),
        "attempts": delivery.attempts,
        "next_attempt_at": wire.moment(delivery.next_attempt_at) if delivery.next_attempt_at else None,
        "delivered_at": wire.moment(delivery.delivered_at) if delivery.delivered_at else None,
        "last_result": delivery.last_result,
    }
