"""The seller's payout pages: what comes next, each payout as a receipt that adds up, asking for one, and bank details."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from ledger.money import zero
from payments import releases
from payouts import bank_accounts, requests, settlement
from payouts.models import BankAccount, Payout, PayoutSchedule
from payouts.states import PayoutStatus
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from tests.flows.test_seller_pages import PASSWORD, give_back, sell, words
from wallet import holds, step_up
from wallet.models import ReleaseTerms, Seller, Shop, Wallet

pytestmark = pytest.mark.django_db
GERMAN_IBAN = "DE89 3704 0044 0532 0130 00"


@pytest.fixture(autouse=True)
def no_second_factor(settings: Any) -> None:
    """Let the password be enough here: wallet's own tests have the second factor."""
    settings.SELLER_SECOND_FACTOR = False
    cache.clear()


@pytest.fixture
def shop() -> Shop:
    return new_shop()


@pytest.fixture
def ada(shop: Shop) -> Seller:
    """Give a seller with 100.00 to pay out and somebody called ada who acts for her."""
    [seller] = new_sellers(shop, "Ada's Books")
    seller.users.add(User.objects.create_user("ada", password=PASSWORD))
    new_bank_account(seller)
    make_available(seller, eur("100.00"))
    return seller


@pytest.fixture
def browser(ada: Seller) -> Client:
    """Give a browser in which ada is logged in."""
    return browser_of("ada")


def browser_of(name: str) -> Client:
    """Log somebody in who has confirmed the password just now."""
    browser = Client(headers={"accept-language": "en"})
    browser.post("/seller/login", {"username": name, "password": PASSWORD})
    return browser


def agree(seller: Seller, **terms: Any) -> None:
    said: dict[str, Any] = {"minimum": zero("EUR"), "keep_back": zero("EUR")}
    PayoutSchedule.objects.create(shop=seller.shop, seller=seller, currency="EUR", **(said | terms))


def ask(seller: Seller, amount: str) -> Payout:
    return requests.request_payout(seller, amount=eur(amount), now=timezone.now(), requested_by="user:ada")


def once_in(page: bytes) -> str:
    found = re.search(rb'name="once" value="([\w-]+)"', page)
    assert found
    return found[1].decode()


# --- All payouts ----------------------------------------------------------------------------------------------------


def test_a_seller_sees_the_next_payout_and_every_one_so_far(ada: Seller, browser: Client) -> None:
    agree(ada, keep_back=eur("10.00"))
    paid = ask(ada, "40.00")
    settlement.settle_payout(paid.pk, provider_reference="b_1", paid_at=timezone.now())
    seen = words(browser.get("/seller/payouts").content)
    assert "How much, as of now 50.00 EUR 10.00 EUR always stays in your wallet." in seen
    assert "AT•• •••• 3201" in seen
    assert re.search(r"Then on \w+ 1, 20\d\d and \w+ 1, 20\d\d\.", seen)
    assert "Paid AT•• •••• 3201 40.00 EUR" in seen


