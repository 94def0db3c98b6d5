"""The seller's web UI: every movement of the wallets with its arithmetic, and what all of a seller's pages have in common.

Whoever is logged in sees the sellers they act for, one at a time, and nobody else's: every page goes through `seller_page`.  The page of an
order is payments' own, in the same shell, and the home has its own module (home_views.py).  Nothing here writes money.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from ledger.money import text
from wallet import conversions, queries
from wallet.models import Seller, Wallet, WalletEntry
from wallet.queries import Wanted
from wallet.sheets import harmless, written

LARGEST_ID = 2**63 - 1
CHOSEN_SELLER = "seller"  # in the session: the public id of the seller whose pages are looked at
CSV_COLUMNS = (
    *("date", "kind", "order", "gross", "fee", "net", "currency", "movement", "journal_entry"),
    *("what", "pending", "available", "reserved"),
)
NAMED_DAYS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2999, 12, 31))]


@dataclass(frozen=True, slots=True)
class Desk:
    """Who is at work: the sellers the user acts for, and the one whose page this is."""

    sellers: Sequence[Seller]
    seller: Seller


P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, Desk, P], HttpResponseBase]


def seller_page(page: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Serve the page to whoever is logged in, with the seller they chose, or the first of theirs; say so if they have none."""

    @wraps(page)
    def served(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        desk = desk_of(request)
        if desk is None:
            return render(request, "dashboard/no_seller.html", status=403)
        return page(request, desk, *args, **kwargs)

    return never_cache(login_required(served))


def desk_of(request: HttpRequest) -> Desk | None:
    """Return the sellers of whoever is logged in, and the one they chose, or the first of theirs; None if they act for nobody."""
    sellers = list(queries.sellers_of(request.user))
    chosen = request.session.get(CHOSEN_SELLER)
    return Desk(sellers, next((seller for seller in sellers if seller.public_id == chosen), sellers[0])) if sellers else None


class MovementFilter(forms.Form):
    """Which movements to list, from the address; and where the page begins."""

    currency = forms.ChoiceField(label=_("Currency"), required=False)
    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[("", _("All")), *WalletEntry.Kind.choices])
    since = forms.DateField(label=_("From"), required=False, validators=NAMED_DAYS)
    until = forms.DateField(label=_("To"), required=False, validators=NAMED_DAYS)
    older_than = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)
    newer_than = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)

    def __init__(self, *args: Any, wallets: Sequence[Wallet], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        codes = [wallet.currency for wallet in wallets]  # type: ignore[attr-defined]
        self.fields["currency"].choices = [("", _("All")), *((code, code) for code in codes)]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("since") and cleaned.get("until") and cleaned["since"] > cleaned["until"]:
            self.add_error("until", _("This day is before the first one."))
        return cleaned

    def wanted(self) -> Wanted:
        return Wanted(**{name: self.cleaned_data[name] for name in ("currency", "kind", "since", "until") if self.cleaned_data[name]})


@require_safe
@seller_page
def movements(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Every movement asked for, newest first, a page at a time."""
    wallets = queries.wallets_of(desk.seller)
    form = MovementFilter(request.GET, wallets=wallets)
    page, status = queries.Page([], newer_than=None, older_than=None), 400
    if form.is_valid():
        begin = {name: form.cleaned_data[name] for name in ("older_than", "newer_than")}
        page, status = queries.page(wallets, form.wanted(), **begin), 200
    conversions.tell(page.movements)
    asked = request.GET.copy()
    for name in ("older_than", "newer_than"):
        asked.pop(name, None)
    filters = any(asked.get(name) for name in ("currency", "kind", "since", "until"))
    context = {
        "desk": desk,
        "here": "movements",
        "form": form,
        "page": page,
        "asked": asked.urlencode(),
        "filters": filters,
    }
    return render(request, "dashboard/movements.html", context, status=status)


@require_safe
@seller_page
def movements_csv(request: HttpRequest, desk: Desk) -> HttpResponseBase:
    """The same movements, all pages, as a file that is written while it is read."""
    wallets = queries.wallets_of(desk.seller)
    form = MovementFilter(request.GET, wallets=wallets)
    if not form.is_valid():
        return redirect(f"{request.path.removesuffix('.csv')}?{request.GET.urlencode()}")
    response = StreamingHttpResponse(lines(queries.chunks(wallets, form.wanted())), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="movements-{timezone.localdate()}.csv"'
    return response


def lines(chunks: Iterator[list[WalletEntry]]) -> Iterator[str]:
    """Yield the movements as CSV for spreadsheets and programs: plain decimals that add up, times with their zone.

    gross + fee = net = pending + available + reserved: what a release moves from one to the other is seen in the last three.
    """
    yield written([CSV_COLUMNS])
    for chunk in chunks:
        yield written([row_of(movement) for movement in chunk])


def row_of(movement: WalletEntry) -> list[str]:
    currency = movement.net.currency.code
    return [
        harmless(timezone.localtime(movement.created_at).isoformat(timespec="seconds")),
        harmless(movement.kind),
        harmless(movement.source),
        text(movement.gross),
        text(-movement.fee if movement.fee.amount else movement.fee),
        text(movement.net),
        harmless(currency),
        harmless(movement.public_id),
        harmless(f"je_{movement.journal_entry_id}"),
        harmless(str(WalletEntry.Kind(movement.kind).label)),
        text(movement.pending),
        text(movement.available),
        text(movement.reserved),
    ]


@require_POST
@seller_page
def switch(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Look at another seller of the user's from now on."""
    wanted = request.POST.get("seller")
    if wanted not in {seller.public_id for seller in desk.sellers}:
        raise Http404
    request.session[CHOSEN_SELLER] = wanted
    return redirect("seller-home")
