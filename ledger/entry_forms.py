"""The form on which somebody proposes a journal entry: why, where the evidence is, and the legs, with what they do to each account."""

import secrets
from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ledger import chart, clock, manual
from ledger.deeds import DeedForm
from ledger.errors import DomainError
from ledger.journal import Draft, Leg
from ledger.models import JournalEntry
from ledger.money import exact
from ledger.wire import forbidden_in

LEAST_LEGS, MORE_LEGS, MOST_LEGS = 4, 4, 100
LONGEST = 120
REFUSED = chart.WALLET_KINDS | manual.KEPT | {chart.suspense()}  # these move with what they are part of


class LegForm(forms.Form):
    """One leg: an account, and an amount on one of the sides."""

    account = forms.CharField(
        label=_("Account"),
        max_length=LONGEST,
        widget=forms.TextInput(attrs={"list": "accounts", "autocomplete": "off", "spellcheck": "false"}),
    )
    currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES], initial="EUR")
    debit = forms.DecimalField(label=_("Debit"), required=False)
    credit = forms.DecimalField(label=_("Credit"), required=False)

    def clean_account(self) -> str:
        code: str = self.cleaned_data["account"]
        try:
            manual.require_bookable(code)
        except DomainError as error:
            raise forms.ValidationError(error.detail) from error
        return code

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        given = [side for side in ("debit", "credit") if said.get(side) is not None]
        if len(given) == 1 and "currency" in said:
            self.keep_amount(said, given[0])
        elif not self.errors:
            self.add_error("debit", _("A leg has an amount on one side: debit or credit."))
        return said

    def keep_amount(self, said: dict[str, Any], side: str) -> None:
        amount: Decimal = said[side]
        try:
            said["money"] = exact(amount, said["currency"])
        except DomainError as error:
            self.add_error(side, error.detail)
        if amount <= 0:
            self.add_error(side, _("An amount must be more than zero. Put it on the other side."))

    @property
    def leg(self) -> Leg:
        return self.cleaned_data["account"], self.cleaned_data["money"]


class EntryForm(DeedForm):
    """What stands over the legs.  The reference is used once in the books, so that two presses are one proposal."""

    reference = forms.CharField(label=_("Reference"), max_length=LONGEST, help_text=_("Your own name of it. It is used once."))
    on = forms.DateField(
        label=_("Effective on"), widget=forms.DateInput(attrs={"type": "date"}), help_text=_("The day to which it belongs in the books")
    )
    evidence = forms.CharField(
        label=_("Evidence"),
        max_length=LONGEST,
        required=False,
        help_text=_("Where it can be looked up: the number of an invoice or a ticket"),
    )
    field_order = ("on", "reference", "evidence", "note")

    def __init__(self, data: Any = None) -> None:
        super().__init__(None, data)
        today = timezone.localdate(clock.now())
        self.fields["on"].initial = today
        self.fields["reference"].initial = f"entry-{today}-{secrets.token_hex(4)}"

    def clean_on(self) -> Any:
        on = self.cleaned_data["on"]
        if on > timezone.localdate(clock.now()):
            raise forms.ValidationError(_("Nothing is booked before its day."))
        return on

    def clean_reference(self) -> str:
        return visible(self.cleaned_data["reference"])

    def clean_evidence(self) -> str:
        return visible(self.cleaned_data["evidence"])


class Legs(forms.BaseFormSet):  # type: ignore[type-arg]
    """The legs that were filled in; the others are left out."""

    @property
    def filled(self) -> list[LegForm]:
        return [form for form in self.forms if form.has_changed()]


LegForms: type[Legs] = forms.formset_factory(  # type: ignore[assignment]
    LegForm, formset=Legs, extra=LEAST_LEGS, max_num=MOST_LEGS, absolute_max=MOST_LEGS, validate_max=True
)


def visible(text: str) -> str:
    """Return the text.  Refuses what reorders or hides what a reader sees."""
    if character := forbidden_in(text):
        raise forms.ValidationError(_("This holds %s, a character that cannot be seen. Take it out.") % character)
    return text


def with_more_legs(data: Any) -> Any:
    """Return what was posted, with more legs to fill in."""
    more = data.copy()
    more["form-TOTAL_FORMS"] = min(len(LegForms(data).forms) + MORE_LEGS, MOST_LEGS)
    return more


def draft_in(form: EntryForm, legs: Legs) -> Draft:
    """Return the entry that valid forms say, effective from the beginning of its day."""
    return Draft(
        kind=JournalEntry.Kind.MANUAL,
        reference=form.cleaned_data["reference"],
        effective_at=datetime.combine(form.cleaned_data["on"], time(0), tzinfo=timezone.get_default_timezone()),
        debits=legs_on("debit", legs.filled),
        credits=legs_on("credit", legs.filled),
        memo=form.cleaned_data["note"],
    )


def legs_on(side: str, forms_of_legs: Sequence[LegForm]) -> list[Leg]:
    return [form.leg for form in forms_of_legs if form.cleaned_data[side] is not None]
