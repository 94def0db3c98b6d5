"""Cancellations: the wish that an order shall not be paid after all, and what becomes of it.

Before anything was sent, the order is called off at once.  While its charge is under way, the executor has the PSP void the charge's key
(nothing was and nothing will be taken under it) and reports here.  What was paid is given back by a refund of all that is left, with all of
our fee.  It has done its work when nothing of the order is left, whoever gave the rest back: what fails on the way is asked for again.
One cancellation lives per order; asking again finds it, unless money that had gone back came back to us since.

`follow` finishes what others began: it may run at any time and as often as it likes, so that whoever dies between two steps loses none.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from djmoney.money import Money

from ledger import transitions
from ledger.errors import DomainError
from payments import late, news, queries, refunds, settlement, tenders
from payments.models import Cancellation, DueOrder, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.refunds import NotRefundable, Wish
from payments.settlement import VOIDED, Undecided
from payments.states import (
    UNRESOLVED,
    AttemptStatus,
    CancellationStatus,
    OrderStatus,
    PspOperation,
    RefundStatus,
    require_transition,
)
from wallet import notifications
from wallet.models import Shop

logger = logging.getLogger(__name__)
Limits = Mapping[str, Decimal]  # how much of an order may go back without a second person, by currency (refunds.py)


class NotCancellable(DomainError):
    code = "not_cancellable"


def cancel_order(order_id: int, *, reason: str, once: str, requested_by: str, now: datetime, limits: Limits | None = None) -> Cancellation:
    """Cancel one order; return its cancellation, which may still be executing.  The same wish (`once`) finds the same cancellation for ever.

    Raises NotCancellable: everything of it is refunded already, or a dispute of it is open; and ApprovalNeeded: it is paid, and to give
    it back is more than the limits let one do without a second person (refunds.py).
    """
    event_id = PaymentOrder.objects.values_list("event_id", flat=True).get(pk=order_id)
    [cancellation] = cancel(event_id, [order_id], reason=reason, once=once, requested_by=requested_by, now=now, limits=limits)
    return cancellation


def cancel_event(
    event_id: int, *, reason: str, once: str, requested_by: str, now: datetime, limits: Limits | None = None
) -> list[Cancellation]:
    """Cancel every order of the payment that can be cancelled.  Raises NotCancellable if none of them can; ApprovalNeeded, and cancels none."""
    order_ids = list(PaymentOrder.objects.filter(event=event_id).values_list("id", flat=True))
    return cancel(event_id, order_ids, reason=reason, once=once, requested_by=requested_by, now=now, limits=limits)


@transaction.atomic(durable=True)
def cancel(
    event_id: int, order_ids: Sequence[int], *, reason: str, once: str, requested_by: str, now: datetime, limits: Limits | None
) -> list[Cancellation]:
    """Keep the wish for each order with its first step.  Locks the event, the orders by id, the stored values by id, then what is due."""
    transitions.by(requested_by, reason=reason)
    PaymentEvent.objects.select_for_update(no_key=True).get(pk=event_id)
    orders = list(PaymentOrder.objects.select_for_update(no_key=True).filter(pk__in=order_ids, event=event_id).order_by("id"))
    tenders.lock(orders)
    kept, refusals = [], []
    for order in orders:
        try:
            wish = Cancellation(order=order, reason=reason, once=once, requested_by=requested_by)
            kept.append((standing(order, once=once) or keep(wish, now=now, limits=limits)).pk)
        except NotCancellable as refusal:
            refusals.append(refusal)
    if not kept:
        raise refusals[0]
    settlement.close_events([event_id])
    return list(Cancellation.objects.filter(pk__in=kept).select_related("order", "refund").order_by("order_id"))


def standing(order: PaymentOrder, *, once: str) -> Cancellation | None:
    """Return the cancellation that this wish began before, or else the one that lives.

    One that refunded the order is over once something of it is left again: a refund came back, or a dispute was won.
    """
    same = order.cancellations.filter(once=once).first() if once else None
    living = order.cancellations.exclude(status=CancellationStatus.FAILED)
    if order.left:
        living = living.exclude(outcome=Cancellation.Outcome.REFUNDED)
    return same or living.first()


def keep(cancellation: Cancellation, *, now: datetime, limits: Limits | None = None) -> Cancellation:
    """Keep a new cancellation and take its first step.  Raises NotCancellable, ApprovalNeeded.  The caller's transaction holds the order."""
    order = cancellation.order
    match OrderStatus(order.status):
        case OrderStatus.NOT_STARTED | OrderStatus.FAILED:
            cancellation.save()
            call_off(order, outcome=Cancellation.Outcome.CANCELLED, now=now)
        case OrderStatus.EXECUTING:
            cancellation.save()
            stop(order, cancellation, now=now)
        case OrderStatus.SUCCESS:
            cancellation.refund = refund_of(order, cancellation, now=now, limits=limits)
            cancellation.save()
        case OrderStatus.CANCELLED:
            raise NotCancellable(f"{order.public_id} is cancelled already.")
    return cancellation


