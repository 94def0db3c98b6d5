"""Documents as files that are downloaded: each with its type and a name of its own, the long ones written while they are read."""

from collections.abc import Iterator
from datetime import datetime

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from wallet.documents import camt053, invoice_pdf, statement_pdf, tables
from wallet.models import FeeInvoice
from wallet.statements import Statement

CSV, PDF, XML = "text/csv; charset=utf-8", "application/pdf", "application/xml; charset=utf-8"
OF_STATEMENTS = ("pdf", "csv", "camt053")
OF_INVOICES = ("pdf", "csv")


def statement(of: Statement, *, form: str, now: datetime) -> HttpResponseBase:
    """Return the statement as one of OF_STATEMENTS."""
    name = f"statement-{of.period}-{of.currency}"
    match form:
        case "pdf":
            return whole(statement_pdf.written(of, now=now), name=f"{name}.pdf", kind=PDF)
        case "csv":
            return streamed(tables.statement(of), name=f"{name}.csv", kind=CSV)
        case "camt053":
            return streamed(camt053.written(of, now=now), name=f"{name}.camt053.xml", kind=XML)
        case _other:
            raise ValueError(form)


def invoice(of: FeeInvoice, *, form: str) -> HttpResponseBase:
    """Return the invoice as one of OF_INVOICES."""
    match form:
        case "pdf":
            return whole(invoice_pdf.written(of), name=f"{of.number}.pdf", kind=PDF)
        case "csv":
            return whole(tables.invoice(of).encode(), name=f"{of.number}.csv", kind=CSV)
        case _other:
            raise ValueError(form)


def whole(content: bytes, *, name: str, kind: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def streamed(parts: Iterator[str], *, name: str, kind: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(parts, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
