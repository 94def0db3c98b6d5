"""A seller with a payout currency: what is available in others is converted first, by request and by run, and waits where there is no rate."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, clock, journal
from ledger.models import JournalEntry
from ledger.money import exact, zero
from payouts import choice, conversions, queries, requests, scheduling
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.models import BankAccount, Payout, PayoutRun, PayoutSchedule
from payouts.queries import NotPayable
from reconciliation import invariants, today
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from tests.fixtures_money import all_at_once, errors_in
from tests.logins import step_up
from tests.rates import quote_euro
from wallet import balances
from wallet.balances import Change
from wallet.conversions import Wish
from wallet.models import Conversion, Seller, Shop, Wallet, WalletEntry

NOW = datetime(2037, 12, 1, 0, 5, tzinfo=UTC)  # see tests/settlement_files.py
QUOTED = NOW - timedelta(hours=9)  # on the day before


@pytest.fixture
def shop(db: None) -> Shop:
    quote_euro(QUOTED, USD="1.0512", JPY="163.11")
    return Shop.objects.get(pk=new_shop(created_at=NOW - timedelta(days=90)).pk)


def payee(shop: Shop, name: str, *amounts: tuple[str, str], now: datetime = NOW) -> Seller:
    """Give a seller who is paid out in euros, to a bank account for them, with so much available in each currency."""
    [seller] = new_sellers(shop, name)
    for amount, currency in amounts:
        make_available(seller, exact(amount, currency))
    new_bank_account(seller)
    conversions.choose(seller, "EUR", by="staff:ana", now=now)
    return seller


def november(shop: Shop, currency: str = "EUR") -> Which:
    return Which(shop.pk, currency, Calendar(), "2037-11")


@transaction.atomic
def take_back(seller: Seller, amount: Money) -> None:
    """Take so much of what was available, as a refund does, whether or not it is still there."""
    debits, credits = [(chart.seller_available(seller.pk), amount)], [(chart.operating_bank(), amount)]
    journal.open_accounts([chart.operating_bank()], currency=amount.currency.code)
    [entry] = journal.post([journal.Draft(JournalEntry.Kind.MANUAL, f"back-{seller.pk}-{amount}", NOW, debits, credits)])
    nothing = zero(amount.currency.code)
    taken = Change(
        seller.pk, entry, WalletEntry.Kind.REFUND, "back", -amount, nothing, pending=nothing, available=-amount, reserved=nothing
    )
    balances.change([taken])


def held(seller: Seller) -> dict[str, Decimal]:
    return {str(wallet.available.currency): wallet.available.amount for wallet in Wallet.objects.filter(seller=seller)}


def test_asking_for_all_converts_first_and_is_refused_without_converting(shop: Shop) -> None:
    ada = payee(shop, "Ada", ("10.00", "EUR"), ("100.00", "USD"), ("1000", "JPY"))
    able = queries.payable(ada, "EUR", now=NOW)
    assert able.amount == eur("111.25")  # 10.00 + 95.12 + 6.13
    with pytest.raises(NotPayable, match=r"111\.25 EUR can be paid out"):
        requests.request_payout(ada, amount=eur("111.26"), now=NOW)
    assert (held(ada)["USD"], Conversion.objects.count()) == (Decimal("100.00"), 0)
    payout = requests.request_payout(ada, currency="EUR", once="k", now=NOW)
    assert payout.amount == eur("111.25")
    assert held(ada) == {"EUR": 0, "JPY": 0, "USD": 0}
    make_available(ada, exact("5.00", "USD"))
    assert requests.request_payout(ada, currency="EUR", amount=eur("111.25"), once="k", now=NOW) == payout
    assert (held(ada)["USD"], Conversion.objects.count()) == (Decimal("5.00"), 2)  # asked again, it is the payout that stands
    assert invariants.violations() == []


def test_a_run_pays_in_the_payout_currency_what_was_in_others(shop: Shop) -> None:
    ada = payee(shop, "Ada", ("10.00", "EUR"), ("100.00", "USD"))
    bob = payee(shop, "Bob", ("50.00", "USD"))
    [cleo] = new_sellers(shop, "Cleo")  # has no payout currency, and is paid out in dollars
    make_available(cleo, exact("70.00", "USD"))
    new_bank_account(cleo, currency="USD")
    made, _is_new = scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana")
    assert {payout.seller.name: payout.amount for payout in made.payouts.select_related("seller")} == {
        "Ada": eur("105.12"),
        "Bob": eur("47.56"),
    }
    assert [held(seller) for seller in (ada, bob)] == [{"EUR": Decimal(0), "USD": Decimal(0)}] * 2
    in_dollars, _is_new = scheduling.convert_and_run(november(shop, "USD"), now=NOW, made_by="staff:ana")
    assert [payout.seller.name for payout in in_dollars.payouts.select_related("seller")] == ["Cleo"]
    assert scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana") == (made, False)
    assert {made.requested_by for made in Conversion.objects.all()} == {conversions.BY_PAYOUT}
    assert invariants.violations() == []


def test_without_a_rate_that_wallet_waits_and_everybody_else_is_paid(shop: Shop, django_user_model: Any) -> None:
    ada = payee(shop, "Ada", ("10.00", "EUR"), ("20.000", "KWD"), ("100.00", "USD"))
    new_bank_account(ada, currency="KWD")
    late = NOW + timedelta(days=9)
    made, _is_new = scheduling.convert_and_run(november(shop), now=late, made_by="staff:ana")
    assert [payout.amount for payout in made.payouts.all()] == [eur("10.00")]
    assert held(ada) == {"EUR": 0, "KWD": Decimal("20.000"), "USD": Decimal("100.00")}
    dinars, _is_new = scheduling.convert_and_run(november(shop, "KWD"), now=late, made_by="staff:ana")
    assert dinars.count == 0
    [passed] = choice.passed_over(november(shop, "KWD"), now=late)
    assert (passed.why_not, passed.count) == ("to_be_converted", 1)
    waiting = {str(each.amount): each.why_not.code for _count, each in conversions.waiting_for_rates(now=late)}
    assert waiting == {str(exact("20", "KWD")): "no_rate", str(exact("100", "USD")): "stale_rate"}
    tiles = [(str(tile.shown), tile.tone) for tile in today.rates_tiles(now=late)]
    assert tiles == [("10 days old", "bad"), ("2", "bad")]
    quote_euro(late, USD="1.0600")
    requests.request_payout(ada, currency="EUR", now=late)
    assert held(ada) == {"EUR": 0, "KWD": Decimal("20.000"), "USD": 0}


HINDRANCES: dict[str, Callable[[Seller], object]] = {
    "no_bank_account": lambda seller: BankAccount.objects.filter(seller=seller).update(replaced_at=NOW),
    "another_calendar": lambda seller: PayoutSchedule.objects.create(
        shop=seller.shop, seller=seller, interval="weekly", minimum=eur("0"), keep_back=eur("0")
    ),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_whom_the_run_does_not_pay_it_does_not_convert(shop: Shop, hindrance: str) -> None:
    ada = payee(shop, "Ada", ("100.00", "USD"))
    HINDRANCES[hindrance](ada)
    assert conversions.convert_due(november(shop), now=NOW) == 0
    assert held(ada)["USD"] == Decimal("100.00")


def test_what_always_stays_in_a_wallet_stays_there(shop: Shop) -> None:
    ada, bob = (payee(shop, name, ("100.00", "USD")) for name in ("Ada", "Bob"))
    PayoutSchedule.objects.create(shop=shop, minimum=exact("0", "USD"), keep_back=exact("30", "USD"))
    PayoutSchedule.objects.create(shop=shop, seller=bob, minimum=exact("0", "USD"), keep_back=exact("0", "USD"))
    assert conversions.convert_due(november(shop), now=NOW) == 2
    assert [held(seller)["USD"] for seller in (ada, bob)] == [Decimal(30), Decimal(0)]


def test_a_run_converts_any_number_of_sellers_by_the_same_number_of_statements(shop: Shop) -> None:
    counts = []
    for names in (["a"], list("bcdef")):
        for name in names:
            payee(shop, name, ("10.00", "USD"))
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert conversions.convert_due(november(shop), now=NOW) == len(names)
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_whoever_dies_among_the_conversions_leaves_each_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sellers = [payee(shop, name, ("10.00", "USD")) for name in ("Ada", "Bob")]
    monkeypatch.setattr(conversions, "AT_ONCE", 1)
    real = conversions.sell

    def dies(chosen: Any, *args: Any, **terms: Any) -> Any:
        if chosen == [sellers[1]]:
            raise DatabaseError("gone")
        return real(chosen, *args, **terms)

    with monkeypatch.context() as patch, pytest.raises(DatabaseError):
        patch.setattr(conversions, "sell", dies)
        scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana")
    assert [held(seller)["USD"] for seller in sellers] == [0, 10]
    made, _is_new = scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana")
    assert (made.total, Conversion.objects.count()) == (eur("19.02"), 2)
    assert invariants.violations() == []


def test_more_conversions_than_a_task_has_time_for_are_made_by_several_and_then_the_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Ada", "Bob"):
        payee(shop, name, ("10.00", "USD"))
    monkeypatch.setattr(conversions, "AT_ONCE", 1)
    monkeypatch.setattr(conversions, "MOST_IN_A_TASK", 1)
    runs = []
    for _beat in range(3):
        scheduling.run_due(now=NOW)
        runs.append(list(PayoutRun.objects.filter(currency="EUR").values_list("count", flat=True)))
    assert runs == [[], [], [2]]


@pytest.mark.race
def test_a_run_and_a_request_at_once_convert_and_pay_the_same_money_once(books_hold: None) -> None:
    quote_euro(QUOTED, USD="1.0512")
    shop = Shop.objects.get(pk=new_shop(created_at=NOW - timedelta(days=90)).pk)
    ada = payee(shop, "Ada", ("100.00", "USD"))
    answers = all_at_once(
        *[lambda: scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana")] * 2,
        *[lambda: requests.request_payout(ada, currency="EUR", now=NOW)] * 2,
    )
    assert {type(error) for error in errors_in(answers)} <= {NotPayable}
    assert sum(payout.amount.amount for payout in Payout.objects.filter(seller=ada)) == Decimal("95.12")
    assert Conversion.objects.filter(seller=ada).count() == 1
    Payout.objects.filter(seller=ada).update(next_attempt_at=timezone.now())  # not due for long, by the clock of the invariants


# --- What is owed in another currency -------------------------------------------------------------------------------


def test_what_was_converted_and_then_taken_back_is_not_paid_out(shop: Shop) -> None:
    """A seller converts 100 USD, and owes them again by a refund: what they became covers that, by request and by run."""
    ada = payee(shop, "Ada", ("100.00", "USD"), ("20.00", "EUR"))
    conversions.convert(ada, Wish(exact("100.00", "USD"), "EUR", requested_by="test"), now=NOW)
    take_back(ada, exact("100.00", "USD"))
    able = queries.payable(ada, "EUR", now=NOW)
    assert (able.available, able.covers, able.keep_back, able.amount) == (eur("115.12"), eur("95.13"), eur("95.13"), eur("19.99"))
    with pytest.raises(NotPayable, match=r"19\.99 EUR can be paid out"):
        requests.request_payout(ada, amount=eur("20.00"), now=NOW, once="a", requested_by="ada")
    made, _is_new = scheduling.convert_and_run(november(shop), now=NOW, made_by="staff:ana")
    assert (made.count, made.total) == (1, eur("19.99"))
    assert held(ada) == {"EUR": Decimal("95.13"), "USD": Decimal("-100.00")}
    covered = conversions.convert(ada, Wish(eur("95.13"), "USD", requested_by="test"), now=NOW)
    assert covered.bought >= exact("100.00", "USD")  # whoever covers the debt owes nothing any more
    assert queries.payable(ada, "EUR", now=NOW).covers == eur("0.00")
    assert invariants.violations() == []


def test_a_debt_that_nobody_can_convert_keeps_all_of_it_back(shop: Shop) -> None:
    ada = payee(shop, "Ada", ("50.00", "EUR"))
    make_available(ada, exact("1.000", "KWD"))
    take_back(ada, exact("1.001", "KWD"))
    assert queries.payable(ada, "EUR", now=NOW).covers == eur("50.00")
    with pytest.raises(NotPayable, match="owed in another currency"):
        requests.request_payout(ada, currency="EUR", now=NOW, once="a", requested_by="ada")
    made, _is_new = scheduling.run(november(shop), now=NOW, made_by="staff:ana")
    assert made.count == 0
    assert [each.why_not for each in choice.passed_over(november(shop), now=NOW)] == ["owed_elsewhere"]
    assert invariants.violations() == []


# --- The seller's pages ---------------------------------------------------------------------------------------------


@pytest.fixture
def page(shop: Shop) -> Client:
    """Give the browser of a seller with euros and dollars."""
    cache.clear()
    quote_euro(clock.now(), USD="1.0512", JPY="163.11")
    [ada] = new_sellers(shop, "Ada")
    for amount in (eur("10.00"), exact("100.00", "USD")):
        make_available(ada, amount)
    user = User.objects.create_user("ada")
    ada.users.add(user)
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    step_up(browser, user)
    return browser


def test_a_seller_sees_what_comes_out_and_converts_it_once(page: Client) -> None:
    ada = Seller.objects.get(name="Ada")
    home = page.get("/seller/").content.decode()
    assert "/seller/currencies?currency=USD" in home
    asked = {"currency": "USD", "amount": "50.00", "to": "EUR"}
    shown = page.get("/seller/currencies", asked)
    text = shown.content.decode()
    for words in ("47.56", "1\N{NO-BREAK SPACE}USD = 0.951294\N{NO-BREAK SPACE}EUR", "European Central Bank"):
        assert words in text
    sent = asked | {"seller": ada.public_id, "expected": "47.56", "once": shown.context["once"]}
    first, again = (page.post("/seller/currencies", sent) for _time in range(2))
    made = Conversion.objects.get()
    assert first["Location"] == again["Location"] == f"/seller/conversions/{made.public_id}"
    assert (made.requested_by, held(ada)) == ("user:ada", {"EUR": Decimal("57.56"), "USD": Decimal("50.00")})
    assert "47.56" in page.get(first["Location"]).content.decode()
    movements = page.get("/seller/movements").content.decode()
    assert "became" in movements
    assert "0.951294" in movements
    why = page.get("/seller/balance").content.decode()
    assert "Converted from and into other currencies" in why


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"amount": "100.01"}, "At most 100.00\N{NO-BREAK SPACE}USD can be converted now."),
        ({"amount": "0.001"}, "That is finer"),
        ({"amount": "0.01"}, "less than the smallest amount of EUR"),
        ({"amount": "0"}, "less than the smallest amount of EUR"),
        ({"amount": "much"}, "Write an amount such as"),
        ({"to": "USD"}, "It is USD already"),
        ({"to": "GBP"}, "There is no exchange rate"),
        ({"currency": "GBP"}, "Nothing can be converted from GBP now."),
        ({"to": "nothing"}, "Part of the address is not right"),
        ({"expected": "47.57"}, "There is a new rate"),
        ({"once": "\0" * 30}, "What you get"),
        ({"seller": "sel_other"}, "Nothing was sent"),
    ],
)
def test_what_a_page_cannot_convert_it_says_and_does_not(page: Client, changed: dict[str, str], words: str) -> None:
    ada = Seller.objects.get(name="Ada")
    sent = {"currency": "USD", "amount": "50.00", "to": "EUR", "seller": ada.public_id, "expected": "47.56", "once": "x" * 30}
    answer = page.post("/seller/currencies", sent | changed)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert Conversion.objects.count() == 0


def test_a_seller_chooses_the_payout_currency_and_sees_what_waits(page: Client) -> None:
    ada = Seller.objects.get(name="Ada")
    make_available(ada, exact("20.000", "KWD"))
    page.post("/seller/currencies/payout", {"seller": ada.public_id, "payout_currency": "EUR"})
    assert conversions.chosen_by(ada) == "EUR"
    payouts = page.get("/seller/payouts").content.decode()
    for words in ("105.12", "95.12\N{NO-BREAK SPACE}EUR of it converted from other currencies", "20.000\N{NO-BREAK SPACE}KWD waits"):
        assert words in payouts
    home = page.get("/seller/").content.decode()
    assert "Converted into EUR before your next payout." in home
    assert "20.000\N{NO-BREAK SPACE}KWD waits for an exchange rate" in home
    page.post("/seller/currencies/payout", {"seller": ada.public_id, "payout_currency": ""})
    assert conversions.chosen_by(ada) == ""


def test_sec_a_browser_left_open_converts_nothing_and_shows_what_it_would_bring(page: Client) -> None:
    ada = Seller.objects.get(name="Ada")
    step_up(page, User.objects.get(username="ada"), at=timezone.now() - timedelta(hours=1))
    asked = {"currency": "USD", "amount": "50.00", "to": "EUR"}
    assert "47.56" in page.get("/seller/currencies", asked).content.decode()
    sent = asked | {"seller": ada.public_id, "expected": "47.56", "once": "x" * 30, "payout_currency": "EUR"}
    for path in ("/seller/currencies", "/seller/currencies/payout"):
        led_to = page.post(path, sent, headers={"referer": "http://testserver/seller/currencies?to=EUR"})["Location"]
        assert led_to == "/seller/confirm?next=%2Fseller%2Fcurrencies%3Fto%3DEUR"
    assert (Conversion.objects.count(), conversions.chosen_by(ada)) == (0, "")


def test_a_seller_sees_what_stays_for_a_debt_in_another_currency(page: Client) -> None:
    ada = Seller.objects.get(name="Ada")
    take_back(ada, exact("105.00", "USD"))
    payouts = page.get("/seller/payouts").content.decode()
    assert "4.76\N{NO-BREAK SPACE}EUR stays for what you owe in another currency" in payouts
    new_bank_account(ada)
    asked = page.get("/seller/payouts/new").content.decode()
    assert "Stays for what you owe in another currency" in asked and "5.24\N{NO-BREAK SPACE}EUR" in asked


def test_another_sellers_conversion_is_not_found(page: Client, shop: Shop) -> None:
    bob = payee(shop, "Bob", ("10.00", "USD"))
    conversions.convert_due(november(shop), now=NOW)
    made = Conversion.objects.get(seller=bob)
    assert page.get(f"/seller/conversions/{made.public_id}").status_code == 404
    page.post("/seller/currencies/payout", {"seller": bob.public_id, "payout_currency": ""})
    assert conversions.chosen_by(bob) == "EUR"
