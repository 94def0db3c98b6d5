"""The executor: claim what is due, call the PSP with nothing locked and no transaction open, hand the answers over.

The queue is the table DueOrder.  A claim is a lease: whoever dies with it loses it, and the next one asks the PSP what became of the call
before anything is charged again.  What could have happened is never taken for failed.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone
from djmoney.money import Money

from ledger.statements import execute
from payments import late, queries, settlement
from payments.psp import registry
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Declined,
    Pending,
    PspError,
    PspOutcomeUnknown,
    PspRejectedRequest,
    PspUnavailable,
    Result,
)
from payments.settlement import PSP_SAID_SO, Capture, Failure
from payments.states import UNRESOLVED, AttemptStatus

logger = logging.getLogger(__name__)

LEASE_S = 60  # longer than a PSP call takes; one that drips for longer loses its claim, and its verdict with it
KEY_LIFETIME = timedelta(hours=20)  # PSPs may forget a key from 24 hours on: an older one is never sent again, only asked for
IN_FLIGHT = 50
MOST_TRIES = 8
ASK_AFTER_S = (
    2,
    10,
    30,
    120,
    600,
    3600,
    6 * 3600,
    24 * 3600,
)  # an unknown or pending outcome is asked for at these steps, the last one for ever
LONGEST_BACKOFF_S = 120


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed order: charge it, or (`ask`) find out what became of the charge that was sent before.

    `maybe_sent`: a charge under this key may have reached the PSP at some time, so that only the PSP's own word can fail the order.
    """

    order_id: int
    attempt_id: int
    psp: str
    tries: int
    ask: bool
    maybe_sent: bool
    key_is_old: bool
    request: ChargeRequest


@dataclass(frozen=True, slots=True)
class NotFound:
    """The PSP never saw our key: it may be charged."""


Outcome = Result | NotFound | PspError


class Claimed(NamedTuple):
    """A row of CLAIM: the order, its place in the queue, and what is known of its attempts under this key."""

    order_id: int
    psp_key: str
    payment_token: str
    tries: int
    maybe_sent: bool
    public_id: str
    amount: Decimal
    currency: str
    psp: str
    attempts: int
    attempt_id: int | None
    attempt_status: str | None
    first_sent_at: datetime | None


CLAIM = """
WITH parameters AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS parameters (now timestamptz, until timestamptz, most int)
), due AS MATERIALIZED (
    SELECT order_id FROM payments_dueorder, parameters
    WHERE next_attempt_at <= parameters.now AND (claimed_until IS NULL OR claimed_until <= parameters.now)
    ORDER BY next_attempt_at LIMIT (SELECT most FROM parameters) FOR UPDATE OF payments_dueorder SKIP LOCKED
), claimed AS (
    UPDATE payments_dueorder AS queued SET claimed_until = parameters.until, tries = tries + 1, maybe_sent = maybe_sent OR EXISTS (
        SELECT FROM payments_pspattempt AS attempt
        WHERE attempt.order_id = due.order_id AND attempt.psp_key = queued.psp_key AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING')
    )
    FROM due, parameters WHERE queued.order_id = due.order_id
    RETURNING queued.order_id, queued.psp_key, payment_token, tries, maybe_sent
)
SELECT claimed.order_id, claimed.psp_key, payment_token, tries, maybe_sent, public_id, payment.amount, payment.currency, payment.psp,
       coalesce(last.number, 0), CASE WHEN last.psp_key = claimed.psp_key THEN last.id END, last.status,
       (SELECT min(created_at) FROM payments_pspattempt AS attempt
        WHERE attempt.order_id = claimed.order_id AND attempt.psp_key = claimed.psp_key)
FROM claimed
JOIN payments_paymentorder AS payment ON payment.id = claimed.order_id
LEFT JOIN LATERAL (
    SELECT id, number, status, psp_key FROM payments_pspattempt AS attempt
    WHERE attempt.order_id = claimed.order_id ORDER BY number DESC LIMIT 1
) AS last ON true
ORDER BY claimed.order_id
"""

