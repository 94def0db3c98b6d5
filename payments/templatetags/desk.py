"""Finance's first page: what waits, what is unknown, what stands, each figure a link to its rows.

Asks narrow tables (the queues) and small indexes only, and counts no further than a thousand.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.db import models
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger import clock, queries, seek
from ledger.admin import MOST_SHOWN
from ledger.models import Account
from payments.models import (
    CircuitBreaker,
    DeadLetter,
    Dispute,
    DueOrder,
    LateCharge,
    OpenCheckout,
    PaymentOrder,
    PspAttempt,
    PspEvent,
    Refund,
)
from payments.states import UNRESOLVED, DisputeStatus, PspOperation, RefundStatus

register = template.Library()

OVERDUE = timedelta(minutes=5)
LATELY = timedelta(days=7)
PLATFORM_ACCOUNTS = ("operating_bank", "fee_revenue", "psp_fees", "suspense")
MOST_ACCOUNTS = 20


@dataclass(frozen=True, slots=True)
class Figure:
    """How many rows there are of something, and where they are listed."""

    count: int
    what: str
    address: str

    @property
    def shown(self) -> str:
        return f"{self.count}" if self.count < MOST_SHOWN else f"{MOST_SHOWN}+"


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on one of the platform's own accounts."""

    account: Account
    amount: Money


@register.simple_tag
def troubles() -> list[Figure]:
    """Return what there should be none of, and somebody should look at if there is."""
    now = clock.now()
    late = DueOrder.objects.filter(next_attempt_at__lt=now - OVERDUE)
    charges = PspAttempt.objects.filter(operation=PspOperation.CHARGE, order__due__psp_key=F("psp_key"))
    unknown = charges.filter(status__in=UNRESOLVED, created_at__lt=now - OVERDUE)
    parked = since(PspEvent, "received_at", now - LATELY).filter(status=PspEvent.Status.PARKED)
    undecided = DeadLetter.objects.filter(decided_at=None)
    disputes = Dispute.objects.filter(status=DisputeStatus.OPEN)
    too_late = LateCharge.objects.filter(seen_at=None)
    left_alone = CircuitBreaker.objects.exclude(opened_at=None)
    return [
        figure(undecided, _("dead letters to decide"), "deadletter", "decided_at_is=open"),
        figure(disputes, _("disputes open"), "dispute", "status__exact=open"),
        figure(too_late, _("late charges not noted"), "latecharge", "seen_at_is=open"),
        figure(late, _("orders overdue by more than five minutes"), "dueorder"),
        figure(unknown, _("outcomes unknown for more than five minutes"), "dueorder"),
        figure(parked, _("webhooks parked in the past seven days"), "pspevent", "status__exact=parked&past_hours=168"),
        figure(left_alone, _("PSP lines left alone for now"), "circuitbreaker", "opened_at_is=done"),
    ]


@register.simple_tag
def work() -> list[Figure]:
    """Return what is under way."""
    received = PspEvent.objects.filter(status=PspEvent.Status.RECEIVED)
    refunds = Refund.objects.filter(status=RefundStatus.EXECUTING)
    lately = since(PaymentOrder, "created_at", timezone.now() - timedelta(hours=24))
    return [
        figure(OpenCheckout.objects.all(), _("checkouts open"), "paymentevent", "status__exact=open"),
        figure(DueOrder.objects.all(), _("orders in the executor's queue"), "dueorder"),
        figure(received, _("webhooks to apply"), "pspevent", "status__exact=received"),
        figure(refunds, _("refunds under way"), "refund", "status__exact=EXECUTING"),
        figure(lately, _("orders opened in the past 24 hours"), "paymentorder", "past_hours=24"),
    ]


@register.simple_tag
def balances() -> list[Balance]:
    """Return what stands on the platform's own accounts."""
    own = Account.objects.filter(Q(code__in=PLATFORM_ACCOUNTS) | Q(code__startswith="psp_receivable:")).order_by("currency", "code")
    return [Balance(account, queries.balance_of(account.code, currency=account.currency)) for account in own[:MOST_ACCOUNTS]]


def figure(rows: QuerySet[Any], what: str, model_name: str, query: str = "") -> Figure:
    """Count the rows, up to as many as their list shows."""
    address = reverse(f"admin:payments_{model_name}_changelist")
    return Figure(len(rows.values_list("pk")[:MOST_SHOWN]), what, f"{address}?{query}" if query else address)


def since(model: type[models.Model], column: str, moment: datetime) -> QuerySet[Any]:
    """Return the rows written since then, found without an index on the time."""
    return model._default_manager.filter(**{"pk__gte": seek.first_id_since(model, column, moment), f"{column}__gte": moment})