def test_payouts_are_filtered_by_the_address_and_leafed_through(ada: Seller, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payouts.views.PAYOUTS_ON_A_PAGE", 2)
    first, _second, third = (ask(ada, amount) for amount in ("1.00", "2.00", "3.00"))
    requests_page = browser.get("/seller/payouts").content.decode()
    assert third.public_id in requests_page
    assert first.public_id not in requests_page
    [older] = re.findall(r'href="(\?older_than=\d+)"', requests_page)
    assert first.public_id in browser.get(f"/seller/payouts{older}").content.decode()
    settlement.fail_payout(first.pk, provider_reference="", code="declined", now=timezone.now())
    failed = browser.get("/seller/payouts?status=FAILED").content.decode()
    assert first.public_id in failed
    assert third.public_id not in failed
    assert browser.get("/seller/payouts?status=DANCING").status_code == 400


def test_an_account_that_took_no_money_is_to_be_replaced_where_the_next_payout_is_announced(ada: Seller, browser: Client) -> None:
    refused = ask(ada, "5.00")
    settlement.fail_payout(refused.pk, provider_reference="", code="account_closed", now=timezone.now())
    seen = words(browser.get("/seller/payouts").content)
    assert "the account is closed. Give us another one. Give another bank account Ask for a payout" in seen
    paid = ask(ada, "6.00")
    settlement.settle_payout(paid.pk, provider_reference="", paid_at=timezone.now())
    assert "Give another bank account" not in words(browser.get("/seller/payouts").content)


def test_payouts_are_sorted_by_the_statuses_that_they_have(ada: Seller, browser: Client) -> None:
    paid = ask(ada, "1.00")
    assert "?status=" not in browser.get("/seller/payouts").content.decode()
    ask(ada, "2.00")
    settlement.settle_payout(paid.pk, provider_reference="", paid_at=timezone.now())
    assert re.findall(r"\?status=(\w+)", browser.get("/seller/payouts").content.decode()) == ["EXECUTING", "SUCCESS"]


def test_without_a_payout_the_page_says_what_will_be_there(shop: Shop) -> None:
    [bolt] = new_sellers(shop, "Bolt Bikes")
    bolt.users.add(User.objects.create_user("bolt", password=PASSWORD))
    seen = words(browser_of("bolt").get("/seller/payouts").content)
    assert "No payouts yet" in seen
    assert "0.00" not in seen


def test_sec_nobody_finds_or_cancels_the_payout_of_another_seller(ada: Seller, shop: Shop) -> None:
    agree(ada, approval_limit="1.00")
    payout = ask(ada, "40.00")
    [bolt] = new_sellers(shop, "Bolt Bikes")
    bolt.users.add(User.objects.create_user("bolt", password=PASSWORD))
    stranger = browser_of("bolt")
    assert stranger.get(f"/seller/payouts/{payout.public_id}").status_code == 404
    assert stranger.post(f"/seller/payouts/{payout.public_id}/cancel").status_code == 404
    assert payout.public_id not in stranger.get("/seller/payouts").content.decode()
    payout.refresh_from_db()
    assert payout.status == PayoutStatus.WAITING


# --- One payout -----------------------------------------------------------------------------------------------------


def test_a_payout_adds_up_from_what_was_left_to_what_the_bank_shows(ada: Seller, browser: Client) -> None:
    ask(ada, "70.00")
    make_available(ada, eur("25.00"))
    make_available(ada, eur("5.00"))
    payout = ask(ada, "45.00")
    make_available(ada, eur("9.00"))  # comes later, and is in another one
    settlement.settle_payout(payout.pk, provider_reference="b_7", paid_at=timezone.now())
    seen = words(browser.get(f"/seller/payouts/{payout.public_id}").content)
    assert (
        "Left from before 30.00 EUR Sales that were delivered × 2 30.00 EUR "
        "Stays in your wallet −15.00 EUR Paid to your bank 45.00 EUR" in seen
    )
    assert "b_7" in seen
    assert "Paid to your bank" in seen.split("What happened")[1]


def test_a_payout_opens_its_orders_with_what_buyers_paid_and_our_fee_refunds_and_reserve(shop: Shop, ada: Seller, browser: Client) -> None:
    ask(ada, "100.00")
    ReleaseTerms.objects.create(shop=shop, reserve_basis_points=1000, reserve_days=30)
    now, orders = timezone.now(), sell(ada, "100.00", "50.00")
    give_back(orders[1], "10.00")
    for order in orders:
        releases.deliver(order.pk, at=now, actor="api:test", now=now)
    releases.release_due(now=now)
    give_back(orders[0], "20.00")
    payout = requests.request_payout(ada, currency="EUR", now=now)
    seen = words(browser.get(f"/seller/payouts/{payout.public_id}").content)
    for what in (
        "Sales that were delivered × 2 150.00 EUR Our fee on them −15.00 EUR Refunds and disputes before they were delivered −9.00 EUR "
        "Kept in reserve for a while −12.60 EUR Refunds to buyers, less our fee on them × 1 −18.00 EUR Goes to your bank 95.40 EUR",
        "100.00 EUR −10.00 EUR 81.00 EUR −9.00 EUR kept in reserve",
        "50.00 EUR −5.00 EUR 32.40 EUR −9.00 EUR by refunds or disputes before −3.60 EUR kept in reserve",
        "−20.00 EUR 2.00 EUR −18.00 EUR",
    ):
        assert what in seen, what


@pytest.mark.parametrize(
    ("code", "said", "asks_for_an_account"),
    [("account_closed", "the account is closed", True), ("insufficient_funds", "This was not your doing", False)],
)
def test_what_came_back_says_why_and_what_to_do(code: str, said: str, asks_for_an_account: bool, ada: Seller, browser: Client) -> None:
    payout = ask(ada, "40.00")
    settlement.settle_payout(payout.pk, provider_reference="b_1", paid_at=timezone.now())
    settlement.return_payout(payout.pk, provider_reference="b_1", code=code, returned_at=timezone.now())
    page = browser.get(f"/seller/payouts/{payout.public_id}").content
    assert said in words(page)
    assert "Nothing is lost: 40.00 EUR stands in your wallet again." in words(page)
    assert (b"/seller/bank-accounts/EUR" in page) is asks_for_an_account


def test_a_movement_of_a_payout_leads_to_the_payout(ada: Seller, browser: Client) -> None:
    payout = ask(ada, "40.00")
    assert f'href="/seller/payouts/{payout.public_id}"' in browser.get("/seller/movements?kind=payout").content.decode()


def test_a_payout_that_waits_is_cancelled_and_one_that_is_under_way_is_not(ada: Seller, browser: Client) -> None:
    agree(ada, approval_limit="30.00")
    under_way, waiting = ask(ada, "20.00"), ask(ada, "40.00")
    assert b"Cancel this payout" in browser.get(f"/seller/payouts/{waiting.public_id}").content
    assert browser.post(f"/seller/payouts/{waiting.public_id}/cancel").status_code == 302
    waiting.refresh_from_db()
    assert waiting.status == PayoutStatus.CANCELLED
    assert b"Cancel this payout" not in browser.get(f"/seller/payouts/{under_way.public_id}").content
    refused = browser.post(f"/seller/payouts/{under_way.public_id}/cancel")
    assert refused.status_code == 409
    assert "cannot be called back" in words(refused.content)


# --- Asking for one -------------------------------------------------------------------------------------------------


def test_all_that_can_be_paid_out_is_offered_and_sending_it_twice_pays_once(ada: Seller, browser: Client) -> None:
    agree(ada, keep_back=eur("10.00"))
    page = browser.get("/seller/payouts/new").content
    assert b'value="90.00"' in page
    sent = {"seller": ada.public_id, "currency": "EUR", "amount": "90.00", "once": once_in(page)}
    answers = [browser.post("/seller/payouts/new", sent) for _time in range(2)]
    payout = Payout.objects.get()
    assert [answer.headers["Location"] for answer in answers] == [f"/seller/payouts/{payout.public_id}"] * 2
    assert (payout.amount, payout.requested_by) == (eur("90.00"), "user:ada")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("95.00", "At most 90.00 EUR can be paid out now."),
        ("3.00", "The least that is paid out is 5.00 EUR."),
        ("0", "Write an amount above zero."),
        ("1.005", "finer, or larger"),
        ("all of it", "Write an amount such as 1,234.50 EUR."),
        ("", "Write an amount such as 1,234.50 EUR."),
    ],
)
def test_what_cannot_be_paid_out_says_why_and_keeps_what_was_typed(typed: str, said: str, ada: Seller, browser: Client) -> None:
    agree(ada, keep_back=eur("10.00"), minimum=eur("5.00"))
    once = once_in(browser.get("/seller/payouts/new").content)
    sent = {"seller": ada.public_id, "currency": "EUR", "amount": typed, "once": once}
    answer = browser.post("/seller/payouts/new", sent)
    assert answer.status_code == 400
    assert said in words(answer.content)
    assert f'value="{typed}"' in answer.content.decode()
    assert once_in(answer.content) == once
    assert not Payout.objects.exists()


