"""Payout currencies in the admin: in which currency a seller is paid out, with whatever is available in others converted into it first."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, time_column
from ledger.deeds import actor_in
from ledger.titles import Entitled
from payouts import conversions
from payouts.models import PayoutCurrency


class PayoutCurrencyForm(forms.ModelForm):  # type: ignore[type-arg]
    """The seller, and the currency: none, if each is paid out as it is."""

    currency = forms.ChoiceField(
        label=_("Currency"),
        choices=[("", _("Each as it is")), *((code, code) for code in settings.CURRENCIES)],
        required=False,
        help_text=_("What is available in other currencies is converted into it before each payout, at the rate of that day"),
    )

    class Meta:
        model = PayoutCurrency
        fields = ("seller", "currency")


@admin.register(PayoutCurrency)
class PayoutCurrencyAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = PayoutCurrencyForm
    list_display = ("seller", "currency_shown", "chosen_by", time_column("chosen_at", _("since")))
    list_select_related = ("seller",)
    list_filter = ("currency",)
    search_fields = ("seller__name", "seller__public_id__exact")
    autocomplete_fields = ("seller",)
    show_full_result_count = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: PayoutCurrency | None = None) -> Any:
        return ("seller",) if obj else ()

    def save_model(self, request: HttpRequest, obj: PayoutCurrency, form: Any, change: bool) -> None:
        obj.pk = conversions.choose(obj.seller, obj.currency, by=actor_in(request), now=clock.now()).pk

    @admin.display(description=_("currency"))
    def currency_shown(self, chosen: PayoutCurrency) -> SafeString | str:
        return chosen.currency or NOTHING
