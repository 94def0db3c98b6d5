"""Pay-in in the admin: payments with their time line, orders, attempts, webhooks, refunds and the executor's queue, all to look at.

Only fee schedules are kept here: they are terms for orders to come.  What was agreed, paid or booked is changed by no form.
"""

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger.admin import (
    CurrencyFilter,
    LookOnly,
    Rows,
    id_column,
    link,
    money_column,
    number_in,
    recent,
    short,
    time_column,
)
from ledger.errors import DomainError
from ledger.models import JournalEntry
from ledger.money import exact, text
from payments.models import DueOrder, FeeSchedule, PaymentEvent, PaymentOrder, PspAttempt, PspEvent, Refund
from payments.timeline import timeline_of
from wallet.admin import pretty, sellers_called
from wallet.models import Seller, WalletEntry

MOST_SOUGHT = 1000


def events_called(term: str) -> list[int]:
    """Return the payments whose id or checkout id was searched for."""
    return list(PaymentEvent.objects.filter(Q(public_id=term) | Q(checkout_id=term)).values_list("pk", flat=True)[:MOST_SOUGHT])


def orders_called(term: str) -> Q:
    """Return the condition for orders by their id or reference, their payment's, their journal entry's, or their seller's."""
    if term.startswith("je_"):
        references = JournalEntry.objects.filter(pk=number_in(term)).values_list("reference", flat=True)
        return Q(public_id__in=list(references))
    own = Q(public_id=term) | (Q(reference=term) & ~Q(reference=""))
    return own | Q(event_id__in=events_called(term)) | Q(seller_id__in=sellers_called(term))


@admin.display(description=_("order"))
def order_link(row: Any) -> SafeString | str:
    return link(PaymentOrder, row.order_id, short(row.order.public_id))


@admin.display(description=_("id"))
def own_link(row: Any) -> SafeString | str:
    """The row's own page, in a table of rows that belong to another."""
    return link(type(row), row.pk, short(row.public_id) if hasattr(row, "public_id") else f"#{row.number}")


@admin.display(description=_("seller"))
def seller_link(order: PaymentOrder) -> SafeString | str:
    return link(Seller, order.seller_id, order.seller.name)


@admin.display(description=_("journal entry"))
def journal_entry_link(row: Any) -> SafeString | str:
    return link(JournalEntry, row.journal_entry_id, f"je_{row.journal_entry_id}")


@admin.display(description=_("wallet entry"))
def wallet_entry_link(row: Any) -> SafeString | str:
    return link(WalletEntry, row.wallet_entry_id, f"wen_{row.wallet_entry_id}")


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


class AttemptRows(Rows):
    model = PspAttempt
    fields = readonly_fields = (
        own_link,
        "psp_key",
        "status",
        "psp_reference",
        "error_code",
        time_column("created_at", _("sent")),
        time_column("finished_at", _("finished")),
    )


class RefundRows(Rows):
    model = Refund
    fields = readonly_fields = (
        own_link,
        "status",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        journal_entry_link,
        wallet_entry_link,
    )


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
    inlines = (OrderRows,)
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "public_id",
                    "checkout_id",
                    "shop",
                    "buyer",
                    money_column("amount", _("amount")),
                    "status",
                    "is_payment_done",
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
                    "card_brand",
                    "card_last4",
                    "return_url",
                    "locale",
                    "data",
                    time_column("created_at", _("opened")),
                    time_column("expires_at", _("expires")),
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
        moments = [(moment, link(type(moment.row), moment.row.pk, moment.what)) for moment in timeline_of(event)]
        return render_to_string("admin/_timeline.html", {"moments": moments})

    @admin.display(description=_("metadata"))
    def data(self, event: PaymentEvent) -> SafeString:
        return pretty(event.metadata)


