"""Conversions in the admin, to look at: what became what, by which rates, and the entry."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ledger.admin import NOTHING, LookOnly, id_column, link, money_column, time_column
from ledger.models import JournalEntry
from ledger.templatetags.written import day
from wallet import rates
from wallet.models import Conversion, ExchangeRate
from wallet.templatetags.conversions import rate_shown, source_shown


@admin.register(Conversion)
class ConversionAdmin(LookOnly):
    list_display = (
        id_column,
        "seller",
        money_column("sold", _("sold")),
        money_column("bought", _("bought")),
        "rate_in_words",
        "day_shown",
        "requested_by",
        time_column("converted_at", _("converted")),
    )
    list_select_related = ("seller",)
    search_help_text = _("The id of a conversion (cnv_...), or of a seller (sel_...)")
    fields: ClassVar[Any] = (
        "public_id",
        "seller",
        money_column("sold", _("sold")),
        money_column("bought", _("bought")),
        "rate_in_words",
        "rates_behind",
        "source_in_words",
        "day_shown",
        "requested_by",
        "once",
        time_column("converted_at", _("converted")),
        "entry",
    )
    readonly_fields: ClassVar[Any] = fields

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(seller__public_id=term)

    @admin.display(description=_("rate"))
    def rate_in_words(self, made: Conversion) -> str:
        return rate_shown(made)

    @admin.display(description=_("made of"))
    def rates_behind(self, made: Conversion) -> SafeString | str:
        behind = [rate for rate in (made.sold_rate, made.bought_rate) if rate]
        links = [link(ExchangeRate, rate.pk, f"{rate.base}/{rate.quote} {rates.figures(rate.rate)}") for rate in behind]
        return SafeString(", ".join(links)) or NOTHING

    @admin.display(description=_("source"))
    def source_in_words(self, made: Conversion) -> str:
        return source_shown(made)

    @admin.display(description=_("rate of the day"))
    def day_shown(self, made: Conversion) -> str:
        return day(made.quoted_on)

    @admin.display(description=_("journal entry"))
    def entry(self, made: Conversion) -> SafeString | str:
        return link(JournalEntry, made.journal_entry_id, f"je_{made.journal_entry_id}")
