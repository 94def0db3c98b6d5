"""Expiry: what is left on a gift card when its time is up is our revenue (breakage), posted once, together with the card's movement.

What is held, or frozen, or was given more time, waits: it is looked at again until it can be decided.  What waits for its end is a row in a queue
(DueExpiry).  Locks, always in this order: what is due, the stored values by id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q
from djmoney.money import Money

from ledger import chart, journal
from ledger.journal import Draft
from ledger.models import JournalEntry
from wallet import gift_card_news, notifications, stored_value
from wallet.models import DueExpiry, GiftCard, StoredValue, StoredValueEntry
from wallet.stored_value import Change

BATCH = 500
LOOK_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Expired:
    """What of one card expires now, as the n-th part of it that does."""

    card: GiftCard
    left: Money
    part: int


@transaction.atomic(durable=True)
def expire_due(*, now: datetime, limit: int = BATCH) -> int:
    """Let what is left on cards whose time is up expire, a batch of them; return how many cards were looked at.

    Several workers may do so at once: each takes cards of its own.
    """
    due = DueExpiry.objects.select_for_update(skip_locked=True).filter(due_at__lte=now).order_by("due_at")[:limit]
    values = stored_value.lock([row.value_id for row in due])
    over = [value for value in values if is_over(value, now=now)]
    post(parts_of([value for value in over if value.free]), now=now)
    finished = {value.pk for value in over if not value.held}
    waiting = [DueExpiry(value=value, due_at=look_again_at(value, now=now)) for value in values if value.pk not in finished]
    DueExpiry.objects.bulk_update(waiting, ["due_at"])
    DueExpiry.objects.filter(value__in=finished).delete()
    return len(values)


def is_over(value: StoredValue, *, now: datetime) -> bool:
    """Does what is free of it expire now?  Not while it is frozen: whose money it is, is open."""
    return value.expires_at is not None and value.expires_at <= now and value.frozen_at is None


def look_again_at(value: StoredValue, *, now: datetime) -> datetime:
    """Return when it is looked at again: as it ends, if it was given more time."""
    return max(value.expires_at or now, now + LOOK_AGAIN)


def parts_of(values: Sequence[StoredValue]) -> list[Expired]:
    """Return what of each of these locked values expires, with its card."""
    expired_before = Count("value__entries", filter=Q(value__entries__kind=StoredValueEntry.Kind.EXPIRED))
    cards = {card.value_id: card for card in GiftCard.objects.filter(value__in=values).annotate(expired_before=expired_before)}
    parts = []
    for value in values:
        card = cards[value.pk]
        card.value = value
        parts.append(Expired(card, value.free, getattr(card, "expired_before", 0) + 1))
    return parts


def post(expired: Sequence[Expired], *, now: datetime) -> None:
    """Write the entries and movements of what expires, and tell them.  Inside the caller's transaction, who holds the values."""
    if not expired:
        return
    entries = journal.post([draft_of(each, now=now) for each in expired])
    kind = StoredValueEntry.Kind.EXPIRED
    stored_value.change(
        [
            Change(each.card.value_id, -each.left, each.left * 0, kind=kind, source=each.card.public_id, journal_entry_id=entry)
            for each, entry in zip(expired, entries, strict=True)
        ]
    )
    for each in expired:
        each.card.expired_at, each.card.told = each.card.expired_at or now, each.card.told + 1
    GiftCard.objects.bulk_update([each.card for each in expired], ["expired_at", "told"])
    notifications.publish([gift_card_news.expired(each.card, left=each.left) for each in expired])


def draft_of(expired: Expired, *, now: datetime) -> Draft:
    """The entry of what expires of one card: we do not owe it any more, and it is our revenue."""
    return Draft(
        kind=JournalEntry.Kind.BREAKAGE,
        reference=f"{expired.card.public_id}:expired:{expired.part}",
        effective_at=now,
        debits=[(chart.gift_cards(), expired.left)],
        credits=[(chart.breakage_revenue(), expired.left)],
    )
