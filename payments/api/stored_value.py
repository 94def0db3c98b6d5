"""What fills gift cards and buyers' wallets, over REST: issue a card, and top up a wallet.  The rest is in wallet/gift_card_api.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from payments import intake, queries
from payments.api.asking import actor_of, wish_of
from payments.intake import NewOrder, NewPayment
from payments.serializers.payments import PaymentSerializer
from payments.serializers.stored_value import IssuedGiftCardSerializer, NewGiftCardSerializer, NewTopUpSerializer
from wallet import gift_cards
from wallet.api import shop_of
from wallet.buyer_wallets import TopUp
from wallet.gift_card_api import READ, WRITE, WRITE_BUYERS
from wallet.gift_card_serializers import GiftCardSerializer, GiftCardsQuery
from wallet.gift_cards import NewGiftCard, Sale
from wallet.models import GiftCard, Shop

THE_ORDER = "payment_orders[0]."


class SoldOrGranted(DomainError):
    code = "sold_or_granted"


class GiftCards(Endpoint):
    @operation(READ, query=GiftCardsQuery, answers={200: GiftCardSerializer})
    def get(self, request: Request) -> Response:
        """List gift cards

        Newest first.
        """
        asked = {name: self.query[name] for name in ("reference", "origin") if name in self.query}
        return self.answer_page(gift_cards.listed(shop_of(request)).filter(**asked))

    @operation(WRITE, body=NewGiftCardSerializer, answers={201: IssuedGiftCardSerializer, 200: IssuedGiftCardSerializer})
    def post(self, request: Request) -> Response:
        """Issue a gift card

        With a `reason` it is given away, at the platform's expense, and has its value at once.  With `sold_to` it is sold: the answer has
        the payment, send the buyer to its `checkout_url`; the card has its value once that is paid.  The same wish again - the same
        Idempotency-Key or `reference` of a card given away, the same `checkout_id` of one that is sold - answers 200 with the card that
        stands, and 409 with the name of what differs.  Make its code when the card has value.

        Where this installation lets a key give away up to an amount only within 24 hours (`API_GIFT_CARD_LIMITS`), more answers 409 with
        `approval_needed`, which says what is left: staff grant it in the admin, where a second person approves it.
        """
        shop, wanted = shop_of(request), self.read(request)
        if ("reason" in wanted) == ("sold_to" in wanted):
            raise SoldOrGranted("Send either a reason, to give it away, or sold_to, to sell it.", field="reason")
        card, is_new = sold(shop, wanted) if "sold_to" in wanted else granted(request, shop, wanted)
        return self.answer(gift_cards.listed(shop).get(pk=card.pk), status=201 if is_new else 200)


def granted(request: Request, shop: Shop, wanted: dict[str, Any]) -> tuple[GiftCard, bool]:
    """Give the card away, within what a key may."""
    asked = NewGiftCard(wanted["amount"], wanted["reference"], wanted.get("valid_days"), once=wish_of(request))
    limits = settings.API_GIFT_CARD_LIMITS
    return gift_cards.grant(shop, asked, reason=wanted["reason"], by=actor_of(request), now=clock.now(), limits=limits)


def sold(shop: Shop, wanted: dict[str, Any]) -> tuple[GiftCard, bool]:
    """Open the payment that sells the card."""
    now, to = clock.now(), wanted["sold_to"]
    fills = Sale(NewGiftCard(wanted["amount"], wanted["reference"], wanted.get("valid_days")), now=now)
    payment = payment_of(to, buyer=to["buyer"], order=NewOrder("", wanted["amount"], fills=fills))
    with said_of(within="sold_to."):
        event, is_new = intake.open_event(shop, payment, now=now)
    return GiftCard.objects.get(value__bought_by__event=event), is_new


class TopUps(Endpoint):
    @operation(WRITE_BUYERS, body=NewTopUpSerializer, answers={201: PaymentSerializer, 200: PaymentSerializer})
    def post(self, request: Request, buyer: str) -> Response:
        """Top up a buyer's wallet

        Opens a payment: send the buyer to its `checkout_url`; the wallet has the money once it is paid.  The buyer is named by your own
        reference, and known from then on.  A top-up has no fee, and is paid neither with a gift card nor from the wallet.  The same
        `checkout_id` with the same terms answers 200 with the payment that stands.
        """
        shop, wanted = shop_of(request), self.read(request)
        order = NewOrder("", wanted["amount"], fills=TopUp(wanted["amount"].currency.code))
        payment = payment_of(wanted, buyer={"reference": buyer, "name": "", "email": ""}, order=order)
        with said_of():
            event, is_new = intake.open_event(shop, payment, now=clock.now())
        return self.answer(queries.payments_of(shop).get(pk=event.pk), status=201 if is_new else 200)


@contextmanager
def said_of(*, within: str = "") -> Iterator[None]:
    """Let errors name the fields of this body, which has no payment order, and has what belongs to the checkout `within` another field."""
    try:
        yield
    except DomainError as error:
        term = error.field
        if term in ("payment_orders", THE_ORDER + "seller"):  # the same checkout sells or fills something else
            error.field, error.detail = f"{within}checkout_id", error.detail.replace(term, "purpose")
        elif term and term != "reference":
            error.field = term.removeprefix(THE_ORDER) if term.startswith(THE_ORDER) else within + term
            error.detail = error.detail.replace(term, error.field)
        raise


def payment_of(body: dict[str, Any], *, buyer: dict[str, Any], order: NewOrder) -> NewPayment:
    return NewPayment(
        checkout_id=body["checkout_id"],
        buyer_reference=buyer["reference"],
        buyer_name=buyer["name"],
        buyer_email=buyer["email"],
        buyer_signed_in=bool(buyer.get("signed_in")),
        buyer_country=buyer.get("country", ""),
        orders=[order],
        return_url=body["return_url"],
        locale=body["locale"],
    )
