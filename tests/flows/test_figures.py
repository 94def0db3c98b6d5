"""The figures for finance and management: a small story counted by hand, as a page, as files, and down to the rows behind them."""

import csv
import html
import io
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ledger import chart
from ledger.templatetags.written import digits
from payments import confirmation, disputes, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentEvent, PaymentOrder, PspAttempt
from payments.psp.protocol import DisputeNotice
from payments.settlement import Capture, Failure
from reconciliation import figure_tables, ingestion, invariants, matching, reports
from reconciliation.reports import Asked, By, DeclinesBy, Sales, TookTooLong
from tests.factories import basket, eur, make_available, new_sellers, new_shop
from tests.flows.test_admin import words
from tests.settlement_files import batch_of
from wallet.models import Seller

pytestmark = pytest.mark.django_db
PAGE = "/admin/reconciliation/figures/"
ENDED = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(20)"  # as Postgres ends a statement whose time is up


@pytest.fixture
def asked() -> Asked:
    """Ask for yesterday, today and tomorrow: a test may begin before midnight and end after it."""
    today = timezone.now().date()
    return Asked(today - timedelta(days=1), today + timedelta(days=1), "EUR")


@pytest.fixture
def browser() -> Client:
    return logged_in(User.objects.create_superuser("finance"))


def logged_in(user: User) -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def get(browser: Client, asked: Asked, **more: str) -> Any:
    days = {"since": asked.first_day.isoformat(), "until": asked.last_day.isoformat()}
    return browser.get(PAGE, days | {"currency": asked.currency} | more)


def opened(sellers: Sequence[Seller], *amounts: str, currency: str = "EUR") -> PaymentEvent:
    event, _is_new = intake.open_event(sellers[0].shop, basket(sellers, *amounts, currency=currency), now=timezone.now())
    return event


CARDS = {"visa": ("card", "debit", "DE"), "mastercard": ("card", "prepaid", "FR")}


def charged(event: PaymentEvent, card: str) -> list[PspAttempt]:
    """Let the buyer confirm with this card, and call the PSP."""
    event.refresh_from_db()
    tried = Confirmed(f"cs_{event.pk}_{card}", f"tok_{event.pk}_{card}", event.amount, card, "4242", *CARDS[card])
    orders = confirmation.confirm(event.pk, tried, now=timezone.now())
    return [
        PspAttempt.objects.create(order=order, number=order.confirmations, psp="sandbox", psp_key=order.due.psp_key) for order in orders
    ]


def paid(event: PaymentEvent, card: str = "visa") -> list[PaymentOrder]:
    captures = [
        Capture(one.order_id, one.pk, one.psp_key, f"ch_{one.pk}", one.order.amount, timezone.now()) for one in charged(event, card)
    ]
    settlement.settle(captures)
    return list(event.orders.order_by("pk"))


def declined(event: PaymentEvent, code: str, card: str = "visa") -> None:
    settlement.fail([Failure(one.order_id, one.pk, one.psp_key, "", code, "") for one in charged(event, card)])


@pytest.fixture
def story() -> Any:
    """Sell for 200.00 EUR: 25.00 are given back, 40.00 are disputed, 30.00 are declined for good, and 5.00 nobody tried to pay.

    The fee is a tenth.  The PSP has settled the three charges, and asks 0.30 for each.
    """
    ada, bolt = new_sellers(new_shop(), "Ada", "Bolt")
    Seller.objects.filter(pk=ada.pk).update(country="DE")
    now = timezone.now()
    of_ada, of_bolt = paid(opened([ada, bolt], "100.00", "40.00"))
    second = opened([ada], "60.00")
    declined(second, "insufficient_funds")
    [of_ada_too] = paid(second, "mastercard")
    declined(opened([bolt], "30.00"), "card_declined")
    opened([ada], "5.00")
    paid(opened([ada], "500", currency="JPY"))
    refund = refunds.request_refund(of_ada.pk, amount=eur("25.00"), reason="", now=now)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=now)
    charge, none = f"ch_{of_bolt.attempts.get().pk}", eur("0")
    key = of_bolt.public_id
    notice = DisputeNotice("dp_1", key, key, charge, "open", eur("40.00"), eur("15.00"), none, "fraudulent", now, now, now)
    disputes.open_dispute(notice, psp="sandbox")
    make_available(ada, eur("80.00"))
    lines = [
        ("charge", f"ch_{one.pk}", one.psp_key, str(one.order.amount.amount), "0.30")
        for one in PspAttempt.objects.filter(status="SUCCEEDED", order__in=[of_ada, of_bolt, of_ada_too]).select_related("order")
    ]
    body = batch_of(*lines, day=(now.date() - timedelta(days=1)).isoformat())
    file, _is_new = ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="folder", now=now)
    assert ingestion.stage(file.pk, now=now).error == ""
    assert matching.match_waiting(now=now) == 1
    PaymentOrder.objects.filter(pk__in=[of_ada.pk, of_bolt.pk]).update(settled_at=F("created_at") + timedelta(days=3))
    PaymentOrder.objects.filter(pk=of_ada_too.pk).update(settled_at=F("created_at") + timedelta(days=6))
    yield
    assert invariants.violations() == []