OPEN_ATTEMPTS = """
INSERT INTO payments_pspattempt (order_id, number, psp, psp_key, status, psp_reference, error_code, error_message)
SELECT order_id, number, psp, psp_key, 'SENDING', '', '', ''
FROM json_to_recordset(%s) AS attempt (order_id bigint, number int, psp text, psp_key text)
RETURNING order_id, id
"""

PUT_BACK = """
WITH waiting AS MATERIALIZED (
    SELECT waiting.* FROM json_to_recordset(%s) AS waiting (order_id bigint, attempt_id bigint, psp_key text, claim int, status text,
        psp_reference text, code text, message text, next_attempt_at timestamptz)
    JOIN payments_dueorder AS due ON due.order_id = waiting.order_id AND due.psp_key = waiting.psp_key AND due.tries = waiting.claim
), attempt AS (
    UPDATE payments_pspattempt AS attempt SET status = waiting.status, psp_reference = waiting.psp_reference, error_code = waiting.code,
        error_message = waiting.message
    FROM waiting WHERE attempt.id = waiting.attempt_id AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING')
)
UPDATE payments_dueorder SET claimed_until = NULL, next_attempt_at = waiting.next_attempt_at
FROM waiting WHERE payments_dueorder.order_id = waiting.order_id AND payments_dueorder.tries = waiting.claim
"""


def execute_due_orders(*, now: datetime, limit: int = 100) -> int:
    """Claim up to `limit` due orders, ask or charge the PSP for each, and record every answer; return how many were claimed.

    Answers are handed over in batches as they come in, so that a slow one keeps nobody waiting.
    """
    works = claim_due(now=now, limit=limit)
    for answered in call_all(works):
        hand_over(answered, now=timezone.now())
    return len(works)


@transaction.atomic(durable=True)
def claim_due(*, now: datetime, limit: int) -> list[Work]:
    """Take due orders for LEASE_S and write an attempt for each that will be charged; COMMIT, so that the key is stored before it is sent."""
    until = now + timedelta(seconds=LEASE_S)
    claimed = [Claimed(*row) for row in execute(CLAIM, [{"now": now, "until": until, "most": limit}])]
    asks = {row.order_id: row.attempt_id for row in claimed if row.attempt_id and row.attempt_status in UNRESOLVED}
    new = [
        {"order_id": row.order_id, "number": row.attempts + 1, "psp": row.psp, "psp_key": row.psp_key}
        for row in claimed
        if row.order_id not in asks
    ]
    attempts = asks | dict(execute(OPEN_ATTEMPTS, new)) if new else asks
    return [
        Work(
            order_id=row.order_id,
            attempt_id=attempts[row.order_id],
            psp=row.psp,
            tries=row.tries,
            ask=row.order_id in asks,
            maybe_sent=row.maybe_sent,
            key_is_old=row.first_sent_at is not None and now - row.first_sent_at > KEY_LIFETIME,
            request=ChargeRequest(
                key=row.psp_key, payment_token=row.payment_token, amount=Money(row.amount, row.currency), reference=row.public_id
            ),
        )
        for row in claimed
    ]


def call_all(works: Sequence[Work]) -> Iterator[list[tuple[Work, Outcome]]]:
    """Call the PSPs with up to IN_FLIGHT requests at once; yield the answers as they come in, those that are there together."""
    with ThreadPoolExecutor(max_workers=IN_FLIGHT, thread_name_prefix="psp") as pool:
        waiting: dict[Future[Outcome], Work] = {pool.submit(call, work): work for work in works}
        while waiting:
            done, _others = wait(waiting, return_when=FIRST_COMPLETED)
            yield [(waiting.pop(future), future.result()) for future in done]


def call(work: Work) -> Outcome:
    """Ask or charge.  Whatever goes wrong without saying what it means is an unknown outcome, never a failure."""
    try:
        psp = registry.psp_named(work.psp)
        if work.ask or work.key_is_old:
            return psp.find_charge(work.request) or NotFound()
        return psp.charge(work.request)
    except PspError as error:
        return error
    except Exception:
        logger.exception("the call for %s went wrong in a way nobody foresaw", work.request.key)
        return PspOutcomeUnknown("unforeseen error")


