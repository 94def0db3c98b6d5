"""Payouts and payout runs in the admin: each payout with its time line, each run with its payouts; both are approved or rejected here.

A run can be rehearsed first: the page shows what it would pay, whom it would pass over and why, and how the books would stand.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import CurrencyFilter, Rows, id_column, link, money_column, recent, short, time_column, whole_path
from ledger.deeds import Deed, DeedForm, WithDeeds, actor_in, calling, leave_to_the_domain, page_of
from ledger.errors import DomainError
from ledger.templatetags.written import amount, moment
from payouts import calendars, choice, file_returns, files, queries, requests, scheduling, tasks, timeline, wording
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import BankAccount, PaymentFileLine, Payout, PayoutAttempt, PayoutRun, PayoutTransition
from payouts.states import Interval, PayoutStatus, RunStatus
from wallet.admin import sellers_called
from wallet.models import Seller, Shop


@admin.display(description=_("run"))
def run_link(payout: Payout) -> SafeString | str:
    return link(PayoutRun, payout.run_id, payout.run.period if payout.run else "")


@admin.display(description=_("seller"))
def seller_link(payout: Payout) -> SafeString | str:
    return link(Seller, payout.seller_id, payout.seller.name)


@admin.display(description=_("bank account"))
def account_link(payout: Payout) -> SafeString | str:
    return link(BankAccount, payout.bank_account_id, account_in_words(payout.bank_account))


def account_in_words(account: BankAccount) -> SafeString | str:
    """Return the account, masked, and when it was replaced, if it was: nothing is approved to it any more."""
    if account.replaced_at is None:
        return str(account)
    return format_html("{}, {} {}", account, gettext("replaced on"), moment(account.replaced_at))


@admin.display(description=_("id"))
def payout_link(payout: Payout) -> SafeString | str:
    return link(Payout, payout.pk, short(payout.public_id))


@admin.display(description=_("payment files"))
def file_links(payout: Payout) -> SafeString | str:
    lines = payout.file_lines.select_related("file").order_by("file")
    return format_html_join(", ", "{}", ((link(PaymentFileLine, line.pk, line.file.public_id),) for line in lines)) or "–"


class AttemptRows(Rows):
    """The calls to the bank."""

    model = PayoutAttempt
    fields = readonly_fields = (
        "operation",
        "number",
        "status",
        "provider_reference",
        "error_code",
        time_column("created_at", _("sent")),
        time_column("finished_at", _("finished")),
    )


class WaitsFilter(admin.SimpleListFilter):
    """What is not at its end, by who can take it a step further."""

    title = _("what it waits for")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [
            ("approval", _("For approval")),
            ("person", _("The machine gave up: for a person's decision")),
            ("bank", _("For the bank")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "approval":
                return queryset.filter(pk__in=queries.waiting_for_approval().values("pk"))
            case "person":
                return queryset.filter(pk__in=queries.waiting_for_a_person().values("pk"))
            case "bank":
                return queryset.filter(pk__in=queries.on_their_way().values("pk"))
            case _:
                return queryset


class LatelyFilter(admin.SimpleListFilter):
    """What came to nothing lately, whenever it was made."""

    title = _("failed or sent back")
    parameter_name = "came_to_nothing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("7", _("Past 7 days")), ("30", _("Past 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.lookup_choices):
            return queryset
        since = timezone.now() - timedelta(days=int(self.value() or 0))
        return queryset.filter(pk__in=queries.came_to_nothing_since(since).values("pk"))


class CameBackForm(DeedForm):
    """What the bank's statement says of money that came back."""

    on = forms.DateField(label=_("The day in the bank's statement"), widget=forms.DateInput(attrs={"type": "date"}))
    code = forms.ChoiceField(
        label=_("What the seller is told"),
        choices=[(code, words) for code, (words, _is_account) in wording.REASONS.items()],
        initial=file_returns.NOT_SAID,
    )


def came_back(payout: Payout, said: dict[str, Any], actor: str) -> Payout:
    return file_returns.came_back(payout.pk, on=said["on"], code=said["code"], actor=actor, reason=said["note"], now=clock.now())