def counted(group: Sales) -> tuple[Any, ...]:
    return group.key, group.opened, group.paid, group.failed, group.volume, group.fees, group.refunded, group.disputed


@pytest.mark.usefixtures("story")
def test_every_figure_is_the_one_counted_by_hand(asked: Asked) -> None:
    sold, none = reports.sales(asked), eur("0")
    [total] = sold[By.ALL]
    assert counted(total) == ("", 5, 3, 1, eur("200.00"), eur("20.00"), eur("25.00"), eur("40.00"))
    rates = (total.success_rate, total.take_rate, total.refund_rate, total.dispute_rate, total.settled_after)
    assert [str(rate.normalize()) for rate in rates if rate is not None] == ["0.75", "0.1", "0.125", "0.2", "4"]
    assert (total.settled, total.within) == (3, [0, 0, 2, 3])
    assert [str(rate) for rate in total.settled_rates] == ["0.0000", "0.0000", "0.6667", "1.0000"]
    assert [counted(group)[1:] for group in sold[By.DAY] + sold[By.PSP]] == [counted(total)[1:]] * 2
    assert [counted(group) for group in sold[By.CARD]] == [
        ("visa", 3, 2, 1, eur("140.00"), eur("14.00"), eur("25.00"), eur("40.00")),
        ("mastercard", 1, 1, 0, eur("60.00"), eur("6.00"), none, none),
        ("", 1, 0, 0, none, none, none, none),
    ]
    assert [counted(group) for group in sold[By.COUNTRY]] == [
        ("DE", 3, 2, 0, eur("160.00"), eur("16.00"), eur("25.00"), none),
        ("", 2, 1, 1, eur("40.00"), eur("4.00"), none, eur("40.00")),
    ]
    assert sum(volume.amount for volume in reports.volume_by_day(asked, sold[By.DAY])) == 200
    assert [counted(group) for group in sold[By.METHOD]] == [
        ("card debit", *counted(sold[By.CARD][0])[1:]),
        ("card prepaid", *counted(sold[By.CARD][1])[1:]),
        ("", *counted(sold[By.CARD][2])[1:]),
    ]
    assert [(group.key, group.opened, group.volume) for group in sold[By.CARD_COUNTRY]] == [
        ("DE", 3, eur("140.00")), ("FR", 1, eur("60.00")), ("", 1, none)
    ]  # fmt: skip
    declined = reports.declines(asked)
    assert [(one.reason, one.calls, one.orders, one.amount, one.paid_after_all) for one in declined[DeclinesBy.NOTHING]] == [
        ("card_declined", 1, 1, eur("30.00"), 0),
        ("insufficient_funds", 1, 1, eur("60.00"), 1),
    ]
    assert {by: [(one.reason, one.key) for one in declined[by]] for by in (DeclinesBy.PSP, DeclinesBy.CARD_COUNTRY)} == {
        DeclinesBy.PSP: [("card_declined", "sandbox"), ("insufficient_funds", "sandbox")],
        DeclinesBy.CARD_COUNTRY: [("card_declined", "DE"), ("insufficient_funds", "FR")],
    }
    assert [(one.psp, one.entries, one.fees) for one in reports.psp_fees(asked)] == [("sandbox", 1, eur("0.90"))]
    results = reports.profit_and_loss(asked)
    assert {one.kind: one.amount for one in results} == {
        "fee_revenue": eur("17.50"), "dispute_costs": eur("15.00"), "psp_fees": eur("0.90")
    }  # fmt: skip
    assert reports.profit(results, "EUR") == eur("1.60")
    lines = reports.trial_balance(asked)
    assert sum(line.debits.amount for line in lines) == sum(line.credits.amount for line in lines) > 0
    assert dict(reports.cash_position(lines)) == {
        "operating_bank": eur("80.00"), "bank_in_transit": eur("199.10"), "psp_receivable": eur("-80.00")
    }  # fmt: skip


