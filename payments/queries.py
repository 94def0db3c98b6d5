"""Questions to pay-in's rows.  The one that locks says so; the others write nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet
from djmoney.money import Money

from ledger import money, retries
from ledger.retries import Policy, Strategy
from ledger.statements import execute
from payments.fees import Return
from payments.models import (
    Cancellation,
    Dispute,
    DueOrder,
    LateCharge,
    PaymentEvent,
    PaymentOrder,
    PspAttempt,
    Refund,
    RetryPolicy,
)
from payments.states import UNRESOLVED, AttemptStatus, DisputeStatus, PspOperation, RefundStatus
from wallet.models import Shop

OVERDUE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ExecutingOrder:
    """What is known of an order whose charge is under way: what to book, for whom, and the key under which the PSP knows the charge."""

    id: int
    event_id: int
    shop_id: int
    seller_id: int
    public_id: str
    reference: str
    psp: str
    psp_key: str
    told: int
    fills_id: int | None
    amount: Money
    fee: Money
    net: Money
    tendered: Money

    @property
    def charge(self) -> Money:
        """What the PSP is asked for."""
        return self.amount - self.tendered


LOCK_EXECUTING = """
SELECT payment.id, payment.event_id, payment.shop_id, payment.seller_id, payment.public_id, payment.reference, payment.psp, due.psp_key,
       payment.told, payment.fills_id, payment.amount, payment.fee, payment.net, payment.tendered, payment.currency
FROM payments_paymentorder AS payment JOIN payments_dueorder AS due ON due.order_id = payment.id
WHERE payment.id IN (SELECT order_id FROM json_to_recordset(%s) AS outcome (order_id bigint)) AND payment.status = 'EXECUTING'
ORDER BY payment.id FOR NO KEY UPDATE OF payment
"""


def lock_executing(order_ids: Iterable[int]) -> list[ExecutingOrder]:
    """Lock those of the orders that are executing, by ascending id, and return them.  Inside the caller's transaction.

    A hundred of them are read as they are, not as models: building those would cost more than all else that settling does in Python.
    """
    rows = execute(LOCK_EXECUTING, [{"order_id": order_id} for order_id in order_ids])
    return [ExecutingOrder(*known[:10], *(Money(part, known[-1]) for part in known[10:-1])) for known in rows]


def retry_policy(psp: str, operation: str) -> Policy:
    """Return how calls of the PSP's operation are tried again: as its row says, or as the house does."""
    row = RetryPolicy.objects.filter(psp=psp, operation=operation).first()
    return Policy(Strategy(row.strategy), row.first_s, row.longest_s, row.most_tries) if row else retries.DEFAULT


def returns_of(order: PaymentOrder) -> list[Return]:
    """Return the parts of the order that went back or are going: its refunds that have not failed, and what its seller lost in disputes."""
    refunds = order.refunds.filter(late_charge__isnull=True).exclude(status=RefundStatus.FAILED)
    gone = [(refund.amount - refund.borne, refund.fee, refund.fee_policy) for refund in refunds]
    gone += [(min(lost.lost, lost.held), lost.fee_returned, lost.fee_policy) for lost in order.disputes.exclude(lost=0)]
    return [Return(amount, fee, policy == Shop.FeePolicy.PRO_RATA) for amount, fee, policy in gone]


def earned(order: PaymentOrder) -> Money:
    """Return what the order brings its seller as it stands: its net, less what refunds took, and what disputes hold or took.

    Less than nothing where a dispute holds our fee too, or the seller bears it.
    """
    nothing = money.zero(order.net.currency.code)
    refunds = order.refunds.filter(late_charge__isnull=True, status=RefundStatus.SUCCESS)
    taken = sum((refund.net for refund in refunds), start=nothing)
    for dispute in order.disputes.all():
        taken += dispute.held if dispute.status == DisputeStatus.OPEN else min(dispute.lost, dispute.held) - dispute.fee_returned
    return order.net - taken


def is_disputed(order: PaymentOrder) -> bool:
    """Is a dispute open over the charge that paid the order?  One over a charge that came too late concerns no seller."""
    return order.disputes.filter(status=DisputeStatus.OPEN, charge=charge_of(order)).exists()


