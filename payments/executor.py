"""The executor: claim what is due, call the PSP with nothing locked and no transaction open, hand the answers over.

What could have happened is never taken for failed: only the PSP's own word, or the certainty that nothing was ever sent, fails an order.
What the machine cannot bring to an end becomes a dead letter, and a person decides (rescue.py).
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, transaction

from ledger import clock
from ledger.retries import DEFAULT
from ledger.statements import execute
from payments import breaker, cancellations, claims, late, queries, settlement, verdicts
from payments.breaker import Line
from payments.claims import Work
from payments.psp import registry
from payments.psp.protocol import Charged, Declined, PspError, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable, Voided
from payments.settlement import PSP_SAID_SO, Capture, Failure
from payments.states import PspOperation
from payments.verdicts import NotFound, Outcome, is_accident

logger = logging.getLogger(__name__)

IN_FLIGHT = 50


KEEP_ANSWERS = """
WITH answers AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS answer (order_id bigint, call_id bigint, operation text, psp text, psp_key text, status text,
        psp_reference text, code text, message text, asked_at timestamptz, answered_at timestamptz)
), voids AS (
    UPDATE payments_pspattempt AS attempt SET status = answer.status, psp_reference = answer.psp_reference, error_code = answer.code,
        error_message = answer.message, finished_at = answered_at
    FROM answers AS answer WHERE answer.operation = 'void' AND attempt.id = call_id
)
INSERT INTO payments_pspattempt (order_id, operation, number, psp, psp_key, status, psp_reference, error_code, error_message, created_at,
    finished_at)
SELECT order_id, operation, (SELECT coalesce(max(number), 0) + 1 FROM payments_pspattempt AS earlier
                             WHERE earlier.order_id = answer.order_id AND earlier.operation = 'find' AND earlier.refund_id IS NULL),
       psp, psp_key, status, psp_reference, code, message, asked_at, answered_at
