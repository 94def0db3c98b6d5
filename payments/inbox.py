"""The inbox: what PSPs told us by webhook, applied after it was stored and acknowledged, in any order and as often as it comes.

The effect comes first and is idempotent; the mark follows.  Whoever dies in between applies the event again, and finds the work done.
What cannot be applied is parked with its reason, never dropped.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from payments import late, settlement
from payments.models import PaymentOrder, PspAttempt, PspEvent, Refund
from payments.psp.protocol import Charged, Declined, Notice, Pending, PspOutcomeUnknown
from payments.psp.sandbox import outcome_of
from payments.settlement import Capture, Failure
from payments.states import AttemptStatus, OrderStatus, RefundStatus

logger = logging.getLogger(__name__)

STORE = """
INSERT INTO payments_pspevent (psp, event_id, type, body, status, reason) VALUES (%s, %s, %s, %s, 'received', '')
ON CONFLICT (psp, event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one stored event: applied, or parked with the reason."""

    event_id: int
    status: PspEvent.Status
    reason: str = ""


def store(psp: str, notice: Notice, *, body: str) -> None:
    """Keep the event; the same event id again changes nothing.  One statement, committed when this returns."""
    with connection.cursor() as cursor:
        cursor.execute(STORE, [psp, notice.event_id, notice.type, body])


def apply_received(*, now: datetime, limit: int = 200) -> int:
    """Apply stored events, oldest first; return how many were looked at."""
    events = list(PspEvent.objects.filter(status=PspEvent.Status.RECEIVED).order_by("id")[:limit])
    if events:
        for verdict in verdicts_on(events):
            if verdict.status == PspEvent.Status.PARKED:
                logger.warning("PSP event %s is parked: %s", verdict.event_id, verdict.reason)
            PspEvent.objects.filter(pk=verdict.event_id, status=PspEvent.Status.RECEIVED).update(
                status=verdict.status, reason=verdict.reason[:500].replace("\0", ""), finished_at=now
            )
    return len(events)


def verdicts_on(events: Sequence[PspEvent]) -> list[Verdict]:
    """Settle and fail what the events say, then tell for each whether it has its effect."""
    attempts = {
        attempt.psp_key: attempt
        for attempt in PspAttempt.objects.filter(psp_key__in={key_of(event) for event in events}).select_related("order").order_by("number")
    }
    readings = {event.id: reading_of(event, attempts.get(key_of(event))) for event in events}
    captures = {event_id: reading for event_id, reading in readings.items() if isinstance(reading, Capture)}
    failures = {event_id: reading for event_id, reading in readings.items() if isinstance(reading, Failure)}
    if captures:
        late.settle(list(captures.values()))
    unbooked = settlement.apart(settlement.fail, list(failures.values())) if failures else {}
    verdicts = [reading for reading in readings.values() if isinstance(reading, Verdict)]
    for event_id, failure in failures.items():
        verdicts.append(parked(event_id, unbooked[failure.psp_key]) if failure.psp_key in unbooked else applied(event_id))
    return verdicts + after_settlement(captures)


def reading_of(event: PspEvent, attempt: PspAttempt | None) -> Capture | Failure | Verdict:
    """Say what the event means for the order of that attempt; a refund is settled here, whatever else needs no settling gets its verdict."""
    try:
        match event.type.partition(".")[0]:
            case "charge":
                return reading_of_charge(event, attempt)
            case "refund":
                return verdict_on_refund(event)
            case "session":
                return applied(event.id)  # nothing hangs on it: before a confirmation the PSP is asked
            case _:
                return parked(event.id, f"nothing is done with {event.type[:100]}")
    except (PspOutcomeUnknown, *settlement.CANNOT_BOOK) as error:
        return parked(event.id, str(error))


def reading_of_charge(event: PspEvent, attempt: PspAttempt | None) -> Capture | Failure | Verdict:
    outcome = outcome_of(event.body["data"]["object"])
    if attempt is None:
        return parked(event.id, "no attempt has this key")
    if event.body["data"]["object"].get("reference") != attempt.order.public_id:
        return parked(event.id, "its reference is another order's")
    match outcome:
        case Charged() if outcome.amount != attempt.order.amount:
            return parked(event.id, f"{outcome.amount} is not the order's {attempt.order.amount}")
        case Charged():
            return Capture(attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.amount, outcome.at)
        case Declined():
            return Failure(attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.code, outcome.message)
        case Pending():
            return applied(event.id)
        case None:
            return parked(event.id, "the charge has a status that we do not know")


def verdict_on_refund(event: PspEvent) -> Verdict:
    """Record what became of one of our refunds; its id is the key under which the PSP knows it."""
    outcome = outcome_of(event.body["data"]["object"])
    refund = Refund.objects.filter(public_id=key_of(event)).first()
    if refund is None or event.body["data"]["object"].get("reference") != refund.public_id:
        return parked(event.id, "no refund has this key and reference")
    match outcome:
        case Charged() if outcome.amount != refund.amount:
            return parked(event.id, f"{outcome.amount} is not the refund's {refund.amount}")
        case Charged():
            settlement.settle_refund(refund.pk, psp_reference=outcome.psp_reference, refunded_at=outcome.at)
        case Declined():
            settlement.fail_refund(refund.pk, psp_reference=outcome.psp_reference, code=outcome.code)
        case Pending():
            return applied(event.id)
        case None:
            return parked(event.id, "the refund has a status that we do not know")
    refund.refresh_from_db()
    expected = RefundStatus.SUCCESS if isinstance(outcome, Charged) else RefundStatus.FAILED
    return (
        applied(event.id) if refund.status == expected else parked(event.id, f"the refund is {refund.status}, and the PSP says otherwise")
    )


def applied(event_id: int) -> Verdict:
    return Verdict(event_id, PspEvent.Status.APPLIED)


def parked(event_id: int, reason: str) -> Verdict:
    return Verdict(event_id, PspEvent.Status.PARKED, reason)


def key_of(event: PspEvent) -> str:
    return str(event.body["data"]["object"].get("key", ""))


def after_settlement(captures: dict[int, Capture]) -> list[Verdict]:
    """A success has its effect when an attempt under its key succeeded; if none did, the money came too late or twice: a person must look."""
    keys = {capture.psp_key for capture in captures.values()}
    settled = set(PspAttempt.objects.filter(psp_key__in=keys, status=AttemptStatus.SUCCEEDED).values_list("psp_key", flat=True))
    orders = PaymentOrder.objects.in_bulk([capture.order_id for capture in captures.values()])
    return [
        applied(event_id) if capture.psp_key in settled else parked(event_id, unsettled(capture, orders[capture.order_id].status))
        for event_id, capture in captures.items()
    ]


def unsettled(capture: Capture, status: str) -> str:
    by_another = " by another key" if status == OrderStatus.SUCCESS else ""
    return f"the money came under {capture.psp_key}, but the order is {status}{by_another}"
