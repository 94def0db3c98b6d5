"""The outbox: a message is published by the transaction that makes it true, and read or sent later, from the committed row."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.ids import new_id
from ledger.statements import execute


def new_event_id() -> str:
    return new_id("evt")


@dataclass(frozen=True, slots=True)
class Message:
    """News of one shop: what happened (`topic`), to which object (`about`, its public id), and how the object stands (`payload`)."""

    shop_id: int
    topic: str
    about: str
    payload: dict[str, Any]
    public_id: str = field(default_factory=new_event_id)


PUBLISH = """
INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, payload)
SELECT * FROM json_to_recordset(%s) AS message (public_id text, shop_id bigint, topic text, about text, payload jsonb)
"""


def publish(messages: Sequence[Message]) -> None:
    """Keep the messages: they are there if and only if the caller's transaction commits.  One statement for any number."""
    if messages:
        execute(
            PUBLISH,
            [{"public_id": m.public_id, "shop_id": m.shop_id, "topic": m.topic, "about": m.about, "payload": m.payload} for m in messages],
        )
