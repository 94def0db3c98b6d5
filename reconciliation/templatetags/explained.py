"""What the pages that explain a figure write: names beside their figures, numbers of rows, and what a row is about."""

from collections.abc import Iterable

from babel.numbers import format_decimal
from django import template
from django.utils.safestring import SafeString

from ledger.admin import reference_of
from ledger.templatetags.written import reader

register = template.Library()


@register.filter
def beside(titles: Iterable[object], figures: Iterable[object]) -> list[tuple[object, object]]:
    """Return each title with its figure."""
    return list(zip(titles, figures, strict=True))


@register.filter
def localized(count: int) -> str:
    """Write a number of rows: 1,234 or 1.234."""
    return str(format_decimal(count, locale=reader()))


@register.filter
def about(reference: str) -> SafeString:
    """Return a reference as a link to what it is of."""
    return reference_of(reference)
