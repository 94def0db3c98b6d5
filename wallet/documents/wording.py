"""What the documents and the pages around them call things: months, documents, fees."""

from datetime import datetime

from babel.dates import format_skeleton
from django.utils.translation import gettext as _

from ledger.templatetags.written import reader
from wallet.models import FeeInvoice, WalletEntry
from wallet.months import Month


def month_of(month: Month) -> str:
    """Write the month: October 2026."""
    return str(format_skeleton("yMMMM", datetime(month.year, month.number, 1), locale=reader()))  # noqa: DTZ001


def kind_of(kind: str) -> str:
    """Return what a kind of movement is called."""
    return str(WalletEntry.Kind(kind).label)


def fees_of(kind: str) -> str:
    """Return what the fees of a kind of movement are called on an invoice."""
    match kind:
        case WalletEntry.Kind.SALE:
            return _("Fees for sales")
        case WalletEntry.Kind.REFUND:
            return _("Fees given back with refunds")
        case WalletEntry.Kind.REFUND_REVERSAL:
            return _("Fees taken again for refunds that came back")
        case _other:
            return _("Fees: %s") % kind_of(kind)


def title_of(invoice: FeeInvoice) -> str:
    """Return what the document is, with its number."""
    name = _("Invoice") if invoice.series == FeeInvoice.Series.INVOICE else _("Credit note")
    return f"{name} {invoice.number}"


def tax_of(invoice: FeeInvoice) -> str:
    """Return the sentence about the tax."""
    if invoice.reverse_charge:
        return _("Reverse charge: the recipient of the service owes the tax.")
    if not invoice.tax_basis_points:
        return _("No tax is charged.")
    return _("The fees contain %s %% tax.") % f"{invoice.tax_basis_points / 100:g}"
