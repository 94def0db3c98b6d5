"""Statements and fee invoices over REST: listed, read as JSON and as files, of the caller's own shop alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.contract.api.conftest import Caller
from tests.flows.test_statements import sold
from wallet import invoices, months
from wallet.models import FeeInvoice, Seller
from wallet.months import Month


@pytest.fixture
def month(ada: Seller) -> Month:
    """Give a month that is over, in which the seller sold something, and something the month before."""
    month = months.of(timezone.now() - timedelta(minutes=11)).previous
    sold(ada, "50.00", at=month.previous.since)
    sold(ada, "100.00", at=month.since)
    sold(ada, "20.00", at=month.since)  # movements of one batch have no order among themselves
    return month


def test_a_statement_is_listed_and_read_and_its_lines_make_its_closing(api: Caller, ada: Seller, month: Month) -> None:
    address = f"/v1/sellers/{ada.public_id}/statements"
    listed = api.get(address, currency="EUR", limit=2).json()
    assert [(each["period"], each["is_final"]) for each in listed["data"]][1] == (str(month), True)
    rest = api.get(address, currency="EUR", cursor=listed["next_cursor"]).json()
    assert [each["period"] for each in rest["data"]] == [str(month.previous)]
    read = api.get(f"{address}/{month}", currency="EUR").json()
    assert (read["opening"]["total"]["amount"], read["closing"]["total"]["amount"], read["number"]) == ("45.00", "153.00", 2)
    assert [line["balance"]["amount"] for line in read["lines"]] == ["135.00", "153.00"]
    assert read["sums"] == [
        {
            "kind": "sale",
            "count": 2,
            "gross": {"amount": "120.00", "currency": "EUR"},
            "fee": {"amount": "12.00", "currency": "EUR"},
            "net": {"amount": "108.00", "currency": "EUR"},
        }
    ]
    for form, kind in {"csv": "text/csv; charset=utf-8", "pdf": "application/pdf", "camt053": "application/xml; charset=utf-8"}.items():
        answer = api.get(f"{address}/{month}", currency="EUR", format=form)
        assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (200, kind, "no-store")


@pytest.mark.parametrize(
    ("period", "query", "status", "code", "field"),
    [
        ("2026-13", {"currency": "EUR"}, 400, "unknown_period", "period"),
        ("0000-00", {"currency": "EUR"}, 400, "unknown_period", "period"),
        ("2999-01", {"currency": "EUR"}, 404, "no_statement", "period"),
        ("2026-10", {"currency": "JPY"}, 404, "no_statement", "currency"),
        ("2026-10", {}, 400, "required", "currency"),
        ("2026-10", {"currency": "EUR", "format": "doc"}, 400, "invalid_choice", "format"),
    ],
)
def test_what_is_no_statement_is_refused(
    api: Caller, ada: Seller, month: Month, period: str, query: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = api.get(f"/v1/sellers/{ada.public_id}/statements/{period}", **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)


def test_an_invoice_is_read_by_its_number_and_its_id_by_its_own_shop(api: Caller, stranger: Caller, ada: Seller, month: Month) -> None:
    invoices.issue_month(ada.shop, month, now=timezone.now(), by="test")
    invoice = FeeInvoice.objects.get()
    [listed] = api.get(f"/v1/sellers/{ada.public_id}/invoices", currency="EUR").json()["data"]
    assert (listed["number"], listed["type"], listed["gross"]["amount"]) == (invoice.number, "invoice", "12.00")
    for name in (invoice.number, invoice.public_id):
        assert api.get(f"/v1/invoices/{name}").json() == listed
        assert stranger.get(f"/v1/invoices/{name}").status_code == 404
    assert (
        api.get(f"/v1/invoices/{invoice.number}", format="csv")
        .content.decode()
        .splitlines()[1]
        .startswith(f"{invoice.number},{month},sale,2,")
    )
    assert stranger.get(f"/v1/sellers/{ada.public_id}/invoices").status_code == 404


def test_all_invoices_of_a_shop_are_found_by_month_and_seller(
    api: Caller, stranger: Caller, ada: Seller, bolt: Seller, month: Month
) -> None:
    sold(bolt, "30.00", at=month.since)
    for each in (month.previous, month):
        invoices.issue_month(ada.shop, each, now=timezone.now(), by="test")

    def sellers(**asked: Any) -> list[str]:
        return [invoice["seller"] for invoice in api.get("/v1/invoices", **asked).json()["data"]]

    assert sorted(sellers(period=str(month))) == sorted([ada.public_id, bolt.public_id])
    assert sellers(period=str(month.previous)) == sellers(period=str(month), seller=ada.public_id) == [ada.public_id]
    assert len(sellers()) == 3 and sellers(currency="JPY") == []
    assert stranger.get("/v1/invoices").json()["data"] == []
    for asked, status in (({"seller": ada.public_id}, 404), ({"period": "2026-13"}, 400), ({"period": "october"}, 400)):
        refused = stranger.get("/v1/invoices", **asked)
        assert (refused.status_code, refused.json()["field"]) == (status, *asked)
