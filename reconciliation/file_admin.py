"""Files of PSPs and banks in the admin: uploaded, looked at line by line, read again when they were refused; and which are expected when, and with which fees.

What a file says is changed by nobody.
"""

from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import clock
from ledger.admin import NOTHING, LookOnly, figure_column, id_column, link, number_in, path_of, time_column
from ledger.currencies import MINOR_UNITS
from ledger.deeds import Deed, WithDeeds, actor_in, page_of
from ledger.errors import DomainError
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from ledger.titles import Entitled
from reconciliation import bank_matching, ingestion, tasks
from reconciliation.archives import LARGEST
from reconciliation.models import BankStatement, ComparedStatement, ExpectedFee, ExpectedFile, SourceFile, StagedBankLine, StagedLine

MOST_STATEMENTS = 50  # of a file, whose openings its page looks at
GROSS = figure_column("gross", _("gross"))
FEE, NET = figure_column("fee", _("fee"), currency="net_currency"), figure_column("net", _("net"), currency="net_currency")
OPENING, CLOSING, AMOUNT = (
    figure_column("opening", _("opening")),
    figure_column("closing", _("closing")),
    figure_column("amount", _("amount")),
)


def sources() -> list[tuple[str, str]]:
    return [(source, source) for source in settings.FILE_SOURCES]


def psps() -> list[tuple[str, str]]:
    return [(source, source) for source, kind in settings.FILE_SOURCES.items() if kind == SourceFile.Kind.SETTLEMENT]


class UploadForm(forms.Form):
    source = forms.ChoiceField(label=_("From"), choices=sources, help_text=_("The PSP or the bank that it is of."))
    file = forms.FileField(
        label=_("File"), help_text=_("A settlement file or a bank statement, as it came. One in gzip or zip is unpacked.")
    )

    def clean_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST:
            raise forms.ValidationError(_("That is too large. Ask for it in parts."))
        return file


def read_again(file: SourceFile, said: dict[str, Any], actor: str) -> SourceFile:
    again = ingestion.read_again(file.pk)
    tasks.nudge_staging()
    return again


def gap_in_words(statement: BankStatement) -> str:
    """Say that the statement does not open with what the one before closed with; empty where it does, or there is none."""
    gap = bank_matching.gap_before(statement)
    if gap is None:
        return ""
    said = gettext("It opens with %(opening)s, and the one of %(day)s closed with %(closing)s. One between them may be missing.")
    opening, closing = (amount(Money(figure, statement.currency)) for figure in (statement.opening, gap.closing))
    return said % {"opening": opening, "day": gap.closed_on, "closing": closing}


