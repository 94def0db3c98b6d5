"""What payments and their orders look like on the wire, and what a shop sends to open one."""

import re
from typing import Any

import pycountry
from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from ledger.wire import (
    Choice,
    EmailText,
    Flag,
    ListOf,
    LocaleField,
    Metadata,
    Moment,
    MoneyField,
    ObjectName,
    PageQuery,
    PlainText,
    PositiveMoneyField,
    StrictSerializer,
    TextOrNull,
    WholeNumber,
    Yes,
)
from payments.intake import MOST_ORDERS
from payments.models import DueRelease, PaymentEvent, PaymentOrder, PspAttempt, Tender
from payments.serializers.cancellations import CancellationSerializer
from payments.serializers.disputes import DisputeSerializer
from payments.serializers.refunds import REFUND, RefundSerializer
from payments.states import AttemptStatus, CancellationStatus, EventStatus, OrderStatus, PspOperation
from wallet.models import GiftCard, StoredValue
from wallet.serializers import SellerNameSerializer

MOST_ITEMS = 100
ADA, BOLT = "sel_0199f3c2b1e07a44b6f2c9d81e3a5b70", "sel_0199f3c2b1e27c51a9d0f4b6c8e1a3d5"
BASKET: dict[str, Any] = {
    "checkout_id": "basket-1001",
    "buyer": {"reference": "customer-77", "name": "Grace Hopper", "email": "grace@shop.example", "country": "AT"},
    "payment_orders": [
        {
            "seller": ADA,
            "amount": {"amount": "24.90", "currency": "EUR"},
            "reference": "order-1001-a",
            "description": "Ada's Books",
            "category": "books",
            "items": [{"name": "The Sea", "quantity": 1, "amount": {"amount": "24.90", "currency": "EUR"}}],
        },
        {"seller": BOLT, "amount": {"amount": "89.00", "currency": "EUR"}, "reference": "order-1001-b"},
    ],
    "locale": "en",
    "metadata": {"campaign": "autumn"},
}
ORDER: dict[str, Any] = {
    "id": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
    "object": "payment_order",
    "payment": "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d",
    "seller": {"id": ADA, "name": "Ada's Books"},
    "reference": "order-1001-a",
    "description": "Ada's Books",
    "category": "books",
    "items": BASKET["payment_orders"][0]["items"],
    "amount": {"amount": "24.90", "currency": "EUR"},
    "fee": {"amount": "2.49", "currency": "EUR"},
    "net": {"amount": "22.41", "currency": "EUR"},
    "charge": {"amount": "14.90", "currency": "EUR"},
    "tenders": [
        {
            "type": "gift_card",
            "last4": "ZP5E",
            "amount": {"amount": "10.00", "currency": "EUR"},
            "refunded": {"amount": "0.00", "currency": "EUR"},
        }
    ],
    "fills": None,
    "refunded": {"amount": "0.00", "currency": "EUR"},
    "disputed": {"amount": "0.00", "currency": "EUR"},
    "status": "NOT_STARTED",
    "failure_code": None,
    "wallet_updated": False,
    "ledger_updated": False,
    "delivery": {"status": "undelivered", "delivered_at": None, "available_on": None, "available_at": None},
    "created_at": "2026-11-21T09:30:02.114Z",
}
PAYMENT: dict[str, Any] = {
    "id": "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d",
    "object": "payment",
    "checkout_id": "basket-1001",
    "status": "open",
    "is_payment_done": False,
    "amount": {"amount": "24.90", "currency": "EUR"},
    "buyer": {
        "id": "buy_0199f3c4a7d07f6e9b1c2d3e4f5a6b7c",
        "reference": "customer-77",
        "name": "Grace Hopper",
        "email": "grace@shop.example",
        "country": "AT",
    },
    "statement_name": "NORTHWIND",
    "checkout_url": "https://pay.shop.example/checkout/4vXq0mC2n8Yh1sT6kLw9zRbE3uJ5fD7a",
    "return_url": None,
    "locale": "en",
    "expires_at": "2026-11-22T09:30:02.101Z",
    "payment_orders": [ORDER],
    "metadata": {"campaign": "autumn"},
    "created_at": "2026-11-21T09:30:02.114Z",
}
ATTEMPT: dict[str, Any] = {
    "number": 1,
    "operation": "charge",
    "refund": None,
    "status": "SUCCEEDED",
    "psp": "sandbox",
    "psp_reference": "ch_7Qd2",
    "error_code": None,
    "error_message": None,
    "created_at": "2026-11-21T09:31:09.871Z",
    "finished_at": "2026-11-21T09:31:10.412Z",
}
EXECUTED = ORDER | {
    "status": "SUCCESS",
    "wallet_updated": True,
    "ledger_updated": True,
    "refunded": {"amount": "10.00", "currency": "EUR"},
    "delivery": {
        "status": "delivered",
        "delivered_at": "2026-11-24T08:12:45Z",
        "available_on": "2026-12-01T08:12:45Z",
        "available_at": None,
    },
    "attempts": [ATTEMPT],
    "refunds": [REFUND],
    "disputes": [],
    "cancellation": None,
}


