"""Claims: who may work on which due order, and until when.  The queue is the table DueOrder; a claim is a lease on one of its rows.

Whoever dies with a claim loses it, and the next one asks the PSP what became of the call before anything is charged again.  A claim says
what to do: charge under the stored key, find out what became of that charge, or (the order was cancelled) have the key voided.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef
from djmoney.money import Money

from ledger import retries
from ledger.statements import execute
from payments import breaker, dead_letters, queries
from payments.models import DeadLetter, DueOrder, PaymentOrder, PspAttempt
from payments.psp.protocol import ChargeRequest
from payments.states import UNRESOLVED, AttemptStatus, OrderStatus, PspOperation

LEASE_S = 60  # longer than a PSP call takes; one that drips for longer loses its claim, and its verdict with it
MOST_DEATHS = 8
JITTER_S = 2  # spreads those that wait for the same line


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed order, and the one call to make for it.

    `attempt_id` is the charge that is settled or failed, `call_id` the row on which the call's answer is written.  `maybe_sent`: a charge
    under this key may have reached the PSP at some time, so that only the PSP's own word can fail the order.  `failures` counts calls in a
    row that came to nothing, `asked` the questions since the charge was sent last.
    """

    order_id: int
    attempt_id: int
    call_id: int
    psp: str
    operation: PspOperation
    tries: int
    failures: int
    asked: int
    maybe_sent: bool
    to_be_voided: bool
    key_is_old: bool
    asked_too_long: bool
    claimed_at: datetime
    request: ChargeRequest


class Claimed(NamedTuple):
    """A row of CLAIM: the order, its place in the queue, and what is known of the charges under its key."""

    order_id: int
    psp_key: str
    payment_token: str
    tries: int
    failures: int
    deaths: int
    maybe_sent: bool
    to_be_voided: bool
    public_id: str
    charge: Decimal
    currency: str
    psp: str
    statement_name: str
    attempt_id: int | None
    attempt_status: str | None
    first_sent_at: datetime | None
    asked: int
    void_was_refused: bool


CLAIM = """
WITH parameters AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS parameters (now timestamptz, until timestamptz, most int)
), due AS MATERIALIZED (
    SELECT order_id FROM payments_dueorder, parameters
    WHERE next_attempt_at <= parameters.now AND (claimed_until IS NULL OR claimed_until <= parameters.now)
    ORDER BY next_attempt_at LIMIT (SELECT most FROM parameters) FOR UPDATE OF payments_dueorder SKIP LOCKED
), claimed AS (
    UPDATE payments_dueorder AS queued
    SET claimed_until = parameters.until, tries = tries + 1, deaths = deaths + (claimed_until IS NOT NULL)::int,
        maybe_sent = maybe_sent OR EXISTS (
            SELECT FROM payments_pspattempt AS attempt
            WHERE attempt.order_id = due.order_id AND attempt.operation = 'charge' AND attempt.psp_key = queued.psp_key
              AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING')
        )
    FROM due, parameters WHERE queued.order_id = due.order_id
    RETURNING queued.order_id, queued.psp_key, payment_token, tries, failures, deaths, maybe_sent, to_be_voided
)
SELECT claimed.order_id, claimed.psp_key, claimed.payment_token, tries, failures, deaths, maybe_sent, to_be_voided,
       payment.public_id, payment.amount - payment.tendered, payment.currency, payment.psp, event.statement_name, last.id, last.status,
       (SELECT min(created_at) FROM payments_pspattempt AS attempt
        WHERE attempt.order_id = claimed.order_id AND attempt.operation = 'charge' AND attempt.psp_key = claimed.psp_key),
       (SELECT count(*) FROM (
           SELECT FROM payments_pspattempt AS attempt
           WHERE attempt.order_id = claimed.order_id AND attempt.operation IN ('find', 'void') AND attempt.refund_id IS NULL
             AND attempt.psp_key = claimed.psp_key AND attempt.id > coalesce(last.id, 0) LIMIT 100) AS asked),
       to_be_voided AND coalesce((
           SELECT operation = 'void' AND error_code = 'rejected_request' FROM payments_pspattempt AS attempt
           WHERE attempt.order_id = claimed.order_id AND attempt.operation IN ('find', 'void') AND attempt.refund_id IS NULL
             AND attempt.psp_key = claimed.psp_key ORDER BY id DESC LIMIT 1), false)
FROM claimed
JOIN payments_paymentorder AS payment ON payment.id = claimed.order_id
JOIN payments_paymentevent AS event ON event.id = payment.event_id
LEFT JOIN LATERAL (
    SELECT id, status FROM payments_pspattempt AS attempt
    WHERE attempt.order_id = claimed.order_id AND attempt.operation = 'charge' AND attempt.psp_key = claimed.psp_key
    ORDER BY number DESC LIMIT 1
) AS last ON true
ORDER BY claimed.order_id
"""