@admin.register(SourceFile)
class SourceFileAdmin(WithDeeds):
    change_list_template = "admin/source_files.html"
    list_display = (id_column, "source", "name", "format", "status", "staged", "last_day", time_column("received_at", _("received")))
    list_filter = ("status", "kind", "source")
    search_help_text = _("A file's id, its name or its SHA-256")
    fields = (
        "public_id",
        "status",
        "error_line",
        "error",
        "source",
        "kind",
        "format",
        "name",
        "size",
        "sha256",
        "staged",
        "currencies_shown",
        "last_day",
        "received_by",
        time_column("received_at", _("received")),
        time_column("staged_at", _("read")),
        "gaps_shown",
        "lines_link",
        "download_link",
    )
    readonly_fields: ClassVar[Any] = fields
    deeds = (
        Deed(
            name="read_again",
            title=_("Read the file again"),
            meaning=_("It is read from its beginning once more. That helps only if our reader has changed since it was refused."),
            done=_("It waits to be read."),
            permissions=("reconciliation.reread_sourcefile",),
            act=read_again,
            is_possible=lambda file: file.status == SourceFile.Status.REFUSED,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("upload/", view(self.upload_view), name="reconciliation_sourcefile_upload"),
            path("<int:pk>/download/", view(self.download_view), name="reconciliation_sourcefile_download"),
            *super().get_urls(),
        ]

    def upload_view(self, request: HttpRequest) -> HttpResponseBase:
        """Receive a file; what the domain refuses is said under the field that it names."""
        if not request.user.has_perm("reconciliation.upload_sourcefile"):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_valid():
            try:
                return HttpResponseRedirect(page_of(self.received(form, request)))
            except DomainError as error:
                form.add_error(error.field if error.field in form.fields else None, error.detail)
        context = self.admin_site.each_context(request) | {"title": _("Upload a file"), "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    def received(self, form: UploadForm, request: HttpRequest) -> SourceFile:
        given, actor = form.cleaned_data["file"], actor_in(request)
        file, is_new = ingestion.receive(given, given.name or "", source=form.cleaned_data["source"], received_by=actor, now=clock.now())
        tasks.nudge_staging()
        if file.status == SourceFile.Status.REFUSED:
            self.message_user(request, _("It is refused. The reason stands below."), messages.ERROR)
        elif is_new:
            self.message_user(request, _("Received. It is read now; load this page again to see how far."), messages.SUCCESS)
        else:
            self.message_user(request, _("This very file was received before: nothing has changed."), messages.WARNING)
        self.log_change(request, file, gettext("Uploaded."))
        return file

    def download_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stream the original, as it was received."""
        if not request.user.has_perm("reconciliation.download_sourcefile"):
            raise PermissionDenied
        file = SourceFile.objects.filter(pk=pk).first()
        if file is None:
            raise Http404
        self.log_change(request, file, gettext("Downloaded."))
        return StreamingHttpResponse(
            ingestion.contents_of(file),
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{file.public_id}"', "Cache-Control": "no-store"},
        )

    def facts(self, row: SourceFile) -> list[tuple[Any, Any]]:
        return [(_("name"), row.name), (_("from"), row.source), (_("refused because"), row.error), ("SHA-256", row.sha256)]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(name=term) | Q(sha256=term)

    @admin.display(description=_("currencies"))
    def currencies_shown(self, file: SourceFile) -> str:
        return ", ".join(file.currencies) or "–"

    @admin.display(description=_("after the statements before"))
    def gaps_shown(self, file: SourceFile) -> str:
        statements = file.statements.filter(has_balances=True).order_by("position")[:MOST_STATEMENTS]
        said = ((statement, gap_in_words(statement)) for statement in statements)
        return " ".join(f"{statement}: {words}" for statement, words in said if words) or NOTHING

    @admin.display(description=_("lines"))
    def lines_link(self, file: SourceFile) -> SafeString | str:
        if file.status != SourceFile.Status.STAGED:
            return "–"
        rows = "stagedline" if file.kind == SourceFile.Kind.SETTLEMENT else "bankstatement"
        address = reverse(f"admin:reconciliation_{rows}_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, file.public_id, gettext("Look at them"))

    @admin.display(description=_("original"))
    def download_link(self, file: SourceFile) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("admin:reconciliation_sourcefile_download", args=[file.pk]), gettext("Download"))


class OfAFile(LookOnly):
    """Rows of a file, found by its id or by theirs, and reached from its page."""

    search_help_text = _("The id of a file, or a row's number")
    list_select_related = ("file",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows count for nothing before their file was read to its end, and are not shown before."""
        return super().get_queryset(request).filter(file__status=SourceFile.Status.STAGED)

    def sought(self, term: str) -> Q:
        return Q(file__public_id=term) | Q(pk=number_in(term))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("file"))
    def file_link(self, row: Any) -> SafeString | str:
        return link(SourceFile, row.file_id, row.file.name)


@admin.register(StagedLine)
class StagedLineAdmin(OfAFile):
    ordering = ("file_id", "number")
    list_display = ("line", "kind", "our_reference", "psp_reference", GROSS, FEE, NET, "occurred_at")
    fields: ClassVar[Any] = (
        "file_link",
        "line",
        "kind",
        "type",
        "batch",
        "our_reference",
        "path_link",
        "psp_reference",
        "charge_reference",
        GROSS,
        FEE,
        NET,
        "rate",
        time_column("occurred_at", _("happened")),
        "settled_on",
        "method",
        "text",
    )
    readonly_fields: ClassVar[Any] = fields

    @admin.display(description=_("whole path"))
    def path_link(self, line: StagedLine) -> SafeString | str:
        key = line.our_reference or line.charge_reference or line.psp_reference
        return path_of(key) if key else NOTHING


@admin.register(BankStatement)
class BankStatementAdmin(OfAFile):
    list_display = ("account", "number", "currency", OPENING, CLOSING, "closed_on", "lines")
    fields = readonly_fields = (
        "file_link",
        "account",
        "number",
        "currency",
        OPENING,
        "opened_on",
        CLOSING,
        "closed_on",
        "lines",
        "is_continuation",
        "is_continued",
        "has_balances",
        "lines_link",
        "gap_shown",
        "compared_shown",
        "entry_link",
    )

    def sought(self, term: str) -> Q:
        return super().sought(term) | Q(compared__public_id=term)

    @admin.display(description=_("after the statement before"))
    def gap_shown(self, statement: BankStatement) -> str:
        return gap_in_words(statement) or NOTHING

    @admin.display(description=_("compared"))
    def compared_shown(self, statement: BankStatement) -> str:
        compared = ComparedStatement.objects.filter(pk=statement.pk).first()
        if compared is None:
            return NOTHING
        said = gettext("%(id)s: %(matched)s of %(lines)s lines match, %(again)s of them came before; %(suspended)s in suspense")
        figures = {name: getattr(compared, name) for name in ("matched", "lines", "again")}
        suspended = amount(Money(compared.suspended, statement.currency))
        return said % (figures | {"id": compared.public_id, "suspended": suspended})

    @admin.display(description=_("journal entry"))
    def entry_link(self, statement: BankStatement) -> SafeString | str:
        compared = ComparedStatement.objects.filter(pk=statement.pk, journal_entry__isnull=False).first()
        return link(JournalEntry, compared.journal_entry_id, f"je_{compared.journal_entry_id}") if compared else NOTHING

    @admin.display(description=_("bank lines"))
    def lines_link(self, statement: BankStatement) -> SafeString:
        address = reverse("admin:reconciliation_stagedbankline_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, statement.file.public_id, gettext("Look at them"))


@admin.register(StagedBankLine)
class StagedBankLineAdmin(OfAFile):
    ordering = ("file_id", "number")
    list_display = ("line", AMOUNT, "booked_on", "counterparty", "end_to_end_id", "text")
    fields = readonly_fields = (
        "file_link",
        "statement",
        "line",
        AMOUNT,
        "booked_on",
        "valued_on",
        "is_reversal",
        "bank_reference",
        "end_to_end_id",
        "batch_reference",
        "counterparty",
        "counterparty_account",
        "text",
        "code",
        "return_reason",
        "parts",
        "matches_link",
    )

    @admin.display(description=_("what of ours it is"))
    def matches_link(self, line: StagedBankLine) -> SafeString:
        address = reverse("admin:reconciliation_banklinematch_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, line.pk, gettext("Look at it"))


class ExpectedFileForm(forms.ModelForm):  # type: ignore[type-arg]
    source = forms.ChoiceField(label=_("From"), choices=sources)
    currency = forms.ChoiceField(
        label=_("Currency"), required=False, choices=[("", _("any")), *((code, code) for code in sorted(MINOR_UNITS))]
    )

    class Meta:
        model = ExpectedFile
        fields = ("source", "kind", "currency", "due_at", "zone", "days_after", "has_weekends", "has_quiet_days", "since")

    def clean_zone(self) -> str:
        zone = str(self.cleaned_data["zone"])
        if zone not in available_timezones():
            raise forms.ValidationError(_("There is no such time zone. Write one such as Europe/Berlin."))
        return zone


class ExpectedFeeForm(forms.ModelForm):  # type: ignore[type-arg]
    psp = forms.ChoiceField(label=_("PSP"), choices=psps)
    currency = forms.ChoiceField(label=_("Currency"), choices=[(code, code) for code in sorted(MINOR_UNITS)])

    class Meta:
        model = ExpectedFee
        fields = ("psp", "currency", "basis_points", "fixed")


@admin.register(ExpectedFee)
class ExpectedFeeAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ExpectedFeeForm
    list_display = ("psp", "currency", "basis_points", "fixed")


@admin.register(ExpectedFile)
class ExpectedFileAdmin(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ExpectedFileForm
    list_display = ("source", "kind", "currency", "due_at", "zone", "days_after", "has_weekends", "has_quiet_days", "since")
