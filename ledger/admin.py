"""The books in the admin: every account, entry and posting to look at, nothing to change.

Also what every admin page of the house is made of: `LookOnly` (no one may add, change or delete, whatever their rights), pages that
never count a large table, and amounts and links written alike everywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import chart, queries, seek
from ledger.models import Account, JournalEntry, Posting
from ledger.templatetags.written import amount, moment
from ledger.titles import Entitled

MOST_SHOWN = 1000
ROWS_ON_A_PAGE = 50
LATEST_POSTINGS = 50
NOTHING = "–"

admin.site.site_header = admin.site.site_title = "Onebook"
admin.site.index_title = _("Today")
admin.site.site_url = None
admin.site.empty_value_display = NOTHING
admin.site.enable_nav_sidebar = False  # the lists need the width; the first page lists everything


class FirstThousand(Paginator):  # type: ignore[type-arg]
    """Pages of the first thousand rows.  A table of millions is neither counted nor leafed through: it is searched and filtered."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list.values_list("pk")[:MOST_SHOWN])  # type: ignore[attr-defined]


class LookOnly(Entitled, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that anyone with the right to view may see and that nobody may add, change or delete here: a forged POST is refused (403)."""

    actions = None
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    sortable_by = ()
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    list_per_page = ROWS_ON_A_PAGE
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would be a count of the whole table
    paginator = FirstThousand
    search_fields = ("pk",)  # shows the box; `sought` says what is looked for

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self.sought(term)) if term else queryset), False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name)}
        return super().changeform_view(request, object_id, form_url, extra_context=title | (extra_context or {}))

    def sought(self, term: str) -> Q:
        """Return the condition for a search: whole ids and names, each of which an index finds."""
        return Q(pk=number_in(term))


class Rows(Entitled, admin.TabularInline):  # type: ignore[type-arg]
    """Rows that belong to the one on the page, each a link to its own."""

    template = "admin/_rows.html"
    fields: ClassVar[Any] = None
    readonly_fields: ClassVar[Any] = ()
    extra = 0
    can_delete = False
    ordering = ("pk",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CurrencyFilter(admin.SimpleListFilter):
    """One currency of those that the books have accounts in: asked of the accounts, not of the large table."""

    title = _("currency")
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        codes = Account.objects.order_by("currency").values_list("currency", flat=True).distinct()
        return [(code, code) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


def by_state(states: Mapping[str, tuple[Any, Q]]) -> type[admin.SimpleListFilter]:
    """Return a filter for rows in one of these states: by its name in the address, the words for it, and the condition of its rows."""

    class ByState(admin.SimpleListFilter):
        title = _("state")
        parameter_name = "state"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
            return [(name, words) for name, (words, _rows) in states.items()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            _words, rows = states.get(self.value() or "", ("", Q()))
            return queryset.filter(rows)

    return ByState


def recent(column: str) -> type[admin.SimpleListFilter]:
    """Return a filter for what was written lately, found by id (ledger/seek.py) rather than by an index on the time."""

    class Recent(admin.SimpleListFilter):
        title = _("time")
        parameter_name = "past_hours"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
            return [
                ("1", _("Past hour")),
                ("24", _("Past 24 hours")),
                ("168", _("Past 7 days")),
                ("720", _("Past 30 days")),
            ]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            if self.value() not in dict(self.lookup_choices):
                return queryset
            since = timezone.now() - timedelta(hours=int(self.value() or 0))
            first = seek.first_id_since(queryset.model, column, since)
            return queryset.filter(**{"pk__gte": first, f"{column}__gte": since})

    return Recent


def money_column(name: str, title: Any) -> Callable[[Any], str]:
    """Return a column that shows the amount of that name, with its currency."""

    @admin.display(description=title)
    def column(row: Any) -> str:
        held: Money | None = getattr(row, name)
        return format_html('<span class="amount">{}</span>', amount(held)) if held is not None else NOTHING

    column.__name__ = f"{name}_shown"
    return column


def figure_column(name: str, title: Any, *, currency: str = "currency") -> Any:
    """Return a column that shows the figure of that name, as the currency that stands beside it in the row counts."""

    @admin.display(description=title)
    def column(row: Any) -> str:
        held: Decimal | None = getattr(row, name)
        return format_html('<span class="amount">{}</span>', amount(Money(held, getattr(row, currency)))) if held is not None else NOTHING

    column.__name__ = f"{name}_shown"
    return column


def time_column(name: str, title: Any) -> Callable[[Any], str]:
    """Return a column that shows the moment of that name, with its zone."""

    @admin.display(description=title)
    def column(row: Any) -> str:
        return moment(getattr(row, name)) if getattr(row, name) else NOTHING

    column.__name__ = f"{name}_shown"
    return column


def short(public_id: str) -> SafeString:
    """Return the end of an id, which tells it from its neighbours (its beginning is the time), for a list; the whole of it is its title."""
    return format_html('<span class="short" title="{}">{}…{}</span>', public_id, public_id.partition("_")[0], public_id[-8:])


@admin.display(description=_("id"))
def id_column(row: Any) -> SafeString:
    return short(row.public_id)


@admin.display(description=_("id"))
def whole_id(row: Any) -> str:
    """The id of a row whose id is made of its number, for which there is no column."""
    return str(row.public_id)


def link(model: type[models.Model], pk: int | None, text: Any) -> SafeString | str:
    """Return a link to the page of the row with that key; it need not be loaded."""
    if pk is None:
        return NOTHING
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[pk]), text)


def number_in(term: str) -> int:
    """Return the number that a search names (`je_12`, `wen_12`, `12`), or one that no row has."""
    digits = term.rpartition("_")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else -1


@admin.register(Account)
class AccountAdmin(LookOnly):
    ordering = ("code", "currency")
    list_display = ("code", "currency", "grows")
    list_filter = (CurrencyFilter,)
    search_help_text = _("The code of an account, or how it begins, such as seller_pending:42")
    fields = ("code", "currency", "grows", "balance", "explained", "latest")
    readonly_fields = ("grows", "balance", "explained", "latest")

    def sought(self, term: str) -> Q:
        return Q(code__startswith=term)

    @admin.display(description=_("grows by"))
    def grows(self, account: Account) -> Any:
        return _("debits") if chart.type_of(account.code).grows_by_debit else _("credits")

    @admin.display(description=_("balance now"))
    def balance(self, account: Account) -> SafeString:
        return format_html('<strong class="amount">{}</strong>', amount(queries.balance_of(account.code, currency=account.currency)))

    @admin.display(description=_("what makes it"))
    def explained(self, account: Account) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("explain_account", args=[account.pk]), gettext("Down to the entries"))

    @admin.display(description=_("latest postings"))
    def latest(self, account: Account) -> str:
        postings = Posting.objects.filter(account=account).select_related("entry").order_by("-entry_id", "-line")[:LATEST_POSTINGS]
        return render_to_string("admin/_postings.html", {"lines": [leg(posting) for posting in postings], "of_account": True})


@admin.register(JournalEntry)
class JournalEntryAdmin(LookOnly):
    list_display = (
        whole_id,
        "kind",
        "reference",
        "memo",
        time_column("effective_at", _("effective")),
        time_column("booked_at", _("booked")),
    )
    list_filter = ("kind", recent("booked_at"))
    search_help_text = _("An entry's number (je_12), or its reference: the id of the order or refund behind it")
    fields = (
        whole_id,
        "kind",
        "reference_link",
        "memo",
        time_column("effective_at", _("effective")),
        time_column("occurred_at", _("happened, in a month that was closed by then")),
        time_column("booked_at", _("booked")),
        "postings",
    )
    readonly_fields = fields

    def sought(self, term: str) -> Q:
        return Q(reference=term) | Q(pk=number_in(term))

    @admin.display(description=_("reference"))
    def reference_link(self, entry: JournalEntry) -> SafeString:
        return reference_of(entry.reference)

    @admin.display(description=_("postings"))
    def postings(self, entry: JournalEntry) -> str:
        postings = Posting.objects.filter(entry=entry).select_related("account").order_by("line")
        return render_to_string("admin/_postings.html", {"lines": [leg(posting) for posting in postings]})


def leg(posting: Posting) -> dict[str, Any]:
    """Return a posting as a line of a journal: what was debited on the left, what was credited on the right."""
    sign = posting.amount.amount
    return {
        "account": posting.account,
        "entry": posting.entry,
        "debit": posting.amount if sign > 0 else None,
        "credit": -posting.amount if sign < 0 else None,
    }


LISTS = {
    "ord": "payments_paymentorder",
    "re": "payments_refund",
    "dsp": "payments_dispute",
    "late": "payments_latecharge",
    "can": "payments_cancellation",
    "po": "payouts_payout",
    "pf": "payouts_paymentfile",
    "sb": "reconciliation_settlementbatch",
    "bs": "reconciliation_bankstatement",
    "mm": "reconciliation_mismatch",
    "dl": "payments_deadletter",
    "apr": "ledger_approval",
    "cnv": "wallet_conversion",
    "gc": "wallet_giftcard",
}  # of ids, by their prefix


ON_A_PATH = ("ord", "re", "dsp", "late", "can", "po")  # prefixes of what belongs to a payment


def reference_of(reference: str) -> SafeString:
    """Return the reference, as a link to whatever has this id where that can be told from its prefix, and to the payment's whole path."""
    prefix = reference.partition("_")[0]
    owner = LISTS.get(prefix)
    if owner is None:
        return format_html("{}", reference)
    own = format_html('<a href="{}?q={}">{}</a>', reverse(f"admin:{owner}_changelist"), reference.partition(":")[0], reference)
    return format_html("{} {}", own, path_of(reference)) if prefix in ON_A_PATH else own


def path_of(term: str) -> SafeString:
    """Return a link to the whole path of the payment that the id, ours or the PSP's, belongs to.  The page is of an app above, called by name."""
    words = format_html(gettext('path<span class="visually-hidden"> of {}</span>'), term)
    return format_html('<a class="whole-path" href="{}?{}">{}</a>', reverse("payment_find"), urlencode({"q": term}), words)


@admin.display(description=_("whole path"))
def whole_path(row: Any) -> SafeString:
    """The way from a row with an id to the page of its payment's whole path."""
    return path_of(row.public_id)
