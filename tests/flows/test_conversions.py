"""Conversions: a seller's money becomes money in another currency, once, at the rate of the day, and nobody makes any by it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from djmoney.money import Money
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import chart, queries
from ledger.errors import DomainError
from ledger.models import JournalEntry
from ledger.money import exact, from_minor, zero
from reconciliation import invariants
from tests.factories import eur, make_available, new_sellers, new_shop
from tests.fixtures_money import all_at_once, errors_in
from tests.rates import quote_euro
from wallet import conversion_position, conversions, holds
from wallet.conversions import NotConvertible, QuoteChanged, Wish
from wallet.models import Conversion, OutboxMessage, Seller, Wallet, WalletEntry

NOW = datetime(2026, 11, 20, 16, 30, tzinfo=UTC)
RATES = {"USD": "1.0512", "JPY": "163.11", "KWD": "0.3231", "CLF": "0.02579"}


def usd(amount: str) -> Money:
    return exact(amount, "USD")


def wish(amount: Money, to: str, **terms: Any) -> Wish:
    return Wish(amount, to, **({"requested_by": "test"} | terms))


def convert(seller: Seller, amount: Money, to: str, *, now: datetime = NOW, **terms: Any) -> Conversion:
    return conversions.convert(seller, wish(amount, to, **terms), kept=zero(amount.currency.code), now=now)


def held(seller: Seller) -> dict[str, Decimal]:
    return {str(wallet.available.currency): wallet.available.amount for wallet in Wallet.objects.filter(seller=seller)}


@pytest.fixture
def ada(db: None) -> Seller:
    """Give a seller with 1,000 USD, on a day on which the bank quotes."""
    quote_euro(NOW, **{code: rate for code, rate in RATES.items() if code != "CLF"})
    [seller] = new_sellers(new_shop(), "Ada")
    make_available(seller, usd("1000.00"))
    return seller


def test_a_conversion_is_one_entry_that_balances_in_each_currency_and_two_movements(ada: Seller) -> None:
    made = convert(ada, usd("100.00"), "EUR")
    assert (made.sold, made.bought, made.rate) == (usd("100.00"), eur("95.12"), Decimal("0.951293759513"))
    assert (made.source, made.quoted_on, made.bought_rate) == ("ecb", NOW.date(), None)
    assert held(ada) == {"EUR": Decimal("95.12"), "USD": Decimal("900.00")}
    wallet, position = chart.seller_available(ada.pk), chart.fx_position()
    legs = [(leg.account.code, leg.amount) for leg in made.journal_entry.postings.select_related("account").order_by("line")]
    assert legs == [(wallet, usd("100.00")), (position, eur("95.12")), (position, usd("-100.00")), (wallet, eur("-95.12"))]
    moved = [(each.pk, each.source, each.net) for each in WalletEntry.objects.filter(kind="conversion").order_by("id")]
    assert moved == [(made.sold_entry_id, made.public_id, usd("-100.00")), (made.bought_entry_id, made.public_id, eur("95.12"))]
    [message] = OutboxMessage.objects.filter(topic="conversion.created")
    assert (message.about, message.payload["bought"]) == (made.public_id, {"amount": "95.12", "currency": "EUR"})
    assert invariants.violations() == []


def test_between_two_other_currencies_both_rates_count_and_what_is_less_than_a_unit_is_ours(ada: Seller) -> None:
    made = convert(ada, usd("10.00"), "KWD")
    exactly = Fraction(10) * Fraction(Decimal("0.3231")) / Fraction(Decimal("1.0512"))
    assert made.bought == exact("3.073", "KWD")
    assert 0 <= exactly - Fraction(made.bought.amount) < Fraction(1, 1000)
    assert {rate.quote for rate in (made.sold_rate, made.bought_rate) if rate} == {"USD", "KWD"}
    back = convert(ada, made.bought, "USD")
    assert back.bought == usd("9.99")
    assert invariants.violations() == []


@pytest.mark.parametrize(
    ("amount", "to", "code"),
    [
        ("100.00", "USD", "same_currency"),
        ("100.00", "XXX", "unknown_currency"),
        ("100.00", "CLF", "no_rate"),
        ("0.00", "EUR", "not_convertible"),
        ("-5.00", "EUR", "not_convertible"),
        ("1000.01", "EUR", "not_convertible"),
        ("0.01", "EUR", "not_convertible"),  # 0.0095 euros
    ],
)
def test_what_cannot_be_converted_is_refused_and_moves_nothing(ada: Seller, amount: str, to: str, code: str) -> None:
    entries = JournalEntry.objects.count()
    with pytest.raises(DomainError) as refused:
        convert(ada, usd(amount), to)
    assert refused.value.code == code
    assert (held(ada), JournalEntry.objects.count()) == ({"USD": Decimal("1000.00")}, entries)


def test_a_stale_rate_refuses_and_so_does_a_wallet_that_is_not_there(ada: Seller) -> None:
    with pytest.raises(DomainError) as refused:
        convert(ada, usd("1.00"), "EUR", now=NOW + timedelta(days=5))
    assert refused.value.code == "stale_rate"
    with pytest.raises(DomainError) as refused:
        convert(ada, exact("1", "JPY"), "EUR")
    assert refused.value.code == "unknown_wallet"


def test_more_than_an_amount_can_be_is_refused(ada: Seller) -> None:
    make_available(ada, exact("99999999999.00", "USD"))
    with pytest.raises(DomainError) as refused:
        convert(ada, exact("99999999999.00", "USD"), "JPY")
    assert refused.value.code == "amount_too_large"


def test_what_always_stays_in_a_wallet_is_not_converted(ada: Seller) -> None:
    with pytest.raises(NotConvertible, match=r"900\.00 USD can be converted"):
        conversions.convert(ada, wish(usd("900.01"), "EUR"), kept=usd("100.00"), now=NOW)
    assert conversions.convert(ada, wish(usd("900.00"), "EUR"), kept=usd("100.00"), now=NOW).sold == usd("900.00")


def test_whoever_was_told_another_amount_is_asked_again(ada: Seller) -> None:
    offer = conversions.quote(usd("100.00"), "EUR", now=NOW)
    quote_euro(NOW + timedelta(days=1), USD="1.0600")
    later = NOW + timedelta(days=1)
    with pytest.raises(QuoteChanged, match=r"94\.33 EUR"):
        convert(ada, usd("100.00"), "EUR", expected=offer.bought, now=later)
    assert convert(ada, usd("100.00"), "EUR", expected=eur("94.33"), now=later).bought == eur("94.33")


def test_the_same_wish_is_one_conversion_for_ever_and_another_under_its_key_is_a_conflict(ada: Seller) -> None:
    made = convert(ada, usd("100.00"), "EUR", once="k")
    assert convert(ada, usd("100.00"), "EUR", once="k", now=NOW + timedelta(days=30)) == made
    for other, field in ((wish(usd("1.00"), "EUR", once="k"), "amount"), (wish(usd("100.00"), "JPY", once="k"), "to")):
        with pytest.raises(DomainError) as refused:
            conversions.convert(ada, other, kept=usd("0.00"), now=NOW)
        assert (refused.value.code, refused.value.field) == ("conversion_conflict", field)
    assert Conversion.objects.count() == 1


def test_a_hold_keeps_payouts_here_and_not_conversions(ada: Seller) -> None:
    holds.place(ada.pk, reason="Fraud?", until=None, actor="staff:bo", now=NOW)
    assert convert(ada, usd("100.00"), "EUR").bought == eur("95.12")


def test_a_conversion_is_never_changed_and_gives_no_more_than_its_rates(ada: Seller) -> None:
    made = convert(ada, usd("100.00"), "EUR")
    for statement in ("UPDATE wallet_conversion SET bought = 96", "DELETE FROM wallet_conversion"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    made.pk, made.public_id, made.bought = None, "cnv_other", eur("95.13")
    with pytest.raises(IntegrityError, match="conversion_gives_no_more_than_its_rates"), transaction.atomic():
        made.save(force_insert=True)


def test_what_the_platform_holds_and_what_it_gained_is_seen_at_the_rates_of_now(ada: Seller) -> None:
    convert(ada, usd("100.00"), "EUR")
    found = conversion_position.positions(now=NOW)
    assert [(each.held, each.worth) for each in found] == [(eur("-95.12"), eur("-95.12")), (usd("100.00"), eur("95.13"))]
    assert conversion_position.result(found) == eur("0.01")  # what was less than a cent, here rounded
    later = NOW + timedelta(days=1)
    quote_euro(later, USD="1.0000")
    assert conversion_position.result(conversion_position.positions(now=later)) == eur("4.88")
    assert [each.is_stale for each in conversion_position.positions(now=later + timedelta(days=9))] == [False, True]


MOVES = st.lists(
    st.tuples(st.sampled_from(["EUR", *RATES]), st.sampled_from(["EUR", *RATES]), st.integers(1, 10**9), st.booleans()),
    min_size=1,
    max_size=6,
)


BOOKS = [name for name in invariants.CHECKS if name.startswith(("INV-01", "INV-02", "INV-03 every wallet", "INV-24"))]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_property_the_books_balance_in_each_currency_and_there_and_back_never_gains_a_unit(
    ada: Seller, moves: list[tuple[Any, ...]]
) -> None:
    begin = transaction.savepoint()
    quote_euro(NOW, CLF=RATES["CLF"])
    for sold, bought, units, comes_back in moves:
        amount = from_minor(units, sold)
        make_available(ada, amount)
        before = held(ada)
        try:
            made = convert(ada, amount, bought)
            back = convert(ada, made.bought, sold) if comes_back else None
        except DomainError as error:
            assert error.code in ("same_currency", "not_convertible", "amount_too_large")
            continue
        if back is not None:
            assert back.bought <= amount
            assert held(ada)[bought] == before.get(bought, 0)
    for position in (each.held for each in conversion_position.positions(now=NOW)):
        currency = position.currency.code
        gave = sum((each.sold for each in Conversion.objects.filter(sold_currency=currency)), zero(currency))
        got = sum((each.bought for each in Conversion.objects.filter(bought_currency=currency)), zero(currency))
        assert position == gave - got
        assert queries.balance_of(chart.seller_available(ada.pk), currency=currency).amount == held(ada)[currency]
    assert [violation for name in BOOKS if (violation := invariants.violation_of(name))] == []
    transaction.savepoint_rollback(begin)


# --- At once --------------------------------------------------------------------------------------------------------


@pytest.mark.race
def test_two_who_convert_the_same_money_at_once_convert_it_once(books_hold: None) -> None:
    now = timezone.now()
    quote_euro(now, USD="1.0512", JPY="163.11")
    [bob] = new_sellers(new_shop(), "Bob")
    make_available(bob, usd("100.00"))
    answers = all_at_once(
        *[lambda: convert(bob, usd("100.00"), "EUR", now=now)] * 3, *[lambda: convert(bob, usd("100.00"), "JPY", now=now)] * 3
    )
    assert [type(error) for error in errors_in(answers)] == [NotConvertible] * 5
    assert held(bob)["USD"] == 0
    assert Conversion.objects.filter(seller=bob).count() == 1


@pytest.mark.race
def test_one_wish_sent_many_times_at_once_is_one_conversion(books_hold: None) -> None:
    now = timezone.now()
    quote_euro(now, USD="1.0512")
    [bob] = new_sellers(new_shop(), "Bob")
    make_available(bob, usd("100.00"))
    answers = all_at_once(*[lambda: convert(bob, usd("10.00"), "EUR", once="k", now=now).pk] * 6)
    assert len(set(answers)) == 1
    assert held(bob) == {"EUR": Decimal("9.51"), "USD": Decimal("90.00")}
