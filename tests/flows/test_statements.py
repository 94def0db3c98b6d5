"""Statements and fee invoices: what a seller's month came to, on every paper the same; fees invoiced once, with numbers without a gap."""

import csv
import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from lxml import etree
from pypdf import PdfReader

from ledger.models import JournalEntry
from ledger.money import exact, split
from payments.models import PaymentOrder
from reconciliation import invariants
from tests.factories import eur, new_sellers, new_shop
from tests.flows.test_seller_pages import give_back, sell, words
from wallet import invoices, months, statements, tasks
from wallet.documents import camt053, files, invoice_pdf, statement_pdf, tables
from wallet.models import FeeInvoice, Seller, Shop, TaxRate, WalletEntry
from wallet.months import Month, PeriodNotOver, UnknownPeriod
from wallet.statements import NoStatement, Statement, StatementDoesNotAddUp

OCTOBER = Month(2026, 10)
DECEMBER = datetime(2026, 12, 5, 8, tzinfo=UTC)


@pytest.fixture
def shop(db: None) -> Shop:
    return new_shop()


@pytest.fixture
def ada(shop: Shop) -> Seller:
    return new_sellers(shop, "Ada's Books")[0]


@pytest.fixture
def login() -> Callable[[Seller], Client]:
    """Return a browser in which somebody who acts for the seller is logged in."""

    def log_in(seller: Seller) -> Client:
        user = User.objects.create_user("ada")
        seller.users.add(user)
        browser = Client(headers={"accept-language": "en"})
        browser.force_login(user)
        return browser

    return log_in


def happened(at: datetime | str) -> None:
    """Let the last movements, those of this test that have no other time yet, have been written at that moment."""
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE wallet_walletentry SET created_at = %s WHERE created_at BETWEEN now() - interval '10 minutes' AND now() + interval '1 minute'",
            [moment],
        )
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def sold(seller: Seller, *amounts: str, at: datetime | str, currency: str = "EUR") -> list[PaymentOrder]:
    orders = sell(seller, *amounts, currency=currency)
    happened(at)
    return orders


def autumn(seller: Seller) -> None:
    """A sale of September, October with its edges, a refund in it, and a sale of November."""
    [first] = sold(seller, "50.00", at="2026-09-30T23:59:59.999999")
    sold(seller, "100.00", at="2026-10-01T00:00:00")
    sold(seller, "20.00", at="2026-10-31T23:59:59.999999")
    give_back(first, "10.00")
    happened("2026-10-31T23:59:59.999999")
    sold(seller, "70.00", at="2026-11-01T00:00:00")


def october_of(seller: Seller, *, now: datetime = DECEMBER) -> Statement:
    return statements.of(seller, currency="EUR", month=OCTOBER, now=now)


def text_of(pdf: bytes) -> str:
    return " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).replace("\xa0", " ")


def content_of(answer: HttpResponseBase) -> bytes:
    return b"".join(cast(Iterator[bytes], answer)) if isinstance(answer, StreamingHttpResponse) else cast(bytes, answer.content)  # type: ignore[attr-defined]


# --- Statements -----------------------------------------------------------------------------------------------------


def test_a_month_is_from_midnight_to_midnight_and_opening_and_movements_make_the_closing(ada: Seller) -> None:
    autumn(ada)
    statement = october_of(ada)
    rows = list(statements.rows(statement))
    assert (statement.opening.total, statement.closing.total, statement.number, statement.is_final) == (
        eur("45.00"),
        eur("144.00"),
        2,
        True,
    )
    assert [(each.kind, each.count, each.gross, each.fee, each.net) for each in statement.sums] == [
        ("sale", 2, eur("120.00"), eur("12.00"), eur("108.00")),
        ("refund", 1, eur("-10.00"), eur("-1.00"), eur("-9.00")),
    ]
    assert [(row.kind, row.net, row.balance) for row in rows] == [
        ("sale", eur("90.00"), eur("135.00")),
        ("sale", eur("18.00"), eur("153.00")),
        ("refund", eur("-9.00"), eur("144.00")),
    ]
    september = statements.of(ada, currency="EUR", month=Month(2026, 9), now=DECEMBER)
    november = statements.of(ada, currency="EUR", month=Month(2026, 11), now=DECEMBER)
    assert (september.opening.total, september.closing) == (eur("0.00"), statement.opening)
    assert (november.opening, november.closing.total) == (statement.closing, eur("207.00"))