@admin.register(PaymentOrder)
class PaymentOrderAdmin(LookOnly):
    list_display = (
        id_column,
        seller_link,
        money_column("amount", _("amount")),
        "status",
        "reference",
        "event_link",
        journal_entry_link,
        time_column("created_at", _("opened")),
    )
    list_select_related = ("seller", "event")
    list_filter = ("status", "shop", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id or reference of an order, a checkout id, a journal entry's number (je_12), or a seller's name")
    inlines = (AttemptRows, RefundRows)
    fields = (
        "public_id",
        "event_link",
        "shop",
        seller_link,
        "reference",
        "description",
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        money_column("refunded", _("refunded")),
        "status",
        "failure_code",
        journal_entry_link,
        wallet_entry_link,
        "psp",
        "lines",
        time_column("created_at", _("opened")),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return orders_called(term)

    @admin.display(description=_("payment"))
    def event_link(self, order: PaymentOrder) -> SafeString | str:
        return link(PaymentEvent, order.event_id, order.event.checkout_id)

    @admin.display(description=_("items"))
    def lines(self, order: PaymentOrder) -> SafeString:
        return pretty(order.items)


@admin.register(PspAttempt)
class PspAttemptAdmin(LookOnly):
    list_display = (
        "psp_key",
        "number",
        order_link,
        "status",
        "psp_reference",
        "error_code",
        time_column("created_at", _("sent")),
        time_column("finished_at", _("finished")),
    )
    list_select_related = ("order",)
    list_filter = ("status", recent("created_at"))
    search_help_text = _("A PSP key, or the id or reference of an order")
    fields = (order_link, *list_display[:2], "psp", *list_display[3:6], "error_message", *list_display[6:])
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("pk", flat=True)[:MOST_SOUGHT]
        return Q(psp_key=term) | Q(order_id__in=list(orders))


@admin.register(PspEvent)
class PspEventAdmin(LookOnly):
    list_display = (
        "event_id",
        "type",
        "status",
        "about",
        time_column("received_at", _("received")),
        time_column("finished_at", _("finished")),
    )
    list_filter = ("status", "psp", recent("received_at"))
    search_help_text = _("The PSP's id of a webhook")
    fields = ("psp", "event_id", "type", "about", "status", "reason", *list_display[4:], "content")
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(event_id=term)

    @admin.display(description=_("our key"))
    def about(self, event: PspEvent) -> str:
        told = event.body.get("data", {}).get("object", {}) if isinstance(event.body, dict) else {}
        return str(told.get("key", "")) if isinstance(told, dict) else ""

    @admin.display(description=_("content"))
    def content(self, event: PspEvent) -> SafeString:
        return pretty(event.body)


@admin.register(Refund)
class RefundAdmin(LookOnly):
    list_display = (
        id_column,
        order_link,
        money_column("amount", _("amount")),
        money_column("net", _("net")),
        "status",
        "reason",
        journal_entry_link,
        time_column("created_at", _("asked for")),
    )
    list_select_related = ("order",)
    list_filter = ("status", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id of a refund, or the id or reference of its order")
    fields = (
        "public_id",
        order_link,
        money_column("amount", _("amount")),
        money_column("fee", _("fee")),
        money_column("net", _("net")),
        "reason",
        "status",
        "failure_code",
        "psp_reference",
        journal_entry_link,
        wallet_entry_link,
        time_column("created_at", _("asked for")),
        time_column("next_attempt_at", _("next try")),
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("pk", flat=True)[:MOST_SOUGHT]
        return Q(public_id=term) | Q(order_id__in=list(orders))


@admin.register(DueOrder)
class DueOrderAdmin(LookOnly):
    ordering = ("next_attempt_at",)
    list_display = (
        "psp_key",
        order_link,
        "tries",
        time_column("next_attempt_at", _("due")),
        time_column("claimed_until", _("claimed until")),
    )
    list_select_related = ("order",)
    search_help_text = _("A PSP key, or the id or reference of an order")
    fields = (order_link, "psp_key", *list_display[2:])
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        orders = PaymentOrder.objects.filter(orders_called(term)).order_by("-pk").values_list("pk", flat=True)[:MOST_SOUGHT]
        return Q(psp_key=term) | Q(order_id__in=list(orders))


class FeeScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A fee: a share of the amount and a fixed part in one currency, exact to its minor unit."""

    basis_points = forms.IntegerField(label=_("Basis points"), min_value=0, max_value=10_000, help_text=_("100 basis points are 1 %"))
    in_currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES], initial="EUR")
    fixed_part = forms.DecimalField(label=_("Fixed part"), min_value=Decimal(0), initial=Decimal(0))

    class Meta:
        model = FeeSchedule
        fields = ("shop", "seller", "basis_points")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial = dict(self.initial) | {
                "in_currency": self.instance.fixed.currency.code,
                "fixed_part": text(self.instance.fixed),
            }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if {"in_currency", "fixed_part"} <= cleaned.keys():
            try:
                self.instance.fixed = exact(cleaned["fixed_part"], cleaned["in_currency"])
            except DomainError as error:
                self.add_error("fixed_part", error.detail)
        if cleaned.get("seller") and cleaned.get("shop") and cleaned["seller"].shop_id != cleaned["shop"].pk:
            self.add_error("seller", _("This seller belongs to another shop."))
        same = FeeSchedule.objects.filter(
            shop=cleaned.get("shop"), seller=cleaned.get("seller"), currency=cleaned.get("in_currency")
        ).exclude(pk=self.instance.pk)
        if same.exists():
            self.add_error("in_currency", _("There is a fee schedule for this already: change that one."))
        return cleaned


@admin.register(FeeSchedule)
class FeeScheduleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("shop", "seller", "currency", "basis_points", money_column("fixed", _("fixed part")))
    list_select_related = ("shop", "seller")
    list_filter = ("shop",)
    search_fields = ("seller__name", "shop__name")
    autocomplete_fields = ("seller",)
    show_facets = admin.ShowFacets.NEVER
    form = FeeScheduleForm
    fields = ("shop", "seller", "basis_points", "in_currency", "fixed_part")