def hand_over(answered: Sequence[tuple[Work, Outcome]], *, now: datetime) -> None:
    """Record the answers: money taken in one transaction, refusals in another, and what is not known yet goes back to the queue."""
    captures, failures, waiting = [], [], []
    for work, outcome in answered:
        match outcome:
            case Charged():
                captures.append(capture_of(work, outcome))
            case Declined():
                failures.append(failure_of(work, outcome.psp_reference, outcome.code, outcome.message, claim=PSP_SAID_SO))
            case NotFound() if work.key_is_old:
                failures.append(failure_of(work, "", "never_charged", "the PSP never saw it, and the key is too old", claim=work.tries))
            case PspRejectedRequest() if not work.maybe_sent:
                logger.error("the PSP refused our request for %s: %s", work.request.key, outcome)
                failures.append(failure_of(work, "", outcome.code, str(outcome), claim=work.tries))
            case PspUnavailable() if not work.maybe_sent and work.tries >= MOST_TRIES:
                failures.append(failure_of(work, "", outcome.code, str(outcome), claim=work.tries))
            case _:
                waiting.append(wait_for(work, outcome, now=now))
    if captures:
        late.keep(late.settle(captures))
    if failures:
        settlement.apart(settlement.fail, failures)
    if waiting:
        put_back(waiting)


@transaction.atomic(durable=True)
def put_back(waiting: Sequence[dict[str, Any]]) -> None:
    """Give the orders back to the queue, each with its time; what was settled, or claimed by another worker, meanwhile is left as it is.

    Locks the orders by ascending id, as settling does: a webhook may settle the same ones at this moment.
    """
    queries.lock_executing([row["order_id"] for row in waiting])
    execute(PUT_BACK, waiting)


def capture_of(work: Work, outcome: Charged) -> Capture:
    return Capture(work.order_id, work.attempt_id, work.request.key, outcome.psp_reference, outcome.amount, outcome.at)


def failure_of(work: Work, psp_reference: str, code: str, message: str, *, claim: int) -> Failure:
    return Failure(work.order_id, work.attempt_id, work.request.key, psp_reference, code, message, claim)


def wait_for(work: Work, outcome: Outcome, *, now: datetime) -> dict[str, Any]:
    """Say what is known of the attempt, and when to look again.

    Nothing executed: charge again, backing off (exponential with jitter).  Pending or unknown: ask, on the ladder.  An accident while
    asking leaves what was known before: unknown.
    """
    ask_s = ASK_AFTER_S[min(work.tries, len(ASK_AFTER_S)) - 1]
    match outcome:
        case NotFound():
            status, reference, delay_s = AttemptStatus.NOT_EXECUTED, "", 0.0
        case Pending():
            status, reference, delay_s = AttemptStatus.PENDING, outcome.psp_reference, ask_s
        case PspUnavailable() if not work.ask:
            status, reference, delay_s = AttemptStatus.NOT_EXECUTED, "", backoff_s(work.tries)
        case _:
            status, reference, delay_s = AttemptStatus.UNKNOWN, "", ask_s
    return {
        "order_id": work.order_id,
        "attempt_id": work.attempt_id,
        "psp_key": work.request.key,
        "claim": work.tries,
        "status": status,
        "psp_reference": reference,
        "code": getattr(outcome, "code", ""),
        "message": str(outcome) if isinstance(outcome, PspError) else "",
        "next_attempt_at": now + timedelta(seconds=delay_s),
    }


def backoff_s(tries: int) -> float:
    """Return how long to wait before the next try, in seconds: 1, 2, 4, ... up to two minutes, spread by half so that retries do not meet."""
    return min(2.0 ** min(tries - 1, 30), LONGEST_BACKOFF_S) * random.uniform(0.5, 1)  # noqa: S311 - spread, not secrecy
