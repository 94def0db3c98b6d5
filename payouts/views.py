"""The seller's payouts: when the next one is and how much, each one like a receipt, asking for one, and why the balance is what it is.

All pages stand in the shell of the seller's pages (wallet/views.py).  Whoever is logged in finds the payouts of the sellers they act for;
anybody else's are not found.  Bank details have pages of their own (bank_account_views.py).
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from babel.numbers import NumberFormatError, format_decimal, parse_decimal
from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from djmoney.money import Money

from ledger import clock
from ledger.approvals import AlreadyDecided
from ledger.errors import DomainError
from ledger.money import exact, minor_units
from ledger.templatetags.written import amount as written
from ledger.templatetags.written import reader
from payouts import balance_explained, calendars, conversions, payout_sales, queries, requests, tasks, terms, timeline, wording
from payouts.conversions import Expected
from payouts.models import BankAccount, Payout, PayoutTransition
from payouts.payout_sales import Sold
from payouts.queries import Contents, Part, Payable
from payouts.states import CAME_TO_NOTHING, PUT_BACK, PayoutStatus
from payouts.terms import Terms
from payouts.wording import Step
from wallet import holds, step_up
from wallet import queries as wallets
from wallet.models import Seller, SellerHold, Wallet, WalletEntry
from wallet.views import LARGEST_ID, Desk, seller_page

LATELY, LOOKED_AT = timedelta(days=60), 20  # a payout may come back weeks later
PAYOUTS_ON_A_PAGE = 25
MOVEMENTS_ON_A_PAGE = 50
ONCE = re.compile(r"[\w-]{20,60}", re.ASCII)
NOT_FIGURES = re.compile("[\\s\u2066\u2069]")  # blanks, and what holds an amount together that was copied from an Arabic page


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one wallet will bring next: what can be paid out now, the days on which that happens by itself, and what is in the way.

    What other currencies bring at the rates of now (`converted`) counts as available, where the seller is paid out in this one.
    `mend` says why the bank account did not take the money last time, if another account would help; else it is empty.
    """

    able: Payable
    agreed: Terms
    account: BankAccount | None
    days: Sequence[date]
    why_not: str
    mend: str
    converted: Expected

    @property
    def currency(self) -> str:
        return str(self.able.available.currency.code)

    @property
    def most(self) -> Money:
        """What is available above what is kept back, whether or not something else is in the way; never less than nothing."""
        return max(self.able.available - self.able.keep_back, 0 * self.able.available)

    @property
    def needs_account(self) -> bool:
        return self.account is None


def outlook(wallet: Wallet, *, hold: SellerHold | None, mend: Mapping[int, str], now: datetime) -> Outlook:
    """Look ahead for one wallet; `mend` says by account which did not take the money."""
    currency: str = wallet.currency  # type: ignore[attr-defined]
    agreed, account = terms.holding(wallet.seller, currency, now=now), queries.account_of(wallet.seller, currency)
    converted = conversions.expected(wallet.seller, currency, now=now)
    able = queries.payable_of(wallet.seller, agreed, available=wallet.available + converted.amount, now=now)
    days = calendars.next_payouts(calendars.of(agreed), now)
    why_not = wording.why_nothing_can_be_paid(able, account=account, hold=hold)
    return Outlook(able, agreed, account, days, why_not, mend.get(account.pk, "") if account else "", converted)


def outlooks(desk: Desk, *, now: datetime) -> list[Outlook]:
    """Look ahead for each wallet of the seller in which something stands, or for which there is a bank account.

    Of a seller with a payout currency it is that one alone: all others are converted into it.
    """
    chosen = conversions.chosen_by(desk.seller)
    known = set(BankAccount.objects.filter(seller=desk.seller, replaced_at=None).values_list("currency", flat=True))
    hold = holds.active([desk.seller.pk], now).get(desk.seller.pk)
    broken = [payout for payout, must_mend in came_to_nothing(desk.seller, now=now) if must_mend]
    mend = {payout.bank_account_id: wording.why_it_came_to_nothing(payout)[0] for payout in broken}
    held = Wallet.objects.filter(seller=desk.seller).select_related("seller").order_by("currency")
    return [
        outlook(wallet, hold=hold, mend=mend, now=now)
        for wallet in (held.filter(currency=chosen) if chosen else held)
        if chosen or wallet.currency in known or wallet.pending or wallet.available or wallet.reserved  # type: ignore[attr-defined]
    ]


