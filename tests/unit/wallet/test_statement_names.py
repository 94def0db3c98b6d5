"""How card statements name a shop: whatever its name is, what is made of it is what PSPs take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet import statement_names


@pytest.mark.parametrize(
    ("shop", "statement"),
    [
        ("Northwind", "NORTHWIND"),
        ("Café Müller", "CAFE MULLER"),
        ("Northwind Traders of the North", "NORTHWIND TRADERS OF T"),
        ("Fish & Chips*", "FISH & CHIPS"),
        ("Bär", "BAR ONEBOOK"),
        ("1234567", "1234567 ONEBOOK"),
        ("1234567890123456789012345 Ltd", "12345678901234 ONEBOOK"),
        ("書店", "ONEBOOK"),
        ("...", "ONEBOOK"),
        ("", "ONEBOOK"),
    ],
)
def test_a_statement_has_capitals_and_22_characters(shop: str, statement: str) -> None:
    assert statement_names.made_of(shop, platform="Onebook") == statement


@given(st.text(max_size=40), st.sampled_from(["ONEBOOK", "ABCDE", "The whole of a name 22"]))
def test_what_is_made_of_any_name_is_fit_and_stays_as_it_is(name: str, platform: str) -> None:
    made = statement_names.made_of(name, platform=platform)
    assert statement_names.is_fit(made)
    assert statement_names.made_of(made, platform=platform) == made


@pytest.mark.parametrize("name", ["NW BOOKS", "Fish & Co.", "A1234", "x" * 22])
def test_a_name_that_psps_take_is_fit(name: str) -> None:
    assert statement_names.is_fit(name)


@pytest.mark.parametrize(
    "name", ["", "ABCD", "x" * 23, "12345", "A*BOOKS", "O'Neill", 'A"BOOK', "A<BOOK", "A>BOOK", "A\\BOOK", "CAFÉ A", " ABCD", "ABCDE\n"]
)
def test_a_name_that_a_psp_would_refuse_is_not(name: str) -> None:
    assert not statement_names.is_fit(name)
