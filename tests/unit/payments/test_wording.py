"""Amounts, dates, names and reasons as a buyer reads them."""

from datetime import datetime, timedelta, timezone

import pytest
from babel import Locale
from django.utils import translation

from ledger.money import exact
from payments import wording
from payments.standing import State, state_of
from payments.states import EventStatus, OrderStatus


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "shown"),
    [
        ("128.40", "EUR", "en", "128.40 EUR"),
        ("1284.5", "EUR", "de", "1.284,50 EUR"),
        ("4500", "JPY", "en", "4,500 JPY"),
        ("1.5", "KWD", "en", "1.500 KWD"),
        ("0.0001", "CLF", "en", "0.0001 CLF"),
        ("999999999999.99", "USD", "en", "999,999,999,999.99 USD"),
        ("1234567.00", "INR", "en_IN", "12,34,567.00 INR"),
        ("1234.50", "EUR", "fr", "1 234,50 EUR"),
    ],
)
def test_an_amount_has_its_currencys_decimals_and_the_locales_signs(amount: str, currency: str, locale: str, shown: str) -> None:
    text = wording.amount_text(exact(amount, currency), Locale.parse(locale))
    assert text.replace("\u202f", " ").replace("\u00a0", " ") == shown
    assert " " not in text


SIX = ("en", "de", "fr", "es", "ar", "ja")


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234.50", "EUR", ["1,234.50 EUR", "1.234,50 EUR", "1 234,50 EUR", "1.234,50 EUR", "⁦1,234.50 EUR⁩", "1,234.50 EUR"]),
        ("45000", "JPY", ["45,000 JPY", "45.000 JPY", "45 000 JPY", "45.000 JPY", "⁦45,000 JPY⁩", "45,000 JPY"]),
        ("1.5", "KWD", ["1.500 KWD", "1,500 KWD", "1,500 KWD", "1,500 KWD", "⁦1.500 KWD⁩", "1.500 KWD"]),
        ("0.0001", "UYW", ["0.0001 UYW", "0,0001 UYW", "0,0001 UYW", "0,0001 UYW", "⁦0.0001 UYW⁩", "0.0001 UYW"]),
        ("0.05", "RSD", ["0.05 RSD", "0,05 RSD", "0,05 RSD", "0,05 RSD", "⁦0.05 RSD⁩", "0.05 RSD"]),
        ("-5.00", "EUR", ["-5.00 EUR", "-5,00 EUR", "-5,00 EUR", "-5,00 EUR", "⁦-5.00 EUR⁩", "-5.00 EUR"]),
    ],
)
def test_an_amount_reads_right_in_each_language_of_the_page(amount: str, currency: str, shown: list[str]) -> None:
    written = [wording.amount_text(exact(amount, currency), Locale(language)) for language in SIX]
    assert [each.replace(" ", " ") for each in written] == shown


@pytest.mark.parametrize("tag", ["ar-EG", "ar-SA", "ar-AE"])
def test_an_amount_has_latin_digits_in_every_arabic_country(tag: str) -> None:
    text = wording.amount_text(exact("1284.50", "EUR"), wording.locale_of(tag, language="ar"))
    assert text == "⁦1,284.50 EUR⁩"


@pytest.mark.parametrize(
    ("tag", "language", "locale"),
    [
        ("de-AT", "de", "de_AT"),
        ("de-AT", "en", "en"),
        ("en-GB", "en", "en_GB"),
        ("xx-YY", "de", "de"),
        ("", "en", "en"),
        ("de_", "de", "de"),
    ],
)
def test_figures_follow_the_payments_region_only_in_its_own_language(tag: str, language: str, locale: str) -> None:
    assert str(wording.locale_of(tag, language=language)) == locale


def test_a_moment_says_its_zone() -> None:
    moment = datetime(2026, 11, 21, 9, 5, tzinfo=timezone(timedelta(hours=1)))
    assert wording.moment_text(moment, Locale("de")) == "21. November 2026, 08:05\u00a0UTC"
    assert {language: wording.moment_text(moment, Locale(language)).replace(" ", " ").replace("\u00a0", " ") for language in SIX} == {
        "en": "November 21, 2026, 8:05 AM UTC",
        "de": "21. November 2026, 08:05 UTC",
        "fr": "21 novembre 2026, 08:05 UTC",
        "es": "21 de noviembre de 2026, 8:05 UTC",
        "ar": "21 نوفمبر 2026، 8:05 ص UTC",
        "ja": "2026年11月21日 8:05 UTC",
    }


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "card_declined", "fraudulent"])
def test_nobody_is_told_that_the_bank_takes_the_card_for_stolen(code: str) -> None:
    assert wording.reason_of([code]).what == "Your bank declined the card."


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("insufficient_funds", "not enough money"),
        ("expired_card", "expired"),
        ("incorrect_cvc", "security code"),
        ("processing_error", "could not answer"),
    ],
)
def test_a_reason_that_helps_is_told(code: str, word: str) -> None:
    assert word in wording.reason_of([code, code]).what


@pytest.mark.parametrize("codes", [["psp_unavailable"], ["insufficient_funds", "expired_card"], ["rejected_request"], [""], []])
def test_no_code_is_ever_shown(codes: list[str]) -> None:
    assert wording.reason_of(codes).what == "The payment did not go through."


def test_reasons_are_told_in_german() -> None:
    with translation.override("de"):
        assert wording.reason_of(["expired_card"]).what == "Ihre Bank hat die Karte abgelehnt: Sie ist abgelaufen."
        assert wording.basket_words(3) == "Ihr Warenkorb von 3 Verkäufern"


FRESH, RUNS, DONE, DECLINED, GONE = (
    OrderStatus.NOT_STARTED,
    OrderStatus.EXECUTING,
    OrderStatus.SUCCESS,
    OrderStatus.FAILED,
    OrderStatus.CANCELLED,
)


@pytest.mark.parametrize(
    ("statuses", "event_status", "is_open", "state"),
    [
        ([FRESH, FRESH], EventStatus.OPEN, True, State.PAY),
        ([FRESH, GONE], EventStatus.OPEN, True, State.PAY),
        ([RUNS, DONE], EventStatus.PARTLY_PAID, True, State.WAITING),
        ([RUNS, DECLINED], EventStatus.OPEN, False, State.WAITING),
        ([DONE, DONE], EventStatus.PAID, False, State.PAID),
        ([DONE, GONE], EventStatus.PARTLY_PAID, False, State.PAID),
        ([DONE, DECLINED], EventStatus.PARTLY_PAID, True, State.PARTLY_PAID),
        ([DONE, DECLINED], EventStatus.PARTLY_PAID, False, State.PARTLY_PAID),
        ([DECLINED, DECLINED], EventStatus.OPEN, True, State.FAILED),
        ([DECLINED, DECLINED], EventStatus.FAILED, False, State.EXPIRED),
        ([FRESH], EventStatus.OPEN, False, State.EXPIRED),
        ([GONE, GONE], EventStatus.CANCELLED, False, State.CANCELLED),
    ],
)
def test_one_state_per_page(statuses: list[OrderStatus], event_status: EventStatus, is_open: bool, state: State) -> None:
    assert state_of(statuses, event_status=event_status, is_open=is_open) == state