def refund_of(order: PaymentOrder, cancellation: Cancellation, *, now: datetime, limits: Limits | None = None) -> Refund:
    """Reserve the refund of all that is left of a paid order, with all that is left of our fee.  Raises NotCancellable, ApprovalNeeded.

    Each refund of a cancellation has at most one that comes after it.  The caller holds the order.
    """
    before = f":{cancellation.refund.public_id}" if cancellation.refund else ""
    wish = Wish(
        amount=None,
        reason=cancellation.reason,
        fee_policy=Shop.FeePolicy.FULL,
        once=f"cancellation:{cancellation.public_id}{before}",
        requested_by=cancellation.requested_by,
        cause=Refund.Cause.CANCELLATION,
        limits=limits,
    )
    try:
        return refunds.reserve(order, wish, now=now)
    except NotRefundable as refusal:
        raise NotCancellable(str(refusal)) from refusal


def stop(order: PaymentOrder, cancellation: Cancellation, *, now: datetime) -> None:
    """Call off an order whose charge was never executed; of any other, have the executor void the charge, also if it was given up.

    The void is another call than the one that came to nothing: its tries are counted anew.
    """
    due = DueOrder.objects.select_for_update().get(order=order)
    charges = PspAttempt.objects.filter(order=order, psp_key=due.psp_key, operation=PspOperation.CHARGE)
    maybe_sent = due.maybe_sent or due.claimed_until is not None or charges.filter(status__in=UNRESOLVED).exists()
    if not maybe_sent:
        due.delete()
        return call_off(order, outcome=Cancellation.Outcome.CANCELLED, now=now)
    due.to_be_voided, due.next_attempt_at, due.failures, due.deaths = True, now, 0, 0
    due.save(update_fields=["to_be_voided", "next_attempt_at", "failures", "deaths"])
    return None


def voided(order_id: int, *, psp_key: str, now: datetime) -> None:
    """Record the PSP's word that nothing was taken under this key (or not any more), and nothing ever will be.  It holds whoever heard it.

    An order that executes under the key is cancelled, or (nobody here asked for it) has failed.  One that was booked meanwhile is given
    back: the void is its refund; and so it is of a charge that came too late.  Raises Undecided while another refund or a dispute of the
    same money is open, and NotRefundable if some of it was given back before: a person must look.
    """
    refund = release(order_id, psp_key=psp_key, now=now)
    if refund is not None:
        settlement.settle_refund(refund.pk, psp_reference=refund.charge, refunded_at=now)
        follow_settled([order_id], now=now)


