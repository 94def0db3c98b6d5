"""A fee invoice or a credit note on paper: from whom, to whom, for which month, net and tax of each kind of fee."""

from django.utils.translation import gettext as _

from ledger.templatetags.written import amount, day, digits
from wallet import months
from wallet.documents.paper import FIGURE, MUTED, SMALL, TITLE, Paper
from wallet.documents.wording import fees_of, month_of, tax_of, title_of
from wallet.models import FeeInvoice

COLUMNS = (66.0, 24.0, 28.0, 28.0, 28.0)


def written(invoice: FeeInvoice) -> bytes:
    """Return the document as PDF, in the language that is active now: with the names and amounts that stood when it was issued."""
    paper = Paper(title=title_of(invoice), issuer=invoice.shop_name, foot=f"{invoice.shop_name} · {title_of(invoice)}")
    paper.set_creation_date(invoice.issued_at)
    paper.line_of(invoice.shop_name, colour=MUTED)
    paper.gap(3)
    paper.line_of(title_of(invoice), TITLE, style="B")
    paper.gap(6)
    paper.line_of(_("To"), SMALL, MUTED)
    paper.line_of(invoice.seller_name, FIGURE)
    for known in filter(None, (invoice.seller_country, invoice.seller_tax_id and _("Tax number %s") % invoice.seller_tax_id)):
        paper.line_of(known)
    paper.gap(6)
    paper.line_of(_("Issued on %s") % day(invoice.issued_at))
    paper.line_of(_("For the fees of %s") % month_of(months.parse(invoice.period)))
    if invoice.corrects is not None:
        about = {"number": invoice.corrects.number, "reason": invoice.reason}
        paper.line_of(_("Takes back %(number)s: %(reason)s") % about)
    paper.gap(6)
    write_lines(paper, invoice)
    paper.gap(4)
    paper.paragraph(tax_of(invoice))
    paper.paragraph(_("The fees were taken off your balance, or given back to it, with each movement. There is nothing to pay."))
    return bytes(paper.output())


def write_lines(paper: Paper, invoice: FeeInvoice) -> None:
    titles = ["", _("Movements"), _("Net"), _("Tax"), _("Total")]
    paper.head_row(titles, COLUMNS, numbers=4)
    for line in invoice.lines.order_by("position"):
        cells = [fees_of(line.kind), str(line.count), digits(line.net), digits(line.tax), digits(line.gross)]
        paper.row(cells, COLUMNS, numbers=4)
    total = [_("Total"), "", amount(invoice.net), amount(invoice.tax), amount(invoice.gross)]
    paper.row(total, COLUMNS, numbers=4, style="B")
