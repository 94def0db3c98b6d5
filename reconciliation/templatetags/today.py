"""The day at a glance, on finance's first page (reconciliation/today.py)."""

from typing import Any

from django import template
from django.utils import timezone

from ledger import clock
from reconciliation import reports, today
from reconciliation.today import Section

register = template.Library()


@register.simple_tag(takes_context=True)
def the_day(context: dict[str, Any]) -> list[Section] | None:
    """Return what the reader may see of the day; None if that took too long."""
    try:
        return today.sections(context["request"].user, now=clock.now(), true_time=timezone.now())
    except reports.TookTooLong:
        return None
