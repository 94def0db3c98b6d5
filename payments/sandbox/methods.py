"""The ways to pay that the sandbox offers: in which currencies, from what amount up to what, and for how long refunds go back.

Amounts are minor units, by currency. What a session must not be opened for is refused here, before anybody approves anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings

from payments.sandbox import amounts
from payments.sandbox.errors import Refusal


@dataclass(frozen=True)
class Method:
    """One way to pay. Without currencies or countries it can do all; a currency without a bound has none. `says` is for the front page."""

    name: str
    label: str
    says: str
    currencies: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    smallest: Mapping[str, int] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)
    refundable_for: timedelta | None = None

    @property
    def lifetime(self) -> timedelta:
        """How long a session waits for the buyer."""
        return timedelta(seconds=settings.SANDBOX_QR_LIFETIME_S if self.name == "qr" else settings.SANDBOX_SESSION_LIFETIME_S)


QR_CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "JPY", "CNY", "HKD", "SGD", "THB", "MYR", "IDR", "VND", "PHP", "INR", "KRW", "BRL")
LARGEST_IN_A_CODE = 9_999_999_999  # in major units: the code has 13 characters for an amount, decimals and all
PAY_LATER_COUNTRIES = ("AT", "BE", "DE", "DK", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "SE", "US")
HALF_A_YEAR = timedelta(days=180)

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("card", "Card", "Test cards, typed or kept for the buyer, with 3-D Secure where the bank asks."),
        Method("digital_wallet", "Digital wallet", "A sheet with the cards of a wallet: pay with one of them, or cancel."),
        Method(
            "qr",
            "QR code",
            "A code for one amount, which the buyer opens on the phone and approves or declines there.",
            currencies=QR_CURRENCIES,
            largest={currency: LARGEST_IN_A_CODE * 10 ** amounts.digits_of(currency) for currency in QR_CURRENCIES},
            refundable_for=HALF_A_YEAR,
        ),
        Method(
            "pay_later",
            "Pay later",
            "Three instalments. The provider approves, declines, or leaves it to a person; the shop is paid at once.",
            currencies=("EUR", "USD", "GBP", "SEK", "NOK", "DKK"),
            countries=PAY_LATER_COUNTRIES,
            smallest={"EUR": 35_00, "USD": 35_00, "GBP": 30_00, "SEK": 350_00, "NOK": 350_00, "DKK": 250_00},
            largest={"EUR": 1_500_00, "USD": 1_500_00, "GBP": 1_200_00, "SEK": 15_000_00, "NOK": 15_000_00, "DKK": 10_000_00},
            refundable_for=HALF_A_YEAR,
        ),
    )
}


def require_possible(name: str, *, amount: int, currency: str, country: str) -> Method:
    """Return the method if it can do this amount for a buyer of this country ("": not told, which excludes nothing).

    Raises Refusal method_not_possible (400), naming the field.
    """
    method = METHODS[name]
    if method.currencies and currency not in method.currencies:
        raise _refusal(f"{method.label} cannot be paid in {currency}.", field="currency")
    if method.countries and country and country not in method.countries:
        raise _refusal(f"{method.label} is not offered in {country}.", field="country")
    least, most = method.smallest.get(currency, amount), method.largest.get(currency, amount)
    if amount < least:
        raise _refusal(f"{method.label} is possible from {amounts.shown(least, currency, language='en')} on.", field="amount")
    if amount > most:
        raise _refusal(f"{method.label} is possible up to {amounts.shown(most, currency, language='en')}.", field="amount")
    return method


def _refusal(message: str, *, field: str) -> Refusal:
    return Refusal(400, "method_not_possible", message, field=field)


def as_wire(method: Method) -> dict[str, object]:
    return {
        "name": method.name,
        "label": method.label,
        "currencies": list(method.currencies),
        "countries": list(method.countries),
        "smallest": dict(method.smallest),
        "largest": dict(method.largest),
        "refundable_days": method.refundable_for.days if method.refundable_for else None,
    }
