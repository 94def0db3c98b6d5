"""Month close in the admin: the months with their state, and a page for each, which says what is missing before it can be closed.

One person prepares the close there, another one closes the month; what it was closed on can be fetched as it was kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, ClassVar

import orjson
from babel.dates import format_skeleton
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import clock, periods
from ledger.admin import link
from ledger.deeds import Deed, DeedForm, WithDeeds, actor_in, calling, leave_to_the_domain
from ledger.errors import DomainError
from ledger.models import ClosedMonth
from ledger.templatetags.written import amount, reader
from reconciliation import close, close_checks, figure_tables
from reconciliation.close_checks import Check
from reconciliation.models import MonthClose
from wallet import months
from wallet.months import UnknownPeriod

MOST_MONTHS = 36
Status = MonthClose.Status


@dataclass(frozen=True, slots=True)
class Listed:
    """A month in the list: its name, its state in words, what tone that has, and who did what last."""

    name: str
    address: str
    state: Any
    tone: str
    by: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A check as the page shows it; `rows` are links, where there is a page to look at."""

    title: Any
    holds: bool
    found: str
    to_do: Any
    rows: Sequence[Any]


def is_prepared(row: MonthClose) -> bool:
    return row.status == Status.PREPARED


def prepare(month: date, said: dict[str, Any], actor: str) -> MonthClose:
    return close.prepare(month, actor=actor, reason=said["note"], now=clock.now())


PREPARE = Deed(
    name="prepare",
    title=_("Prepare the close"),
    meaning=_(
        "You say that the month is complete. Somebody else then closes it: all checks are made once more, what it came to is kept with the "
        "evidence, and nothing is booked into it any more. A closed month is never opened again."
    ),
    done=_("Prepared. Somebody else closes the month now."),
    permissions=("reconciliation.prepare_close",),
    act=prepare,
)


