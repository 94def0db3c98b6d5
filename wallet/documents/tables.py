"""Statements and invoices as CSV: plain decimals that add up (gross + fee = net), times with their zone, texts that no spreadsheet runs."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from django.utils import timezone
from djmoney.money import Money

from ledger.money import text
from wallet import statements
from wallet.models import FeeInvoice
from wallet.sheets import harmless, written
from wallet.statements import Figures, Row, Statement

STATEMENT_COLUMNS = (
    *("date", "kind", "source", "gross", "fee", "net", "pending", "available", "reserved"),
    *("balance", "available_balance", "currency", "movement", "journal_entry"),
)
INVOICE_COLUMNS = ("number", "period", "kind", "count", "net", "tax", "gross", "currency", "tax_basis_points")
ROWS_AT_ONCE = 500


def statement(of: Statement) -> Iterator[str]:
    """Yield the statement: the opening, every movement, the closing.  The balance is the whole wallet's after each row."""
    yield written([STATEMENT_COLUMNS, standing("opening", of.since, of.opening, of.currency)])
    rows = statements.rows(of)
    while some := [movement(row) for row in islice(rows, ROWS_AT_ONCE)]:
        yield written(some)
    yield written([standing("closing", of.until, of.closing, of.currency)])


def movement(row: Row) -> Sequence[str]:
    money = (row.gross, less(row.fee), row.net, row.pending, row.available, row.reserved, row.balance, row.available_balance)
    return (
        *(moment(row.at), row.kind, harmless(row.source)),
        *(text(amount) for amount in money),
        *(row.net.currency.code, row.public_id, row.journal_entry),
    )


def standing(kind: str, when: datetime, figures: Figures, currency: str) -> Sequence[str]:
    money = (figures.pending, figures.available, figures.reserved, figures.total, figures.available)
    return (moment(when), kind, "", "", "", "", *(text(amount) for amount in money), currency, "", "")


def invoice(of: FeeInvoice) -> str:
    """Return the invoice: a row for each line, and one for the total.  Amounts of a credit note are negative."""
    lines = [(line.kind, line.count, line.net, line.tax, line.gross) for line in of.lines.order_by("position")]
    total = ("total", sum(line[1] for line in lines), of.net, of.tax, of.gross)
    return written(
        [
            INVOICE_COLUMNS,
            *(
                (of.number, of.period, kind, str(count), *map(text, amounts), of.gross.currency.code, str(of.tax_basis_points))
                for kind, count, *amounts in [*lines, total]
            ),
        ]
    )


def less(fee: Money) -> Money:
    return -fee if fee.amount else fee


def moment(when: datetime) -> str:
    return timezone.localtime(when).isoformat(timespec="seconds")
