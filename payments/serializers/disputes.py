"""Disputes on the wire."""

from typing import Any

from rest_framework import serializers

from ledger.wire import Choice, MoneyField, ObjectName, StrictSerializer, TextOrNull
from payments.serializers.refunds import ORDER_ID, PAYMENT_ID, ObjectsQuery
from payments.states import DisputeStatus

NOTHING = {"amount": "0.00", "currency": "EUR"}
DISPUTE: dict[str, Any] = {
    "id": "dsp_0199f4a01c2d7e3f8a4b5c6d7e8f9a0b",
    "object": "dispute",
    "order": ORDER_ID,
    "payment": PAYMENT_ID,
    "reason": "fraudulent",
    "status": "open",
    "amount": {"amount": "24.90", "currency": "EUR"},
    "held": {"amount": "24.90", "currency": "EUR"},
    "fee": {"amount": "15.00", "currency": "EUR"},
    "lost": NOTHING,
    "fee_returned": NOTHING,
    "opened_at": "2026-12-02T16:40:00.000Z",
    "evidence_due_at": "2026-12-09T16:40:00.000Z",
    "closed_at": None,
    "created_at": "2026-12-02T16:40:04.118Z",
}


class DisputeSerializer(StrictSerializer):
    """A buyer's bank took the money of an order back, until it is decided whose it is."""

    example = DISPUTE

    id = serializers.CharField(source="public_id")
    object = ObjectName("dispute")
    order = serializers.CharField(source="order.public_id")
    payment = serializers.CharField(source="order.event.public_id")
    reason = TextOrNull(help_text="As the buyer's bank says it")
    status = serializers.ChoiceField(DisputeStatus.choices)
    amount = MoneyField(help_text="What the bank took back")
    held = MoneyField(help_text="What is held of the seller until it is decided")
    fee = MoneyField(help_text="What the PSP charges the platform for the dispute")
    lost = MoneyField(help_text="What stays with the buyer")
    fee_returned = MoneyField(help_text="What the platform gives back to the seller of its own fee, on what was lost")
    opened_at = serializers.DateTimeField()
    evidence_due_at = serializers.DateTimeField(allow_null=True, help_text="Until when the PSP takes evidence")
    closed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class DisputesQuery(ObjectsQuery):
    status = Choice(DisputeStatus.values, required=False)
