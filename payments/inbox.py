"""The inbox: what PSPs told us by webhook, applied after it was stored and acknowledged, in any order and as often as it comes.

The effect comes first and is idempotent; the mark follows.  Whoever dies in between applies the event again, and finds the work done.
What cannot be applied is parked with its reason, never dropped.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from payments import settlement
from payments.models import PaymentOrder, PspAttempt, PspEvent
from payments.psp.protocol import Charged, Declined, Notice
from payments.psp.sandbox import outcome_of
from payments.settlement import Capture, Failure
from payments.states import OrderStatus

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
                status=verdict.status, reason=verdict.reason, finished_at=now
            )
    return len(events)


def verdicts_on(events: Sequence[PspEvent]) -> list[Verdict]:
    """Settle and fail what the events say, then tell for each whether it has its effect."""
    keys = {event.id: str(event.body["data"]["object"].get("key", "")) for event in events}
    attempts = {
        attempt.psp_key: attempt
        for attempt in PspAttempt.objects.filter(psp_key__in=set(keys.values())).select_related("order").order_by("number")
    }
    verdicts, captures, failures = [], {}, {}
    for event in events:
        attempt = attempts.get(keys[event.id])
        outcome = outcome_of(event.body["data"]["object"]) if event.type.startswith("charge.") else None
        if not event.type.startswith("charge."):
            verdicts.append(Verdict(event.id, PspEvent.Status.PARKED, f"nothing is done with {event.type[:100]}"))
        elif attempt is None:
            verdicts.append(Verdict(event.id, PspEvent.Status.PARKED, "no attempt has this key"))
        elif isinstance(outcome, Charged) and outcome.amount != attempt.order.amount:
            verdicts.append(Verdict(event.id, PspEvent.Status.PARKED, f"{outcome.amount} is not the order's {attempt.order.amount}"))
        elif isinstance(outcome, Charged):
            captures[event.id] = Capture(
                attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.amount, outcome.at
            )
        elif isinstance(outcome, Declined):
            failures[event.id] = Failure(
                attempt.order_id, attempt.id, attempt.psp_key, outcome.psp_reference, outcome.code, outcome.message
            )
            verdicts.append(Verdict(event.id, PspEvent.Status.APPLIED))
        else:
            verdicts.append(Verdict(event.id, PspEvent.Status.APPLIED))
    if captures:
        settlement.settle(list(captures.values()))
    if failures:
        settlement.fail(list(failures.values()))
    return verdicts + after_settlement(captures)


def after_settlement(captures: dict[int, Capture]) -> list[Verdict]:
    """A success has its effect when its order is SUCCESS; if it is not, the money came too late for it, and a person must look."""
    orders = PaymentOrder.objects.in_bulk([capture.order_id for capture in captures.values()])
    return [
        Verdict(event_id, PspEvent.Status.APPLIED)
        if orders[capture.order_id].status == OrderStatus.SUCCESS
        else Verdict(event_id, PspEvent.Status.PARKED, f"the money came, but the order is {orders[capture.order_id].status}")
        for event_id, capture in captures.items()
    ]
