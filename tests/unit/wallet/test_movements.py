"""A movement on its way to Postgres: its arithmetic, its currency, its seller."""

import pytest

from tests.factories import eur
from wallet import balances
from wallet.balances import Figures, Movement


def test_what_a_sale_brings_is_gross_fee_and_net_in_one_currency() -> None:
    sale = Movement(7, 3, "ord_1", gross=eur("10.00"), fee=eur("1.00"), net=eur("9.00"))
    row = balances.sale_row(sale)
    assert {name: str(value) for name, value in row.items()} == {
        "seller_id": "7",
        "journal_entry_id": "3",
        "kind": "sale",
        "source": "ord_1",
        "gross": "10.00",
        "fee": "1.00",
        "pending": "9.00",
        "available": "0",
        "reserved": "0",
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    ("net", "pending", "from_pending", "from_available"),
    [
        ("4.00", "9.00", "4.00", "0.00"),
        ("9.00", "9.00", "9.00", "0.00"),
        ("9.01", "9.00", "9.00", "0.01"),
        ("5.00", "0.00", "0.00", "5.00"),
    ],
    ids=["pending has more", "pending has just that", "available bears the rest", "nothing is pending"],
)
def test_what_is_taken_comes_from_pending_first_whatever_is_available(
    net: str, pending: str, from_pending: str, from_available: str
) -> None:
    figures = Figures(pending=eur(pending), available=eur("-1.00"), reserved=eur("7.00"))
    assert figures.part(eur(net)) == (eur(from_pending), eur(from_available))


def test_a_seller_named_twice_is_wanted_once_and_in_order() -> None:
    assert balances.wanted([9, 2, 9], currency="EUR") == [
        {"seller_id": 2, "currency": "EUR"},
        {"seller_id": 9, "currency": "EUR"},
    ]
