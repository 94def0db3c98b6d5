"""Settlement batches and mismatches in the admin: what was compared, what came of it, and what waits to be explained.

Mismatches are finance's work queue, the most urgent first: each arrives with the entry that would explain it, where one can be told, and is
resolved by two people.
"""

from datetime import UTC
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import clock
from ledger.admin import LISTS, NOTHING, LookOnly, Rows, figure_column, id_column, link, reference_of, short, time_column, whole_path
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from reconciliation import causes, resolution
from reconciliation.match_bulk import InBulk
from reconciliation.match_deeds import BULKS, DEEDS, draft_for, is_open
from reconciliation.match_filters import (
    CAUSES,
    AgeFilter,
    CauseFilter,
    DueFilter,
    OwnerFilter,
    StateFilter,
    SuspenseFilter,
    state_asked_for,
)
from reconciliation.models import (
    Mismatch,
    MismatchAttachment,
    MismatchNote,
    MismatchTransition,
    Proposal,
    SettlementBatch,
    SourceFile,
    StagedBankLine,
    StagedLine,
)


@admin.display(description=_("journal entry"))
def entry_link(row: SettlementBatch | Proposal) -> SafeString | str:
    return link(JournalEntry, row.journal_entry_id, f"je_{row.journal_entry_id}")