@pytest.mark.usefixtures("story")
def test_what_we_owe_is_what_stands_in_the_wallets_and_grows_old(asked: Asked) -> None:
    now = timezone.now()
    owed = reports.payables("EUR", now=now)
    assert (owed.pending.sellers, owed.pending.amount) == (1, eur("121.50"))
    assert (owed.available.sellers, owed.available.amount) == (1, eur("80.00"))
    assert (owed.reserved.sellers, owed.reserved.amount) == (1, eur("40.00"))
    assert (owed.overdrawn.sellers, owed.overdrawn.amount) == (1, eur("-4.00"))
    for days, age in ((0, 0), (7, 1), (30, 2), (90, 3)):
        by_age = reports.payables("EUR", now=now + timedelta(days=days, hours=1)).by_age
        assert [str(each.amount) for each in by_age] == ["80.00" if place == age else "0.00" for place in range(4)], days


@pytest.mark.usefixtures("story")
def test_other_days_and_other_currencies_are_not_counted(asked: Asked) -> None:
    before = Asked(asked.first_day - timedelta(days=9), asked.first_day - timedelta(days=1), "EUR")
    assert [group.opened for group in reports.sales(before)[By.ALL]] == [0]
    assert (dict(reports.declines(before)), reports.psp_fees(before), reports.profit_and_loss(before)) == ({}, [], [])
    assert reports.trial_balance(before) == []
    yen = Asked(asked.first_day, asked.last_day, "JPY")
    assert [str(group.volume.amount) for group in reports.sales(yen)[By.ALL]] == ["500"]
    assert dict(reports.declines(yen)) == {}


@pytest.mark.usefixtures("story")
def test_each_figure_leads_to_as_many_rows_as_it_says(asked: Asked, browser: Client) -> None:
    answer = get(browser, asked)
    assert "200.00 EUR on 3 days. The best one was" in words(answer.content).replace("\N{NO-BREAK SPACE}", " ")
    links = re.findall(
        r'class="number" data-title="(?:Orders|Paid|Paid to us|Not yet|Charges|Entries|Sellers)"><a href="([^"]+)">(\d+)</a>',
        answer.content.decode(),
    )
    assert len(links) == 42
    for address, number in links:
        listed = browser.get(html.unescape(address)).context
        assert (listed["shown"].total.count if "/explain/" in address else len(listed["cl"].result_list)) == int(number), address


@pytest.mark.usefixtures("story")
def test_each_amount_leads_to_rows_that_come_to_it(asked: Asked, browser: Client) -> None:
    page = get(browser, asked).content.decode()
    links = re.findall(r'class="number" data-title="([^"]+)"><a href="([^"]+/explain/[^"]+)">([^<]+)</a>', page)
    assert {title for title, _address, _figure in links} >= {
        "Volume", "Our fees", "Refunded", "Disputed", "Amount of the orders", "Paid after all", "Fees", "Amount", "Debits", "Credits", "Balance"
    }  # fmt: skip
    pages = {address: browser.get(html.unescape(address)).context for address in {address for _title, address, _figure in links}}
    for title, address, figure in links:
        shown = pages[address]
        there = [digits(money).lstrip("\N{MINUS SIGN}") for money in shown["shown"].total.sums]
        assert shown["shown"].adds_up, address
        assert figure.lstrip("\N{MINUS SIGN}") in [*there, str(shown["shown"].total.count)], (title, address, figure)


@pytest.mark.usefixtures("story")
def test_a_file_holds_what_its_table_shows_and_no_formula(asked: Asked, browser: Client) -> None:
    PaymentEvent.objects.filter(card_brand="mastercard").update(card_brand='=HYPERLINK("x")')
    PspAttempt.objects.filter(error_code="card_declined").update(error_code="@SUM(1+1)")
    answer = get(browser, asked, csv="cards")
    assert answer["Content-Disposition"] == f'attachment; filename="cards-EUR-{asked.first_day}-{asked.last_day}.csv"'
    head, *rows = list(csv.reader(io.StringIO(answer.content.decode())))
    assert head[:7] == ["card", "orders", "paid", "success_rate", "volume", "fees", "take_rate"]
    assert [row[:7] for row in rows] == [
        ["visa", "3", "2", "0.6667", "140.00", "14.00", "0.1000"],
        ['\'=HYPERLINK("x")', "1", "1", "1.0000", "60.00", "6.00", "0.1000"],
        ["", "1", "0", "", "0.00", "0.00", ""],
    ]
    assert {row[-1] for row in rows} == {"EUR"}
    assert "'@SUM(1+1)" in get(browser, asked, csv="declines").content.decode()
    for name in figure_tables.TABLES:
        assert get(browser, asked, csv=name)["Content-Type"] == "text/csv; charset=utf-8", name


