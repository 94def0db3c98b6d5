"""The brake: while payouts are stopped, none is asked for, made, approved or sent, to anybody, and no payment file leaves.

Whatever finds that figures about money do not agree stops them, and so may a person; another person lifts that, and says why.  What a bank
may have already goes on: it is asked for, and recorded.  Postgres keeps each stop as it was made and lifted, for good.  Times here are the
machine's own, not the test clock's, as are those of the looks that stop payouts.
"""

import logging
from datetime import UTC, datetime

from django.db import transaction

from ledger import transitions
from ledger.approvals import ReasonMissing
from ledger.errors import DomainError
from payouts.models import PayoutStop

logger = logging.getLogger(__name__)


class PayoutsPaused(DomainError):
    """Nothing is paid out to anybody at present."""

    code = "payouts_paused"


class LiftRefused(DomainError):
    """No reason is given, the stop is lifted already, or it is one's own."""

    code = "lift_refused"


def active() -> PayoutStop | None:
    """Return the stop that stands now; None while payouts go.  One row of a small index, and no lock."""
    return PayoutStop.objects.filter(lifted_at=None).first()


def hindrance() -> PayoutsPaused | None:
    """Return the error that says that payouts are paused; None while they go."""
    stop = active()
    if stop is None:
        return None
    since = f"{stop.placed_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return PayoutsPaused(f"Payouts are paused since {since}, while our figures are checked. No money is lost. Ask again later.")


def require_none() -> None:
    """Raise PayoutsPaused while a stop stands.  One that is placed later in this very moment does not undo what the caller does."""
    paused = hindrance()
    if paused is not None:
        raise paused


@transaction.atomic
def place(*, reason: str, placed_by: str, now: datetime) -> tuple[PayoutStop, bool]:
    """Stop payouts; return the stop, and whether it is new: while one stands, that one answers, and keeps its reason.

    Locks the one that stands: if somebody lifts it at this moment, another is made.  Raises ReasonMissing.
    """
    if not reason.strip():
        raise ReasonMissing("Say why payouts are to stop: whoever lets them go on must know it.", field="note")
    stop, is_new = PayoutStop.objects.select_for_update(no_key=True).get_or_create(
        lifted_at=None, defaults={"reason": reason.strip(), "placed_by": placed_by, "placed_at": now}
    )
    if is_new:
        logger.error("%s stops payouts: %s", placed_by, stop.reason)
    return stop, is_new


@transaction.atomic
def lift(stop_id: int, *, reason: str, actor: str, now: datetime) -> PayoutStop:
    """Let payouts go on.  Those that were held back go within the hour, as they come up again.  Locks the stop.  Raises LiftRefused."""
    stop = PayoutStop.objects.select_for_update(no_key=True).get(pk=stop_id)
    if not reason.strip():
        raise LiftRefused("Say why payouts may go on: the decision is kept with its reason.", field="note")
    if stop.lifted_at is not None:
        raise LiftRefused("Payouts go on already: this stop was lifted.")
    if transitions.is_same_person(actor, stop.placed_by):
        raise LiftRefused("You stopped payouts yourself. Somebody else must let them go on.")
    stop.lifted_by, stop.lifted_at, stop.lift_reason = actor, now, reason.strip()
    stop.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
    logger.warning("%s lets payouts go on: %s", actor, stop.lift_reason)
    return stop
