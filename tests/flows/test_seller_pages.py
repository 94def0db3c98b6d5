"""The seller's web UI: who sees what, what the figures say, and that every movement leads to its order."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger.money import exact, zero
from payments import confirmation, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentOrder, PspAttempt
from payments.settlement import Capture
from tests.factories import basket, new_sellers, new_shop
from wallet import balances, queries, sheets
from wallet.models import Seller, Shop, Wallet, WalletEntry
from wallet.queries import Wanted

pytestmark = pytest.mark.django_db
PASSWORD = "as-long-as-it-is-calm"
NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_failures_remembered() -> None:
    cache.clear()


@pytest.fixture
def shop() -> Shop:
    return new_shop()


@pytest.fixture
def ada(shop: Shop) -> Seller:
    return new_sellers(shop, "Ada's Books")[0]


@pytest.fixture
def login() -> Callable[..., Client]:
    """Return a browser in which somebody who acts for these sellers is logged in."""

    def log_in(*sellers: Seller, name: str = "ada") -> Client:
        user = User.objects.create_user(name, password=PASSWORD)
        for seller in sellers:
            seller.users.add(user)
        browser = Client(headers={"accept-language": "en"})
        browser.force_login(user)
        return browser

    return log_in


def sell(seller: Seller, *amounts: str, currency: str = "EUR") -> list[PaymentOrder]:
    """Let a buyer pay these orders of the seller, in one basket."""
    event, _is_new = intake.open_event(seller.shop, basket([seller], *amounts, currency=currency), now=NOW)
    orders = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount), now=NOW)
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    settlement.settle(
        [Capture(a.order_id, a.pk, a.psp_key, f"ch_{a.pk}", order.amount, NOW) for order, a in zip(orders, attempts, strict=True)]
    )
    return orders


def give_back(order: PaymentOrder, amount: str) -> str:
    refund = refunds.request_refund(order.pk, amount=exact(amount, order.amount.currency.code), reason="Damaged", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    return refund.public_id


def add_movements(seller: Seller, *moments: datetime, currency: str = "EUR") -> None:
    """Put sales of a given time into the wallet, without the payments behind them."""
    wallet = Wallet.objects.get(seller=seller, currency=currency)
    nothing, five = zero(currency), exact("5", currency)
    WalletEntry.objects.bulk_create(
        WalletEntry(
            wallet=wallet, kind="sale", source=f"ord_{index:032x}", journal_entry_id=WalletEntry.objects.values_list("journal_entry_id", flat=True)[0],
            gross=five, fee=nothing, net=five, pending=five, available=nothing, reserved=nothing, created_at=moment,
        )
        for index, moment in enumerate(moments)
    )  # fmt: skip


def file_of(answer: HttpResponseBase) -> str:
    """Return what was streamed."""
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(cast(Iterator[bytes], answer.streaming_content)).decode()


def words(html: bytes) -> str:
    """Return what a reader sees: no tags, no-break spaces as spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode().replace("\xa0", " "))).replace("&#x27;", "'")


# --- What stands ----------------------------------------------------------------------------------------------------


def test_a_seller_sees_what_stands_in_each_currency_and_what_it_means(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "100.00", "20.00")
    sell(ada, "1500", currency="JPY")
    seen = words(login(ada).get("/seller/").content)
    assert "Pending 108.00 EUR Paid by buyers and yours, but not yet free to be paid out." in seen
    assert "Pending 1,350 JPY" in seen
    assert "Available 0.00 EUR" in seen


def test_an_empty_wallet_of_another_currency_is_not_shown(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "100.00")
    balances_of = Wallet.objects.filter(seller=ada)
    intake.open_event(ada.shop, basket([ada], "5", currency="JPY"), now=NOW)
    assert balances_of.count() == 2
    assert "JPY" not in words(login(ada).get("/seller/").content)


def test_who_has_sold_nothing_yet_is_told_what_will_stand_there(ada: Seller, login: Callable[..., Client]) -> None:
    seen = words(login(ada).get("/seller/").content)
    assert "No sales yet" in seen
    assert "Give us your bank account Then you are paid as soon as your first sale is delivered." in seen
    assert "0.00" not in seen


