"""Money is counted, not measured: exact decimals, kept to the minor unit of their currency, never a float.

Amounts are django-money's `Money`.  `exact` is the only way in from text, `split` the only way to share an amount out, `AmountField`
the only way to store one.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

from django.db import models
from djmoney.models.fields import MoneyField
from djmoney.money import Money

from ledger.currencies import MINOR_UNITS
from ledger.errors import DomainError

MAX_DIGITS, DECIMAL_PLACES = 24, 4
LARGEST = Decimal("999999999999.9999")  # twelve digits before the point; sums of a hundred million of these still fit the column
MOST_CHARACTERS = 32

AmountField: "Callable[..., models.Field[Money, Money]]" = partial(
    MoneyField,
    max_digits=MAX_DIGITS,
    decimal_places=DECIMAL_PLACES,
    currency_field_name="currency",
    default_currency=None,
    currency_choices=(),
)


def is_exact(field: str, currency: str = "currency") -> models.Func:
    """Return the condition, for a CHECK, that the column holds no more decimals than the row's currency counts (SQL: money_is_exact)."""
    return models.Func(models.F(field), models.F(currency), function="money_is_exact", output_field=models.BooleanField())


class UnknownCurrency(DomainError):
    code = "unknown_currency"


class NotAnAmount(DomainError):
    code = "not_an_amount"


class NotAMinorUnit(DomainError):
    code = "finer_than_minor_unit"


class TooLarge(DomainError):
    code = "amount_too_large"


def minor_units(currency: str) -> int:
    """Return how many decimals the currency counts in: JPY 0, USD 2, KWD 3, CLF 4.  Raises UnknownCurrency."""
    try:
        return MINOR_UNITS[currency]
    except KeyError:
        raise UnknownCurrency(
            f"{currency!r} is not a currency of ISO 4217 in use. Send three capital letters, such as EUR.", field="currency"
        ) from None


def exact(amount: str | Decimal, currency: str) -> Money:
    """Read an amount of the currency, such as `exact("19.99", "USD")`, without rounding anything.

    Raises UnknownCurrency, NotAnAmount (not plain decimal digits), NotAMinorUnit (too fine), TooLarge.
    """
    places = minor_units(currency)
    text = str(amount)
    digits = text.removeprefix("-")
    whole, point, fraction = digits.partition(".")
    if len(digits) > MOST_CHARACTERS:
        raise NotAnAmount(f"An amount has {MOST_CHARACTERS} characters at most, and this has {len(digits)}.", field="amount")
    if not (whole.isascii() and whole.isdigit()) or (point and not (fraction.isascii() and fraction.isdigit())):
        raise NotAnAmount(f"{text[:40]!r} is not an amount. Send decimal digits in a string, such as '19.99'.", field="amount")
    if len(fraction.rstrip("0")) > places:
        raise NotAMinorUnit(
            f"{text} {currency} is finer than {currency} counts: it has {places} decimals. Round it to those.", field="amount"
        )
    value = Decimal(text)
    if abs(value) > LARGEST:
        raise TooLarge(f"{text} {currency} is larger than the largest amount, which is {int(LARGEST)} {currency}.", field="amount")
    return Money(value.quantize(Decimal(1).scaleb(-places)) + 0, currency)  # + 0: there is no minus nothing


def zero(currency: str) -> Money:
    """Return no money at all, of that currency."""
    return exact("0", currency)


def split(amount: Money, weights: Sequence[int]) -> list[Money]:
    """Share the amount out by the weights, to the last minor unit: the parts always add up to the whole.

    Each part is rounded down; what is left goes, one minor unit each, to the parts that lost the largest fraction (ties: first part
    first).  Amounts and weights must not be negative, and one weight at least must be positive: ValueError.
    """
    if amount.amount < 0 or min(weights) < 0 or not sum(weights):
        raise ValueError(f"cannot split {amount} by {weights}")
    unit = Decimal(1).scaleb(-minor_units(amount.currency.code))
    units, total = int(amount.amount / unit), sum(weights)
    parts, fractions = zip(*(divmod(units * weight, total) for weight in weights), strict=True)
    left = units - sum(parts)
    favoured = set(sorted(range(len(weights)), key=lambda index: -fractions[index])[:left])
    return [Money((part + (index in favoured)) * unit, amount.currency) for index, part in enumerate(parts)]


def to_minor(amount: Money) -> int:
    """Return the amount as a count of its currency's minor units: 19.99 USD is 1999, 500 JPY is 500."""
    return int(amount.amount.scaleb(minor_units(amount.currency.code)))


def from_minor(units: int, currency: str) -> Money:
    """Return the amount that so many minor units of the currency make: 1999 of USD is 19.99 USD."""
    return Money(Decimal(units).scaleb(-minor_units(currency)), currency)


def text(amount: Money) -> str:
    """Return the digits of the amount as they go on the wire, with all of its currency's decimals: '19.90', '500'."""
    return f"{amount.amount:.{minor_units(amount.currency.code)}f}"
