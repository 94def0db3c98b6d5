"""A draft becomes legs before any database is asked: what does not balance never leaves Python."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import chart, journal
from ledger.journal import Unbalanced
from ledger.money import exact, from_minor, split
from ledger.statements import NeedsTransaction, as_document
from tests.factories import FEES, RECEIVABLE, draft, eur


def test_debits_are_positive_and_credits_negative() -> None:
    legs = journal.legs_of(draft("a", "5.00"))
    assert [(leg["line"], leg["code"], leg["amount"], leg["currency"]) for leg in legs] == [
        (1, RECEIVABLE, Decimal("5.00"), "EUR"),
        (2, FEES, Decimal("-5.00"), "EUR"),
    ]


@pytest.mark.parametrize(
    "terms",
    [
        {"credits": [(FEES, eur("4.99"))]},
        {"credits": []},
        {"debits": [], "credits": []},
        {"debits": [(RECEIVABLE, eur("0"))], "credits": [(FEES, eur("0"))]},
        {"credits": [(FEES, exact("5.00", "USD"))]},
        {"debits": [(RECEIVABLE, eur("-5.00"))], "credits": [(FEES, eur("-5.00"))]},
        {"debits": [(RECEIVABLE, eur("5.00")), (FEES, eur("-5.00"))], "credits": []},
        {
            "debits": [(RECEIVABLE, eur("5.00")), (RECEIVABLE, exact("3", "USD"))],
            "credits": [(FEES, eur("3.00")), (FEES, exact("5", "USD"))],
        },
    ],
    ids=[
        "too little",
        "one leg",
        "no legs",
        "moves nothing",
        "other currency",
        "negative",
        "negative on one side",
        "crosswise",
    ],
)
def test_bug_25_what_does_not_balance_in_each_currency_is_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(Unbalanced):
        journal.legs_of(draft("a", **terms))


def test_a_leg_of_no_money_is_left_out() -> None:
    legs = journal.legs_of(draft("a", credits=[(chart.seller_pending(1), eur("5.00")), (FEES, eur("0"))]))
    assert [leg["code"] for leg in legs] == [RECEIVABLE, chart.seller_pending(1)]


def test_an_entry_may_balance_in_several_currencies_at_once() -> None:
    both = draft(
        "a",
        debits=[(RECEIVABLE, eur("5.00")), (RECEIVABLE, exact("700", "JPY"))],
        credits=[(FEES, exact("700", "JPY")), (FEES, eur("5.00"))],
    )
    assert len(journal.legs_of(both)) == 4


@given(units=st.integers(1, 10**12), weights=st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_a_split_amount_always_makes_a_balanced_entry(units: int, weights: list[int]) -> None:
    whole = from_minor(units, "KWD")
    legs = journal.legs_of(draft("a", debits=[(RECEIVABLE, whole)], credits=[(FEES, part) for part in split(whole, weights)]))
    assert sum(leg["amount"] for leg in legs) == 0


def test_no_digit_of_an_amount_becomes_a_float_on_its_way_to_postgres() -> None:
    assert as_document([{"amount": Decimal("999999999999.9999")}]) == '[{"amount":"999999999999.9999"}]'


def test_pg_05_posting_outside_a_transaction_is_refused_before_postgres_is_asked() -> None:
    with pytest.raises(NeedsTransaction):
        journal.post([draft("a")])