def came_to_nothing(seller: Seller, *, now: datetime) -> list[tuple[Payout, bool]]:
    """Return the payouts of late that failed or came back, newest first, and of each whether the seller must mend something.

    That is so if other details would help, the account that did not take the money is still the seller's, and has taken none since.
    """
    found: list[tuple[Payout, bool]] = []
    seen: set[int] = set()
    for payout in queries.payouts_to(seller).filter(created_at__gt=now - LATELY)[:LOOKED_AT]:
        if payout.status in CAME_TO_NOTHING:
            _why, is_account = wording.why_it_came_to_nothing(payout)
            found.append((payout, is_account and payout.bank_account.replaced_at is None and payout.bank_account_id not in seen))
        if payout.status in (PayoutStatus.SUCCESS, *CAME_TO_NOTHING):
            seen.add(payout.bank_account_id)
    return found


# --- All payouts ----------------------------------------------------------------------------------------------------


class PayoutFilter(forms.Form):
    """Which payouts to list, from the address; and where the page begins."""

    status = forms.ChoiceField(required=False, choices=[("", ""), *PayoutStatus.choices])
    older_than = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)


@require_safe
@seller_page
def payouts(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The next payouts, and every payout so far, newest first, a page at a time."""
    form = PayoutFilter(request.GET)
    found: list[Payout] = []
    if form.is_valid():
        wanted = queries.payouts_to(desk.seller)
        if form.cleaned_data["status"]:
            wanted = wanted.filter(status=form.cleaned_data["status"])
        if form.cleaned_data["older_than"] is not None:
            wanted = wanted.filter(pk__lt=form.cleaned_data["older_than"])
        found = list(wanted[: PAYOUTS_ON_A_PAGE + 1])
    shown = found[:PAYOUTS_ON_A_PAGE]
    context = {
        "desk": desk,
        "here": "payouts",
        "outlooks": outlooks(desk, now=clock.now()),
        "statuses": statuses_of(desk.seller),
        "status": form.cleaned_data.get("status", ""),
        "is_wrong": not form.is_valid(),
        "is_first": not request.GET.get("older_than"),
        "payouts": [(payout, wording.tone_of(payout)) for payout in shown],
        "older_than": shown[-1].pk if len(found) > len(shown) else None,
    }
    return render(request, "dashboard/payouts.html", context, status=200 if form.is_valid() else 400)


def statuses_of(seller: Seller) -> list[PayoutStatus]:
    """Return the statuses that the seller's payouts have: there is nothing to find by the others."""
    known = set(Payout.objects.filter(seller=seller).order_by().values_list("status", flat=True).distinct())
    return [status for status in PayoutStatus if status in known]


# --- One payout -----------------------------------------------------------------------------------------------------


class PageOfMovements(forms.Form):
    """Where the page of a payout's movements begins."""

    older_than = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)


@require_safe
@seller_page
def payout(request: HttpRequest, desk: Desk, public_id: str) -> HttpResponse:
    """One payout of the user's sellers, like a receipt."""
    return receipt(request, desk, get_object_or_404(payouts_of(desk), public_id=public_id))


@require_POST
@seller_page
def cancel(request: HttpRequest, desk: Desk, public_id: str) -> HttpResponse:
    """Take a payout back that waits for approval; of one that is on its way already its page says so."""
    shown = get_object_or_404(payouts_of(desk), public_id=public_id)
    try:
        requests.cancel(shown.pk, actor=f"user:{request.user.get_username()}", now=clock.now())
    except AlreadyDecided:
        return receipt(request, desk, payouts_of(desk).get(pk=shown.pk), is_too_late=True)
    return redirect("seller-payout", public_id=public_id)


