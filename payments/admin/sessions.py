"""PSPs' sessions of checkouts in the admin: which way to pay the buyer began, what it was to charge, and what became of it.

Looked at and changed by nobody here: what the buyer approved, only the PSP's own answer says (payments/sessions.py).
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger.admin import CurrencyFilter, LookOnly, link, money_column, recent, time_column
from payments.admin.columns import method_shown, of_payments_called, path_of_payment, payment_link, session_shown
from payments.methods.registry import METHODS
from payments.models import CheckoutSession, SavedCard
from wallet.admin import pretty


class MethodFilter(admin.SimpleListFilter):
    """One of the ways to pay in which a PSP has part: asked of the code, not of the large table."""

    title = _("method")
    parameter_name = "method"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(method.name, method.label) for method in METHODS.values() if method.needs_psp]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(method=self.value()) if self.value() else queryset


@admin.register(CheckoutSession)
class CheckoutSessionAdmin(LookOnly):
    list_display = (
        session_shown,
        payment_link,
        method_shown,
        money_column("amount", _("to charge")),
        "status",
        "failure_code",
        time_column("created_at", _("opened")),
    )
    list_select_related = ("event",)
    list_filter = ("status", MethodFilter, CurrencyFilter, recent("created_at"))
    search_help_text = _("A payment's id, a checkout id, the id or reference of an order, or the PSP's session of a payment page")
    fields = (
        session_shown,
        payment_link,
        path_of_payment,
        method_shown,
        "card",
        money_column("amount", _("to charge")),
        "status",
        "failure_code",
        "psp",
        "session_there",
        "schedule_shown",
        time_column("created_at", _("opened")),
        time_column("expires_at", _("expires")),
        time_column("look_at", _("the PSP is asked next")),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[CheckoutSession]:
        return super().get_queryset(request).defer("code_text")  # whoever has it may pay with it

    def sought(self, term: str) -> Q:
        return of_payments_called(term) | Q(psp__in={settings.DEFAULT_PSP, *settings.FILE_SOURCES}, session=term)

    @admin.display(description=_("saved card"))
    def card(self, row: CheckoutSession) -> SafeString | str:
        return link(SavedCard, row.saved_card_id, f"{row.saved_card}" if row.saved_card_id else "")

    @admin.display(description=_("PSP's session"))
    def session_there(self, row: CheckoutSession) -> str:
        return row.session

    @admin.display(description=_("paid later"))
    def schedule_shown(self, row: CheckoutSession) -> SafeString | str:
        return pretty(row.schedule)
