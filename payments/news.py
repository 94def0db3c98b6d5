"""What everyone who follows pay-in is told: one message for each thing that became true, published by the transaction that made it so.

Whoever publishes a message about an object holds its row, gives the message the number after the object's `told`, and writes that number
back: so the messages about one object are counted 1, 2, 3, ... in the order in which they became true.
"""

from typing import Any

from djmoney.money import Money

from payments import queries
from payments.models import Cancellation, Dispute, LateCharge, PaymentOrder, Refund
from payments.queries import ExecutingOrder
from payments.states import CancellationStatus, DisputeStatus, OrderStatus, RefundStatus
from wallet.notifications import Message


def order_news(order: ExecutingOrder, *, status: str, failure_code: str = "") -> Message:
    """What is told of an order that was locked and whose outcome is recorded now."""
    payload = {
        "id": order.public_id,
        "object": "payment_order",
        "reference": order.reference,
        "status": status,
        "failure_code": failure_code or None,
        "amount": queries.wire(order.amount),
        "fee": queries.wire(order.fee),
        "net": queries.wire(order.net),
    }
    topic = "payment_order.succeeded" if status == "SUCCESS" else "payment_order.failed"
    return Message(order.shop_id, topic, order.public_id, payload, sequence=order.told + 1)


def payment_news(shop_id: int, public_id: str, status: str, amount: Any, currency: str, told: int) -> Message:
    """What is told of a payment that is done; `told` counts this message in."""
    payload = {"id": public_id, "object": "payment", "status": status, "amount": queries.wire(Money(amount, currency))}
    return Message(shop_id, f"payment.{status}", public_id, payload, sequence=told)


def refund_news(refund: Refund) -> Message:
    """What is told of a refund as it stands; `told` counts this message in."""
    payload = {
        "id": refund.public_id,
        "object": "refund",
        "payment_order": refund.order.public_id,
        "reference": refund.reference,
        "cause": refund.cause,
        "status": refund.status,
        "failure_code": refund.failure_code or None,
        "amount": queries.wire(refund.amount),
        "fee": queries.wire(refund.fee),
        "net": queries.wire(refund.net),
        "to_stored_value": queries.wire(refund.tendered),
    }
    topic = "refund.succeeded" if refund.status == RefundStatus.SUCCESS else "refund.failed"
    return Message(refund.order.shop_id, topic, refund.public_id, payload, sequence=refund.told)


def late_charge_news(charge: LateCharge, refund: Refund) -> Message:
    """What is told of a charge that came too late: it is told once, and its refund says what becomes of it."""
    payload = {
        "id": charge.public_id,
        "object": "late_charge",
        "payment_order": charge.order.public_id,
        "amount": queries.wire(charge.amount),
        "refund": refund.public_id,
    }
    return Message(charge.order.shop_id, "late_charge.received", charge.public_id, payload, sequence=1)


def released_order_news(order: PaymentOrder) -> Message:
    """What is told of an order that was cancelled, or whose charge was voided; `told` counts this message in."""
    payload = {
        "id": order.public_id,
        "object": "payment_order",
        "reference": order.reference,
        "status": order.status,
        "failure_code": order.failure_code or None,
        "amount": queries.wire(order.amount),
        "fee": queries.wire(order.fee),
        "net": queries.wire(order.net),
    }
    topic = "payment_order.cancelled" if order.status == OrderStatus.CANCELLED else "payment_order.failed"
    return Message(order.shop_id, topic, order.public_id, payload, sequence=order.told)


def delivery_news(order: PaymentOrder) -> Message:
    """What is told of an order that was delivered; `told` counts this message in."""
    return Message(order.shop_id, "payment_order.delivered", order.public_id, delivery_of(order), sequence=order.told)


def release_news(order: PaymentOrder) -> Message:
    """What is told of an order whose money became available; `told` counts this message in."""
    return Message(order.shop_id, "payment_order.released", order.public_id, delivery_of(order), sequence=order.told)


def delivery_of(order: PaymentOrder) -> dict[str, Any]:
    return {
        "id": order.public_id,
        "object": "payment_order",
        "reference": order.reference,
        "status": order.status,
        "failure_code": None,
        "amount": queries.wire(order.amount),
        "fee": queries.wire(order.fee),
        "net": queries.wire(order.net),
        "delivered_at": order.delivered_at.isoformat() if order.delivered_at else None,
        "released_at": order.released_at.isoformat() if order.released_at else None,
    }


def cancellation_news(cancellation: Cancellation) -> Message:
    """What is told of a cancellation that is over; `told` counts this message in."""
    payload = {
        "id": cancellation.public_id,
        "object": "cancellation",
        "payment_order": cancellation.order.public_id,
        "status": cancellation.status,
        "outcome": cancellation.outcome or None,
        "failure_code": cancellation.failure_code or None,
        "refund": cancellation.refund.public_id if cancellation.refund else None,
    }
    topic = "cancellation.succeeded" if cancellation.status == CancellationStatus.SUCCESS else "cancellation.failed"
    return Message(cancellation.order.shop_id, topic, cancellation.public_id, payload, sequence=cancellation.told)


def dispute_news(dispute: Dispute) -> Message:
    """What is told of a dispute as it stands; `told` counts this message in."""
    payload = {
        "id": dispute.public_id,
        "object": "dispute",
        "payment_order": dispute.order.public_id,
        "status": dispute.status,
        "reason": dispute.reason or None,
        "amount": queries.wire(dispute.amount),
        "held": queries.wire(dispute.held),
        "lost": queries.wire(dispute.lost),
        "fee_returned": queries.wire(dispute.fee_returned),
        "evidence_due_at": dispute.evidence_due_at.isoformat() if dispute.evidence_due_at else None,
    }
    topic = "dispute.opened" if dispute.status == DisputeStatus.OPEN else "dispute.closed"
    return Message(dispute.order.shop_id, topic, dispute.public_id, payload, sequence=dispute.told)