@admin.register(MonthClose)
class MonthCloseAdmin(WithDeeds):
    fields: ClassVar[Any] = ("month",)
    readonly_fields: ClassVar[Any] = fields
    deeds = (
        Deed(
            name="close",
            title=_("Close the month"),
            meaning=_(
                "Everything is looked at once more, every invariant too, which may take some minutes. If all of it holds, what the month came "
                "to is kept with the evidence, and nothing is booked into it any more. A closed month is never opened again: a correction is "
                "booked in the open month."
            ),
            done=_("The month is closed."),
            permissions=("reconciliation.approve_close",),
            act=calling(close.close),
            is_possible=is_prepared,
            refuse=leave_to_the_domain,
        ),
        Deed(
            name="call_off",
            title=_("Call off"),
            meaning=_("The month stays open, and its close can be prepared again."),
            done=_("Called off: the month is open."),
            permissions=("reconciliation.approve_close",),
            act=calling(close.call_off),
            is_possible=is_prepared,
            refuse=leave_to_the_domain,
            is_grave=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("of/<str:name>/", view(self.month_view), name="reconciliation_monthclose_month"),
            path("of/<str:name>/prepare/", view(self.prepare_view), name="reconciliation_monthclose_prepare"),
            path("<int:pk>/evidence/", view(self.evidence_view), name="reconciliation_monthclose_evidence"),
        ]
        return own + super().get_urls()

    def facts(self, row: MonthClose) -> list[tuple[Any, Any]]:
        return [(_("month"), name_of(row.month)), (_("prepared by"), row.prepared_by), (_("because"), row.memo)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the months, the running one first."""
        self.require_view(request)
        return self.page(request, "admin/closes.html", {"title": _("Month close"), "months": list(listed(now=clock.now()))})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Lead to the page of the month."""
        self.require_view(request)
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return HttpResponseRedirect(address_of(row.month))

    def month_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show the checks of a month that can be closed next, or what a closed one was closed on, and what may be done."""
        self.require_view(request)
        month = month_in(name)
        rows = list(MonthClose.objects.filter(month=month).order_by("-pk"))
        prepared = next((row for row in rows if is_prepared(row)), None)
        done = next((row for row in rows if row.status == Status.CLOSED), None)
        is_over, following = periods.is_over(month), periods.next_month()
        context: dict[str, Any] = {"title": name_of(month), "rows": rows, "prepared": prepared, "done": done}
        if done:
            context |= kept_of(done)
        elif not is_over:
            context["waits_for"] = _("The month is not over yet.")
        elif following and following > month:
            context["waits_for"] = _("It was closed together with the first month that was closed.")
        elif following and following < month:
            context["waits_for"] = _("The months before it are closed first.")
        else:
            found = close_checks.checks(close_checks.span_of(month), now=clock.now())
            context |= {"checks": [shown(check, self.admin_site) for check in found], "holds": all(check.holds for check in found)}
            context["is_first"] = following is None
            context["may_prepare"] = context["holds"] and prepared is None and PREPARE.is_allowed(request)
            context["prepare"] = reverse("admin:reconciliation_monthclose_prepare", args=[f"{month:%Y-%m}"])
        if prepared:
            context["deeds"] = [(deed, self.address_of(deed, prepared)) for deed in self.deeds if deed.is_allowed(request)]
        return self.page(request, "admin/close.html", context)

    def prepare_view(self, request: HttpRequest, name: str) -> HttpResponse:
        self.require_view(request)
        if not PREPARE.is_allowed(request):
            raise PermissionDenied
        month = month_in(name)
        form = DeedForm(None, request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                row = PREPARE.act(month, form.cleaned_data, actor_in(request))
            except DomainError as error:
                form.add_error(error.field if error.field in form.fields else None, error.detail)
            else:
                self.log_change(request, row, f"{PREPARE.title}: {form.cleaned_data['note']}")
                self.message_user(request, PREPARE.done, messages.SUCCESS)
                return HttpResponseRedirect(address_of(month))
        facts = [(_("month"), name_of(month))]
        asked = {
            "title": PREPARE.title,
            "original": name_of(month),
            "deed": PREPARE,
            "form": form,
            "facts": facts,
            "back": address_of(month),
        }
        return self.page(request, "admin/deed.html", asked)

    def evidence_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give what the month was closed on, byte by byte as it was kept."""
        self.require_view(request)
        row = MonthClose.objects.filter(pk=pk, status=Status.CLOSED).select_related("evidence").first()
        if row is None:
            raise Http404
        headers = {"Content-Disposition": f'attachment; filename="month-close-{row}.json"', "Cache-Control": "no-store"}
        return HttpResponse(bytes(row.evidence.document), content_type="application/json", headers=headers)

    def require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        return TemplateResponse(request, template, self.admin_site.each_context(request) | {"opts": self.opts} | context)


def month_in(name: str) -> date:
    """Return the month that an address names, by its first day.  Raises Http404."""
    try:
        return months.parse(name).first_day
    except UnknownPeriod as error:
        raise Http404 from error


def name_of(month: date) -> str:
    return format_skeleton("yMMMM", datetime(month.year, month.month, 1), locale=reader())  # noqa: DTZ001


def address_of(month: date) -> str:
    return reverse("admin:reconciliation_monthclose_month", args=[f"{month:%Y-%m}"])


def listed(*, now: datetime) -> Iterator[Listed]:
    """Yield the months from the running one back to the first that was closed, or else the one of the first entry; 36 of them at most."""
    first = periods.first_closed() or periods.first_month()
    if first is None:
        return
    closed = dict(ClosedMonth.objects.values_list("month", "closed_at"))
    latest = {row.month: row for row in MonthClose.objects.exclude(status=Status.CALLED_OFF)}
    following = periods.next_month()
    for each in islice(months.newest_first(periods.begin_of(first), until=now), MOST_MONTHS):
        month, row = each.first_day, latest.get(each.first_day)
        state, tone = state_of(month, row=row, following=following)
        by = (row.decided_by or row.prepared_by) if row else ""
        at = closed.get(month) or (row.prepared_at if row else None)
        yield Listed(name_of(month), address_of(month), state, tone, by, at)


def state_of(month: date, *, row: MonthClose | None, following: date | None) -> tuple[Any, str]:
    if row and row.status == Status.CLOSED:
        return _("Closed"), "good"
    if not periods.is_over(month):
        return _("Running"), ""
    if row:
        return row.get_status_display(), "warn"
    return (_("Next to close"), "warn") if month == following else (_("Open"), "")


def shown(check: Check, site: Any) -> Shown:
    rows = [linked(row.words, row.model, row.pk, site) for row in check.rows[: close_checks.SHOWN]]
    return Shown(check.title, check.holds, check.found, "" if check.holds else check.to_do, rows)


def linked(words: str, model: type[models.Model] | None, pk: int | None, site: Any) -> Any:
    return link(model, pk, words) if model and site.is_registered(model) else words


def kept_of(done: MonthClose) -> dict[str, Any]:
    """Return what the page shows of a closed month: its checks and totals by the evidence, and the evidence's hash."""
    kept = orjson.loads(bytes(done.evidence.document))
    checks = [Shown(each["title"], each["holds"], each["found"], "", each["rows"]) for each in kept["checks"]]
    totals = [
        (
            figure_tables.KINDS.get(each.kind, each.kind),
            amount(Money(each.debits, each.currency)),
            amount(Money(each.credits, each.currency)),
        )
        for each in periods.totals_of(done.month)
    ]
    evidence = reverse("admin:reconciliation_monthclose_evidence", args=[done.pk])
    return {"checks": checks, "totals": totals, "sha256": done.evidence.sha256, "evidence": evidence}
