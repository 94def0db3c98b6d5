"""Refunds, cancellations, disputes and late charges in the admin: each with its changes, to look at.

A refund that was never sent can be stopped.  A late charge is given back by itself; finance takes note of it, so that nobody need look a
second time.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, CurrencyFilter, LookOnly, id_column, link, money_column, recent, time_column, whole_path
from ledger.deeds import Deed, WithDeeds, leave_to_the_domain
from ledger.templatetags.written import amount
from payments import rescue
from payments.admin.columns import (
    entry_link,
    journal_entry_link,
    of_orders_called,
    order_link,
    refund_link,
    still_open,
    transitions_column,
    wallet_entry_link,
)
from payments.admin.rows import AttemptRows
from payments.models import Cancellation, Dispute, LateCharge, Refund, Transition
from payments.states import PspOperation, RefundStatus


class RefundAttemptRows(AttemptRows):
    fk_name = "refund"


def stop_retries(refund: Refund, said: dict[str, Any], actor: str) -> Refund:
    rescue.require_no_letter(refund.order, refund)
    return rescue.stop_refund_retries(refund.pk, actor=actor, note=said["note"], now=clock.now())


def was_never_sent(refund: Refund) -> bool:
    """May one person end it: was the PSP never asked, and has the machine not given it up to two?"""
    is_sent = refund.attempts.filter(operation=PspOperation.REFUND).exists()
    return refund.status == RefundStatus.EXECUTING and not is_sent and not refund.dead_letters.filter(decided_at=None).exists()


@admin.register(Refund)
class RefundAdmin(WithDeeds):
    list_display = (
        id_column,
        order_link,
        money_column("amount", _("amount")),
        money_column("net", _("net")),
        "status",
        "cause",
        "reason",
        journal_entry_link,
        time_column("created_at", _("asked for")),
    )
    list_select_related = ("order",)
    list_filter = ("status", "cause", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id of a refund, or the id or reference of its order")
    inlines = (RefundAttemptRows,)
    fields = (
        "public_id",
        whole_path,
        order_link,
        "cause",
        "late_charge_link",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        money_column("tendered", _("to gift cards and the wallet")),
        money_column("borne", _("we bear")),
        "fee_policy",
        "reason",
        "reference",
        "requested_by",
        "status",
        "failure_code",
        "charge",
        "psp_reference",
        journal_entry_link,
        wallet_entry_link,
        entry_link("reversal_entry", _("entry that took it back")),
        "tries",
        "failures",
        time_column("created_at", _("asked for")),
        time_column("next_attempt_at", _("next try")),
        transitions_column(Transition.Kind.REFUND),
    )
    readonly_fields = fields
    deeds = (
        Deed(
            name="stop_retries",
            title=_("Stop the retries"),
            meaning=_("The PSP was never asked for this refund, and is not asked any more: it fails, and its money can be refunded again."),
            done=_("The refund has failed; its money can be refunded again."),
            permissions=("payments.change_refund",),
            act=stop_retries,
            is_possible=was_never_sent,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def facts(self, row: Refund) -> list[tuple[Any, Any]]:
        return [
            (_("refund"), row.public_id),
            (_("order"), row.order.public_id),
            (_("amount"), amount(row.amount)),
            (_("status"), row.get_status_display()),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | of_orders_called(term)

    @admin.display(description=_("late charge"))
    def late_charge_link(self, refund: Refund) -> SafeString | str:
        return link(LateCharge, refund.late_charge_id, refund.late_charge.public_id if refund.late_charge else "")


@admin.register(Cancellation)
class CancellationAdmin(LookOnly):
    list_display = (
        id_column,
        order_link,
        "status",
        "outcome",
        "reason",
        refund_link,
        time_column("created_at", _("asked for")),
        time_column("finished_at", _("finished")),
    )
    list_select_related = ("order", "refund")
    list_filter = ("status", "outcome", recent("created_at"))
    search_help_text = _("The id of a cancellation, or the id or reference of its order")
    fields = (
        "public_id",
        *list_display[1:5],
        "requested_by",
        "failure_code",
        *list_display[5:],
        transitions_column(Transition.Kind.CANCELLATION),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | of_orders_called(term)


@admin.register(Dispute)
class DisputeAdmin(LookOnly):
    list_display = (
        id_column,
        order_link,
        "status",
        "reason",
        money_column("amount", _("amount")),
        money_column("held", _("held")),
        money_column("lost", _("lost")),
        time_column("evidence_due_at", _("evidence until")),
        time_column("opened_at", _("opened")),
    )
    list_select_related = ("order",)
    list_filter = ("status", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id of a dispute, ours or the PSP's, or the id or reference of its order")
    fields = (
        "public_id",
        whole_path,
        order_link,
        "psp",
        "psp_reference",
        "status",
        "reason",
        money_column("amount", _("amount")),
        money_column("held", _("held")),
        money_column("lost", _("lost")),
        money_column("fee", _("the PSP's fee")),
        money_column("fee_returned", _("our fee, given back")),
        time_column("opened_at", _("opened")),
        time_column("evidence_due_at", _("evidence until")),
        time_column("closed_at", _("decided")),
        journal_entry_link,
        wallet_entry_link,
        entry_link("closing_entry", _("closing entry")),
        transitions_column(Transition.Kind.DISPUTE),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(psp_reference=term) | of_orders_called(term)


def take_note(late: LateCharge, said: dict[str, Any], actor: str) -> LateCharge:
    LateCharge.objects.filter(pk=late.pk, seen_at=None).update(seen_at=clock.now(), seen_by=actor)
    return late


@admin.register(LateCharge)
class LateChargeAdmin(WithDeeds):
    list_display = (
        id_column,
        order_link,
        money_column("amount", _("amount")),
        "psp_reference",
        "refund_status",
        time_column("charged_at", _("charged")),
        time_column("seen_at", _("noted")),
    )
    list_select_related = ("order",)
    list_filter = (
        still_open("seen_at", _("state"), open_words=_("Not noted"), done_words=_("Noted")),
        CurrencyFilter,
        recent("created_at"),
    )
    search_help_text = _("The id of a late charge, the PSP's of the charge, or the id or reference of its order")
    fields = (
        "public_id",
        whole_path,
        order_link,
        money_column("amount", _("amount")),
        "psp",
        "psp_key",
        "psp_reference",
        "refund_status",
        journal_entry_link,
        time_column("charged_at", _("charged")),
        time_column("created_at", _("heard of")),
        time_column("seen_at", _("noted")),
        "seen_by",
    )
    readonly_fields = fields
    deeds = (
        Deed(
            name="note",
            title=_("Take note"),
            meaning=_(
                "This charge came when its order could not take it any more. It is booked as owed to the buyer and goes back by itself."
            ),
            done=_("Noted."),
            permissions=("payments.change_latecharge",),
            act=take_note,
            is_possible=lambda late: late.seen_at is None,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LateCharge]:
        return super().get_queryset(request).prefetch_related("refunds")

    def facts(self, row: LateCharge) -> list[tuple[Any, Any]]:
        return [
            (_("order"), row.order.public_id),
            (_("order is"), row.order.get_status_display()),
            (_("amount"), amount(row.amount)),
            (_("refund"), self.refund_status(row)),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(psp_reference=term) | of_orders_called(term)

    @admin.display(description=_("refund"))
    def refund_status(self, late: LateCharge) -> SafeString | str:
        return link(Refund, late.refund.pk, late.refund.get_status_display()) if late.refunds.all() else NOTHING