@admin.register(SettlementBatch)
class SettlementBatchAdmin(LookOnly):
    list_display = (
        id_column,
        "psp",
        "name",
        figure_column("paid_out", _("paid out")),
        figure_column("fees", _("fees")),
        figure_column("suspended", _("in suspense")),
        "lines",
        "mismatched",
        time_column("matched_at", _("compared")),
    )
    list_filter = ("psp", "currency")
    search_help_text = _("A batch's id, or its name at the PSP")
    fields: ClassVar[Any] = (
        "public_id",
        whole_path,
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
        figure_column("paid_out", _("paid out")),
        figure_column("fees", _("fees")),
        figure_column("suspended", _("in suspense")),
        entry_link,
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

    @admin.display(description=_("mismatches"))
    def mismatches_link(self, batch: SettlementBatch) -> SafeString:
        address = reverse("admin:reconciliation_mismatch_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, batch.public_id, gettext("Look at them"))


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
        entry_link,
    )


class OfWhoeverMayViewIt(Rows):
    """Rows without a permission of their own: who may view the mismatch sees them."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("reconciliation.view_mismatch")


class NoteRows(OfWhoeverMayViewIt):
    model = MismatchNote
    fields: ClassVar[Any] = (time_column("written_at", _("when")), "written_by", "text")
    readonly_fields: ClassVar[Any] = fields


class AttachmentRows(OfWhoeverMayViewIt):
    model = MismatchAttachment
    fields: ClassVar[Any] = (time_column("added_at", _("when")), "added_by", "file_link", "size_shown", "note", "sha256")
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("content")

    @admin.display(description=_("file"))
    def file_link(self, attachment: MismatchAttachment) -> SafeString:
        address = reverse("admin:reconciliation_mismatch_attachment", args=[attachment.mismatch_id, attachment.pk])
        return format_html('<a href="{}">{}</a>', address, attachment.name)

    @admin.display(description=_("size"))
    def size_shown(self, attachment: MismatchAttachment) -> str:
        return filesizeformat(attachment.size)


class TransitionRows(Rows):
    model = MismatchTransition
    fields = readonly_fields = (time_column("at", _("when")), "what", "before_shown", "after_shown", "actor", "reason")

    @admin.display(description=_("before"))
    def before_shown(self, change: MismatchTransition) -> str:
        return str(NAMES.get(change.before, change.before)) or NOTHING

    @admin.display(description=_("after"))
    def after_shown(self, change: MismatchTransition) -> str:
        return str(NAMES.get(change.after, change.after)) or NOTHING


def written(draft: Draft | None) -> str:
    return render_to_string("admin/_draft.html", {"draft": draft}) if draft else NOTHING


@admin.register(Mismatch)
class MismatchAdmin(InBulk):
    list_display = (
        id_column,
        "what",
        "subject_short",
        figure_column("suspended", _("in suspense")),
        "due",
        "owner",
    )
    list_filter = (StateFilter, CauseFilter, DueFilter, OwnerFilter, SuspenseFilter, AgeFilter, "kind", "psp", "currency")
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
        "could_be_shown",
        figure_column("expected", _("by our books")),
        figure_column("found", _("by the file")),
        figure_column("suspended", _("in suspense")),
        time_column("found_at", _("found")),
        "age",
        "due",
        time_column("resolved_at", _("resolved")),
        "draft",
    )
    readonly_fields: ClassVar[Any] = fields
    inlines = (ProposalRows, NoteRows, AttachmentRows, TransitionRows)
    deeds = DEEDS
    bulks = BULKS

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.attachment_view)
        return [path("<int:pk>/attachments/<int:attachment_id>/", view, name="reconciliation_mismatch_attachment"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Mismatch]:
        return causes.with_days_left(Mismatch.objects.all(), now=clock.now()).order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The most urgent first, where the list is of open ones: that of all is too long to be sorted."""
        return ("days_left", "found_at", "pk") if state_asked_for(request) in ("open", "proposed") else ("-pk",)

    def attachment_view(self, request: HttpRequest, pk: int, attachment_id: int) -> HttpResponse:
        """Give an attachment to whoever may view its mismatch: as a download, which no browser shows or takes for anything else."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        attachment = MismatchAttachment.objects.filter(pk=attachment_id, mismatch=pk).select_related("mismatch").first()
        if attachment is None:
            raise Http404
        self.log_change(request, attachment.mismatch, gettext("Downloaded: %s") % attachment.name)
        headers = {
            "Content-Disposition": content_disposition_header(True, attachment.name) or "attachment",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return HttpResponse(bytes(attachment.content), content_type=attachment.media_type, headers=headers)

    def facts(self, row: Mismatch) -> list[tuple[Any, Any]]:
        waiting = resolution.waiting_for(row)
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

    @admin.display(description=_("kind and cause"))
    def what(self, mismatch: Mismatch) -> SafeString:
        return format_html('{}<br><span class="quiet">{}</span>', mismatch.get_kind_display(), self.cause(mismatch))

    @admin.display(description=_("about"))
    def subject_short(self, mismatch: Mismatch) -> SafeString | str:
        """What of ours it is about, by the end of its id: the list needs the width."""
        listed = LISTS.get(mismatch.subject.partition("_")[0])
        if listed is None:
            return short(mismatch.subject) if mismatch.subject else NOTHING
        address = reverse(f"admin:{listed}_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, mismatch.subject, short(mismatch.subject))

    @admin.display(description=_("cause"))
    def cause(self, mismatch: Mismatch) -> str:
        return str(CAUSES[causes.cause_of(mismatch)])

    @admin.display(description=_("due"), ordering="days_left")
    def due(self, mismatch: Mismatch) -> SafeString | str:
        """By when it must be explained: in a word, and a colour."""
        if not is_open(mismatch):
            return NOTHING
        due, today = causes.due_on(mismatch), clock.now().astimezone(UTC).date()
        if due > today:
            return format_html('<span class="due">{}</span>', due.isoformat())
        if due == today:
            return format_html('<span class="due due-today">{}</span>', gettext("Due today"))
        return format_html('<span class="due due-over">{}</span>', gettext("Overdue since %s") % due.isoformat())

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

    @admin.display(description=_("what it could be"))
    def could_be_shown(self, mismatch: Mismatch) -> SafeString | str:
        either = [
            format_html_join(" + ", "{}", ((reference_of(each),) for each in line.split())) for line in mismatch.could_be.splitlines()
        ]
        return format_html_join(format_html("<br>{} ", gettext("or")), "{}", ((each,) for each in either)) or NOTHING

    @admin.display(description=_("settlement batch"))
    def batch_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(SettlementBatch, mismatch.batch_id, mismatch.batch)

    @admin.display(description=_("settlement line"))
    def line_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(StagedLine, mismatch.line_id, mismatch.line)

    @admin.display(description=_("bank line"))
    def bank_line_link(self, mismatch: Mismatch) -> SafeString | str:
        return link(StagedBankLine, mismatch.bank_line_id, mismatch.bank_line)
