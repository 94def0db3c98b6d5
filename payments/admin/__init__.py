"""Pay-in in the admin: payments with their time line, sessions, orders, attempts, webhooks, refunds, disputes, receipts, and the queues.

What was agreed, paid or booked is changed by no form.  What a person may decide (a refund, a dead letter) is a deed with a page of its own;
only terms for what is to come are kept here: fee schedules and retry policies.
"""

from payments.admin import dead_letters, fee_schedules, inbox, orders, payments, receipts, refunds, saved_cards, sessions, terms, thaws

__all__ = [
    "dead_letters",
    "fee_schedules",
    "inbox",
    "orders",
    "payments",
    "receipts",
    "refunds",
    "saved_cards",
    "sessions",
    "terms",
    "thaws",
]
