"""A receipt on paper: the same words as on the page, in the same six languages, on the paper of statements and invoices."""

from datetime import datetime

from django.utils.translation import gettext as _

from payments.receipts import Receipt
from wallet.documents.paper import FIGURE, MUTED, PAGES, SMALL, TITLE, WIDTH, Paper

SIZES = (WIDTH - 45, 45.0)
FACT_SIZES = (45.0, WIDTH - 45)  # short names, and values as long as a buyer's name


class ReceiptPaper(Paper):
    """Paper whose pages are counted in figures, for readers of every language."""

    def page_words(self) -> str:
        return f"{self.page_no()}/{PAGES}"


def written(receipt: Receipt, *, now: datetime) -> bytes:
    """Return the receipt as PDF, in the language that is active now."""
    title = _("Receipt")
    paper = ReceiptPaper(title=f"{title} {receipt.number}", issuer=receipt.shop, foot=f"{receipt.shop} · {title} {receipt.number}")
    paper.set_creation_date(now)
    if receipt.is_test:
        paper.line_of(_("Test: no real money moved"), FIGURE, style="B")
        paper.gap(3)
    paper.line_of(receipt.shop, colour=MUTED)
    paper.gap(3)
    paper.line_of(title, TITLE, style="B")
    paper.gap(2)
    paper.line_of(receipt.paid, FIGURE)
    paper.gap(5)
    facts = [(_("Paid to"), receipt.shop), (_("Paid by"), receipt.buyer), (_("Date"), receipt.paid_at), (_("Order number"), receipt.number)]
    for name, value in facts:
        if value:
            write(paper, name, value, sizes=FACT_SIZES)
    paper.gap(6)
    write_parts(paper, receipt)
    write(paper, _("Total paid"), receipt.paid, style="B")
    head(paper, _("Paid with"))
    for each in receipt.paid_with:
        write(paper, each.label, each.amount)
    head(paper, _("On your statement"))
    for charge in receipt.statement_lines:
        write(paper, f"{charge.name} ({charge.seller})" if charge.seller else charge.name, charge.amount)
    if receipt.credit:
        paper.gap(1)
        paper.paragraph(receipt.credit)
        for each in receipt.instalments:
            write(paper, each.label, each.amount)
    if not receipt.statement_lines and not receipt.credit:
        paper.gap(1)
        paper.paragraph(_("Nothing of it stands on a bank's statement: gift cards and your balance paid it all."))
    if receipt.support:
        paper.gap(6)
        paper.paragraph(
            _("Questions about it? Ask %(shop)s: %(address)s") % {"shop": receipt.shop, "address": receipt.support}, colour=MUTED
        )
    return bytes(paper.output())


def write_parts(paper: Paper, receipt: Receipt) -> None:
    """Write what each seller got, and for what."""
    for part in receipt.sections:
        write(paper, part.seller, part.amount, style="B")
        if part.description:
            write(paper, part.description, "")
        for item in part.items:
            quantity = f" × {item['quantity']}" if item["quantity"] > 1 else ""
            write(paper, f"{item['name']}{quantity}", item["amount"])
        paper.gap(2)


def head(paper: Paper, words: str) -> None:
    paper.gap(6)
    paper.line_of(words, SMALL, MUTED)


def write(paper: Paper, words: str, figure: str, *, style: str = "", sizes: tuple[float, float] = SIZES) -> None:
    """Write a line with its figure, on a new page where this one has no room."""
    if not paper.has_room_for(8):
        paper.add_page()
    paper.row([words, figure], sizes, numbers=1, style=style)
