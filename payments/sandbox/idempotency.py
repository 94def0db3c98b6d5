"""Idempotency keys: the first call under a key executes, every later call gets its answer, for 24 hours.

The key alone decides, as at a real PSP. The claim, the execution and the stored answer are one transaction: a crash in
between leaves neither a charge nor a taken key. Who finds the key locked by a running call is told key_in_flight. After
24 hours the answer is forgotten and the same key executes again, as at a real PSP, too; only a buried key stays buried.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection

from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault

KEPT = timedelta(hours=24)
BURIED = "buried"
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
CLAIM = """
    INSERT INTO sandbox_storedanswer AS stored (key, operation, request_hash, body, created_at)
    SELECT %s, %s, %s, '', %s WHERE pg_try_advisory_xact_lock(hashtextextended(%s, 0))
    ON CONFLICT (key) DO UPDATE
        SET operation = EXCLUDED.operation, request_hash = EXCLUDED.request_hash, status = NULL, body = '',
            created_at = EXCLUDED.created_at
        WHERE stored.created_at <= %s AND stored.operation <> 'buried'
"""
REMEMBER = "UPDATE sandbox_storedanswer SET status = %s, body = %s WHERE key = %s"
RECALL = "SELECT operation, request_hash, status, body FROM sandbox_storedanswer WHERE key = %s"
FORGET = "DELETE FROM sandbox_storedanswer WHERE key = %s AND operation <> 'buried'"
BURY = """
    INSERT INTO sandbox_storedanswer (key, operation, request_hash, body, created_at) VALUES (%s, 'buried', '', '', %s)
    ON CONFLICT (key) DO UPDATE SET operation = 'buried', request_hash = '', status = NULL, body = ''
        WHERE sandbox_storedanswer.operation IN (%s, 'buried')
"""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it is stored: `replayed` tells that nothing was executed this time."""

    status: int
    body: bytes
    replayed: bool = False


BROKEN = Answer(500, orjson.dumps(Refusal(500, "internal_error", "Something went wrong on our side.").as_wire()))


def hash_of(terms: dict[str, Any]) -> str:
    """Return a hash that is equal for equal requests, whatever the order of their fields."""
    return hashlib.sha256(orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)).hexdigest()


def claim(key: str, *, operation: str, request_hash: str, now: datetime) -> Answer | None:
    """Take the key for this transaction and return None, or return the answer that was stored before.

    Raises Refusal key_in_flight (409) while another call holds the key, key_reused (422) when the terms differ and
    key_voided (400) when the key was buried.
    """
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [key, operation, request_hash, now, key, now - KEPT])
        if cursor.rowcount:
            return None
        cursor.execute(RECALL, [key])
        found = cursor.fetchone()
    if found is None:
        raise _in_flight()
    stored_operation, stored_hash, status, body = found
    if stored_operation == BURIED:
        raise Refusal(400, "key_voided", "This idempotency key was voided. Nothing executes under it any more.", field="Idempotency-Key")
    if (stored_operation, stored_hash) != (operation, request_hash):
        raise Refusal(422, "key_reused", "This idempotency key was used with other terms.", field="Idempotency-Key")
    return Answer(status, body.encode(), replayed=True)


def remember(key: str, answer: Answer, *, fault: Fault | None = None) -> Answer:
    """Store the answer beside what was executed, or HTTP 500 in its place when the fault says so; return what was stored."""
    stored = BROKEN if fault and fault.kind == "stored_500" else answer
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER, [stored.status, stored.body.decode(), key])
    return stored


def forget(key: str) -> None:
    """Forget what was answered under the key, as if 24 hours had passed; a running call keeps it."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [key])


def hold(key: str) -> None:
    """Keep every call under the key away until the caller's transaction ends; raises Refusal key_in_flight (409)."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [key])
        [is_ours] = cursor.fetchone()
    if not is_ours:
        raise _in_flight()


def bury(key: str, *, operation: str, now: datetime) -> None:
    """Let nothing ever execute under the key, which the caller holds; raises Refusal key_reused if it is another operation's."""
    with connection.cursor() as cursor:
        cursor.execute(BURY, [key, now, operation])
        if not cursor.rowcount:
            raise Refusal(422, "key_reused", f"This key was not used for a {operation}.", field="key")


def _in_flight() -> Refusal:
    return Refusal(409, "key_in_flight", "A call with this idempotency key is still running. Ask again.")