def test_what_cannot_be_asked_for_is_said_under_its_field(browser: Client, asked: Asked) -> None:
    make_available(new_sellers(new_shop(), "Ada")[0], eur("1.00"))
    too_long = asked.last_day - timedelta(days=400)
    for wrong, field, said in (
        ({"since": "2026-11-02", "until": "2026-11-01"}, "until", "before the first"),
        ({"since": too_long.isoformat(), "until": asked.last_day.isoformat()}, "until", "400 days at most"),
        ({"since": "yesterday"}, "since", "Enter a valid date"),
        ({"until": "9999-12-31"}, "until", "less than or equal to"),
        ({"since": ""}, "since", "required"),
        ({"currency": "XYZ\0"}, "currency", "Nothing is booked"),
    ):
        for more in ({}, {"csv": "days"}):
            answer = get(browser, asked, **(wrong | more))
            assert answer.status_code == (400 if more else 200), wrong
            assert said in " ".join(answer.context["form"].errors[field]), wrong
    assert get(browser, asked, csv="wallets").status_code == 404
    assert "No order was opened" in words(get(browser, asked).content)
    assert get(browser, Asked(too_long + timedelta(days=1), asked.last_day, "EUR")).status_code == 200


@pytest.mark.usefixtures("story")
def test_a_long_table_shows_its_largest_rows_and_its_file_has_all(asked: Asked, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_tables, "MOST_ROWS", 1)
    assert words(get(browser, asked).content).count("The first 1 of") == 3
    assert len(get(browser, asked, csv="card_countries").content.splitlines()) == 4


def test_every_kind_of_account_has_a_name_for_people() -> None:
    assert figure_tables.KINDS.keys() == chart.KINDS.keys()


def test_before_anything_is_booked_the_page_says_so(browser: Client) -> None:
    answer = browser.get(PAGE)
    assert answer.status_code == 200
    assert "Nothing is booked yet" in words(answer.content)


def test_what_takes_too_long_is_ended_and_keeps_nobody_from_the_rest(
    browser: Client, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as impatient, pytest.raises(TookTooLong):
        impatient.setattr(reports, "LONGEST_S", "0.05")
        reports.rows("SELECT pg_sleep(20)", {})
    make_available(new_sellers(new_shop(), "Ada")[0], eur("1.00"))
    monkeypatch.setattr(reports, "PROFIT_AND_LOSS", ENDED)
    page = words(get(browser, asked).content)
    assert "Profit and loss: there is too much to sum up" in page
    assert "Trial balance" in page
    assert get(browser, asked, csv="profit_and_loss").status_code == 400
    monkeypatch.setattr(reports, "SALES", ENDED)
    assert "Ask for fewer days" in words(get(browser, asked).content)


@pytest.mark.usefixtures("story")
def test_who_may_see_figures_and_nothing_else_finds_no_link_that_is_closed(asked: Asked) -> None:
    user = User.objects.create_user("mia", is_staff=True)
    browser = logged_in(user)
    assert get(browser, asked).status_code == 403
    assert get(browser, asked, csv="days").status_code == 403
    assert PAGE not in browser.get(reverse("admin:index")).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_figures", content_type__app_label="reconciliation"))
    browser = logged_in(User.objects.get(pk=user.pk))
    assert PAGE in browser.get(reverse("admin:index")).content.decode()
    answer = get(browser, asked)
    assert answer.status_code == 200
    assert 'data-title="Orders">5<' in answer.content.decode()
    assert browser.get(f"{PAGE}1/change/").status_code == 404


@pytest.mark.usefixtures("story")
def test_the_page_costs_the_same_however_many_rows_there_are(asked: Asked, browser: Client) -> None:
    get(browser, asked)
    with CaptureQueriesContext(connection) as few:
        get(browser, Asked(asked.first_day, asked.last_day, "JPY"))
    with CaptureQueriesContext(connection) as many:
        get(browser, asked)
    assert len(many) == len(few)
    summed = [query["sql"] for query in many if "GROUP BY" in query["sql"]]
    assert len(summed) == 6
