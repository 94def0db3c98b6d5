"""The pages that explain a figure: its sum, what makes it by kind, month and day, and at the end the rows, a page at a time, or all in a file.

Each page stands for one question (explain.py) and what of it was chosen; both are in its address.  Whoever may look at the rows may ask.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from babel.dates import format_skeleton
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from ledger import chart
from ledger.admin import link
from ledger.models import Account, JournalEntry
from ledger.money import text
from ledger.templatetags.written import day as day_written
from ledger.templatetags.written import reader
from payments.models import PaymentOrder
from payments.states import OrderStatus
from reconciliation import explain, explain_questions
from reconciliation.explain import Leaf, Leaves, Level, Narrowed, Question
from reconciliation.figure_tables import KINDS
from reconciliation.reports import AGES, Asked, DeclinesBy, TookTooLong
from wallet.documents.wording import fees_of
from wallet.models import FeeInvoice, Wallet, WalletEntry
from wallet.months import Month
from wallet.sheets import harmless, written

EARLIEST, LATEST = date(2000, 1, 1), date(2999, 12, 31)
TITLES = {
    "debits": _("Debits"),
    "credits": _("Credits"),
    "balance": _("Balance"),
    "pending": _("Pending"),
    "available": _("Available"),
    "reserved": _("Held back"),
    "net": _("Together"),
    "fee": _("Fees"),
    "volume": _("Volume"),
    "fees": _("Our fees"),
    "refunded": _("Refunded"),
    "disputed": _("Disputed"),
    "amount": _("Amount"),
}
NAMES: dict[str, Any] = {**dict(WalletEntry.Kind.choices), **dict(JournalEntry.Kind.choices), **dict(OrderStatus.choices)}
BY = {"kind": _("Kind"), "month": _("Month"), "day": _("Day")}


def day_field(label: Any) -> forms.DateField:
    """Return a field for a day, which may be left open."""
    widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    return forms.DateField(label=label, required=False, widget=widget, validators=[MinValueValidator(EARLIEST), MaxValueValidator(LATEST)])


class DaysForm(forms.Form):
    """Which days; each may be left open.  `kind`, `month` and `day` choose of what there is, `after` says where a page begins."""

    since = day_field(_("From"))
    until = day_field(_("To the end of"))
    kind = forms.SlugField(required=False, max_length=40, widget=forms.HiddenInput)
    month = forms.RegexField("^[12][0-9]{3}-(0[1-9]|1[0-2])$", required=False, widget=forms.HiddenInput)
    day = forms.RegexField("^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$", required=False, widget=forms.HiddenInput)
    after = forms.RegexField("^[0-9]{1,18}[.][0-9]{1,5}$", required=False, widget=forms.HiddenInput)

    def clean_day(self) -> str:
        said = str(self.cleaned_data["day"])
        try:
            return date.fromisoformat(said).isoformat() if said else ""
        except ValueError as error:
            raise forms.ValidationError(_("There is no such day.")) from error

    @property
    def narrowed(self) -> Narrowed:
        return Narrowed(*(self.cleaned_data[name] for name in explain.KEYS))

    @property
    def after_key(self) -> tuple[int, int]:
        if not self.cleaned_data["after"]:
            return explain.FIRST
        pk, _dot, line = self.cleaned_data["after"].partition(".")
        return int(pk), int(line)


@dataclass(frozen=True, slots=True)
class Asking:
    """A question on a page: what it is called, where its rows have their pages, and whether days may be chosen.

    `row_of` writes what a row is about, `keeps` are the choices that stand in the address beside those of the form.
    """

    title: str
    question: Question
    row_of: Callable[[Leaf], Any]
    has_days: bool = False
    note: str = ""
    keeps: Sequence[tuple[str, str]] = ()
    name_of: Callable[[str], str] = lambda key: str(NAMES.get(key, key))


# --- The pages ------------------------------------------------------------------------------------------------------


@require_safe
def account(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Explain the balance of an account, now or at the end of a day, or what was booked on it on some days."""
    require(request, "ledger.view_account", "ledger.view_journalentry")
    row = found(Account, pk)
    form = DaysForm(request.GET)
    since, until = days_in(form)
    title = gettext("%(account)s in %(currency)s") % {"account": row.code, "currency": row.currency}
    question = explain_questions.of_account(row, first_day=since, last_day=until)
    return answer(request, form, Asking(title, question, entry_of, has_days=True, note=span(since, until)))


