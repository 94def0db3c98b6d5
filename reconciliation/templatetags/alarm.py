"""The red banner of the admin."""

from django import template
from django.utils import timezone

from reconciliation import watch

register = template.Library()


@register.simple_tag
def alarm() -> watch.Alarm | None:
    """Return why finance must look at once; None while all is well."""
    return watch.alarm(now=timezone.now())