def is_being_refunded(order: PaymentOrder) -> bool:
    """Is a refund of the order under way?  It may still come to nothing."""
    return order.refunds.filter(late_charge__isnull=True, status=RefundStatus.EXECUTING).exists()


def charge_of(order: PaymentOrder) -> str:
    """Return the PSP's id of the charge that paid the order ("" if there is none); one that came too late as well is not it."""
    succeeded = PspAttempt.objects.filter(order=order, operation=PspOperation.CHARGE, status=AttemptStatus.SUCCEEDED)
    late = LateCharge.objects.filter(order=order).values("psp_reference")
    return succeeded.exclude(psp_reference__in=late).values_list("psp_reference", flat=True).first() or ""


def method_of(order: PaymentOrder) -> str:
    """Return the way in which the order's charge was paid, as the PSP calls it; "" if that is not known: the shop brought a token for it.

    Orders of one checkout may be paid in several ways, if one was declined and paid again.
    """
    if order.confirmed_by == order.event.confirmed_session:
        return order.event.method
    return next((row.method for row in order.event.sessions.all() if row.session == order.confirmed_by), "")


def sum_of(orders: Sequence[PaymentOrder]) -> Money:
    """Return the sum of one or more orders."""
    return sum((order.amount for order in orders[1:]), start=orders[0].amount)


STORED_VALUE = ("tenders__value__gift_card", "fills__gift_card")
HANGING_ON_ORDERS = ("attempts__refund", "refunds__late_charge", "disputes", "cancellations__refund")


def payments_of(shop: Shop) -> QuerySet[PaymentEvent]:
    """Return the shop's payments with what a reader needs to show them, in a fixed number of queries."""
    shown = ("seller", "due_release", *STORED_VALUE)
    return PaymentEvent.objects.filter(shop=shop).select_related("buyer", "shop").prefetch_related(*(f"orders__{rows}" for rows in shown))


def payments_in_detail(shop: Shop) -> QuerySet[PaymentEvent]:
    """Return the shop's payments with all that hangs on their orders, in a fixed number of queries."""
    return payments_of(shop).prefetch_related(*(f"orders__{rows}" for rows in HANGING_ON_ORDERS))


def orders_in_detail(shop: Shop) -> QuerySet[PaymentOrder]:
    """Return the shop's orders with all that hangs on them, in a fixed number of queries."""
    orders = PaymentOrder.objects.filter(shop=shop).select_related("event", "seller", "due_release")
    return orders.prefetch_related(*(*STORED_VALUE, *HANGING_ON_ORDERS))


def refunds_of(shop: Shop) -> QuerySet[Refund]:
    """Return the shop's refunds with what a reader needs to show them."""
    return Refund.objects.filter(order__shop=shop).select_related("order__event", "late_charge")


def cancellations_of(shop: Shop) -> QuerySet[Cancellation]:
    """Return the shop's cancellations with what a reader needs to show them."""
    return Cancellation.objects.filter(order__shop=shop).select_related("order__event", "refund")


def disputes_of(shop: Shop) -> QuerySet[Dispute]:
    """Return the shop's disputes with what a reader needs to show them."""
    return Dispute.objects.filter(order__shop=shop).select_related("order__event")


def late_charges_of(shop: Shop) -> QuerySet[LateCharge]:
    """Return the shop's late charges with what a reader needs to show them."""
    return LateCharge.objects.filter(order__shop=shop).select_related("order__event").prefetch_related("refunds")


def wire(amount: Money) -> dict[str, str]:
    """Return the amount as it goes on the wire: `{"amount": "19.99", "currency": "USD"}`."""
    return {"amount": money.text(amount), "currency": amount.currency.code}


def overdue(*, now: datetime) -> QuerySet[DueOrder]:
    """Return the places in the queue that should have been worked on five minutes ago."""
    return DueOrder.objects.filter(next_attempt_at__lt=now - OVERDUE)


def unknown(*, now: datetime) -> QuerySet[PspAttempt]:
    """Return the charges, of orders in the queue, of which nobody has known for five minutes what became of them."""
    charges = PspAttempt.objects.filter(operation=PspOperation.CHARGE, order__due__psp_key=F("psp_key"))
    return charges.filter(status__in=UNRESOLVED, created_at__lt=now - OVERDUE)
