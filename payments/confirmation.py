"""Confirmation: the buyer said yes.  All payable orders of a checkout start executing at once, each with its row in the executor's queue.

The buyer confirms once for the whole basket; the token of that confirmation is then charged once per order, under a key that is stored
here, before anything is sent.  Confirming again while orders execute, or by a wish that started them before - a session of the PSP, or
a shop's Idempotency-Key, however long ago - changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from django.db import transaction
from djmoney.money import Money

from ledger.errors import DomainError
from ledger.money import text
from payments import dead_letters, queries, settlement, tenders
from payments.models import Cancellation, DueOrder, PaymentEvent, PaymentOrder
from payments.psp.protocol import Session
from payments.settlement import Capture
from payments.states import PAYABLE, CancellationStatus, OrderStatus, require_transition

MOST_CONFIRMATIONS = 10
TOLD = ("card_brand", "card_last4", "method", "card_funding", "card_country")  # what the PSP tells of the buyer's way to pay


class CheckoutExpired(DomainError):
    code = "checkout_expired"


class NothingToPay(DomainError):
    code = "nothing_to_pay"


class OrderCancelled(DomainError):
    code = "order_cancelled"


class AmountChanged(DomainError):
    code = "amount_changed"


class TooManyTries(DomainError):
    code = "too_many_tries"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """How the buyer chose to pay: the PSP's session and token, the amount that was confirmed, and what the PSP tells of the card.

    The amount is what the PSP is to charge: nothing at all, without a token, where gift cards and the buyer's wallet pay everything.
    """

    session: str
    payment_token: str
    amount: Money
    card_brand: str = ""
    card_last4: str = ""
    method: str = ""
    card_funding: str = ""
    card_country: str = ""

    @classmethod
    def by(cls, session: Session) -> Self:
        """Return what the buyer confirmed in that session of the PSP."""
        return cls(
            session.id,
            session.payment_token,
            session.amount,
            session.card_brand,
            session.card_last4,
            session.method,
            session.card_funding,
            session.card_country,
        )


@transaction.atomic(durable=True)
def confirm(event_id: int, confirmed: Confirmed, *, now: datetime) -> list[PaymentOrder]:
    """Start every payable order of the event; return those started now (none, if this session ever started one of them).

    What the chosen gift cards and wallet can pay is held on the orders; an order that they pay whole is settled here and now, by this very
    transaction.  Locks the event, its orders, then the stored values.  Raises NothingToPay, CheckoutExpired, TooManyTries, and
    AmountChanged when the session was opened for another sum than is to be charged now.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(pk=event_id)
    orders = list(event.orders.order_by("id").select_for_update(no_key=True))
    payable = payable_of(orders)
    if any(order.status == OrderStatus.EXECUTING or was_started_by(order, confirmed.session) for order in orders):
        return []
    require_open(event, payable, now=now)
    plan = tenders.locked_plan(event, queries.sum_of(payable), now=now)
    if plan.rest != confirmed.amount:
        then, now_due = (f"{text(amount)} {amount.currency}" for amount in (confirmed.amount, plan.rest))
        raise AmountChanged(f"{then} were confirmed, but {now_due} are to pay. Load the page again.")
    event.confirmed_session = confirmed.session
    for told in TOLD:
        setattr(event, told, getattr(confirmed, told))
    event.confirmations += 1
    event.save(update_fields=["confirmations", "confirmed_session", *TOLD])
    tenders.hold(payable, plan)
    start(payable, payment_token=confirmed.payment_token, confirmed_by=confirmed.session, now=now)
    settlement.record([paid_by_tenders(order, now=now) for order in payable if not order.charge])
    return payable


@transaction.atomic(durable=True)
def confirm_order(order_id: int, *, payment_token: str, once: str, now: datetime) -> PaymentOrder:
    """Start one order with payment details that the shop has from the PSP; one that is executing or paid already is left as it is.

    `once` is the shop's name for this wish (its Idempotency-Key): the same wish never starts the order twice, whatever became of it.
    Locks the event, then the order.  Raises OrderCancelled (also where that is under way), CheckoutExpired, TooManyTries.
    """
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=order_id)
    order = event.orders.select_for_update(no_key=True).get(pk=order_id)
    if order.status in (OrderStatus.EXECUTING, OrderStatus.SUCCESS):
        return order
    if not payable_of([order]):
        raise OrderCancelled(f"{order.public_id} is cancelled, or about to be: it cannot be paid any more.")
    if not was_started_by(order, once):
        require_open(event, [order], now=now)
        start([order], payment_token=payment_token, confirmed_by=once, now=now)
    return order


def was_started_by(order: PaymentOrder, wish: str) -> bool:
    return wish == order.confirmed_by or wish in order.confirmed_before


def payable_of(orders: Sequence[PaymentOrder]) -> list[PaymentOrder]:
    """Return those of the locked orders that may be paid: one that failed while it was being cancelled may not."""
    payable = [order for order in orders if order.status in PAYABLE]
    cancelling = Cancellation.objects.filter(order__in=payable, status=CancellationStatus.EXECUTING).values_list("order_id", flat=True)
    kept_out = set(cancelling) if payable else set()
    return [order for order in payable if order.pk not in kept_out]


def require_open(event: PaymentEvent, payable: Sequence[PaymentOrder], *, now: datetime) -> None:
    if not payable:
        raise NothingToPay(f"Nothing of {event.public_id} is left to pay.")
    if event.is_payment_done or event.expires_at <= now:
        raise CheckoutExpired(f"{event.public_id} can no longer be paid. Start again in the shop.")
    tries = max(order.confirmations for order in payable)
    if max(tries, event.confirmations) >= MOST_CONFIRMATIONS:
        raise TooManyTries(f"{event.public_id} was tried {max(tries, event.confirmations)} times. Start again in the shop.")


def start(orders: Sequence[PaymentOrder], *, payment_token: str, confirmed_by: str, now: datetime) -> None:
    """Move the orders to EXECUTING and queue them.  The first key of an order is its id; each later confirmation has a key of its own.

    What was left to a person about an earlier execution is over.
    """
    for order in orders:
        require_transition(order.status, to=OrderStatus.EXECUTING, what=order.public_id)
        if order.confirmed_by:
            order.confirmed_before.append(order.confirmed_by)
        order.status, order.confirmed_by, order.payment_token = OrderStatus.EXECUTING, confirmed_by, payment_token
        order.confirmations += 1
    PaymentOrder.objects.bulk_update(orders, ["status", "confirmed_by", "confirmed_before", "confirmations", "payment_token", "tendered"])
    DueOrder.objects.bulk_create(
        DueOrder(order=order, psp_key=psp_key_of(order), payment_token=payment_token, next_attempt_at=now) for order in orders
    )
    dead_letters.close_of([order.pk for order in orders], note="The buyer pays again.")


def paid_by_tenders(order: PaymentOrder, *, now: datetime) -> Capture:
    """Return what is known of an order that needs no PSP: nothing is charged, and it is paid."""
    return Capture(order.pk, 0, psp_key_of(order), "", order.charge, now)


def psp_key_of(order: PaymentOrder) -> str:
    return order.public_id if order.confirmations == 1 else f"{order.public_id}:{order.confirmations}"
