"""Conversions over REST, of the wallets of the caller's own sellers; another shop's are not found.

They stand here, and not with the wallets, since what always stays in a wallet was agreed for payouts.
"""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from ledger.money import exact
from payouts import conversions
from wallet.api import READ, WRITE, seller_of, shop_of
from wallet.conversion_serializers import ConversionSerializer, ConversionsQuery, NewConversionSerializer, QuoteQuery, QuoteSerializer
from wallet.conversions import Wish, quote
from wallet.models import Conversion, Shop


def conversions_of(shop: Shop) -> QuerySet[Conversion]:
    return Conversion.objects.filter(seller__shop=shop).select_related("seller")


class Conversions(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, query=ConversionsQuery, answers={200: ConversionSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """List a seller's conversions

        Newest first, those that were made for payouts among them.
        """
        return self.answer_page(conversions_of(shop_of(request)).filter(seller=self.seller))

    @operation(WRITE, body=NewConversionSerializer, answers={201: ConversionSerializer, 200: ConversionSerializer})
    def post(self, request: Request, seller: str) -> Response:
        """Convert money of a seller

        Of what is available, at the rate of now, rounded down to the minor unit.  The same Idempotency-Key is one conversion, for ever: it
        answers 200 with the one that stands, and 409 with the name of what differs.
        """
        wanted, now = self.read(request), clock.now()
        key: Any = request.auth
        wish = Wish(
            wanted["amount"],
            wanted["to"],
            once=str(request.headers["Idempotency-Key"]),
            requested_by=f"api:{key.prefix}",
            expected=wanted.get("expected"),
        )
        made = conversions.convert(self.seller, wish, now=now)
        return self.answer(made, status=201 if made.converted_at == now else 200)


class ConversionQuote(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, query=QuoteQuery, answers={200: QuoteSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """Ask what a conversion would bring

        By the rate of now, whether or not there is so much to convert.  Send what comes out as `expected` with the conversion.
        """
        asked = exact(self.query["amount"], self.query["currency"])
        return self.answer(quote(asked, self.query["to"], now=clock.now()))


class OneConversion(Endpoint):
    def locate(self, request: Request, *, conversion: str) -> None:  # type: ignore[override]
        found = conversions_of(shop_of(request)).filter(public_id=conversion).first()
        if found is None:
            raise Http404
        self.conversion = found

    @operation(READ, answers={200: ConversionSerializer})
    def get(self, request: Request, conversion: str) -> Response:
        """Read a conversion"""
        return self.answer(self.conversion)
