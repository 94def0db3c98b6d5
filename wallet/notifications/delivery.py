"""Sending: claim what is due, POST it with nothing locked and no transaction open, write down how it ended.

At least once: whoever dies between sending and writing down loses the claim, and the message is sent again under the same `webhook-id`, by
which receivers know it.  A slow endpoint holds few of the lines (one, once it has failed), so that the others do not wait for it.
"""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from django.db import connection, transaction

from ledger import seek
from ledger.statements import execute
from wallet import notifications
from wallet.models import OutboxMessage, WebhookDelivery, WebhookEndpoint
from wallet.notifications import endpoints, sending, signatures
from wallet.notifications.sending import Answer

LEASE_S = 60  # longer than a name server and a receiver together take
IN_FLIGHT = 64
IN_FLIGHT_PER_ENDPOINT = 8
IN_FLIGHT_WHILE_FAILING = 1
LOOK_EVERY_S = 0.5  # for what became due while others are under way
LONGEST_S = 45  # then nothing new is claimed, so that other work gets its turn
RETRY_AFTER_S = (5, 30, 120, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600)  # the last one again and again
GIVE_UP_AFTER = timedelta(hours=72)  # from the first try
KEPT_FOR = timedelta(days=30)
PURGED_AT_ONCE = 5000
GONE = 410
USER_AGENT = "Onebook-Webhooks/1.0"
Status = WebhookDelivery.Status


@dataclass(frozen=True, slots=True)
class Parcel:
    """One claimed delivery, ready to be sent: `claim` is its number, by which its verdict is known to be the latest."""

    delivery_id: int
    endpoint_id: int
    event_id: str
    url: str
    body: bytes
    secrets: Sequence[str]
    claim: int
    step: int
    tried_since: datetime
    claimed_at: datetime


class Claimed(NamedTuple):
    """A row of CLAIM."""

    delivery_id: int
    message_id: int
    endpoint_id: int
    claim: int
    earlier_tries: int
    tried_since: datetime


CLAIM = """
WITH due AS MATERIALIZED (
    SELECT due.id FROM wallet_webhookendpoint AS endpoint
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM wallet_webhookdelivery AS delivery
        WHERE delivery.endpoint_id = endpoint.id AND next_attempt_at <= %(now)s AND (claimed_until IS NULL OR claimed_until <= %(now)s)
        ORDER BY next_attempt_at
        LIMIT greatest(0, CASE WHEN endpoint.failing_since IS NULL THEN %(per_endpoint)s ELSE %(while_failing)s END - (
            SELECT count(*) FROM wallet_webhookdelivery AS flying WHERE flying.endpoint_id = endpoint.id AND flying.claimed_until > %(now)s
        ))
        FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE endpoint.is_enabled ORDER BY due.next_attempt_at LIMIT %(most)s
)
UPDATE wallet_webhookdelivery AS delivery SET claimed_until = %(until)s, tries = tries + 1, tried_since = coalesce(tried_since, %(now)s)
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, message_id, endpoint_id, tries, earlier_tries, tried_since
"""

# A success counts whoever brings it; anything else only from the latest claim.
RECORD = """
WITH tried AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS tried (delivery_id bigint, claim int, at timestamptz, duration_ms int, answered int, error text,
        status text, next_attempt_at timestamptz, delivered_at timestamptz)
), logged AS (
    INSERT INTO wallet_deliveryattempt (delivery_id, number, at, duration_ms, status, error)
    SELECT delivery_id, claim, at, duration_ms, answered, error FROM tried
), locked AS MATERIALIZED (
    SELECT id FROM wallet_webhookdelivery WHERE id IN (SELECT delivery_id FROM tried) ORDER BY id FOR UPDATE
)
UPDATE wallet_webhookdelivery AS delivery SET status = tried.status, next_attempt_at = tried.next_attempt_at, claimed_until = NULL,
    delivered_at = tried.delivered_at, last_status = tried.answered, last_error = tried.error
FROM locked JOIN tried ON tried.delivery_id = locked.id
WHERE delivery.id = locked.id AND delivery.status = 'pending' AND (delivery.tries = tried.claim OR tried.status = 'delivered')
RETURNING delivery.id
"""


def send_due(*, clock: Callable[[], datetime]) -> int:
    """Send what is due until nothing is, many at once; return how many were sent.  `clock` is asked again for each claim and each record."""
    sent, until = 0, time.monotonic() + LONGEST_S
    flying: dict[Future[Answer], Parcel] = {}
    with ThreadPoolExecutor(max_workers=IN_FLIGHT, thread_name_prefix="webhook") as pool:
        while True:
            if time.monotonic() < until:
                flying |= {pool.submit(send, parcel): parcel for parcel in claim_due(now=clock(), limit=IN_FLIGHT - len(flying))}
            if not flying:
                return sent
            done, _others = wait(flying, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            if done:
                record([(flying.pop(future), future.result()) for future in done], now=clock())
                sent += len(done)


def claim_due(*, now: datetime, limit: int) -> list[Parcel]:
    """Take due deliveries for LEASE_S and return them as parcels, each with the body of its committed message."""
    rows = claimed(now=now, limit=limit) if limit else []
    messages = OutboxMessage.objects.in_bulk([row.message_id for row in rows])
    known = WebhookEndpoint.objects.in_bulk({row.endpoint_id for row in rows})
    secrets = endpoints.secrets_of(list(known), now=now)
    return [
        Parcel(
            delivery_id=row.delivery_id,
            endpoint_id=row.endpoint_id,
            event_id=messages[row.message_id].public_id,
            url=known[row.endpoint_id].url,
            body=body_of(messages[row.message_id]),
            secrets=secrets[row.endpoint_id],
            claim=row.claim,
            step=row.claim - row.earlier_tries,
            tried_since=row.tried_since,
            claimed_at=now,
        )
        for row in rows
    ]


@transaction.atomic(durable=True)
def claimed(*, now: datetime, limit: int) -> list[Claimed]:
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "now": now,
                "until": now + timedelta(seconds=LEASE_S),
                "most": limit,
                "per_endpoint": IN_FLIGHT_PER_ENDPOINT,
                "while_failing": IN_FLIGHT_WHILE_FAILING,
            },
        )
        return [Claimed(*row) for row in cursor.fetchall()]


