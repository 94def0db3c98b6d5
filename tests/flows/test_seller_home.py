"""The seller's home: three figures and the next payout, twelve months as a line, what needs doing, and notices that can be dismissed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger.money import zero
from payments import intake
from payments.models import Dispute
from payouts import bank_accounts, requests
from payouts.bank_accounts import NewBankAccount
from payouts.models import BankAccount, Payout, PayoutSchedule
from payouts.states import PayoutStatus
from tests.factories import PAID_AT_ONCE, RETURNED_LATER, basket, eur, make_available, new_bank_account, new_sellers, new_shop
from wallet import holds, line_chart, monthly
from wallet.models import MonthlyFigures, NoticeDismissal, Seller, SellerHold, Wallet, WalletEntry

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)


@pytest.fixture
def ada() -> Seller:
    """Give a seller with 100.00 to pay out and an account to pay them to."""
    [seller] = new_sellers(new_shop(), "Ada's Books")
    new_bank_account(seller)
    make_available(seller, eur("100.00"))
    return seller


@pytest.fixture
def login() -> Callable[..., Client]:
    """Return a browser in which somebody who acts for the seller is logged in."""

    def log_in(seller: Seller, name: str = "ada") -> Client:
        user = User.objects.create_user(name)
        seller.users.add(user)
        browser = Client(headers={"accept-language": "en"})
        browser.force_login(user)
        return browser

    return log_in


def words(html: bytes) -> str:
    """Return what a reader sees: no tags, no-break spaces as spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode().replace("\xa0", " "))).replace("&#x27;", "'")


def move(seller: Seller, amount: str, at: datetime, *, kind: str = "sale") -> None:
    """Put a movement of that time into the wallet, without what is behind it."""
    wallet, net, nothing = Wallet.objects.get(seller=seller, currency="EUR"), eur(amount), zero("EUR")
    WalletEntry.objects.create(
        wallet=wallet, kind=kind, source="ord_1", journal_entry=WalletEntry.objects.earliest("pk").journal_entry,
        gross=net, fee=nothing, net=net, pending=net, available=nothing, reserved=nothing, created_at=at,
    )  # fmt: skip


def payout_to(seller: Seller, status: str = PayoutStatus.EXECUTING, *, why: str = "", amount: str = "40.00") -> Payout:
    """Ask for a payout, and let it stand as if that had become of it; its entries do not matter here."""
    payout = requests.request_payout(seller, amount=eur(amount), requested_by="user:ada", now=timezone.now())
    if status == PayoutStatus.RETURNED:
        rows, entry = Payout.objects.filter(pk=payout.pk), payout.journal_entry_id
        rows.update(status=PayoutStatus.SUCCESS, paid_entry=entry, paid_at=timezone.now(), next_attempt_at=None)
        rows.update(status=status, failure_code=why, return_entry=entry, return_wallet_entry=payout.wallet_entry_id)
        payout.refresh_from_db()
    return payout


# --- What stands ----------------------------------------------------------------------------------------------------


def test_the_third_figure_is_what_is_on_its_way_and_under_it_is_what_comes_next(ada: Seller, login: Callable[..., Client]) -> None:
    payout_to(ada)
    seen = words(login(ada).get("/seller/").content)
    assert "Available 60.00 EUR" in seen
    assert "On its way to your bank 40.00 EUR Next payout on" in seen
    assert ": 60.00 EUR as of now." in seen


def test_who_is_paid_only_when_asked_for_reads_so_and_below_the_minimum_no_amount_is_promised(
    ada: Seller, login: Callable[..., Client]
) -> None:
    schedule = PayoutSchedule.objects.create(shop=ada.shop, interval="on_request", minimum=eur("1.00"), keep_back=eur("0"))
    browser = login(ada)
    assert "ask for a payout when you like" in words(browser.get("/seller/").content)
    PayoutSchedule.objects.filter(pk=schedule.pk).update(interval="monthly", minimum=Decimal("500"))
    assert ", of what is available by then." in words(browser.get("/seller/").content)


