"""What a seller's bank account looks like on the wire: numbers come in, and never go out."""

from rest_framework import serializers

from ledger.wire import CurrencyField, ObjectName, PageQuery, PlainText, StrictSerializer, TextOrNull, Yes
from payouts.models import BankAccount


class BankAccountSerializer(StrictSerializer):
    """Where a seller's money of one currency goes, without its number."""

    example = {
        "id": "ba_0199f3d5b6c77e1f8a2b3c4d5e6f7a8b",
        "object": "bank_account",
        "seller": "sel_0199f3c2b1e07a44b6f2c9d81e3a5b70",
        "currency": "EUR",
        "kind": "iban",
        "country": "DE",
        "holder": "Ada's Books GmbH",
        "masked": "DE•• •••• 3000",
        "bic": "COBADEFFXXX",
        "bank_name": "Commerzbank",
        "verified_at": "2026-11-21T09:31:10.412Z",
        "verified_by": "shop",
        "usable_from": "2026-11-24T09:31:10.412Z",
        "added_at": "2026-11-21T09:31:10.412Z",
        "replaced_at": None,
    }

    id = serializers.CharField(source="public_id")
    object = ObjectName("bank_account")
    seller = serializers.CharField(source="seller.public_id")
    currency = CurrencyField()
    kind = serializers.ChoiceField(BankAccount.Kind.choices)
    country = serializers.CharField()
    holder = serializers.CharField()
    masked = serializers.CharField(help_text="What may be shown of the number")
    bic = TextOrNull(help_text="The bank's, where its country's register tells")
    bank_name = TextOrNull()
    verified_at = serializers.DateTimeField(allow_null=True, help_text="Nothing is paid to it before")
    verified_by = serializers.SerializerMethodField(help_text="`shop` if you vouched for it, else `platform`")
    usable_from = serializers.DateTimeField(help_text="Nothing is paid to it before: changed details wait")
    added_at = serializers.DateTimeField()
    replaced_at = serializers.DateTimeField(allow_null=True, help_text="When another account took its place")

    def get_verified_by(self, account: BankAccount) -> str | None:
        if account.verified_at is None:
            return None
        return "shop" if account.verified_by == "shop" else "platform"


class NewBankAccountSerializer(StrictSerializer):
    """The account to pay to: its IBAN, or country, account number and bank code where there is none."""

    example = {"holder": "Ada's Books GmbH", "iban": "DE89 3704 0044 0532 0130 00", "verified": True}

    holder = PlainText(max_length=70, help_text="The name that the bank knows the account by")
    iban = PlainText(max_length=60, required=False, help_text="With or without spaces")
    country = PlainText(max_length=2, required=False, help_text="Of the bank, such as US; only without an IBAN")
    account_number = PlainText(max_length=60, required=False)
    bank_code = PlainText(
        max_length=40, required=False, help_text="In the United States the routing number, in Great Britain the sort code"
    )
    verified = Yes(required=False, default=False, help_text="You have made sure that the account is the seller's, and vouch for it")


class BankAccountsQuery(PageQuery):
    currency = CurrencyField(required=False)
