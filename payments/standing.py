"""Where a checkout stands, in the buyer's eyes: one state per page, what is left to pay, and whether it still can be paid.

Pure: made of the event and its orders as they were read, and the time.  The page, its status poll and the signed result all ask here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from djmoney.money import Money

from ledger import money
from payments.confirmation import MOST_CONFIRMATIONS
from payments.models import PaymentEvent, PaymentOrder
from payments.states import PAYABLE, EventStatus, OrderStatus


class State(StrEnum):
    """What the page shows.  The word is also the name of its template and the `state` of the status poll."""

    PAY = "pay"
    WAITING = "waiting"
    PAID = "paid"
    PARTLY_PAID = "partly_paid"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


RESULT_STATUS = {State.PAY: "open", State.WAITING: "pending"}  # what the shop is told; every other state goes by its own name


@dataclass(frozen=True, slots=True)
class Standing:
    """The state, the sums behind it, and whether the buyer may pay what is left."""

    state: State
    can_pay: bool
    to_pay: Money
    paid: Money

    @property
    def result_status(self) -> str:
        return RESULT_STATUS.get(self.state, self.state.value)


def standing_of(event: PaymentEvent, orders: Sequence[PaymentOrder], *, now: datetime) -> Standing:
    """Say where the checkout stands.  `orders` are all of the event's."""
    nothing = money.zero(event.amount.currency.code)
    to_pay = sum((order.amount for order in orders if order.status in PAYABLE), start=nothing)
    paid = sum((order.amount for order in orders if order.status == OrderStatus.SUCCESS), start=nothing)
    is_open = not event.is_payment_done and event.expires_at > now
    can_pay = bool(to_pay) and is_open and event.confirmations < MOST_CONFIRMATIONS
    state = state_of([order.status for order in orders], event_status=event.status, is_open=is_open)
    return Standing(state, can_pay and state != State.WAITING, to_pay, paid)


def state_of(statuses: Sequence[str], *, event_status: str, is_open: bool) -> State:
    """Choose the page: first what is under way, then what is done, then what can still be done."""
    if OrderStatus.EXECUTING in statuses:
        return State.WAITING
    is_left = any(status in PAYABLE for status in statuses)
    if OrderStatus.SUCCESS in statuses:
        return State.PARTLY_PAID if is_left else State.PAID
    if not is_left or event_status == EventStatus.CANCELLED:
        return State.CANCELLED
    if not is_open:
        return State.EXPIRED
    return State.FAILED if OrderStatus.FAILED in statuses else State.PAY
