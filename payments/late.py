"""Late successes: the PSP took the money of an order that we had given up.  Never ignored, never booked twice, never kept.

While the checkout is open, the order is put back into the queue under the key that the PSP speaks of, and settled as what it is: paid.  If
the order cannot take the money any more - its checkout is done, it was cancelled, or it was paid by another charge - the charge is
booked as owed to the buyer, and its refund is on its way, in one transaction.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from ledger import chart, journal
from ledger.money import to_minor
from payments import dead_letters, news, refund_entries, settlement
from payments.models import DueOrder, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, PspEvent, Refund
from payments.settlement import CANNOT_BOOK, VOIDED, Capture, NotBookable
from payments.states import AttemptStatus, OrderStatus, PspOperation, RefundStatus, require_transition
from wallet import notifications
from wallet.models import Shop

logger = logging.getLogger(__name__)


class NothingOwed(NotBookable):
    """The buyer has the money of that late charge already."""


def settle(captures: Sequence[Capture]) -> dict[str, str]:
    """Settle the captures, those that come late too; return, by PSP key, why those that are booked nowhere are not."""
    unbooked = settlement.apart(settlement.settle, captures)
    left_out = not_booked(captures)
    revived = [capture for capture in left_out if revive(capture)]
    if revived:
        unbooked |= settlement.apart(settlement.settle, revived)
    for capture in not_booked(left_out) if left_out else []:
        reason = receive_or_say(capture)
        if reason:
            unbooked.setdefault(capture.psp_key, reason)
    return unbooked


def not_booked(captures: Sequence[Capture]) -> list[Capture]:
    """Return the captures of charges that neither paid their order nor are kept as late charges, nor were voided since."""
    references = [capture.psp_reference for capture in captures]
    keys = [capture.psp_key for capture in captures]
    paid = PspAttempt.objects.filter(psp_key__in=keys, operation=PspOperation.CHARGE, status=AttemptStatus.SUCCEEDED)
    booked = {*paid.values_list("order_id", "psp_reference")}
    booked |= {*LateCharge.objects.filter(psp_reference__in=references).values_list("order_id", "psp_reference")}
    voided = PspAttempt.objects.filter(psp_key__in=keys, operation=PspOperation.CHARGE, status=AttemptStatus.DECLINED, error_code=VOIDED)
    void = {*voided.values_list("order_id", "psp_key")}
    return [
        capture
        for capture in captures
        if (capture.order_id, capture.psp_reference) not in booked and (capture.order_id, capture.psp_key) not in void
    ]


@transaction.atomic(durable=True)
def revive(capture: Capture) -> bool:
    """Put a failed order of an open checkout back into the queue under the capture's key; False if it is not failed or not open.

    Locks the event, then the order.  Whoever dies after this commit leaves an order that the executor asks the PSP about.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=capture.order_id)
    order = event.orders.select_for_update(no_key=True).get(pk=capture.order_id)
    if event.is_payment_done or order.status != OrderStatus.FAILED or order.charge != capture.amount:
        return False
    require_transition(order.status, to=OrderStatus.EXECUTING, what=order.public_id)
    PaymentOrder.objects.filter(pk=order.pk).update(status=OrderStatus.EXECUTING)
    PspAttempt.objects.filter(pk=capture.attempt_id).update(status=AttemptStatus.UNKNOWN)  # so that it is asked for, never sent again
    DueOrder.objects.create(order=order, psp_key=capture.psp_key, payment_token="", maybe_sent=True, next_attempt_at=Now())
    dead_letters.close_of([order.pk], note="The payment service provider took the money after all.")
    logger.warning("the charge of %s succeeded after it was given up; it is booked", capture.psp_key)
    return True


def receive_or_say(capture: Capture) -> str:
    """Receive a late charge; return why it cannot be booked, or "" if it is."""
    try:
        return receive(capture)
    except CANNOT_BOOK as error:
        logger.error("the late charge %s of %s cannot be booked: %s", capture.psp_reference, capture.psp_key, error)
        return str(error)


