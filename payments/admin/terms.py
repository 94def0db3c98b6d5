"""How calls of PSPs are tried again, which staff keep: retry policies.  And, to look at, the circuit breakers."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.admin import LookOnly, time_column
from ledger.retries import Strategy
from ledger.titles import Entitled
from payments.admin.columns import still_open
from payments.models import CircuitBreaker, RetryPolicy
from payments.psp import registry
from payments.psp.registry import UnknownPsp

STRATEGIES = {
    Strategy.IMMEDIATE: _("at once: without waiting"),
    Strategy.FIXED_INTERVAL: _("fixed interval: always the same wait"),
    Strategy.INCREMENTAL_INTERVAL: _("incremental interval: once, twice, three times the first wait"),
    Strategy.EXPONENTIAL_BACKOFF: _("exponential backoff: each wait twice as long, spread by chance so that retries do not meet"),
    Strategy.NONE: _("none: the first failure is the last"),
}


class RetryPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """How calls of one operation of one PSP are tried again when nothing was executed."""

    psp = forms.CharField(label=_("PSP"), initial=settings.DEFAULT_PSP, max_length=40)
    strategy = forms.ChoiceField(
        label=_("Strategy"), choices=[(name.value, words) for name, words in STRATEGIES.items()], initial=Strategy.EXPONENTIAL_BACKOFF.value
    )
    first_s = forms.IntegerField(label=_("First wait"), min_value=0, max_value=86_400, initial=1, help_text=_("In seconds."))
    longest_s = forms.IntegerField(
        label=_("Longest wait"), min_value=0, max_value=86_400, initial=120, help_text=_("In seconds. No wait is longer than this.")
    )
    most_tries = forms.IntegerField(
        label=_("Most tries"),
        min_value=1,
        max_value=100,
        initial=8,
        help_text=_("Then it is a dead letter, and waits for a person."),
    )

    class Meta:
        model = RetryPolicy
        fields = ("psp", "operation", "strategy", "first_s", "longest_s", "most_tries")

    def clean_psp(self) -> str:
        name: str = self.cleaned_data["psp"]
        try:
            registry.psp_named(name)
        except UnknownPsp as error:
            raise forms.ValidationError(error.detail) from error
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if {"first_s", "longest_s"} <= cleaned.keys() and cleaned["first_s"] > cleaned["longest_s"]:
            self.add_error("first_s", _("The first wait is longer than the longest."))
        return cleaned


@admin.register(RetryPolicy)
class RetryPolicyAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("psp", "operation", "strategy", "first_s", "longest_s", "most_tries")
    show_facets = admin.ShowFacets.NEVER
    form = RetryPolicyForm
    fieldsets = (
        (
            None,
            {
                "fields": ("psp", "operation", "strategy", "first_s", "longest_s", "most_tries"),
                "description": _(
                    "For calls that failed before anything was executed: the PSP could not be reached, or said so. They are tried again "
                    "under the same key, so that nothing is taken twice. An outcome that is unknown is asked for on a ladder of its own, "
                    "and a decline is not tried again. Without a policy: exponential backoff from 1 to 120 seconds, 8 tries."
                ),
            },
        ),
    )


@admin.register(CircuitBreaker)
class CircuitBreakerAdmin(LookOnly):
    list_display = (
        "psp",
        "operation",
        "state",
        "failures",
        time_column("opened_at", _("open since")),
        time_column("open_until", _("next probe")),
    )
    list_filter = (still_open("opened_at", _("state"), open_words=_("Closed"), done_words=_("Open")),)
    search_help_text = _("The name of a PSP")
    fields = list_display
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(psp=term)

    @admin.display(description=_("state"))
    def state(self, breaker: CircuitBreaker) -> Any:
        return _("closed: calls go through") if breaker.opened_at is None else _("open: the PSP is left alone")
