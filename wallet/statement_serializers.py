"""What statements and fee invoices look like on the wire."""

from typing import ClassVar

from rest_framework import serializers

from ledger.wire import Choice, CurrencyField, MoneyField, ObjectName, PageQuery, PlainText, StrictSerializer, TextOrNull
from wallet.models import FeeInvoice, WalletEntry
from wallet.serializers import SELLER

CSV, PDF, XML = "text/csv", "application/pdf", "application/xml"


def euros(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


class ListedStatementSerializer(StrictSerializer):
    """A statement that can be asked for: one for each month since the first movement in the currency."""

    example = {"object": "wallet_statement", "seller": SELLER, "currency": "EUR", "period": "2026-10", "is_final": True}

    object = ObjectName("wallet_statement")
    seller = serializers.CharField(source="seller.public_id")
    currency = CurrencyField()
    period = serializers.CharField(help_text="The month")
    is_final = serializers.BooleanField(help_text="False: the month is not over, and the statement still grows")


class FiguresSerializer(StrictSerializer):
    """What a wallet holds: its three figures, and their sum."""

    pending = MoneyField()
    available = MoneyField()
    reserved = MoneyField()
    total = MoneyField()


class KindSumSerializer(StrictSerializer):
    """All movements of one kind."""

    kind = serializers.ChoiceField(WalletEntry.Kind.choices)
    count = serializers.IntegerField()
    gross = MoneyField()
    fee = MoneyField()
    net = MoneyField()


class WalletStatementLineSerializer(StrictSerializer):
    """One movement, and what the whole wallet came to with it."""

    id = serializers.CharField(source="public_id")
    kind = serializers.ChoiceField(WalletEntry.Kind.choices)
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="The payment order, refund, dispute or payout behind it"
    )
    journal_entry = serializers.CharField()
    gross = MoneyField()
    fee = MoneyField()
    net = MoneyField()
    pending = MoneyField(help_text="What it changed of the pending figure")
    available = MoneyField()
    reserved = MoneyField()
    balance = MoneyField()
    created_at = serializers.DateTimeField(source="at")


class WalletStatementSerializer(StrictSerializer):
    """What a wallet held as the month began, every movement, and what it held as the month ended: opening + lines = closing."""

    other_media: ClassVar[tuple[str, ...]] = (CSV, PDF, XML)
    example = {
        "object": "wallet_statement",
        "seller": SELLER,
        "currency": "EUR",
        "period": "2026-10",
        "is_final": True,
        "number": 1,
        "since": "2026-10-01T00:00:00Z",
        "until": "2026-11-01T00:00:00Z",
        "opening": {name: euros("0.00") for name in ("pending", "available", "reserved", "total")},
        "closing": {"pending": euros("90.00"), "available": euros("0.00"), "reserved": euros("0.00"), "total": euros("90.00")},
        "sums": [{"kind": "sale", "count": 1, "gross": euros("100.00"), "fee": euros("10.00"), "net": euros("90.00")}],
        "lines": [
            {
                "id": "wen_118",
                "kind": "sale",
                "source": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
                "journal_entry": "je_4712",
                "gross": euros("100.00"),
                "fee": euros("10.00"),
                "net": euros("90.00"),
                "pending": euros("90.00"),
                "available": euros("0.00"),
                "reserved": euros("0.00"),
                "balance": euros("90.00"),
                "created_at": "2026-10-21T09:31:10.412Z",
            }
        ],
    }

    object = ObjectName("wallet_statement")
    seller = serializers.CharField(source="statement.seller.public_id")
    currency = CurrencyField(source="statement.currency")
    period = serializers.CharField(source="statement.period")
    is_final = serializers.BooleanField(source="statement.is_final")
    number = serializers.IntegerField(source="statement.number", help_text="Counts the statements of the wallet: 1, 2, 3, ...")
    since = serializers.DateTimeField(source="statement.since")
    until = serializers.DateTimeField(source="statement.until", help_text="Not counted in")
    opening = FiguresSerializer(source="statement.opening")
    closing = FiguresSerializer(source="statement.closing")
    sums = KindSumSerializer(source="statement.sums", many=True)
    lines = WalletStatementLineSerializer(many=True)


class FeeInvoiceLineSerializer(StrictSerializer):
    """The fees of one kind of movement: net + tax = gross."""

    kind = serializers.ChoiceField(WalletEntry.Kind.choices)
    count = serializers.IntegerField()
    net = MoneyField()
    tax = MoneyField()
    gross = MoneyField()


class FeeInvoiceSerializer(StrictSerializer):
    """The fees of one seller, month and currency, and the tax in them.  Amounts of a credit note are negative."""

    other_media: ClassVar[tuple[str, ...]] = (CSV, PDF)
    example = {
        "id": "inv_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
        "object": "fee_invoice",
        "number": "INV-2026-000001",
        "type": "invoice",
        "seller": SELLER,
        "period": "2026-10",
        "net": euros("8.40"),
        "tax": euros("1.60"),
        "gross": euros("10.00"),
        "tax_basis_points": 1900,
        "reverse_charge": False,
        "corrects": None,
        "reason": None,
        "lines": [{"kind": "sale", "count": 1, "net": euros("8.40"), "tax": euros("1.60"), "gross": euros("10.00")}],
        "issued_at": "2026-11-01T04:23:00Z",
    }

    id = serializers.CharField(source="public_id")
    object = ObjectName("fee_invoice")
    number = serializers.CharField()
    type = serializers.SerializerMethodField()
    seller = serializers.CharField(source="seller.public_id")
    period = serializers.CharField()
    net = MoneyField()
    tax = MoneyField()
    gross = MoneyField(help_text="What the seller was charged in the month, less what was given back")
    tax_basis_points = serializers.IntegerField()
    reverse_charge = serializers.BooleanField(help_text="The seller owes the tax")
    corrects = serializers.SerializerMethodField(help_text="The number of the document that this one takes back")
    reason = TextOrNull()
    lines = FeeInvoiceLineSerializer(many=True)
    issued_at = serializers.DateTimeField()

    def get_type(self, invoice: FeeInvoice) -> str:
        return "invoice" if invoice.series == FeeInvoice.Series.INVOICE else "credit_note"

    def get_corrects(self, invoice: FeeInvoice) -> str | None:
        return invoice.corrects.number if invoice.corrects else None


class StatementsQuery(PageQuery):
    currency = CurrencyField(required=False)


class StatementQuery(StrictSerializer):
    currency = CurrencyField()
    format = Choice(["json", "csv", "pdf", "camt053"], required=False, default="json", help_text="As which file")


class InvoiceQuery(StrictSerializer):
    format = Choice(["json", "csv", "pdf"], required=False, default="json", help_text="As which file")


class InvoicesQuery(PageQuery):
    currency = CurrencyField(required=False)
    period = PlainText(required=False, max_length=7, help_text="The month, such as 2026-10")


class AllInvoicesQuery(InvoicesQuery):
    seller = PlainText(required=False, max_length=60, help_text="The seller's id")
