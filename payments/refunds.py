"""Refunds: reserve, call the PSP, settle.  The same skeleton as a payment, and the same exactly-once.

What is refunded is taken off what may still be refunded before the PSP is asked, under the order's row lock and a CHECK; the refund's id is
the key under which the PSP knows it, so that asking again never pays twice.
"""

import logging
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db import transaction
from djmoney.money import Money

from ledger.errors import DomainError
from ledger.money import from_minor, text, to_minor, zero
from payments import settlement
from payments.models import PaymentOrder, PspAttempt, Refund
from payments.psp import registry
from payments.psp.protocol import Charged, Declined, Pending, PspError, PspRejectedRequest, RefundRequest
from payments.states import AttemptStatus, OrderStatus, RefundStatus

logger = logging.getLogger(__name__)

LEASE_S = 60
RETRY_AFTER_S = 30
LONGEST_DELAY_S = 6 * 3600


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
    fee = fee_of(order, amount)
    order.refunded += amount
    order.save(update_fields=["refunded"])
    refund = Refund(order=order, reason=reason, next_attempt_at=now)
    refund.amount, refund.fee, refund.net = amount, fee, amount - fee
    refund.save()
    return refund


def fee_of(order: PaymentOrder, amount: Money) -> Money:
    """Return the part of the fee that the next refund of so much gives back: the share of all refunds, less what the others that live gave.

    Never more than is left of the fee or of the refund, and never so little that the rest of the order could not bear the rest of the fee:
    refunds fail and come back in any order.
    """
    others = order.refunds.exclude(status=RefundStatus.FAILED)
    given = sum((refund.fee for refund in others), start=zero(amount.currency.code))
    fee_left, left = order.fee - given, order.amount - order.refunded
    least = max(fee_left - (left - amount), zero(amount.currency.code))
    return max(least, min(fee_share(order, order.refunded + amount) - given, amount, fee_left))


def fee_share(order: PaymentOrder, refunded: Money) -> Money:
    """Return the part of the order's fee that belongs to so much of its amount; any partition of a refund sums to the whole fee."""
    units = Decimal(to_minor(order.fee)) * to_minor(refunded) / to_minor(order.amount)
    return from_minor(int(units.quantize(Decimal(1), ROUND_HALF_UP)), refunded.currency.code)


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
        try_again(refund, now=now)
    return 1


@transaction.atomic(durable=True)
def claim_due(*, now: datetime) -> Refund | None:
    """Take the refund that is due first for LEASE_S; COMMIT, before anything is sent."""
    due = Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__lte=now).order_by("next_attempt_at")
    refund = due.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("order").first()
    if refund is not None:
        refund.tries += 1
        refund.next_attempt_at = now + timedelta(seconds=LEASE_S)
        refund.save(update_fields=["tries", "next_attempt_at"])
    return refund


def execute(refund: Refund, *, now: datetime) -> None:
    """Ask what became of the refund, send it if the PSP never saw it, and record the answer.  Its own id is the key: it is executed once.

    A refusal fails it only at the first claim, when nothing can have been sent before; later it may hide a refund that was executed.
    """
    charge = PspAttempt.objects.filter(order_id=refund.order_id, status=AttemptStatus.SUCCEEDED).values_list("psp_reference", flat=True)[0]
    request = RefundRequest(key=refund.public_id, charge=charge, amount=refund.amount, reference=refund.public_id)
    psp = registry.psp_named(refund.order.psp)
    is_asking = True
    try:
        result = psp.find_refund(request)
        is_asking = False
        result = result or psp.refund(request)
    except PspRejectedRequest as error:
        logger.error("the PSP refused our refund %s: %s", refund.public_id, error)
        if is_asking or refund.tries > 1:
            return try_again(refund, now=now)
        settlement.fail_refund(refund.pk, psp_reference="", code=error.code, claim=refund.tries)
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
    """Give the claim back, to be taken again later and later: after 30 seconds first, after six hours at most."""
    delay_s = min(RETRY_AFTER_S * 2 ** min(refund.tries - 1, 30), LONGEST_DELAY_S)
    claimed = Refund.objects.filter(pk=refund.pk, status=RefundStatus.EXECUTING, tries=refund.tries)
    claimed.update(next_attempt_at=now + timedelta(seconds=delay_s))
