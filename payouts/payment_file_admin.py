"""Payment files in the admin: made, approved by somebody else, taken to the bank, and answered by it; each step with its own permission.

A file's bytes are streamed to whoever may have them, and kept nowhere.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import CurrencyFilter, Rows, id_column, link, money_column, time_column
from ledger.deeds import Deed, DeedForm, WithDeeds, actor_in, calling, leave_to_the_domain, page_of
from ledger.errors import DomainError
from ledger.templatetags.written import amount, day
from payouts import file_answers, file_outcomes, files, paid_twice, pain001
from payouts.file_outcomes import Seen
from payouts.models import PaymentFile, PaymentFileAnswer, PaymentFileLine, Payout
from payouts.pain002 import LARGEST
from payouts.states import FileStatus
from payouts.vault import CannotOpen

MOST_SHOWN = 50  # of an answer's problems; all are kept


class MakeForm(forms.Form):
    currency = forms.CharField(label=_("Currency"), max_length=3, initial="EUR")
    execute_on = forms.DateField(label=_("The day on which the bank is to pay"), widget=forms.DateInput(attrs={"type": "date"}))
    format = forms.ChoiceField(
        label=_("Format"), choices=[(name, name) for name in pain001.DIALECTS], initial=files.DEFAULT_FORMAT, help_text=_("Ask your bank.")
    )


class AnswerForm(forms.Form):
    file = forms.FileField(label=_("The bank's answer"), help_text=_("A pain.002 file, as the bank gave it."))

    def clean_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST:
            raise forms.ValidationError(_("That is too large for an answer. Ask the bank to send it in parts."))
        return file


def fetch(file: PaymentFile, said: dict[str, Any], actor: str) -> PaymentFile:
    return files.fetch(file.pk, actor=actor, now=clock.now())


class StatementForm(DeedForm):
    """What somebody saw in the bank's statement."""

    on = forms.DateField(label=_("The day of the bank's statement"), widget=forms.DateInput(attrs={"type": "date"}))


def seen(said: dict[str, Any], actor: str) -> Seen:
    return Seen(on=said["on"], actor=actor, reason=said["note"], now=clock.now())


def was_paid(line: PaymentFileLine, said: dict[str, Any], actor: str) -> PaymentFileLine:
    return file_outcomes.was_paid(line.pk, seen(said, actor))


def never_left(line: PaymentFileLine, said: dict[str, Any], actor: str) -> PaymentFileLine:
    return file_outcomes.never_left(line.pk, seen(said, actor))


def file_was_paid(file: PaymentFile, said: dict[str, Any], actor: str) -> PaymentFile:
    return file_outcomes.file_was_paid(file.pk, seen(said, actor))


def file_never_left(file: PaymentFile, said: dict[str, Any], actor: str) -> PaymentFile:
    return file_outcomes.file_never_left(file.pk, seen(said, actor))


class AnswerRows(Rows):
    """What the bank answered, and what of it a person must look at."""

    model = PaymentFileAnswer
    fields = readonly_fields = ("message_id", "said", "told", "shown_problems", "received_by", time_column("received_at", _("received")))

    @admin.display(description=_("payouts"))
    def told(self, answer: PaymentFileAnswer) -> str:
        return ", ".join(f"{count} {name}" for name, count in answer.counts.items() if count) or "–"

    @admin.display(description=_("problems"))
    def shown_problems(self, answer: PaymentFileAnswer) -> str:
        return " ".join(f"{each['about']}: {each['what']}" for each in answer.problems[:MOST_SHOWN]) or "–"


@admin.display(description=_("to be paid on"))
def day_to_pay(file: PaymentFile) -> str:
    return day(file.execute_on)


