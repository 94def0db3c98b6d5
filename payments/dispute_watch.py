"""The dispute watch: PSPs are asked for their disputes now and then, so that a lost webhook loses none.

Called by beat.  What was asked for before is asked for again with a day of overlap; a dispute of a charge that is not booked yet is asked
for again until it is, for a month.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from payments import disputes, settlement
from payments.disputes import TooEarly
from payments.models import Dispute, DisputeWatch
from payments.psp import registry
from payments.psp.protocol import DisputeNotice, PspError
from payments.psp.registry import UnknownPsp
from payments.states import DisputeStatus

logger = logging.getLogger(__name__)

OVERLAP = timedelta(days=1)
FIRST_LOOK = timedelta(days=180)  # a buyer's bank may take a charge back for about that long
LONGEST_WAIT = timedelta(days=30)


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
            record(notice, psp=psp)
            count += 1
        except TooEarly as error:
            logger.warning("%s: %s", psp, error)
            waiting.append(notice.updated_at)
        except settlement.CANNOT_BOOK as error:
            logger.error("dispute %s of %s cannot be recorded: %s", notice.psp_reference, psp, error)
    DisputeWatch.objects.update_or_create(psp=psp, defaults={"asked_until": max(min(waiting), now - LONGEST_WAIT)})
    return count


def unheard(notices: Sequence[DisputeNotice], *, psp: str) -> list[DisputeNotice]:
    """Return the notices that say more than our own rows."""
    rows = Dispute.objects.filter(psp=psp, psp_reference__in=[notice.psp_reference for notice in notices])
    known = dict(rows.values_list("psp_reference", "status"))
    return [notice for notice in notices if known.get(notice.psp_reference) != notice.status]


def record(notice: DisputeNotice, *, psp: str) -> None:
    """Open or close the dispute as the notice says.  Raises as `disputes` does."""
    if notice.status == DisputeStatus.OPEN:
        disputes.open_dispute(notice, psp=psp)
    else:
        disputes.close_dispute(notice, psp=psp)
