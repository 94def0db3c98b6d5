"""The seller's bank details: where the money of each currency goes, and the form that changes it.

Whoever changes them has confirmed password and code within the past minutes (wallet/step_up.py), so that a browser left open is not enough.
No page ever shows a number that is kept, and none is kept by the browser.
"""

from dataclasses import dataclass, fields
from typing import Any

import pycountry
from babel import Locale
from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from ledger import clock
from ledger.errors import DomainError
from ledger.templatetags.written import reader
from payouts import bank_accounts, wording
from payouts.bank_accounts import NewBankAccount
from payouts.models import BankAccount
from wallet import queries as wallets
from wallet import step_up
from wallet.models import Seller
from wallet.views import Desk, seller_page

USUAL = "EUR"  # for whom nothing was sold yet
NUMBERS = ("iban", "country", "account_number", "bank_code")
WIDTHS = {"holder": 70, "iban": 60, "country": 2, "account_number": 60, "bank_code": 40}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the money of one currency goes (None: nowhere yet), and whether it can be paid there now."""

    currency: str
    account: BankAccount | None
    is_waiting: bool  # for the end of the time in which its owner may object


@require_safe
@seller_page
def bank_accounts_page(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The account of each currency, masked, and how it stands."""
    now = clock.now()
    places = []
    for currency in currencies_of(desk.seller):
        account = bank_accounts.current(desk.seller, currency)
        places.append(Place(currency, account, account is not None and account.usable_from > now))
    return render(request, "dashboard/bank_accounts.html", {"desk": desk, "here": "bank", "places": places})


def currencies_of(seller: Seller) -> list[str]:
    """Return the currencies in which the seller sold something or has an account; the usual one if there is none."""
    sold = {wallet.currency for wallet in wallets.wallets_of(seller)}  # type: ignore[attr-defined]
    known = set(BankAccount.objects.filter(seller=seller, replaced_at=None).values_list("currency", flat=True))
    return sorted(sold | known) or [USUAL]


class BankAccountForm(forms.Form):
    """An account as a person types it.  What makes a number right is said by `bank_accounts`."""

    holder = forms.CharField(max_length=WIDTHS["holder"])
    iban = forms.CharField(max_length=WIDTHS["iban"], required=False)
    country = forms.CharField(max_length=WIDTHS["country"], required=False)
    account_number = forms.CharField(max_length=WIDTHS["account_number"], required=False)
    bank_code = forms.CharField(max_length=WIDTHS["bank_code"], required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["holder"].error_messages["required"] = _("Type the name that the bank knows the account by.")

    def wanted(self, currency: str) -> NewBankAccount:
        names = {field.name for field in fields(NewBankAccount)} - {"currency"}
        return NewBankAccount(currency, **{name: self.cleaned_data[name] for name in names})


@sensitive_post_parameters()
@sensitive_variables()
@require_http_methods(["GET", "HEAD", "POST"])
@step_up.required
@seller_page
def change(request: HttpRequest, desk: Desk, currency: str) -> HttpResponse:
    """Give another account for a currency."""
    if currency not in currencies_of(desk.seller):
        raise Http404
    account = bank_accounts.current(desk.seller, currency)
    known = {"holder": account.holder} if account else {}
    form = BankAccountForm(request.POST if request.method == "POST" else None, initial=known)
    if request.method == "POST" and form.is_valid() and added(request, desk, form, currency):
        return redirect("seller-bank-accounts")
    names: Locale = reader()
    context = {
        "desk": desk,
        "here": "bank",
        "currency": currency,
        "account": account,
        "form": form,
        "is_local": any(form[name].value() or form[name].errors for name in NUMBERS[1:]),
        "countries": sorted((names.territories.get(each.alpha_2, each.name), each.alpha_2) for each in pycountry.countries),
    }
    return render(request, "dashboard/bank_account.html", context, status=400 if form.is_bound else 200)


@sensitive_variables()
def added(request: HttpRequest, desk: Desk, form: BankAccountForm, currency: str) -> bool:
    """Make what was typed the seller's account; False, with the reason under its field, if it cannot be one."""
    if request.POST.get("seller") != desk.seller.public_id:
        form.add_error(None, wording.other_seller_meanwhile(desk.seller))
        return False
    try:
        bank_accounts.add(desk.seller, form.wanted(currency), by=f"user:{request.user.get_username()}", now=clock.now())
    except DomainError as error:
        form.add_error(error.field if error.field in form.fields else None, error.detail)
        return False
    return True
