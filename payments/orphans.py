"""Orphans: calls that may have moved money, and that nobody waits for since a person gave their order or refund up.

The webhook that would tell of them may be lost; so the PSP is asked for each of them, once a day until it has told the end, or has said for a
month that there is none yet.  What it says is recorded as a webhook of it would be: a charge pays its order if that is still open, or goes
back to the buyer; a refund is booked.  What cannot be booked yet waits in the inbox.  When to ask next stands on the call, written by
whoever gave up (settlement.py).  Called by beat.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from ledger import retries
from ledger.money import to_minor
from payments import breaker, cancellations, executor, late, refund_executor, settlement
from payments.claims import Work
from payments.models import DueOrder, PspAttempt, Refund
from payments.psp.protocol import Charged, ChargeRequest, Declined, Pending
from payments.settlement import VOIDED
from payments.states import UNRESOLVED, AttemptStatus, PspOperation
from payments.verdicts import NotFound, Outcome

logger = logging.getLogger(__name__)

ASK_EVERY = timedelta(days=1)
DECIDED = (AttemptStatus.SUCCEEDED, AttemptStatus.DECLINED)


def ask_for_orphans(*, now: datetime, limit: int = 50) -> int:
    """Ask for up to `limit` orphaned calls whose time has come, and record what the PSPs say; return how many were taken.

    A PSP whose line is open is asked when it may be called again.
    """
    orphans, taken = claim_due(now=now, limit=limit)
    asked = admitted(orphans, now=now)
    charges = [work_of(call, now=now) for call in asked if call.operation == PspOperation.CHARGE]
    for answered in executor.call_all(charges):
        executor.keep_answers(answered, now=now)
        executor.tell_the_breaker(answered, now=now)
        record_charges(answered, now=now)
    for call in asked:
        if call.operation == PspOperation.REFUND:
            ask_for_refund(call, now=now)
    return taken


@transaction.atomic(durable=True)
def claim_due(*, now: datetime, limit: int) -> tuple[list[PspAttempt], int]:
    """Take calls that are due, and put each off until tomorrow; COMMIT, before anybody is asked.  Return the orphans, and how many were taken.

    One that somebody waits for again, or whose key is decided, is none any more.
    """
    due = PspAttempt.objects.filter(ask_again_at__lte=now).order_by("ask_again_at", "id").select_related("order", "refund")
    calls = list(due.select_for_update(skip_locked=True, no_key=True, of=("self",))[:limit])
    keys = [call.psp_key for call in calls]
    waited_for = {*DueOrder.objects.filter(psp_key__in=keys).values_list("psp_key", flat=True)}
    ended = PspAttempt.objects.filter(psp_key__in=keys, status__in=DECIDED, operation__in=(PspOperation.CHARGE, PspOperation.REFUND))
    none_any_more = waited_for.union(ended.values_list("psp_key", flat=True))
    orphans = [call for call in calls if call.status in UNRESOLVED and call.psp_key not in none_any_more]
    for call in calls:
        call.ask_again_at = now + ASK_EVERY if call in orphans else None
    PspAttempt.objects.bulk_update(calls, ["ask_again_at"])
    return orphans, len(calls)


def admitted(calls: Sequence[PspAttempt], *, now: datetime) -> list[PspAttempt]:
    """Return the calls that may be asked for now, one of each key; those whose PSP is left alone are put off until it is not."""
    one_of_each = list({call.psp_key: call for call in calls}.values())
    waits = breaker.admit([(call.psp, PspOperation.FIND.value) for call in one_of_each], now=now)
    for call, until in zip(one_of_each, waits, strict=True):
        if until is not None:
            PspAttempt.objects.filter(pk=call.pk).update(ask_again_at=until)
    return [call for call, until in zip(one_of_each, waits, strict=True) if until is None]


def work_of(call: PspAttempt, *, now: datetime) -> Work:
    """Return the question what became of a charge, as the executor asks it of an order in its queue."""
    order = call.order
    return Work(
        order_id=order.pk,
        attempt_id=call.pk,
        call_id=call.pk,
        psp=call.psp,
        operation=PspOperation.FIND,
        tries=0,
        failures=0,
        asked=0,
        maybe_sent=True,
        to_be_voided=False,
        key_is_old=is_old(call, now=now),
        asked_too_long=False,
        claimed_at=now,
        request=ChargeRequest(key=call.psp_key, payment_token="", amount=call.asked, reference=order.public_id),
    )


def is_old(call: PspAttempt, *, now: datetime) -> bool:
    """Is the key too old to be sent any more?  What the PSP has not seen by then, it never will."""
    return now - call.created_at > retries.KEY_LIFETIME


def record_charges(answered: Sequence[tuple[Work, Outcome]], *, now: datetime) -> None:
    """Record what the PSP said of charges; of what says nothing final it is asked again tomorrow."""
    captures = [executor.capture_of(work, outcome) for work, outcome in answered if isinstance(outcome, Charged)]
    if captures:
        unbooked = late.settle(captures)
        late.keep([capture for capture in captures if capture.psp_key in unbooked])
        cancellations.follow_settled([capture.order_id for capture in captures], now=now)
    for work, outcome in answered:
        calls = PspAttempt.objects.filter(order=work.order_id, psp_key=work.request.key, operation=PspOperation.CHARGE)
        match outcome:
            case Declined(code=code) if code == VOIDED:
                executor.let_go([work], now=now)
            case Declined():
                close(calls, AttemptStatus.DECLINED, outcome.psp_reference, outcome.code, now=now)
            case Pending():
                wait_on(calls, outcome.psp_reference, now=now)
            case NotFound() if work.key_is_old:
                close(calls, AttemptStatus.NOT_EXECUTED, "", "never_charged", now=now)


def ask_for_refund(call: PspAttempt, *, now: datetime) -> None:
    """Ask what became of a refund that was given up, and record it; what cannot be booked yet is kept, and asked for again tomorrow."""
    refund = call.refund
    if refund is None:
        raise ValueError(f"{call} is no call of a refund")
    refund.order = call.order
    try:
        outcome = refund_executor.ask(refund, now=now)
    except settlement.CANNOT_BOOK as error:
        logger.error("what became of %s cannot be asked for: %s", refund.public_id, error)
        return
    try:
        record_refund(call, refund, outcome, now=now)
    except settlement.CANNOT_BOOK as error:
        logger.error("what became of %s cannot be booked: %s", refund.public_id, error)
        if isinstance(outcome, Charged | Declined):
            late.keep_told(call.psp, "refund", told_of(refund, outcome))


def record_refund(call: PspAttempt, refund: Refund, outcome: refund_executor.Outcome, *, now: datetime) -> None:
    """Record what the PSP said of a refund.  Raises what `settlement` raises (CANNOT_BOOK)."""
    calls = PspAttempt.objects.filter(order=call.order_id, refund=refund, operation=PspOperation.REFUND)
    match outcome:
        case Charged():
            settlement.settle_refund(refund.pk, psp_reference=outcome.psp_reference, refunded_at=outcome.at)
        case Declined():
            settlement.fail_refund(refund.pk, psp_reference=outcome.psp_reference, code=outcome.code)
            close(calls, AttemptStatus.DECLINED, outcome.psp_reference, outcome.code, now=now)
        case Pending():
            wait_on(calls, outcome.psp_reference, now=now)
        case None if is_old(call, now=now):
            close(calls, AttemptStatus.NOT_EXECUTED, "", "never_refunded", now=now)


def told_of(refund: Refund, outcome: Charged | Declined) -> dict[str, Any]:
    """Return what the PSP said of a refund, as a webhook of it tells it."""
    told = {"id": outcome.psp_reference, "key": refund.public_id, "reference": refund.public_id}
    if isinstance(outcome, Declined):
        return told | {"status": "failed", "failure": {"code": outcome.code, "message": outcome.message}}
    money = {"amount": to_minor(outcome.amount), "currency": outcome.amount.currency.code}
    return told | money | {"status": "succeeded", "created_at": outcome.at.isoformat()}


def wait_on(calls: QuerySet[PspAttempt], reference: str, *, now: datetime) -> None:
    """Write that the calls of one key are pending; if they still are a month after they were given up, they are asked for no more."""
    open_ones = calls.filter(status__in=UNRESOLVED)
    open_ones.update(status=AttemptStatus.PENDING, psp_reference=reference)
    if open_ones.filter(ask_again_at__isnull=False, given_up_at__lte=now - retries.ASK_FOR).update(ask_again_at=None):
        logger.error("%s is pending a month after it was given up: it is asked for no more", reference)


def close(calls: QuerySet[PspAttempt], status: AttemptStatus, reference: str, code: str, *, now: datetime) -> None:
    """Write how the calls of one key ended, unless a webhook has told it meanwhile."""
    open_ones = calls.filter(status__in=UNRESOLVED)
    open_ones.update(status=status, psp_reference=reference, error_code=code, finished_at=now, ask_again_at=None)
