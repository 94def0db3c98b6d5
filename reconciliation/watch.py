"""The watch: the invariants are checked all day, in production too, and whoever opens the admin sees it when one does not hold.

Every five minutes the quick checks, each night all of them, on one consistent and read-only state of the database.  A check that takes too
long counts as one that does not hold: nobody knows.  A chain of seals that was cut off or written anew stays red until a person accepts it
(`accept`).  Times here are the machine's own, not the test clock's.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg
from django.db import OperationalError, connection, transaction
from psycopg import IsolationLevel

from ledger import seals
from ledger.models import JournalEntry
from ledger.seals import Head
from reconciliation import invariants
from reconciliation.invariants import Violation
from reconciliation.models import AcceptedHead, InvariantRun

logger = logging.getLogger(__name__)

QUICK = frozenset(invariants.CHECKS) - invariants.NIGHTLY
ANCHOR = "INV-17 the chain of seals goes through the head that the run before saw"
TIMEOUT_S = {InvariantRun.Scope.QUICK: 60, InvariantRun.Scope.FULL: 120}
TOO_OLD = {InvariantRun.Scope.QUICK: timedelta(minutes=15), InvariantRun.Scope.FULL: timedelta(hours=36)}
KEPT_FOR = timedelta(days=30)
NOT_KNOWN = "not known: "  # how the row of a check begins that could not be made


class NothingToAccept(ValueError):
    """A head that cannot be accepted, or need not be."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why the banner is red: the run that found something, or how long nobody has looked."""

    run: InvariantRun | None
    since: datetime | None = None

    @property
    def is_broken(self) -> bool:
        return bool(self.run and self.run.violations)


def run_quick(*, now: datetime) -> InvariantRun:
    """Check the invariants that a large ledger answers in seconds, and keep what was found."""
    return keep(InvariantRun.Scope.QUICK, [name for name in invariants.CHECKS if name in QUICK], now=now)


def run_full(*, now: datetime, beside: Callable[[], object] | None = None) -> InvariantRun:
    """Check every invariant, and keep what was found; forget the runs of more than 30 days ago.  `beside` reads the very same state."""
    InvariantRun.objects.filter(started_at__lt=now - KEPT_FOR).delete()
    return keep(InvariantRun.Scope.FULL, list(invariants.CHECKS), now=now, beside=beside)


def keep(scope: InvariantRun.Scope, names: list[str], *, now: datetime, beside: Callable[[], object] | None = None) -> InvariantRun:
    began = time.monotonic()
    broken, anchor = look(names, timeout_s=TIMEOUT_S[scope], beside=beside)
    for violation in broken:
        logger.error("an invariant does not hold: %s", violation)
    return InvariantRun.objects.create(
        scope=scope,
        started_at=now,
        took_ms=round((time.monotonic() - began) * 1000),
        checked=len(names) + 1,
        violations=[as_kept(violation) for violation in broken],
        seal_head=anchor,
    )


def look(names: Iterable[str], *, timeout_s: int, beside: Callable[[], object] | None = None) -> tuple[list[Violation], str]:
    """Return what does not hold in one consistent state of the database that is only read, and the anchor for the next look.

    That is the head of the seals, unless the chain has left the anchor of before: then it is still that one, so that nobody who writes the
    chain anew has it taken for the old one.
    """
    with one_state(timeout_s=timeout_s):
        broken = broken_here(names, timeout_s=timeout_s)
        if beside is not None:
            beside()
        return broken, str(missed_anchor() or seals.head() or "")


def broken_here(names: Iterable[str], *, timeout_s: int) -> list[Violation]:
    """Return what does not hold in the state of the transaction that is open, the anchor of the seals with it."""
    broken = [violation for name in names if (violation := looked_at(name, timeout_s=timeout_s))]
    return [*broken, *lost(missed_anchor())]


@contextmanager
def one_state(*, timeout_s: int, read_only: bool = True) -> Iterator[None]:
    """Open a transaction that only reads (unless said otherwise), sees one state to its end, and ends any statement after so long."""
    connection.ensure_connection()
    line: psycopg.Connection = connection.connection
    line.isolation_level, line.read_only = IsolationLevel.REPEATABLE_READ, read_only
    try:
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{timeout_s}s"])
            yield
    finally:
        if not line.closed:  # one that broke is thrown away
            line.isolation_level = line.read_only = None


def looked_at(name: str, *, timeout_s: int) -> Violation | None:
    try:
        with transaction.atomic():
            return invariants.violation_of(name)
    except OperationalError:
        return Violation(name, (f"{NOT_KNOWN}the check took longer than {timeout_s} s",))


def anchored() -> Head | None:
    """Return what the chain must go through: the anchor of the latest run, or what a person accepted in its stead; None before the first."""
    seen = InvariantRun.objects.exclude(seal_head="").order_by("-pk").values_list("seal_head", flat=True).first()
    accepted = AcceptedHead.objects.filter(instead_of=seen or "").order_by("-pk").values_list("head", flat=True).first()
    text = accepted or seen
    return seals.parse_head(text) if text else None


def missed_anchor() -> Head | None:
    """Return the anchor if the chain does not go through it: it may have grown since, but not been cut off or written anew."""
    anchor = anchored()
    return anchor if anchor and seals.strayed_from(anchor) else None


def lost(missed: Head | None) -> list[Violation]:
    return [Violation(ANCHOR, tuple(str(finding) for finding in seals.strayed_from(missed)))] if missed else []


@transaction.atomic(durable=True)
def accept(head: Head, *, accepted_by: str, note: str) -> AcceptedHead:
    """Let the watch go on with this head of the chain, which a person has looked at, instead of the anchor that it misses.

    Raises NothingToAccept: no anchor is missed, the head is not one of this chain, or who or why is not said.
    """
    missed = missed_anchor()
    if missed is None:
        raise NothingToAccept("The chain of seals goes through its anchor: there is nothing to accept.")
    if seals.strayed_from(head):
        raise NothingToAccept(f"{head} is no seal of this chain, which ends with {seals.head() or 'nothing'}.")
    if not (accepted_by.strip() and note.strip()):
        raise NothingToAccept("Say who accepts it and why: both are kept.")
    logger.error("%s accepts the chain of seals at %s instead of %s: %s", accepted_by, head, missed, note)
    return AcceptedHead.objects.create(head=str(head), instead_of=str(missed), accepted_by=accepted_by, note=note)


def as_kept(violation: Violation) -> dict[str, Any]:
    """Return the violation as JSON: amounts and moments as text."""
    kept: dict[str, Any] = orjson.loads(orjson.dumps({"invariant": violation.invariant, "rows": violation.rows}, default=str))
    return kept


def latest_runs() -> tuple[InvariantRun | None, InvariantRun | None]:
    """Return the latest quick run and the latest full one."""
    newest = InvariantRun.objects.order_by("-pk")
    return newest.filter(scope=InvariantRun.Scope.QUICK).first(), newest.filter(scope=InvariantRun.Scope.FULL).first()


def alarm(*, now: datetime) -> Alarm | None:
    """Return why finance must look at once: a latest run with violations, or none that is recent.  None while all is well."""
    quick, full = latest_runs()
    for run in (quick, full):
        if run and run.violations:
            return Alarm(run)
    if quick is None:
        first = JournalEntry.objects.order_by("pk").values_list("booked_at", flat=True).first()
        return Alarm(None) if first and first < now - TOO_OLD[InvariantRun.Scope.QUICK] else None
    for run in (quick, full):
        if run and run.started_at < now - TOO_OLD[InvariantRun.Scope(run.scope)]:
            return Alarm(run, since=run.started_at)
    return None
