"""Payout schedules in the admin: when and how much a shop's sellers are paid out, or one of them; zone, day and country are checked."""

from decimal import Decimal
from typing import Any

from babel import Locale
from django import forms
from django.conf import settings
from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, CurrencyFilter, link, money_column
from ledger.errors import DomainError
from ledger.money import exact, text, zero
from ledger.templatetags.written import day, reader
from ledger.titles import Entitled
from payouts import calendars
from payouts.models import PayoutSchedule
from payouts.providers import registry
from wallet.models import Seller


def countries() -> list[tuple[str, Any]]:
    """Return the countries whose bank holidays are known, by name in the reader's language."""
    names: Locale = reader()
    known = [(code, names.territories.get(code, code)) for code in calendars.countries()]
    return [("", _("None: paid out on every day of the year")), *sorted(known, key=lambda country: country[1])]


def weekdays() -> list[tuple[int, str]]:
    return [(number + 1, reader().days["format"]["wide"][number]) for number in range(7)]


class PayoutScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """When and how much, in one currency, exact to its minor unit."""

    in_currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES], initial="EUR")
    weekday = forms.TypedChoiceField(label=_("Day of the week"), choices=weekdays, coerce=int, initial=1, help_text=_("For every week"))
    cut_off = forms.TimeField(label=_("Cut-off"), initial="00:00", help_text=_("What is available at this time of the day is paid out"))
    zone = forms.CharField(label=_("Time zone"), initial="UTC", max_length=64, help_text=_("Of the cut-off, such as Europe/Berlin"))
    holidays = forms.ChoiceField(
        label=_("Bank holidays"),
        choices=countries,
        required=False,
        help_text=_("A payout that falls on a weekend or a bank holiday there is made on the next working day"),
    )
    least = forms.DecimalField(label=_("Minimum"), min_value=Decimal(0), initial=Decimal(0), help_text=_("Less than this is not paid out"))
    kept = forms.DecimalField(label=_("Kept back"), min_value=Decimal(0), initial=Decimal(0), help_text=_("So much always stays"))
    limit = forms.DecimalField(
        label=_("Approval above"),
        min_value=Decimal(0),
        required=False,
        help_text=_(
            "A payout or a run of more than this waits until another person approves it; empty: as much as is agreed in the house's currency"
        ),
    )

    class Meta:
        model = PayoutSchedule
        fields = ("shop", "seller", "interval", "weekday", "month_day", "cut_off", "zone", "holidays", "provider")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        standing = self.instance
        if standing.pk:
            limit = standing.approval_limit
            self.initial = dict(self.initial) | {
                "in_currency": standing.minimum.currency.code,
                "least": text(standing.minimum),
                "kept": text(standing.keep_back),
                "limit": "" if limit is None else text(exact(limit.normalize().__format__("f"), standing.minimum.currency.code)),
            }

    def clean_zone(self) -> str:
        zone: str = self.cleaned_data["zone"]
        if zone not in calendars.zones():
            raise forms.ValidationError(_("There is no such time zone. Write it as Europe/Berlin."))
        return zone

    def clean_provider(self) -> str:
        name: str = self.cleaned_data["provider"]
        if name:
            try:
                registry.provider_named(name)
            except DomainError as error:
                raise forms.ValidationError(error.detail) from error
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        shop, seller, currency = cleaned.get("shop"), cleaned.get("seller"), cleaned.get("in_currency")
        for field, column in (("least", "minimum"), ("kept", "keep_back"), ("limit", "approval_limit")):
            if currency and cleaned.get(field) is not None:
                try:
                    amount = exact(cleaned[field], currency)
                except DomainError as error:
                    self.add_error(field, error.detail)
                else:
                    setattr(self.instance, column, amount.amount if field == "limit" else amount)
            elif field == "limit":
                self.instance.approval_limit = None
            elif currency:
                setattr(self.instance, column, zero(currency))  # it is complained of already; the other checks need something
        if seller and shop and seller.shop_id != shop.pk:
            self.add_error("seller", _("This seller belongs to another shop."))
        if PayoutSchedule.objects.filter(shop=shop, seller=seller, currency=currency).exclude(pk=self.instance.pk).exists():
            self.add_error("in_currency", _("There is a payout schedule for this already: change that one."))
        return cleaned


@admin.register(PayoutSchedule)
class PayoutScheduleAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = PayoutScheduleForm
    list_display = (
        "shop",
        "seller_link",
        "interval",
        "next_payouts",
        money_column("minimum", _("minimum")),
        money_column("keep_back", _("kept back")),
    )
    list_select_related = ("shop", "seller")
    list_filter = ("interval", "shop", CurrencyFilter)
    search_fields = ("seller__name", "shop__name")
    autocomplete_fields = ("seller",)
    show_facets = admin.ShowFacets.NEVER
    fields = (
        "shop", "seller", "in_currency", "interval", "weekday", "month_day", "cut_off", "zone", "holidays", "least", "kept", "limit", "provider",
    )  # fmt: skip

    def save_model(self, request: Any, obj: PayoutSchedule, form: Any, change: bool) -> None:
        """Keep the schedule; a calendar that is new or changed is in force from now on, and runs nothing that was over before."""
        before = PayoutSchedule.objects.filter(pk=obj.pk).first()
        if before is None or calendars.of(before) != calendars.of(obj):
            obj.in_force_since = clock.now()
        super().save_model(request, obj, form, change)

    @admin.display(description=_("seller"))
    def seller_link(self, schedule: PayoutSchedule) -> SafeString | str:
        return link(Seller, schedule.seller_id, schedule.seller.name) if schedule.seller else str(_("all others"))

    @admin.display(description=_("next payouts"))
    def next_payouts(self, schedule: PayoutSchedule) -> str:
        return ", ".join(day(when) for when in calendars.next_payouts(calendars.of(schedule), clock.now())) or NOTHING
