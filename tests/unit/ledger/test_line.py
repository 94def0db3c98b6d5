"""What a stranger says is kept without the numbers of accounts and cards that it may repeat."""

import pytest

from ledger.ids import new_id
from ledger.line import without_numbers


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("IBAN AT611904300234573201 is closed", "IBAN •••• 3201 is closed"),
        ("IBAN AT61 1904 3002 3457 3201 is closed", "IBAN •••• 3201 is closed"),
        ("iban at611904300234573201 is closed", "iban •••• 3201 is closed"),
        ("iban: at61-1904-3002-3457-3201.", "iban: •••• 3201."),
        ("iban at61 1904 3002 3457 3201 is over there", "iban •••• 3201 is over there"),
        ("account 000123456789 is closed", "account •••• 6789 is closed"),
        ("card 4242 4242 4242 4242 was refused", "card •••• 4242 was refused"),
        ("refused with 1234567, AC04 since 2026-11-21", "refused with 1234567, AC04 since 2026-11-21"),
    ],
)
def test_numbers_of_accounts_and_cards_are_masked_and_others_are_not(said: str, kept: str) -> None:
    assert without_numbers(said) == kept


def test_an_id_of_ours_is_kept_whole_even_if_it_has_many_digits_in_a_row() -> None:
    for our_id in ("po_01a1ff94ad407315b719248050b10ad2", *(new_id("po") for _ in range(200))):
        assert without_numbers(f"The holder of {our_id} has no name.") == f"The holder of {our_id} has no name."
