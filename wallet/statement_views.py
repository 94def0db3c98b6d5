"""The seller's documents: a statement for each month and currency, as page and as files, and the invoices over our fees.

Every page goes through `seller_page`, so that whoever is logged in finds the documents of the seller they act for and nobody else's.
"""

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ledger.errors import DomainError
from wallet import invoices, months, statements
from wallet.documents import files
from wallet.documents.wording import kind_of, month_of, title_of
from wallet.queries import MOVEMENTS_ON_A_PAGE
from wallet.statements import Statement
from wallet.views import LARGEST_ID, Desk, seller_page


@require_safe
@seller_page
def documents(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The statements and invoices of one year."""
    found = statements.listed(desk.seller, now=timezone.now())
    issued = list(invoices.of_seller(desk.seller))
    years = sorted({each.period[:4] for each in found} | {each.period[:4] for each in issued}, reverse=True)
    year = request.GET.get("year", "")
    chosen = year if year in years else next(iter(years), "")
    context = {
        "desk": desk,
        "here": "documents",
        "years": years,
        "year": chosen,
        "statements": [(month_of(each.month), each) for each in found if each.period.startswith(chosen)],
        "invoices": [(title_of(each), month_of(months.parse(each.period)), each) for each in issued if each.period.startswith(chosen)],
    }
    return render(request, "dashboard/documents.html", context)


class PageOfRows(forms.Form):
    """Where the page of a statement begins: after which movement."""

    after = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)


@require_safe
@seller_page
def statement(request: HttpRequest, desk: Desk, currency: str, period: str) -> HttpResponse:
    """One statement: its sum from top to bottom, and its movements a page at a time."""
    found = statement_or_404(desk, currency=currency, period=period)
    form = PageOfRows(request.GET)
    after = (form.cleaned_data["after"] or 0) if form.is_valid() else 0
    rows = list(statements.rows(found, after=after, limit=MOVEMENTS_ON_A_PAGE + 1))
    shown = rows[:MOVEMENTS_ON_A_PAGE]
    context = {
        "desk": desk,
        "here": "documents",
        "statement": found,
        "month": month_of(found.month),
        "sums": [(kind_of(each.kind), each) for each in found.sums],
        "rows": [(kind_of(each.kind), each) for each in shown],
        "after": after,
        "older_than": shown[-1].movement_id if len(rows) > len(shown) else None,
        "last_day": found.month.last_day,
    }
    return render(request, "dashboard/statement.html", context)


@require_safe
@seller_page
def statement_file(request: HttpRequest, desk: Desk, currency: str, period: str, form: str) -> HttpResponseBase:
    """One statement as a file."""
    if form not in files.OF_STATEMENTS:
        raise Http404
    return files.statement(statement_or_404(desk, currency=currency, period=period), form=form, now=timezone.now())


@require_safe
@seller_page
def invoice_file(request: HttpRequest, desk: Desk, number: str, form: str) -> HttpResponseBase:
    """One invoice or credit note as a file."""
    found = invoices.found(desk.seller.shop, number)
    if form not in files.OF_INVOICES or found is None or found.seller_id != desk.seller.pk:
        raise Http404
    return files.invoice(found, form=form)


def statement_or_404(desk: Desk, *, currency: str, period: str) -> Statement:
    try:
        return statements.of(desk.seller, currency=currency, month=months.parse(period), now=timezone.now())
    except DomainError as error:
        raise Http404 from error
