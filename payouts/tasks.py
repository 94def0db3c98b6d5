"""Celery's side of pay-out: hands that are woken by a doorbell.  A task decides nothing, takes nothing, and may run twice or not at all.

What is due stands in Postgres.  A nudge (Redis) starts the work at once; beat starts it every few seconds all the same, so that a lost
message only delays.
"""

import logging
import time
from collections.abc import Callable

from celery import Task, shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from ledger import clock
from payouts import executor, notices, scheduling

logger = logging.getLogger(__name__)

LONGEST_S = 45  # then no new round begins, so that other work gets its turn; beat starts the next


@shared_task
def execute_due_payouts() -> None:
    """Work through the payouts."""
    until_nothing_is_left(lambda: executor.execute_due_payouts(now=clock.now()))


@shared_task
def watch_returns() -> None:
    """Ask the banks for payouts that came back."""
    executor.watch_returns(now=clock.now())


@shared_task
def send_notices() -> None:
    """Tell people of changes of their bank details."""
    until_nothing_is_left(lambda: notices.send_due(now=clock.now()))


@shared_task
def run_due_payouts() -> None:
    """Make the payout runs whose period is over; their payouts are executed by the worker."""
    if scheduling.run_due(now=clock.now()):
        nudge_payouts()


def until_nothing_is_left(work: Callable[[], int]) -> None:
    until = time.monotonic() + LONGEST_S
    while work() and time.monotonic() < until:
        pass


def nudge_payouts() -> None:
    """Ring for the payouts once the caller's transaction, if any, has committed."""
    nudge(execute_due_payouts)


def nudge_watch() -> None:
    """Ring for the watch of returns."""
    nudge(watch_returns)


def nudge(task: Task) -> None:
    """Send the task's message after commit, once and briefly; a dead doorbell is logged and never heard by the caller."""
    transaction.on_commit(lambda: ring(task), robust=True)


def ring(task: Task) -> None:
    try:
        task.apply_async(retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("the doorbell is out of order (%s); beat will start %s", type(error).__name__, task.name)
