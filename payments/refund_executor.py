"""The refunds' executor: claim what is due, ask or send with nothing locked and no transaction open, record the answer.

The refund's id is the key under which the PSP knows it.  A refund that may have been sent is asked for before it is sent again, and never
sent again once the key is old; what could have happened is never taken for failed.  Each claim is a lease (`next_attempt_at` moves on);
a refund over which one worker after the other dies is given to a person.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Min

from ledger import retries
from payments import breaker, cancellations, dead_letters, late, queries, settlement
from payments.claims import MOST_DEATHS
from payments.models import PspAttempt, Refund
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
    RefundRequest,
    Result,
)
from payments.states import UNRESOLVED, AttemptStatus, PspOperation, RefundStatus

logger = logging.getLogger(__name__)

LEASE_S = 60
MOST_BOOKINGS = 8

Outcome = Result | PspError | None  # None: asked for, and the PSP never saw the key
Request = TypeVar("Request", RefundRequest, ChargeRequest)


class HeldBack(Exception):
    """The PSP's line is open: nothing was called, and nobody calls before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"the PSP is left alone until {until}")
        self.until = until


def execute_due_refunds(*, now: datetime) -> int:
    """Claim one due refund, ask the PSP to pay it back, and record its answer; return how many were claimed.

    One at a time, so that no claim runs out while others are executed.  What goes wrong with it holds up no other: it is tried again.
    """
    refund = claim_due(now=now)
    if refund is None:
        return 0
    try:
        execute(refund, now=now)
    except settlement.CANNOT_BOOK as error:
        logger.error("refund %s cannot be executed or booked: %s", refund.public_id, error)
        book_later(refund, detail=str(error), now=now)
    return 1


def claim_due(*, now: datetime) -> Refund | None:
    """Take the refund that is due first for LEASE_S; one over which MOST_DEATHS workers died is given to a person, and another is taken."""
    refund = claim_one(now=now)
    while refund is not None and refund.deaths > MOST_DEATHS:
        refund = claim_one(now=now)
    return refund


@transaction.atomic(durable=True)
def claim_one(*, now: datetime) -> Refund | None:
    """Claim once; COMMIT, before anything is sent.  A claim counts as a death until it is handed back."""
    due = Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__lte=now).order_by("next_attempt_at")
    refund = due.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("order").first()
    if refund is not None:
        refund.tries += 1
        refund.deaths += 1
        refund.next_attempt_at = now + timedelta(seconds=LEASE_S)
        refund.save(update_fields=["tries", "deaths", "next_attempt_at"])
        if refund.deaths > MOST_DEATHS:
            detail = f"{MOST_DEATHS} workers died over it."
            dead_letters.bury(refund.order_id, refund_id=refund.pk, reason=dead_letters.WORKER_DIED, detail=detail)
    return refund


def execute(refund: Refund, *, now: datetime) -> None:
    """Ask what became of the refund if it may have been sent; send it if the PSP never saw it; record the answer.

    Of one that goes back to gift cards and the buyer's wallet as a whole, the PSP has nothing to give.
    """
    if not refund.charged_back:
        settlement.settle_refund(refund.pk, psp_reference="", refunded_at=now)
        return None
    sent_at = first_sent_at(refund)
    try:
        if sent_at is not None:
            require_line(refund, PspOperation.FIND, now=now)
            outcome = ask(refund, now=now)
            if outcome is not None or now - sent_at > retries.KEY_LIFETIME:
                return heard(refund, outcome, sent_at=sent_at, now=now)
        require_line(refund, PspOperation.REFUND, now=now)
        attempt = open_attempt(refund, now=now)
        if attempt is not None:
            outcome = call(refund, PspOperation.REFUND, registry.psp_named(refund.order.psp).refund, request_of(refund), now=now)
            answered(refund, attempt, outcome, sent_at=sent_at, now=now)
    except HeldBack as held:
        give_back(refund, at=held.until, deaths=refund.deaths - 1)


