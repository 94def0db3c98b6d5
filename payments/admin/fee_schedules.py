"""Fee schedules in the admin: kept by staff until an order was opened under one; from then on it is to be ended, and another to be added.

Each change takes two people: the forms propose it (fee_changes.py), and somebody else approves it.
"""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import NOTHING, Rows, money_column, time_column
from ledger.approval_admin import BY_TWO, approvals_about, propose_or_say_why_not
from ledger.deeds import NoteField, page_of
from ledger.errors import DomainError
from ledger.money import exact, text
from ledger.templatetags.written import amount
from ledger.titles import Entitled
from payments import fee_schedules
from payments.admin import fee_changes
from payments.admin.fee_changes import Made
from payments.fees import fee_of
from payments.models import FeeSchedule, FeeTier

EXAMPLES = ("1", "10", "100", "1000", "10000")


def others_in_the_way(schedule: FeeSchedule, *, valid_from: date | None, valid_until: date | None) -> QuerySet[FeeSchedule]:
    """Return the other schedules that are for the same orders on one of these days."""
    same = {name: getattr(schedule, name) for name in ("shop", "seller", "currency", "category", "method")}
    others = FeeSchedule.objects.filter(**same).exclude(pk=schedule.pk)
    if valid_until is not None:
        others = others.filter(Q(valid_from=None) | Q(valid_from__lt=valid_until))
    if valid_from is not None:
        others = others.filter(Q(valid_until=None) | Q(valid_until__gt=valid_from))
    return others


def why() -> NoteField:
    """Return the field in which somebody says why."""
    return NoteField(widget=forms.TextInput, help_text=_("It is kept with your name."))


class AmountsForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form of which some fields are amounts of the row, by `amounts`: the name of the field, and that of the column."""

    amounts: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            standing = {name: getattr(self.instance, column) for name, column in self.amounts.items()}
            self.initial = dict(self.initial) | {name: text(held) for name, held in standing.items() if held is not None}

    def keep_amounts(self, cleaned: dict[str, Any], currency: str) -> None:
        """Give the row its amounts; what is finer than the currency counts, or too large, is refused under its field."""
        for name, column in self.amounts.items():
            if name in cleaned:
                try:
                    setattr(self.instance, column, None if cleaned[name] is None else exact(cleaned[name], currency))
                except DomainError as error:
                    self.add_error(name, error.detail)


class FeeScheduleForm(AmountsForm):
    """A schedule under which no order was opened yet: whom it is for, when, and what it takes, exact to the currency's minor unit."""

    amounts = {"fixed_part": "fixed", "floor_part": "floor", "cap_part": "cap"}

    method = forms.ChoiceField(label=_("Method"), required=False, choices=[("", _("All")), *FeeSchedule.Method.choices])
    in_currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in settings.CURRENCIES], initial="EUR")
    basis_points = forms.IntegerField(label=_("Basis points"), min_value=0, max_value=10_000, help_text=_("100 basis points are 1 %"))
    is_removed = forms.BooleanField(label=_("Take it away"), required=False, help_text=_("No order was opened under it yet."))
    note = why()
    fixed_part = forms.DecimalField(label=_("Fixed part"), min_value=Decimal(0), initial=Decimal(0))
    floor_part = forms.DecimalField(label=_("Least fee"), min_value=Decimal(0), required=False, help_text=_("Of an order; empty: none"))
    cap_part = forms.DecimalField(label=_("Largest fee"), min_value=Decimal(0), required=False, help_text=_("Of an order; empty: none"))

    class Meta:
        model = FeeSchedule
        fields = ("shop", "seller", "category", "method", "valid_from", "valid_until", "basis_points")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["in_currency"].initial = self.instance.fixed.currency.code
            self.fields["in_currency"].disabled = True  # its tiers are in it, too

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "in_currency" in cleaned:
            self.keep_amounts(cleaned, cleaned["in_currency"])
        seller, shop = cleaned.get("seller"), cleaned.get("shop")
        if seller and shop and seller.shop_id != shop.pk:
            self.add_error("seller", _("This seller belongs to another shop."))
        floor, cap = cleaned.get("floor_part"), cleaned.get("cap_part")
        if floor is not None and cap is not None and cap < floor:
            self.add_error("cap_part", _("The largest fee is less than the least."))
        begins, ends = cleaned.get("valid_from"), cleaned.get("valid_until")
        if begins and ends and ends <= begins:
            self.add_error("valid_until", _("It ends after its first day."))
        if not self.errors:
            self.require_room(cleaned)
        return cleaned

    def require_room(self, cleaned: dict[str, Any]) -> None:
        """Refuse days on which another schedule is for the same orders."""
        names = ("shop", "seller", "category", "method")
        asked = FeeSchedule(pk=self.instance.pk, currency=cleaned["in_currency"], **{name: cleaned[name] for name in names})
        if others_in_the_way(asked, valid_from=cleaned["valid_from"], valid_until=cleaned["valid_until"]).exists():
            self.add_error(
                "valid_from",
                _(
                    "On some of these days there is a fee schedule for the same orders: end that one before, or, if it was not used, change that one."
                ),
            )