class AttemptSerializer(StrictSerializer):
    """One call to a PSP: what it asked for, under which of our keys, and what came of it."""

    number = serializers.IntegerField()
    operation = serializers.ChoiceField(PspOperation.choices)
    refund = serializers.SerializerMethodField(help_text="The refund it was about, if it was")
    status = serializers.ChoiceField(AttemptStatus.choices)
    psp = serializers.CharField()
    psp_reference = TextOrNull()
    error_code = TextOrNull()
    error_message = TextOrNull()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_refund(self, attempt: PspAttempt) -> str | None:
        return attempt.refund.public_id if attempt.refund else None


class OrderDeliverySerializer(StrictSerializer):
    """Where an order stands on its way from the payment to the seller's available money."""

    status = serializers.SerializerMethodField(help_text="Not delivered yet, delivered, or available to the seller, delivered or not")
    delivered_at = serializers.DateTimeField(allow_null=True)
    available_on = serializers.SerializerMethodField(help_text="When it becomes available, as things stand; null: once it is delivered")
    available_at = serializers.DateTimeField(source="released_at", allow_null=True, help_text="When it became available")

    @extend_schema_field({"type": "string", "enum": ["undelivered", "delivered", "available"]})
    def get_status(self, order: PaymentOrder) -> str:
        if order.released_at is not None:
            return "available"
        return "undelivered" if order.delivered_at is None else "delivered"

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_available_on(self, order: PaymentOrder) -> str | None:
        due: DueRelease | None = getattr(order, "due_release", None)  # there is none before it is paid, and after it is released
        return serializers.DateTimeField().to_representation(due.due_at) if due and due.due_at else None


class TenderSerializer(StrictSerializer):
    """What a gift card, or the buyer's wallet, pays of an order."""

    type = serializers.ChoiceField(StoredValue.Kind.choices, source="value.kind")
    last4 = serializers.SerializerMethodField(help_text="The end of the gift card's code; null for the wallet")
    amount = MoneyField()
    refunded = MoneyField(help_text="What of it goes or went back there")

    def get_last4(self, tender: Tender) -> str | None:
        card = card_of(tender.value)
        return card.code_last4 or None if card else None


class FillsSerializer(StrictSerializer):
    """The gift card or wallet that an order buys value for."""

    type = serializers.ChoiceField(StoredValue.Kind.choices, source="kind")
    gift_card = serializers.SerializerMethodField(help_text="The card's id; null for the buyer's wallet")

    def get_gift_card(self, value: StoredValue) -> str | None:
        card = card_of(value)
        return card.public_id if card else None


def card_of(value: StoredValue) -> GiftCard | None:
    """Return the gift card whose value it is; None: it is a wallet."""
    card: GiftCard | None = getattr(value, "gift_card", None)
    return card


class PaymentOrderSerializer(StrictSerializer):
    """What one seller gets of a payment.  The fee is fixed when the payment is opened."""

    example = ORDER

    id = serializers.CharField(source="public_id")
    object = ObjectName("payment_order")
    payment = serializers.CharField(source="event.public_id")
    seller = SellerNameSerializer()
    reference = TextOrNull()
    description = serializers.CharField(allow_blank=True)
    category = TextOrNull()
    items = serializers.ListField(child=serializers.DictField())
    amount = MoneyField()
    fee = MoneyField(help_text="The platform's part")
    net = MoneyField(help_text="The seller's part")
    charge = MoneyField(help_text="What the PSP is asked for: all that no gift card or wallet pays")
    tenders = serializers.SerializerMethodField(help_text="What gift cards and the buyer's wallet pay of it, or hold for it")
    fills = FillsSerializer(allow_null=True, help_text="Null: something is sold")
    refunded = MoneyField(help_text="What goes or went back to the buyer by refunds")
    disputed = MoneyField(help_text="What a dispute holds, or took for good")
    status = serializers.ChoiceField(OrderStatus.choices)
    failure_code = TextOrNull(help_text="Why the PSP did not take the money")
    wallet_updated = serializers.BooleanField(help_text="The seller's wallet holds the net")
    ledger_updated = serializers.BooleanField(help_text="The books hold the entry")
    delivery = OrderDeliverySerializer(source="*")
    created_at = serializers.DateTimeField()

    @extend_schema_field(TenderSerializer(many=True))
    def get_tenders(self, order: PaymentOrder) -> list[dict[str, Any]]:
        standing = [tender for tender in in_order(order.tenders) if tender.status != Tender.Status.RELEASED]
        return list(TenderSerializer(standing, many=True).data)


