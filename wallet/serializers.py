"""What sellers, wallets, their entries and the feed of events look like on the wire."""

from typing import Any

from rest_framework import serializers

from ledger.wire import (
    MOST_ON_A_PAGE,
    Choice,
    CurrencyField,
    Digits,
    MoneyField,
    ObjectName,
    PageQuery,
    PlainText,
    StrictSerializer,
    TextOrNull,
)
from wallet import notifications
from wallet.models import OutboxMessage, WalletEntry

SELLER = "sel_0199f3c2b1e07a44b6f2c9d81e3a5b70"
ENTRY_OF_A_SALE = {
    "id": "wen_118",
    "object": "wallet_entry",
    "kind": "sale",
    "source": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
    "journal_entry": "je_4712",
    "gross": {"amount": "100.00", "currency": "EUR"},
    "fee": {"amount": "10.00", "currency": "EUR"},
    "net": {"amount": "90.00", "currency": "EUR"},
    "pending": {"amount": "90.00", "currency": "EUR"},
    "available": {"amount": "0.00", "currency": "EUR"},
    "reserved": {"amount": "0.00", "currency": "EUR"},
    "created_at": "2026-11-21T09:31:10.412Z",
}


class SellerSerializer(StrictSerializer):
    """Whoever a wallet belongs to."""

    example = {
        "id": SELLER,
        "object": "seller",
        "name": "Ada's Books",
        "reference": "ada",
        "created_at": "2026-11-01T08:00:00Z",
    }

    id = serializers.CharField(source="public_id")
    object = ObjectName("seller")
    name = serializers.CharField()
    reference = TextOrNull()
    created_at = serializers.DateTimeField()


class NewSellerSerializer(StrictSerializer):
    """A seller who joins the shop."""

    example = {"name": "Ada's Books", "reference": "ada"}

    name = PlainText(max_length=120)
    reference = PlainText(max_length=120, required=False, default="", help_text="Your own id of the seller; unique in your shop")


class SellerNameSerializer(StrictSerializer):
    """A seller, by id and name."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()


class WalletSerializer(StrictSerializer):
    """What one seller is owed in one currency: for orders under way, free to pay out, and held back."""

    example = {
        "object": "wallet",
        "seller": {"id": SELLER, "name": "Ada's Books"},
        "currency": "EUR",
        "pending": {"amount": "90.00", "currency": "EUR"},
        "available": {"amount": "0.00", "currency": "EUR"},
        "reserved": {"amount": "0.00", "currency": "EUR"},
    }

    object = ObjectName("wallet")
    seller = SellerNameSerializer()
    currency = CurrencyField()
    pending = MoneyField(help_text="For orders that are paid and not delivered yet")
    available = MoneyField(help_text="Free to pay out")
    reserved = MoneyField(help_text="Held back")


class NewWalletSerializer(StrictSerializer):
    """A wallet to open."""

    example = {"seller": SELLER, "currency": "EUR"}

    seller = PlainText(max_length=60, help_text="The seller's id")
    currency = CurrencyField()


class WalletEntrySerializer(StrictSerializer):
    """One movement of a wallet: gross less fee is net, which is what the wallet changed by, and pending, available and reserved together."""

    example = ENTRY_OF_A_SALE

    id = serializers.CharField(source="public_id")
    object = ObjectName("wallet_entry")
    kind = serializers.ChoiceField(WalletEntry.Kind.choices)
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="The payment order, refund, dispute or payout behind it"
    )
    journal_entry = serializers.SerializerMethodField()
    gross = MoneyField()
    fee = MoneyField()
    net = MoneyField()
    pending = MoneyField(help_text="What it changed of the pending figure")
    available = MoneyField()
    reserved = MoneyField()
    created_at = serializers.DateTimeField()

    def get_journal_entry(self, entry: WalletEntry) -> str:
        return f"je_{entry.journal_entry_id}"


class EventSerializer(StrictSerializer):
    """Something that happened: its type, the id of the object it is about, and how that object stood."""

    example = {
        "id": "evt_0199f3c4b2c17d0f9c33e1a2b4d5f607",
        "object": "event",
        "type": "payment.paid",
        "about": "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d",
        "sequence": 1,
        "data": {
            "id": "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d",
            "object": "payment",
            "status": "paid",
            "amount": {"amount": "100.00", "currency": "EUR"},
        },
        "created_at": "2026-11-21T09:31:10.412Z",
    }

    id = serializers.CharField(source="public_id")
    object = ObjectName("event")
    type = serializers.CharField(source="topic")
    about = serializers.CharField()
    sequence = serializers.IntegerField(help_text="Counts the events about the same object; 0 where they are not counted")
    data = serializers.DictField(source="payload")  # type: ignore[assignment]
    created_at = serializers.DateTimeField()

    def to_representation(self, instance: OutboxMessage) -> dict[str, Any]:
        return notifications.event_of(instance)  # as a webhook's body: the fields above are the description of it


class SellersQuery(PageQuery):
    reference = PlainText(required=False, max_length=120)


class WalletsQuery(PageQuery):
    seller = PlainText(required=False, max_length=60, help_text="The seller's id")
    currency = CurrencyField(required=False)


class WalletEntriesQuery(PageQuery):
    currency = CurrencyField(required=False)
    kind = Choice(WalletEntry.Kind.values, required=False)


class EventsQuery(StrictSerializer):
    after = PlainText(
        required=False, default="", max_length=60, help_text="The id of the last event you know; none to begin at the beginning"
    )
    limit = Digits(required=False, default=20, min_value=1, max_value=MOST_ON_A_PAGE, help_text="How many at most")
