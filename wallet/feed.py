"""The feed: a shop's messages, oldest first, for a follower who wants every one of them exactly once.

Ids are drawn before they are committed, so a later id may be visible while an earlier one is not yet: a follower who moved past it would
miss it for ever.  So the feed ends where it is certain: every transaction that may have drawn an earlier id has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic, sleep

from django.db import connection
from django.db.models import Q

from ledger.errors import DomainError
from wallet.models import OutboxMessage, Shop

PATIENCE_S = 0.2
PAUSE_S = 0.005
LONGER_THAN_ANY_WRITER = timedelta(minutes=2)

# A writer takes its lock on the table before it draws an id, and keeps it until it has committed.
LAST_DRAWN = "SELECT coalesce(max(id), 0) FROM wallet_outboxmessage"
WRITERS = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'wallet_outboxmessage'::regclass AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
"""


class UnknownMessage(DomainError):
    code = "unknown_event"


def messages_after(shop: Shop, *, after: str, limit: int, now: datetime) -> Sequence[OutboxMessage]:
    """Return the shop's next messages after the one of that id (from the beginning, if empty), oldest first, none left out.

    Raises UnknownMessage.  Messages of the last two minutes wait until the transactions that were writing just now have ended.
    """
    begin = id_of(shop, after) if after else 0
    certain = certain_until()
    known = Q(pk__lte=certain) if certain is not None else Q(created_at__lt=now - LONGER_THAN_ANY_WRITER)
    return list(OutboxMessage.objects.filter(known, shop=shop, pk__gt=begin).order_by("pk")[:limit])


def id_of(shop: Shop, public_id: str) -> int:
    """Return where a message stands."""
    found = OutboxMessage.objects.filter(shop=shop, public_id=public_id).values_list("pk", flat=True).first()
    if found is None:
        raise UnknownMessage(f"There is no event {public_id[:60]} in this shop. Begin again without it.", field="after")
    return found


def certain_until(*, patience_s: float = PATIENCE_S) -> int | None:
    """Return an id up to which every message is committed or will never come; None if writers do not end in time."""
    with connection.cursor() as cursor:
        cursor.execute(LAST_DRAWN)
        [last] = cursor.fetchone()
        cursor.execute(WRITERS)
        waited_for = set(cursor.fetchall())
        deadline = monotonic() + patience_s
        while waited_for and monotonic() < deadline:
            sleep(PAUSE_S)
            cursor.execute(WRITERS)
            waited_for &= set(cursor.fetchall())
    return None if waited_for else int(last)
