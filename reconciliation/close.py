"""How a month is closed, by two people: one prepares it, another one closes it, in ONE transaction that succeeds only if everything holds.

That transaction sees one state of the database, in which it looks at every check (close_checks.py) and every invariant, closes the month in
the books (ledger/periods.py), and keeps the evidence: one JSON document with its hash.  Killed at any moment, it has done all of it or nothing.
Nothing opens a month again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import translation

from ledger import periods, queries, seals, transitions
from ledger.approvals import LONGEST_REASON, AlreadyDecided, MakerMayNotApprove, require_reason
from ledger.errors import DomainError
from ledger.models import ClosedMonth
from ledger.money import text
from reconciliation import close_checks, invariants, watch
from reconciliation.close_checks import Check, Span
from reconciliation.models import CloseEvidence, InvariantRun, MonthClose, SourceFile

LONGEST_CHECK_S = watch.TIMEOUT_S[InvariantRun.Scope.FULL]
Status = MonthClose.Status

COUNTS = """
SELECT entry.kind, count(*), min(entry.id), max(entry.id) FROM ledger_journalentry AS entry
WHERE entry.effective_at >= %(since)s AND entry.effective_at < %(until)s GROUP BY 1 ORDER BY 1
"""


class NoSuchClose(DomainError):
    code = "not_found"


class NotReady(DomainError):
    """Something that a month must fulfil does not hold."""

    code = "month_not_ready"


@transaction.atomic(durable=True)
def prepare(month: date, *, actor: str, reason: str, now: datetime) -> MonthClose:
    """Prepare the close of the month that begins on that day, for somebody else to close it.

    Raises NotReady (says what does not hold), AlreadyDecided, ReasonMissing.
    """
    require_reason(reason)
    require_all(close_checks.checks(close_checks.span_of(month), now=now))
    try:
        with transaction.atomic():
            return MonthClose.objects.create(month=month, prepared_by=actor, prepared_at=now, memo=reason[:LONGEST_REASON])
    except IntegrityError as error:
        raise AlreadyDecided(f"The close of {month:%Y-%m} is prepared already, or done.") from error


def close(close_id: int, *, actor: str, reason: str, now: datetime) -> MonthClose:
    """Close the month that somebody else prepared, and keep the evidence: both, or neither.  May take minutes; no payment waits for it.

    Commits by itself.  Locks the close.  Raises NoSuchClose, AlreadyDecided, MakerMayNotApprove, ReasonMissing, NotReady (says what does not
    hold), BooksAreBusy.
    """
    require_reason(reason)
    alone, state = periods.no_one_posts_into_the_past(), watch.one_state(timeout_s=LONGEST_CHECK_S, read_only=False)
    with translation.override("en"), alone, state:  # the evidence speaks one language
        prepared = lock_prepared(close_id)
        if transitions.is_same_person(actor, prepared.prepared_by):
            raise MakerMayNotApprove(f"You prepared the close of {prepared} yourself. Somebody else must close it.")
        span = close_checks.span_of(prepared.month)
        found = looked_at(span, now=now)
        closed = periods.close(prepared.month)
        decide(prepared, Status.CLOSED, actor=actor, reason=reason, now=now, closed=closed)
        keep(prepared, evidence_of(prepared, span, found))
    return prepared


@transaction.atomic(durable=True)
def call_off(close_id: int, *, actor: str, reason: str, now: datetime) -> MonthClose:
    """Call off a close that is prepared: the month stays open, and may be prepared again.  Locks it.  Raises as `close` does."""
    require_reason(reason)
    prepared = lock_prepared(close_id)
    decide(prepared, Status.CALLED_OFF, actor=actor, reason=reason, now=now)
    return prepared


def looked_at(span: Span, *, now: datetime) -> list[Check]:
    """Return all checks, each as it holds in the state of this transaction.  Raises NotReady."""
    beside = [check for check in close_checks.checks(span, now=now) if check.name != close_checks.INVARIANTS]
    require_all(beside)  # before minutes are spent on the rest
    every = close_checks.invariants_now(list(invariants.CHECKS), timeout_s=LONGEST_CHECK_S)
    require_all([every])
    return [*beside, every]


def require_all(checks: Sequence[Check]) -> None:
    """Raise NotReady unless each of them holds."""
    missing = [str(check.title) for check in checks if not check.holds]
    if missing:
        raise NotReady(f"The month is not ready to be closed. This does not hold: {'; '.join(missing)}.")


def lock_prepared(close_id: int) -> MonthClose:
    prepared = MonthClose.objects.select_for_update(no_key=True).filter(pk=close_id).first()
    if prepared is None:
        raise NoSuchClose("Nobody has prepared this. Look at the list of months.")
    if prepared.status != Status.PREPARED:
        raise AlreadyDecided(f"{prepared.decided_by} has decided about the close of {prepared} already.")
    return prepared


def decide(prepared: MonthClose, status: Status, *, actor: str, reason: str, now: datetime, closed: ClosedMonth | None = None) -> None:
    prepared.status, prepared.decided_by, prepared.decided_at, prepared.reason = status, actor, now, reason[:LONGEST_REASON]
    prepared.closed_month = closed
    prepared.save(update_fields=["status", "decided_by", "decided_at", "reason", "closed_month"])


# --- The evidence ---------------------------------------------------------------------------------------------------


def keep(prepared: MonthClose, evidence: dict[str, Any]) -> CloseEvidence:
    document = orjson.dumps(evidence, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    return CloseEvidence.objects.create(close=prepared, document=document, sha256=hashlib.sha256(document).hexdigest())


def evidence_of(closed: MonthClose, span: Span, found: Sequence[Check]) -> dict[str, Any]:
    """Return all that the month was closed on, and what it came to.  Amounts are plain decimals."""
    return {
        "object": "month_close",
        "id": closed.public_id,
        "month": str(closed),
        "since": span.since,
        "until": span.until,
        "prepared": {"by": closed.prepared_by, "at": closed.prepared_at, "why": closed.memo},
        "closed": {"by": closed.decided_by, "at": closed.decided_at, "why": closed.reason},
        "checks": [as_kept(check) for check in found],
        "invariants": list(invariants.CHECKS),
        "seal_head": str(seals.head() or ""),
        "totals": [asdict(total) for total in periods.totals_of(closed.month)],
        "trial_balance": [
            {
                "kind": line.kind,
                "currency": line.balance.currency.code,
                "debits": text(line.debits),
                "credits": text(line.credits),
                "balance": text(line.balance),
            }
            for line in queries.trial_balance(as_of=span.until)
        ],
        "entries": entries_in(span),
        "files": files_about(span),
        "limits": {"mismatch_days": settings.CLOSE_MISMATCH_DAYS, "mismatches": settings.CLOSE_MISMATCH_LIMITS},
    }


def as_kept(check: Check) -> dict[str, Any]:
    rows = [str(row) for row in check.rows]
    return {"name": check.name, "title": str(check.title), "holds": check.holds, "found": check.found, "rows": rows}


def entries_in(span: Span) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"since": span.since, "until": span.until})
        return [{"kind": kind, "count": count, "first": first, "last": last} for kind, count, first, last in cursor.fetchall()]


def files_about(span: Span) -> list[dict[str, Any]]:
    files = SourceFile.objects.filter(status=SourceFile.Status.STAGED, last_day__gte=span.first_day, last_day__lte=span.last_day)
    names = ("public_id", "source", "kind", "format", "name", "sha256", "size", "staged", "last_day")
    return list(files.order_by("pk").values(*names))
