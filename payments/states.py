"""The states of pay-in, each machine one table.  Detail (pending at the PSP, unknown, retry k of n) belongs to the attempt.

`FAILED` is not the end of an order while its checkout is open: the buyer may pay it another way, under a new PSP key.  It is the end once
`is_payment_done` is set.  `SUCCESS` and `CANCELLED` are final, and Postgres refuses to leave them.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _

from ledger.errors import DomainError


class OrderStatus(models.TextChoices):
    NOT_STARTED = "NOT_STARTED", _("Not started")
    EXECUTING = "EXECUTING", _("Executing")
    SUCCESS = "SUCCESS", _("Success")
    FAILED = "FAILED", _("Failed")
    CANCELLED = "CANCELLED", _("Cancelled")


class EventStatus(models.TextChoices):
    OPEN = "open", _("Open")
    PARTLY_PAID = "partly_paid", _("Partly paid")
    PAID = "paid", _("Paid")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    EXPIRED = "expired", _("Expired")


class AttemptStatus(models.TextChoices):
    SENDING = "SENDING", _("Sending")
    SUCCEEDED = "SUCCEEDED", _("Succeeded")
    DECLINED = "DECLINED", _("Declined")
    PENDING = "PENDING", _("Pending at the PSP")
    UNKNOWN = "UNKNOWN", _("Outcome unknown")
    NOT_EXECUTED = "NOT_EXECUTED", _("Not executed")


class PspOperation(models.TextChoices):
    CHARGE = "charge", _("Charge")
    REFUND = "refund", _("Refund")
    VOID = "void", _("Void")
    FIND = "find", _("Look-up")


class RefundStatus(models.TextChoices):
    EXECUTING = "EXECUTING", _("Executing")
    SUCCESS = "SUCCESS", _("Success")
    FAILED = "FAILED", _("Failed")


class CancellationStatus(models.TextChoices):
    EXECUTING = "EXECUTING", _("Executing")
    SUCCESS = "SUCCESS", _("Success")
    FAILED = "FAILED", _("Failed")


class DisputeStatus(models.TextChoices):
    OPEN = "open", _("Open")
    WON = "won", _("Won")
    LOST = "lost", _("Lost")
    PARTIAL = "partial", _("Lost in part")


class SessionStatus(models.TextChoices):
    OPEN = "open", _("Open")
    REQUIRES_ACTION = "requires_action", _("The buyer's bank asks")
    IN_REVIEW = "in_review", _("In review")
    COMPLETE = "complete", _("Approved")
    FAILED = "failed", _("Failed")
    EXPIRED = "expired", _("Expired")
    CONFIRMED = "confirmed", _("Confirmed")
    UNUSED = "unused", _("Approved, and not used")


class IllegalTransition(DomainError):
    code = "illegal_transition"


NEXT_ORDER_STATUS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.NOT_STARTED: frozenset({OrderStatus.EXECUTING, OrderStatus.FAILED, OrderStatus.CANCELLED}),
    OrderStatus.EXECUTING: frozenset({OrderStatus.SUCCESS, OrderStatus.FAILED, OrderStatus.CANCELLED}),
    OrderStatus.FAILED: frozenset({OrderStatus.EXECUTING, OrderStatus.CANCELLED}),
    OrderStatus.SUCCESS: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
}

NEXT_REFUND_STATUS: dict[RefundStatus, frozenset[RefundStatus]] = {
    RefundStatus.EXECUTING: frozenset({RefundStatus.SUCCESS, RefundStatus.FAILED}),
    RefundStatus.SUCCESS: frozenset({RefundStatus.FAILED}),  # the buyer's bank sent the money back
    RefundStatus.FAILED: frozenset({RefundStatus.SUCCESS, RefundStatus.EXECUTING}),  # it succeeded after all; a person tries it again
}

NEXT_CANCELLATION_STATUS: dict[CancellationStatus, frozenset[CancellationStatus]] = {
    CancellationStatus.EXECUTING: frozenset({CancellationStatus.SUCCESS, CancellationStatus.FAILED}),
    CancellationStatus.SUCCESS: frozenset(),
    CancellationStatus.FAILED: frozenset(),
}

NEXT_DISPUTE_STATUS: dict[DisputeStatus, frozenset[DisputeStatus]] = {
    DisputeStatus.OPEN: frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.PARTIAL}),
    DisputeStatus.WON: frozenset(),
    DisputeStatus.LOST: frozenset(),
    DisputeStatus.PARTIAL: frozenset(),
}

PAYABLE = frozenset(status for status, following in NEXT_ORDER_STATUS.items() if OrderStatus.EXECUTING in following)
UNRESOLVED = (AttemptStatus.SENDING, AttemptStatus.UNKNOWN, AttemptStatus.PENDING)  # the PSP may have taken money: ask before charging


def require_transition(current: str, *, to: OrderStatus, what: str) -> None:
    """Raise IllegalTransition unless an order may go from one status to the other."""
    if to not in NEXT_ORDER_STATUS[OrderStatus(current)]:
        raise IllegalTransition(f"{what} is {current} and cannot become {to}.")
