"""The page "Figures" in the admin: one range of days and one currency, each figure in a table that is also a CSV file, and a line of the days.

The sums are those of reports.py, the tables those of figure_tables.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import LookOnly
from ledger.templatetags.written import amount, day
from reconciliation import figure_tables, reports
from reconciliation.figure_tables import TABLES, Table
from reconciliation.models import Figures
from reconciliation.reports import Asked, By, Sales, TookTooLong
from wallet import line_chart
from wallet.home_views import in_short
from wallet.line_chart import Drawing

MOST_DAYS = 400
DAYS_AT_FIRST = 30
DAYS_WITH_POINTS = 62  # more points than that would be a second line
EARLIEST, LATEST = date(2000, 1, 1), date(2999, 12, 31)


@dataclass(frozen=True, slots=True)
class Chart:
    """The line of the days; `across` are the lines across with their figures, `labels` a few of the days, `words` what there is to see."""

    drawing: Drawing
    points: Sequence[tuple[str, str, str]]
    across: Sequence[tuple[str, str]]
    labels: Sequence[str]
    words: str


class FiguresForm(forms.Form):
    """Which days and which currency."""

    since = forms.DateField(
        label=_("From"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=[MinValueValidator(EARLIEST), MaxValueValidator(LATEST)],
    )
    until = forms.DateField(
        label=_("To"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=[MinValueValidator(EARLIEST), MaxValueValidator(LATEST)],
    )
    currency = forms.ChoiceField(label=_("Currency"), error_messages={"invalid_choice": _("Nothing is booked in this currency.")})

    def __init__(self, data: dict[str, Any], currencies: Sequence[str]) -> None:
        super().__init__(data)
        self.fields["currency"].choices = [(code, code) for code in currencies]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        said = self.cleaned_data
        if "since" in said and "until" in said:
            if said["until"] < said["since"]:
                self.add_error("until", _("The last day is before the first one."))
            elif (said["until"] - said["since"]).days >= MOST_DAYS:
                self.add_error("until", _("That is too long: ask for %(most)s days at most.") % {"most": MOST_DAYS})
        return said

    @property
    def asked(self) -> Asked:
        return Asked(self.cleaned_data["since"], self.cleaned_data["until"], self.cleaned_data["currency"])


# --- The page -------------------------------------------------------------------------------------------------------


def charted(asked: Asked, by_day: Iterable[Sales]) -> Chart:
    """Draw the volume of the days, and say it in words."""
    days, volumes = asked.days, reports.volume_by_day(asked, by_day)
    drawing = line_chart.drawn([volume.amount for volume in volumes])
    most = max(zip(volumes, days, strict=True), key=lambda pair: pair[0].amount)
    words = gettext("%(total)s on %(days)s days. The best one was %(day)s with %(best)s.")
    told = words % {
        "total": amount(sum(volumes[1:], start=volumes[0])),
        "days": len(days),
        "day": day(most[1]),
        "best": amount(most[0]),
    }
    points = [(*point, f"{day(each)}: {amount(volume)}") for point, each, volume in zip(drawing.points, days, volumes, strict=True)]
    labels = [days[0], days[len(days) // 2], days[-1]] if len(days) > 2 else days
    across = [(line.y, in_short(line.value)) for line in drawing.across]
    return Chart(drawing, points if len(days) <= DAYS_WITH_POINTS else [], across, [day(each) for each in labels], told)


@admin.register(Figures)
class FiguresAdmin(LookOnly):
    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.changelist_view), name="reconciliation_figures_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the figures, or (`csv`) give one of their tables as a file.  What cannot be asked for is said under its field.

        That is a page as any other, for a person; whoever asked for a file gets it with status 400.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        currencies = reports.currencies()
        form = FiguresForm(at_first(currencies, now=clock.now()) | request.GET.dict(), currencies)
        wanted = request.GET.get("csv", "")
        if wanted and wanted not in TABLES:
            raise Http404
        context: dict[str, Any] = {"form": form, "has_books": bool(currencies)}
        if currencies and form.is_valid():
            try:
                if wanted:
                    return file_of(wanted, form.asked, request.user)
                context |= all_figures(form.asked, request.user)
            except TookTooLong:
                form.add_error("until", _("There is too much to sum up at once. Ask for fewer days."))
        shown = self.admin_site.each_context(request) | {"title": _("Figures"), "opts": self.opts} | context | (extra_context or {})
        return TemplateResponse(request, "admin/figures.html", shown, status=400 if wanted else 200)


def at_first(currencies: Sequence[str], *, now: datetime) -> dict[str, str]:
    """Return what is shown to whoever has not asked yet: the last month."""
    today = now.date()
    currency = "EUR" if "EUR" in currencies else next(iter(currencies), "")
    return {"since": (today - timedelta(days=DAYS_AT_FIRST - 1)).isoformat(), "until": today.isoformat(), "currency": currency}


def all_figures(asked: Asked, user: Any) -> dict[str, Any]:
    sold = reports.sales(asked)
    [total] = sold[By.ALL]
    by_day, *by_others = figure_tables.tables_of(sold, asked, user)
    beside, left_out = all_beside_sales(asked, user)
    query = urlencode({"since": asked.first_day.isoformat(), "until": asked.last_day.isoformat(), "currency": asked.currency})
    return {
        "asked": asked,
        "total": total,
        "success": figure_tables.percent(total.success_rate).shown,
        "take": figure_tables.percent(total.take_rate).shown,
        "chart": charted(asked, sold.get(By.DAY, [])) if total.paid else None,
        "by_day": by_day,
        "tables": [*by_others, *beside],
        "left_out": left_out,
        "query": query,
        "rows": figure_tables.explained(user, "sales", asked),
    }


def all_beside_sales(asked: Asked, user: Any) -> tuple[list[Table], list[Any]]:
    """Return the other tables, and the names of those that would take too long: they keep nobody from seeing the rest."""
    tables, left_out = [], []
    for name, make in figure_tables.BESIDE_SALES:
        try:
            tables += make(asked, user)
        except TookTooLong:
            left_out.append(name)
    return tables, left_out


def file_of(name: str, asked: Asked, user: Any) -> HttpResponse:
    """Return the table as a CSV file: amounts are plain decimals, rates are shares of one, texts are none that a spreadsheet would run."""
    table = next(table for table in TABLES[name](asked, user) if table.name == name)
    called = f"{name}-{asked.currency}-{asked.first_day}-{asked.last_day}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{called}"', "Cache-Control": "no-store"}
    return HttpResponse(table.as_csv(asked.currency), content_type="text/csv; charset=utf-8", headers=headers)
