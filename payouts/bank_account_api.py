"""Sellers' bank accounts over REST.  Nobody reads a number here, not even whoever sent it; requests are remembered by a keyed digest."""

from typing import Any

from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock, money
from ledger.endpoint import Endpoint, operation
from payouts import bank_accounts
from payouts.bank_account_serializers import BankAccountSerializer, BankAccountsQuery, NewBankAccountSerializer
from payouts.bank_accounts import NewBankAccount
from payouts.models import BankAccount
from wallet.api import NotInShop, seller_of

READ, WRITE = "payouts:read", "payouts:write"


class SellerBankAccounts(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, query=BankAccountsQuery, answers={200: BankAccountSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """List bank accounts

        The seller's accounts, newest first, also those that were replaced.
        """
        found = BankAccount.objects.select_related("seller").filter(seller=self.seller)
        if "currency" in self.query:
            found = found.filter(currency=self.query["currency"])
        return self.answer_page(found)


class SellerBankAccount(Endpoint):
    http_method_names = ["get", "head", "put"]

    def locate(self, request: Request, *, seller: str, currency: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)
        money.minor_units(currency)  # raises UnknownCurrency

    @operation(READ, answers={200: BankAccountSerializer})
    def get(self, request: Request, seller: str, currency: str) -> Response:
        """Read a bank account

        The one to which the seller's money of this currency goes now.
        """
        account = bank_accounts.current(self.seller, currency)
        if account is None:
            raise NotInShop(f"{self.seller.name} has no bank account for {currency}.", field="currency")
        return self.answer(account)

    @sensitive_variables()
    @operation(WRITE, body=NewBankAccountSerializer, answers={200: BankAccountSerializer})
    def put(self, request: Request, seller: str, currency: str) -> Response:
        """Set a bank account

        From now on the seller's money of this currency goes there. The same details again change nothing. Other details replace the
        account, wait for 72 hours, and are told to the seller. Details that you do not vouch for wait until the platform verifies them.
        """
        given = self.read(request)
        add = bank_accounts.add_vouched if given.pop("verified") else bank_accounts.add
        key: Any = request.auth
        account = add(self.seller, NewBankAccount(currency, **given), by=f"api:{key.prefix}", now=clock.now())
        return self.answer(account)
