"""The seller's currencies: money in one becomes money in another, with what comes out shown first, and in which currency payouts are.

In the shell of the seller's pages.  What always stays in a wallet, as agreed for payouts, is not converted, which is why this stands here.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from djmoney.money import Money

from ledger import clock
from ledger.errors import DomainError
from ledger.money import exact
from ledger.templatetags.written import amount
from payouts import conversions, wording
from payouts.conversions import Expected
from payouts.views import ONCE, NotReadable, amount_in, in_figures
from wallet import queries, rates, step_up
from wallet.conversions import Quote, Wish, quote
from wallet.models import Conversion, Seller
from wallet.rates_ecb import EURO
from wallet.views import Desk, seller_page


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form, what it would bring (None: nothing was asked yet, or it cannot be), and what is wrong with it."""

    sold: str
    typed: str
    to: str
    offer: Quote | None = None
    error: str = ""
    notice: str = ""


class Chosen(forms.Form):
    """The form's fields, from the address or from the button."""

    currency = forms.ChoiceField(choices=[(code, code) for code in settings.CURRENCIES], required=False)
    amount = forms.CharField(max_length=60, required=False)
    to = forms.ChoiceField(choices=[(code, code) for code in settings.CURRENCIES], required=False)


def currencies(request: HttpRequest) -> HttpResponseBase:
    """Show what an amount becomes; by POST, convert it."""
    return convert(request) if request.method == "POST" else offer(request)


@require_safe
@seller_page
def offer(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Show what an amount becomes, and in which currency the seller is paid out."""
    asked = asked_in(request.GET, desk.seller)
    return shown(request, desk, asked, 400 if asked.error else 200)


@require_POST
@step_up.required
@seller_page
def convert(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Convert what was shown, which nobody can take back: asks for password and code first."""
    answer = confirmed(request, desk)
    if isinstance(answer, Conversion):
        return redirect("seller-conversion", public_id=answer.public_id)
    return shown(request, desk, answer, 400)


def asked_in(said: Any, seller: Seller) -> Asked:
    """Return what is asked for, with what it would bring; without an amount, the form with all that there is."""
    form = Chosen(said)
    most = {each.currency.code: each for each in mosts(seller)}
    first = next((code for code, spare in most.items() if spare), "")
    if not form.is_valid():
        return Asked(first, "", "", error=_("Part of the address is not right. Choose again."))
    sold = form.cleaned_data["currency"] or first
    others = [code for code in most if code != sold]
    to = form.cleaned_data["to"] or conversions.chosen_by(seller) or (others[0] if others else EURO)
    typed = form.cleaned_data["amount"].strip()
    if not typed:
        return Asked(sold, in_figures(most[sold]) if sold in most else "", to)
    try:
        wanted = amount_in(typed, sold) if sold else Money(0, to)
        require_there(wanted, most)
        return Asked(sold, typed, to, quote(wanted, to, now=clock.now()))
    except (NotReadable, DomainError) as error:
        return Asked(sold, typed, to, error=why_not(error, to))


def confirmed(request: HttpRequest, desk: Desk) -> Conversion | Asked:
    """Convert what was shown; the form again, with what is wrong, if that cannot be, or if it would bring another amount by now."""
    asked = asked_in(request.POST, desk.seller)
    once = request.POST.get("once", "")
    if request.POST.get("seller") != desk.seller.public_id:
        return Asked(asked.sold, asked.typed, asked.to, error=wording.other_seller_meanwhile(desk.seller))
    if not ONCE.fullmatch(once):
        return asked
    standing = Conversion.objects.filter(seller=desk.seller, once=f"page:{once}").first()
    if standing is not None:
        return standing  # sent twice: this is what came of it
    if asked.offer is None:
        return asked
    try:
        expected = exact(request.POST.get("expected", ""), asked.to)
        wish = Wish(asked.offer.sold, asked.to, f"page:{once}", f"user:{request.user.get_username()}", expected)
        return conversions.convert(desk.seller, wish, now=clock.now())
    except DomainError as error:
        if error.code in ("quote_changed", "not_an_amount"):
            again = _("There is a new rate since this page was shown. Look at what you get now.")
            return Asked(asked.sold, asked.typed, asked.to, asked.offer, notice=again)
        return Asked(asked.sold, asked.typed, asked.to, error=why_not(error, asked.to))


def mosts(seller: Seller) -> list[Money]:
    """Return what of each wallet may be converted, by currency."""
    return [conversions.most(wallet) for wallet in queries.wallets_of(seller)]


def require_there(wanted: Money, most: dict[str, Money]) -> None:
    spare = most.get(wanted.currency.code)
    if spare is None or not spare:
        raise NotReadable(_("Nothing can be converted from %s now.") % wanted.currency)
    if wanted > spare:
        raise NotReadable(_("At most %s can be converted now.") % amount(spare))


def why_not(error: Exception, to: str) -> str:
    """Return why this cannot be converted, in the seller's words."""
    match error:
        case NotReadable():
            return str(error)
        case DomainError(code="no_rate"):
            return _("There is no exchange rate between these currencies at present. Ask the shop that you sell at.")
        case DomainError(code="stale_rate"):
            return _("There is no new exchange rate between these currencies yet. Try again tomorrow: your money stays as it is.")
        case DomainError(code="same_currency"):
            return _("It is %s already. Choose another currency.") % to
        case DomainError(code="not_convertible"):
            return _("This is less than the smallest amount of %s, or nothing at all.") % to
        case _other:
            return _("This cannot be converted now. Look at your balance, and ask again.")


def shown(request: HttpRequest, desk: Desk, asked: Asked, status: int) -> HttpResponse:
    now = clock.now()
    known = [EURO, *(rate.quote for rate in rates.all_newest(now=now) if not rates.is_stale(rate, now=now))]
    chosen = conversions.chosen_by(desk.seller)
    context: dict[str, Any] = {
        "desk": desk,
        "here": "payouts",
        "asked": asked,
        "mosts": mosts(desk.seller),
        "known": sorted({*known, *filter(None, (asked.to, chosen))}),
        "once": secrets.token_urlsafe(24),
        "chosen": chosen,
        "expected": conversions.expected(desk.seller, chosen, now=now) if chosen else Expected(Money(0, EURO)),
        "made": Conversion.objects.filter(seller=desk.seller).order_by("-pk")[:5],
    }
    return render(request, "dashboard/currencies.html", context, status=status)


@require_safe
@seller_page
def conversion(request: HttpRequest, desk: Desk, public_id: str) -> HttpResponse:
    """One conversion of the user's sellers: what became what, at which rate."""
    made: Conversion = get_object_or_404(
        Conversion.objects.filter(seller__in=desk.sellers).select_related("seller__shop"), public_id=public_id
    )
    context = {"desk": Desk(desk.sellers, seller=made.seller), "here": "movements", "made": made}
    return render(request, "dashboard/conversion.html", context)


@require_POST
@step_up.required
@seller_page
def choose(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Be paid out in one currency from now on, or in each as it is.  Asks for password and code first: payouts convert by it."""
    currency = request.POST.get("payout_currency", "")
    if request.POST.get("seller") == desk.seller.public_id and (not currency or currency in settings.CURRENCIES):
        conversions.choose(desk.seller, currency, by=f"user:{request.user.get_username()}", now=clock.now())
    return redirect("seller-convert")