class EndingForm(forms.ModelForm):  # type: ignore[type-arg]
    """The end of a schedule that was used."""

    note = why()

    class Meta:
        model = FeeSchedule
        fields = ("valid_until",)

    def clean_valid_until(self) -> date | None:
        ends: date | None = self.cleaned_data["valid_until"]
        begins = self.instance.valid_from
        if ends is not None and ends < fee_schedules.day_of(clock.now()):
            raise forms.ValidationError(_("It was used: it ends today at the earliest."))
        if ends is not None and begins is not None and ends <= begins:
            raise forms.ValidationError(_("It ends after its first day."))
        if others_in_the_way(self.instance, valid_from=begins, valid_until=ends).exists():
            raise forms.ValidationError(_("On some of these days there is another fee schedule for the same orders."))
        return ends


class TierForm(AmountsForm):
    """A tier, in the currency of its schedule, which comes from there."""

    amounts = {"above_part": "above", "fixed_part": "fixed"}

    above_part = forms.DecimalField(label=_("Above"), min_value=Decimal(0))
    basis_points = forms.IntegerField(label=_("Basis points"), min_value=0, max_value=10_000, help_text=_("100 basis points are 1 %"))
    fixed_part = forms.DecimalField(label=_("Fixed part"), min_value=Decimal(0), initial=Decimal(0))

    class Meta:
        model = FeeTier
        fields = ("basis_points",)

    def __init__(self, *args: Any, currency: str | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency = currency

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.currency is not None:  # a schedule without one is refused itself
            self.keep_amounts(cleaned, self.currency)
        if cleaned.get("above_part") == 0:
            self.add_error("above_part", _("A tier begins above an amount; what lies below the first is charged by the schedule itself."))
        return cleaned


class TierForms(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """The tiers of one schedule: each begins at an amount of its own."""

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        return {**super().get_form_kwargs(index), "currency": self.instance.currency}

    def clean(self) -> None:
        super().clean()
        begun = set()
        for form in self.forms:
            above = None if form in self.deleted_forms else form.cleaned_data.get("above_part")
            if above is not None and above in begun:
                form.add_error("above_part", _("Another tier begins here."))
            begun.add(above)


class TierInline(Entitled, admin.TabularInline):  # type: ignore[type-arg]
    """The tiers of a schedule that was not used; who may change the schedule may change them."""

    model = FeeTier
    form = TierForm
    formset = TierForms
    fields = ("above_part", "basis_points", "fixed_part")
    extra = 0
    verbose_name_plural = _("tiers: what of an order lies above an amount is charged by its own share, and its fixed part once")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


class TierRows(Rows):
    """The tiers of a schedule that was used; who may see the schedule sees them."""

    model = FeeTier
    fields = readonly_fields = (money_column("above", _("above")), "basis_points", money_column("fixed", _("fixed part")))
    ordering = ("above",)
    verbose_name_plural = TierInline.verbose_name_plural

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.display(description=_("seller"))
def seller_or_all(schedule: FeeSchedule) -> Any:
    return schedule.seller or _("All")


@admin.display(description=_("category"))
def category_or_all(schedule: FeeSchedule) -> Any:
    return schedule.category or _("All")


@admin.display(description=_("method"))
def method_or_all(schedule: FeeSchedule) -> Any:
    return schedule.get_method_display() if schedule.method else _("All")


@admin.display(description=_("what an order pays"))
def examples(schedule: FeeSchedule) -> Any:
    if schedule._state.adding:
        return NOTHING
    terms, currency = fee_schedules.terms_in(schedule), schedule.fixed.currency.code
    orders = [exact(digits, currency) for digits in EXAMPLES]
    return format_html_join("", "<div>{}: {}</div>", [(amount(order), amount(fee_of(order, terms))) for order in orders])


WHOM = ("shop", seller_or_all, category_or_all, method_or_all)
AMOUNTS = (money_column("fixed", _("fixed part")), money_column("floor", _("least fee")), money_column("cap", _("largest fee")))
FIRST_USED = time_column("used_at", _("first used"))
CHOICE = _(
    "Of the schedules that are for an order on the day on which it is opened, the most specific counts: first a seller's own, then one of the "
    "order's category, then one of its method. Where there is none, the shop's own share applies."
)
FROZEN = _(
    "An order keeps the fee that it was opened with. Once an order was opened under a schedule, only its end can be changed: "
    "for another fee, end it, and add one that begins on that day."
)


@admin.register(FeeSchedule)
class FeeScheduleAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    """One that was not used is to be changed; one that was used is to be ended; one that is over is to look at."""

    list_display = (*WHOM, "currency", "basis_points", AMOUNTS[0], "valid_from", "valid_until")
    list_select_related = ("shop", "seller")
    list_filter = ("shop",)
    search_fields = ("seller__name", "shop__name")
    autocomplete_fields = ("seller",)
    ordering = ("shop", "currency", "seller", "category", "method", "valid_from")
    show_facets = admin.ShowFacets.NEVER
    actions = None
    change_form_template = "admin/proposed_form.html"
    readonly_fields = ("approvals",)

    def has_change_permission(self, request: HttpRequest, obj: FeeSchedule | None = None) -> bool:
        today = fee_schedules.day_of(clock.now())
        is_over = obj is not None and obj.used_at is not None and obj.valid_until is not None and obj.valid_until <= today
        return not is_over and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: FeeSchedule | None = None) -> bool:
        """Nobody takes one away alone: the form proposes it."""
        return False

    def is_to_be_changed(self, request: HttpRequest, obj: FeeSchedule | None) -> bool:
        """May all of it be changed?  Of one that was used, its end at most."""
        return obj is None or (obj.used_at is None and self.has_change_permission(request, obj))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = FeeScheduleForm if self.is_to_be_changed(request, obj) else EndingForm
        return super().get_form(request, obj, change, form=form, **kwargs)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return (TierInline,) if self.is_to_be_changed(request, obj) else (TierRows,)

    def get_fieldsets(self, request: HttpRequest, obj: FeeSchedule | None = None) -> Any:
        if self.is_to_be_changed(request, obj):
            whom = ("shop", "seller", "category", "method", "valid_from", "valid_until")
            fee = ("in_currency", "basis_points", "fixed_part", "floor_part", "cap_part", examples)
            said: tuple[str, ...] = ("is_removed", "note", "approvals") if obj else ("note",)
        else:
            whom = (*WHOM, "valid_from", "valid_until", FIRST_USED)  # type: ignore[assignment]
            fee = ("basis_points", *AMOUNTS, examples)  # type: ignore[assignment]
            said = ("note", "approvals") if self.has_change_permission(request, obj) else ("approvals",)
        return (
            (None, {"fields": whom, "description": CHOICE}),
            (_("Fee"), {"fields": fee, "description": FROZEN}),
            (_("Approval"), {"fields": said, "description": BY_TWO}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: FeeSchedule | None = None) -> Any:
        if self.is_to_be_changed(request, obj):
            return (examples, "approvals")
        shown = [name for _title, part in self.get_fieldsets(request, obj) for name in part["fields"]]
        return shown if not self.has_change_permission(request, obj) else [name for name in shown if name not in ("valid_until", "note")]

    @admin.display(description=_("approvals"))
    def approvals(self, schedule: FeeSchedule) -> Any:
        return approvals_about(fee_changes.subject_of(schedule.pk))

    def save_model(self, request: HttpRequest, obj: FeeSchedule, form: Any, change: bool) -> None:
        form.before = fee_changes.terms_of(FeeSchedule.objects.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Undo what the form has made by now, to propose it."""
        super().save_related(request, form, formsets, change)
        after = None if form.cleaned_data.get("is_removed") else fee_changes.terms_of(form.instance)
        raise Made({"id": form.instance.pk if change else None, "before": form.before, "after": after}, form.cleaned_data["note"])

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:  # Postgres knows what came between our look and our write
            messages.error(request, _("Nothing was changed: it was used, or another was added, in this very moment. Please look again."))
        except Made as made:
            if proposed := propose_or_say_why_not(self, request, fee_changes.proposal_of(made)):
                return HttpResponseRedirect(page_of(proposed))
        return HttpResponseRedirect(request.path)