def receipt(request: HttpRequest, desk: Desk, shown: Payout, *, is_too_late: bool = False) -> HttpResponse:
    form = PageOfMovements(request.GET)
    older_than = form.cleaned_data["older_than"] if form.is_valid() else None
    movements = queries.movements_in(shown)
    found = list((movements if older_than is None else movements.filter(pk__lt=older_than))[: MOVEMENTS_ON_A_PAGE + 1])
    contents, sales = queries.contents(shown), payout_sales.each_of(found)
    why, is_account = wording.why_it_came_to_nothing(shown)
    context = {
        "desk": Desk(desk.sellers, seller=shown.seller),
        "here": "payouts",
        "payout": shown,
        "tone": wording.tone_of(shown),
        "contents": contents,
        "parts": list(parts_of(shown, contents)),
        "is_put_back": shown.status in PUT_BACK,
        "is_stuck": shown.status == PayoutStatus.EXECUTING and shown.next_attempt_at is None,
        "may_cancel": shown.status == PayoutStatus.WAITING and shown.run_id is None,
        "is_too_late": is_too_late,
        "why": why,
        "is_account": is_account,
        "steps": sorted(steps(shown), key=lambda step: step.at),
        "movements": [(movement, sales.get(movement.pk)) for movement in found[:MOVEMENTS_ON_A_PAGE]],
        "is_first": older_than is None,
        "older_than": found[MOVEMENTS_ON_A_PAGE - 1].pk if len(found) > MOVEMENTS_ON_A_PAGE else None,
    }
    return render(request, "dashboard/payout.html", context, status=409 if is_too_late else 200)


def parts_of(shown: Payout, contents: Contents) -> Iterator[tuple[str, Part]]:
    """Yield the lines of the receipt that come to what moved since the payout before: first the sales, from what the buyers paid."""
    for part in contents.parts:
        if part.kind == WalletEntry.Kind.RELEASE:
            yield from sales_of(payout_sales.together(shown))
    yield from ((wording.part_named(part.kind), part) for part in contents.parts if part.kind != WalletEntry.Kind.RELEASE)


def sales_of(sold: Sold) -> Iterator[tuple[str, Part]]:
    kind = WalletEntry.Kind.RELEASE
    yield wording.part_named(kind), Part(kind, sold.count, sold.gross)
    for name, taken in (
        (_("Our fee on them"), sold.fee),
        (_("Refunds and disputes before they were delivered"), sold.reduced),
        (_("Kept in reserve for a while"), sold.held),
    ):
        if taken:
            yield name, Part(kind, 0, -taken)


def payouts_of(desk: Desk) -> QuerySet[Payout]:
    """Return the payouts of all sellers the user acts for, with what their page shows."""
    return Payout.objects.filter(seller__in=desk.sellers).select_related(
        "seller__shop", "bank_account", "run", "return_entry", "late_return_entry"
    )


def steps(shown: Payout) -> Iterator[Step]:
    """Yield what happened to the payout, without the names of those who work at the shop."""
    yield Step(shown.created_at, _("Made by the calendar") if shown.run_id else _("Asked for"))
    sent_at = queries.first_sent_at(shown)
    if sent_at is not None:
        yield Step(sent_at, _("Sent to the bank"))
    for change in timeline.transitions_of(PayoutTransition.Kind.PAYOUT, shown.pk):
        at = ended_at(shown, change, not_before=sent_at or shown.created_at)
        match change.before, change.after:
            case PayoutStatus.WAITING, PayoutStatus.EXECUTING:
                yield Step(shown.decided_at or change.at, _("Approved"), "good")
            case PayoutStatus.FAILED | PayoutStatus.RETURNED, PayoutStatus.SUCCESS:
                yield Step(at, _("It reached your bank after all"), "good")
            case PayoutStatus.EXECUTING, PayoutStatus.SUCCESS:
                yield Step(at, _("Paid to your bank"), "good")
            case _before, PayoutStatus.RETURNED:
                yield Step(at, _("Sent back by your bank; in your wallet again"), "bad")
            case _before, PayoutStatus.FAILED:
                yield Step(at, _("Not paid; in your wallet again"), "bad")
            case _before, PayoutStatus.CANCELLED:
                was_rejected = shown.failure_code == requests.REJECTED
                yield Step(at, _("Not approved; in your wallet again") if was_rejected else _("Cancelled; in your wallet again"))
            case _another_try:  # or a second payment, which is nobody's but ours
                pass


def ended_at(shown: Payout, change: PayoutTransition, *, not_before: datetime) -> datetime:
    """Return when the payout came to this end by the clock of business, which its entry has; the change was written by the database's.

    A bank whose clock is behind ours has paid nothing before it was asked: `not_before`.
    """
    match change.after:
        case PayoutStatus.SUCCESS:
            at = shown.paid_at
        case PayoutStatus.RETURNED:
            entry = shown.late_return_entry or shown.return_entry
            at = entry.happened_at if entry else None
        case _other:
            at = shown.return_entry.happened_at if shown.return_entry else None
    return max(at or change.at, not_before)


