"""How a rate is written for people: what one unit is in the other currency, whose rate it is, and of which day."""

from decimal import Context, Decimal

from babel.numbers import format_decimal
from django import template
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger.money import text
from ledger.templatetags.written import NO_BREAK_SPACE, left_to_right, reader
from wallet.conversions import Quote
from wallet.models import Conversion

register = template.Library()

SIX_FIGURES = Context(prec=6)
SOURCES = {
    "ecb": _("European Central Bank"),
    "manual": _("set by the platform"),
    "ecb+manual": _("European Central Bank, and set by the platform"),
}


@register.filter
def rate_shown(made: Conversion | Quote) -> str:
    """Write the rate: 1 USD = 0.951294 EUR."""
    sold, bought = made.sold.currency.code, made.bought.currency.code
    shown = f"1{NO_BREAK_SPACE}{sold} = {rate_figures(made.rate)}{NO_BREAK_SPACE}{bought}"
    return left_to_right(shown, reader())


@register.filter
def rate_figures(rate: Decimal) -> str:
    """Write a rate with six figures, which is how rates are quoted."""
    return str(format_decimal(SIX_FIGURES.plus(rate), format="#,##0.############", locale=reader()))


@register.filter
def plain(money: Money) -> str:
    """Write the digits of an amount as programs do, for a form that sends them back."""
    return text(money)


@register.filter
def source_shown(made: Conversion | Quote) -> str:
    """Write whose rate it is."""
    return str(SOURCES.get(made.source, made.source))
