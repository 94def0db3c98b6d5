"""Settlement batches and mismatches in the admin: what was compared, what came of it, and what waits to be explained.

Mismatches are finance's work queue: each arrives with the entry that would explain it, where one can be told, and is resolved by two people.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import clock
from ledger.admin import NOTHING, LookOnly, Rows, id_column, link, reference_of, time_column
from ledger.deeds import Deed, DeedForm, WithDeeds, leave_to_the_domain
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from reconciliation import resolution
from reconciliation.models import Mismatch, MismatchTransition, Proposal, SettlementBatch, SourceFile, StagedBankLine, StagedLine
from reconciliation.resolution import Cause

CAUSES = {
    Cause.AUTOMATIC: _("Known, and put right by itself"),
    Cause.BY_HAND: _("Known, and put right by hand"),
    Cause.UNKNOWN: _("Not known yet"),
}


def figure(name: str, title: Any) -> Any:
    """Return a column that shows the row's figure of that name in the row's currency."""

    @admin.display(description=title)
    def column(row: Any) -> str:
        held: Decimal | None = getattr(row, name)
        return format_html('<span class="amount">{}</span>', amount(Money(held, row.currency))) if held is not None else NOTHING

    column.__name__ = f"{name}_shown"
    return column


@admin.register(SettlementBatch)
class SettlementBatchAdmin(LookOnly):
    list_display = (
        id_column,
        "psp",
        "name",
        figure("paid_out", _("paid out")),
        figure("fees", _("fees")),
        figure("suspended", _("in suspense")),
        "lines",
        "mismatched",
        time_column("matched_at", _("compared")),
    )
    list_filter = ("psp", "currency")
    search_help_text = _("A batch's id, or its name at the PSP")
    fields: ClassVar[Any] = (
        "public_id",
        "file_link",
        "psp",
        "name",
        "currency",
        "copy_link",
        time_column("closed_at", _("settled")),
        "lines",
        "matched",
        "mismatched",
        "mismatches_link",
        figure("paid_out", _("paid out")),
        figure("fees", _("fees")),
        figure("suspended", _("in suspense")),
        "entry_link",
        time_column("matched_at", _("compared")),
    )
    readonly_fields: ClassVar[Any] = fields

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(name=term)

    @admin.display(description=_("file"))
    def file_link(self, batch: SettlementBatch) -> SafeString | str:
        return link(SourceFile, batch.file_id, batch.file.name)

    @admin.display(description=_("the same batch as"))
    def copy_link(self, batch: SettlementBatch) -> SafeString | str:
        return link(SettlementBatch, batch.copy_of_id, batch.copy_of.public_id if batch.copy_of else "")

    @admin.display(description=_("journal entry"))
    def entry_link(self, batch: SettlementBatch) -> SafeString | str:
        return link(JournalEntry, batch.journal_entry_id, f"je_{batch.journal_entry_id}")

    @admin.display(description=_("mismatches"))
    def mismatches_link(self, batch: SettlementBatch) -> SafeString:
        address = reverse("admin:reconciliation_mismatch_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, batch.public_id, gettext("Look at them"))


STATES = {
    "open": Q(resolved_at=None),
    "proposed": Q(resolved_at=None, pk__in=Proposal.objects.filter(status=Proposal.Status.WAITING).values("mismatch")),
    "resolved": Q(resolved_at__isnull=False),
}


class StateFilter(admin.SimpleListFilter):
    """Mismatches that wait to be explained, those that somebody would approve, and those that are explained."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("open", _("Open")), ("proposed", _("Waiting for approval")), ("resolved", _("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(STATES.get(self.value() or "", Q()))


class AgeFilter(admin.SimpleListFilter):
    """Mismatches that were found so many days ago."""

    title = _("age")
    parameter_name = "older_than_days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("1", _("More than a day")), ("7", _("More than 7 days")), ("30", _("More than 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.lookup_choices):
            return queryset
        return queryset.filter(found_at__lt=clock.now() - timedelta(days=int(self.value() or 0)))


class OwnerFilter(admin.SimpleListFilter):
    """Mismatches that the reader looks into, and those that nobody does."""

    title = _("owner")
    parameter_name = "owned_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("me", _("Me")), ("nobody", _("Nobody yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "me":
                return queryset.filter(owner=f"staff:{request.user.get_username()}")
            case "nobody":
                return queryset.filter(owner="")
            case _:
                return queryset


