"""Idempotency records: one key of one shop on one route is used for one request, and its answer is kept for 30 days.

Each function is one statement that commits by itself; the unique constraint decides who was first.  Nothing here protects money by
itself: checkout ids, order references and entry references are unique for ever, so that an answer lost or purged never charges twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from ledger.errors import DomainError
from wallet.models import IdempotencyRecord, Shop

LEASE = timedelta(seconds=60)
KEPT_FOR = timedelta(days=30)


class KeyReused(DomainError):
    code = "idempotency_key_reused"


class KeyInFlight(DomainError):
    code = "idempotency_key_in_flight"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its key sees it: whose, where, under which key, and the fingerprint of what it says."""

    shop: Shop
    route: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, until the lease ends, to work on the request and to keep its answer."""

    record_id: int
    claimed_until: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What the request was answered with, the first time."""

    status: int
    body: Any


CLAIM = """
INSERT INTO wallet_idempotencyrecord AS record (shop_id, route, key, fingerprint, claimed_until)
VALUES (%(shop)s, %(route)s, %(key)s, %(fingerprint)s, %(until)s)
ON CONFLICT (shop_id, route, key) DO UPDATE
SET fingerprint = excluded.fingerprint, claimed_until = excluded.claimed_until, status = NULL, body = NULL, created_at = now()
WHERE (record.status IS NULL AND record.claimed_until <= %(now)s AND record.fingerprint = excluded.fingerprint)
   OR (record.status IS NOT NULL AND record.created_at <= %(forgotten)s)
RETURNING id
"""


def claim(request: Request, *, now: datetime) -> Claim | Answer:
    """Take the request on, or return the answer that it got before.

    A key whose request was never finished can be taken over once its lease has ended, by the same request.  Raises KeyReused if the key was
    used for another request, KeyInFlight while the request is being worked on.
    """
    until = now + LEASE
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "shop": request.shop.pk,
                "route": request.route,
                "key": request.key,
                "fingerprint": request.fingerprint,
                "until": until,
                "now": now,
                "forgotten": now - KEPT_FOR,
            },
        )
        row = cursor.fetchone()
    if row:
        return Claim(row[0], until)
    record = IdempotencyRecord.objects.filter(shop=request.shop, route=request.route, key=request.key).first()
    if record is not None and record.fingerprint != request.fingerprint:
        raise KeyReused("This Idempotency-Key was used for another request. Use a new key for each request.", field="Idempotency-Key")
    if record is None or record.status is None:
        raise KeyInFlight("A request with this Idempotency-Key is being worked on. Ask again in a moment.", field="Idempotency-Key")
    return Answer(record.status, record.body)


def finish(claim: Claim, answer: Answer) -> None:
    """Keep the answer, unless somebody else took the request over meanwhile."""
    held(claim).update(status=answer.status, body=answer.body)


def release(claim: Claim) -> None:
    """Forget the request: it changed nothing, and its key may be used again."""
    held(claim).delete()


def held(claim: Claim) -> Any:
    return IdempotencyRecord.objects.filter(pk=claim.record_id, claimed_until=claim.claimed_until, status=None)


def purge(*, now: datetime) -> int:
    """Delete the records older than 30 days; return how many.  Called by beat."""
    deleted, _by_model = IdempotencyRecord.objects.filter(created_at__lte=now - KEPT_FOR).delete()
    return deleted
