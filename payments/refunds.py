"""Refunds: reserve, call the PSP, settle.  The same skeleton as a payment, and the same exactly-once.

What is refunded is taken off what may still be refunded before the PSP is asked, under the order's row lock and a CHECK; the refund's id is
the key under which the PSP knows it, so that asking again never pays twice.
"""

import logging
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db import transaction
from django.db.models import F
from djmoney.money import Money

from ledger.errors import DomainError
from ledger.money import from_minor, text, to_minor
from payments import settlement
from payments.models import PaymentOrder, PspAttempt, Refund
from payments.psp import registry
from payments.psp.protocol import Charged, Declined, Pending, PspError, PspRejectedRequest, RefundRequest
from payments.states import AttemptStatus, OrderStatus, RefundStatus

logger = logging.getLogger(__name__)

LEASE_S = 60
RETRY_AFTER_S = 30


class NotRefundable(DomainError):
    code = "not_refundable"


@transaction.atomic(durable=True)
def request_refund(order_id: int, *, amount: Money, reason: str, now: datetime) -> Refund:
    """Reserve a refund of the order, to be executed by the worker.  The fee is given back pro rata, over all refunds of the order together.

    Locks the order.  Raises NotRefundable: not paid, another currency, nothing, or more than is left of what was taken.
    """
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)
    if order.status != OrderStatus.SUCCESS:
        raise NotRefundable(f"{order.public_id} is not paid, so there is nothing to refund.")
    if amount.currency != order.amount.currency or amount.amount <= 0 or order.refunded + amount > order.amount:
        left = order.amount - order.refunded
        raise NotRefundable(f"Of {order.public_id}, {text(left)} {left.currency} can still be refunded.", field="amount")
    fee = fee_share(order, order.refunded + amount) - fee_share(order, order.refunded)
    order.refunded += amount
    order.save(update_fields=["refunded"])
    refund = Refund(order=order, reason=reason, next_attempt_at=now)
    refund.amount, refund.fee, refund.net = amount, fee, amount - fee
    refund.save()
    return refund


def fee_share(order: PaymentOrder, refunded: Money) -> Money:
    """Return the part of the order's fee that belongs to so much of its amount; any partition of a refund sums to the whole fee."""
    units = Decimal(to_minor(order.fee)) * to_minor(refunded) / to_minor(order.amount)
    return from_minor(int(units.quantize(Decimal(1), ROUND_HALF_UP)), refunded.currency.code)


def execute_due_refunds(*, now: datetime, limit: int = 50) -> int:
    """Claim due refunds, ask the PSP to pay each back, and record its answers; return how many were claimed."""
    refunds = claim_due(now=now, limit=limit)
    for refund in refunds:
        execute(refund, now=now)
    return len(refunds)


@transaction.atomic(durable=True)
def claim_due(*, now: datetime, limit: int) -> list[Refund]:
    due = Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__lte=now).order_by("next_attempt_at")
    refunds = list(due.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("order")[:limit])
    Refund.objects.filter(pk__in=[refund.pk for refund in refunds]).update(next_attempt_at=now + timedelta(seconds=LEASE_S))
    return refunds


def execute(refund: Refund, *, now: datetime) -> None:
    """Ask what became of the refund, send it if the PSP never saw it, and record the answer.  Its own id is the key: it is executed once."""
    charge = PspAttempt.objects.get(order_id=refund.order_id, status=AttemptStatus.SUCCEEDED).psp_reference
    request = RefundRequest(key=refund.public_id, charge=charge, amount=refund.amount, reference=refund.public_id)
    psp = registry.psp_named(refund.order.psp)
    try:
        found = psp.find_refund(request)
    except PspError as error:  # even a refusal: that we may not ask says nothing about what happened
        logger.warning("what became of refund %s is asked again: %s", refund.public_id, error)
        return try_again(refund, now=now)
    try:
        result = found or psp.refund(request)
    except PspRejectedRequest as error:
        logger.error("the PSP refused our refund %s: %s", refund.public_id, error)
        settlement.fail_refund(refund.pk, psp_reference="", code=error.code)
        return None
    except PspError as error:
        logger.warning("refund %s is tried again: %s", refund.public_id, error)
        return try_again(refund, now=now)
    match result:
        case Charged():
            settlement.settle_refund(refund.pk, psp_reference=result.psp_reference, refunded_at=result.at)
        case Declined():
            settlement.fail_refund(refund.pk, psp_reference=result.psp_reference, code=result.code)
        case Pending():
            try_again(refund, now=now)
    return None


def try_again(refund: Refund, *, now: datetime) -> None:
    Refund.objects.filter(pk=refund.pk, status=RefundStatus.EXECUTING).update(
        next_attempt_at=F("next_attempt_at") - timedelta(seconds=LEASE_S) + timedelta(seconds=RETRY_AFTER_S)
    )