@require_safe
def kind(request: HttpRequest, kind: str, currency: str) -> HttpResponseBase:
    """Explain a figure of a kind of account by the accounts of that kind."""
    require(request, "ledger.view_account", "ledger.view_journalentry")
    if kind not in chart.KINDS or not Account.objects.filter(currency=currency).exists():
        raise Http404
    form = DaysForm(request.GET)
    since, until = days_in(form)
    days = urlencode({name: value.isoformat() for name, value in (("since", since), ("until", until)) if value})

    def account_of(leaf: Leaf) -> Any:
        return Linked(leaf.about, f"{reverse('explain_account', args=[leaf.id])}?{days}")

    title = gettext("%(kind)s in %(currency)s") % {"kind": KINDS[kind], "currency": currency}
    question = explain_questions.of_kind(kind, currency, first_day=since, last_day=until)
    return answer(request, form, Asking(title, question, account_of, has_days=True, note=span(since, until)))


@require_safe
def wallet(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Explain a seller's wallet by its movements."""
    require(request, "wallet.view_wallet", "wallet.view_walletentry")
    row = found(Wallet.objects.select_related("seller"), pk)
    title = gettext("The wallet of %(seller)s in %(currency)s") % {"seller": row.seller.name, "currency": row.currency}
    return answer(request, DaysForm(request.GET), Asking(title, explain_questions.of_wallet(row), movement_of))


@require_safe
def invoice(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Explain the lines of a fee invoice by the movements that were charged for."""
    require(request, "wallet.view_feeinvoice", "wallet.view_walletentry")
    row = found(FeeInvoice, pk)
    note = gettext("The fees as they were charged, with the tax that is in them.")
    return answer(
        request, DaysForm(request.GET), Asking(row.number, explain_questions.of_invoice(row), movement_of, note=note, name_of=fees_called)
    )


def fees_called(kind: str) -> str:
    return fees_of(kind) if kind in WalletEntry.Kind.values else kind


@require_safe
def figure(request: HttpRequest, name: str) -> HttpResponseBase:
    """Explain a figure of the page of figures: its name stands in the path, its days, currency and group in the query."""
    if name not in MAKERS:
        raise Http404
    require(request, "reconciliation.view_figures", *explain_questions.FIGURES[name])
    chosen = FigureForm.read(request)
    keeps = [(key, request.GET[key]) for key in ("since", "until", "currency", "group", "by", "within") if key in request.GET]
    title, question, row_of = MAKERS[name](name, chosen)
    note = span(chosen.asked.first_day, chosen.asked.last_day) if question.levels else gettext("As it is now.")
    return answer(request, DaysForm(request.GET), Asking(title, question, row_of, keeps=keeps, note=note))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a figure is explained: its days and currency, which group and what it is one of; of declined charges also `within` what."""

    asked: Asked
    group: str
    by: str
    within: str


class FigureForm(DaysForm):
    """Which days, currency and group of a figure."""

    currency = forms.SlugField(max_length=3)
    group = forms.CharField(required=False, max_length=200)
    by = forms.ChoiceField(required=False, choices=[(name, name) for name in explain_questions.GROUPS])
    within = forms.CharField(required=False, max_length=200)

    @classmethod
    def read(cls, request: HttpRequest) -> Chosen:
        """Return what was chosen.  Raises Http404 for an address that no page of ours has."""
        form = cls(request.GET)
        if not form.is_valid() or not (form.cleaned_data["since"] and form.cleaned_data["until"]):
            raise Http404
        said = form.cleaned_data
        if not Account.objects.filter(currency=said["currency"]).exists():
            raise Http404
        return Chosen(Asked(said["since"], said["until"], said["currency"]), said["group"], said["by"], said["within"])


def sold(_name: str, chosen: Chosen) -> tuple[str, Question, Callable[[Leaf], Any]]:
    title = gettext("Sales: %s") % (chosen.group or gettext("not known")) if chosen.by else gettext("Sales")
    return title, explain_questions.of_sales(chosen.asked, by=chosen.by, group=chosen.group), order_of


def declined(_name: str, chosen: Chosen) -> tuple[str, Question, Callable[[Leaf], Any]]:
    if chosen.by not in list(DeclinesBy):
        raise Http404
    title = gettext("Declined: %s") % chosen.group.replace("_", " ")
    if chosen.by:
        title = f"{title}, {chosen.within or gettext('not known')}"
    return title, explain_questions.of_declines(chosen.asked, chosen.group, by=chosen.by, within=chosen.within), order_of


def charged_by_psps(_name: str, chosen: Chosen) -> tuple[str, Question, Callable[[Leaf], Any]]:
    row = Account.objects.filter(code=chart.psp_fees(), currency=chosen.asked.currency).first()
    if row is None:
        raise Http404
    title = gettext("Fees: %s") % (chosen.group or gettext("other entries"))
    return title, explain_questions.of_psp_fees(row, chosen.group, chosen.asked), entry_of


def owed(name: str, chosen: Chosen) -> tuple[str, Question, Callable[[Leaf], Any]]:
    return gettext("What we owe sellers: %s") % OWED[name], explain_questions.of_owed(name, chosen.asked.currency), wallet_of


def aged(_name: str, chosen: Chosen) -> tuple[str, Question, Callable[[Leaf], Any]]:
    if chosen.group not in [str(place) for place in range(len(AGES) + 1)]:
        raise Http404
    question = explain_questions.of_age(int(chosen.group), chosen.asked.currency, now=timezone.now())
    return gettext("Available for how long"), question, wallet_of


OWED = {"pending": _("pending"), "available": _("available"), "reserved": _("held back"), "overdrawn": _("below zero")}
MAKERS: dict[str, Callable[[str, Chosen], tuple[str, Question, Callable[[Leaf], Any]]]] = {
    "sales": sold,
    "declines": declined,
    "psp_fees": charged_by_psps,
    **dict.fromkeys(OWED, owed),
    "ageing": aged,
}


# --- What they share ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linked:
    """Words, and where they lead."""

    words: str
    address: str


def require(request: HttpRequest, *permissions: str) -> None:
    if not request.user.has_perms(permissions):
        raise PermissionDenied


def found(rows: Any, pk: int) -> Any:
    row = getattr(rows, "objects", rows).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def days_in(form: DaysForm) -> tuple[date | None, date | None]:
    """Return the first and the last day that were asked for; None for those that were not, or cannot be."""
    form.is_valid()
    said = form.cleaned_data
    return said.get("since"), said.get("until")


def span(since: date | None, until: date | None) -> str:
    """Say which days are counted in."""
    if since and until:
        return gettext("From %(since)s to %(until)s (UTC).") % {"since": day_written(since), "until": day_written(until)}
    if since:
        return gettext("From %s on (UTC).") % day_written(since)
    return gettext("At the end of %s (UTC).") % day_written(until) if until else gettext("As it is now.")


def answer(request: HttpRequest, form: DaysForm, asking: Asking) -> HttpResponseBase:
    """Answer with the page, or (`csv`) with all rows as a file."""
    context: dict[str, Any] = {"asking": asking, "form": form, "title": asking.title, "is_valid": form.is_valid()}
    if context["is_valid"]:
        if "csv" in request.GET:
            return file_of(asking, form.narrowed)
        try:
            context |= explained(asking, form)
        except TookTooLong:
            form.add_error(None, _("There is too much to sum up while you wait. Ask for fewer days, or for the file."))
    return TemplateResponse(request, "admin/explain.html", admin.site.each_context(request) | context)


def explained(asking: Asking, form: DaysForm) -> dict[str, Any]:
    """Return what the page shows: the next level, or the rows where there is none."""
    narrowed = form.narrowed
    chosen = {name: value for name in explain.KEYS if (value := getattr(narrowed, name))}
    by = next((level for level in asking.question.levels if level not in chosen), "")
    shown: Level | Leaves
    if by:
        shown = level = explain.summed(asking.question, by, narrowed)
        lines = [(line, name_in(asking, by, line.key), address(asking, form, **chosen, **{by: line.key})) for line in level.lines]
        rows: dict[str, Any] = {"by": BY[by], "lines": lines}
    else:
        shown = page = explain.leaves(asking.question, narrowed, form.after_key)
        following = address(asking, form, **chosen, after="{}.{}".format(*page.next)) if page.next else ""
        rows = {"leaves": [(leaf, asking.row_of(leaf)) for leaf in page.rows], "page": page, "following": following}
    return rows | {
        "heads": [TITLES[name] for name in asking.question.figures],
        "shown": shown,
        "difference": [(TITLES[name], here, there) for name, here, there in differing(asking.question, shown)],
        "above": list(way_here(asking, form, chosen)),
        "csv": f"{address(asking, form, **chosen)}&csv=1",
        "first": address(asking, form, **chosen) if form.cleaned_data["after"] else "",
    }


def differing(question: Question, shown: Level | Leaves) -> Iterator[tuple[str, Any, Any]]:
    """Yield what does not add up: which figure, what the rows come to, and what it should be."""
    for name, here, total, there in zip(question.figures, shown.sums, shown.total.sums, shown.stated, strict=True):
        if here != total:
            yield name, here, total
        elif there is not None and there != here:
            yield name, here, there


def way_here(asking: Asking, form: DaysForm, chosen: dict[str, str]) -> Iterator[Linked]:
    """Yield the levels above, from the figure down to the one that is shown."""
    passed: dict[str, str] = {}
    yield Linked(gettext("All"), address(asking, form))
    for name, key in chosen.items():
        passed[name] = key
        yield Linked(name_in(asking, name, key), address(asking, form, **passed))


def name_in(asking: Asking, by: str, key: str) -> str:
    """Return what a kind, a month or a day is called."""
    match by:
        case "kind":
            return asking.name_of(key)
        case "month":
            return str(
                format_skeleton("yMMMM", datetime.combine(Month(*map(int, key.split("-"))).first_day, datetime.min.time()), locale=reader())
            )
        case _day:
            return day_written(date.fromisoformat(key))


def address(asking: Asking, form: DaysForm, **chosen: str) -> str:
    days = [(name, form.cleaned_data[name].isoformat()) for name in ("since", "until") if asking.has_days and form.cleaned_data[name]]
    return f"?{urlencode([*asking.keeps, *days, *chosen.items()])}"


# --- Rows -----------------------------------------------------------------------------------------------------------


def entry_of(leaf: Leaf) -> Any:
    return link(JournalEntry, leaf.id, f"je_{leaf.id}")


def movement_of(leaf: Leaf) -> Any:
    return link(WalletEntry, leaf.id, f"wen_{leaf.id}")


def order_of(leaf: Leaf) -> Any:
    return link(PaymentOrder, leaf.id, leaf.about)


def wallet_of(leaf: Leaf) -> Any:
    return Linked(leaf.kind, reverse("explain_wallet", args=[leaf.id]))


def file_of(asking: Asking, narrowed: Narrowed) -> StreamingHttpResponse:
    """Stream all rows as a CSV file: amounts are plain decimals, texts are none that a spreadsheet would run."""
    question = asking.question
    head = ["row", "kind", "at", "about", *question.figures, "currency"]

    def lines() -> Iterator[str]:
        yield written([head])
        for leaf in explain.all_leaves(question, narrowed):
            words = (str(leaf.id), leaf.kind, leaf.at.isoformat() if leaf.at else "", leaf.about)
            yield written([[*map(harmless, words), *map(text, leaf.figures), question.currency]])

    headers = {"Content-Disposition": f'attachment; filename="{name_of_file(asking.title)}.csv"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8", headers=headers)


def name_of_file(title: str) -> str:
    """Return the title with nothing in it that a header, or a folder, would take for something else."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title)[:80].strip("-") or "rows"