@transaction.atomic(durable=True)
def receive(capture: Capture) -> str:
    """Book a charge that its order cannot take any more as owed to the buyer, and reserve its refund; return why not, or "" if it is booked.

    Once per charge of the PSP, whoever tells of it.  An order that executes or may still be paid decides first: nothing is done before.
    Locks the event, then the order.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=capture.order_id)
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=capture.order_id)
    if not not_booked([capture]):
        return ""
    if order.status not in (OrderStatus.SUCCESS, OrderStatus.CANCELLED) and not event.is_payment_done:
        return f"the money came under {capture.psp_key}, and {order.public_id} is {order.status}: it is not decided yet"
    charge = LateCharge(order=order, psp=order.psp, psp_key=capture.psp_key, psp_reference=capture.psp_reference)
    charge.amount, charge.taken_back, charge.charged_at = capture.amount, capture.amount * 0, capture.charged_at
    journal.open_accounts([chart.psp_receivable(order.psp), chart.owed_to_buyers()], currency=charge.amount.currency.code)
    [charge.journal_entry_id] = journal.post([refund_entries.owed(charge)])
    charge.save()
    refund = refund_of(charge)
    refund.save()
    calls = PspAttempt.objects.filter(pk=capture.attempt_id).exclude(status=AttemptStatus.SUCCEEDED)
    calls.update(status=AttemptStatus.SUCCEEDED, psp_reference=capture.psp_reference, finished_at=Now())
    notifications.publish([news.late_charge_news(charge, refund)])
    logger.warning("%s: %s came too late for %s and goes back to the buyer", charge.public_id, capture.psp_reference, order.public_id)
    return ""


def keep(captures: Sequence[Capture]) -> None:
    """Put charges that could be booked nowhere yet into the inbox, as a webhook of them would stand there: it looks again until they can.

    Those whose order executes under their key are left out: the PSP is asked about them again.
    """
    waiting = set(DueOrder.objects.filter(order__in=[capture.order_id for capture in captures]).values_list("psp_key", flat=True))
    for capture in captures:
        if capture.psp_key not in waiting:
            attempt = PspAttempt.objects.select_related("order").get(pk=capture.attempt_id)
            keep_told(attempt.psp, "charge", told_of(capture, reference=attempt.order.public_id))


def keep_told(psp: str, what: str, told: Mapping[str, Any]) -> None:
    """Put what an answer told of a charge or refund (`what`) into the inbox, once, as a webhook of it would stand there."""
    event = {"type": f"{what}.{told['status']}", "body": {"data": {"object": told}}}
    PspEvent.objects.get_or_create(psp=psp, event_id=f"answer:{told['id']}:{told['status']}", defaults=event)


def told_of(capture: Capture, *, reference: str) -> dict[str, Any]:
    return {
        "id": capture.psp_reference,
        "key": capture.psp_key,
        "status": "succeeded",
        "amount": to_minor(capture.amount),
        "currency": capture.amount.currency.code,
        "reference": reference,
        "created_at": capture.charged_at.isoformat(),
    }


def refund_of(charge: LateCharge) -> Refund:
    """Return the refund of a late charge, due at once: all that is owed of it, and no seller has any part in it.

    Raises NothingOwed if the buyer's bank took all of it back in a dispute.
    """
    owed = charge.amount - charge.taken_back
    if not owed:
        raise NothingOwed(f"The buyer has all of {charge.public_id} already: the bank took it back in a dispute.")
    refund = Refund(order=charge.order, late_charge=charge, cause=Refund.Cause.LATE_CHARGE, charge=charge.psp_reference)
    refund.amount, refund.net = owed, owed
    refund.fee = refund.borne = refund.tendered = owed * 0
    refund.fee_policy, refund.status, refund.next_attempt_at = Shop.FeePolicy.KEEP, RefundStatus.EXECUTING, Now()
    return refund
