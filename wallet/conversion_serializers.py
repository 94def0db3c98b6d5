"""What exchange rates and conversions look like on the wire."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ledger.wire import CurrencyField, MoneyField, ObjectName, PageQuery, PlainText, PositiveMoneyField, StrictSerializer
from wallet import rates
from wallet.models import Conversion
from wallet.serializers import SELLER

USD, EUR = {"amount": "100.00", "currency": "USD"}, {"amount": "95.12", "currency": "EUR"}
CONVERSION: dict[str, Any] = {
    "id": "cnv_0199f3e1c4b57d20a1b2c3d4e5f60718",
    "object": "conversion",
    "seller": SELLER,
    "sold": USD,
    "bought": EUR,
    "rate": "0.951293759513",
    "source": "ecb",
    "quoted_on": "2026-11-20",
    "journal_entry": "je_5120",
    "wallet_entries": ["wen_311", "wen_312"],
    "created_at": "2026-11-20T16:30:00Z",
}
A_RATE = {
    "base": "EUR",
    "quote": "USD",
    "rate": "1.0512",
    "source": "ecb",
    "quoted_on": "2026-11-20",
    "received_at": "2026-11-20T15:16:02Z",
}
SOURCE_HELP = "`ecb`: the European Central Bank; `manual`: two people of the platform; `ecb+manual`: made of both"


@extend_schema_field({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"})
class RateField(serializers.Field[Decimal, Any, str, Any]):
    """A rate in decimal digits, in a string."""

    def to_representation(self, value: Decimal) -> str:
        return rates.figures(value)


class KnownRateSerializer(StrictSerializer):
    """What one unit of `base` costs in `quote`, as it was received."""

    base = CurrencyField()
    quote = CurrencyField()
    rate = RateField()
    source = serializers.CharField(help_text="`ecb` or `manual`")  # type: ignore[assignment]
    quoted_on = serializers.DateField(help_text="The day that the rate is of")
    received_at = serializers.DateTimeField()


class RateSerializer(StrictSerializer):
    """What one unit of `base` is in `quote`, to twelve decimals, and the rates per euro that it is made of: these are reckoned with."""

    example = {
        "object": "exchange_rate",
        "base": "USD",
        "quote": "EUR",
        "rate": "0.951293759513",
        "source": "ecb",
        "quoted_on": "2026-11-20",
        "made_of": [A_RATE],
    }

    object = ObjectName("exchange_rate")
    base = CurrencyField(source="sold")
    quote = CurrencyField(source="bought")
    rate = RateField()
    source = serializers.CharField(help_text=SOURCE_HELP)  # type: ignore[assignment]
    quoted_on = serializers.DateField(help_text="The day of the rate, of two the earlier one")
    made_of = KnownRateSerializer(source="rates", many=True)


class RatesQuery(StrictSerializer):
    base = CurrencyField(help_text="One unit of this")
    quote = CurrencyField(help_text="in this")


class QuoteSerializer(StrictSerializer):
    """What an amount would become now.  Nothing is set aside: with a new rate it is another amount."""

    example = {
        "object": "conversion_quote",
        "sold": USD,
        "bought": EUR,
        "rate": "0.951293759513",
        "source": "ecb",
        "quoted_on": "2026-11-20",
    }

    object = ObjectName("conversion_quote")
    sold = MoneyField()
    bought = MoneyField(help_text="Rounded down to the minor unit")
    rate = RateField()
    source = serializers.CharField(help_text=SOURCE_HELP)  # type: ignore[assignment]
    quoted_on = serializers.DateField(help_text="The day of the rate, of two the earlier one")


class QuoteQuery(StrictSerializer):
    amount = PlainText(max_length=32, help_text="Such as 100.00")
    currency = CurrencyField(help_text="Of the amount")
    to = CurrencyField(help_text="What it is to become")


class ConversionSerializer(StrictSerializer):
    """Money of a seller that was changed into another currency: `sold` left one wallet, `bought` came into another, in one commit."""

    example = CONVERSION

    id = serializers.CharField(source="public_id")
    object = ObjectName("conversion")
    seller = serializers.CharField(source="seller.public_id")
    sold = MoneyField()
    bought = MoneyField(help_text="Rounded down to the minor unit")
    rate = RateField(help_text="Of the currency that was bought, for one of the other")
    source = serializers.CharField(help_text=SOURCE_HELP)  # type: ignore[assignment]
    quoted_on = serializers.DateField(help_text="The day of the rate, of two the earlier one")
    journal_entry = serializers.SerializerMethodField()
    wallet_entries = serializers.SerializerMethodField(help_text="The movement out of the one wallet, and the one into the other")
    created_at = serializers.DateTimeField(source="converted_at")

    def get_journal_entry(self, made: Conversion) -> str:
        return f"je_{made.journal_entry_id}"

    def get_wallet_entries(self, made: Conversion) -> list[str]:
        return [f"wen_{made.sold_entry_id}", f"wen_{made.bought_entry_id}"]


class NewConversionSerializer(StrictSerializer):
    """Money to convert.  With `expected` nothing is converted if another amount would come out by now."""

    example = {"amount": USD, "to": "EUR", "expected": EUR}

    amount = PositiveMoneyField(help_text="What is to be converted")
    to = CurrencyField(help_text="What it is to become")
    expected = MoneyField(required=False, help_text="What you were told that comes out")


class ConversionsQuery(PageQuery):
    """Which page."""