def test_page_file_and_paper_are_of_the_same_rows(ada: Seller) -> None:
    autumn(ada)
    statement = october_of(ada)
    sheet = list(csv.DictReader(io.StringIO("".join(tables.statement(statement)))))
    assert [(row["kind"], row["net"], row["balance"]) for row in sheet] == [
        ("opening", "", "45.00"),
        ("sale", "90.00", "135.00"),
        ("sale", "18.00", "153.00"),
        ("refund", "-9.00", "144.00"),
        ("closing", "", "144.00"),
    ]
    assert all(Decimal(row["gross"]) + Decimal(row["fee"]) == Decimal(row["net"]) for row in sheet[1:-1])
    document = etree.fromstring("".join(camt053.written(statement, now=DECEMBER)).encode())
    amounts = [entry.findtext("{*}Amt") for entry in document.iterfind(".//{*}Ntry")]
    assert amounts == ["90.00", "18.00", "9.00"]
    paper = text_of(statement_pdf.written(statement, now=DECEMBER))
    for said in ("Statement of October 2026", "Ada's Books", "45.00", "144.00 EUR", "135.00", "153.00", "−9.00", "Page 1 of 1"):
        assert said in paper, said
    assert "Checked: 45.00 EUR and movements of 99.00 EUR make 144.00 EUR." in paper


def test_a_month_that_is_not_over_is_told_so_far_and_one_that_lies_ahead_not_at_all(ada: Seller) -> None:
    autumn(ada)
    statement = october_of(ada, now=datetime(2026, 10, 20, tzinfo=UTC))
    assert (statement.is_final, statement.count, statement.closing.total) == (False, 1, eur("135.00"))
    assert [row.balance for row in statements.rows(statement)] == [eur("135.00")]
    for month in (Month(2026, 8), Month(2027, 1)):
        with pytest.raises(NoStatement):
            statements.of(ada, currency="EUR", month=month, now=DECEMBER)
    with pytest.raises(NoStatement):
        statements.of(ada, currency="JPY", month=OCTOBER, now=DECEMBER)
    assert [each.period for each in statements.listed(ada, now=DECEMBER)] == ["2026-12", "2026-11", "2026-10", "2026-09"]


@pytest.mark.parametrize("period", ["2026-13", "2026-00", "2026-1", "20261", "1999-12", "", "２０２６-10", "2026-10\n"])
def test_what_is_no_month_is_refused(period: str) -> None:
    with pytest.raises(UnknownPeriod):
        months.parse(period)


