"""Refunds and late charges on the wire, and what a shop sends to give money back."""

from typing import Any

from rest_framework import serializers

from ledger.wire import Choice, Moment, MoneyField, ObjectName, PageQuery, PlainText, PositiveMoneyField, StrictSerializer, TextOrNull
from payments.models import Refund
from payments.refunds import To
from payments.states import RefundStatus
from wallet.models import Shop

ORDER_ID, PAYMENT_ID = "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d", "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d"
REFUND_ID, LATE_CHARGE_ID = "re_0199f3d17c457e0c9a4b3f2e1d0c9b8a", "late_0199f3d2a9c17d41b6e5c4d3b2a19f80"
REFUND: dict[str, Any] = {
    "id": REFUND_ID,
    "object": "refund",
    "order": ORDER_ID,
    "payment": PAYMENT_ID,
    "cause": "requested",
    "late_charge": None,
    "amount": {"amount": "10.00", "currency": "EUR"},
    "fee": {"amount": "1.00", "currency": "EUR"},
    "net": {"amount": "9.00", "currency": "EUR"},
    "to_stored_value": {"amount": "0.00", "currency": "EUR"},
    "fee_policy": "pro_rata",
    "reason": "Damaged on the way",
    "reference": "return-77",
    "status": "EXECUTING",
    "failure_code": None,
    "came_back": False,
    "created_at": "2026-11-24T08:12:45.301Z",
}
LATE_CHARGE: dict[str, Any] = {
    "id": LATE_CHARGE_ID,
    "object": "late_charge",
    "order": ORDER_ID,
    "payment": PAYMENT_ID,
    "amount": {"amount": "24.90", "currency": "EUR"},
    "refund": REFUND_ID,
    "charged_at": "2026-11-21T09:58:03.000Z",
    "created_at": "2026-11-21T09:58:09.720Z",
}


class RefundSerializer(StrictSerializer):
    """Money that goes back to the buyer."""

    example = REFUND

    id = serializers.CharField(source="public_id")
    object = ObjectName("refund")
    order = serializers.CharField(source="order.public_id")
    payment = serializers.CharField(source="order.event.public_id")
    cause = serializers.ChoiceField(Refund.Cause.choices, help_text="Asked for, part of a cancellation, or of a charge that came too late")
    late_charge = serializers.SerializerMethodField(help_text="The charge that came too late, where that is the cause")
    amount = MoneyField(help_text="What the buyer gets back")
    fee = MoneyField(help_text="The platform's part of it")
    net = MoneyField(help_text="The seller's part of it")
    to_stored_value = MoneyField(
        source="tendered", help_text="What of it goes back to gift cards and the buyer's wallet; the PSP gives the rest"
    )
    fee_policy = serializers.ChoiceField(Shop.FeePolicy.choices, help_text="What of the platform's fee is given back")
    reason = TextOrNull()
    reference = TextOrNull(help_text="Your own id of this refund")
    status = serializers.ChoiceField(RefundStatus.choices)
    failure_code = TextOrNull(help_text="Why the buyer did not get it")
    came_back = serializers.SerializerMethodField(help_text="It had succeeded, and the buyer's bank sent the money back")
    created_at = serializers.DateTimeField()

    def get_late_charge(self, refund: Refund) -> str | None:
        return refund.late_charge.public_id if refund.late_charge else None

    def get_came_back(self, refund: Refund) -> bool:
        return refund.reversal_entry_id is not None


class LateChargeSerializer(StrictSerializer):
    """A charge that succeeded when its order could not take it any more.  It is given back by itself."""

    example = LATE_CHARGE

    id = serializers.CharField(source="public_id")
    object = ObjectName("late_charge")
    order = serializers.CharField(source="order.public_id")
    payment = serializers.CharField(source="order.event.public_id")
    amount = MoneyField()
    refund = serializers.CharField(source="refund.public_id", help_text="The refund that gives it back")
    charged_at = serializers.DateTimeField(help_text="When the PSP took it")
    created_at = serializers.DateTimeField(help_text="When we heard of it")


class NewRefundSerializer(StrictSerializer):
    """What to give back."""

    example = {"amount": {"amount": "10.00", "currency": "EUR"}, "reason": "Damaged on the way", "reference": "return-77"}
    if_empty = "Send a JSON object; {} gives back all that is left."

    amount = PositiveMoneyField(required=False, help_text="All that is left of the order, if left out")
    reason = PlainText(max_length=200, required=False, default="", allow_blank=True)
    fee_policy = Choice(
        Shop.FeePolicy.values,
        required=False,
        default="",
        help_text="`pro_rata`: the fee's share of it; `full`: all that is left of the fee; `keep`: nothing. Your shop's own, if left out",
    )
    reference = PlainText(max_length=120, required=False, default="", help_text="Your own id of this refund; used once for each order")
    refund_to = Choice(
        [To.CHARGE.value, To.STORED_VALUE.value],
        required=False,
        default=To.CHARGE.value,
        help_text="Where it goes first, if gift cards or the buyer's wallet paid a part of the order: `charge` is the card, `stored_value` they",
    )


class ObjectsQuery(PageQuery):
    """Which of the objects that hang on orders: of which order or payment, and from when."""

    order = PlainText(required=False, max_length=60, help_text="The payment order's id")
    payment = PlainText(required=False, max_length=60, help_text="The payment's id")
    created_since = Moment(required=False, help_text="Made at this moment or later")
    created_until = Moment(required=False, help_text="Made before this moment")


class RefundsQuery(ObjectsQuery):
    status = Choice(RefundStatus.values, required=False)


class RefundsOfOrderQuery(PageQuery):
    status = Choice(RefundStatus.values, required=False)
