"""The doorbell and the hands behind it: how every app wakes Celery, and how its tasks work through what is due.

What is due stands in Postgres.  A message is a nudge without arguments: losing or doubling one changes nothing but time.
"""

import logging
import time
from collections.abc import Callable

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

LONGEST_S = 45  # then no new round begins, so that other work gets its turn; beat starts the next


def nudge(task: Task) -> None:
    """Send the task's message after the caller's commit, once and briefly; a dead doorbell is logged and never heard by the caller."""
    transaction.on_commit(lambda: ring(task), robust=True)


def ring(task: Task) -> None:
    try:
        task.apply_async(retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("the doorbell is out of order (%s); beat will start %s", type(error).__name__, task.name)


def until_nothing_is_left(work: Callable[[], int]) -> None:
    """Do the work again and again until it says that nothing was done, or LONGEST_S have passed."""
    until = time.monotonic() + LONGEST_S
    while work() and time.monotonic() < until:
        pass