def first_sent_at(refund: Refund) -> datetime | None:
    """Return when the refund may first have reached the PSP; None if it cannot have."""
    sent = PspAttempt.objects.filter(order_id=refund.order_id, refund=refund, operation=PspOperation.REFUND)
    first: datetime | None = sent.exclude(status=AttemptStatus.NOT_EXECUTED).aggregate(first=Min("created_at"))["first"]
    return first


def require_line(refund: Refund, operation: PspOperation, *, now: datetime) -> None:
    """Raise HeldBack if the PSP's line is open."""
    [until] = breaker.admit([(refund.order.psp, operation)], now=now)
    if until is not None:
        raise HeldBack(until)


def ask(refund: Refund, *, now: datetime) -> Outcome:
    """Ask the PSP what became of the refund, and keep the answer among the attempts."""
    outcome = call(refund, PspOperation.FIND, registry.psp_named(refund.order.psp).find_refund, request_of(refund), now=now)
    PspAttempt.objects.bulk_create([look_up(refund, outcome, now=now)], ignore_conflicts=True)  # one is enough for one claim
    return outcome


@transaction.atomic(durable=True)
def open_attempt(refund: Refund, *, now: datetime) -> PspAttempt | None:
    """Write the call that is about to be sent; COMMIT.  None if the claim was lost meanwhile, or the refund came to its end."""
    claimed = Refund.objects.select_for_update(no_key=True).filter(pk=refund.pk, status=RefundStatus.EXECUTING, tries=refund.tries)
    if not claimed:
        return None
    numbered = PspAttempt.objects.filter(order_id=refund.order_id, refund=refund, operation=PspOperation.REFUND).count() + 1
    attempt = attempt_of(refund, PspOperation.REFUND, number=numbered, now=now)
    attempt.save(force_insert=True)
    return attempt


def request_of(refund: Refund) -> RefundRequest:
    return RefundRequest(key=refund.public_id, charge=refund.charge, amount=refund.charged_back, reference=refund.public_id)


def call(refund: Refund, operation: PspOperation, verb: Callable[[Request], Result | None], request: Request, *, now: datetime) -> Outcome:
    """Call the PSP.  Whatever goes wrong without saying what it means is an unknown outcome."""
    psp = refund.order.psp
    outcome: Outcome
    try:
        outcome = verb(request)
    except PspError as error:
        outcome = error
    except Exception:
        logger.exception("the call for %s went wrong in a way nobody foresaw", refund.public_id)
        outcome = PspOutcomeUnknown("unforeseen error")
    if isinstance(outcome, PspError) and not outcome.answered:
        breaker.failed(psp, operation, now=now)
    else:
        breaker.succeeded(psp, operation, now=now)
    return outcome


def answered(refund: Refund, attempt: PspAttempt, outcome: Outcome, *, sent_at: datetime | None, now: datetime) -> None:
    """Record what the PSP answered to the call that would give the money back.

    A refusal fails the refund only when nothing can have been sent before: later it may hide a refund that was executed.
    """
    match outcome:
        case PspUnavailable():
            close(attempt, AttemptStatus.NOT_EXECUTED, code=outcome.code, message=str(outcome), now=now)
            try_again(refund, detail=str(outcome), now=now)
        case PspRejectedRequest():
            logger.error("the PSP refused our refund %s: %s", refund.public_id, outcome)
            close(attempt, AttemptStatus.NOT_EXECUTED, code=outcome.code, message=str(outcome), now=now)
            refused(refund, outcome, sent_at=sent_at, now=now)
        case PspError():
            close(attempt, AttemptStatus.UNKNOWN, code=outcome.code, message=str(outcome), now=now)
            heard(refund, outcome, sent_at=sent_at or now, now=now)
        case Pending():
            close(attempt, AttemptStatus.PENDING, reference=outcome.psp_reference, now=now)
            heard(refund, outcome, sent_at=sent_at or now, now=now)
        case _:
            heard(refund, outcome, sent_at=sent_at or now, now=now)


