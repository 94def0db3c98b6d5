"""The clock of business: what every entry point (task, view, command) reads once and hands on as `now`.

It is the machine's clock, moved by the test clock where there is one: a file with seconds as text, named by TEST_CLOCK_FILE, which web,
worker, beat and commands share and `manage.py advance_clock` writes.  Production refuses to start with one (config/settings.py).  What is
measured against Postgres' own clock, and how long a person stays logged in, is not business time and does not come here.
"""

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """Return the time of business."""
    return timezone.now() + offset() if settings.TEST_CLOCK_FILE else timezone.now()


def of_the_machine() -> datetime:
    """Return the machine's own time, for what is measured against moments that Postgres stamped."""
    return timezone.now()


def offset() -> timedelta:
    """Return how far the test clock is ahead of the machine's: nothing if there is no such clock, or if it was never moved."""
    if not settings.TEST_CLOCK_FILE:
        return timedelta()
    try:
        text = Path(settings.TEST_CLOCK_FILE).read_text().strip()
    except FileNotFoundError:
        return timedelta()
    return timedelta(seconds=int(text)) if text else timedelta()
