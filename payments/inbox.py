"""The inbox: what PSPs told us by webhook, applied after it was stored and acknowledged, in any order and as often as it comes.

The effect comes first and is idempotent; the mark follows.  Whoever dies in between applies the event again, and finds the work done.
What cannot be applied is parked with its reason, never dropped.  What came too early - before the row that it is about - is looked at
again by itself; the rest waits for a person (`look_again`).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from payments import cancellations, disputes, late, settlement
from payments.disputes import TooEarly
from payments.methods.registry import METHODS
from payments.models import CheckoutSession, LateCharge, PspAttempt, PspEvent, Refund
from payments.psp.protocol import Charged, Declined, Notice, Pending, PspOutcomeUnknown
from payments.psp.sandbox import dispute_of, outcome_of
from payments.settlement import Capture, Failure, Undecided
from payments.states import AttemptStatus, PspOperation, RefundStatus, SessionStatus

logger = logging.getLogger(__name__)

VERSIONS = (None, "2026-10-01")
TYPES = frozenset(
    {
        "charge.pending",
        "charge.succeeded",
        "charge.failed",
        "charge.voided",
        "refund.pending",
        "refund.succeeded",
        "refund.failed",
        "dispute.opened",
        "dispute.closed",
        "session.completed",
        "session.failed",
        "session.in_review",
    }
)
CONFIRM_THEMSELVES = tuple(method.name for method in METHODS.values() if method.confirms_itself)
LOOK_AGAIN_S = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600, 24 * 3600, 24 * 3600)
LONG = timedelta(days=30)  # what waits for longer is an error

STORE = """
INSERT INTO payments_pspevent (psp, event_id, type, body, status, reason) VALUES (%s, %s, %s, %s, 'received', '')
ON CONFLICT (psp, event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one stored event: applied, or parked with the reason.

    What came too early (`is_early`) is looked at again by itself for a while; what waits for something that will be decided
    (`is_undecided`), until it is.
    """

    event_id: int
    status: PspEvent.Status
    reason: str = ""
    is_early: bool = False
    is_undecided: bool = False


def store(psp: str, notice: Notice, *, body: str) -> None:
    """Keep the event; the same event id again changes nothing.  One statement, committed when this returns."""
    with connection.cursor() as cursor:
        cursor.execute(STORE, [psp, notice.event_id, notice.type, body])


def apply_received(*, now: datetime, limit: int = 200) -> int:
    """Apply stored events, oldest first, then what came too early and is due again; return how many were looked at."""
    events = list(PspEvent.objects.filter(status=PspEvent.Status.RECEIVED).order_by("id")[:limit])
    early = PspEvent.objects.filter(status=PspEvent.Status.PARKED, next_attempt_at__lte=now).order_by("next_attempt_at")
    events += early[: limit - len(events)]
    verdicts = {verdict.event_id: verdict for verdict in verdicts_on(events, now=now)} if events else {}
    for event in events:
        mark(event, verdicts[event.pk], now=now)
    return len(events)


def look_again(event_ids: Iterable[int]) -> int:
    """Have parked events applied once more, as if they had just come; return how many.  A person's wish."""
    parked_ones = PspEvent.objects.filter(pk__in=event_ids, status=PspEvent.Status.PARKED)
    return parked_ones.update(status=PspEvent.Status.RECEIVED, tries=0, next_attempt_at=None, finished_at=None)


def mark(event: PspEvent, verdict: Verdict, *, now: datetime) -> None:
    """Write down what became of the event, unless somebody else did meanwhile."""
    tries = event.tries + 1 if event.status == PspEvent.Status.PARKED else event.tries
    is_due_again = verdict.is_undecided or (verdict.is_early and tries < len(LOOK_AGAIN_S))
    if verdict.status == PspEvent.Status.PARKED and event.status != PspEvent.Status.PARKED:
        logger.warning("PSP event %s is parked: %s", event.pk, verdict.reason)
    elif verdict.is_early and not is_due_again:
        logger.error("PSP event %s is not looked at again by itself: %s", event.pk, verdict.reason)
    elif verdict.is_undecided and now - event.received_at > LONG:
        logger.error("PSP event %s waits since %s: %s", event.pk, event.received_at, verdict.reason)
    PspEvent.objects.filter(pk=event.pk, status=event.status, tries=event.tries).update(
        status=verdict.status,
        reason=verdict.reason[:500].replace("\0", ""),
        tries=tries,
        next_attempt_at=now + timedelta(seconds=LOOK_AGAIN_S[min(tries, len(LOOK_AGAIN_S) - 1)]) if is_due_again else None,
        finished_at=now,
    )


def verdicts_on(events: Sequence[PspEvent], *, now: datetime) -> list[Verdict]:
    """Settle and fail what the events say, then tell for each whether it has its effect."""
    charges = PspAttempt.objects.filter(psp_key__in={key_of(event) for event in events}, operation=PspOperation.CHARGE)
    attempts = {(attempt.psp, attempt.psp_key): attempt for attempt in charges.select_related("order").order_by("number")}
    readings = {event.pk: reading_of(event, attempts.get((event.psp, key_of(event))), now=now) for event in events}
    captures = {event_id: reading for event_id, reading in readings.items() if isinstance(reading, Capture)}
    failures = {event_id: reading for event_id, reading in readings.items() if isinstance(reading, Failure)}
    unsettled = late.settle(list(captures.values())) if captures else {}
    unbooked = settlement.apart(settlement.fail, list(failures.values())) if failures else {}
    verdicts = [reading for reading in readings.values() if isinstance(reading, Verdict)]
    for event_id, failure in failures.items():
        verdicts.append(parked(event_id, unbooked[failure.psp_key]) if failure.psp_key in unbooked else applied(event_id))
    return verdicts + after_settlement(captures, unsettled)


def reading_of(event: PspEvent, attempt: PspAttempt | None, *, now: datetime) -> Capture | Failure | Verdict:
    """Say what the event means for the order of that attempt.

    Refunds, disputes and voids are recorded here; whatever needs no settling gets its verdict.
    """
    version = event.body.get("api_version")
    if version not in VERSIONS:
        return parked(event.pk, f"we do not read events of api_version {str(version)[:40]!r}")
    if event.type not in TYPES:
        return parked(event.pk, f"nothing is done with {event.type[:100]}")
    try:
        match event.type.partition(".")[0]:
            case "charge":
                return reading_of_charge(event, attempt, now=now)
            case "refund":
                return verdict_on_refund(event, now=now)
            case "dispute":
                return verdict_on_dispute(event)
            case _:
                return verdict_on_session(event, now=now)
    except TooEarly as error:
        return early(event.pk, str(error))
    except Undecided as error:
        return waiting(event.pk, str(error))
    except (PspOutcomeUnknown, *settlement.CANNOT_BOOK) as error:
        return parked(event.pk, str(error))


def reading_of_charge(event: PspEvent, attempt: PspAttempt | None, *, now: datetime) -> Capture | Failure | Verdict:
    outcome = outcome_of(object_of(event))
    if attempt is None:
        return about_nothing(event, "no attempt has this key", prefix="ord_")
    if object_of(event).get("reference") != attempt.order.public_id:
        return parked(event.pk, "its reference is another order's")
    match outcome:
        case Charged() if outcome.amount != attempt.asked:
            return parked(event.pk, f"{outcome.amount} is not the {attempt.asked} that were asked for")
        case Charged() if cancellations.is_void(attempt) and attempt.finished_at and outcome.at > attempt.finished_at:
            return parked(event.pk, f"{outcome.psp_reference} was taken under a key that was voided before")
        case Charged() if cancellations.is_void(attempt):
            return applied(event.pk)  # it was taken, and given back by the void before we heard of it
        case Charged():
            return Capture(attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.amount, outcome.at)
        case Declined(code=settlement.VOIDED):
            cancellations.voided(attempt.order_id, psp_key=attempt.psp_key, now=now)
            return applied(event.pk)
        case Declined():
            return Failure(attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.code, outcome.message)
        case Pending():
            return applied(event.pk)
        case None:
            return parked(event.pk, "the charge has a status that we do not know")


def verdict_on_refund(event: PspEvent, *, now: datetime) -> Verdict:
    """Record what became of one of our refunds; its id is the key under which the PSP knows it."""
    outcome = outcome_of(object_of(event))
    refund = Refund.objects.filter(public_id=key_of(event), order__psp=event.psp).first()
    if refund is None or object_of(event).get("reference") != refund.public_id:
        return about_nothing(event, "no refund has this key and reference", prefix="re_")
    match outcome:
        case Charged() if outcome.amount != refund.charged_back:
            return parked(event.pk, f"{outcome.amount} is not the refund's {refund.charged_back}")
        case Charged() if refund.status == RefundStatus.FAILED and refund.psp_reference == outcome.psp_reference:
            return applied(event.pk)  # the PSP itself has said since that it failed: the money came back before we heard that it went
        case Charged():
            settlement.settle_refund(refund.pk, psp_reference=outcome.psp_reference, refunded_at=outcome.at)
        case Declined() if refund.status == RefundStatus.SUCCESS and outcome.psp_reference == refund.psp_reference:
            settlement.reverse_refund(refund.pk, code=outcome.code, at=now)
        case Declined() if refund.status == RefundStatus.SUCCESS and refund.psp_reference == refund.charge:
            return applied(event.pk)  # the money went back by the void of its charge: this call for it came too late, and moved nothing
        case Declined() if refund.status == RefundStatus.SUCCESS:
            return parked(event.pk, f"{outcome.psp_reference} is not the refund that gave the money back, {refund.psp_reference}")
        case Declined():
            settlement.fail_refund(refund.pk, psp_reference=outcome.psp_reference, code=outcome.code)
        case Pending():
            return applied(event.pk)
        case None:
            return parked(event.pk, "the refund has a status that we do not know")
    refund.refresh_from_db()
    if refund.status == (RefundStatus.SUCCESS if isinstance(outcome, Charged) else RefundStatus.FAILED):
        return applied(event.pk)
    return early(event.pk, f"the refund is {refund.status}, and the PSP says otherwise")


def verdict_on_dispute(event: PspEvent) -> Verdict:
    """Open or close the dispute, whichever the PSP says; it is about a charge of ours, by key and reference."""
    disputes.record(dispute_of(object_of(event)), psp=event.psp)
    return applied(event.pk)


def verdict_on_session(event: PspEvent, *, now: datetime) -> Verdict:
    """Have the PSP asked now how the session stands, if the buyer's approval there is the confirmation; the webhook itself is not believed."""
    of_ours = CheckoutSession.objects.filter(psp=event.psp, session=str(object_of(event).get("id", "")), method__in=CONFIRM_THEMSELVES)
    of_ours.exclude(status__in=[SessionStatus.CONFIRMED, SessionStatus.UNUSED]).update(look_at=now)
    return applied(event.pk)


def about_nothing(event: PspEvent, reason: str, *, prefix: str) -> Verdict:
    """Park an event about a row that is not there: it may have come too early if its reference looks like one of ours."""
    may_be_ours = str(object_of(event).get("reference", "")).startswith(prefix)
    return early(event.pk, reason) if may_be_ours else parked(event.pk, reason)


def applied(event_id: int) -> Verdict:
    return Verdict(event_id, PspEvent.Status.APPLIED)


def parked(event_id: int, reason: str) -> Verdict:
    return Verdict(event_id, PspEvent.Status.PARKED, reason)


def early(event_id: int, reason: str) -> Verdict:
    return Verdict(event_id, PspEvent.Status.PARKED, reason, is_early=True)


def waiting(event_id: int, reason: str) -> Verdict:
    return Verdict(event_id, PspEvent.Status.PARKED, reason, is_undecided=True)


def object_of(event: PspEvent) -> Mapping[str, Any]:
    told: Mapping[str, Any] = event.body["data"]["object"]
    return told


def key_of(event: PspEvent) -> str:
    return str(object_of(event).get("key", ""))


def after_settlement(captures: Mapping[int, Capture], unsettled: Mapping[str, str]) -> list[Verdict]:
    """A success has its effect when its charge paid the order, or is kept as one that came too late; otherwise it waits until it can."""
    references = {capture.psp_reference for capture in captures.values()}
    paid = PspAttempt.objects.filter(psp_key__in={capture.psp_key for capture in captures.values()}, status=AttemptStatus.SUCCEEDED)
    late_ones = LateCharge.objects.filter(order__in={capture.order_id for capture in captures.values()}, psp_reference__in=references)
    booked = {*paid.values_list("psp_reference", flat=True), *late_ones.values_list("psp_reference", flat=True)}
    return [
        applied(event_id)
        if capture.psp_reference in booked
        else waiting(event_id, unsettled.get(capture.psp_key, f"the money that came under {capture.psp_key} is not booked yet"))
        for event_id, capture in captures.items()
    ]