def refused(refund: Refund, refusal: PspRejectedRequest, *, sent_at: datetime | None, now: datetime) -> None:
    """Record that the PSP will not pay the refund back, unless the money went back already: by a void of its charge, of which nobody told us."""
    charge = charge_request(refund)
    match ask_for_charge(refund, charge, now=now) if charge else None:
        case Declined(code=settlement.VOIDED) if charge:
            went_back_by_a_void(refund, psp_key=charge.key, now=now)
        case PspError() as error:
            try_again(refund, detail=f"{refusal}; whether its charge stands is not known: {error}", now=now)
        case _ if sent_at is None:
            settlement.fail_refund(refund.pk, psp_reference="", code=refusal.code, claim=refund.tries)
        case _:
            ask_later(refund, sent_at=sent_at, now=now)


def ask_for_charge(refund: Refund, charge: ChargeRequest, *, now: datetime) -> Outcome:
    require_line(refund, PspOperation.FIND, now=now)
    return call(refund, PspOperation.FIND, registry.psp_named(refund.order.psp).find_charge, charge, now=now)


def charge_request(refund: Refund) -> ChargeRequest | None:
    """Return the charge whose money goes back, the order's own or one that came too late, as the PSP was asked for it; None if none is kept."""
    order = refund.order
    charges = PspAttempt.objects.select_related("order").filter(order=order, operation=PspOperation.CHARGE)
    key = {"psp_key": refund.late_charge.psp_key} if refund.late_charge else {"psp_reference": refund.charge}
    charge = charges.filter(**key).first()
    return ChargeRequest(charge.psp_key, payment_token="", amount=charge.asked, reference=order.public_id) if charge else None


def went_back_by_a_void(refund: Refund, *, psp_key: str, now: datetime) -> None:
    """Record the void.  It is the refund of the whole order, so that one of a part has failed; while others are under way, they fail first.

    The void is kept in the inbox before anything fails: nobody would learn of it again.  That of a charge that came too late is its refund.
    """
    if refund.late_charge is None and (refund.cause != Refund.Cause.CANCELLATION or refund.charged_back != refund.order.charge):
        void = {"id": refund.charge, "key": psp_key, "status": settlement.VOIDED, "reference": refund.order.public_id}
        late.keep_told(refund.order.psp, "charge", void)
        settlement.fail_refund(refund.pk, psp_reference="", code=settlement.VOIDED, claim=refund.tries)
    cancellations.voided(refund.order_id, psp_key=psp_key, now=now)


def heard(refund: Refund, outcome: Outcome, *, sent_at: datetime, now: datetime) -> None:
    """Record what is known of a refund that may have been sent.  What the PSP never saw, under a key too old to send, has failed."""
    match outcome:
        case Charged():
            settlement.settle_refund(refund.pk, psp_reference=outcome.psp_reference, refunded_at=outcome.at)
        case Declined():
            settlement.fail_refund(refund.pk, psp_reference=outcome.psp_reference, code=outcome.code)
        case None:
            settlement.fail_refund(refund.pk, psp_reference="", code="never_refunded", claim=refund.tries)
        case _:
            logger.info("refund %s is asked for later: %s", refund.public_id, outcome)
            ask_later(refund, sent_at=sent_at, now=now)


def try_again(refund: Refund, *, detail: str, now: datetime) -> None:
    """Nothing was executed: give the claim back by the retry policy, or to a person when its tries are used up."""
    failures = refund.failures + 1
    delay_s = retries.delay_s(queries.retry_policy(refund.order.psp, PspOperation.REFUND), failures=failures)
    if delay_s is None:
        give_up(refund, dead_letters.TRIES_EXHAUSTED, detail=detail)
    else:
        give_back(refund, at=now + timedelta(seconds=delay_s), failures=failures)