OPEN_ATTEMPTS = """
INSERT INTO payments_pspattempt (order_id, operation, number, psp, psp_key, status, psp_reference, error_code, error_message, created_at,
    asked_for)
SELECT order_id, operation, (SELECT coalesce(max(number), 0) + 1 FROM payments_pspattempt AS earlier
                             WHERE earlier.order_id = attempt.order_id AND earlier.operation = attempt.operation
                               AND earlier.refund_id IS NULL),
       psp, psp_key, 'SENDING', '', '', '', created_at, asked_for
FROM json_to_recordset(%s) AS attempt (order_id bigint, operation text, psp text, psp_key text, created_at timestamptz, asked_for numeric)
RETURNING order_id, id
"""

PUT_OFF = """
UPDATE payments_dueorder SET claimed_until = NULL, next_attempt_at = put_off.until
FROM json_to_recordset(%s) AS put_off (order_id bigint, until timestamptz) WHERE payments_dueorder.order_id = put_off.order_id
"""

# An order that was cancelled during the call stays due at once: nothing else is tried with it.  Whoever hands a claim back has not died.
PUT_BACK = """
WITH waiting AS MATERIALIZED (
    SELECT waiting.*, due.to_be_voided AND NOT to_void AS is_cancelled
    FROM json_to_recordset(%s) AS waiting (order_id bigint, attempt_id bigint, psp_key text, claim int, to_void bool, status text,
        psp_reference text, code text, message text, failures int, next_attempt_at timestamptz, at timestamptz)
    JOIN payments_dueorder AS due ON due.order_id = waiting.order_id AND due.psp_key = waiting.psp_key AND due.tries = waiting.claim
), attempt AS (
    UPDATE payments_pspattempt AS attempt SET status = waiting.status, error_code = waiting.code, error_message = waiting.message,
        psp_reference = coalesce(nullif(waiting.psp_reference, ''), attempt.psp_reference),
        finished_at = CASE WHEN waiting.status = 'NOT_EXECUTED' THEN at END
    FROM waiting WHERE attempt.id = waiting.attempt_id AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING')
)
UPDATE payments_dueorder AS due SET claimed_until = NULL, failures = waiting.failures, deaths = 0,
    next_attempt_at = CASE WHEN is_cancelled THEN due.next_attempt_at ELSE waiting.next_attempt_at END
FROM waiting WHERE due.order_id = waiting.order_id AND due.tries = waiting.claim
RETURNING due.order_id, due.next_attempt_at IS NULL
"""


def claim_due(*, now: datetime, limit: int) -> list[Work]:
    """Take up to `limit` due orders for LEASE_S; COMMIT, so that each key is stored before it is sent.

    Those whose line is open are put off, and others are taken instead: a PSP that is away holds up no other.
    """
    works, is_over = claim_some(now=now, limit=limit)
    while not works and not is_over:
        works, is_over = claim_some(now=now, limit=limit)
    return works


@transaction.atomic(durable=True)
def claim_some(*, now: datetime, limit: int) -> tuple[list[Work], bool]:
    """Claim once; return the works, and whether nothing (else) was due."""
    until = now + timedelta(seconds=LEASE_S)
    claimed = [Claimed(*row) for row in execute(CLAIM, [{"now": now, "until": until, "most": limit}])]
    living = [row for row in claimed if row.deaths < MOST_DEATHS]
    for row in claimed:
        if row.deaths >= MOST_DEATHS:
            dead_letters.bury(row.order_id, reason=dead_letters.WORKER_DIED, detail=f"{row.deaths} workers died over it.")
    calls = {row.order_id: operation_of(row, now=now) for row in living}
    waits = breaker.admit([(row.psp, calls[row.order_id]) for row in living], now=now)
    if any(waits):
        put_off([(row, wait) for row, wait in zip(living, waits, strict=True) if wait], now=now)
    admitted = [row for row, wait in zip(living, waits, strict=True) if wait is None]
    new = [
        {
            "order_id": row.order_id,
            "operation": calls[row.order_id],
            "psp": row.psp,
            "psp_key": row.psp_key,
            "asked_for": row.charge,
            "created_at": now,
        }
        for row in admitted
        if calls[row.order_id] != PspOperation.FIND
    ]
    opened = dict(execute(OPEN_ATTEMPTS, new)) if new else {}
    return [work_of(row, calls[row.order_id], call_id=opened.get(row.order_id), now=now) for row in admitted], not claimed