@transaction.atomic(durable=True)
def release(order_id: int, *, psp_key: str, now: datetime) -> Refund | None:
    """Let the order go that executes under a voided key; if its charge is booked, reserve and return the refund that the void is.

    Locks the event, the order, then what is due.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=order_id)
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)
    charges = PspAttempt.objects.filter(order=order, psp_key=psp_key, operation=PspOperation.CHARGE)
    charge = queries.charge_of(order)
    if charge and charges.filter(psp_reference=charge).exists():
        return refund_by_void(order, psp_key=psp_key, now=now)
    late_charge = LateCharge.objects.filter(order=order, psp_key=psp_key).first()
    if late_charge is not None:
        return refund_of_late_charge_by_void(late_charge)
    charges.update(status=AttemptStatus.DECLINED, error_code=VOIDED, finished_at=now)
    due = DueOrder.objects.select_for_update().filter(order=order, psp_key=psp_key).first()
    if due is not None:
        due.delete()
        if due.to_be_voided:
            call_off(order, outcome=Cancellation.Outcome.VOIDED, now=now)
        else:
            move(order, to=OrderStatus.FAILED)
        settlement.close_events([event.pk])
    return None


def refund_by_void(order: PaymentOrder, *, psp_key: str, now: datetime) -> Refund:
    """Return the refund of the whole charge of a paid order, and of all that tenders paid; asked for by its cancellation or else now.

    One that came back is none any more.  A cancellation whose own refund failed ends with this one.  The caller holds the order.  Raises
    NotRefundable, Undecided.
    """
    whole_ones = order.refunds.filter(
        cause=Refund.Cause.CANCELLATION, amount=F("tendered") + order.charge.amount, late_charge=None, reversal_entry__isnull=True
    )
    whole = whole_ones.order_by("-id").first()
    if whole is not None:
        return whole
    if queries.is_being_refunded(order) or queries.is_disputed(order):
        raise Undecided(f"{psp_key} was voided at the PSP, and a refund or a dispute of {order.public_id} is open still.")
    whole_charge = order.charge + order.tendered - order.tendered_back  # and what tenders paid, less what went back to them before
    wish = Wish(amount=whole_charge, fee_policy=Shop.FeePolicy.FULL, once=f"void:{psp_key}", cause=Refund.Cause.CANCELLATION, is_done=True)
    refund = refunds.reserve(order, wish, now=now)
    order.cancellations.filter(status=CancellationStatus.EXECUTING).update(refund=refund)
    return refund


def refund_of_late_charge_by_void(charge: LateCharge) -> Refund:
    """Return the refund of a late charge, a new one if the last came back.  Raises NothingOwed."""
    refund = charge.refund
    if refund.reversal_entry_id is not None:
        refund = late.refund_of(charge)
        refund.save()
    return refund


def is_void(attempt: PspAttempt) -> bool:
    """Was this charge's key voided, so that a success under it, of before, is old news?"""
    return attempt.status == AttemptStatus.DECLINED and attempt.error_code == VOIDED


def call_off(order: PaymentOrder, *, outcome: str, now: datetime) -> None:
    """Cancel an order of which nothing was taken, and finish its cancellation.  The caller holds the event and the order."""
    move(order, to=OrderStatus.CANCELLED)
    for cancellation in order.cancellations.select_for_update(no_key=True).filter(status=CancellationStatus.EXECUTING):
        finish(cancellation, outcome=outcome, now=now)


def move(order: PaymentOrder, *, to: OrderStatus) -> None:
    """Change the order's status and tell of it."""
    require_transition(order.status, to=to, what=order.public_id)
    if order.tendered:
        tenders.let_go([order.pk])
    order.status, order.failure_code, order.tendered = to, VOIDED if to == OrderStatus.FAILED else "", order.tendered * 0
    order.told += 1
    order.save(update_fields=["status", "failure_code", "told", "tendered"])
    notifications.publish([news.released_order_news(order)])


def finish(cancellation: Cancellation, *, now: datetime, outcome: str = "", failure_code: str = "") -> None:
    """End a cancellation: with its outcome, or failed with the reason.  It is told."""
    cancellation.status = CancellationStatus.FAILED if failure_code else CancellationStatus.SUCCESS
    cancellation.outcome, cancellation.failure_code, cancellation.finished_at = outcome, failure_code, now
    cancellation.told += 1
    cancellation.save()
    notifications.publish([news.cancellation_news(cancellation)])


# --- Following what others decided ------------------------------------------------------------------------------------

# The order's charge was declined after all; or it is paid, and its refund is not asked for yet, has failed, or succeeded as the last one.
UNDER_WAY = Refund.objects.filter(late_charge__isnull=True, status=RefundStatus.EXECUTING)
MAY_GO_ON = Q(order__status=OrderStatus.FAILED) | Q(order__status=OrderStatus.SUCCESS) & (
    Q(refund__isnull=True)
    | Q(refund__status=RefundStatus.FAILED)
    | Q(refund__status=RefundStatus.SUCCESS) & ~Exists(UNDER_WAY.filter(order=OuterRef("order")))
)


