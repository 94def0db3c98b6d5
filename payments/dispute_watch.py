"""The dispute watch: PSPs are asked for their disputes now and then, so that a lost webhook loses none.

Called by beat.  What was asked for before is asked for again with a day of overlap; a dispute that cannot be recorded yet - its charge is not
booked, or who bears the loss hangs on a refund that is under way - is asked for again until it can.  One that contradicts our books goes
into the inbox, as a webhook of it would: there it is parked with its reason, and a person sees it.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from ledger.money import to_minor
from payments import disputes, settlement
from payments.disputes import TooEarly
from payments.models import Dispute, DisputeWatch, PspEvent
from payments.psp import registry
from payments.psp.protocol import DisputeNotice, PspError
from payments.psp.registry import UnknownPsp
from payments.settlement import Undecided
from payments.states import DisputeStatus

logger = logging.getLogger(__name__)

OVERLAP = timedelta(days=1)
FIRST_LOOK = timedelta(days=180)  # a buyer's bank may take a charge back for about that long
LONG = timedelta(days=30)  # what waits for longer is an error


def watch(*, now: datetime) -> int:
    """Ask every PSP that we use, or used, for its disputes; return how many were recorded anew."""
    names = {settings.DEFAULT_PSP, *DisputeWatch.objects.values_list("psp", flat=True)}
    return sum(look(name, now=now) for name in sorted(names))


def look(psp: str, *, now: datetime) -> int:
    """Ask one PSP and record what is new; a PSP that cannot be asked is asked for the same time again.  No transaction is open meanwhile."""
    watched = DisputeWatch.objects.filter(psp=psp).first()
    since = watched.asked_until - OVERLAP if watched else now - FIRST_LOOK
    try:
        notices = registry.psp_named(psp).disputes_since(since)
    except (PspError, UnknownPsp) as error:
        logger.warning("%s cannot be asked for its disputes: %s", psp, error)
        return 0
    count, waiting = 0, [now]
    for notice in unheard(notices, psp=psp):
        try:
            disputes.record(notice, psp=psp)
            count += 1
        except (TooEarly, Undecided) as error:
            log = logger.error if now - notice.updated_at > LONG else logger.warning
            log("dispute %s of %s waits: %s", notice.psp_reference, psp, error)
            waiting.append(notice.updated_at)
        except settlement.CANNOT_BOOK as error:
            logger.error("dispute %s of %s cannot be recorded: %s", notice.psp_reference, psp, error)
            keep(notice, psp=psp)
    DisputeWatch.objects.update_or_create(psp=psp, defaults={"asked_until": min(waiting)})
    return count


def keep(notice: DisputeNotice, *, psp: str) -> None:
    """Put a dispute that cannot be recorded into the inbox, once for each way it stands."""
    kind = "dispute.opened" if notice.status == DisputeStatus.OPEN else "dispute.closed"
    told = {"type": kind, "body": {"data": {"object": told_of(notice)}}}
    PspEvent.objects.get_or_create(psp=psp, event_id=f"answer:{notice.psp_reference}:{notice.status}", defaults=told)


def told_of(notice: DisputeNotice) -> dict[str, Any]:
    return {
        "id": notice.psp_reference,
        "key": notice.key,
        "reference": notice.reference,
        "charge": notice.charge,
        "status": notice.status,
        "amount": to_minor(notice.amount),
        "currency": notice.amount.currency.code,
        "fee": to_minor(notice.fee),
        "lost_amount": to_minor(notice.lost),
        "reason": notice.reason,
        "created_at": notice.opened_at.isoformat(),
        "updated_at": notice.updated_at.isoformat(),
        "evidence_due_by": notice.evidence_due_at.isoformat() if notice.evidence_due_at else None,
    }


def unheard(notices: Sequence[DisputeNotice], *, psp: str) -> list[DisputeNotice]:
    """Return the notices that say more than our own rows."""
    rows = Dispute.objects.filter(psp=psp, psp_reference__in=[notice.psp_reference for notice in notices])
    known = dict(rows.values_list("psp_reference", "status"))
    return [notice for notice in notices if known.get(notice.psp_reference) != notice.status]