def test_fees_and_refunds_carry_their_sign_and_add_up(ada: Seller, login: Callable[..., Client]) -> None:
    [order] = sell(ada, "100.00")
    give_back(order, "30.00")
    seen = words(login(ada).get("/seller/movements").content)
    assert "100.00 EUR −10.00 EUR 90.00 EUR" in seen
    assert "−30.00 EUR 3.00 EUR −27.00 EUR" in seen


def test_a_german_reader_gets_german_words_and_figures(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "1234567.80")
    browser = login(ada)
    browser.post("/seller/language", {"language": "de", "next": "/seller/"})
    seen = words(browser.get("/seller/").content)
    assert "1.111.111,02 EUR" in seen
    assert "Gebühr" in seen


# --- Movements ------------------------------------------------------------------------------------------------------


def test_movements_are_leafed_through_newest_first_and_back(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, *["5.00"] * 120)
    ids = list(WalletEntry.objects.order_by("-id").values_list("id", flat=True))
    wallets = queries.wallets_of(ada)
    first = queries.page(wallets, Wanted())
    second = queries.page(wallets, Wanted(), older_than=first.older_than)
    third = queries.page(wallets, Wanted(), older_than=second.older_than)
    assert [row.pk for page in (first, second, third) for row in page.movements] == ids
    assert (first.newer_than, third.older_than) == (None, None)
    assert [row.pk for row in queries.page(wallets, Wanted(), newer_than=third.newer_than).movements] == ids[50:100]
    assert [row.pk for row in queries.page(wallets, Wanted(), newer_than=second.newer_than).movements] == ids[:50]


def test_a_page_neither_counts_nor_skips_and_costs_the_same_however_many_there_are(ada: Seller, login: Callable[..., Client]) -> None:
    browser = login(ada)
    sell(ada, "5.00")
    with CaptureQueriesContext(connection) as few:
        browser.get("/seller/movements")
    sell(ada, *["5.00"] * 70)
    with CaptureQueriesContext(connection) as many:
        browser.get("/seller/movements")
    assert len(few) == len(many)
    assert not [query for query in many.captured_queries if "COUNT(" in query["sql"] or "OFFSET" in query["sql"]]


def test_movements_of_several_currencies_stand_in_one_list(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "5.00", "6.00")
    sell(ada, "500", currency="JPY")
    sell(ada, "7.00")
    wallets = queries.wallets_of(ada)
    assert [str(row.net.currency) for row in queries.page(wallets, Wanted()).movements] == ["EUR", "JPY", "EUR", "EUR"]
    assert len(queries.page(wallets, Wanted(currency="JPY")).movements) == 1


def test_a_filter_by_kind_currency_and_days_stands_in_the_address(ada: Seller, login: Callable[..., Client]) -> None:
    [order] = sell(ada, "100.00")
    give_back(order, "30.00")
    browser = login(ada)
    today = timezone.localdate()
    shown = browser.get(f"/seller/movements?kind=refund&currency=EUR&since={today}&until={today}").context["page"].movements
    assert [row.kind for row in shown] == ["refund"]
    assert browser.get(f"/seller/movements?since={today + timedelta(days=1)}").context["page"].movements == []


def test_days_are_counted_in_whole_and_found_among_many(ada: Seller) -> None:
    sell(ada, "5.00")
    begin = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    add_movements(ada, *(begin + timedelta(hours=6 * step) for step in range(400)))
    day = (begin + timedelta(days=50)).date()
    found = queries.page(queries.wallets_of(ada), Wanted(since=day, until=day)).movements
    assert [row.created_at.hour for row in found] == [18, 12, 6, 0]
    assert {row.created_at.date() for row in found} == {day}


@pytest.mark.parametrize(
    "query",
    ["since=2026-13-45", "since=0001-01-01", "until=9999-12-31", "currency=XXX", "kind=theft", "older_than=abc", "older_than=-1",
     f"newer_than={2**64}", "since=2026-02-02&until=2026-02-01"],
)  # fmt: skip
def test_a_filter_that_is_not_right_is_said_to_be_so(query: str, ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "5.00")
    answer = login(ada).get(f"/seller/movements?{query}")
    assert answer.status_code == 400
    assert "is not right" in words(answer.content)


