"""Payments in the admin: a payment's page is its time line, from the checkout's opening to the books."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger.admin import NOTHING, CurrencyFilter, LookOnly, link, money_column, recent, time_column, whole_path
from payments.admin.columns import MOST_SOUGHT, events_called, orders_called, transitions_column
from payments.admin.receipts import state_of
from payments.admin.rows import OrderRows, SessionRows
from payments.models import PaymentEvent, PaymentOrder, ReceiptMail, Transition
from payments.timeline import Moment, timeline_of
from wallet.admin import pretty


def written(moments: list[Moment]) -> str:
    """Return a time line as HTML, each moment a link to its row."""
    lines = [(moment, link(type(moment.row), moment.row.pk, moment.what)) for moment in moments]
    return render_to_string("admin/_timeline.html", {"moments": lines})


@admin.register(PaymentEvent)
class PaymentEventAdmin(LookOnly):
    list_display = (
        "checkout_id",
        money_column("amount", _("amount")),
        "status",
        "shop",
        "buyer",
        time_column("created_at", _("opened")),
    )
    list_select_related = ("shop", "buyer")
    list_filter = ("status", "shop", CurrencyFilter, recent("created_at"))
    search_help_text = _("A payment's id, a checkout id, the id or reference of an order, or a seller's name")
    inlines = (OrderRows, SessionRows)
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "public_id",
                    whole_path,
                    "checkout_id",
                    "shop",
                    "buyer",
                    money_column("amount", _("amount")),
                    "status",
                    "is_payment_done",
                    "receipt",
                )
            },
        ),
        (_("Time line"), {"fields": ("timeline",), "classes": ("wide", "timeline-set")}),
        (
            _("Particulars"),
            {
                "classes": ("collapse",),
                "fields": (
                    "psp",
                    "psp_session",
                    "confirmed_session",
                    "confirmations",
                    "method",
                    "card_brand",
                    "card_funding",
                    "card_country",
                    "card_last4",
                    "buyer_country",
                    "statement_name",
                    "return_url",
                    "locale",
                    "data",
                    time_column("created_at", _("opened")),
                    time_column("expires_at", _("expires")),
                    transitions_column(Transition.Kind.EVENT),
                ),
            },
        ),
    )
    readonly_fields = tuple(name for _title, options in fieldsets for name in options["fields"])

    def sought(self, term: str) -> Q:
        orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("event_id", flat=True)[:MOST_SOUGHT]
        return Q(pk__in=events_called(term)) | Q(pk__in=list(orders))

    @admin.display(description=_("time line"))
    def timeline(self, event: PaymentEvent) -> str:
        return written(timeline_of(event))

    @admin.display(description=_("receipt by e-mail"))
    def receipt(self, event: PaymentEvent) -> SafeString | str:
        mail = ReceiptMail.objects.filter(pk=event.pk).first()
        return link(ReceiptMail, mail.pk, state_of(mail)) if mail else NOTHING

    @admin.display(description=_("metadata"))
    def data(self, event: PaymentEvent) -> SafeString | str:
        return pretty(event.metadata)
