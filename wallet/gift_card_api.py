"""Gift cards and buyers' wallets over REST, each of the caller's own shop; another shop's are not found.

What opens a payment - a card that is sold, a top-up - is in payments/api/stored_value.py.  The answer that shows a code is never kept.
"""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from wallet import buyer_wallets, gift_cards
from wallet.api import shop_of
from wallet.gift_card_serializers import (
    BuyerWalletSerializer,
    CodeToLookUpSerializer,
    GiftCardSerializer,
    MadeCodeSerializer,
    NewCodeSerializer,
    StoredValueEntriesQuery,
    StoredValueEntrySerializer,
)
from wallet.gift_card_tries import Who
from wallet.models import Buyer, GiftCard, StoredValueEntry

READ, WRITE = "gift_cards:read", "gift_cards:write"
READ_BUYERS, WRITE_BUYERS = "buyers:read", "buyers:write"


class AboutGiftCard(Endpoint):
    """An address below one gift card."""

    card: GiftCard

    def locate(self, request: Request, *, gift_card: str) -> None:  # type: ignore[override]
        card = gift_cards.listed(shop_of(request)).filter(public_id=gift_card).first()
        if card is None:
            raise Http404
        self.card = card


class OneGiftCard(AboutGiftCard):
    @operation(READ, answers={200: GiftCardSerializer})
    def get(self, request: Request, gift_card: str) -> Response:
        """Read a gift card"""
        return self.answer(self.card)


class GiftCardCode(AboutGiftCard):
    @operation(WRITE, body=NewCodeSerializer, answers={201: MadeCodeSerializer})
    @sensitive_variables()
    def post(self, request: Request, gift_card: str) -> Response:
        """Make the code of a gift card

        The code is in this answer and nowhere else: we keep a keyed hash of it.  A code that was made before is over.  Where the answer is
        lost, make another one.  A card that nobody has paid yet, and one that is empty or has expired, gets none.
        """
        self.read(request)
        code = gift_cards.make_code(self.card.pk, now=clock.now())
        return self.answer({"gift_card": self.card.public_id, "code": code}, status=201)


class GiftCardBalance(Endpoint):
    @operation(READ, body=CodeToLookUpSerializer, answers={200: GiftCardSerializer})
    @sensitive_variables()
    def post(self, request: Request) -> Response:
        """Look up a gift card by its code

        What is left on it, whether it can be used, and until when.  Wrong codes are counted for your key and for the `buyer` you name:
        after 20 within an hour for one buyer, or 600 for your key, every code is refused (429) until the hour is over.
        """
        asked, key = self.read(request), request.auth
        who = Who(buyer=asked["buyer"], key=str(getattr(key, "pk", "")))
        return self.answer(gift_cards.find(shop_of(request), asked["code"], who=who, now=clock.now()))


class GiftCardEntries(AboutGiftCard):
    @operation(READ, query=StoredValueEntriesQuery, answers={200: StoredValueEntrySerializer})
    def get(self, request: Request, gift_card: str) -> Response:
        """List a gift card's movements

        Newest first.
        """
        return self.answer_page(asked_for(StoredValueEntry.objects.filter(value=self.card.value_id), self.query))


class AboutBuyer(Endpoint):
    """An address below one buyer, who is named by the shop's own reference."""

    buyer: Buyer

    def locate(self, request: Request, *, buyer: str) -> None:  # type: ignore[override]
        found = buyer_wallets.buyer_of(shop_of(request), buyer)
        if found is None:
            raise Http404
        self.buyer = found


class BuyerWallet(AboutBuyer):
    @operation(READ_BUYERS, answers={200: BuyerWalletSerializer})
    def get(self, request: Request, buyer: str) -> Response:
        """Read a buyer's wallet

        The buyer is named by your own reference.  Not found: nobody has paid or topped up under this reference yet.
        """
        return self.answer({"buyer": self.buyer, "balances": buyer_wallets.of(self.buyer)})


class BuyerWalletEntries(AboutBuyer):
    @operation(READ_BUYERS, query=StoredValueEntriesQuery, answers={200: StoredValueEntrySerializer})
    def get(self, request: Request, buyer: str) -> Response:
        """List the movements of a buyer's wallet

        Newest first, in all currencies.
        """
        return self.answer_page(asked_for(buyer_wallets.entries_of(self.buyer), self.query))


def asked_for(entries: QuerySet[StoredValueEntry], query: dict[str, Any]) -> QuerySet[StoredValueEntry]:
    """Return those of the movements that the query asks for."""
    return entries.filter(**{name: query[name] for name in ("currency", "kind") if name in query})
