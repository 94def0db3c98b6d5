"""What the executor makes of an answer that ends nothing: what is known now, and when somebody looks again, or that a person must.  Pure.

Of what the PSP did not execute the call is made again, by the retry policy.  What is pending or unknown is asked for, on the ladder
(retries.ASK_AFTER_S), for a month; when MOST_ANSWERS in a row were of no use, a person is told before.  An accident while asking leaves
what was known before: unknown.
"""

import random
from datetime import datetime, timedelta
from typing import Any

from ledger import retries
from ledger.retries import DEFAULT, Policy
from payments import dead_letters
from payments.claims import JITTER_S, Work
from payments.psp.protocol import Charged, Declined, Pending, PspError, PspRejectedRequest, PspUnavailable, Result, Voided
from payments.states import AttemptStatus, PspOperation

MOST_BOOKINGS = 8
MOST_ANSWERS = 8


class NotFound:
    """The PSP never saw our key: it may be charged."""


Outcome = Result | Voided | NotFound | PspError


def is_accident(outcome: Outcome) -> bool:
    """Did the line fail, rather than the payment?  A decline or a refusal is an answer."""
    return isinstance(outcome, PspError) and not outcome.answered


def is_useless(work: Work, outcome: Outcome) -> bool:
    """Did the PSP answer a question or a void, and tell nothing: a refusal, or words about something else?  Asking again will hardly help."""
    return work.operation != PspOperation.CHARGE and isinstance(outcome, PspError) and outcome.answered


def status_of(work: Work, outcome: Outcome) -> AttemptStatus:
    """Say how the call itself ended; a void that came too late executed nothing."""
    match outcome:
        case Charged() if work.operation == PspOperation.VOID:
            return AttemptStatus.NOT_EXECUTED
        case Charged() | Voided():
            return AttemptStatus.SUCCEEDED
        case Declined():
            return AttemptStatus.SUCCEEDED if work.operation == PspOperation.VOID else AttemptStatus.DECLINED
        case Pending():
            return AttemptStatus.PENDING
        case NotFound():
            return AttemptStatus.NOT_EXECUTED
        case PspUnavailable() if work.operation != PspOperation.FIND:
            return AttemptStatus.NOT_EXECUTED
        case _:
            return AttemptStatus.UNKNOWN


def wait_for(
    work: Work, outcome: Outcome, *, now: datetime, policy: Policy = DEFAULT, open_until: datetime | None = None
) -> dict[str, Any]:
    """Say what is known of the charge, and when to look again: a row for `claims.put_back`.

    `open_until` is when the next call may try a line that is open: then the question that failed is the one that tries it.
    """
    match outcome:
        case NotFound():  # charged at once, the first time
            wait_s = 0.0 if work.failures == 0 else retries.delay_s(policy, failures=work.failures + 1)
            return row_of(work, outcome, failures=work.failures + 1, wait_s=wait_s, now=now)
        case PspUnavailable() if work.operation == PspOperation.CHARGE:
            wait_s = retries.delay_s(policy, failures=work.failures + 1)
            wait_s = None if wait_s is None else max(wait_s, outcome.retry_after_s)
            return row_of(work, outcome, failures=work.failures + 1, wait_s=wait_s, now=now)
    asked = 0 if work.operation == PspOperation.CHARGE else work.asked + 1
    wait_s = None if work.asked_too_long else retries.ask_delay_s(asked)
    if wait_s is not None and open_until is not None and work.operation != PspOperation.CHARGE:
        wait_s = min(wait_s, (open_until - now).total_seconds() + random.uniform(0, JITTER_S))  # noqa: S311 - spread, not secrecy
    failures = 0 if isinstance(outcome, Pending) else work.failures + is_useless(work, outcome)
    if failures >= MOST_ANSWERS and failures > work.failures:
        wait_s = None
    elif wait_s is not None and work.operation == PspOperation.VOID and isinstance(outcome, PspRejectedRequest):
        wait_s = 0.0  # then the charge is asked for
    return row_of(work, outcome, failures=failures, wait_s=wait_s, now=now)


def wait_for_booking(work: Work, outcome: Outcome, *, reason: str, now: datetime) -> dict[str, Any]:
    """Say when to look again at what the PSP told and could not be booked: a row for `claims.put_back`, after MOST_BOOKINGS a dead letter."""
    failures = work.failures + 1
    wait_s = retries.ask_delay_s(failures) if failures < MOST_BOOKINGS else None
    row = row_of(work, outcome, failures=failures, wait_s=wait_s, now=now)
    return row | {"status": AttemptStatus.UNKNOWN, "reason": dead_letters.CANNOT_BE_BOOKED, "detail": reason}


def row_of(work: Work, outcome: Outcome, *, failures: int, wait_s: float | None, now: datetime) -> dict[str, Any]:
    """Return a row for `claims.put_back`.  A void's answer stands on a row of its own, so the charge's is left alone."""
    is_exhausted = failures > work.failures and not work.asked_too_long
    return {
        "order_id": work.order_id,
        "attempt_id": None if work.operation == PspOperation.VOID else work.attempt_id,
        "psp_key": work.request.key,
        "claim": work.tries,
        "to_void": work.to_be_voided,
        "status": status_of(work, outcome),
        "psp_reference": getattr(outcome, "psp_reference", ""),
        "code": getattr(outcome, "code", ""),
        "message": message_of(outcome),
        "failures": failures,
        "next_attempt_at": None if wait_s is None else now + timedelta(seconds=wait_s),
        "at": now,
        "reason": dead_letters.TRIES_EXHAUSTED if is_exhausted else dead_letters.UNKNOWN_TOO_LONG,
        "detail": message_of(outcome) or type(outcome).__name__,
    }


def message_of(outcome: Outcome) -> str:
    return str(outcome)[:500] if isinstance(outcome, PspError) else getattr(outcome, "message", "")
