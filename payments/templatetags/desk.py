"""Finance's first page: what waits, what is unknown, what stands, each figure a link to its rows.

Asks narrow tables (the queues) and small indexes only (ledger/figures.py).
"""

from dataclasses import dataclass
from datetime import timedelta

from django import template
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from djmoney.money import Money

from ledger import clock
from ledger.figures import Figure, figure, since
from ledger.models import Account
from ledger.queries import balance_of
from payments import queries
from payments.models import (
    CircuitBreaker,
    DeadLetter,
    Dispute,
    DueOrder,
    LateCharge,
    OpenCheckout,
    PaymentOrder,
    PspEvent,
    Refund,
)
from payments.states import DisputeStatus, RefundStatus

register = template.Library()

LATELY = timedelta(days=7)
ACCOUNTS = {
    "operating_bank": gettext_lazy("on our bank account"),
    "bank_in_transit": gettext_lazy("on its way to our bank account"),
    "psp_receivable": gettext_lazy("to come from the PSP (%(owner)s)"),
    "fee_revenue": gettext_lazy("fees we earned"),
    "psp_fees": gettext_lazy("fees the PSPs charged us"),
    "owed_to_buyers": gettext_lazy("owed to buyers"),
    "payouts_in_transit": gettext_lazy("on its way to sellers' banks"),
    "paid_twice": gettext_lazy("paid out twice, to be called back"),
    "disputed": gettext_lazy("in open disputes (%(owner)s)"),
    "suspense": gettext_lazy("not explained yet"),
}
MOST_ACCOUNTS = 30


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on one of the platform's own accounts."""

    account: Account
    amount: Money

    @property
    def what(self) -> str:
        kind, _colon, owner = self.account.code.partition(":")
        return str(ACCOUNTS[kind]) % {"owner": owner}


@register.simple_tag
def troubles() -> list[Figure]:
    """Return what there should be none of, and somebody should look at if there is."""
    now = clock.now()
    parked = since(PspEvent, "received_at", now - LATELY).filter(status=PspEvent.Status.PARKED)
    undecided = DeadLetter.objects.filter(decided_at=None)
    disputes = Dispute.objects.filter(status=DisputeStatus.OPEN)
    too_late = LateCharge.objects.filter(seen_at=None)
    left_alone = CircuitBreaker.objects.exclude(opened_at=None)
    return [
        figure(undecided, _("dead letters to decide"), "payments_deadletter", "decided_at_is=open"),
        figure(disputes, _("disputes open"), "payments_dispute", "status__exact=open"),
        figure(too_late, _("late charges not noted"), "payments_latecharge", "seen_at_is=open"),
        figure(queries.overdue(now=now), _("orders overdue by more than five minutes"), "payments_dueorder", "waits=overdue"),
        figure(queries.unknown(now=now), _("outcomes unknown for more than five minutes"), "payments_pspattempt", "outcome_is=unknown"),
        figure(
            parked, _("messages from the PSP set aside in the past seven days"), "payments_pspevent", "status__exact=parked&past_hours=168"
        ),
        figure(left_alone, _("kinds of call to a PSP stopped for now, after failures"), "payments_circuitbreaker", "opened_at_is=done"),
    ]


@register.simple_tag
def work() -> list[Figure]:
    """Return what is under way."""
    received = PspEvent.objects.filter(status=PspEvent.Status.RECEIVED)
    refunds = Refund.objects.filter(status=RefundStatus.EXECUTING)
    lately = since(PaymentOrder, "created_at", timezone.now() - timedelta(hours=24))
    return [
        figure(OpenCheckout.objects.all(), _("checkouts open"), "payments_paymentevent", "status__exact=open"),
        figure(DueOrder.objects.all(), _("orders being charged"), "payments_dueorder"),
        figure(received, _("messages from the PSP to take in"), "payments_pspevent", "status__exact=received"),
        figure(refunds, _("refunds under way"), "payments_refund", "status__exact=EXECUTING"),
        figure(lately, _("orders opened in the past 24 hours"), "payments_paymentorder", "past_hours=24"),
    ]


@register.simple_tag
def balances() -> list[Balance]:
    """Return what stands on the platform's own accounts."""
    of_a_psp = Q(code__startswith="psp_receivable:") | Q(code__startswith="disputed:")
    own = Account.objects.filter(Q(code__in=ACCOUNTS) | of_a_psp).order_by("currency", "code")
    return [Balance(account, balance_of(account.code, currency=account.currency)) for account in own[:MOST_ACCOUNTS]]