def body_of(message: OutboxMessage) -> bytes:
    """Return the bytes that are signed and sent: the same for each try."""
    return orjson.dumps(notifications.event_of(message))


def send(parcel: Parcel) -> Answer:
    """POST the parcel, signed at this moment: the true one, whatever the test clock says, for receivers compare it with theirs."""
    signed = signatures.headers(parcel.event_id, parcel.body, secrets=parcel.secrets, at=int(time.time()))
    return sending.post(parcel.url, parcel.body, headers={"content-type": "application/json", "user-agent": USER_AGENT, **signed})


@transaction.atomic(durable=True)
def record(tried: Sequence[tuple[Parcel, Answer]], *, now: datetime) -> None:
    """Write down how the tries ended: the log, the deliveries, and how their endpoints stand."""
    rows = [row_of(parcel, answer, now=now) for parcel, answer in tried]
    counted = {delivery_id for (delivery_id,) in execute(RECORD, rows)}
    believed = [(parcel, answer) for parcel, answer in tried if parcel.delivery_id in counted]
    given_up = {row["delivery_id"] for row in rows if row["status"] == Status.FAILED}
    for endpoint_id, of_it in groupby(sorted(believed, key=by_endpoint), key=by_endpoint):
        judge(endpoint_id, list(of_it), given_up, now=now)


def by_endpoint(pair: tuple[Parcel, Answer]) -> int:
    return pair[0].endpoint_id


def row_of(parcel: Parcel, answer: Answer, *, now: datetime) -> dict[str, Any]:
    """Say what a try leaves behind: delivered, due again later, or, once the next try would come too late, given up."""
    next_attempt_at: datetime | None = now + retry_after(parcel.step)
    status = Status.PENDING
    if answer.is_success:
        status, next_attempt_at = Status.DELIVERED, None
    elif next_attempt_at and next_attempt_at > parcel.tried_since + GIVE_UP_AFTER and answer.status != GONE:
        status, next_attempt_at = Status.FAILED, None
    return {
        "delivery_id": parcel.delivery_id,
        "claim": parcel.claim,
        "at": parcel.claimed_at,
        "duration_ms": answer.duration_ms,
        "answered": answer.status,
        "error": answer.error,
        "status": status,
        "next_attempt_at": next_attempt_at,
        "delivered_at": now if answer.is_success else None,
    }


def retry_after(step: int) -> timedelta:
    """Return how long to wait after that many tries of a series, spread by a tenth so that many do not come back together."""
    seconds = RETRY_AFTER_S[min(step, len(RETRY_AFTER_S)) - 1]
    return timedelta(seconds=seconds * random.uniform(0.9, 1.1))  # noqa: S311 - spread, not secrecy


def judge(endpoint_id: int, tried: Sequence[tuple[Parcel, Answer]], given_up: set[int], *, now: datetime) -> None:
    """Keep since when nothing has arrived there, and switch off what is gone, or what let a message fail for as long as we try."""
    endpoint = WebhookEndpoint.objects.filter(pk=endpoint_id)
    if any(answer.is_success for _parcel, answer in tried):
        endpoint.filter(failing_since__isnull=False).update(failing_since=None)
    else:
        endpoint.filter(failing_since=None).update(failing_since=min(parcel.claimed_at for parcel, _answer in tried))
    if any(answer.status == GONE for _parcel, answer in tried):
        endpoints.disable(endpoint_id, reason=endpoints.Reason.GONE, now=now)
    begun = [parcel.tried_since for parcel, _answer in tried if parcel.delivery_id in given_up]
    if begun and endpoint.filter(failing_since__lte=max(begun)).exists():
        endpoints.disable(endpoint_id, reason=endpoints.Reason.FAILING, now=now)


def purge(*, now: datetime) -> int:
    """Delete some of the deliveries that arrived, or that nobody waits for, 30 days ago; return how many.

    What waits for an endpoint that has been off for as long is cancelled, and goes with them.  What failed stays, for people to see.
    """
    long_ago = now - KEPT_FOR
    WebhookDelivery.objects.filter(status=Status.PENDING, endpoint__disabled_at__lte=long_ago).update(
        status=Status.CANCELLED, next_attempt_at=None, claimed_until=None
    )
    old = WebhookDelivery.objects.filter(
        message_id__lt=seek.first_id_since(OutboxMessage, "created_at", long_ago), status__in=(Status.DELIVERED, Status.CANCELLED)
    ).exclude(delivered_at__gt=long_ago)
    ids = list(old.order_by("message_id").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    _all, by_model = WebhookDelivery.objects.filter(pk__in=ids).delete()
    return by_model.get("wallet.WebhookDelivery", 0)