def waits_alone(payout: Payout) -> bool:
    return payout.status == PayoutStatus.WAITING and (payout.run is None or payout.run.status != RunStatus.WAITING)


def is_stopped(payout: Payout) -> bool:
    return payout.status == PayoutStatus.EXECUTING and payout.next_attempt_at is None


def may_be_given_up(payout: Payout) -> bool:
    """Does it wait for a person, or for a payment file that nobody has made yet?"""
    if payout.provider != files.PROVIDER:
        return is_stopped(payout)
    return payout.status == PayoutStatus.EXECUTING and requests.file_of(payout) is None


@admin.register(Payout)
class PayoutAdmin(WithDeeds):
    list_display = (
        id_column,
        seller_link,
        money_column("amount", _("amount")),
        "status",
        account_link,
        run_link,
        time_column("created_at", _("made")),
    )
    list_select_related = ("seller", "bank_account", "run", "shop")
    list_filter = ("status", WaitsFilter, LatelyFilter, "cause", "shop", CurrencyFilter, recent("created_at"))
    search_help_text = _("The id or reference of a payout, the id of a run, the bank's reference, or a seller's name, id or reference")
    inlines = (AttemptRows,)
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "public_id",
                    whole_path,
                    "shop",
                    seller_link,
                    money_column("amount", _("amount")),
                    "status",
                    account_link,
                    run_link,
                    "requested_by",
                    "decided_by",
                    "failure_code",
                    "failure_message",
                    "arrives_on",
                    time_column("paid_at", _("paid")),
                )
            },
        ),
        (_("Time line"), {"fields": ("timeline",), "classes": ("wide", "timeline-set")}),
        (
            _("Particulars"),
            {
                "classes": ("collapse",),
                "fields": (
                    "cause",
                    "reference",
                    "provider",
                    "provider_reference",
                    file_links,
                    "tries",
                    "failures",
                    "asked",
                    "deaths",
                    time_column("created_at", _("made")),
                    time_column("next_attempt_at", _("next try")),
                ),
            },
        ),
    )
    readonly_fields = tuple(name for _title, options in fieldsets for name in options["fields"])
    deeds = (
        Deed(
            name="approve",
            title=_("Approve"),
            meaning=_("The money goes to the seller's bank account. Whoever asked for it may not approve it."),
            done=_("Approved: the payout is on its way."),
            permissions=("payouts.change_payout",),
            act=calling(requests.approve, nudge=tasks.nudge_payouts),
            is_possible=waits_alone,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="reject",
            title=_("Reject"),
            meaning=_("The payout is cancelled, and its money is available to the seller again."),
            done=_("Rejected: the money is available to the seller again."),
            permissions=("payouts.change_payout",),
            act=calling(requests.reject),
            is_possible=waits_alone,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
        Deed(
            name="ask_again",
            title=_("Try again"),
            meaning=_("The machine goes on: it asks the bank what became of the payout, and sends it only if the bank never saw it."),
            done=_("The machine goes on."),
            permissions=("payouts.change_payout",),
            act=calling(requests.ask_again, nudge=tasks.nudge_payouts),
            is_possible=is_stopped,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="give_up",
            title=_("Give up"),
            meaning=_("The bank is asked now. If it never saw the payout, or refused it, the money is available to the seller again."),
            done=_("Done: the payout says what came of it."),
            permissions=("payouts.change_payout",),
            act=calling(requests.give_up),
            is_possible=may_be_given_up,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
        Deed(
            name="came_back",
            title=_("It came back"),
            meaning=_(
                "The bank's statement shows that the money was sent back. It is available to the seller again; "
                "only if the payout was paid twice, the second payment is what came back, and the seller keeps the first."
            ),
            done=_("Recorded: the payout says what came of it."),
            permissions=("payouts.answer_paymentfile",),
            act=came_back,
            is_possible=file_returns.may_come_back,
            refuse=leave_to_the_domain,
            form=CameBackForm,
            is_grave=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payout]:
        return super().get_queryset(request).select_related("seller", "run", "bank_account")

    def facts(self, row: Payout) -> list[tuple[Any, Any]]:
        return [
            (_("payout"), row.public_id),
            (_("seller"), row.seller.name),
            (_("amount"), amount(row.amount)),
            (_("bank account"), account_in_words(row.bank_account)),
            (_("asked for by"), row.requested_by),
            (_("status"), row.get_status_display()),
        ]

    def sought(self, term: str) -> Q:
        if term.startswith("run_"):
            return Q(run__in=list(PayoutRun.objects.filter(public_id=term).values_list("pk", flat=True)))
        named = Q(public_id=term) | Q(reference=term) & ~Q(reference="") | Q(provider_reference=term) & ~Q(provider_reference="")
        return named | Q(seller_id__in=sellers_called(term))

    @admin.display(description=_("time line"))
    def timeline(self, payout: Payout) -> str:
        entries_and_movements = (*timeline.ENTRIES, *timeline.MOVEMENTS)
        whole = Payout.objects.select_related("run", *entries_and_movements).get(pk=payout.pk)
        lines = [
            (moment, link(type(moment.row), moment.row.pk, moment.what) if moment.row else moment.what)
            for moment in timeline.timeline_of(whole)
        ]
        return render_to_string("admin/_timeline.html", {"moments": lines})


def waits(run: PayoutRun) -> bool:
    return run.status == RunStatus.WAITING


class RunForm(forms.Form):
    """Which run: whose calendar, and which of its periods (empty: the last that is over)."""

    by = forms.ChoiceField(label=_("Calendar"))
    period = forms.CharField(
        label=_("Period"), required=False, max_length=10, help_text=_("2026-10, 2026-W47 or 2026-11-21; empty: the last that is over")
    )

    def __init__(self, data: Any, *, now: datetime) -> None:
        super().__init__(data)
        self.now = now
        in_use = [each for each in scheduling.in_use() if each[2].interval != Interval.ON_REQUEST]
        self.calendars = {
            f"{shop} {currency} {calendar.interval} {calendar.key}": (shop, currency, calendar)
            for shop, currency, calendar, _since in in_use
        }
        names = dict(Shop.objects.values_list("pk", "name"))
        self.fields["by"].choices = [  # type: ignore[attr-defined]
            (key, f"{names[shop]}, {currency}: {in_words(calendar)}") for key, (shop, currency, calendar) in self.calendars.items()
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "by" in cleaned:
            shop, currency, calendar = self.calendars[cleaned["by"]]
            name = cleaned.get("period") or calendars.last_over(calendar, self.now).name
            cleaned["which"] = Which(shop, currency, calendar, name)
        return cleaned


def in_words(calendar: Calendar) -> str:
    """Return what tells a calendar from others, for a list to choose from."""
    said = [str(Interval(calendar.interval).label)]
    if calendar.interval != Interval.DAILY:
        said.append(gettext("day %(day)s") % {"day": calendar.day})
    said.append(f"{calendar.cut_off:%H:%M} {calendar.zone}")
    return ", ".join([*said, *([gettext("bank holidays of %(country)s") % {"country": calendar.holidays}] if calendar.holidays else [])])


@admin.register(PayoutRun)
class PayoutRunAdmin(WithDeeds):
    change_list_template = "admin/payout_runs.html"
    list_display = (
        "period",
        "shop",
        "interval",
        money_column("total", _("total")),
        "count",
        "status",
        "made_by",
        time_column("created_at", _("made")),
    )
    list_select_related = ("shop",)
    list_filter = ("status", "interval", "shop", CurrencyFilter)
    search_help_text = _("The id of a run, or a period such as 2026-10")
    fields = (
        "public_id",
        "shop",
        "calendar_in_words",
        "period",
        time_column("ends_at", _("cut-off")),
        money_column("total", _("total")),
        "count",
        "status",
        "made_by",
        "decided_by",
        time_column("decided_at", _("decided")),
        "reason",
        time_column("created_at", _("made")),
        "payouts_link",
        "differences",
        "changes",
    )
    readonly_fields = fields
    deeds = (
        Deed(
            name="approve",
            title=_("Approve the run"),
            meaning=_("All of its payouts go to the sellers' banks. Whoever made the run may not approve it."),
            done=_("Approved: its payouts are on their way."),
            permissions=("payouts.change_payoutrun",),
            act=calling(partial(requests.decide_run, approve=True), nudge=tasks.nudge_payouts),
            is_possible=waits,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="reject",
            title=_("Reject the run"),
            meaning=_(
                "All of its payouts are cancelled, and their money is available to the sellers again. The period is not run a second time."
            ),
            done=_("Rejected: the money is available to the sellers again."),
            permissions=("payouts.change_payoutrun",),
            act=calling(partial(requests.decide_run, approve=False)),
            is_possible=waits,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        own = [path("rehearsal/", self.admin_site.admin_view(self.rehearsal_view), name="payouts_payoutrun_rehearsal")]
        return own + super().get_urls()

    def facts(self, row: PayoutRun) -> list[tuple[Any, Any]]:
        before = choice.run_before(row)
        return [
            (_("shop"), row.shop),
            (_("period"), row.period),
            (_("total"), amount(row.total)),
            (_("payouts"), row.count),
            (_("the run before"), f"{before.period}: {amount(before.total)}, {before.count}" if before else "–"),
            (_("made by"), row.made_by),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(period=term)

    @admin.display(description=_("calendar"))
    def calendar_in_words(self, run: PayoutRun) -> str:
        return in_words(calendars.of_key(run.interval, run.calendar))

    @admin.display(description=_("payouts"))
    def payouts_link(self, run: PayoutRun) -> SafeString:
        return format_html(
            '<a href="{}?q={}">{}</a>', reverse("admin:payouts_payout_changelist"), run.public_id, _("All payouts of this run")
        )

    @admin.display(description=_("largest differences to the run before"))
    def differences(self, run: PayoutRun) -> str:
        return render_to_string("admin/_payout_differences.html", {"differences": choice.differences(run)})

    @admin.display(description=_("changes"))
    def changes(self, run: PayoutRun) -> str:
        kind = PayoutTransition.Kind.RUN
        made = timeline.transitions_of(kind, run.pk)
        lines = [(change, timeline.label(kind, change.before), timeline.label(kind, change.after)) for change in made]
        return render_to_string("admin/_transitions.html", {"lines": lines})

    def rehearsal_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what a run would do (POST), make it (POST with `make`), or list everybody (GET with `list`)."""
        if not request.user.has_perm("payouts.add_payoutrun"):
            raise PermissionDenied
        now, actor = clock.now(), actor_in(request)
        form = RunForm(request.POST or request.GET or None, now=now)
        context = self.admin_site.each_context(request) | {"title": _("Rehearse a payout run"), "opts": self.opts, "form": form}
        if form.is_valid():
            which = form.cleaned_data["which"]
            try:
                if "make" in request.POST:
                    return HttpResponseRedirect(page_of(self.made(request, which, actor=actor, now=now)))
                if "list" in request.GET:
                    return listed(which, now=now)
                context |= {"which": which, "standing": scheduling.run_of(which)}
                if request.method == "POST" and not context["standing"]:
                    context["rehearsed"] = scheduling.rehearse(which, now=now, made_by=actor)
                context["query"] = urlencode({"by": form.cleaned_data["by"], "period": which.period})
            except DomainError as error:
                form.add_error("period", error.detail)
        return TemplateResponse(request, "admin/payout_rehearsal.html", context)

    def made(self, request: HttpRequest, which: Which, *, actor: str, now: datetime) -> PayoutRun:
        run, is_new = scheduling.convert_and_run(which, now=now, made_by=actor)
        if is_new:
            self.log_addition(request, run, gettext("Made"))
            tasks.nudge_payouts()
            self.message_user(request, _("The run is made."), messages.SUCCESS)
        else:
            self.message_user(request, _("This period was run already: here is its run."), messages.WARNING)
        return run


def listed(which: Which, *, now: datetime) -> StreamingHttpResponse:
    """Answer with everybody whom a run would look at, as CSV, a few thousand at a time."""
    answer = StreamingHttpResponse(choice.as_csv(which, now=now), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="payouts-{which.currency}-{which.period}.csv"'
    return answer
