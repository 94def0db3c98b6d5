"""Dead letters: what the machine gave up on and a person must decide, each with its reason.  Nothing here decides anything (rescue.py does).

A dead letter's order or refund keeps its status, has no next attempt, and is never claimed; a webhook that still tells its end is applied.
"""

import logging
from collections.abc import Collection
from datetime import datetime

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from ledger.statements import execute, require_transaction
from payments.models import DeadLetter, DueOrder, Refund, new_dead_letter_id

logger = logging.getLogger(__name__)

TRIES_EXHAUSTED = DeadLetter.Reason.TRIES_EXHAUSTED.value
UNKNOWN_TOO_LONG = DeadLetter.Reason.UNKNOWN_TOO_LONG.value
WORKER_DIED = DeadLetter.Reason.WORKER_DIED.value
CANNOT_BE_BOOKED = DeadLetter.Reason.CANNOT_BE_BOOKED.value
NOT_GIVEN_BACK = DeadLetter.Reason.NOT_GIVEN_BACK.value
LONGEST_DETAIL = 500

# An open letter says the latest reason: what it said before is not what keeps the money now.  That a buyer's money is still with us
# outweighs any other.
BURY = """
INSERT INTO payments_deadletter AS standing (public_id, order_id, refund_id, reason, detail)
SELECT public_id, order_id, refund_id, reason, detail
FROM json_to_recordset(%s) AS letter (public_id text, order_id bigint, refund_id bigint, reason text, detail text)
ON CONFLICT (order_id, refund_id) WHERE decided_at IS NULL DO UPDATE SET reason = excluded.reason, detail = excluded.detail
WHERE standing.reason NOT IN (excluded.reason, 'late_charge_not_given_back')
RETURNING public_id
"""

# Two letters are about what failed already: the tries of an order were used up, or a buyer's money is still with us.  They stay open, the
# second until another refund has given the money back.  What somebody decides at this moment is left to him.
CLOSE_SETTLED = """
WITH settled AS MATERIALIZED (
    SELECT letter.id FROM payments_deadletter AS letter JOIN payments_paymentorder AS payment ON payment.id = letter.order_id
    WHERE letter.decided_at IS NULL AND CASE
        WHEN letter.refund_id IS NULL
        THEN payment.status IN ('SUCCESS', 'CANCELLED') OR payment.status = 'FAILED' AND letter.reason <> 'tries_exhausted'
        ELSE EXISTS (SELECT FROM payments_refund AS refund WHERE refund.id = letter.refund_id AND (
            refund.status = 'SUCCESS' OR refund.status = 'FAILED' AND letter.reason <> 'late_charge_not_given_back'
            OR EXISTS (SELECT FROM payments_refund AS other WHERE other.late_charge_id = refund.late_charge_id AND other.status = 'SUCCESS')))
    END
    ORDER BY letter.id FOR NO KEY UPDATE OF letter SKIP LOCKED
)
UPDATE payments_deadletter AS letter
SET decision = 'settled', decided_by = 'machine', decided_at = %s, note = 'It came to its end meanwhile.'
FROM settled WHERE letter.id = settled.id
"""


def bury(order_id: int, *, refund_id: int | None = None, reason: str, detail: str) -> None:
    """Give an order, or one of its refunds, up to a person: write the letter, if none is open, and take it out of the queue.

    One that is open already learns the new reason, if it is another.
    Inside the caller's transaction, which holds the order's row or its place in the queue; the refund's row for a refund.
    """
    require_transaction("dead_letters.bury")
    letter = {
        "public_id": new_dead_letter_id(),
        "order_id": order_id,
        "refund_id": refund_id,
        "reason": reason,
        "detail": detail[:LONGEST_DETAIL].replace("\0", ""),
    }
    for (public_id,) in execute(BURY, [letter]):
        logger.error("%s waits for a person: %s of order %s, refund %s", public_id, reason, order_id, refund_id)
    if refund_id is None:
        DueOrder.objects.filter(order=order_id).update(next_attempt_at=None, claimed_until=None)
    else:
        Refund.objects.filter(pk=refund_id).update(next_attempt_at=None)


def close_of(order_ids: Collection[int], *, note: str) -> None:
    """Close the open letters about these orders themselves, which start anew.  The caller holds the orders."""
    about_them = DeadLetter.objects.filter(order__in=order_ids, refund=None, decided_at=None)
    about_them.update(decision=DeadLetter.Decision.SETTLED, decided_by="machine", note=note, decided_at=Now())


@transaction.atomic(durable=True)
def close_settled(*, now: datetime) -> int:
    """Close the open letters whose order or refund came to its end without a person; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE_SETTLED, [now])
        return int(cursor.rowcount)


def waiting() -> QuerySet[DeadLetter]:
    """Return the letters that wait for a person, oldest first, with what a reader needs to show them."""
    return DeadLetter.objects.filter(decided_at__isnull=True).select_related("order__event", "order__seller", "refund").order_by("id")