@admin.register(PaymentFile)
class PaymentFileAdmin(WithDeeds):
    change_list_template = "admin/payment_files.html"
    list_display = (
        id_column,
        money_column("total", _("total")),
        "count",
        "status",
        day_to_pay,
        "created_by",
        time_column("created_at", _("made")),
    )
    list_filter = ("status", CurrencyFilter)
    search_help_text = _("The id of a file, or of a payout in it")
    fields = (
        "public_id",
        "status",
        "reason",
        money_column("total", _("total")),
        "count",
        day_to_pay,
        "format",
        "message_id",
        "sha256",
        "created_by",
        time_column("created_at", _("made")),
        "finished_by",
        "approved_by",
        time_column("approved_at", _("approved")),
        "downloaded_by",
        time_column("downloaded_at", _("fetched")),
        "lines_link",
        "download_link",
    )
    readonly_fields: ClassVar[Any] = fields
    inlines = (AnswerRows,)
    deeds = (
        Deed(
            name="approve",
            title=_("Approve the file"),
            meaning=_("It may go to the bank, which then pays all that is in it. Whoever made it may not approve it."),
            done=_("Approved: it may be fetched."),
            permissions=("payouts.approve_paymentfile",),
            act=calling(files.approve),
            is_possible=lambda file: file.status == FileStatus.MADE and file.sha256 != "",
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="fetch",
            title=_("Fetch for the bank"),
            meaning=_(
                "From now on the file may be at the bank, and only the bank's answer says what became of its payouts. "
                "Nobody but you can download it."
            ),
            done=_("Noted. Download it below, take it to the bank, and delete it then: it holds every receiver's account."),
            permissions=("payouts.download_paymentfile",),
            act=fetch,
            is_possible=lambda file: file.status == FileStatus.APPROVED and file.downloaded_at is None,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="reject",
            title=_("Put the file aside"),
            meaning=_("It never goes to the bank. Its payouts go into the next file."),
            done=_("Put aside: its payouts wait for the next file."),
            permissions=("payouts.approve_paymentfile",),
            act=calling(files.reject),
            is_possible=lambda file: file.status in (FileStatus.MADE, FileStatus.APPROVED) and file.downloaded_at is None,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
        Deed(
            name="was_paid",
            title=_("The statement shows that it was paid"),
            meaning=_("All payouts of which the bank has not told how they end are paid. Whoever fetched the file may not say so."),
            done=_("Recorded: its payouts are paid."),
            permissions=("payouts.answer_paymentfile",),
            act=file_was_paid,
            is_possible=file_outcomes.has_open,
            refuse=leave_to_the_domain,
            form=StatementForm,
            is_grave=True,
        ),
        Deed(
            name="never_left",
            title=_("The money never left"),
            meaning=_(
                "The bank's statement has none of the payouts of which the bank has not told how they end: they go into the next file. "
                "Whoever fetched this file may not say so."
            ),
            done=_("Recorded: its payouts wait for the next file."),
            permissions=("payouts.answer_paymentfile",),
            act=file_never_left,
            is_possible=file_outcomes.has_open,
            refuse=leave_to_the_domain,
            form=StatementForm,
            is_grave=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        make = partial(self.form_view, kind=MakeForm, permission="payouts.make_paymentfile", title=_("Make a payment file"))
        answer = partial(self.form_view, kind=AnswerForm, permission="payouts.answer_paymentfile", title=_("Read the bank's answer"))
        return [
            path("make/", view(make), name="payouts_paymentfile_make"),
            path("answer/", view(answer), name="payouts_paymentfile_answer"),
            path("<int:pk>/download/", view(self.download_view), name="payouts_paymentfile_download"),
            *super().get_urls(),
        ]

    def form_view(self, request: HttpRequest, *, kind: type[forms.Form], permission: str, title: Any) -> HttpResponseBase:
        """Show a form and do what it asks for; what the domain refuses is said under the field that it names."""
        if not request.user.has_perm(permission):
            raise PermissionDenied
        form = kind(request.POST, request.FILES) if request.method == "POST" else kind(initial={"execute_on": clock.now().date()})
        if form.is_valid():
            try:
                return HttpResponseRedirect(page_of(self.carried_out(form, request)))
            except (DomainError, CannotOpen) as error:
                field = getattr(error, "field", "")
                form.add_error(field if field in form.fields else None, str(error))
        context = self.admin_site.each_context(request) | {"title": title, "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/payment_file_form.html", context)

    def carried_out(self, form: forms.Form, request: HttpRequest) -> PaymentFile:
        actor, said = actor_in(request), form.cleaned_data
        if isinstance(form, MakeForm):
            made = files.make(said["currency"], execute_on=said["execute_on"], made_by=actor, now=clock.now(), version=said["format"])
            self.message_user(request, _("Made. Somebody else must approve it."), messages.SUCCESS)
            return made
        applied = file_answers.apply(said["file"].chunks(), actor=actor, now=clock.now())
        self.log_change(request, applied.file, gettext("The bank's answer was read."))
        if applied.problems:
            self.message_user(request, _("Read. Some of it makes no sense and waits for you below."), messages.WARNING)
        else:
            self.message_user(request, _("Read and applied."), messages.SUCCESS)
        return applied.file

    def download_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stream the file to who fetched it, for as long as the bank has not answered it."""
        if not request.user.has_perm("payouts.download_paymentfile"):
            raise PermissionDenied
        file = PaymentFile.objects.filter(pk=pk).first()
        if file is None or file.downloaded_at is None or file.status != FileStatus.APPROVED:
            self.message_user(
                request, _("There is nothing to download: a file is approved, fetched and then downloaded."), messages.WARNING
            )
            return HttpResponseRedirect(page_of(file) if file else reverse("admin:payouts_paymentfile_changelist"))
        try:
            file = files.fetch(file.pk, actor=actor_in(request), now=clock.now())
        except DomainError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return HttpResponseRedirect(page_of(file))
        self.log_change(request, file, gettext("Downloaded."))
        return StreamingHttpResponse(
            pieces_of(file),
            content_type="application/xml",
            headers={"Content-Disposition": f'attachment; filename="{file.message_id}.xml"', "Cache-Control": "no-store"},
        )

    def facts(self, row: PaymentFile) -> list[tuple[Any, Any]]:
        return [
            (_("total"), amount(row.total)),
            (_("payouts"), row.count),
            (_("to be paid on"), day(row.execute_on)),
            (_("made by"), row.created_by),
            (_("fetched by"), row.downloaded_by),
            ("SHA-256", row.sha256),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(message_id=term) | Q(lines__payout__public_id=term)

    @admin.display(description=_("payouts in it"))
    def lines_link(self, file: PaymentFile) -> SafeString:
        return format_html(
            '<a href="{}?q={}">{}</a>', reverse("admin:payouts_paymentfileline_changelist"), file.public_id, gettext("Look at them")
        )

    @admin.display(description=_("download"))
    def download_link(self, file: PaymentFile) -> SafeString | str:
        if file.downloaded_at is None or file.status != FileStatus.APPROVED:
            return "–"
        return format_html('<a href="{}">{}.xml</a>', reverse("admin:payouts_paymentfile_download", args=[file.pk]), file.message_id)


@admin.register(PaymentFileLine)
class PaymentFileLineAdmin(WithDeeds):
    list_display = ("number", "payout_link", "paid", "bank_status", "bank_reason", "dropped_why")
    list_select_related = ("payout", "file")
    search_help_text = _("The id of a payment file or of a payout")
    fields = readonly_fields = (
        "file",
        "number",
        "payout_link",
        "paid",
        "text",
        "bank_status",
        "bank_reason",
        time_column("dropped_at", _("taken out")),
        "dropped_why",
        "freed_by",
        "again_entry",
        "again_wallet_entry",
        "again_return_entry",
        "again_return_wallet_entry",
    )
    deeds = (
        Deed(
            name="was_paid",
            title=_("The statement shows that it was paid"),
            meaning=_(
                "This file paid the payout. If it had failed or come back, its money is taken off the seller again, below zero if need be. "
                "If another file had paid it, it was paid twice: call one of them back. Whoever fetched the file may not say so."
            ),
            done=_("Recorded: the payout says what came of it."),
            permissions=("payouts.answer_paymentfile",),
            act=was_paid,
            is_possible=file_outcomes.may_have_paid,
            refuse=leave_to_the_domain,
            form=StatementForm,
            is_grave=True,
        ),
        Deed(
            name="never_left",
            title=_("The money never left"),
            meaning=_("The bank's statement does not have it: it goes into the next file. Whoever fetched this file may not say so."),
            done=_("Recorded: the payout waits for the next file, or is given up."),
            permissions=("payouts.answer_paymentfile",),
            act=never_left,
            is_possible=file_outcomes.is_open,
            refuse=leave_to_the_domain,
            form=StatementForm,
            is_grave=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PaymentFileLine]:
        return super().get_queryset(request).select_related("payout", "file")

    def do(self, deed: Deed, row: PaymentFileLine, *, form: DeedForm, request: HttpRequest) -> Model | None:
        """Do it, and warn of another file that pays the payout, too."""
        following = super().do(deed, row, form=form, request=request)
        if isinstance(following, PaymentFileLine) and (warning := paid_twice.warning_of(following)):
            self.message_user(request, warning, messages.WARNING)
        return following

    def facts(self, row: PaymentFileLine) -> list[tuple[Any, Any]]:
        return [
            (_("payout"), row.payout.public_id),
            (_("amount"), amount(row.payout.amount)),
            (_("status"), row.payout.get_status_display()),
            (_("payment file"), row.file.public_id),
            (_("fetched by"), row.file.downloaded_by),
        ]

    def sought(self, term: str) -> Q:
        return Q(file__public_id=term) | Q(payout__public_id=term)

    @admin.display(description=_("payout"))
    def payout_link(self, line: PaymentFileLine) -> SafeString | str:
        return link(Payout, line.payout_id, line.payout.public_id)

    @admin.display(description=_("amount"))
    def paid(self, line: PaymentFileLine) -> str:
        return amount(line.payout.amount)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False  # reached from its file


def pieces_of(file: PaymentFile) -> Iterator[bytes]:
    """Return the file's bytes; the answer breaks off before its end if they are not those that were approved."""
    yield from files.stream(file)
