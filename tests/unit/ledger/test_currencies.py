"""The currencies by ISO 4217: the code's tables are the golden list, nothing missing and nothing extra, and whoever writes an amount agrees."""

import csv
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import translation
from djmoney.money import Money
from moneyed import CURRENCIES

from ledger.admin import figure_column
from ledger.currencies import MINOR_UNITS, NUMERIC, WITHDRAWN
from ledger.money import from_minor, text
from payments.sandbox import amounts, emvco

GOLDEN = Path(__file__).parents[2] / "golden" / "minor_units.csv"
LISTED = {row["code"]: row for row in csv.DictReader(line for line in GOLDEN.read_text().splitlines() if not line.startswith("#"))}


def test_pg_16_our_currencies_are_those_of_the_golden_list_and_those_it_dropped() -> None:
    assert MINOR_UNITS.keys() - WITHDRAWN.keys() == LISTED.keys()
    assert not WITHDRAWN.keys() & LISTED.keys()
    assert set(WITHDRAWN.values()) <= LISTED.keys()
    assert {code: MINOR_UNITS[code] for code in LISTED} == {code: int(row["decimals"]) for code, row in LISTED.items()}


def test_each_currency_has_its_three_digits_and_no_two_in_use_share_them() -> None:
    assert NUMERIC.keys() == MINOR_UNITS.keys()
    numbers = {code: NUMERIC[code] for code in LISTED}
    assert numbers == {code: row["number"] for code, row in LISTED.items()}
    assert len(set(numbers.values())) == len(numbers)
    assert all(len(number) == 3 and number.isdigit() for number in NUMERIC.values())


def test_pg_16_the_sandbox_counts_by_a_table_of_its_own_that_is_iso_4217() -> None:
    assert {code: amounts.digits_of(code) for code in LISTED} == {code: int(row["sandbox"]) for code, row in LISTED.items()}
    assert amounts.MINOR_DIGITS.keys() <= LISTED.keys()


def test_the_sandboxs_codes_name_currencies_by_their_numbers_in_iso_4217() -> None:
    assert {code: LISTED[code]["number"] for code in emvco.NUMBERS} == emvco.NUMBERS


def test_the_library_of_money_knows_each_currency_by_the_same_figures() -> None:
    for code, places in MINOR_UNITS.items():
        known = CURRENCIES[code]
        assert (known.sub_unit, known.numeric or NUMERIC[code]) == (10**places, NUMERIC[code]), code


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ar", "ja"])
def test_pg_16_an_amount_as_text_has_all_of_its_currencys_decimals_and_no_others(language: str) -> None:
    with translation.override(language):
        for code, places in MINOR_UNITS.items():
            smallest = from_minor(1, code)
            stored = Money(smallest.amount.quantize(Decimal("0.0001")), code)
            assert "".join(filter(str.isdecimal, str(stored))) == text(smallest).replace(".", ""), (code, places)


@pytest.mark.parametrize(
    ("held", "currency", "language", "shown"),
    [
        ("500.0000", "JPY", "en", "500 JPY"),
        ("12.5000", "EUR", "de", "12,50 EUR"),
        ("1.5000", "KWD", "en", "1.500 KWD"),
        ("0.0001", "CLF", "en", "0.0001 CLF"),
        ("-3.0000", "UGX", "ar", "\u2066\u22123 UGX\u2069"),
    ],
)
def test_pg_16_a_figure_from_a_table_is_shown_as_its_currency_counts(held: str, currency: str, language: str, shown: str) -> None:
    row = SimpleNamespace(gross=Decimal(held), currency=currency)
    with translation.override(language):
        assert figure_column("gross", "gross")(row).replace("\u00a0", " ") == f'<span class="amount">{shown}</span>'
