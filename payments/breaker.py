"""The circuit breaker: a PSP that does not answer is left alone for seconds, instead of being called by everybody again and again.

It belongs to a line, one operation of one PSP, and is a row that all workers see.  What is held back meanwhile has not failed.  A line in
order costs one SELECT per batch (`admit`) and writes nothing.

    closed --five accidents in a row--> open for 5 s --then one probe--> success: closed, and all that waited for the PSP is due at once
                                                     `--no answer-----> open for 10, 20, 30, 30, ... s, then the next probe
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from ledger.statements import execute
from payments.models import CircuitBreaker

logger = logging.getLogger(__name__)

Line = tuple[str, str]  # a PSP's name, and one of its operations: charge, refund, void, find

ACCIDENTS_IN_A_ROW = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 5, 30
PROBE_S = 15  # no second probe while the first may still be answered

_shaken: set[Line] = set()  # the lines whose last calls failed, as far as this process knows: only their success is worth writing down

# What the PSP itself calls pending is not waiting for the line.  What is locked elsewhere is being worked on.
WAKE_ORDERS = """
WITH parameters AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS parameters (psp text, now timestamptz)
), waiting AS MATERIALIZED (
    SELECT due.order_id FROM parameters, payments_dueorder AS due JOIN payments_paymentorder AS payment ON payment.id = due.order_id
    WHERE payment.psp = parameters.psp AND due.claimed_until IS NULL AND due.next_attempt_at > parameters.now
      AND NOT EXISTS (SELECT FROM payments_pspattempt AS attempt
                      WHERE attempt.order_id = due.order_id AND attempt.operation = 'charge' AND attempt.psp_key = due.psp_key
                        AND attempt.status = 'PENDING')
    FOR UPDATE OF due SKIP LOCKED
)
UPDATE payments_dueorder SET next_attempt_at = parameters.now FROM waiting, parameters WHERE payments_dueorder.order_id = waiting.order_id
"""

WAKE_REFUNDS = """
WITH parameters AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS parameters (psp text, now timestamptz)
), waiting AS MATERIALIZED (
    SELECT refund.id FROM parameters, payments_refund AS refund JOIN payments_paymentorder AS payment ON payment.id = refund.order_id
    WHERE payment.psp = parameters.psp AND refund.status = 'EXECUTING' AND refund.next_attempt_at > parameters.now
      AND NOT EXISTS (SELECT FROM payments_pspattempt AS attempt
                      WHERE attempt.order_id = refund.order_id AND attempt.operation = 'refund' AND attempt.refund_id = refund.id
                        AND attempt.status IN ('SENDING', 'PENDING'))
    FOR NO KEY UPDATE OF refund SKIP LOCKED
)
UPDATE payments_refund SET next_attempt_at = parameters.now FROM waiting, parameters WHERE payments_refund.id = waiting.id
"""


def states(psp: str) -> dict[str, CircuitBreaker]:
    """Return what is known of the PSP's lines that failed last, by operation; a line in order is not listed."""
    return {row.operation: row for row in CircuitBreaker.objects.filter(psp=psp, failures__gt=0)}


def admit(calls: Sequence[Line], *, now: datetime) -> list[datetime | None]:
    """Say for each call, in order, whether it may be made (None), or until when it must wait.

    Of an open line whose time is up the first call is let through, as the probe; whoever else asks in the next PROBE_S waits for it.
    Inside the caller's transaction or without one.  Locks the open lines whose time is up, by name.
    """
    lines = set(calls)
    known = CircuitBreaker.objects.filter(psp__in={psp for psp, _operation in lines}, failures__gt=0)
    shaken = {(row.psp, row.operation): row for row in known} if lines else {}
    _shaken.difference_update(lines - shaken.keys())
    _shaken.update(lines & shaken.keys())
    open_until = {line: row.open_until for line, row in shaken.items() if row.opened_at and row.open_until}
    due = sorted(line for line, until in open_until.items() if until <= now)
    probes = {line for line in due if take_the_probe(line, now=now)}
    open_until |= dict.fromkeys(due, now + timedelta(seconds=PROBE_S))
    answers: list[datetime | None] = []
    for line in calls:
        answers.append(None if line in probes else open_until.get(line))
        probes.discard(line)
    return answers


def take_the_probe(line: Line, *, now: datetime) -> bool:
    """Take the right to make the one call of an open line; False if somebody else did.  It counts as failed until it succeeds."""
    psp, operation = line
    is_over = CircuitBreaker.objects.filter(psp=psp, operation=operation, opened_at__isnull=False, open_until__lte=now)
    return bool(is_over.update(failures=F("failures") + 1, open_until=now + timedelta(seconds=PROBE_S)))


@transaction.atomic(durable=True)
def failed(psp: str, operation: str, *, now: datetime, times: int = 1) -> datetime | None:
    """Record so many calls in a row without an answer; return until when the line is open now, or None if it is not.

    While it is open nothing is counted, since the probe counted itself: a straggler sent earlier only keeps it open.
    """
    CircuitBreaker.objects.get_or_create(psp=psp, operation=operation)
    breaker = CircuitBreaker.objects.select_for_update(no_key=True).get(psp=psp, operation=operation)
    if breaker.opened_at is None:
        breaker.failures = min(breaker.failures + times, ACCIDENTS_IN_A_ROW)
        if breaker.failures == ACCIDENTS_IN_A_ROW:
            breaker.opened_at = now
            logger.error("%s does not answer to %s: %s calls in a row; it is left alone for a while", psp, operation, ACCIDENTS_IN_A_ROW)
    if breaker.opened_at is not None:
        breaker.open_until = now + timedelta(seconds=wait_s(breaker.failures))
    breaker.save(update_fields=["failures", "opened_at", "open_until"])
    _shaken.add((psp, operation))
    return breaker.open_until


def succeeded(psp: str, operation: str, *, now: datetime) -> None:
    """Record that a call was answered; if that closes the line, make all that waited for the PSP due at once.

    Costs nothing for a line that was in order when this process last asked (`admit`).
    """
    if (psp, operation) in _shaken:
        close(psp, operation, now=now)
        _shaken.discard((psp, operation))


@transaction.atomic(durable=True)
def close(psp: str, operation: str, *, now: datetime) -> None:
    shaken = CircuitBreaker.objects.select_for_update(no_key=True).filter(psp=psp, operation=operation, failures__gt=0).first()
    if shaken is None:
        return
    was_open = shaken.opened_at is not None
    shaken.failures, shaken.opened_at, shaken.open_until = 0, None, None
    shaken.save(update_fields=["failures", "opened_at", "open_until"])
    if was_open:
        logger.warning("%s answers to %s again: what waited for it is due now", psp, operation)
        execute(WAKE_ORDERS, [{"psp": psp, "now": now}])
        execute(WAKE_REFUNDS, [{"psp": psp, "now": now}])


def wait_s(failures: int) -> float:
    """Return for how long a line is left alone: 5 s when it opens, twice as long after each probe, 30 s at most."""
    return min(FIRST_WAIT_S * 2.0 ** min(failures - ACCIDENTS_IN_A_ROW, 10), LONGEST_WAIT_S)