class SuspenseFilter(admin.SimpleListFilter):
    """Mismatches that have money in suspense, and those that have not."""

    title = _("money in suspense")
    parameter_name = "in_suspense"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Something")), ("no", _("Nothing"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(resolved_at=None).exclude(suspended=0)
            case "no":
                return queryset.filter(~Q(resolved_at=None) | Q(suspended=0))
            case _:
                return queryset


NAMES = {"open": _("Open"), "resolved": _("Resolved")} | {str(name): title for name, title in Proposal.Status.choices}


class ProposalRows(Rows):
    model = Proposal
    fields = readonly_fields = (
        "status",
        "account",
        "memo",
        "made_by",
        time_column("made_at", _("made")),
        "decided_by",
        "reason",
        "entry_link",
    )

    @admin.display(description=_("journal entry"))
    def entry_link(self, proposal: Proposal) -> SafeString | str:
        return link(JournalEntry, proposal.journal_entry_id, f"je_{proposal.journal_entry_id}")


class TransitionRows(Rows):
    model = MismatchTransition
    fields = readonly_fields = (time_column("at", _("when")), "what", "before_shown", "after_shown", "actor", "reason")

    @admin.display(description=_("before"))
    def before_shown(self, change: MismatchTransition) -> str:
        return str(NAMES.get(change.before, change.before)) or NOTHING

    @admin.display(description=_("after"))
    def after_shown(self, change: MismatchTransition) -> str:
        return str(NAMES.get(change.after, change.after)) or NOTHING


class ProposeForm(DeedForm):
    """Which account explains it.  The entry that would follow from the one that is suggested stands above."""

    account = forms.ChoiceField(
        label=_("Account that explains it"),
        required=False,
        help_text=_("If the PSP's file was wrong and its next one will put it right: what the PSP owes us."),
    )

    field_order = ("account", "note")

    def __init__(self, row: Mismatch, data: Any = None) -> None:
        super().__init__(row, data)
        able = resolution.accounts_for(row) if row.suspended else []
        account: Any = self.fields["account"]
        account.choices = [("", _("None: nothing is posted") if not able else NOTHING), *((code, code) for code in able)]
        account.initial = resolution.suggested_account(row)


class DecideForm(DeedForm):
    """Yes or no to the very proposal that was shown: another one may wait by now."""

    proposal = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, row: Mismatch, data: Any = None) -> None:
        super().__init__(row, data)
        waiting = waiting_for(row)
        self.fields["proposal"].initial = waiting and waiting.pk

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.row.proposals.filter(pk=said.get("proposal")).exists():
            raise forms.ValidationError(_("This is not a proposal for this mismatch. Go back, and look at it again."))
        return said


def waiting_for(mismatch: Mismatch) -> Proposal | None:
    return mismatch.proposals.filter(status=Proposal.Status.WAITING).first()


def is_open(mismatch: Mismatch) -> bool:
    return mismatch.resolved_at is None


def is_proposed(mismatch: Mismatch) -> bool:
    return is_open(mismatch) and waiting_for(mismatch) is not None


def is_to_propose(mismatch: Mismatch) -> bool:
    return is_open(mismatch) and waiting_for(mismatch) is None


