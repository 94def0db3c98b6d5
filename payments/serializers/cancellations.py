"""Cancellations on the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ledger.wire import ObjectName, PlainText, StrictSerializer, TextOrNull
from payments.models import Cancellation
from payments.serializers.refunds import ORDER_ID, PAYMENT_ID, REFUND_ID
from payments.states import CancellationStatus

CANCELLATION: dict[str, Any] = {
    "id": "can_0199f3d4e1b27f6a8c9d0e1f2a3b4c5d",
    "object": "cancellation",
    "order": ORDER_ID,
    "payment": PAYMENT_ID,
    "reason": "The buyer changed her mind",
    "status": "EXECUTING",
    "outcome": None,
    "failure_code": None,
    "refund": REFUND_ID,
    "created_at": "2026-11-21T10:02:11.480Z",
    "finished_at": None,
}


class CancellationSerializer(StrictSerializer):
    """The wish that one order shall not be paid after all, and what became of it."""

    example = CANCELLATION

    id = serializers.CharField(source="public_id")
    object = ObjectName("cancellation")
    order = serializers.CharField(source="order.public_id")
    payment = serializers.CharField(source="order.event.public_id")
    reason = TextOrNull()
    status = serializers.ChoiceField(CancellationStatus.choices)
    outcome = serializers.SerializerMethodField(help_text="Never charged, voided at the PSP, or refunded; null until it is known")
    failure_code = TextOrNull(help_text="Why the order could not be cancelled")
    refund = serializers.SerializerMethodField(help_text="The refund that gives back what was charged already")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field({"type": ["string", "null"], "enum": [*Cancellation.Outcome.values, None]})
    def get_outcome(self, cancellation: Cancellation) -> str | None:
        return cancellation.outcome or None

    def get_refund(self, cancellation: Cancellation) -> str | None:
        return cancellation.refund.public_id if cancellation.refund else None


class CancellationsSerializer(StrictSerializer):
    """The cancellations of all orders of one payment."""

    example = {"object": "list", "data": [CANCELLATION], "has_more": False, "next_cursor": None}

    object = ObjectName("list")
    data = serializers.SerializerMethodField()  # type: ignore[assignment]
    has_more = serializers.SerializerMethodField()
    next_cursor = serializers.SerializerMethodField()

    @extend_schema_field(CancellationSerializer(many=True))
    def get_data(self, cancellations: list[Cancellation]) -> list[dict[str, Any]]:
        return list(CancellationSerializer(cancellations, many=True).data)

    def get_has_more(self, cancellations: list[Cancellation]) -> bool:
        return False  # a payment has a thousand orders at most

    def get_next_cursor(self, cancellations: list[Cancellation]) -> str | None:
        return None


class ReasonSerializer(StrictSerializer):
    """Why, in your own words."""

    example = {"reason": "The buyer changed her mind"}

    reason = PlainText(max_length=200, required=False, default="", allow_blank=True)
