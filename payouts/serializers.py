"""Payouts on the wire, and what a shop sends to have a seller paid."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from ledger.wire import (
    Choice,
    CurrencyField,
    Moment,
    MoneyField,
    ObjectName,
    PageQuery,
    PlainText,
    PositiveMoneyField,
    StrictSerializer,
    TextOrNull,
    refusal,
)
from payouts.models import Payout
from payouts.states import PUT_BACK, PayoutStatus
from wallet.models import WalletEntry

PAYOUT_ID, SELLER_ID = "po_0199f3d9e2a47c55b1c0d3e4f5a6b7c8", "sel_0199f3c2b1e07a44b6f2c9d81e3a5b70"
PAYOUT: dict[str, Any] = {
    "id": PAYOUT_ID,
    "object": "payout",
    "seller": SELLER_ID,
    "amount": {"amount": "182.40", "currency": "EUR"},
    "status": "EXECUTING",
    "cause": "request",
    "run": None,
    "reference": "november-ada",
    "bank_account": {"id": "ba_0199f3d5b6c77e1f8a2b3c4d5e6f7a8b", "country": "DE", "last4": "3000", "masked": "DE•• •••• 3000"},
    "failure_code": None,
    "failure_message": None,
    "arrives_on": None,
    "paid_at": None,
    "created_at": "2026-11-24T08:12:45.301Z",
}
CONTENTS: dict[str, Any] = {
    "brought_forward": {"amount": "12.40", "currency": "EUR"},
    "movements": [
        {"kind": "refund", "count": 1, "amount": {"amount": "-10.00", "currency": "EUR"}},
        {"kind": "release", "count": 2, "amount": {"amount": "180.00", "currency": "EUR"}},
    ],
    "carried_forward": {"amount": "0.00", "currency": "EUR"},
}


class AccountOfPayoutSerializer(StrictSerializer):
    """Where the money goes, without the number."""

    example = PAYOUT["bank_account"]

    id = serializers.CharField(source="public_id")
    country = serializers.CharField()
    last4 = serializers.CharField(help_text="The last characters of the number: four, or two of a short one")
    masked = serializers.CharField(help_text="What may be shown of the number")


class PayoutSerializer(StrictSerializer):
    """Money on its way from a seller's available balance to the seller's bank."""

    example = PAYOUT

    id = serializers.CharField(source="public_id")
    object = ObjectName("payout")
    seller = serializers.CharField(source="seller.public_id")
    amount = MoneyField()
    status = serializers.ChoiceField(PayoutStatus.choices)
    cause = serializers.ChoiceField(Payout.Cause.choices, help_text="Asked for, or part of a payout run")
    run = serializers.SerializerMethodField(help_text="The payout run that it is part of")
    reference = TextOrNull(help_text="Your own id of this payout")
    bank_account = AccountOfPayoutSerializer()
    failure_code = serializers.SerializerMethodField(help_text="Why it is failed, returned or cancelled")
    failure_message = serializers.SerializerMethodField(help_text="The bank's words for it")
    arrives_on = serializers.DateField(allow_null=True, help_text="When the bank says that it arrives")
    paid_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_run(self, payout: Payout) -> str | None:
        return payout.run.public_id if payout.run else None

    def get_failure_code(self, payout: Payout) -> str | None:
        return (payout.failure_code or None) if payout.status in PUT_BACK else None

    def get_failure_message(self, payout: Payout) -> str | None:
        return (payout.failure_message or None) if payout.status in PUT_BACK else None


class PartSerializer(StrictSerializer):
    """All movements of one kind in a payout."""

    example = CONTENTS["movements"][0]

    kind = serializers.ChoiceField(WalletEntry.Kind.choices)
    count = serializers.IntegerField()
    amount = MoneyField(help_text="What they changed of the available balance")


class ContentsSerializer(StrictSerializer):
    """What a payout is made of: brought forward + movements = its amount + carried forward."""

    example = CONTENTS

    brought_forward = MoneyField(help_text="What was available after the payout before it")
    movements = PartSerializer(many=True, source="parts")
    carried_forward = MoneyField(help_text="What was left available after it")


class PayoutInDetailSerializer(PayoutSerializer):
    """A payout with what it is made of."""

    example = PAYOUT | {"contents": CONTENTS}

    contents = ContentsSerializer()


class WhyNotSerializer(StrictSerializer):
    """What keeps the money here: the problem that asking for a payout would answer with."""

    code = serializers.CharField()
    detail = serializers.CharField()


class PayableSerializer(StrictSerializer):
    """What could be paid out to a seller in one currency now."""

    example = {
        "object": "payable",
        "available": {"amount": "182.40", "currency": "EUR"},
        "keep_back": {"amount": "50.00", "currency": "EUR"},
        "minimum": {"amount": "10.00", "currency": "EUR"},
        "amount": {"amount": "132.40", "currency": "EUR"},
        "why_not": None,
    }

    object = ObjectName("payable")
    available = MoneyField()
    keep_back = MoneyField(help_text="What stays in the wallet: as agreed, and to cover what the seller owes in other currencies")
    minimum = MoneyField(help_text="The least that is paid out")
    amount = MoneyField(help_text="What a payout of all that can be would pay; nothing if something is in the way")
    why_not = WhyNotSerializer(allow_null=True, help_text="What is in the way")


class PayableQuery(StrictSerializer):
    currency = CurrencyField()


class NewPayoutSerializer(StrictSerializer):
    """Whom to pay, and how much."""

    example = {"seller": SELLER_ID, "amount": {"amount": "182.40", "currency": "EUR"}, "reference": "november-ada"}

    seller = PlainText(max_length=60, help_text="The seller's id")
    amount = PositiveMoneyField(required=False, help_text="All that can be paid out in `currency`, if left out")
    currency = CurrencyField(required=False, help_text="Only without an amount")
    reference = PlainText(max_length=120, required=False, default="", help_text="Your own id of this payout; used once for each seller")

    def validate(self, attrs: Mapping[str, Any]) -> Mapping[str, Any]:
        if ("amount" in attrs) == ("currency" in attrs):
            said = "Send an amount, or the currency in which to pay out all that can be; not both."
            raise ValidationError({"currency": refusal(said, "required" if "amount" not in attrs else "unknown_field")})
        return attrs


class ReasonOfCancellationSerializer(StrictSerializer):
    """Why a payout is called off."""

    example = {"reason": "Asked for by mistake"}

    reason = PlainText(max_length=200, required=False, default="", allow_blank=True)


class PayoutsQuery(PageQuery):
    seller = PlainText(required=False, max_length=60, help_text="The seller's id")
    status = Choice(PayoutStatus.values, required=False)
    currency = CurrencyField(required=False)
    run = PlainText(required=False, max_length=60, help_text="The id of a payout run")
    reference = PlainText(required=False, max_length=120, help_text="Your own id of the payout")
    created_since = Moment(required=False, help_text="Made at this moment or later")
    created_until = Moment(required=False, help_text="Made before this moment")
