"""What the books look like on the wire.  Amounts of postings are positive and `side` gives their direction; balances are in the
direction in which their account grows.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from ledger import chart, manual
from ledger.errors import DomainError
from ledger.models import Account, JournalEntry, Posting
from ledger.wire import (
    Choice,
    CurrencyField,
    ListOf,
    Moment,
    MoneyField,
    ObjectName,
    PageQuery,
    PlainText,
    PositiveMoneyField,
    StrictSerializer,
)

MOST_POSTINGS = 1000
SIDES = ("debit", "credit")
FEE_CORRECTION = {
    "reference": "correction-2026-11-001",
    "memo": "PSP fee of October, invoiced in November",
    "effective_at": "2026-11-21T09:30:00Z",
    "postings": [
        {"account": "psp_fees", "side": "debit", "amount": {"amount": "12.50", "currency": "EUR"}},
        {"account": "operating_bank", "side": "credit", "amount": {"amount": "12.50", "currency": "EUR"}},
    ],
}


class AccountSerializer(StrictSerializer):
    """An account: a code of the chart in one currency."""

    example = {"object": "ledger_account", "code": "fee_revenue", "kind": "fee_revenue", "type": "revenue", "currency": "EUR"}

    object = ObjectName("ledger_account")
    code = serializers.CharField()
    kind = serializers.SerializerMethodField()
    type = serializers.SerializerMethodField()
    currency = CurrencyField()

    def get_kind(self, account: Account) -> str:
        return chart.kind_of(account.code)

    def get_type(self, account: Account) -> str:
        return chart.type_of(account.code).value


class PostingSerializer(StrictSerializer):
    """One leg of an entry."""

    account = serializers.CharField(source="account.code")
    side = serializers.SerializerMethodField()
    amount = serializers.SerializerMethodField()

    def get_side(self, posting: Posting) -> str:
        return SIDES[0] if posting.amount.amount > 0 else SIDES[1]

    @extend_schema_field(MoneyField)
    def get_amount(self, posting: Posting) -> dict[str, str]:
        return MoneyField().to_representation(abs(posting.amount))


class JournalEntrySerializer(StrictSerializer):
    """One fact in the books, with its legs."""

    example = {"id": "je_4711", "object": "journal_entry", "kind": "manual", "occurred_at": None, "booked_at": "2026-11-21T09:30:02.114Z"}
    example |= FEE_CORRECTION

    id = serializers.CharField(source="public_id")
    object = ObjectName("journal_entry")
    kind = serializers.ChoiceField(JournalEntry.Kind.choices)
    reference = serializers.CharField()
    memo = serializers.CharField(allow_blank=True)
    effective_at = serializers.DateTimeField()
    occurred_at = serializers.DateTimeField(allow_null=True, help_text="When it happened, if its month was closed: it is effective later")
    booked_at = serializers.DateTimeField()
    postings = serializers.SerializerMethodField()

    @extend_schema_field(PostingSerializer(many=True))
    def get_postings(self, entry: JournalEntry) -> list[dict[str, Any]]:
        legs = sorted(entry.postings.all(), key=lambda posting: posting.line)
        return [PostingSerializer(leg).data for leg in legs]


class TrialBalanceLineSerializer(StrictSerializer):
    """All accounts of one kind in one currency."""

    kind = serializers.CharField()
    type = serializers.ChoiceField([kind.value for kind in chart.AccountType])
    debits = MoneyField()
    credits = MoneyField()
    balance = MoneyField()


class TrialBalanceSerializer(StrictSerializer):
    """Every kind of account; in each currency, debits equal credits."""

    example = {
        "object": "trial_balance",
        "as_of": None,
        "lines": [
            {
                "kind": "psp_receivable",
                "type": "asset",
                "debits": {"amount": "100.00", "currency": "EUR"},
                "credits": {"amount": "0.00", "currency": "EUR"},
                "balance": {"amount": "100.00", "currency": "EUR"},
            },
            {
                "kind": "seller_pending",
                "type": "liability",
                "debits": {"amount": "0.00", "currency": "EUR"},
                "credits": {"amount": "100.00", "currency": "EUR"},
                "balance": {"amount": "100.00", "currency": "EUR"},
            },
        ],
    }

    object = ObjectName("trial_balance")
    as_of = serializers.DateTimeField(allow_null=True)
    lines = TrialBalanceLineSerializer(many=True)


class BalanceSerializer(StrictSerializer):
    """What stands on one account."""

    example = {
        "object": "balance",
        "account": "fee_revenue",
        "type": "revenue",
        "as_of": None,
        "balance": {"amount": "1840.50", "currency": "EUR"},
    }

    object = ObjectName("balance")
    account = serializers.CharField()
    type = serializers.ChoiceField([kind.value for kind in chart.AccountType])
    as_of = serializers.DateTimeField(allow_null=True)
    balance = MoneyField()


class StatementLineSerializer(StrictSerializer):
    """One entry as it touched the account, and the balance after it."""

    entry = serializers.SerializerMethodField()
    kind = serializers.ChoiceField(JournalEntry.Kind.choices)
    reference = serializers.CharField()
    memo = serializers.CharField(allow_blank=True)
    effective_at = serializers.DateTimeField()
    booked_at = serializers.DateTimeField()
    amount = MoneyField()
    balance = MoneyField()

    def get_entry(self, line: Any) -> str:
        return f"je_{line.entry_id}"


class StatementSerializer(StrictSerializer):
    """What happened on an account in `since <= effective_at < until`: opening + lines = closing."""

    example = {
        "object": "statement",
        "account": "fee_revenue",
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-12-01T00:00:00Z",
        "opening": {"amount": "1830.50", "currency": "EUR"},
        "lines": [
            {
                "entry": "je_4712",
                "kind": "sale",
                "reference": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
                "memo": "",
                "effective_at": "2026-11-21T09:31:10Z",
                "booked_at": "2026-11-21T09:31:10.412Z",
                "amount": {"amount": "10.00", "currency": "EUR"},
                "balance": {"amount": "1840.50", "currency": "EUR"},
            }
        ],
        "closing": {"amount": "1840.50", "currency": "EUR"},
    }

    object = ObjectName("statement")
    account = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    opening = MoneyField()
    lines = StatementLineSerializer(many=True)
    closing = MoneyField()


class NewPostingSerializer(StrictSerializer):
    """One leg of a manual entry."""

    account = PlainText(
        max_length=120, help_text="An open account; those of wallets, mismatches, payouts and disputes are closed to manual entries"
    )
    side = Choice(SIDES)
    amount = PositiveMoneyField()

    def validate_account(self, code: str) -> str:
        try:
            manual.require_bookable(code)
        except DomainError as error:
            raise ValidationError(error.detail, code=error.code) from error
        return code


class NewEntrySerializer(StrictSerializer):
    """A manual entry.  Debits and credits must be equal in every currency."""

    example = FEE_CORRECTION

    reference = PlainText(max_length=120, help_text="Your own name of this fact, used once: posting it again changes nothing")
    memo = PlainText(max_length=500, required=False, default="", allow_blank=True)
    effective_at = Moment(required=False, help_text="When it happened; now, if left out")
    postings = ListOf(NewPostingSerializer(), least=1, most=MOST_POSTINGS)


class AccountsQuery(PageQuery):
    kind = Choice(sorted(chart.KINDS), required=False)
    currency = CurrencyField(required=False)


class EntriesQuery(PageQuery):
    reference = PlainText(required=False, max_length=200)
    kind = Choice(JournalEntry.Kind.values, required=False)
    account = PlainText(required=False, max_length=120, help_text="Entries that touch this account")


class AsOfQuery(StrictSerializer):
    as_of = Moment(required=False, help_text="Count what was effective before this moment; everything, if left out")


class BalanceQuery(AsOfQuery):
    currency = CurrencyField()


class StatementQuery(StrictSerializer):
    currency = CurrencyField()
    since = Moment()
    until = Moment()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["since"] >= attrs["until"]:
            raise ValidationError({"until": "This must be later than since."}, code="not_later")
        return attrs