# --- Asking for one -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asking:
    """The form for one currency: what stands in its field, what is wrong with that, and the token by which it is sent once."""

    outlook: Outlook
    amount: str
    error: str = ""
    once: str = ""
    standing: Payout | None = None  # what this very form has asked for before, with another amount


class NotReadable(Exception):
    """What was typed is not an amount of the currency; says what to type."""


@require_http_methods(["GET", "HEAD", "POST"])
@step_up.required
@seller_page
def ask(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Ask for a payout: one form per currency, each with all that can be paid out.  Asks for password and code first."""
    forms_shown = [Asking(each, in_figures(each.able.amount), once=secrets.token_urlsafe(24)) for each in outlooks(desk, now=clock.now())]
    status = 200
    if request.method == "POST":
        chosen = next((each for each in forms_shown if each.outlook.currency == request.POST.get("currency")), None)
        if chosen is None:
            return render(request, "dashboard/payout_request.html", {"desk": desk, "here": "payouts", "forms": forms_shown}, status=400)
        answer = asked(request, desk, chosen.outlook)
        if isinstance(answer, Payout):
            tasks.nudge_payouts()
            return redirect("seller-payout", public_id=answer.public_id)
        forms_shown, status = [answer if each is chosen else each for each in forms_shown], 400
    context = {"desk": desk, "here": "payouts", "forms": forms_shown, "chosen": request.GET.get("currency", "")}
    return render(request, "dashboard/payout_request.html", context, status=status)


def asked(request: HttpRequest, desk: Desk, outlook: Outlook) -> Payout | Asking:
    """Ask for what was typed; the form again, with all that was typed and what is wrong, if that cannot be."""
    typed = request.POST.get("amount", "")[:60].strip()
    once = request.POST.get("once", "")
    fresh = secrets.token_urlsafe(24)
    if request.POST.get("seller") != desk.seller.public_id:
        return Asking(outlook, typed, wording.other_seller_meanwhile(desk.seller), fresh)
    if not ONCE.fullmatch(once):
        return Asking(outlook, typed, _("This page was open for too long. Look at the amount and send it again."), fresh)
    wanted: Money | None = None
    try:
        wanted = amount_in(typed, outlook.currency)
        asked_by = f"user:{request.user.get_username()}"
        return requests.request_payout(desk.seller, amount=wanted, once=f"page:{once}", requested_by=asked_by, now=clock.now())
    except NotReadable as error:
        return Asking(outlook, typed, str(error), once)
    except requests.PayoutConflict:
        standing = Payout.objects.filter(seller=desk.seller, once=f"page:{once}").first()
        return Asking(outlook, typed, _("You have asked for another amount with this page already."), fresh, standing)
    except queries.NotPayable:
        return Asking(outlook, typed, wording.why_not_so_much(wanted, outlook.able), once)
    except DomainError:
        said = outlook.why_not or _("This cannot be paid out now. Ask the shop that you sell at.")
        return Asking(outlook, typed, said, once)


def in_figures(amount: Money) -> str:
    """Write the amount as the reader would type it: 1234.50 or 1234,50."""
    places = minor_units(amount.currency.code)
    return str(format_decimal(amount.amount, format=f"0.{'0' * places}".rstrip("."), locale=reader()))


def amount_in(typed: str, currency: str) -> Money:
    """Read an amount as the reader types it, with or without dots and commas between the thousands.  Raises NotReadable."""
    example = written(exact("1234", currency) + Money(Decimal(5).scaleb(-1) if minor_units(currency) else 0, currency))
    try:
        return exact(str(parse_decimal(NOT_FIGURES.sub("", typed).removesuffix(currency), locale=reader(), strict=True)), currency)
    except NumberFormatError:
        raise NotReadable(_("Write an amount such as %s.") % example) from None
    except DomainError:
        raise NotReadable(_("That is finer, or larger, than an amount of %(currency)s can be. Write one such as %(example)s.") % {"currency": currency, "example": example}) from None  # fmt: skip


# --- Why is this my balance? ----------------------------------------------------------------------------------------


@require_safe
@seller_page
def why(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The sum from what was sold down to what stands there, for each currency in which anything ever moved."""
    moved = [wallet for wallet in wallets.wallets_of(desk.seller) if WalletEntry.objects.filter(wallet=wallet).exists()]
    explained: list[Any] = [balance_explained.explained(wallet) for wallet in moved]
    return render(request, "dashboard/why.html", {"desk": desk, "here": "home", "explained": explained})
