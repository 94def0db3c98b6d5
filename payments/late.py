"""Late successes: the PSP took the money of an order that we had given up.  Never ignored, never booked twice.

While the checkout is open, the order is put back into the queue under the key that the PSP speaks of, and settled as what it is: paid.  If
the buyer has paid it otherwise by then, or the checkout is done, the charge is kept among the parked events, where finance sees it.
"""

import logging
from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now

from ledger.money import to_minor
from payments import settlement
from payments.models import DueOrder, PaymentEvent, PaymentOrder, PspAttempt, PspEvent
from payments.settlement import Capture
from payments.states import AttemptStatus, OrderStatus, require_transition

logger = logging.getLogger(__name__)


def settle(captures: Sequence[Capture]) -> list[Capture]:
    """Settle the captures, those that come late too; return those that came too late to be booked on their order."""
    settlement.apart(settlement.settle, captures)
    left_out = not_booked(captures)
    revived = [capture for capture in left_out if revive(capture)]
    if revived:
        settlement.apart(settlement.settle, revived)
    return not_booked(left_out) if left_out else []


def not_booked(captures: Sequence[Capture]) -> list[Capture]:
    """Return the captures that were not booked, but for those whose order executes under their key still: these are asked for again."""
    keys = [capture.psp_key for capture in captures]
    settled = PspAttempt.objects.filter(psp_key__in=keys, status=AttemptStatus.SUCCEEDED).values_list("psp_key", flat=True)
    waiting = DueOrder.objects.filter(psp_key__in=keys).values_list("psp_key", flat=True)
    known = {*settled, *waiting}
    return [capture for capture in captures if capture.psp_key not in known]


@transaction.atomic(durable=True)
def revive(capture: Capture) -> bool:
    """Put a failed order of an open checkout back into the queue under the capture's key; False if it is not failed or not open.

    Locks the event, then the order.  Whoever dies after this commit leaves an order that the executor asks the PSP about.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=capture.order_id)
    order = event.orders.select_for_update(no_key=True).get(pk=capture.order_id)
    if event.is_payment_done or order.status != OrderStatus.FAILED:
        return False
    require_transition(order.status, to=OrderStatus.EXECUTING, what=order.public_id)
    PaymentOrder.objects.filter(pk=order.pk).update(status=OrderStatus.EXECUTING)
    PspAttempt.objects.filter(pk=capture.attempt_id).update(status=AttemptStatus.UNKNOWN)  # so that it is asked for, never sent again
    DueOrder.objects.create(order=order, psp_key=capture.psp_key, payment_token="", maybe_sent=True, next_attempt_at=Now())
    logger.warning("the charge of %s succeeded after it was given up; it is booked", capture.psp_key)
    return True


def keep(captures: Sequence[Capture]) -> None:
    """Keep charges that came too late where finance sees them, as a webhook of them would be kept."""
    for capture in captures:
        attempt = PspAttempt.objects.select_related("order").get(pk=capture.attempt_id)
        reason = f"the money came under {capture.psp_key}, but the order is {attempt.order.status}"
        logger.error("%s: %s", capture.psp_reference, reason)
        told = {
            "id": capture.psp_reference,
            "key": capture.psp_key,
            "status": "succeeded",
            "amount": to_minor(capture.amount),
            "currency": capture.amount.currency.code,
            "reference": attempt.order.public_id,
            "created_at": capture.charged_at.isoformat(),
        }
        PspEvent.objects.get_or_create(
            psp=attempt.psp,
            event_id=f"answer:{capture.psp_key}",
            defaults={
                "type": "charge.succeeded",
                "body": {"data": {"object": told}},
                "status": PspEvent.Status.PARKED,
                "reason": reason,
                "finished_at": Now(),
            },
        )
