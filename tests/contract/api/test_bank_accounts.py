"""Sellers' bank accounts over REST: what cannot be the details of an account is refused by its field, and never repeated."""

from typing import Any

import pytest

from payouts.models import BankAccount
from tests.contract.api.conftest import Caller
from wallet.models import Seller

IBAN = "DE89370400440532013000"
DOLLARS = {"country": "US", "account_number": "000123456789", "bank_code": "021000021"}


def where(seller: Seller, currency: str = "EUR") -> str:
    return f"/v1/sellers/{seller.public_id}/bank_accounts/{currency}"


@pytest.mark.parametrize(
    ("currency", "details", "code", "field"),
    [
        ("EUR", {"iban": IBAN[:-1] + "1"}, "bank_details_refused", "iban"),
        ("EUR", {"iban": IBAN[:-1]}, "bank_details_refused", "iban"),
        ("EUR", {"iban": IBAN[:-1] + "\u0660"}, "bank_details_refused", "iban"),
        ("EUR", {"iban": IBAN[:4] + "\u200b" + IBAN[4:]}, "bank_details_refused", "iban"),
        ("EUR", {"iban": "BR1800360305000010009795493C1"}, "bank_details_refused", "iban"),
        ("EUR", {"iban": IBAN + "\x00"}, "forbidden_character", "iban"),
        ("EUR", {"iban": IBAN * 500}, "too_long", "iban"),
        ("EUR", {"iban": IBAN, "holder": "\u202eada"}, "forbidden_character", "holder"),
        ("EUR", {"iban": IBAN, "holder": "\ud800"}, "forbidden_character", "holder"),
        ("EUR", {"iban": IBAN, "holder": "\u200b"}, "blank", "holder"),
        ("EUR", {"iban": IBAN, "holder": "..."}, "bank_details_refused", "holder"),
        ("EUR", {"iban": IBAN, "holder": "x" * 10_000}, "too_long", "holder"),
        ("EUR", {"iban": IBAN, "verified": "yes"}, "wrong_type", "verified"),
        ("EUR", {"iban": IBAN, "bic": "COBADEFFXXX"}, "unknown_field", "bic"),
        ("EUR", {"iban": IBAN} | DOLLARS, "bank_details_refused", "iban"),
        ("EUR", DOLLARS, "bank_details_refused", "currency"),
        ("EUR", {}, "bank_details_refused", "iban"),
        ("USD", DOLLARS | {"bank_code": "021000022"}, "bank_details_refused", "bank_code"),
        ("USD", DOLLARS | {"account_number": "１２３４５"}, "bank_details_refused", "account_number"),
        ("USD", DOLLARS | {"country": "XX"}, "bank_details_refused", "country"),
        ("XXX", {"iban": IBAN}, "unknown_currency", "currency"),
        ("eur", {"iban": IBAN}, "unknown_currency", "currency"),
    ],
)
def test_wrong_bank_details_name_their_field_and_change_nothing(
    api: Caller, ada: Seller, currency: str, details: dict[str, Any], code: str, field: str
) -> None:
    answer = api.put(where(ada, currency), {"holder": "Ada's Books"} | details)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert IBAN[4:-2] not in answer.content.decode() and DOLLARS["account_number"] not in answer.content.decode()
    assert not BankAccount.objects.exists()


def test_an_iban_of_another_country_may_be_written_as_people_write_it(api: Caller, stranger: Caller, ada: Seller) -> None:
    found = api.put(where(ada), {"holder": " Ada's  Books", "iban": "fr14 2004-1010 0505 0001 3m02 606"}).json()
    assert (found["masked"], found["country"], found["holder"]) == ("FR•• •••• 2606", "FR", "Ada's Books")
    again = api.put(where(ada), {"holder": "Ada's Books", "iban": "FR1420041010050500013M02606"}).json()
    assert again == found == api.get(where(ada)).json()
    none = api.get(where(ada, "USD"))
    assert (none.status_code, none.json()["code"], none.json()["field"]) == (404, "not_found", "currency")
    assert stranger.get(where(ada)).status_code == 404
