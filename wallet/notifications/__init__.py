"""The outbox: a message is published by the transaction that makes it true, and read or sent later, from the committed row.

`publish` is all that the money path sees.  What becomes of a message afterwards is this package's: `relay` makes deliveries of it, one for
each endpoint that wants it, and `delivery` sends them until each endpoint has said yes (at least once).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from ledger.ids import new_id, new_id_in_sql
from ledger.statements import execute, execute_from
from wallet.models import OutboxMessage

PING = "ping"  # the topic of what is sent to one endpoint alone, to try it; vocabulary.py has all others


def new_event_id() -> str:
    return new_id("evt")


@dataclass(frozen=True, slots=True)
class Message:
    """News of one shop: what happened (`topic`), to which object (`about`, its public id), and how the object stands (`payload`).

    `sequence` counts the messages about the same object (1, 2, 3, ...), so that a receiver can tell old news from new.
    """

    shop_id: int
    topic: str
    about: str
    payload: dict[str, Any]
    sequence: int = 0
    public_id: str = field(default_factory=new_event_id)


PUBLISH = """
INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, sequence, payload)
SELECT * FROM json_to_recordset(%s)
    AS message (public_id text, shop_id bigint, topic text, about text, sequence int, payload jsonb)
"""

PUBLISH_FROM = f"""
WITH news AS MATERIALIZED ({{rows}}), message AS (
    INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, sequence, payload)
    SELECT {new_id_in_sql("evt")}, shop_id, topic, about, sequence, payload FROM news
    RETURNING id
)
SELECT count(*) FROM message
"""  # noqa: S608 (constants of this module)


def publish(messages: Sequence[Message]) -> None:
    """Keep the messages: they are there if and only if the caller's transaction commits.  One statement for any number."""
    if messages:
        execute(PUBLISH, [row_of(message) for message in messages])


def publish_from(rows: str, parameters: Mapping[str, Any]) -> int:
    """Keep a message for each row of a SELECT; return how many.  For rows that are in Postgres already; else `publish`.

    A row has shop_id, topic, about, sequence and payload (jsonb).  One statement, inside the caller's transaction.
    """
    return execute_from(PUBLISH_FROM, rows, parameters)


def row_of(message: Message) -> dict[str, Any]:
    return {
        "public_id": message.public_id,
        "shop_id": message.shop_id,
        "topic": message.topic,
        "about": message.about,
        "sequence": message.sequence,
        "payload": message.payload,
    }


def event_of(message: OutboxMessage) -> dict[str, Any]:
    """Return the message as the world sees it: the same for whoever asks (GET /v1/events) and whoever is told (a webhook's body)."""
    return {
        "id": message.public_id,
        "object": "event",
        "type": message.topic,
        "about": message.about,
        "sequence": message.sequence,
        "data": message.payload,
        "created_at": message.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
