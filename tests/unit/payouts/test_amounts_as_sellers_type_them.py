"""An amount that a seller types, or copies from a page, is read as their language writes it and as their currency counts."""

import pytest
from django.utils import translation

from ledger.money import exact
from ledger.templatetags.written import amount
from payouts.views import NotReadable, amount_in, in_figures


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ar", "ja"])
@pytest.mark.parametrize(
    ("digits", "currency"),
    [("1234567", "JPY"), ("1234.50", "EUR"), ("1234.567", "KWD"), ("1.500", "KWD"), ("0.0001", "UYW"), ("0.05", "RSD")],
)
def test_bug_52_what_a_page_shows_can_be_typed_and_pasted_in_each_language(language: str, digits: str, currency: str) -> None:
    held = exact(digits, currency)
    with translation.override(language):
        assert amount_in(in_figures(held), currency) == held
        assert amount_in(amount(held), currency) == held


@pytest.mark.parametrize(("typed", "currency"), [("0.5", "JPY"), ("0.001", "EUR"), ("0.0001", "KWD"), ("0.00001", "CLF")])
def test_pg_16_what_is_finer_than_the_currency_counts_is_refused(typed: str, currency: str) -> None:
    with translation.override("en"), pytest.raises(NotReadable):
        amount_in(typed, currency)
