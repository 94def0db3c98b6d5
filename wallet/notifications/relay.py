"""The relay: makes a delivery of each message for each endpoint that wants it, away from the transaction that published it.

Ids are drawn before they are committed, so "larger than the last one seen" alone would skip what commits late.  The relay goes only as far
as the feed is certain (feed.py): below that, every message is committed or will never come.  Where it stands is a row that it locks and
moves in the same transaction as it makes deliveries: after a crash it begins again where it stood.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from ledger import seek
from wallet import feed
from wallet.models import OutboxMessage, RelayPosition
from wallet.notifications import PING

NAME = "webhooks"
MOST_MESSAGES = 2000  # in one transaction
PATIENCE_S = 1.0

LAST_OF_BATCH = """
SELECT max(id) FROM (
    SELECT id FROM wallet_outboxmessage WHERE id > %(after)s AND id <= %(until)s ORDER BY id LIMIT %(most)s
) AS batch
"""

# A topic is wanted by its whole name, or by a prefix with a star: payment_order.*
FAN_OUT = """
INSERT INTO wallet_webhookdelivery (message_id, endpoint_id, next_attempt_at)
SELECT message.id, endpoint.id, %(now)s
FROM wallet_outboxmessage AS message
JOIN wallet_webhookendpoint AS endpoint ON endpoint.shop_id = message.shop_id AND endpoint.is_enabled
WHERE message.id > %(after)s AND message.id <= %(last)s AND message.topic <> %(ping)s
  AND (endpoint.topics = '[]'::jsonb OR EXISTS (
      SELECT FROM jsonb_array_elements_text(endpoint.topics) AS wanted
      WHERE wanted = message.topic OR (right(wanted, 2) = '.*' AND starts_with(message.topic, left(wanted, -1)))
  ))
ORDER BY message.id
ON CONFLICT (message_id, endpoint_id) DO NOTHING
"""


@transaction.atomic(durable=True)
def fan_out(*, now: datetime) -> int:
    """Make deliveries of up to MOST_MESSAGES messages; return how many messages were passed, none if somebody else is at it."""
    return pass_on(NAME, FAN_OUT, {"now": now, "ping": PING})


def pass_on(name: str, statement: str, parameters: Mapping[str, Any]) -> int:
    """Run a statement over the messages after which `name` stands (after, last), and move it there; return how many were passed.

    Inside the caller's transaction: what the statement wrote and where it stands are kept together.
    """
    RelayPosition.objects.get_or_create(name=name)
    position = RelayPosition.objects.select_for_update(skip_locked=True).filter(name=name).first()
    if position is None:
        return 0
    batch = {"after": position.message_id, "until": certain_until(), "most": MOST_MESSAGES, **parameters}
    [(last,)] = run(LAST_OF_BATCH, batch)
    if last is None:
        return 0
    run(statement, batch | {"last": last})
    passed = last - position.message_id
    position.message_id = last
    position.save(update_fields=["message_id"])
    return int(passed)


def certain_until() -> int:
    """Return an id up to which nothing can still come.  Where writers do not end in time: what is older than any of them."""
    certain = feed.certain_until(patience_s=PATIENCE_S)
    if certain is not None:
        return certain
    [(now,)] = run("SELECT now()", {})  # Postgres' own clock, for it is what the messages carry
    return seek.first_id_since(OutboxMessage, "created_at", now - feed.LONGER_THAN_ANY_WRITER) - 1


def run(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