def operation_of(row: Claimed, *, now: datetime) -> PspOperation:
    """Say which call the order needs.  What may have been taken is asked for before anything is sent again, and an old key is not sent.

    A void that the PSP refused is followed by the question what became of the charge, before it is tried again.
    """
    if row.to_be_voided and not row.void_was_refused:
        return PspOperation.VOID
    if row.to_be_voided or row.attempt_status in UNRESOLVED or is_old(row, now=now):
        return PspOperation.FIND
    return PspOperation.CHARGE


def is_old(row: Claimed, *, now: datetime) -> bool:
    return row.first_sent_at is not None and now - row.first_sent_at > retries.KEY_LIFETIME


def work_of(row: Claimed, operation: PspOperation, *, call_id: int | None, now: datetime) -> Work:
    charge_id = call_id if operation == PspOperation.CHARGE else row.attempt_id
    return Work(
        order_id=row.order_id,
        attempt_id=charge_id or call_id or 0,
        call_id=call_id or row.attempt_id or 0,
        psp=row.psp,
        operation=operation,
        tries=row.tries,
        failures=row.failures,
        asked=row.asked,
        maybe_sent=row.maybe_sent,
        to_be_voided=row.to_be_voided,
        key_is_old=is_old(row, now=now),
        asked_too_long=row.first_sent_at is not None and now - row.first_sent_at > retries.ASK_FOR,
        claimed_at=now,
        request=ChargeRequest(
            key=row.psp_key,
            payment_token=row.payment_token,
            amount=Money(row.charge, row.currency),
            reference=row.public_id,
            statement_name=row.statement_name,
        ),
    )


def put_off(waiting: Sequence[tuple[Claimed, datetime]], *, now: datetime) -> None:
    """Give orders back that nobody called for, each with the time until which its line is open.

    One that was never sent, and whose checkout is over by now, becomes a dead letter instead, and fails (`held_back`): its buyer does not
    expect to be charged any more.
    """
    rows = [{"order_id": row.order_id, "until": until + timedelta(seconds=random.uniform(0, JITTER_S))} for row, until in waiting]  # noqa: S311
    execute(PUT_OFF, rows)
    never_sent = [row.order_id for row, _until in waiting if not (row.maybe_sent or row.to_be_voided)]
    for order in PaymentOrder.objects.filter(pk__in=never_sent, event__expires_at__lte=now).select_related("event").order_by("pk"):
        detail = (
            f"The PSP could not be reached until {order.event.expires_at:%Y-%m-%d %H:%M} UTC, when the checkout ended. Nothing was sent."
        )
        dead_letters.bury(order.pk, reason=dead_letters.TRIES_EXHAUSTED, detail=detail)


def held_back() -> list[DueOrder]:
    """Return the dead letters' orders that execute although nothing of them was ever sent and no try is left: they have failed."""
    buried = DueOrder.objects.filter(next_attempt_at=None, maybe_sent=False, to_be_voided=False, order__status=OrderStatus.EXECUTING)
    letters = DeadLetter.objects.filter(refund=None, decided_at=None, reason=dead_letters.TRIES_EXHAUSTED)
    charges = PspAttempt.objects.filter(order=OuterRef("order"), operation=PspOperation.CHARGE, psp_key=OuterRef("psp_key"))
    maybe_sent = Exists(charges.exclude(status=AttemptStatus.NOT_EXECUTED))
    return list(buried.filter(~maybe_sent, order__in=letters.values("order")).order_by("order"))


@transaction.atomic(durable=True)
def put_back(waiting: Sequence[dict[str, Any]]) -> set[int]:
    """Give the orders back to the queue, each with its time; one without a time becomes a dead letter.  Return the ids of those.

    What was settled, or claimed by another worker, meanwhile is left as it is.  Locks the orders by ascending id, as settling does: a
    webhook may settle the same ones at this moment.
    """
    queries.lock_executing([row["order_id"] for row in waiting])
    buried = {order_id for order_id, is_dead in execute(PUT_BACK, waiting) if is_dead}
    for row in waiting:
        if row["order_id"] in buried:
            dead_letters.bury(row["order_id"], reason=row["reason"], detail=row["detail"])
    return buried
