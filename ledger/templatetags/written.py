"""How amounts and moments are written for a reader: in the reader's language, with the currency's own decimals, and with the zone.

Used by every page and by the admin.  The minus is the real one (U+2212), which is as wide as a figure; never brackets.
"""

from datetime import date, datetime

from babel import Locale
from babel.dates import format_skeleton
from babel.numbers import format_decimal
from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from djmoney.money import Money

from ledger.money import minor_units

register = template.Library()

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
ISOLATE, ISOLATE_ENDS = "\N{LEFT-TO-RIGHT ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def reader() -> Locale:
    """Return the locale of the language that is active now."""
    return Locale.parse(get_language() or "en", sep="-")


@register.filter
def digits(amount: Money) -> str:
    """Write the amount without its currency: 1,234.50 or 1.234,50; for columns whose currency is said elsewhere."""
    return left_to_right(figures(amount, reader()), reader())


@register.filter
def amount(money: Money) -> str:
    """Write the amount with its currency: 1,234.50 EUR."""
    return left_to_right(f"{figures(money, reader())}{NO_BREAK_SPACE}{money.currency.code}", reader())


def figures(amount: Money, locale: Locale) -> str:
    places = minor_units(amount.currency.code)
    written = format_decimal(amount.amount, format=f"#,##0.{'0' * places}".rstrip("."), locale=locale)
    return written.replace("-", MINUS)


def left_to_right(words: str, locale: Locale) -> str:
    """Hold an amount together in a text that runs from right to left (isolates of Unicode): the minus stays before it, the currency behind."""
    return f"{ISOLATE}{words}{ISOLATE_ENDS}" if locale.text_direction == "rtl" else words


@register.filter
def negated(money: Money) -> Money:
    """Return the amount with the other sign, for a fee that is shown as what it takes away.  Nothing stays nothing."""
    return -money if money.amount else money


@register.filter
def day(when: date | datetime) -> str:
    """Write the day: Nov 21, 2026 or 21. Nov. 2026."""
    if isinstance(when, datetime):
        when = timezone.localtime(when).date()
    return format_skeleton("yMMMd", datetime(when.year, when.month, when.day), locale=reader())  # noqa: DTZ001


@register.filter
def moment(when: datetime) -> SafeString:
    """Write the moment with its zone, as a <time> that machines can read too: Nov 21, 2026, 14:05 UTC."""
    local = timezone.localtime(when)
    clock = f"{local:%H:%M} {local.tzname()}"
    return format_html('<time datetime="{}">{}</time>', local.isoformat(timespec="seconds"), f"{held(day(local))}, {held(clock)}")


def held(words: str) -> str:
    """Return the words so that no line ends between them."""
    return words.replace(" ", NO_BREAK_SPACE)
