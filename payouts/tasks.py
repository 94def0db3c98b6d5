"""Celery's side of pay-out: hands that are woken by a doorbell.  A task decides nothing, takes nothing, and may run twice or not at all.

What is due stands in Postgres.  A nudge (Redis) starts the work at once; beat starts it every few seconds all the same, so that a lost
message only delays.
"""

from celery import shared_task

from ledger import clock
from ledger.doorbell import nudge, until_nothing_is_left
from payouts import executor, notices, scheduling


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


def nudge_payouts() -> None:
    """Ring for the payouts once the caller's transaction, if any, has committed."""
    nudge(execute_due_payouts)


def nudge_watch() -> None:
    """Ring for the watch of returns."""
    nudge(watch_returns)
