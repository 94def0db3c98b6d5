"""The sandbox speaks to buyers in six languages, and says the same in each."""

import re

import pytest

from payments.sandbox import amounts, words

PLACES = re.compile(r"{\w+}")


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_says_the_same(language: str) -> None:
    english, said = words.LANGUAGES["en"], words.LANGUAGES[language]
    assert list(said) == list(english)
    for name, text in said.items():
        assert text.strip() == text, name
        assert sorted(PLACES.findall(text)) == sorted(PLACES.findall(english[name])), name


def test_the_locale_chooses_the_language_and_its_direction() -> None:
    for locale, language, direction in (
        ("de-AT", "de", "ltr"),
        ("fr_CA", "fr", "ltr"),
        ("ar", "ar", "rtl"),
        ("ja-JP", "ja", "ltr"),
        ("tlh", "en", "ltr"),
    ):
        said = words.for_locale(locale)
        assert (said["language"], said["direction"]) == (language, direction)


def test_amounts_are_written_as_the_language_writes_them() -> None:
    for language, shown in (("en", "1,234.50"), ("de", "1.234,50"), ("es", "1.234,50"), ("fr", "1\u202f234,50"), ("ja", "1,234.50")):
        assert amounts.shown(1234_50, "EUR", language=language) == f"{shown}\u00a0EUR"
    assert amounts.shown(1234_50, "EUR", language="ar") == "\u20661,234.50\u00a0EUR\u2069"
    assert amounts.shown(1234, "JPY", language="ja") == "1,234\u00a0JPY"
