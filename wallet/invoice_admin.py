"""Fee invoices in the admin: to look at, each with its lines; and the tax rates of each country, which staff keep."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.admin import NOTHING, CurrencyFilter, LookOnly, link, money_column, time_column
from ledger.templatetags.written import amount
from ledger.titles import Entitled
from wallet import invoices
from wallet.documents.wording import fees_of, tax_of
from wallet.models import FeeInvoice, Seller, TaxRate


class TaxRateForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rate of one country.  Of two that hold on the same day, the one that began later is taken."""

    class Meta:
        model = TaxRate
        fields = ("shop", "country", "basis_points", "reverse_charge", "since", "until")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("reverse_charge") and cleaned.get("basis_points"):
            self.add_error("basis_points", _("With reverse charge the seller owes the tax: 0 here."))
        if cleaned.get("since") and cleaned.get("until") and cleaned["until"] <= cleaned["since"]:
            self.add_error("until", _("This day is not after the first one."))
        return cleaned


@admin.register(TaxRate)
class TaxRateAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = TaxRateForm
    list_display = ("shop", "country", "basis_points", "reverse_charge", "since", "until")
    list_select_related = ("shop",)
    list_filter = ("shop", "reverse_charge")
    search_fields = ("country", "shop__name")
    show_facets = admin.ShowFacets.NEVER


@admin.register(FeeInvoice)
class FeeInvoiceAdmin(LookOnly):
    list_display = (
        "number_shown",
        "seller_name",
        "period",
        money_column("tax", _("tax")),
        money_column("gross", _("total")),
        time_column("issued_at", _("issued")),
    )
    list_select_related = ("seller", "corrects")
    list_filter = ("series", "period", "shop", CurrencyFilter)
    search_help_text = _("An invoice's number or id, or a seller's name or id")
    fields = (
        "public_id",
        "number_shown",
        "shop",
        "seller_link",
        "seller_name",
        "seller_country",
        "seller_tax_id",
        "period",
        money_column("net", _("net")),
        money_column("tax", _("tax")),
        money_column("gross", _("total")),
        "tax_shown",
        "lines_shown",
        "explained",
        "takes_back",
        "reason",
        time_column("issued_at", _("issued")),
        "issued_by",
    )
    readonly_fields = fields

    @admin.display(description=_("number"))
    def number_shown(self, invoice: FeeInvoice) -> str:
        return invoice.number

    @admin.display(description=_("seller"))
    def seller_link(self, invoice: FeeInvoice) -> str:
        return link(Seller, invoice.seller_id, invoice.seller.name)

    @admin.display(description=_("tax"))
    def tax_shown(self, invoice: FeeInvoice) -> str:
        return tax_of(invoice)

    @admin.display(description=_("lines"))
    def lines_shown(self, invoice: FeeInvoice) -> str:
        lines = [
            (fees_of(line.kind), line.count, amount(line.net), amount(line.tax), amount(line.gross))
            for line in invoice.lines.order_by("position")
        ]
        return format_html_join(mark_safe("<br>"), gettext("{} × {}: {} and {} tax make {}"), lines)

    @admin.display(description=_("what makes it"))
    def explained(self, invoice: FeeInvoice) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("explain_invoice", args=[invoice.pk]), gettext("Down to the movements"))

    @admin.display(description=_("takes back"))
    def takes_back(self, invoice: FeeInvoice) -> str:
        return link(FeeInvoice, invoice.corrects_id, invoice.corrects.number) if invoice.corrects else NOTHING

    def sought(self, term: str) -> Q:
        number = invoices.NUMBER.fullmatch(term)
        if number:
            return Q(series=number[1], year=int(number[2]), sequence=int(number[3]))
        return Q(public_id=term) | Q(seller__public_id=term) | Q(seller_name__icontains=term)
