"""Money is counted: what counts as an amount, how it is shared out, and how it travels as minor units."""

from decimal import Decimal

import pytest
from djmoney.money import Money
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.currencies import MINOR_UNITS
from ledger.money import NotAMinorUnit, NotAnAmount, TooLarge, UnknownCurrency, exact, from_minor, split, to_minor

CURRENCIES_BY_DECIMALS = {0: "JPY", 2: "USD", 3: "KWD", 4: "CLF"}
LARGEST_UNITS = 999_999_999_999 * 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "-",
        "--5",
        "+5",
        "5.",
        ".5",
        "1e2",
        "1E2",
        "1e400",
        "1E-2",
        "NaN",
        "-NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "1,00",
        "1.000,00",
        "1_000",
        " 5",
        "5 ",
        "5\n",
        "5\x00",
        "0x10",
        "1.2.3",
        "5 USD",
        "$5",
        "٥",
        "５.００",
        "²",
        "1.５",
        "−5",
        "9" * 33,
        "0." + "0" * 40,
    ],
)
def test_bug_18_what_is_not_plain_digits_is_not_an_amount(text: str) -> None:
    with pytest.raises(NotAnAmount) as refused:
        exact(text, "USD")
    assert refused.value.field == "amount"


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("0.5", "JPY"),
        ("1.001", "USD"),
        ("1.0001", "KWD"),
        ("1.00001", "CLF"),
        ("-0.001", "EUR"),
        ("0.00000000000000001", "USD"),
    ],
)
def test_what_is_finer_than_the_currency_counts_is_refused_and_never_rounded(text: str, currency: str) -> None:
    with pytest.raises(NotAMinorUnit):
        exact(text, currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("5.00", "JPY"), ("1.100", "USD"), ("1.0010", "KWD"), ("1.000100", "CLF"), ("0007.5", "EUR")]
)
def test_zeros_that_say_nothing_are_no_finer(text: str, currency: str) -> None:
    assert exact(text, currency).amount == Decimal(text)


@pytest.mark.parametrize("text", ["1000000000000", "99999999999999999999999999999999", "-1000000000000", str(2**63)])
def test_what_no_column_could_sum_is_too_large(text: str) -> None:
    with pytest.raises(TooLarge):
        exact(text, "USD")


def test_the_largest_amount_is_still_one() -> None:
    assert exact("999999999999.99", "USD") == Money("999999999999.99", "USD")


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDD", "XAU", "XXX", "XTS", "DEM", "ＵＳＤ", "$"])
def test_a_currency_nobody_pays_with_is_unknown(currency: str) -> None:
    with pytest.raises(UnknownCurrency) as refused:
        exact("5", currency)
    assert refused.value.field == "currency"


def test_bug_18_minus_nothing_is_nothing() -> None:
    amount = exact("-0.00", "USD")
    assert (amount, money.text(amount)) == (money.zero("USD"), "0.00")


def test_a_negative_amount_is_read_as_one_for_those_who_allow_it() -> None:
    assert exact("-19.99", "USD") == Money("-19.99", "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [("19.9", "USD", "19.90"), ("500", "JPY", "500"), ("1.5", "KWD", "1.500"), ("2", "CLF", "2.0000")],
)
def test_an_amount_is_written_with_all_of_its_currencys_decimals(amount: str, currency: str, written: str) -> None:
    assert money.text(exact(amount, currency)) == written


def test_bug_54_every_price_up_to_a_hundred_survives_the_way_to_minor_units_and_back() -> None:
    for cents in range(1, 10_001):
        written = f"{cents // 100}.{cents % 100:02}"
        amount = exact(written, "USD")
        assert to_minor(amount) == cents
        assert from_minor(cents, "USD") == amount
        assert money.text(from_minor(cents, "USD")) == written


@pytest.mark.parametrize("currency", sorted(MINOR_UNITS))
def test_bug_52_one_minor_unit_is_one_in_every_currency(currency: str) -> None:
    smallest = from_minor(1, currency)
    assert to_minor(smallest) == 1
    assert exact(money.text(smallest), currency) == smallest


@given(units=st.integers(0, LARGEST_UNITS // 10_000), decimals=st.sampled_from(sorted(CURRENCIES_BY_DECIMALS)))
def test_minor_units_go_there_and_back(units: int, decimals: int) -> None:
    amount = from_minor(units, CURRENCIES_BY_DECIMALS[decimals])
    assert to_minor(amount) == units
    assert exact(money.text(amount), CURRENCIES_BY_DECIMALS[decimals]) == amount


WEIGHTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=12).filter(any)
AMOUNTS = st.builds(
    lambda units, decimals: from_minor(units, CURRENCIES_BY_DECIMALS[decimals]),
    st.integers(0, 10**12),
    st.sampled_from(sorted(CURRENCIES_BY_DECIMALS)),
)


@given(amount=AMOUNTS, weights=WEIGHTS)
def test_bug_55_the_parts_add_up_to_the_whole(amount: Money, weights: list[int]) -> None:
    parts = split(amount, weights)
    assert sum(parts[1:], start=parts[0]) == amount
    assert [part.currency for part in parts] == [amount.currency] * len(weights)


@given(amount=AMOUNTS, weights=WEIGHTS)
def test_bug_26_each_part_is_less_than_one_minor_unit_away_from_its_exact_share(amount: Money, weights: list[int]) -> None:
    units, total = to_minor(amount), sum(weights)
    for part, weight in zip(split(amount, weights), weights, strict=True):
        assert abs(to_minor(part) * total - units * weight) < total
        assert to_minor(part) == part.amount.scaleb(money.minor_units(part.currency.code)), "no finer than the currency"


@given(amount=AMOUNTS, weights=WEIGHTS)
def test_a_larger_weight_never_gets_less(amount: Money, weights: list[int]) -> None:
    parts = [part.amount for part in split(amount, weights)]
    by_weight = [part for _weight, part in sorted(zip(weights, parts, strict=True))]
    assert by_weight == sorted(by_weight)


def test_bug_26_fifty_forty_five_and_the_rest_leave_nothing_over() -> None:
    assert [str(part.amount) for part in split(exact("0.99", "USD"), [50, 45, 5])] == ["0.49", "0.45", "0.05"]


def test_of_equal_parts_the_first_gets_what_is_left_over() -> None:
    assert [str(part.amount) for part in split(exact("10.00", "USD"), [1, 1, 1])] == ["3.34", "3.33", "3.33"]
    assert [str(part.amount) for part in split(exact("100", "JPY"), [1, 1, 1])] == ["34", "33", "33"]


@pytest.mark.parametrize(("amount", "weights"), [("5", []), ("5", [0, 0]), ("5", [1, -1]), ("-5", [1, 1])])
def test_a_split_that_has_no_meaning_is_refused(amount: str, weights: list[int]) -> None:
    with pytest.raises(ValueError):
        split(exact(amount, "USD"), weights)


def test_bug_54_the_largest_amount_is_split_to_its_last_unit() -> None:
    amount = exact("999999999999.9999", "CLF")
    share, rest = split(amount, [333, 9667])
    units = 9_999_999_999_999_999
    assert to_minor(share) - units * 333 // 10_000 in (0, 1)
    assert share + rest == amount
