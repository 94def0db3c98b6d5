"""The tables of rows that belong to the row on the page: a payment's orders, and what hangs on an order or a refund."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger.admin import Rows, money_column, time_column
from payments.admin.columns import journal_entry_link, method_shown, own_link, refund_link, seller_link, session_link, wallet_entry_link
from payments.models import Cancellation, CheckoutSession, DeadLetter, Dispute, LateCharge, PaymentOrder, PspAttempt, Refund, Tender


class OrderRows(Rows):
    model = PaymentOrder
    fields = readonly_fields = (
        own_link,
        seller_link,
        "status",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        journal_entry_link,
        wallet_entry_link,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentOrder]:
        return super().get_queryset(request).select_related("seller")


class SessionRows(Rows):
    model = CheckoutSession
    fields = readonly_fields = (
        session_link,
        method_shown,
        money_column("amount", _("to charge")),
        "status",
        "failure_code",
        time_column("created_at", _("opened")),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CheckoutSession]:
        return super().get_queryset(request).defer("code_text")  # whoever has it may pay with it


class AttemptRows(Rows):
    model = PspAttempt
    fields = readonly_fields = (
        own_link,
        "operation",
        "psp_key",
        "status",
        "psp_reference",
        "error_code",
        time_column("created_at", _("sent")),
        time_column("finished_at", _("finished")),
    )


class RefundRows(Rows):
    model = Refund
    fk_name = "order"
    fields = readonly_fields = (
        own_link,
        "cause",
        "status",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        journal_entry_link,
        wallet_entry_link,
    )


class TenderRows(Rows):
    model = Tender
    fields = readonly_fields = (
        "value",
        money_column("amount", _("amount")),
        money_column("refunded", _("went back")),
        "status",
        time_column("created_at", _("held since")),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tender]:
        return super().get_queryset(request).select_related("value")


class CancellationRows(Rows):
    model = Cancellation
    fields = readonly_fields = (own_link, "status", "outcome", "reason", refund_link, time_column("created_at", _("asked for")))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cancellation]:
        return super().get_queryset(request).select_related("refund")


class DisputeRows(Rows):
    model = Dispute
    fields = readonly_fields = (
        own_link,
        "status",
        "reason",
        money_column("amount", _("amount")),
        money_column("held", _("held")),
        money_column("lost", _("lost")),
        time_column("evidence_due_at", _("evidence until")),
    )


class LateChargeRows(Rows):
    model = LateCharge
    fields = readonly_fields = (own_link, money_column("amount", _("amount")), "psp_reference", time_column("charged_at", _("charged")))


class DeadLetterRows(Rows):
    model = DeadLetter
    fields = readonly_fields = (own_link, "reason", "decision", "decided_by", "note", time_column("created_at", _("since")))


def that_are_there(inlines: tuple[type[Rows], ...], row: Any) -> list[type[Rows]]:
    """Return the tables that have rows for the row on the page: a page of seven empty tables tells nobody anything."""
    return [inline for inline in inlines if row and inline.model._default_manager.filter(order=row).exists()]
