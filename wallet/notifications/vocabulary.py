"""The topics there are: every type of event that a shop can ask for, in the one list that publishers, endpoints and the docs agree on.

Whoever publishes a new topic adds it here and to docs/webhooks.md; tests compare all three.  `ping` is not among them: it is never asked for.
"""

TOPICS = (
    "payment.paid",
    "payment.partly_paid",
    "payment.failed",
    "payment.cancelled",
    "payment.expired",
    "payment_order.succeeded",
    "payment_order.failed",
    "payment_order.cancelled",
    "payment_order.delivered",
    "payment_order.released",
    "refund.succeeded",
    "refund.failed",
    "late_charge.received",
    "cancellation.succeeded",
    "cancellation.failed",
    "dispute.opened",
    "dispute.closed",
    "bank_account.changed",
    "payout.created",
    "payout.succeeded",
    "payout.failed",
    "payout.returned",
    "payout.cancelled",
    "conversion.created",
    "gift_card.issued",
    "gift_card.expired",
    "webhook_endpoint.disabled",
)


def is_known(wanted: str) -> bool:
    """Is this a topic, or the beginning of one up to a dot, with a star: payment_order.*?"""
    return wanted in TOPICS or (wanted.endswith(".*") and any(topic.startswith(wanted[:-1]) for topic in TOPICS))
