"""Webhooks: an event is stored in the transaction that made it true and sent afterwards, until somebody takes it.

Delivery is at least once and in no particular order, as everywhere. Every try is written into the journal. The sender
is a thread of the serving process (sender.py), which also ripens what is pending. A fault may lose, delay or repeat an
event, or send a false one before it; a false one is tried once, and the true one is delivered all the same.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from django.conf import settings
from django.db import connection, transaction

from payments.sandbox import doorbell, journal, wire
from payments.sandbox.fault_kinds import Kind
from payments.sandbox.faults import Fault
from payments.sandbox.models import Delivery

Address = Literal["payments", "payouts"]
API_VERSION = "2026-10-01"
LEASE_S = 60
MAX_BACKOFF_S = 60.0
OLD_S = -600.0
HUGE_BYTES = 5_000_000
COPIES: Mapping[str, int] = {"webhook_doubled": 2, "webhook_ten_times": 10}
BADLY_SIGNED = ("webhook_forged", "webhook_old_timestamp", "webhook_wrong_key")  # the true event with a signature that is not
FALSE: Mapping[Kind, Mapping[str, Any]] = {  # events of their own, signed as they should be
    "webhook_wrong_account": {"account": "acct_somebody_else"},
    "webhook_unknown_type": {"type": "charge.teleported"},
    "webhook_unknown_version": {"api_version": "2099-01-01"},
    "webhook_huge": {"padding": "x" * HUGE_BYTES},
}
TRIED_ONCE: Sequence[str] = [*BADLY_SIGNED, *FALSE]
INSERT = """
    INSERT INTO sandbox_delivery (event_id, type, object_id, address, body, created_at, attempts, next_attempt_at,
                                  last_result, fault, skew_s)
    VALUES (%s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s)
"""
CLAIM = """
    UPDATE sandbox_delivery SET attempts = attempts + 1, next_attempt_at = %s
    WHERE id IN (SELECT id FROM sandbox_delivery WHERE next_attempt_at <= %s AND address = ANY(%s)
                 ORDER BY next_attempt_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING id, event_id, object_id, address, body, attempts, fault, skew_s
"""
RECORD = """
    UPDATE sandbox_delivery AS delivery
    SET delivered_at = tried.delivered_at, next_attempt_at = tried.next_attempt_at, last_result = tried.result
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[])
         AS tried (id, delivered_at, next_attempt_at, result)
    WHERE delivery.id = tried.id
"""
LET_GO = """
    UPDATE sandbox_delivery AS held SET next_attempt_at = %s
    FROM unnest(%s::bigint[], %s::text[]) AS later (id, object_id)
    WHERE held.object_id = later.object_id AND held.id < later.id AND held.fault = 'webhook_reordered'
          AND held.attempts = 0 AND held.next_attempt_at > %s
"""


@dataclass(frozen=True)
class Due:
    """A delivery that was claimed; `attempts` counts this one."""

    id: int
    event_id: str
    object_id: str
    address: Address
    body: str
    attempts: int
    fault: str = ""
    skew_s: float = 0.0


@dataclass(frozen=True)
class Tried:
    """How one try ended: `result` is "HTTP 200" or what went wrong."""

    due: Due
    result: str
    arrived: bool


def queue(event_type: str, subject: dict[str, Any], *, fault: Fault | None, now: datetime, address: Address = "payments") -> None:
    """Store the event about `subject` for sending, inside the caller's transaction, and what the fault adds to it."""
    event = {
        "id": _new_id(),
        "type": event_type,
        "api_version": API_VERSION,
        "account": settings.SANDBOX_ACCOUNT,
        "created_at": wire.moment(now),
        "data": {"object": subject},
    }
    if fault and fault.kind == "webhook_lost":
        _store(event, address=address, fault=fault, due_at=None, now=now)
        journal.write([journal.Fact("webhook.lost", event["id"], subject["id"])], now=now)
        return
    if fault and fault.kind in TRIED_ONCE:
        _store(event | _lie(fault), address=address, fault=fault, due_at=now, now=now)
        fault = None
    delay_s = fault.delay_s if fault and fault.kind in ("webhook_late", "webhook_reordered") else 0.0
    for _ in range(COPIES.get(fault.kind, 1) if fault else 1):
        _store(event, address=address, fault=fault, due_at=now + timedelta(seconds=delay_s), now=now)
    transaction.on_commit(doorbell.ring)


def _new_id() -> str:
    return "evt_" + secrets.token_hex(16)


def _lie(fault: Fault) -> dict[str, Any]:
    """Return what is false in the event; what is signed as it should be is another event, so it has another id."""
    return {"id": _new_id(), **FALSE[fault.kind]} if fault.kind in FALSE else {}


def _store(event: Mapping[str, Any], *, address: Address, fault: Fault | None, due_at: datetime | None, now: datetime) -> None:
    kind = fault.kind if fault else ""
    skew_s = fault.delay_s if fault and kind == "clock_skew" else OLD_S if kind == "webhook_old_timestamp" else 0.0
    subject, body = event["data"]["object"]["id"], orjson.dumps(event).decode()
    note = "" if due_at else "lost on purpose"
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [event["id"], event["type"], subject, address, body, now, due_at, note, kind, skew_s])


def claim_due(*, addresses: Sequence[Address], now: datetime, limit: int) -> Sequence[Due]:
    """Take up to `limit` deliveries that are due at one of the addresses; nobody else gets them before the lease has run out."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [now + timedelta(seconds=LEASE_S), now, list(addresses), limit])
        return [Due(*row) for row in cursor.fetchall()]


@transaction.atomic
def record(tries: Sequence[Tried], *, now: datetime) -> None:
    """Write down how the tries ended; what did not arrive is due again later, unless it was a false one."""
    with connection.cursor() as cursor:
        columns: list[Any] = [
            [tried.due.id for tried in tries],
            [now if tried.arrived else None for tried in tries],
            [_next_try(tried, now=now) for tried in tries],
            [tried.result for tried in tries],
        ]
        cursor.execute(RECORD, columns)
        cursor.execute(LET_GO, [now, columns[0], [tried.due.object_id for tried in tries], now])
        if cursor.rowcount:
            transaction.on_commit(doorbell.ring)
    journal.write([_fact(tried) for tried in tries], now=now)


def _next_try(tried: Tried, *, now: datetime) -> datetime | None:
    is_over = tried.arrived or tried.due.fault in TRIED_ONCE
    return None if is_over else now + backoff(tried.due.attempts)


def _fact(tried: Tried) -> journal.Fact:
    kind = "webhook.delivered" if tried.arrived else "webhook.refused"
    return journal.Fact(kind, tried.due.event_id, tried.due.object_id)


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many tries: half a second, doubled each time, a minute at most, with jitter."""
    jitter = 0.8 + secrets.randbelow(400) / 1000
    return timedelta(seconds=jitter * min(MAX_BACKOFF_S, 0.5 * 2 ** min(attempts - 1, 10)))


def of_object(object_id: str) -> Sequence[Delivery]:
    """Return the webhooks about one charge, refund, dispute, payout or session, oldest first."""
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
        "fault": delivery.fault or None,
    }