# --- The file -------------------------------------------------------------------------------------------------------


def test_the_file_has_all_movements_and_its_columns_add_up(
    ada: Seller, login: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOVEMENTS_IN_A_CHUNK", 7)
    [first, *_others] = sell(ada, *["100.00"] * 30)
    give_back(first, "30.00")
    answer = login(ada).get("/seller/movements.csv")
    rows = list(csv.DictReader(io.StringIO(file_of(answer))))
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="movements-')
    assert len(rows) == 31
    assert all(exact(row["gross"], "EUR") + exact(row["fee"], "EUR") == exact(row["net"], "EUR") for row in rows)
    assert (rows[0]["kind"], rows[0]["gross"], rows[0]["fee"], rows[0]["net"]) == ("refund", "-30.00", "3.00", "-27.00")


def test_no_cell_of_the_file_is_taken_for_a_formula(ada: Seller, login: Callable[..., Client]) -> None:
    sell(ada, "5.00")
    entry = WalletEntry.objects.get()
    movement = balances.Movement(ada.pk, entry.journal_entry_id, '=HYPERLINK("https://evil.example")', entry.gross, entry.fee, entry.net)
    balances.credit([movement])
    text = file_of(login(ada).get("/seller/movements.csv"))
    assert "'=HYPERLINK" in text
    assert [sheets.harmless(cell)[0] for cell in ("=1", "+1", "-1", "@a", "\ta", "\ra")] == ["'"] * 6
    assert sheets.harmless("ord_1") == "ord_1"


# --- One order ------------------------------------------------------------------------------------------------------


def test_a_movement_leads_to_its_order_which_reads_as_a_sum(ada: Seller, login: Callable[..., Client]) -> None:
    [order] = sell(ada, "100.00")
    refund = give_back(order, "30.00")
    browser = login(ada)
    seen = words(browser.get(f"/seller/orders/{order.public_id}").content)
    order.refresh_from_db()
    assert "The buyer paid 100.00 EUR Our fee −10.00 EUR Yours 90.00 EUR" in seen
    assert "Yours after refunds 63.00 EUR" in seen
    assert f"je_{order.journal_entry_id}" in seen
    assert browser.get(f"/seller/orders/{refund}").headers["Location"] == f"/seller/orders/{order.public_id}"


def test_the_page_of_an_order_says_nothing_of_the_buyer(ada: Seller, login: Callable[..., Client]) -> None:
    terms = basket([ada], "5.00", buyer_reference="buyer-77", buyer_name="Rosa Martín", buyer_email="rosa@example.com")
    event, _is_new = intake.open_event(ada.shop, terms, now=NOW)
    html = login(ada).get(f"/seller/orders/{event.orders.get().public_id}").content.decode()
    assert "The buyer has not paid yet." in html
    assert not [secret for secret in ("Rosa", "rosa@", "buyer-77", event.token) if secret in html]


def test_another_sellers_order_is_not_found(shop: Shop, ada: Seller, login: Callable[..., Client]) -> None:
    [bolt] = new_sellers(shop, "Bolt Bikes")
    [theirs] = sell(bolt, "100.00")
    refund = give_back(theirs, "1.00")
    browser = login(ada)
    for public_id in (theirs.public_id, refund, "ord_nobody", "re_nobody"):
        assert browser.get(f"/seller/orders/{public_id}").status_code == 404


# --- Who may come in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/seller/", "/seller/movements", "/seller/movements.csv", "/seller/orders/ord_1"])
def test_nobody_sees_a_page_without_logging_in(path: str, client: Client) -> None:
    assert client.get(path).headers["Location"] == f"/seller/login?next={path}"


def test_a_login_without_a_seller_is_told_so(login: Callable[..., Client]) -> None:
    answer = login().get("/seller/")
    assert answer.status_code == 403
    assert "does not belong to a seller yet" in words(answer.content)


def test_who_acts_for_several_sellers_looks_at_one_at_a_time(shop: Shop, ada: Seller, login: Callable[..., Client]) -> None:
    bolt, cleo = new_sellers(shop, "Bolt Bikes", "Cleo Ceramics")
    sell(ada, "100.00")
    browser = login(ada, bolt)
    assert "90.00 EUR" in words(browser.get("/seller/").content)
    browser.post("/seller/switch", {"seller": bolt.public_id})
    assert "No sales yet" in words(browser.get("/seller/").content)
    assert browser.post("/seller/switch", {"seller": cleo.public_id}).status_code == 404
    assert browser.post("/seller/switch", {"seller": "\0"}).status_code == 404


def test_logging_in_leads_to_the_page_that_was_asked_for(ada: Seller, client: Client) -> None:
    ada.users.add(User.objects.create_user("ada", password=PASSWORD))
    answer = client.post("/seller/login", {"username": "ada", "password": PASSWORD, "next": "/seller/movements"})
    assert answer.headers["Location"] == "/seller/movements"
    elsewhere = Client().post("/seller/login", {"username": "ada", "password": PASSWORD, "next": "https://evil.example/"})
    assert elsewhere.headers["Location"] == "/seller/"


def test_logging_out_takes_a_button_not_a_link(ada: Seller, login: Callable[..., Client]) -> None:
    browser = login(ada)
    assert browser.get("/seller/logout").status_code == 405
    assert browser.post("/seller/logout").status_code == 302
    assert browser.get("/seller/").status_code == 302


def wrong(browser: Client, username: str, address: str) -> int:
    return browser.post("/seller/login", {"username": username, "password": "no"}, REMOTE_ADDR=address).status_code


def test_ten_wrong_tries_for_one_user_close_the_door_even_to_the_right_password(client: Client) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    assert {wrong(client, "ada", f"10.0.0.{place}") for place in range(10)} == {200}
    answer = client.post(
        "/seller/login",
        {"username": "ada", "password": PASSWORD},
        REMOTE_ADDR="10.0.0.99",
        headers={"accept-language": "en"},
    )
    assert answer.status_code == 429
    assert "Too many wrong tries." in words(answer.content)


def test_ten_wrong_tries_from_one_address_close_it_for_every_user_and_nobody_elses(client: Client) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    for place in range(10):
        wrong(client, f"guess-{place}", "10.0.0.1")
    right = {"username": "ada", "password": PASSWORD}
    assert client.post("/seller/login", right, REMOTE_ADDR="10.0.0.1").status_code == 429
    assert client.post("/seller/login", right, REMOTE_ADDR="10.0.0.2").status_code == 302


def test_a_right_password_forgets_the_wrong_ones_before_it(client: Client) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    for place in range(9):
        wrong(client, "ada", f"10.0.0.{place}")
    assert client.post("/seller/login", {"username": "ada", "password": PASSWORD}).status_code == 302
    client.post("/seller/logout")
    assert wrong(client, "ada", "10.0.1.1") == 200


def test_behind_our_proxy_the_address_is_what_the_proxy_wrote_last(client: Client, settings: object) -> None:
    settings.HTTPS = True  # type: ignore[attr-defined]
    for place in range(10):
        forged = {"X-Forwarded-For": f"1.1.1.{place}, 10.0.0.7"}
        client.post("/seller/login", {"username": f"guess-{place}", "password": "no"}, headers=forged)
    answer = client.post("/seller/login", {"username": "x", "password": "no"}, headers={"X-Forwarded-For": "9.9.9.9, 10.0.0.7"})
    assert answer.status_code == 429


def test_the_pages_have_no_inline_script_or_style(ada: Seller, login: Callable[..., Client]) -> None:
    [order] = sell(ada, "100.00")
    browser = login(ada)
    for path in ("/seller/", "/seller/movements", f"/seller/orders/{order.public_id}"):
        answer = browser.get(path)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "no-store" in answer.headers["Cache-Control"]
        assert not re.search(rb"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", answer.content)
