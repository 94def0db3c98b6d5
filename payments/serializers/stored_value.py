"""What a shop sends to issue a gift card or to top up a buyer's wallet, and what it is answered."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ledger.wire import LocaleField, PlainText, PositiveMoneyField, StrictSerializer, WholeNumber
from payments import queries
from payments.models import PaymentEvent, PaymentOrder
from payments.serializers.payments import NewBuyerSerializer, PaymentSerializer
from wallet.gift_card_serializers import GIFT_CARD, GiftCardSerializer
from wallet.gift_cards import LONGEST_DAYS


class SoldToSerializer(StrictSerializer):
    """Who buys a gift card, and where that is paid."""

    buyer = NewBuyerSerializer()
    checkout_id = PlainText(max_length=120, help_text="Your own id of this checkout; used once, for ever")
    return_url = PlainText(
        max_length=2000, required=False, default="", help_text="Where the buyer goes afterwards, at one of your shop's own origins"
    )
    locale = LocaleField(max_length=12, required=False, default="en", help_text="The language of the payment page")


class NewGiftCardSerializer(StrictSerializer):
    """A gift card to issue: given away, with a `reason`, or sold (`sold_to`)."""

    example = {"amount": {"amount": "50.00", "currency": "EUR"}, "reason": "The vase came broken", "reference": "goodwill-17"}

    amount = PositiveMoneyField()
    reason = PlainText(max_length=200, required=False, help_text="Why it is given away, at the platform's expense")
    sold_to = SoldToSerializer(required=False)
    reference = PlainText(max_length=120, required=False, default="", help_text="Your own id of this card; used once, for ever")
    valid_days = WholeNumber(
        min_value=0, max_value=LONGEST_DAYS, required=False, help_text="For how many days; 0: for ever; left out: as your shop has it"
    )


class IssuedGiftCardSerializer(GiftCardSerializer):
    """A gift card, and, where it is sold, the payment that brings its value."""

    example = GIFT_CARD | {"balance": GIFT_CARD["amount"], "last4": None, "code_made_at": None, "payment": None}

    payment = serializers.SerializerMethodField(help_text="Send the buyer to its checkout_url; null where the card is given away")

    @extend_schema_field(PaymentSerializer(allow_null=True))
    def get_payment(self, card: Any) -> dict[str, Any] | None:
        order = PaymentOrder.objects.filter(fills=card.value_id).order_by("pk").first()
        event: PaymentEvent | None = queries.payments_of(card.shop).filter(orders=order).first() if order else None
        return dict(PaymentSerializer(event).data) if event else None


class NewTopUpSerializer(StrictSerializer):
    """Money that a buyer pays into the wallet."""

    example = {
        "amount": {"amount": "80.00", "currency": "EUR"},
        "checkout_id": "top-up-9",
        "return_url": "https://shop.example/wallet",
        "locale": "en",
    }

    amount = PositiveMoneyField()
    checkout_id = PlainText(max_length=120, help_text="Your own id of this checkout; used once, for ever")
    return_url = PlainText(
        max_length=2000, required=False, default="", help_text="Where the buyer goes afterwards, at one of your shop's own origins"
    )
    locale = LocaleField(max_length=12, required=False, default="en", help_text="The language of the payment page")