def test_home_costs_the_same_number_of_statements_however_much_there_is(ada: Seller, login: Callable[..., Client]) -> None:
    browser = login(ada)
    with CaptureQueriesContext(connection) as few:
        browser.get("/seller/")
    for _each in range(30):
        move(ada, "5.00", timezone.now())
    payout_to(ada, amount="1.00")
    with CaptureQueriesContext(connection) as many:
        browser.get("/seller/")
    assert len(many) == len(few)


# --- Twelve months --------------------------------------------------------------------------------------------------


def test_months_are_the_same_whether_their_sums_are_kept_or_not(ada: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monthly, "MOVEMENTS_AT_ONCE", 3)
    end_of_october, november = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    for amount, at, kind in (
        ("7.00", datetime(2025, 11, 30, 23, 59, tzinfo=UTC), "sale"),
        ("10.00", datetime(2025, 12, 1, tzinfo=UTC), "sale"),
        ("90.00", end_of_october, "sale"),
        ("-20.00", end_of_october, "refund"),
        ("30.00", november, "sale"),
        ("-55.00", november, "payout"),
    ):
        move(ada, amount, at, kind=kind)
    wallets, months = list(Wallet.objects.filter(seller=ada)), monthly.last_months(NOW, count=12)
    [before] = monthly.net_sales(wallets, months).values()
    assert [str(months[0]), str(months[-1])] == ["2025-12", "2026-11"]
    assert before == [Decimal("10"), *[Decimal(0)] * 9, Decimal("70"), before[-1]]
    while monthly.keep_sums(now=NOW + timedelta(days=365)):
        pass
    assert monthly.net_sales(wallets, months) == {wallets[0].pk: before}
    assert MonthlyFigures.objects.get(wallet=wallets[0], month="2026-10-01").net == eur("70.00")
    move(ada, "1.00", november)
    [after] = monthly.net_sales(wallets, months).values()
    assert after == [*before[:-1], before[-1] + 1]


def test_what_a_writer_may_still_add_to_is_not_summed_up(ada: Seller) -> None:
    while monthly.keep_sums(now=timezone.now()):
        pass
    assert not MonthlyFigures.objects.exists()


def test_the_chart_says_in_words_and_as_a_table_what_it_draws_and_in_german_its_points_stay_points(
    ada: Seller, login: Callable[..., Client]
) -> None:
    move(ada, "1234.50", timezone.now())
    browser = login(ada)
    html = browser.get("/seller/").content
    assert "Together 1,334.50 EUR" in words(html)
    assert html.count(b'class="plot-point"') == 12
    browser.post("/seller/language", {"language": "de", "next": "/seller/"})
    assert re.search(rb'<path class="plot-line" d="M50.00 \d+\.\d\d L150.00 ', browser.get("/seller/").content)


@pytest.mark.parametrize(
    ("values", "figures"),
    [
        (["0", "70"], ["75", "50", "25", "0"]),
        (["-20", "70"], ["100", "50", "0", "-50"]),
        (["0", "999999999999.99"], ["1000000000000", "500000000000", "0"]),
        (["-3", "-1"], ["0", "-1", "-2", "-3"]),
        (["0", "0"], ["1", "0"]),
    ],
)
def test_lines_across_are_round_figures_around_all_values_and_nothing(values: list[str], figures: list[str]) -> None:
    drawing = line_chart.drawn([Decimal(value) for value in values])
    assert [f"{line.value:f}".removesuffix(".0") for line in drawing.across] == figures
    assert (drawing.across[0].y, drawing.across[-1].y) == ("0.00", "100.00")


# --- What needs doing -----------------------------------------------------------------------------------------------


def test_what_is_missing_before_money_can_go_out_is_a_task(ada: Seller, login: Callable[..., Client]) -> None:
    BankAccount.objects.filter(seller=ada).update(replaced_at=timezone.now())
    browser = login(ada)
    html = browser.get("/seller/").content
    assert "We do not know where to send your money." in words(html)
    assert "Nothing leaves at present" in words(html)
    assert b'href="/seller/bank-accounts/EUR"' in html
    bank_accounts.add(ada, NewBankAccount("EUR", holder="Ada", iban=PAID_AT_ONCE), by="user:ada", now=timezone.now())
    assert "Your bank account is being checked" in words(browser.get("/seller/").content)


