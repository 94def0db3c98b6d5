"""The cases of reports: a month is over, and its fees are invoiced to all sellers of a shop, whoever dies while the invoices are written."""

from datetime import date, timedelta

from django.utils import timezone

from ledger.models import JournalEntry
from payments.states import OrderStatus
from tests.factories import new_sellers, new_shop
from tests.programmes.flow_files import judge_count
from tests.programmes.flows import VISA, Case
from tests.programmes.verdicts import Verdicts
from wallet import months
from wallet.models import FeeInvoice, Seller, TaxRate

BEATS = 3  # of which some die


def report(case: Case) -> None:
    """A shop sells, and its month is invoiced as often as beat fires."""
    shop = new_shop(fee_basis_points=1000)
    sellers = new_sellers(shop, "Ada", "Bolt", "Cleo")
    Seller.objects.filter(pk__in=[seller.pk for seller in sellers]).update(country="AT")
    TaxRate.objects.create(shop=shop, country="AT", basis_points=2000, since=date(2000, 1, 1))
    case.pay_before(case.open(shop=shop), VISA)
    over = months.of(timezone.now()).until + timedelta(days=1)
    for _beat in range(BEATS):
        case.step("issue_invoices", shop=shop.pk, now=over.isoformat())


def verdict(case: Case) -> Verdicts:
    """Compare the fees of the case with the invoices over them, and those with their entries."""
    found = Verdicts()
    charged = {order.seller_id: order.fee for order in case.orders() if order.status == OrderStatus.SUCCESS and order.fee.amount}
    for seller_id, fee in charged.items():
        invoices = list(FeeInvoice.objects.filter(seller=seller_id))
        judge_count(found, f"invoices of seller {seller_id}", len(invoices), 1)
        for invoice in invoices:
            entries = JournalEntry.objects.filter(reference=invoice.public_id).count()
            judge_count(found, f"entries of {invoice.number}", entries, int(invoice.tax.amount != 0))
            if invoice.gross != fee:
                found.lost.append(f"{invoice.number} is over {invoice.gross}, and not {fee}")
    return found
