"""The vault: what is sealed opens for its owner alone, with the current key and older ones; and account numbers as people type them."""

import base64
from typing import Any

import pytest

from payouts import account_numbers, vault
from payouts.account_numbers import BankDetailsRefused

DETAILS = {"iban": "DE89370400440532013000"}
NEW_KEY = base64.b64encode(b"n" * 32).decode()


def test_sealed_details_open_for_their_owner_and_hide_the_number() -> None:
    sealed = vault.seal(DETAILS, owner="ba_1")
    assert vault.open_sealed(sealed, owner="ba_1") == DETAILS
    assert sealed != vault.seal(DETAILS, owner="ba_1")
    assert "0532013000" not in sealed
    assert b"0532013000" not in base64.b64decode(sealed.partition(".")[2])


def test_what_was_moved_to_another_row_or_changed_does_not_open() -> None:
    sealed = vault.seal(DETAILS, owner="ba_1")
    changed = sealed[:-6] + ("AAAA" if sealed[-6:-2] != "AAAA" else "BBBB") + sealed[-2:]
    for text, owner in ((sealed, "ba_2"), (changed, "ba_1"), (sealed[:20], "ba_1"), (sealed.partition(".")[0] + ".!", "ba_1")):
        with pytest.raises(vault.CannotOpen, match=owner):
            vault.open_sealed(text, owner=owner)


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens(settings: Any) -> None:
    before, mark = vault.seal(DETAILS, owner="ba_1"), vault.fingerprint("iban DE89")
    settings.BANK_DETAILS_KEYS = [NEW_KEY, *settings.BANK_DETAILS_KEYS]
    assert vault.open_sealed(before, owner="ba_1") == DETAILS
    assert not before.startswith(vault.current_mark())
    assert vault.seal(DETAILS, owner="ba_1").startswith(vault.current_mark())
    assert vault.fingerprint("iban DE89") == mark
    settings.BANK_DETAILS_KEYS = [NEW_KEY]
    with pytest.raises(vault.CannotOpen, match="BANK_DETAILS_KEYS"):
        vault.open_sealed(before, owner="ba_1")


def iban(text: str) -> account_numbers.Checked:
    return account_numbers.checked(iban=text, country="", account_number="", bank_code="")


def local(country: str, account_number: str, bank_code: str) -> account_numbers.Checked:
    return account_numbers.checked(iban="", country=country, account_number=account_number, bank_code=bank_code)


@pytest.mark.parametrize("text", ["DE89370400440532013000", "de89 3704 0044 0532 0130 00", " DE89-3704-0044-0532-0130-00\t"])
def test_an_iban_is_read_however_it_is_spaced(text: str) -> None:
    found = iban(text)
    assert (found.details, found.country, found.last4) == (DETAILS, "DE", "3000")
    assert (found.bic, found.bank_name, found.is_sepa) == ("COBADEFFXXX", "Commerzbank", True)


@pytest.mark.parametrize(("text", "is_sepa"), [("ME25505000012345678951", True), ("BR1800360305000010009795493C1", False)])
def test_euros_reach_the_countries_of_sepa(text: str, is_sepa: bool) -> None:
    assert iban(text).is_sepa == is_sepa


def test_an_iban_with_any_one_digit_wrong_is_refused_and_not_repeated() -> None:
    good = "DE89370400440532013000"
    wrong = [good[:place] + str((int(good[place]) + 1) % 10) + good[place + 1 :] for place in range(2, len(good))]
    others = ["DE8937040044053201300", "XX", "US64SVBKUS6S3300958879", "DE8937040044053201300ö", "DE89370400440532013٣00", "1", "-"]
    for text in wrong + others:
        with pytest.raises(BankDetailsRefused) as refused:
            iban(text)
        assert refused.value.field == "iban"
        assert text not in refused.value.detail or text in "1-"
        assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("country", "account_number", "bank_code", "field"),
    [
        ("us", "000123456789", "021000021", ""),
        ("US", "000123456789", "021000022", "bank_code"),
        ("US", "000123456789", "02100002", "bank_code"),
        ("US", "123", "021000021", "account_number"),
        ("GB", "31926819", "60-16-13", ""),
        ("GB", "3192681", "60-16-13", "account_number"),
        ("GB", "31926819", "60161", "bank_code"),
        ("JP", "1234567", "0001 001", ""),
        ("JP", "12345_7", "0001001", "account_number"),
        ("JP", "1234567", "", "bank_code"),
        ("XX", "1234567", "0001001", "country"),
        ("USA", "1234567", "0001001", "country"),
        ("", "1234567", "0001001", "country"),
    ],
)
def test_a_local_account_is_checked_by_its_countrys_rules(country: str, account_number: str, bank_code: str, field: str) -> None:
    if field:
        with pytest.raises(BankDetailsRefused) as refused:
            local(country, account_number, bank_code)
        assert refused.value.field == field
        assert account_number not in refused.value.detail
    else:
        found = local(country, account_number, bank_code)
        assert found.details["country"] == country.upper()
        assert found.details["bank_code"].isalnum()
        assert account_number.endswith(found.last4)


def test_of_a_short_number_less_is_shown() -> None:
    assert local("US", "1234567", "021000021").last4 == "67"
    assert local("US", "12345678", "021000021").last4 == "5678"