FROM answers AS answer WHERE operation = 'find'
ON CONFLICT DO NOTHING
"""


def execute_due_orders(*, now: datetime, limit: int = 100) -> int:
    """Claim up to `limit` due orders, make the call that each needs, and record every answer; return how many were claimed.

    Answers are handed over in batches as they come in, so that a slow one keeps nobody waiting.
    """
    works = claims.claim_due(now=now, limit=limit)
    for answered in call_all(works):
        hand_over(answered, now=clock.now())
    fail_never_sent()
    return len(works)


def call_all(works: Sequence[Work]) -> Iterator[list[tuple[Work, Outcome]]]:
    """Call the PSPs with up to IN_FLIGHT requests at once; yield the answers as they come in, those that are there together."""
    with ThreadPoolExecutor(max_workers=IN_FLIGHT, thread_name_prefix="psp") as pool:
        waiting: dict[Future[Outcome], Work] = {pool.submit(call, work): work for work in works}
        while waiting:
            done, _others = wait(waiting, return_when=FIRST_COMPLETED)
            yield [(waiting.pop(future), future.result()) for future in done]


def call(work: Work) -> Outcome:
    """Charge, ask or void.  Whatever goes wrong without saying what it means is an unknown outcome, never a failure."""
    try:
        psp = registry.psp_named(work.psp)
        match work.operation:
            case PspOperation.VOID:
                return psp.void(work.request)
            case PspOperation.FIND:
                return psp.find_charge(work.request) or NotFound()
            case _:
                return psp.charge(work.request)
    except PspError as error:
        return error
    except Exception:
        logger.exception("the call for %s went wrong in a way nobody foresaw", work.request.key)
        return PspOutcomeUnknown("unforeseen error")


def hand_over(answered: Sequence[tuple[Work, Outcome]], *, now: datetime) -> None:
    """Record the answers: money taken in one transaction, refusals in another, and what is not known yet goes back to the queue."""
    captures, failures, voided, waiting = [], [], [], []
    for work, outcome in answered:
        match outcome:
            case Voided():
                voided.append(work)
            case Charged():
                captures.append(capture_of(work, outcome))
            case Declined() if work.operation == PspOperation.VOID:
                voided.append(work)
            case Declined():
                failures.append(failure_of(work, outcome.psp_reference, outcome.code, outcome.message, claim=PSP_SAID_SO))
            case NotFound() if work.key_is_old:
                failures.append(failure_of(work, "", "never_charged", "the PSP never saw it, and the key is too old", claim=work.tries))
            case PspRejectedRequest() if work.operation == PspOperation.CHARGE and not work.maybe_sent:
                logger.error("the PSP refused our request for %s: %s", work.request.key, outcome)
                failures.append(failure_of(work, "", outcome.code, str(outcome), claim=work.tries))
            case _:
                waiting.append((work, outcome))
    keep_answers(answered, now=now)
    unbooked = late.settle(captures) if captures else {}
    late.keep([capture for capture in captures if capture.psp_key in unbooked])
    unbooked |= settlement.apart(settlement.fail, failures) if failures else {}
    unbooked |= let_go(voided, now=now)
    if captures or failures:
        finished = [*(capture.order_id for capture in captures), *(failure.order_id for failure in failures)]
        cancellations.follow_settled(finished, now=now)
    rows = [
        verdicts.wait_for_booking(work, outcome, reason=unbooked[key], now=now)
        for work, outcome in answered
        if (key := work.request.key) in unbooked
    ]
    give_back(waiting, rows, open_until=tell_the_breaker(answered, now=now), now=now)


def keep_answers(answered: Sequence[tuple[Work, Outcome]], *, now: datetime) -> None:
    """Keep what was said to questions and voids among the attempts; a charge has its row already."""
    rows = [answer_row(work, outcome, now=now) for work, outcome in answered if work.operation != PspOperation.CHARGE]
    if rows:
        with transaction.atomic(durable=True):
            execute(KEEP_ANSWERS, rows)


def let_go(voided: Sequence[Work], *, now: datetime) -> dict[str, str]:
    """Report each void to its cancellation; return, by PSP key, why those that cannot be recorded cannot."""
    unbooked = {}
    for work in voided:
        try:
            cancellations.voided(work.order_id, psp_key=work.request.key, now=now)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("the void of %s cannot be recorded", work.request.key)
            unbooked[work.request.key] = str(error) or type(error).__name__
    return unbooked


def tell_the_breaker(answered: Sequence[tuple[Work, Outcome]], *, now: datetime) -> dict[Line, datetime]:
    """Tell which lines answered and which did not; return until when those are open that are."""
    accidents = Counter((work.psp, work.operation.value) for work, outcome in answered if is_accident(outcome))
    answers = {(work.psp, work.operation.value) for work, outcome in answered if not is_accident(outcome)}
    for psp, operation in answers:
        breaker.succeeded(psp, operation, now=now)
    silent = {line: times for line, times in accidents.items() if line not in answers}
    told = {(psp, operation): breaker.failed(psp, operation, now=now, times=times) for (psp, operation), times in silent.items()}
    return {line: until for line, until in told.items() if until is not None}


def give_back(
    waiting: Sequence[tuple[Work, Outcome]], rows: list[dict[str, Any]], *, open_until: Mapping[Line, datetime], now: datetime
) -> None:
    """Put what is not at its end back into the queue.  Whatever was never sent, and is tried no more, has failed: the buyer may pay again."""
    retried = {work.psp for work, outcome in waiting if isinstance(outcome, (NotFound, PspUnavailable))}
    policies = {psp: queries.retry_policy(psp, PspOperation.CHARGE) for psp in retried}
    for work, outcome in waiting:
        until = open_until.get((work.psp, work.operation.value)) if is_accident(outcome) else None
        rows.append(verdicts.wait_for(work, outcome, now=now, policy=policies.get(work.psp, DEFAULT), open_until=until))
    buried = claims.put_back(rows) if rows else set()
    never_sent = [
        Failure(work.order_id, 0, work.request.key, "", outcome.code, str(outcome), work.tries)  # its attempt says how it ended
        for work, outcome in waiting
        if work.order_id in buried and isinstance(outcome, PspUnavailable) and not work.maybe_sent
    ]
    if never_sent:
        settlement.apart(settlement.fail, never_sent)


def fail_never_sent() -> None:
    """Fail the orders that were given up before anything of them reached the PSP: the buyer may pay another way."""
    given_up = [Failure(due.order_id, 0, due.psp_key, "", PspUnavailable.code, "nothing was sent", due.tries) for due in claims.held_back()]
    if given_up:
        settlement.apart(settlement.fail, given_up)


def capture_of(work: Work, outcome: Charged) -> Capture:
    return Capture(work.order_id, work.attempt_id, work.request.key, outcome.psp_reference, outcome.amount, outcome.at)


def failure_of(work: Work, psp_reference: str, code: str, message: str, *, claim: int) -> Failure:
    return Failure(work.order_id, work.attempt_id, work.request.key, psp_reference, code, message, claim)


def answer_row(work: Work, outcome: Outcome, *, now: datetime) -> dict[str, Any]:
    is_too_late = work.operation == PspOperation.VOID and isinstance(outcome, Charged)
    return {
        "order_id": work.order_id,
        "call_id": work.call_id,
        "operation": work.operation,
        "psp": work.psp,
        "psp_key": work.request.key,
        "status": verdicts.status_of(work, outcome),
        "psp_reference": getattr(outcome, "psp_reference", ""),
        "code": "not_voidable" if is_too_late else getattr(outcome, "code", ""),
        "message": verdicts.message_of(outcome),
        "asked_at": work.claimed_at,
        "answered_at": now,
    }
