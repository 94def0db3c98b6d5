"""Lists that become cards on a phone: each cell learns the title of its column, which the style sheet then writes before it."""

from collections.abc import Iterable, Iterator
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

register = template.Library()


@register.filter
def titled(cells: Iterable[SafeString], headers: Iterable[dict[str, Any]]) -> Iterator[SafeString]:
    """Yield the cells of one row of a list, each with the title of its column.  A cell is Django's own `<td…>` or `<th…>`, escaped."""
    for cell, header in zip(cells, headers, strict=False):
        title = "" if "action-checkbox" in header.get("class_attrib", "") else capfirst(str(header["text"]))
        attribute = format_html(' data-title="{}"', title)
        yield mark_safe(f"{cell[:3]}{attribute}{cell[3:]}")  # noqa: S308 - both halves are a cell of Django's
