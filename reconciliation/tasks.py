"""Celery's side of finance: files are taken in and read, the books sealed, the invariants checked, and each queue shows that it is worked on.

Nothing here decides; all may run twice, or not at all.  The watch goes by the machine's own time, and does not follow a test clock; files
go by the time of business.
"""

import logging

from celery import Task, shared_task
from django.conf import settings
from django.utils import timezone

from ledger import clock, seals
from ledger.doorbell import nudge
from reconciliation import (
    bank_matching,
    bank_recognition,
    expected,
    folder,
    ingestion,
    inside,
    matching,
    not_at_the_bank,
    queues,
    recognition,
    sandbox_files,
    sftp,
)

logger = logging.getLogger(__name__)

LONGEST_S = 270  # over all tables of a large house; less than half of the broker's visibility timeout


@shared_task
def seal_the_books() -> None:
    """Seal what was booked and cannot change any more."""
    seals.seal()


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def check_invariants() -> None:
    """Check the invariants that are quick to check, and see to it that a look inside that somebody asked for is made."""
    inside.look_quickly(now=timezone.now())
    if inside.is_wanted(now=timezone.now()):
        nudge_look()


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def check_all_invariants() -> None:
    """Look inside: check every invariant, however large the tables, and compare the figures of both sides."""
    inside.ask(asked_by="", reason="", now=timezone.now())
    inside.look(now=timezone.now(), at=clock.now())


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def look_inside() -> None:
    """Make the look inside that somebody asked for."""
    inside.look(now=timezone.now(), at=clock.now())


@shared_task(bind=True)
def canary(self: Task) -> None:
    """Write the heartbeat of the queue that this message came through."""
    queues.beat(self.request.delivery_info["routing_key"])


@shared_task
def pick_up_files() -> None:
    """Receive what is new in the folder and at the sandbox, and have it read; ring for the SFTP servers, which nobody here waits for."""
    if settings.FILES_SFTP:
        nudge(fetch_over_sftp)
    if folder.pick_up(now=clock.now()) + sandbox_files.fetch(now=clock.now()):
        nudge_staging()


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def fetch_over_sftp() -> None:
    """Receive what is new on the SFTP servers, and have it read."""
    if sftp.fetch(now=clock.now()):
        nudge_staging()


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def stage_files() -> None:
    """Read the files that were received, and compare them with our books."""
    ingestion.stage_waiting(now=clock.now())
    if matching.match_waiting(now=clock.now()) + bank_matching.match_waiting(now=clock.now()):
        bank_recognition.resolve_known(now=clock.now())
        not_at_the_bank.find(now=clock.now())


@shared_task(time_limit=LONGEST_S + 10, soft_time_limit=LONGEST_S)
def look_for_what_is_missing() -> None:
    """Say which files should be here and are not, and find the charges that a file had before us, and what no file has."""
    for missing in expected.missing(now=clock.now()):
        logger.error("a file is missing: %s", missing)
    recognition.resolve_known(now=clock.now())
    bank_recognition.resolve_known(now=clock.now())
    matching.find_missing(now=clock.now())
    not_at_the_bank.find(now=clock.now())


def nudge_look() -> None:
    """Ring for the look inside once the caller's transaction, if any, has committed."""
    nudge(look_inside)


def nudge_staging() -> None:
    """Ring for the reading of files once the caller's transaction, if any, has committed."""
    nudge(stage_files)
