"""Celery's side of the watch: the books are sealed, the invariants checked, and each queue shows that somebody works on it.

Nothing here decides; all may run twice, or not at all.  Times are the machine's own: the watch does not follow a test clock.
"""

from celery import Task, shared_task
from django.utils import timezone

from ledger import seals
from reconciliation import queues, watch

LONGEST_S = 270  # over all tables of a large house; less than half of the broker's visibility timeout


@shared_task
def seal_the_books() -> None:
    """Seal what was booked and cannot change any more."""
    seals.seal()


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def check_invariants() -> None:
    """Check the invariants that are quick to check."""
    watch.run_quick(now=timezone.now())


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def check_all_invariants() -> None:
    """Check every invariant, however large the tables."""
    watch.run_full(now=timezone.now())


@shared_task(bind=True)
def canary(self: Task) -> None:
    """Write the heartbeat of the queue that this message came through."""
    queues.beat(self.request.delivery_info["routing_key"])