class PaymentOrderDetailSerializer(PaymentOrderSerializer):
    """A payment order with every call to the PSP that was made for it, its refunds, disputes and cancellation."""

    example = EXECUTED

    attempts = serializers.SerializerMethodField()
    refunds = serializers.SerializerMethodField()
    disputes = serializers.SerializerMethodField()
    cancellation = serializers.SerializerMethodField(help_text="The one under way or done; null where there is none")

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, order: PaymentOrder) -> list[dict[str, Any]]:
        return list(AttemptSerializer(in_order(order.attempts), many=True).data)

    @extend_schema_field(RefundSerializer(many=True))
    def get_refunds(self, order: PaymentOrder) -> list[dict[str, Any]]:
        return list(RefundSerializer(in_order(order.refunds), many=True).data)

    @extend_schema_field(DisputeSerializer(many=True))
    def get_disputes(self, order: PaymentOrder) -> list[dict[str, Any]]:
        return list(DisputeSerializer(in_order(order.disputes), many=True).data)

    @extend_schema_field(CancellationSerializer(allow_null=True))
    def get_cancellation(self, order: PaymentOrder) -> dict[str, Any] | None:
        standing = [each for each in in_order(order.cancellations) if each.status != CancellationStatus.FAILED]
        return dict(CancellationSerializer(standing[-1]).data) if standing else None


def in_order(rows: Any) -> list[Any]:
    """Return what was read together with its order, oldest first, without another query."""
    return sorted(rows.all(), key=lambda row: row.pk)


class BuyerSerializer(StrictSerializer):
    """Who pays."""

    id = serializers.CharField(source="buyer.public_id")
    reference = serializers.CharField(source="buyer.reference")
    name = TextOrNull(source="buyer.name")
    email = TextOrNull(source="buyer.email")
    country = TextOrNull(source="buyer_country", help_text="Where you said that the buyer is, for this payment")


class PaymentSerializer(StrictSerializer):
    """One checkout: what one buyer pays once, for one or more sellers."""

    example = PAYMENT

    id = serializers.CharField(source="public_id")
    object = ObjectName("payment")
    checkout_id = serializers.CharField()
    status = serializers.ChoiceField(EventStatus.choices)
    is_payment_done = serializers.BooleanField(help_text="Nothing more will happen to any of its orders")
    amount = MoneyField()
    buyer = BuyerSerializer(source="*")
    statement_name = TextOrNull(help_text="How the buyer's statement names your shop, as it was when this was opened")
    checkout_url = serializers.SerializerMethodField()
    return_url = TextOrNull()
    locale = serializers.CharField()
    expires_at = serializers.DateTimeField()
    payment_orders = serializers.SerializerMethodField()
    metadata = serializers.DictField(child=serializers.CharField())
    created_at = serializers.DateTimeField()

    def get_checkout_url(self, event: PaymentEvent) -> str:
        return f"{settings.PUBLIC_URL}/checkout/{event.token}"

    @extend_schema_field(PaymentOrderSerializer(many=True))
    def get_payment_orders(self, event: PaymentEvent) -> list[dict[str, Any]]:
        return self.orders_of(event, PaymentOrderSerializer)

    def orders_of(self, event: PaymentEvent, serializer: type[StrictSerializer]) -> list[dict[str, Any]]:
        orders = sorted(event.orders.all(), key=lambda order: order.pk)
        for order in orders:
            order.event = event  # it is in our hands: no query for it
        return list(serializer(orders, many=True).data)