def follow(*, now: datetime, limit: int = 100) -> int:
    """Take every cancellation a step further that waits for one; return how many did."""
    return take_steps(waiting().order_by("id")[:limit], now=now)


def follow_settled(order_ids: Sequence[int], *, now: datetime) -> int:
    """Take the cancellations of these orders a step further: what was settled is refunded, what was declined is called off."""
    return take_steps(waiting().filter(order__in=order_ids), now=now)


def waiting() -> QuerySet[Cancellation]:
    return Cancellation.objects.filter(MAY_GO_ON, status=CancellationStatus.EXECUTING).select_related("order", "refund")


def take_steps(cancellations: Iterable[Cancellation], *, now: datetime) -> int:
    return sum(goes_on(cancellation, now=now) for cancellation in list(cancellations))


def goes_on(cancellation: Cancellation, *, now: datetime) -> bool:
    """Take one step; what cannot be booked holds up no other."""
    try:
        take_step(cancellation.pk, now=now)
    except settlement.CANNOT_BOOK as error:
        logger.error("cancellation %s cannot go on: %s", cancellation.public_id, error)
        return False
    return True


@transaction.atomic(durable=True)
def take_step(cancellation_id: int, *, now: datetime) -> None:
    """Call off an order whose charge was declined, refund one that was paid, or end the cancellation with its refund.

    Its refund is not the end while others of the order are under way, nor where one of them failed: then the rest is refunded too.
    Locks the event, the order, then the cancellation.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders__cancellations=cancellation_id)
    order = PaymentOrder.objects.select_for_update(no_key=True).get(cancellations=cancellation_id)
    cancellation = Cancellation.objects.select_for_update(no_key=True).get(pk=cancellation_id)
    if cancellation.status != CancellationStatus.EXECUTING:
        return
    if order.status == OrderStatus.FAILED:
        call_off(order, outcome=Cancellation.Outcome.CANCELLED, now=now)
        settlement.close_events([event.pk])
    elif order.status == OrderStatus.SUCCESS and cancellation.refund is None:
        refund_or_fail(order, cancellation, now=now)
    elif cancellation.refund is not None and cancellation.refund.status == RefundStatus.FAILED:
        end_without(cancellation.refund, cancellation, order, now=now)
    elif cancellation.refund is not None and not UNDER_WAY.filter(order=order).exists():
        if order.left > gone_of_a_purchase(cancellation.refund):
            refund_or_fail(order, cancellation, now=now)
        else:
            finish(cancellation, outcome=Cancellation.Outcome.REFUNDED, now=now)


def gone_of_a_purchase(refund: Refund) -> Money:
    """Return what of a gift card's or top-up's payment went back although it was spent: nobody can give that back a second time."""
    return refund.borne if refund.takes_from_id is not None else refund.borne * 0


def end_without(failed: Refund, cancellation: Cancellation, order: PaymentOrder, *, now: datetime) -> None:
    """End a cancellation whose own refund failed: it has failed, unless others give all of the order back, or the void of its charge will.

    It waits for what is under way, and ends with the refund that gave the last back.
    """
    waits = failed.failure_code == VOIDED if order.left else UNDER_WAY.filter(order=order).exists()
    if waits:
        return
    others = order.refunds.filter(late_charge__isnull=True, cancellation__isnull=True, status=RefundStatus.SUCCESS)
    last = None if order.left else others.order_by("-id").first()
    if last is None:
        finish(cancellation, failure_code=failed.failure_code or "refund_failed", now=now)
    else:
        cancellation.refund = last
        finish(cancellation, outcome=Cancellation.Outcome.REFUNDED, now=now)


def refund_or_fail(order: PaymentOrder, cancellation: Cancellation, *, now: datetime) -> None:
    """Reserve the refund of all that is left of a paid order; if it cannot be refunded, the cancellation has failed."""
    try:
        cancellation.refund = refund_of(order, cancellation, now=now)
        cancellation.save(update_fields=["refund"])
    except NotCancellable as refusal:
        finish(cancellation, failure_code=refusal.code, now=now)