def test_a_page_that_was_sent_with_another_amount_asks_for_nothing_again(ada: Seller, browser: Client) -> None:
    once = once_in(browser.get("/seller/payouts/new").content)
    sent = {"seller": ada.public_id, "currency": "EUR", "once": once}
    browser.post("/seller/payouts/new", sent | {"amount": "40.00"})
    again = browser.post("/seller/payouts/new", sent | {"amount": "50.00"})
    assert "You have asked for another amount with this page already. Look at the payout of 40.00 EUR" in words(again.content)
    assert once_in(again.content) != once
    assert Payout.objects.count() == 1


def test_a_german_types_a_comma(ada: Seller, browser: Client) -> None:
    browser.post("/seller/language", {"language": "de", "next": "/seller/"})
    page = browser.get("/seller/payouts/new").content
    assert b'value="100,00"' in page
    sent = {"seller": ada.public_id, "currency": "EUR", "amount": "12,50", "once": once_in(page)}
    browser.post("/seller/payouts/new", sent)
    assert Payout.objects.get().amount == eur("12.50")


def test_whose_payouts_are_on_hold_is_told_until_when_and_finds_no_form(ada: Seller, browser: Client) -> None:
    now = timezone.now()
    holds.place(ada.pk, reason="Many complaints", until=now + timedelta(days=3), actor="staff:finance", now=now)
    page = browser.get("/seller/payouts/new").content
    assert "Your payouts are on hold until" in words(page)
    assert "Many complaints" not in words(page)
    assert b'name="amount"' not in page


# --- Why is this my balance? ----------------------------------------------------------------------------------------


