"""Statements and fee invoices over REST, each of the caller's own shop; another shop's are not found."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from ledger.wire import refusal
from wallet import invoices, months, statements
from wallet.api import READ, seller_asked_for, seller_of, shop_of
from wallet.documents import files
from wallet.models import FeeInvoice
from wallet.statement_serializers import (
    AllInvoicesQuery,
    FeeInvoiceSerializer,
    InvoiceQuery,
    InvoicesQuery,
    ListedStatementSerializer,
    StatementQuery,
    StatementsQuery,
    WalletStatementSerializer,
)
from wallet.statements import Listed

MOST_LINES = 10_000


class StatementTooLong(DomainError):
    code = "statement_too_long"


class OfSeller(Endpoint):
    """An address below one seller."""

    def locate(self, request: Request, *, seller: str, **_more: Any) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)


class Statements(OfSeller):
    @operation(READ, query=StatementsQuery, answers={200: ListedStatementSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """List statements

        One for each month since the first movement in the currency, newest first; the month that is not over is told so far.
        """
        found = statements.listed(self.seller, now=timezone.now(), currency=self.query.get("currency", ""))
        names = [f"{each.period}.{each.currency}" for each in found]
        begin = begin_of(names, self.query.get("cursor"))
        shown: list[Listed] = found[begin : begin + self.query["limit"]]
        has_more = len(found) > begin + len(shown)
        data = ListedStatementSerializer(shown, many=True).data
        next_cursor = names[begin + len(shown) - 1] if has_more else None
        return Response({"object": "list", "data": data, "has_more": has_more, "next_cursor": next_cursor})


def begin_of(names: list[str], cursor: str | None) -> int:
    """Return where the page begins.  Raises ValidationError for a cursor that is none of the names."""
    if cursor is None:
        return 0
    if cursor not in names:
        raise ValidationError({"cursor": refusal("This cursor is not one of ours. Begin again without it.", "invalid_cursor")})
    return names.index(cursor) + 1


class OneStatement(OfSeller):
    @operation(READ, query=StatementQuery, answers={200: WalletStatementSerializer})
    def get(self, request: Request, seller: str, period: str) -> HttpResponseBase:
        """Read a statement

        `since` is counted in, `until` is not.  As JSON up to 10,000 lines; `format=csv` and `format=camt053` (ISO 20022 camt.053.001.08)
        stream any number, and `format=pdf` adds up the movements of each day where there are more than 2,000.
        """
        now, form = timezone.now(), self.query["format"]
        statement = statements.of(self.seller, currency=self.query["currency"], month=months.parse(period), now=now)
        if form != "json":
            return files.statement(statement, form=form, now=now)
        if statement.count > MOST_LINES:
            raise StatementTooLong(f"It has {statement.count} lines. Ask for it with format=csv or format=camt053.", field="format")
        return self.answer({"statement": statement, "lines": list(statements.rows(statement))})


class FeeInvoices(OfSeller):
    @operation(READ, query=InvoicesQuery, answers={200: FeeInvoiceSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """List fee invoices

        Invoices and credit notes over the platform's fees, newest first: one for each month and currency in which there were fees.
        """
        return self.answer_page(asked_for(invoices.of_seller(self.seller), self.query))


class AllFeeInvoices(Endpoint):
    @operation(READ, query=AllInvoicesQuery, answers={200: FeeInvoiceSerializer})
    def get(self, request: Request) -> Response:
        """List all fee invoices

        Those of every seller of the shop, newest first.
        """
        found = invoices.of_shop(shop_of(request))
        if "seller" in self.query:
            found = found.filter(seller=seller_asked_for(request, self.query["seller"]))
        return self.answer_page(asked_for(found, self.query))


def asked_for(found: QuerySet[FeeInvoice], query: Mapping[str, Any]) -> QuerySet[FeeInvoice]:
    """Return those of the invoices that the query asks for, with their lines.  Raises UnknownPeriod."""
    if "currency" in query:
        found = found.filter(currency=query["currency"])
    if "period" in query:
        found = found.filter(period=str(months.parse(query["period"])))
    return found.prefetch_related("lines")


class OneFeeInvoice(Endpoint):
    invoice: FeeInvoice

    def locate(self, request: Request, *, invoice: str) -> None:  # type: ignore[override]
        found = invoices.found(shop_of(request), invoice)
        if found is None:
            raise Http404
        self.invoice = found

    @operation(READ, query=InvoiceQuery, answers={200: FeeInvoiceSerializer})
    def get(self, request: Request, invoice: str) -> HttpResponseBase:
        """Read a fee invoice

        By its number or its id; as JSON, CSV or PDF.
        """
        form = self.query["format"]
        return self.answer(self.invoice) if form == "json" else files.invoice(self.invoice, form=form)