def test_a_later_page_of_rows_goes_on_with_the_same_balance(ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    autumn(ada)
    monkeypatch.setattr(statements, "ROWS_IN_A_CHUNK", 2)
    statement = october_of(ada)
    first, *rest = statements.rows(statement)
    assert list(statements.rows(statement, after=first.movement_id)) == rest
    assert list(statements.rows(statement, limit=1)) == [first]


def test_many_movements_are_added_up_by_day_on_paper(ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    autumn(ada)
    monkeypatch.setattr(statement_pdf, "MOST_LINES", 2)
    statement = october_of(ada)
    assert [(each.day.day, each.kind, each.count, each.balance) for each in statements.days(statement)] == [
        (1, "sale", 1, eur("135.00")),
        (31, "refund", 1, eur("126.00")),
        (31, "sale", 1, eur("144.00")),
    ]
    assert "added up here" in text_of(statement_pdf.written(statement, now=DECEMBER))


def test_a_statement_that_does_not_add_up_is_not_given(ada: Seller) -> None:
    autumn(ada)
    statement = october_of(ada)
    ada.wallets.update(pending=exact("1000.00", "EUR").amount)
    with pytest.raises(StatementDoesNotAddUp):
        list(statements.rows(october_of(ada)))
    assert statement.count == 3


def test_a_name_in_any_script_and_a_very_large_amount_stand_on_the_paper(shop: Shop) -> None:
    [seller] = new_sellers(shop, "Жанна Łukasiewicz 北京书店")
    sold(seller, "987654321012.34", at="2026-10-03T10:00:00")
    paper = text_of(statement_pdf.written(october_of(seller), now=DECEMBER))
    assert "Жанна Łukasiewicz BeiJing" in paper
    assert "987,654,321,012.34" in paper


# --- Fee invoices ---------------------------------------------------------------------------------------------------


def taxed(shop: Shop, *sellers: Seller, basis_points: int = 1900, **terms: bool) -> None:
    Seller.objects.filter(pk__in=[seller.pk for seller in sellers]).update(country="DE", tax_id="DE123456789")
    TaxRate.objects.create(shop=shop, country="DE", basis_points=basis_points, since=Month(2026, 1).first_day, **terms)


def issue(shop: Shop, month: Month = OCTOBER) -> int:
    return invoices.issue_month(shop, month, now=DECEMBER, by="test")


def broken() -> list[str]:
    return [
        found.invariant
        for name in invariants.CHECKS
        if name[:6] in ("INV-01", "INV-03", "INV-19") and (found := invariants.violation_of(name))
    ]


def test_fees_of_a_month_are_invoiced_once_with_the_tax_in_them_and_the_tax_is_booked(shop: Shop, ada: Seller) -> None:
    autumn(ada)
    [bolt] = new_sellers(shop, "Bolt Bikes")
    sold(bolt, "33.30", at="2026-10-10T10:00:00")
    taxed(shop, ada)
    assert (issue(shop), issue(shop)) == (2, 0)
    mine, other = FeeInvoice.objects.order_by("sequence")
    assert (mine.number, mine.gross, mine.tax, mine.net) == ("INV-2026-000001", eur("11.00"), eur("1.76"), eur("9.24"))
    assert [(line.kind, line.count, line.gross, line.tax) for line in mine.lines.order_by("position")] == [
        ("sale", 2, eur("12.00"), eur("1.92")),
        ("refund", 1, eur("-1.00"), eur("-0.16")),
    ]
    assert (other.number, other.seller, other.gross, other.tax) == ("INV-2026-000002", bolt, eur("3.33"), eur("0.00"))
    entry = JournalEntry.objects.get(kind="fee_invoice")
    assert (entry.reference, entry.memo, months.of(entry.effective_at)) == (mine.public_id, mine.number, OCTOBER)
    legs = [(leg.account.code, leg.amount) for leg in entry.postings.select_related("account").order_by("line")]
    assert legs == [("fee_revenue", eur("1.76")), ("tax_payable", eur("-1.76"))]
    assert broken() == []


def test_the_lines_share_the_tax_as_every_share_is_split(shop: Shop, ada: Seller) -> None:
    orders = sold(ada, "0.33", "0.37", at="2026-10-03T10:00:00")
    give_back(orders[0], "0.10")
    happened("2026-10-03T11:00:00")
    taxed(shop, ada, basis_points=700)
    issue(shop)
    invoice = FeeInvoice.objects.get()
    assert split(abs(invoice.gross), [700, 10_000])[0] == invoice.tax
    lines = list(invoice.lines.all())
    assert (sum(line.tax.amount for line in lines), sum(line.net.amount for line in lines)) == (invoice.tax.amount, invoice.net.amount)
    assert broken() == []


def test_a_month_that_gave_more_back_than_it_charged_is_a_credit_note_with_numbers_of_its_own(shop: Shop, ada: Seller) -> None:
    [order] = sold(ada, "100.00", at="2026-09-10T10:00:00")
    give_back(order, "60.00")
    happened("2026-10-10T10:00:00")
    taxed(shop, ada)
    assert (issue(shop, Month(2026, 9)), issue(shop)) == (1, 1)
    note = FeeInvoice.objects.get(period="2026-10")
    assert (note.number, note.gross, note.tax) == ("CN-2026-000001", eur("-6.00"), eur("-0.96"))
    debit = JournalEntry.objects.get(reference=note.public_id).postings.select_related("account").order_by("line")[0]
    assert (debit.account.code, debit.amount) == ("tax_payable", eur("0.96"))
    assert broken() == []


def test_reverse_charge_shows_no_tax_and_books_nothing(shop: Shop, ada: Seller) -> None:
    autumn(ada)
    taxed(shop, ada, basis_points=0, reverse_charge=True)
    issue(shop)
    paper = text_of(invoice_pdf.written(FeeInvoice.objects.get()))
    assert "Reverse charge" in paper
    assert "DE123456789" in paper
    assert not JournalEntry.objects.filter(kind="fee_invoice").exists()
    assert broken() == []


def test_a_correction_is_a_credit_note_that_names_the_invoice_and_an_invoice_in_its_place(shop: Shop, ada: Seller) -> None:
    autumn(ada)
    issue(shop)
    taxed(shop, ada)
    call_command("correct_fee_invoice", shop=shop.name, number="INV-2026-000001", actor="zoe", reason="The tax was missing")
    old, note, new = FeeInvoice.objects.order_by("pk")
    assert (old.tax, note.corrects, note.reason, new.version) == (eur("0.00"), old, "The tax was missing", 2)
    next_number = 2 if new.year == old.year else 1  # the command corrects today, and each year's numbers begin anew
    assert [(each.year, each.sequence) for each in (old, note, new)] == [(2026, 1), (new.year, 1), (new.year, next_number)]
    assert (note.gross, new.gross, new.tax) == (eur("-11.00"), eur("11.00"), eur("1.76"))
    assert "Takes back INV-2026-000001: The tax was missing" in text_of(invoice_pdf.written(note))
    for wrong in (old.number, note.number):
        with pytest.raises(CommandError):
            call_command("correct_fee_invoice", shop=shop.name, number=wrong, actor="zoe", reason="Once more")
    assert issue(shop) == 0
    assert broken() == []


def test_an_invoice_stays_as_it_was_issued(shop: Shop, ada: Seller) -> None:
    autumn(ada)
    issue(shop)
    for change in (
        "UPDATE wallet_feeinvoice SET reason = 'x'",
        "DELETE FROM wallet_feeinvoiceline",
        "UPDATE wallet_invoiceseries SET last = 0",
        "DELETE FROM wallet_invoiceseries",
    ):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
    Seller.objects.filter(pk=ada.pk).update(name="Another")
    assert "Ada's Books" in text_of(invoice_pdf.written(FeeInvoice.objects.get()))


def test_a_month_that_is_not_over_is_not_invoiced_and_a_rollback_loses_no_number(
    shop: Shop, ada: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    autumn(ada)
    with pytest.raises(PeriodNotOver):
        invoices.issue_month(shop, OCTOBER, now=OCTOBER.until + timedelta(minutes=9), by="test")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(invoices, "post_tax", lambda *_args, **_terms: 1 / 0)
        issue(shop)
    assert (FeeInvoice.objects.count(), issue(shop)) == (0, 1)
    assert FeeInvoice.objects.get().number == "INV-2026-000001"


def test_every_night_the_month_before_is_invoiced_to_whoever_is_not_invoiced_yet(shop: Shop, ada: Seller) -> None:
    month = months.of(timezone.now()).previous
    sold(ada, "10.00", at=month.since)
    call_command("issue_fee_invoices", shop=shop.name, period=str(month))
    tasks.issue_fee_invoices()
    assert FeeInvoice.objects.count() == (1 if month.is_over(timezone.now()) else 0)


def test_months_that_were_missed_are_made_up_for_and_a_shop_that_fails_keeps_no_other_waiting(
    shop: Shop, ada: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoe = new_sellers(Shop.objects.get(pk=new_shop("Southwind").pk), "Zoe")[0]
    for month in (OCTOBER, Month(2026, 11)):
        for seller in (ada, zoe):
            sold(seller, "10.00", at=month.since)
    Shop.objects.update(created_at=OCTOBER.since)
    plain = invoices.issue_month

    def failing(shop: Shop, month: Month, **said: Any) -> int:
        if (shop, month) == (ada.shop, OCTOBER):
            raise DatabaseError
        return plain(shop, month, **said)

    with monkeypatch.context() as patch:
        patch.setattr(invoices, "issue_month", failing)
        assert invoices.issue_due(now=DECEMBER, by="machine") == 2
    assert not FeeInvoice.objects.filter(shop=shop).exists(), "its November waits for its October"
    assert [invoices.issue_due(now=DECEMBER, by="machine") for _twice in range(2)] == [2, 0]
    issued = FeeInvoice.objects.filter(shop=shop).order_by("sequence")
    assert list(issued.values_list("period", flat=True)) == ["2026-10", "2026-11"]


def test_no_month_is_left_behind_by_whoever_invoices_a_later_one_by_hand(shop: Shop, ada: Seller) -> None:
    for month in (OCTOBER, Month(2026, 11)):
        sold(ada, "10.00", at=month.since)
    Shop.objects.update(created_at=OCTOBER.since)
    assert invoices.issue_until(Shop.objects.get(), Month(2026, 11), now=DECEMBER, by="shell:eve") == 2
    assert list(FeeInvoice.objects.order_by("sequence").values_list("period", flat=True)) == ["2026-10", "2026-11"]


def test_no_more_than_twelve_months_are_made_up_for_at_once_and_none_is_left_behind(shop: Shop, ada: Seller) -> None:
    Shop.objects.update(created_at=DECEMBER - timedelta(days=3650))
    old = Shop.objects.get()
    assert invoices.months_due(old, now=DECEMBER) == [Month(2026, 11)]
    for month in (Month(2024, 6), Month(2026, 11)):
        sold(ada, "10.00", at=month.since)
    due = invoices.months_due(old, now=DECEMBER)
    assert (due[0], due[-1], len(due)) == (Month(2024, 6), Month(2025, 5), 12)
    assert invoices.issue_until(old, Month(2026, 11), now=DECEMBER, by="shell:eve") == 2


@pytest.mark.race
def test_issued_twice_at_once_each_seller_has_one_invoice_and_the_numbers_no_gap(real_db: None) -> None:
    shop = new_shop()
    for seller in new_sellers(shop, "Ada", "Bolt", "Cleo"):
        sell(seller, "10.00")
    happened(OCTOBER.since)
    failed: list[BaseException] = []

    def issue_and_close() -> None:
        try:
            issue(shop)
        except BaseException as error:  # noqa: BLE001 - it is told below
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=issue_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(FeeInvoice.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3]
    assert broken() == []


# --- The seller's pages ---------------------------------------------------------------------------------------------


def test_a_seller_finds_statements_and_invoices_and_nobody_elses(shop: Shop, ada: Seller, login: Callable[[Seller], Client]) -> None:
    month = months.of(timezone.now() - timedelta(minutes=11)).previous
    [bolt] = new_sellers(shop, "Bolt Bikes")
    for seller in (ada, bolt):
        sold(seller, "100.00", at=month.since)
    invoices.issue_month(shop, month, now=timezone.now(), by="test")
    mine, others = (FeeInvoice.objects.get(seller=seller) for seller in (ada, bolt))
    browser = login(ada)
    listed = words(browser.get(f"/seller/documents?year={month.year}").content)
    assert f"Invoice {mine.number}" in listed
    assert others.number not in listed
    page = words(browser.get(f"/seller/documents/EUR/{month}").content)
    assert "Sale × 1 90.00 EUR" in page
    assert page.count("90.00 EUR") >= 2
    begins = {"pdf": b"%PDF-", "csv": b"date,kind,", "camt053": b"<?xml"}
    for form in files.OF_STATEMENTS:
        assert content_of(browser.get(f"/seller/documents/EUR/{month}/{form}")).startswith(begins[form])
    assert content_of(browser.get(f"/seller/invoices/{mine.number}/pdf")).startswith(b"%PDF-")
    missing = (f"invoices/{others.number}/pdf", "documents/EUR/1999-01", "documents/JPY/2026-10", f"documents/EUR/{month}/doc")
    assert [browser.get(f"/seller/{path}").status_code for path in missing] == [404] * 4


def test_before_the_first_sale_there_are_no_documents_and_it_says_what_will_be(ada: Seller, login: Callable[[Seller], Client]) -> None:
    assert "No documents yet" in words(login(ada).get("/seller/documents").content)
    assert not WalletEntry.objects.exists()
