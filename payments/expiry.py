"""Expiry: a checkout whose time is up, and of which nothing is executing, is done.  What was not paid by then has failed.

Called by beat.  An order that executes keeps its checkout open until its outcome is known.
"""

from datetime import datetime

from django.db import transaction

from ledger.statements import execute
from payments import news
from wallet import notifications

LOCK_DUE = """
SELECT event.id AS event_id FROM payments_opencheckout AS checkout
JOIN payments_paymentevent AS event ON event.id = checkout.event_id
WHERE checkout.expires_at <= (SELECT now FROM json_to_recordset(%s) AS parameters (now timestamptz))
  AND NOT EXISTS (SELECT FROM payments_paymentorder AS payment WHERE payment.event_id = event.id AND payment.status = 'EXECUTING')
ORDER BY event.id LIMIT 200
FOR NO KEY UPDATE OF event SKIP LOCKED
"""

# Looks again at what executes and what is done, now that the events are locked: a confirmation or a settlement may have come between.
EXPIRE = """
WITH due AS MATERIALIZED (
    SELECT due.event_id FROM json_to_recordset(%s) AS due (event_id bigint) JOIN payments_paymentevent AS event ON event.id = due.event_id
    WHERE NOT event.is_payment_done AND NOT EXISTS (SELECT FROM payments_paymentorder AS payment WHERE payment.event_id = due.event_id AND payment.status = 'EXECUTING')
), standing AS MATERIALIZED (
    SELECT event_id, bool_or(status = 'SUCCESS') AS any_paid, bool_or(status = 'FAILED') AS any_failed
    FROM payments_paymentorder JOIN due USING (event_id) GROUP BY event_id
), failed AS (
    UPDATE payments_paymentorder SET status = 'FAILED', failure_code = 'checkout_expired'
    FROM due WHERE payments_paymentorder.event_id = due.event_id AND status = 'NOT_STARTED'
), unlisted AS (
    DELETE FROM payments_opencheckout USING due WHERE payments_opencheckout.event_id = due.event_id
)
UPDATE payments_paymentevent AS event
SET is_payment_done = true, told = told + 1, status = CASE WHEN any_paid THEN 'partly_paid' WHEN any_failed THEN 'failed' ELSE 'expired' END
FROM standing WHERE event.id = standing.event_id
RETURNING event.shop_id, event.public_id, event.status, event.amount, event.currency, event.told
"""


@transaction.atomic(durable=True)
def expire_checkouts(*, now: datetime) -> int:
    """Finish up to 200 checkouts whose time is up; return how many.  Locks the events; those that are locked elsewhere wait for next time."""
    due = execute(LOCK_DUE, [{"now": now}])
    expired = execute(EXPIRE, [{"event_id": event_id} for (event_id,) in due]) if due else []
    notifications.publish([news.payment_news(*row) for row in expired])
    return len(expired)
