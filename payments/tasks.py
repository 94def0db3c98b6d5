"""Celery's side of pay-in: hands that are woken by a doorbell.  A task decides nothing, takes nothing, and may run twice or not at all.

What is due stands in Postgres.  A nudge (Redis) starts the work at once; beat starts it every few seconds all the same, so that a lost
message only delays.
"""

from celery import shared_task

from ledger import clock, snapshots
from ledger.doorbell import nudge, until_nothing_is_left
from payments import (
    cancellations,
    dead_letters,
    dispute_watch,
    executor,
    expiry,
    inbox,
    orphans,
    receipts,
    refund_executor,
    releases,
    saved_cards,
    sessions,
)


@shared_task
def execute_due_orders() -> None:
    """Work through the executor's queue."""
    until_nothing_is_left(lambda: executor.execute_due_orders(now=clock.now()))


@shared_task
def apply_psp_events() -> None:
    """Work through the inbox."""
    until_nothing_is_left(lambda: inbox.apply_received(now=clock.now()))


@shared_task
def look_at_sessions() -> None:
    """Ask the PSPs for what buyers approved there, and confirm it."""

    def look() -> int:
        asked = sessions.look(now=clock.now())
        if asked:
            nudge_executor()
        return asked

    until_nothing_is_left(look)


@shared_task
def forget_cards() -> None:
    """Let the PSPs forget the saved cards that their buyers want forgotten."""
    until_nothing_is_left(lambda: saved_cards.forget_due(now=clock.now()))


@shared_task
def execute_due_refunds() -> None:
    """Work through the refunds."""
    until_nothing_is_left(lambda: refund_executor.execute_due_refunds(now=clock.now()))


@shared_task
def follow_cancellations() -> None:
    """Take the cancellations a step further whose charge or refund was decided."""
    until_nothing_is_left(lambda: cancellations.follow(now=clock.now()))


@shared_task
def close_dead_letters() -> None:
    """Close the dead letters of what came to its end without a person."""
    dead_letters.close_settled(now=clock.now())


@shared_task
def watch_disputes() -> None:
    """Ask the PSPs for disputes that no webhook told of."""
    dispute_watch.watch(now=clock.now())


@shared_task
def ask_for_orphans() -> None:
    """Ask the PSPs what became of calls that nobody waits for any more."""
    until_nothing_is_left(lambda: orphans.ask_for_orphans(now=clock.now()))


@shared_task
def release_due() -> None:
    """Let what was delivered, or paid long enough ago, become available to its sellers."""
    until_nothing_is_left(lambda: releases.release_due(now=clock.now()))


@shared_task
def free_reserves() -> None:
    """Let the reserves whose time has come become available."""
    until_nothing_is_left(lambda: releases.free_due_reserves(now=clock.now()))


@shared_task
def expire_checkouts() -> None:
    """Finish the checkouts whose time is up."""
    until_nothing_is_left(lambda: expiry.expire_checkouts(now=clock.now()))


@shared_task
def send_receipts() -> None:
    """Send the receipts of the payments that are done, by true time as they are told."""
    until_nothing_is_left(lambda: receipts.take_note(now=clock.of_the_machine()))
    until_nothing_is_left(lambda: receipts.send_due(now=clock.of_the_machine()))


@shared_task
def take_snapshots() -> None:
    """Keep the reading of balances short."""
    snapshots.take()


def nudge_executor() -> None:
    """Ring for the executor once the caller's transaction, if any, has committed."""
    nudge(execute_due_orders)


def nudge_inbox() -> None:
    """Ring for the inbox."""
    nudge(apply_psp_events)


def nudge_refunds() -> None:
    """Ring for the refunds."""
    nudge(execute_due_refunds)


def nudge_releases() -> None:
    """Ring for the releases."""
    nudge(release_due)
