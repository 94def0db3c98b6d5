"""A movement on its way to Postgres: its arithmetic, its currency, its seller."""

from tests.factories import eur
from wallet import balances
from wallet.balances import Movement


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


def test_a_seller_named_twice_is_wanted_once_and_in_order() -> None:
    assert balances.wanted([9, 2, 9], currency="EUR") == [
        {"seller_id": 2, "currency": "EUR"},
        {"seller_id": 9, "currency": "EUR"},
    ]
