"""What the platform holds of each currency because sellers' money was converted, and what that is worth now: what it gained or lost.

Nothing here writes or locks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.conf import settings
from djmoney.money import Money

from ledger import chart
from ledger.models import Account
from ledger.money import from_minor, minor_units, zero
from ledger.queries import balance_of
from wallet import rates
from wallet.models import ExchangeRate
from wallet.rates_ecb import EURO


@dataclass(frozen=True, slots=True)
class Position:
    """One currency: what we hold of it (below zero: what we owe and have to buy), and its worth in the house's currency.

    `rate` is what a euro costs, None for the euro itself and for a currency without one, whose `worth` is None then.
    """

    held: Money
    worth: Money | None
    rate: ExchangeRate | None
    is_stale: bool


def positions(*, now: datetime) -> list[Position]:
    """Return the position in each currency that was ever converted, by currency."""
    accounts = Account.objects.filter(code=chart.fx_position()).order_by("currency")
    held = [held_in(currency) for currency in accounts.values_list("currency", flat=True)]
    known = rates.newest([settings.HOUSE_CURRENCY, *(money.currency.code for money in held)], now=now)
    return [position(money, known, now=now) for money in held]


def held_in(currency: str) -> Money:
    """Return what we hold of a currency: a conversion out of it credits the account, for we keep what the seller gave."""
    return balance_of(chart.fx_position(), currency=currency)


def position(held: Money, known: dict[str, ExchangeRate], *, now: datetime) -> Position:
    rate = known.get(held.currency.code)
    return Position(held, worth(held, known), rate, rate is not None and rates.is_stale(rate, now=now))


def worth(held: Money, known: dict[str, ExchangeRate]) -> Money | None:
    """Return the amount in the house's currency, rounded to its minor unit, ties to the even one; None without a rate."""
    house = settings.HOUSE_CURRENCY
    if held.currency.code == house or not held:
        return held if held.currency.code == house else zero(house)
    per_euro = [Decimal(1) if code == EURO else known[code].rate if code in known else None for code in (held.currency.code, house)]
    own, houses = per_euro
    if own is None or houses is None:
        return None
    exact = Fraction(held.amount) * Fraction(houses) / Fraction(own)
    return from_minor(round(exact * 10 ** minor_units(house)), house)


def result(found: Sequence[Position]) -> Money | None:
    """Return what all conversions so far gained, or lost; None if something has no rate."""
    total = zero(settings.HOUSE_CURRENCY)
    for each in found:
        if each.worth is None:
            return None
        total += each.worth
    return total
