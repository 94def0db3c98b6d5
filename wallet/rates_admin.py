"""Exchange rates in the admin: a file is loaded by whoever may, a rate by hand is proposed by one and approved by another.

And what conversions made of the platform's position in each currency, at the rates that hold.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ledger import approvals, clock
from ledger.admin import NOTHING, LookOnly, reference_of, time_column
from ledger.approval_admin import propose
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.deeds import NoteField, actor_in, page_of
from ledger.errors import DomainError
from ledger.models import Approval
from ledger.templatetags.written import day
from wallet import conversion_position, rates
from wallet.models import ExchangeRate
from wallet.rates import Loaded
from wallet.rates_ecb import EURO, LARGEST
from wallet.templatetags.conversions import rate_figures

KIND = "exchange_rate"


class FileForm(forms.Form):
    file = forms.FileField(
        label=_("The European Central Bank's file"),
        help_text=_("eurofxref-daily.xml or eurofxref.csv, or its history. All of it is taken, or nothing."),
    )

    def clean_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST:
            raise forms.ValidationError(_("That is too large for a file of rates."))
        return file


class RateForm(forms.Form):
    """What one euro costs, on which day, and why it is set by hand."""

    quote = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES if code != EURO], initial="USD")
    rate = forms.CharField(label=_("One euro costs"), max_length=25, help_text=_("In that currency, such as 1.0512"))
    quoted_on = forms.DateField(label=_("Rate of the day"), widget=forms.DateInput(attrs={"type": "date"}))
    note = NoteField(help_text=_("Where the rate is from, and why it is not taken from a file. It is kept with your name."))


@admin.register(ExchangeRate)
class ExchangeRateAdmin(LookOnly):
    change_list_template = "admin/exchange_rates.html"
    list_display = ("pair", "rate_shown", "day_shown", "source", "received_by", time_column("received_at", _("received")))
    list_filter = ("source",)
    search_help_text = _("A currency, such as USD")
    fields: ClassVar[Any] = (
        "pair",
        "rate_shown",
        "day_shown",
        "source",
        "received_by",
        time_column("received_at", _("received")),
        "file_sha256",
        "approval_link",
    )
    readonly_fields: ClassVar[Any] = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("load/", view(self.load_view), name="wallet_exchangerate_load"),
            path("propose/", view(self.propose_view), name="wallet_exchangerate_propose"),
            path("position/", view(self.position_view), name="wallet_exchangerate_position"),
            *super().get_urls(),
        ]

    def sought(self, term: str) -> Q:
        return Q(base=EURO, quote=term.upper())

    def load_view(self, request: HttpRequest) -> HttpResponseBase:
        """Take the rates of a file; what keeps it from being taken is said under the field."""
        if not request.user.has_perm("wallet.upload_exchangerate"):
            raise PermissionDenied
        form = FileForm(request.POST, request.FILES) if request.method == "POST" else FileForm()
        if form.is_valid():
            try:
                loaded = rates.load(form.cleaned_data["file"].read(), by=actor_in(request), now=clock.now())
            except DomainError as error:
                form.add_error("file", error.detail)
            else:
                self.message_user(request, said_of(loaded), messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:wallet_exchangerate_changelist"))
        return self.form_page(request, form, _("Load a file of rates"))

    def propose_view(self, request: HttpRequest) -> HttpResponseBase:
        """Propose a rate, for a second person to approve."""
        if not request.user.has_perm("wallet.add_exchangerate"):
            raise PermissionDenied
        form = RateForm(request.POST) if request.method == "POST" else RateForm(initial={"quoted_on": clock.now().date()})
        if form.is_valid():
            try:
                return HttpResponseRedirect(page_of(propose(self, request, proposal_of(form.cleaned_data))))
            except DomainError as error:
                form.add_error(error.field if error.field in form.fields else None, error.detail)
        return self.form_page(request, form, _("Propose a rate"))

    def form_page(self, request: HttpRequest, form: forms.Form, title: Any) -> HttpResponseBase:
        context = self.admin_site.each_context(request) | {"title": title, "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    def position_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what the platform holds of each currency for conversions, what it is worth, and the rates that hold."""
        if not (request.user.has_perm("wallet.view_conversion") and self.has_view_permission(request)):
            raise PermissionDenied
        now = clock.now()
        found = conversion_position.positions(now=now)
        newest = [(rate, rates.age_in_days(rate, now=now), rates.is_stale(rate, now=now)) for rate in rates.all_newest(now=now)]
        context = self.admin_site.each_context(request) | {
            "title": _("Position in currencies"),
            "opts": self.opts,
            "positions": found,
            "result": conversion_position.result(found),
            "house": settings.HOUSE_CURRENCY,
            "rates": newest,
            "oldest_days": settings.RATES_MAX_AGE_DAYS,
        }
        return TemplateResponse(request, "admin/currency_position.html", context)

    @admin.display(description=_("currencies"))
    def pair(self, rate: ExchangeRate) -> str:
        return f"{rate.base}/{rate.quote}"

    @admin.display(description=_("rate"))
    def rate_shown(self, rate: ExchangeRate) -> str:
        return rates.figures(rate.rate)

    @admin.display(description=_("of the day"))
    def day_shown(self, rate: ExchangeRate) -> str:
        return day(rate.quoted_on)

    @admin.display(description=_("approval"))
    def approval_link(self, rate: ExchangeRate) -> Any:
        return reference_of(rate.approval) if rate.approval else NOTHING


