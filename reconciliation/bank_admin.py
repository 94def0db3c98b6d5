"""The bank side of matching in the admin: what each bank line is of ours, and the tolerances within which a PSP's payment may be short.

A form proposes a tolerance and a deed its end (tolerance_changes.py), and somebody else approves it; neither changes what was matched by it.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.validators import MinValueValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, clock
from ledger.admin import NOTHING, LookOnly, Rows, link, number_in, time_column
from ledger.approval_admin import BY_TWO, approvals_about, propose_or_say_why_not
from ledger.approvals import Proposal
from ledger.currencies import MINOR_UNITS
from ledger.deeds import PROPOSED, Deed, DeedForm, NoteField, WithDeeds, page_of
from ledger.models import Approval
from ledger.money import minor_units
from ledger.templatetags.written import amount
from payouts.models import Payout
from reconciliation import tolerance_changes
from reconciliation.models import BankLineMatch, SettlementBatch, SourceFile, StagedBankLine, ToleranceChange, ToleranceRule

A_DAY = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})


def psps() -> list[tuple[str, Any]]:
    named = [(source, source) for source, kind in settings.FILE_SOURCES.items() if kind == SourceFile.Kind.SETTLEMENT]
    return [("", _("any")), *named]


# --- What each line is ------------------------------------------------------------------------------------------------


class ToleranceFilter(admin.SimpleListFilter):
    """Payments of which the bank has kept something, within a tolerance."""

    title = _("within a tolerance")
    parameter_name = "tolerated"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("yes", _("The bank kept something"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(short_by__gt=0) if self.value() == "yes" else queryset


@admin.register(BankLineMatch)
class BankLineMatchAdmin(LookOnly):
    list_display = ("booked_on", "kind", "amount_shown", "short_by_shown", "ours", "line_link")
    list_filter = ("kind", ToleranceFilter)
    list_select_related = ("line", "batch", "payout")
    search_help_text = _("The number of a bank line, or the id of a batch or a payout")
    fields: ClassVar[Any] = ("kind", "booked_on", "line_link", "ours", "number", "amount_shown", "short_by_shown", "rule_link")
    readonly_fields: ClassVar[Any] = fields

    def sought(self, term: str) -> Q:
        return Q(batch__public_id=term) | Q(payout__public_id=term) | Q(line=number_in(term))

    @admin.display(description=_("booked"))
    def booked_on(self, match: BankLineMatch) -> Any:
        return match.line.booked_on or match.line.valued_on or NOTHING

    @admin.display(description=_("bank line"))
    def line_link(self, match: BankLineMatch) -> SafeString | str:
        return link(StagedBankLine, match.line_id, match.line)

    @admin.display(description=_("what of ours it is"))
    def ours(self, match: BankLineMatch) -> SafeString | str:
        if match.batch is not None:
            return link(SettlementBatch, match.batch_id, match.batch)
        return link(Payout, match.payout_id, match.payout.public_id if match.payout else "")

    @admin.display(description=_("amount"))
    def amount_shown(self, match: BankLineMatch) -> str:
        held = match.line.amount if match.amount is None else match.amount
        return amount(Money(held, match.line.currency))

    @admin.display(description=_("kept by the bank"))
    def short_by_shown(self, match: BankLineMatch) -> str:
        return amount(Money(match.short_by, match.line.currency)) if match.short_by else NOTHING

    @admin.display(description=_("tolerance"))
    def rule_link(self, match: BankLineMatch) -> SafeString | str:
        return link(ToleranceRule, match.rule_id, match.rule)


# --- Tolerances -------------------------------------------------------------------------------------------------------


class Asked(Exception):
    """What a form asks for.  It is raised where Django would save it, so that it is proposed instead, in a transaction of its own."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(proposal.memo)
        self.proposal = proposal


class ToleranceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new tolerance, and why there is one."""

    currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in sorted(MINOR_UNITS)])
    psp = forms.ChoiceField(label=_("PSP"), choices=psps, required=False)
    note = NoteField(widget=forms.TextInput, help_text=_("It is kept with your name."))

    class Meta:
        model = ToleranceRule
        fields = ("currency", "psp", "amount", "days", "valid_from", "valid_until")
        widgets: ClassVar[Any] = {"valid_from": A_DAY, "valid_until": A_DAY}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].validators.append(MinValueValidator(Decimal(0)))

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        allowed, currency = said.get("amount"), said.get("currency", "")
        if allowed is not None and currency and allowed != round(allowed, minor_units(currency)):
            self.add_error("amount", _("The currency has no unit as small as that."))
        since, until = said.get("valid_from"), said.get("valid_until")
        if since and until and until < since:
            self.add_error("valid_until", _("It ends before it begins."))
        return said


class EndForm(DeedForm):
    """The last day on which the tolerance holds: what is over stays as it was matched."""

    last_day = forms.DateField(label=_("Last day"), widget=A_DAY)

    field_order = ("last_day", "note")

    def __init__(self, row: ToleranceRule, data: Any = None) -> None:
        super().__init__(row, data)
        self.fields["last_day"].initial = max(clock.now().date(), row.valid_from)


def propose_end(rule: ToleranceRule, said: dict[str, Any], actor: str) -> Approval:
    return approvals.propose(tolerance_changes.ending(rule, last_day=said["last_day"], memo=said["note"]), actor=actor, now=clock.now())


def has_no_end(rule: ToleranceRule) -> bool:
    return rule.valid_until is None or rule.valid_until > clock.now().date()


class ChangeRows(Rows):
    model = ToleranceChange
    fields = readonly_fields = (time_column("at", _("when")), "before_shown", "after_shown", "actor", "reason")

    @admin.display(description=_("until, before"))
    def before_shown(self, change: ToleranceChange) -> str:
        return change.before or NOTHING

    @admin.display(description=_("until, after"))
    def after_shown(self, change: ToleranceChange) -> str:
        return change.after or NOTHING


@admin.register(ToleranceRule)
class ToleranceRuleAdmin(WithDeeds):
    list_display = ("currency", "psp_shown", "amount_shown", "days", "valid_from", "valid_until", "made_by")
    list_filter = ("currency", "psp")
    search_help_text = _("A currency, or a PSP")
    add_form_template = "admin/proposed_form.html"
    inlines = (ChangeRows,)
    deeds = (
        Deed(
            name="end",
            title=_("End it"),
            meaning=_("Payments that the bank books after the last day must be whole again. What was matched by the tolerance stays so."),
            done=PROPOSED,
            permissions=("reconciliation.change_tolerancerule",),
            act=propose_end,
            is_possible=has_no_end,
            form=EndForm,
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("reconciliation.add_tolerancerule"))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else ToleranceForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        kept = ("currency", "psp_shown", "amount_shown", "days", "valid_from", "valid_until", "made_by", time_column("made_at", _("made")))
        return (*kept, "approvals") if obj else (*ToleranceForm.Meta.fields, "note")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return ((None, {"fields": self.get_fields(request, obj), "description": "" if obj else BY_TWO}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: ToleranceRule, form: Any, change: bool) -> None:
        raise Asked(tolerance_changes.making(obj, memo=form.cleaned_data["note"]))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Asked as asked:
            proposed = propose_or_say_why_not(self, request, asked.proposal)
            return HttpResponseRedirect(page_of(proposed) if proposed else request.path)

    def sought(self, term: str) -> Q:
        return Q(currency=term.upper()) | Q(psp=term)

    def facts(self, row: ToleranceRule) -> list[tuple[Any, Any]]:
        return [(_("tolerance"), self.amount_shown(row)), (_("PSP"), self.psp_shown(row)), (_("valid from"), row.valid_from)]

    @admin.display(description=_("approvals"))
    def approvals(self, rule: ToleranceRule) -> Any:
        return approvals_about(tolerance_changes.subject_of(rule.pk))

    @admin.display(description=_("PSP"))
    def psp_shown(self, rule: ToleranceRule) -> str:
        return rule.psp or gettext("any")

    @admin.display(description=_("may be missing"))
    def amount_shown(self, rule: ToleranceRule) -> str:
        return amount(Money(rule.amount, rule.currency))
