"""How amounts, dates and failures read to a buyer: in their locale's form, in everyday words, and never an internal code.

Amounts carry their ISO code ("128.40 EUR"), so that no sign stands for two currencies, and exactly the decimals that the currency counts.
The words follow the active language; the caller activates it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import format_decimal
from django.utils.translation import gettext, ngettext
from djmoney.money import Money

from ledger import money
from ledger.templatetags.written import left_to_right

NO_BREAK = "\u00a0"
BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover"}
DECLINED_BY_BANK = frozenset(
    {"card_declined", "declined", "generic_decline", "do_not_honor", "lost_card", "stolen_card", "pickup_card", "fraudulent"}
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a payment did not go through, and what to do now."""

    what: str
    advice: str


def locale_of(tag: str, *, language: str) -> Locale:
    """Return the locale in which figures and dates are written: the payment's own (de-AT) if it is of the page's language, else that language's."""
    for candidate in (tag, language):
        if candidate.replace("_", "-").partition("-")[0].lower() == language.partition("-")[0]:
            try:
                return Locale.parse(candidate.replace("-", "_"))
            except (UnknownLocaleError, ValueError):
                continue
    return Locale("en")


def amount_text(amount: Money, locale: Locale) -> str:
    """Return "1,284.50 EUR", "1.284,50 EUR", "500 JPY", "1.500 KWD", as the locale writes it, held together by no-break spaces.

    In Latin digits everywhere, in Arabic too, where CLDR has others for some countries: the bank's app, the card statement and the PSP's page
    show the same amount in Latin digits, and a buyer compares them sign by sign.  It stays left to right in a text from right to left.
    """
    code = amount.currency.code
    whole = locale.decimal_formats[None].pattern.partition(";")[0].partition(".")[0]
    places = money.minor_units(code)
    pattern = whole + ("." + "0" * places if places else "")
    digits = format_decimal(amount.amount, format=pattern, locale=locale, numbering_system="latn")
    return left_to_right(f"{digits}{NO_BREAK}{code}".replace(" ", NO_BREAK), locale)


def day_text(day: date, locale: Locale) -> str:
    """Return the date as the locale writes it."""
    return str(format_date(day, format="long", locale=locale))


def moment_text(moment: datetime, locale: Locale) -> str:
    """Return the date and time as the locale writes them, in UTC and saying so: a locale is no place, and says nobody's time zone.

    No line of text ends within the time.
    """
    date = format_date(moment.astimezone(UTC), format="long", locale=locale)
    time = format_time(moment.astimezone(UTC), format="short", locale=locale)
    both = str(locale.datetime_formats["long"])
    return both.replace("{1}", date).replace("{0}", f"{time} UTC".replace(" ", NO_BREAK))


def card_text(brand: str, last4: str, *, funding: str = "") -> str:
    """Return "Visa debit ending 4242", or nothing when no card is known."""
    if not last4:
        return ""
    said = {"brand": BRANDS.get(brand, brand.title() or gettext("Card")), "last4": last4}
    match funding:
        case "credit":
            return gettext("%(brand)s credit ending %(last4)s") % said
        case "debit":
            return gettext("%(brand)s debit ending %(last4)s") % said
        case "prepaid":
            return gettext("%(brand)s prepaid ending %(last4)s") % said
        case _:
            return gettext("%(brand)s ending %(last4)s") % said


def reason_of(codes: Collection[str]) -> Reason:
    """Return the words for the failure codes of one payment.  Orders that failed for different reasons get the words that fit all."""
    code = next(iter(codes)) if len(set(codes)) == 1 else ""
    if code in DECLINED_BY_BANK or (codes and set(codes) <= DECLINED_BY_BANK):
        return Reason(gettext("Your bank declined the card."), gettext("Try another way to pay."))
    match code:
        case "insufficient_funds":
            return Reason(gettext("Your bank declined the card: there is not enough money on it."), gettext("Try another card."))
        case "card_velocity_exceeded":
            return Reason(
                gettext("Your bank declined the card: it has reached its limit for now."), gettext("Try another card, or try again later.")
            )
        case "expired_card":
            return Reason(gettext("Your bank declined the card: it has expired."), gettext("Try another card."))
        case "incorrect_cvc" | "invalid_cvc":
            return Reason(
                gettext("Your bank declined the card: the security code is not right."),
                gettext("Check the code on the card and try again."),
            )
        case "processing_error":
            return Reason(gettext("Your bank could not answer."), gettext("Wait a moment and try again, or try another card."))
        case _:
            return Reason(gettext("The payment did not go through."), gettext("Try again, or try another card."))


def basket_words(sellers: int) -> str:
    """Return "Your basket", and from how many sellers it is when that says something."""
    if sellers < 2:
        return gettext("Your basket")
    return ngettext("Your basket from %(count)s seller", "Your basket from %(count)s sellers", sellers) % {"count": sellers}