def said_of(loaded: Loaded) -> str:
    said = ngettext("%(count)s new rate, the last of %(day)s.", "%(count)s new rates, the last of %(day)s.", loaded.new)
    told = said % {"count": loaded.new, "day": day(loaded.newest)}
    if loaded.left_out:
        told += " " + gettext("Left out, since nobody uses them any more: %s.") % ", ".join(loaded.left_out)
    return told


# --- A rate by hand, which takes two people -------------------------------------------------------------------------


def proposal_of(said: dict[str, Any]) -> Proposal:
    terms = {"base": EURO, "quote": said["quote"], "rate": said["rate"], "quoted_on": said["quoted_on"].isoformat()}
    return Proposal(KIND, subject_of(said["quote"]), terms, said["note"])


def subject_of(quote: str) -> str:
    """Return what approvals call the rate of a currency, of which one waits at a time."""
    return f"{EURO}/{quote}"


def set_rate(approval: Approval, now: datetime) -> Outcome:
    """Let the rate hold from now on."""
    terms = approval.terms
    on, by = date.fromisoformat(terms["quoted_on"]), f"{approval.made_by}, {approval.decided_by}"
    rate = rates.enter(terms["quote"], terms["rate"], quoted_on=on, approval=approval.public_id, by=by, now=now)
    return Outcome(f"{rate.base}/{rate.quote} {rate.quoted_on}")


def summary(terms: Terms) -> str:
    return f"1 {terms['base']} = {terms['rate']} {terms['quote']}"


def facts(terms: Terms) -> Facts:
    return [(_("rate"), summary(terms)), (_("of the day"), day(date.fromisoformat(terms["quoted_on"])))]


def standing(terms: Terms) -> Facts:
    """Return the rate that holds now, and how far the proposed one is from it."""
    held = rates.newest([terms["quote"]], now=clock.now()).get(terms["quote"])
    if held is None:
        return [(_("holds now"), _("no rate"))]
    change = (Decimal(terms["rate"]) / held.rate - 1) * 100
    return [(_("holds now"), f"{rate_figures(held.rate)} ({day(held.quoted_on)})"), (_("changes it by"), f"{change:+.2f} %")]


approvals.register(
    Kind(
        name=KIND,
        title=_("Exchange rate"),
        may_see="wallet.view_exchangerate",
        may_propose="wallet.add_exchangerate",
        may_approve="wallet.approve_exchangerate",
        apply=set_rate,
        summary=summary,
        facts=facts,
        standing=standing,
    )
)
