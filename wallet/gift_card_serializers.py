"""What gift cards, buyers' wallets and their movements look like on the wire.  A code is never among it, but in the answer that makes it."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ledger import clock
from ledger.wire import Choice, CurrencyField, MoneyField, ObjectName, PageQuery, PlainText, StrictSerializer, TextOrNull
from wallet import gift_cards
from wallet.models import GiftCard, StoredValueEntry

STATUSES = ("awaiting_payment", "active", "empty", "frozen", "expired")
GIFT_CARD: dict[str, Any] = {
    "id": "gc_0199f3c4a7d97b3c8a1e5d6f7a8b9c0d",
    "object": "gift_card",
    "origin": "granted",
    "status": "active",
    "amount": {"amount": "50.00", "currency": "EUR"},
    "balance": {"amount": "35.10", "currency": "EUR"},
    "held": {"amount": "0.00", "currency": "EUR"},
    "last4": "ZP5E",
    "code_made_at": "2026-11-21T09:32:00Z",
    "reference": "goodwill-17",
    "reason": "The vase came broken",
    "expires_at": "2029-11-20T09:31:10.412Z",
    "created_at": "2026-11-21T09:31:10.412Z",
}
BUYER: dict[str, Any] = {"id": "buy_0199f3c4a7d07f6e9b1c2d3e4f5a6b7c", "reference": "customer-77"}


class GiftCardSerializer(StrictSerializer):
    """A gift card: what is left on it, and until when."""

    example = GIFT_CARD

    id = serializers.CharField(source="public_id")
    object = ObjectName("gift_card")
    origin = serializers.ChoiceField(GiftCard.Origin.choices, help_text="Sold, or given away at the platform's expense")
    status = serializers.SerializerMethodField()
    amount = MoneyField(help_text="What it was issued over")
    balance = MoneyField(source="value.balance", help_text="What is left on it")
    held = MoneyField(source="value.held", help_text="What of that is spoken for, by a payment or refund under way")
    last4 = TextOrNull(source="code_last4", help_text="The end of its code; null: it has none yet")
    code_made_at = serializers.DateTimeField(allow_null=True)
    reference = TextOrNull()
    reason = TextOrNull(help_text="Why it was granted")
    expires_at = serializers.DateTimeField(source="value.expires_at", allow_null=True, help_text="Null: never")
    created_at = serializers.DateTimeField()

    @extend_schema_field({"type": "string", "enum": list(STATUSES)})
    def get_status(self, card: GiftCard) -> str:
        return gift_cards.status_of(card, now=clock.now())


class MadeCodeSerializer(StrictSerializer):
    """A code that was just made.  It is shown in this answer and never again."""

    example = {"gift_card": GIFT_CARD["id"], "object": "gift_card_code", "code": "7K2M-QX9T-0ABC-HJ4W-ZP5E"}

    gift_card = serializers.CharField()
    object = ObjectName("gift_card_code")
    code = serializers.CharField()


class NewCodeSerializer(StrictSerializer):
    """That a code is to be made; there is nothing to say about it."""

    example: ClassVar[Any] = {}


class CodeToLookUpSerializer(StrictSerializer):
    """A code, as somebody typed it, and who did."""

    example = {"code": "7k2m qx9t 0abc hj4w zp5e", "buyer": "customer-77"}

    code = PlainText(max_length=200, help_text="Capitals, spaces and dashes do not matter; O counts as 0, I and L as 1")
    buyer = PlainText(
        max_length=120, required=False, default="", help_text="Your own id of whoever typed it: wrong codes are counted for each"
    )


class StoredValueEntrySerializer(StrictSerializer):
    """One movement of a gift card or of a buyer's wallet; negative takes away."""

    example = {
        "id": "sve_41",
        "object": "stored_value_entry",
        "kind": "spent",
        "source": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
        "journal_entry": "je_4718",
        "amount": {"amount": "-14.90", "currency": "EUR"},
        "created_at": "2026-11-21T09:40:10.412Z",
    }

    id = serializers.SerializerMethodField()
    object = ObjectName("stored_value_entry")
    kind = serializers.ChoiceField(StoredValueEntry.Kind.choices)
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="The payment order, refund or gift card behind it"
    )
    journal_entry = serializers.SerializerMethodField()
    amount = MoneyField()
    created_at = serializers.DateTimeField()

    def get_id(self, entry: StoredValueEntry) -> str:
        return f"sve_{entry.pk}"

    def get_journal_entry(self, entry: StoredValueEntry) -> str:
        return f"je_{entry.journal_entry_id}"


class BuyerOfWalletSerializer(StrictSerializer):
    """Whose wallet it is."""

    id = serializers.CharField(source="public_id")
    reference = serializers.CharField()


class BuyerBalanceSerializer(StrictSerializer):
    """What a buyer has in one currency."""

    currency = CurrencyField(source="balance.currency")
    balance = MoneyField()
    held = MoneyField(help_text="What of that is spoken for, by a payment or refund under way")
    is_frozen = serializers.SerializerMethodField(help_text="Nothing can be spent while a dispute of what topped it up is open")

    def get_is_frozen(self, wallet: Any) -> bool:
        return wallet.frozen_at is not None


class BuyerWalletSerializer(StrictSerializer):
    """A buyer's wallet: what was topped up and not spent, in each currency."""

    example = {
        "object": "buyer_wallet",
        "buyer": BUYER,
        "balances": [
            {
                "currency": "EUR",
                "balance": {"amount": "80.00", "currency": "EUR"},
                "held": {"amount": "0.00", "currency": "EUR"},
                "is_frozen": False,
            }
        ],
    }

    object = ObjectName("buyer_wallet")
    buyer = BuyerOfWalletSerializer()
    balances = BuyerBalanceSerializer(many=True)


class GiftCardsQuery(PageQuery):
    reference = PlainText(required=False, max_length=120)
    origin = Choice(GiftCard.Origin.values, required=False)


class StoredValueEntriesQuery(PageQuery):
    currency = CurrencyField(required=False)
    kind = Choice(StoredValueEntry.Kind.values, required=False)
