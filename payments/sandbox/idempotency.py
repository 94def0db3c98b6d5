"""Idempotency keys: the first call under a key executes, every later call gets its answer.

The key alone decides, as at a real PSP. The claim, the execution and the stored answer are one transaction: a crash in
between leaves neither a charge nor a taken key. Who finds the key locked by a running call is told key_in_flight.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from payments.sandbox.errors import Refusal

CLAIM = """
    INSERT INTO sandbox_storedanswer (key, operation, request_hash, body, created_at)
    SELECT %s, %s, %s, '', %s WHERE pg_try_advisory_xact_lock(hashtextextended(%s, 0))
    ON CONFLICT (key) DO NOTHING
"""
REMEMBER = "UPDATE sandbox_storedanswer SET status = %s, body = %s WHERE key = %s"
RECALL = "SELECT operation, request_hash, status, body FROM sandbox_storedanswer WHERE key = %s"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it is stored: `replayed` tells that nothing was executed this time."""

    status: int
    body: bytes
    replayed: bool = False


def hash_of(terms: dict[str, Any]) -> str:
    """Return a hash that is equal for equal requests, whatever the order of their fields."""
    return hashlib.sha256(orjson.dumps(terms, option=orjson.OPT_SORT_KEYS)).hexdigest()


def claim(key: str, *, operation: str, request_hash: str, now: datetime) -> Answer | None:
    """Take the key for this transaction and return None, or return the answer that was stored before.

    Raises Refusal key_in_flight (409) while another call holds the key and key_reused (422) when the terms differ.
    """
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [key, operation, request_hash, now, key])
        if cursor.rowcount:
            return None
        cursor.execute(RECALL, [key])
        found = cursor.fetchone()
    if found is None:
        raise Refusal(409, "key_in_flight", "A call with this idempotency key is still running. Ask again.")
    stored_operation, stored_hash, status, body = found
    if (stored_operation, stored_hash) != (operation, request_hash):
        raise Refusal(422, "key_reused", "This idempotency key was used with other terms.", field="Idempotency-Key")
    return Answer(status, body.encode(), replayed=True)


def remember(key: str, answer: Answer) -> Answer:
    """Store the answer beside what was executed; it is replayed for ever."""
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER, [answer.status, answer.body.decode(), key])
    return answer
