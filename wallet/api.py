"""Sellers, wallets and events over REST, each of the caller's own shop; another shop's are not found."""

from typing import Any

from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from wallet import feed, sellers
from wallet.models import OutboxMessage, Seller, Shop, Wallet, WalletEntry
from wallet.serializers import (
    EventSerializer,
    EventsQuery,
    NewSellerSerializer,
    NewWalletSerializer,
    SellerSerializer,
    SellersQuery,
    WalletEntriesQuery,
    WalletEntrySerializer,
    WalletSerializer,
    WalletsQuery,
)

READ, WRITE = "wallet:read", "wallet:write"
READ_PAYMENTS = "payments:read"


class NoSuchSeller(DomainError):
    code = "unknown_seller"


class NotInShop(DomainError):
    """What a parameter names is not there, or another shop's."""

    code = "not_found"


def shop_of(request: Request) -> Shop:
    """Return the shop whose key the caller has."""
    key: Any = request.auth
    shop: Shop = key.shop
    return shop


def seller_of(request: Request, public_id: str) -> Seller:
    """Return a seller of the caller's shop.  Raises Http404."""
    seller = Seller.objects.filter(shop=shop_of(request), public_id=public_id, is_house=False).first()
    if seller is None:
        raise Http404
    return seller


def seller_asked_for(request: Request, public_id: str) -> Seller:
    """Return the seller of the caller's shop whom a parameter names.  Raises NotInShop."""
    seller = Seller.objects.filter(shop=shop_of(request), public_id=public_id, is_house=False).first()
    if seller is None:
        raise NotInShop(f"There is no seller {public_id!r} in your shop.", field="seller")
    return seller


class Sellers(Endpoint):
    @operation(READ, query=SellersQuery, answers={200: SellerSerializer})
    def get(self, request: Request) -> Response:
        """List sellers"""
        found = Seller.objects.filter(shop=shop_of(request), is_house=False)
        if "reference" in self.query:
            found = found.filter(reference=self.query["reference"])
        return self.answer_page(found)

    @operation(WRITE, body=NewSellerSerializer, answers={201: SellerSerializer, 200: SellerSerializer})
    def post(self, request: Request) -> Response:
        """Add a seller

        The same name under the same reference answers 200 with the seller who is there.
        """
        seller, is_new = sellers.join(shop_of(request), **self.read(request))
        return self.answer(seller, status=201 if is_new else 200)


class OneSeller(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, answers={200: SellerSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """Read a seller"""
        return self.answer(self.seller)


class Wallets(Endpoint):
    @operation(READ, query=WalletsQuery, answers={200: WalletSerializer})
    def get(self, request: Request) -> Response:
        """List wallets

        What each seller is owed, one wallet for each currency.
        """
        found = Wallet.objects.select_related("seller").filter(seller__shop=shop_of(request))
        if "seller" in self.query:
            found = found.filter(seller=seller_asked_for(request, self.query["seller"]))
        if "currency" in self.query:
            found = found.filter(currency=self.query["currency"])
        return self.answer_page(found)

    @operation(WRITE, body=NewWalletSerializer, answers={201: WalletSerializer, 200: WalletSerializer})
    def post(self, request: Request) -> Response:
        """Open a wallet

        Wallets also open by themselves, with a seller's first payment in a currency.  Opening one that is there answers 200.
        """
        wanted = self.read(request)
        seller = Seller.objects.filter(shop=shop_of(request), public_id=wanted["seller"], is_house=False).first()
        if seller is None:
            raise NoSuchSeller(f"There is no seller {wanted['seller']!r} in this shop. GET /v1/sellers lists them.", field="seller")
        wallet, is_new = sellers.open_wallet(seller, currency=wanted["currency"])
        return self.answer(wallet, status=201 if is_new else 200)


class WalletEntries(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, query=WalletEntriesQuery, answers={200: WalletEntrySerializer})
    def get(self, request: Request, seller: str) -> Response:
        """List a wallet's entries

        Every movement of the seller's wallets, newest first: what came in gross, the platform's fee, and what it left.
        """
        wallets = Wallet.objects.filter(seller=self.seller)
        if "currency" in self.query:
            wallets = wallets.filter(currency=self.query["currency"])
        entries = WalletEntry.objects.filter(wallet__in=list(wallets))
        if "kind" in self.query:
            entries = entries.filter(kind=self.query["kind"])
        return self.answer_page(entries)


def message_of(request: Request, public_id: str) -> OutboxMessage:
    """Return a message of the caller's shop.  Raises Http404."""
    message = OutboxMessage.objects.filter(shop=shop_of(request), public_id=public_id).first()
    if message is None:
        raise Http404
    return message


class OneEvent(Endpoint):
    def locate(self, request: Request, *, event: str) -> None:  # type: ignore[override]
        self.message = message_of(request, event)

    @operation(READ_PAYMENTS, answers={200: EventSerializer})
    def get(self, request: Request, event: str) -> Response:
        """Read an event"""
        return self.answer(self.message)


class Events(Endpoint):
    @operation(READ_PAYMENTS, query=EventsQuery, answers={200: EventSerializer})
    def get(self, request: Request) -> Response:
        """Follow events

        Everything that happened in the shop, oldest first: ask with `after` = the last event you know, as often as you like, and you will
        have had each one.  An event may take a moment to appear; none is left out.
        """
        limit = self.query["limit"]
        found = feed.messages_after(shop_of(request), after=self.query["after"], limit=limit + 1, now=timezone.now())
        shown = found[:limit]
        last = shown[-1].public_id if shown else self.query["after"] or None
        data = EventSerializer(shown, many=True).data
        return Response({"object": "list", "data": data, "has_more": len(found) > limit, "next_cursor": last})