def take_over(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    return resolution.take_over(mismatch.pk, actor=actor, reason=said["note"])


def propose(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.propose(mismatch.pk, said["account"], said["note"], actor=actor, now=clock.now())
    return mismatch


def approve(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.approve(said["proposal"], actor=actor, reason=said["note"], now=clock.now())
    return mismatch


def reject(mismatch: Mismatch, said: dict[str, Any], actor: str) -> Mismatch:
    resolution.reject(said["proposal"], actor=actor, reason=said["note"], now=clock.now())
    return mismatch


def draft_for(mismatch: Mismatch) -> Draft | None:
    """Return the entry that is proposed, or else the one that would explain the mismatch; None if there is none."""
    waiting = waiting_for(mismatch)
    if waiting is None:
        return resolution.draft_of(mismatch, now=clock.now())
    return resolution.entry_of(mismatch, waiting.account, memo=waiting.memo, now=clock.now()) if waiting.account else None


def written(draft: Draft | None) -> str:
    return render_to_string("admin/_draft.html", {"draft": draft}) if draft else NOTHING


@admin.register(Mismatch)
class MismatchAdmin(WithDeeds):
    list_display = (
        id_column,
        "kind",
        "psp",
        "subject_link",
        figure("suspended", _("in suspense")),
        "age",
        "owner",
    )
    list_filter = (StateFilter, SuspenseFilter, AgeFilter, OwnerFilter, "kind", "psp", "currency")
    search_help_text = _("The id of a mismatch, of a batch, or of what it is about")
    fields: ClassVar[Any] = (
        "public_id",
        "kind",
        "cause",
        "owner",
        "psp",
        "batch_link",
        "line_link",
        "bank_line_link",
        "subject_link",
        figure("expected", _("by our books")),
        figure("found", _("by the file")),
        figure("suspended", _("in suspense")),
        time_column("found_at", _("found")),
        "age",
        time_column("resolved_at", _("resolved")),
        "draft",
    )
    readonly_fields: ClassVar[Any] = fields
    inlines = (ProposalRows, TransitionRows)
    deeds = (
        Deed(
            name="take_over",
            title=_("Take over"),
            meaning=_("You look into this mismatch from now on. Your name stands beside it in the list."),
            done=_("It is yours."),
            permissions=("reconciliation.propose_resolution",),
            act=take_over,
            is_possible=is_open,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="propose",
            title=_("Propose"),
            meaning=_(
                "Once somebody else has approved it, what stands in suspense of this mismatch goes to the account that you name, and it is "
                "closed. The fee in its line is booked as a fee of the PSP."
            ),
            done=_("Proposed. Somebody else approves it now."),
            permissions=("reconciliation.propose_resolution",),
            act=propose,
            is_possible=is_to_propose,
            refuse=leave_to_the_domain,
            form=ProposeForm,
        ),
        Deed(
            name="approve",
            title=_("Approve"),
            meaning=_("The entry below is posted, and the mismatch is closed. Whoever proposed it may not approve it."),
            done=_("Approved: the mismatch is resolved."),
            permissions=("reconciliation.approve_resolution",),
            act=approve,
            is_possible=is_proposed,
            refuse=leave_to_the_domain,
            form=DecideForm,
        ),
        Deed(
            name="reject",
            title=_("Reject"),
            meaning=_("Nothing is posted, and the mismatch stays open for another proposal."),
            done=_("Rejected: the mismatch is open."),
            permissions=("reconciliation.approve_resolution",),
            act=reject,
            is_possible=is_proposed,
            refuse=leave_to_the_domain,
            form=DecideForm,
            is_grave=True,
        ),
    )

    def facts(self, row: Mismatch) -> list[tuple[Any, Any]]:
        waiting = waiting_for(row)
        proposed = [(_("proposed by"), waiting.made_by), (_("because"), waiting.memo)] if waiting else []
        return [
            (_("mismatch"), row.get_kind_display()),
            (_("what of ours it is about"), self.subject_link(row)),
            (_("in suspense"), amount(Money(row.suspended, row.currency))),
            *proposed,
            (_("entry"), written(draft_for(row))),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(subject=term) | Q(batch__public_id=term)

    @admin.display(description=_("cause"))
    def cause(self, mismatch: Mismatch) -> str:
        return str(CAUSES[resolution.cause_of(mismatch)])

    @admin.display(description=_("age"))
    def age(self, mismatch: Mismatch) -> str:
        days = ((mismatch.resolved_at or clock.now()) - mismatch.found_at).days
        return ngettext("%(count)s day", "%(count)s days", days) % {"count": days}

    @admin.display(description=_("entry that would explain it"))
    def draft(self, mismatch: Mismatch) -> str:
        return written(draft_for(mismatch) if is_open(mismatch) else None)

    @admin.display(description=_("what of ours it is about"))
    def subject_link(self, mismatch: Mismatch) -> SafeString | str:
        return reference_of(mismatch.subject) if mismatch.subject else NOTHING

    @admin.display(description=_("settlement batch"))
    def batch_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(SettlementBatch, mismatch.batch_id, mismatch.batch)

    @admin.display(description=_("settlement line"))
    def line_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(StagedLine, mismatch.line_id, mismatch.line)

    @admin.display(description=_("bank line"))
    def bank_line_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(StagedBankLine, mismatch.bank_line_id, mismatch.bank_line)