def ask_later(refund: Refund, *, sent_at: datetime, now: datetime) -> None:
    """Pending or unknown: give the claim back, to be asked for later and later, and to a person after a month."""
    if now - sent_at > retries.ASK_FOR:
        give_up(refund, dead_letters.UNKNOWN_TOO_LONG, detail=f"First sent at {sent_at:%Y-%m-%d %H:%M} UTC.")
    else:
        asked = PspAttempt.objects.filter(order_id=refund.order_id, refund=refund, operation=PspOperation.FIND).count()
        give_back(refund, at=now + timedelta(seconds=retries.ask_delay_s(asked)), failures=0)


def book_later(refund: Refund, *, detail: str, now: datetime) -> None:
    """The PSP's answer does not fit what is booked, or we cannot call it: try once more later, and give it to a person after MOST_BOOKINGS."""
    failures = refund.failures + 1
    if failures >= MOST_BOOKINGS:
        give_up(refund, dead_letters.CANNOT_BE_BOOKED, detail=detail)
    else:
        give_back(refund, at=now + timedelta(seconds=retries.ask_delay_s(failures)), failures=failures)


def give_back(refund: Refund, *, at: datetime, failures: int | None = None, deaths: int = 0) -> None:
    """Give the claim back, to be taken again at that time; a claim that was lost meanwhile is left as it is."""
    claimed = Refund.objects.filter(pk=refund.pk, status=RefundStatus.EXECUTING, tries=refund.tries)
    claimed.update(next_attempt_at=at, failures=refund.failures if failures is None else failures, deaths=deaths)


@transaction.atomic(durable=True)
def give_up(refund: Refund, reason: str, *, detail: str) -> None:
    """Leave the refund to a person, unless the claim was lost meanwhile.  Its money stays reserved."""
    if Refund.objects.select_for_update(no_key=True).filter(pk=refund.pk, status=RefundStatus.EXECUTING, tries=refund.tries):
        dead_letters.bury(refund.order_id, refund_id=refund.pk, reason=reason, detail=detail)


def attempt_of(refund: Refund, operation: PspOperation, *, number: int, now: datetime) -> PspAttempt:
    psp = refund.order.psp
    return PspAttempt(
        order_id=refund.order_id, refund=refund, operation=operation, number=number, psp=psp, psp_key=refund.public_id, created_at=now
    )


def look_up(refund: Refund, outcome: Outcome, *, now: datetime) -> PspAttempt:
    """Return the attempt that says what a look-up brought; its number is the claim's."""
    attempt = attempt_of(refund, PspOperation.FIND, number=refund.tries, now=now)
    attempt.finished_at = now
    match outcome:
        case Charged():
            attempt.status, attempt.psp_reference = AttemptStatus.SUCCEEDED, outcome.psp_reference
        case Pending():
            attempt.status, attempt.psp_reference = AttemptStatus.PENDING, outcome.psp_reference
        case Declined():
            attempt.status, attempt.psp_reference = AttemptStatus.DECLINED, outcome.psp_reference
            attempt.error_code, attempt.error_message = outcome.code, outcome.message
        case PspError():
            attempt.status, attempt.error_code, attempt.error_message = AttemptStatus.UNKNOWN, outcome.code, str(outcome)
        case None:
            attempt.status, attempt.error_code = AttemptStatus.NOT_EXECUTED, "never_seen"
    return attempt


def close(attempt: PspAttempt, status: AttemptStatus, *, now: datetime, code: str = "", message: str = "", reference: str = "") -> None:
    """Write what came of a call, unless a webhook has told its end meanwhile."""
    PspAttempt.objects.filter(pk=attempt.pk, status__in=UNRESOLVED).update(
        status=status, error_code=code, error_message=message[:500], psp_reference=reference, finished_at=now
    )