class PaymentDetailSerializer(PaymentSerializer):
    """A payment whose orders come with every call to the PSP, their refunds, disputes and cancellations."""

    example = PAYMENT | {"status": "paid", "is_payment_done": True, "payment_orders": [EXECUTED]}

    @extend_schema_field(PaymentOrderDetailSerializer(many=True))
    def get_payment_orders(self, event: PaymentEvent) -> list[dict[str, Any]]:
        return self.orders_of(event, PaymentOrderDetailSerializer)


class NewItemSerializer(StrictSerializer):
    """One line of what was bought, as the buyer will read it on the payment page.  The amount is that of the whole line."""

    name = PlainText(max_length=200)
    quantity = WholeNumber(min_value=1, max_value=1_000_000, required=False, default=1)
    amount = MoneyField()


class NewOrderSerializer(StrictSerializer):
    """What one seller is to get."""

    seller = PlainText(max_length=60, help_text="The seller's id")
    amount = PositiveMoneyField()
    reference = PlainText(max_length=120, required=False, default="", help_text="Your own id of this order; used once, for ever")
    description = PlainText(max_length=200, required=False, default="", allow_blank=True)
    category = PlainText(
        max_length=60, required=False, default="", help_text="Your own word for what is sold; the platform's fee may differ by it"
    )
    items = ListOf(NewItemSerializer(), most=MOST_ITEMS, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        errors: dict[Any, Any] = {}
        for index, item in enumerate(attrs.get("items", [])):
            if item["amount"].currency != attrs["amount"].currency:
                errors[index] = {"amount": {"currency": [ErrorDetail("Items are in their order's currency.", code="mixed_currencies")]}}
        if errors:
            raise ValidationError({"items": errors})
        return attrs


@extend_schema_field({"type": "string", "minLength": 2, "maxLength": 2, "pattern": "^[A-Z]{2}$"})
class CountryField(PlainText):
    """A country, by its two letters of ISO 3166."""

    default_error_messages = {"unknown_country": "This is no country. Send its two capital letters of ISO 3166, such as AT."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not re.fullmatch("[A-Z]{2}", text) or pycountry.countries.get(alpha_2=text) is None:
            self.fail("unknown_country")
        return text


class NewBuyerSerializer(StrictSerializer):
    """Who will pay, by your own id of them.  Name and e-mail address are kept from the first time."""

    reference = PlainText(max_length=120)
    name = PlainText(max_length=120, required=False, default="", allow_blank=True)
    email = EmailText(required=False, default="", allow_blank=True)
    country = CountryField(required=False, default="", help_text="Where the buyer is: ways to pay that are not for it are not offered")
    signed_in = Yes(
        required=False,
        default=False,
        help_text="You vouch that whoever gets the payment page is this buyer: their wallet and saved cards are offered there",
    )


class NewPaymentSerializer(StrictSerializer):
    """A checkout to open: 1 to 1,000 payment orders in one currency."""

    example = BASKET

    checkout_id = PlainText(max_length=120, help_text="Your own id of this checkout; used once, for ever")
    buyer = NewBuyerSerializer()
    payment_orders = ListOf(NewOrderSerializer(), least=1, most=MOST_ORDERS)
    return_url = PlainText(
        max_length=2000, required=False, default="", help_text="Where the buyer goes afterwards, at one of your shop's own origins"
    )
    locale = LocaleField(
        max_length=12,
        required=False,
        default="en",
        help_text="The language of the payment page, its e-mails and receipts: en, de, fr, es, ar or ja, with or without a region; for others English",
    )
    metadata = Metadata(required=False, default=dict, help_text="Your own notes: up to 50 strings")


class ExecutionSerializer(StrictSerializer):
    """Payment details that the PSP gave you a token for."""

    example = {"payment_token": "tok_5hYk2Qw8"}

    payment_token = PlainText(max_length=255)


class NewDeliverySerializer(StrictSerializer):
    """That an order was delivered, and when."""

    example = {"delivered_at": "2026-11-24T08:12:45Z"}
    if_empty = "Send a JSON object; {} means that it was delivered now."

    delivered_at = Moment(required=False, help_text="Now, if left out; neither in the future nor before the payment")


class PaymentsQuery(PageQuery):
    checkout_id = PlainText(required=False, max_length=120)
    status = Choice(EventStatus.values, required=False)
    is_payment_done = Flag(required=False)
    created_since = Moment(required=False, help_text="Opened at this moment or later")
    created_until = Moment(required=False, help_text="Opened before this moment")
