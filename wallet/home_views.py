"""The seller's home: what needs doing, what happened, what stands in each wallet, how sales went for twelve months, and the last movements.

What stands on it is gathered by home.py; the figures of the months are monthly.py's, the line is line_chart.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from babel.dates import format_skeleton
from babel.numbers import format_compact_decimal
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from djmoney.money import Money

from ledger import clock
from ledger.money import zero
from ledger.templatetags.written import MINUS, amount, reader
from wallet import conversions, home, line_chart, monthly, queries
from wallet.home import Ahead
from wallet.line_chart import Drawing
from wallet.models import Wallet
from wallet.months import Month
from wallet.views import Desk, seller_page

MOVEMENTS_AT_HOME = 10
MONTHS_AT_HOME = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One month of the chart: its name, short and long, what it came to, and where its point is."""

    short: str
    name: str
    net: Money
    x: str
    y: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The line of one wallet's months; `across` are the lines across with their figures, `words` say what there is to see."""

    drawing: Drawing
    columns: Sequence[Column]
    across: Sequence[tuple[str, str]]
    total: Money
    words: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One currency: what stands in its wallet, what is on its way to the bank and comes next, and how sales went (None: there were none)."""

    wallet: Wallet
    on_its_way: Money
    ahead: Ahead | None
    chart: Chart | None

    @property
    def is_empty(self) -> bool:
        figures = (self.wallet.pending, self.wallet.available, self.wallet.reserved, self.on_its_way)
        return self.chart is None and not any(figure.amount for figure in figures)


@require_safe
@seller_page
def show(request: HttpRequest, desk: Desk) -> HttpResponse:
    """What needs doing, what stands, what it means, and what happened last."""
    wallets = queries.wallets_of(desk.seller)
    movements = queries.latest(wallets, count=MOVEMENTS_AT_HOME)
    conversions.tell(movements)
    shown = home.parts(desk.seller, request.user, wallets, now=clock.now())
    last_months = monthly.last_months(timezone.now(), count=MONTHS_AT_HOME)
    sales = monthly.net_sales(wallets, last_months) if movements else {}
    standings = [standing(wallet, shown.ahead, last_months, sales.get(wallet.pk, [])) for wallet in wallets]
    context = {
        "desk": desk,
        "here": "home",
        "tasks": shown.tasks,
        "notices": shown.notices,
        "standings": [each for each in standings if not each.is_empty] or (standings if movements else []),
        "movements": movements,
    }
    return render(request, "dashboard/home.html", context)


@require_POST
@seller_page
def dismiss(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Show a notice to this person no more; one that is not shown to them changes nothing."""
    wallets = queries.wallets_of(desk.seller)
    home.dismiss(request.POST.get("key", ""), seller=desk.seller, user=request.user, wallets=wallets, now=clock.now())
    return redirect("seller-home")


def standing(wallet: Wallet, all_ahead: Mapping[str, Ahead], months: Sequence[Month], values: Sequence[Decimal]) -> Standing:
    currency: str = wallet.currency  # type: ignore[attr-defined]
    ahead = all_ahead.get(currency)
    return Standing(
        wallet, ahead.on_its_way if ahead else zero(currency), ahead, charted(months, values, currency) if any(values) else None
    )


def charted(months: Sequence[Month], values: Sequence[Decimal], currency: str) -> Chart:
    """Draw what the months came to, and say it in words."""
    drawing = line_chart.drawn(values)
    columns = [
        Column(named(month, "MMM"), named(month, "yMMMM"), Money(net, currency), *point)
        for month, net, point in zip(months, values, drawing.points, strict=True)
    ]
    best = max(columns, key=lambda column: column.net.amount)
    total = Money(sum(values), currency)
    words = _("%(total)s in twelve months. The best one was %(month)s with %(best)s.")
    told = words % {"total": amount(total), "month": best.name, "best": amount(best.net)}
    return Chart(drawing, columns, [(line.y, in_short(line.value)) for line in drawing.across], total, told)


def named(month: Month, skeleton: str) -> str:
    return str(format_skeleton(skeleton, datetime(month.year, month.number, 1), locale=reader()))  # noqa: DTZ001


def in_short(value: Decimal) -> str:
    """Write a round figure as short as the reader's language does: 2.5K, 10M."""
    return str(format_compact_decimal(value, locale=reader(), fraction_digits=3)).replace("-", MINUS)