def test_a_second_factor_a_hold_and_a_balance_below_zero_are_tasks(ada: Seller, login: Callable[..., Client], settings: Any) -> None:
    browser = login(ada)
    settings.SELLER_SECOND_FACTOR = False
    assert "Nothing needs doing." in words(browser.get("/seller/").content)
    settings.SELLER_SECOND_FACTOR = True
    holds.place(ada.pk, reason="Looked into", until=None, actor="staff:finn", now=timezone.now())
    Wallet.objects.filter(seller=ada).update(available=Decimal("-3"))
    seen = words(browser.get("/seller/").content)
    assert "Protect your login with a second step" in seen
    assert "Your payouts are on hold No payout leaves until the shop lifts that." in seen
    assert "Looked into" not in seen
    assert "Your EUR balance is below zero" in seen


def test_a_payout_that_the_bank_sent_back_is_a_task_until_there_is_another_account(ada: Seller, login: Callable[..., Client]) -> None:
    payout = payout_to(ada, PayoutStatus.RETURNED, why="account_closed")
    browser = login(ada)
    seen = words(browser.get("/seller/").content)
    assert "Your payout of 40.00 EUR did not arrive Your bank says that the account is closed. Give us another one." in seen
    assert "A payout did not arrive" not in seen
    BankAccount.objects.filter(seller=ada).update(replaced_at=timezone.now())
    new_bank_account(ada, RETURNED_LATER)
    html = browser.get("/seller/").content
    assert "Give us another one." not in words(html)
    assert "A payout did not arrive" in words(html)
    assert f'href="/seller/payouts/{payout.public_id}"'.encode() in html


def test_a_dispute_that_waits_for_evidence_is_a_task_and_only_of_its_seller(ada: Seller, login: Callable[..., Client]) -> None:
    event, _is_new = intake.open_event(ada.shop, basket([ada], "25.00"), now=timezone.now())
    nothing = dict.fromkeys(("held", "fee", "lost", "fee_returned"), zero("EUR"))
    due = timezone.now() + timedelta(days=5)
    Dispute.objects.create(
        order=event.orders.get(), psp="sandbox", psp_reference="dp_1", amount=eur("25.00"), opened_at=timezone.now(), evidence_due_at=due,
        journal_entry=WalletEntry.objects.earliest("pk").journal_entry, **nothing,
    )  # fmt: skip
    [bolt] = new_sellers(ada.shop, "Bolt Bikes")
    html = login(ada).get("/seller/").content
    assert "The buyer's bank took 25.00 EUR back and asks why." in words(html)
    assert b"&lt;time" not in html
    assert "asks why" not in words(login(bolt, "bolt").get("/seller/").content)


# --- Notices --------------------------------------------------------------------------------------------------------


def test_a_notice_is_dismissed_by_each_person_for_themselves_and_comes_from_nowhere_else(ada: Seller, login: Callable[..., Client]) -> None:
    BankAccount.objects.filter(seller=ada).update(replaced_at=timezone.now())
    new_bank_account(ada, RETURNED_LATER)
    account = BankAccount.objects.get(seller=ada, replaced_at=None)
    [bolt] = new_sellers(ada.shop, "Bolt Bikes")
    browser, partner, stranger = login(ada), login(ada, "bob"), login(bolt, "bolt")
    assert "If that was not you, tell the shop at once." in words(browser.get("/seller/").content)
    key = {"key": f"bank_account:{account.public_id}"}
    assert browser.get("/seller/notices/dismiss").status_code == 405
    assert browser.post("/seller/notices/dismiss", key).headers["Location"] == "/seller/"
    assert "If that was not you" not in words(browser.get("/seller/").content)
    assert "If that was not you" in words(partner.get("/seller/").content)
    assert stranger.post("/seller/notices/dismiss", key).status_code == 302
    assert NoticeDismissal.objects.count() == 1


def test_a_hold_that_is_over_is_a_notice(ada: Seller, login: Callable[..., Client]) -> None:
    hold: SellerHold = holds.place(ada.pk, reason="Looked into", until=None, actor="staff:finn", now=timezone.now())
    holds.lift(hold.pk, reason="All right", actor="staff:finn", now=timezone.now())
    assert "Your payouts were on hold" in words(login(ada).get("/seller/").content)