def test_the_balance_is_explained_from_top_to_bottom(shop: Shop, ada: Seller, browser: Client) -> None:
    [order] = sell(ada, "200.00")
    give_back(order, "50.00")
    paid, _under_way = ask(ada, "30.00"), ask(ada, "20.00")
    settlement.settle_payout(paid.pk, provider_reference="b_1", paid_at=timezone.now())
    seen = words(browser.get("/seller/balance").content)
    assert (
        "Buyers paid for what you sold × 1 200.00 EUR Our fees −20.00 EUR Given back to buyers −50.00 EUR Fees given back to you 5.00 EUR "
        "Put right by hand 100.00 EUR Paid out to your bank −30.00 EUR On its way to your bank −20.00 EUR Your balance 185.00 EUR" in seen
    )
    assert "Pending not delivered yet 135.00 EUR Available free to be paid out 50.00 EUR Reserved held back for a while 0.00 EUR" in seen


def test_a_balance_that_is_not_the_sum_of_its_movements_is_not_explained(ada: Seller, browser: Client) -> None:
    Wallet.objects.filter(seller=ada).update(available="101.00")
    with pytest.raises(RuntimeError, match="movements come to 100"):
        browser.get("/seller/balance")


# --- Bank details ---------------------------------------------------------------------------------------------------


def new_details(seller: Seller, **typed: str) -> dict[str, str]:
    return {"seller": seller.public_id, "holder": "Ada's Books GmbH", "iban": GERMAN_IBAN} | typed


def test_other_bank_details_take_the_place_of_the_old_ones_and_wait(ada: Seller, browser: Client) -> None:
    assert browser.post("/seller/bank-accounts/EUR", new_details(ada)).status_code == 302
    account = bank_accounts.current(ada, "EUR")
    assert account is not None
    assert (account.masked, account.added_by, account.verified_at) == ("DE•• •••• 3000", "user:ada", None)
    assert account.usable_from - account.added_at == timedelta(hours=72)
    page = browser.get("/seller/bank-accounts").content
    assert "To protect you, we pay to a changed account from" in words(page)
    assert b"0532" not in page


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"iban": "DE89 3704 0044 0532 0130 01"}, "A digit of this IBAN is wrong"),
        ({"holder": ""}, "Type the name that the bank knows the account by."),
        ({"iban": "", "country": "US", "bank_code": "021000022", "account_number": "123456789"}, "A routing number has nine digits"),
    ],
)
def test_wrong_details_change_nothing_and_are_kept_in_the_form(typed: dict[str, str], said: str, ada: Seller, browser: Client) -> None:
    answer = browser.post("/seller/bank-accounts/EUR", new_details(ada, **typed))
    assert answer.status_code == 400
    assert said in words(answer.content)
    assert f'value="{typed.get("iban", GERMAN_IBAN)}"' in answer.content.decode()
    assert BankAccount.objects.count() == 1


@pytest.mark.parametrize("path", ["/seller/bank-accounts/EUR", "/seller/payouts/new"])
def test_sec_a_browser_left_open_moves_no_money(path: str, ada: Seller, browser: Client, settings: Any) -> None:
    assert browser.get(path).status_code == 200
    session = browser.session
    session[step_up.PROVED] |= {"at": int(timezone.now().timestamp()) - 3600}
    session.save()
    sent = new_details(ada) | {"currency": "EUR", "amount": "40.00", "once": "a" * 32}
    for answer in (browser.get(path), browser.post(path, sent)):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/seller/confirm?next=")
    assert (BankAccount.objects.count(), Payout.objects.count()) == (1, 0)
    settings.SELLER_SECOND_FACTOR = True
    assert browser.get(path).headers["Location"].startswith("/seller/second-factor/set-up?next=")


def test_sec_a_form_of_one_seller_moves_nothing_of_another_who_was_switched_to(ada: Seller, browser: Client) -> None:
    [bolt] = new_sellers(ada.shop, "Bolt Bikes")
    bolt.users.add(User.objects.get(username="ada"))
    new_bank_account(bolt)
    make_available(bolt, eur("100.00"))
    once = once_in(browser.get("/seller/payouts/new").content)
    browser.post("/seller/switch", {"seller": bolt.public_id})
    answers = [
        browser.post("/seller/payouts/new", {"seller": ada.public_id, "currency": "EUR", "amount": "40.00", "once": once}),
        browser.post("/seller/bank-accounts/EUR", new_details(ada)),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert "You are looking at Bolt Bikes now" in words(answer.content)
    assert (BankAccount.objects.count(), Payout.objects.count()) == (2, 0)


def test_bank_details_are_given_for_currencies_of_the_seller_only(browser: Client) -> None:
    assert browser.get("/seller/bank-accounts/EUR").status_code == 200
    assert browser.get("/seller/bank-accounts/JPY").status_code == 404
