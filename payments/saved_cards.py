"""Cards that the PSP keeps for buyers whom the shop vouches for: kept once the PSP tells of one, offered, and forgotten when the buyer wants it.

Forgetting begins with us - the card is offered no more - and ends at the PSP, which is asked until it has forgotten the card too.
No function that asks the PSP may run inside a transaction.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from ledger.errors import DomainError
from payments.models import PaymentEvent, SavedCard
from payments.psp import registry
from payments.psp.protocol import PspError, SavedCardNotice
from payments.psp.registry import UnknownPsp

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
AGAIN_AFTER = timedelta(minutes=10)


class UnknownSavedCard(DomainError):
    code = "unknown_saved_card"


def keep(event: PaymentEvent, psp: str, notice: SavedCardNotice) -> None:
    """Keep the card for the event's buyer if the shop vouches for them; told again, only its expiry is written anew.

    One that its buyer wanted forgotten is not kept again by an answer that came late.
    """
    if not event.buyer_signed_in:
        return
    told = {"exp_month": notice.exp_month, "exp_year": notice.exp_year}
    shown = {"brand": notice.brand, "last4": notice.last4, "funding": notice.funding}
    card, is_new = SavedCard.objects.get_or_create(psp=psp, token=notice.token, defaults={"buyer_id": event.buyer_id, **told, **shown})
    if not is_new and (card.exp_month, card.exp_year) != (notice.exp_month, notice.exp_year):
        SavedCard.objects.filter(pk=card.pk, buyer=event.buyer_id).update(**told)


def offered_to(event: PaymentEvent) -> Sequence[SavedCard]:
    """Return the buyer's cards that this checkout may be paid with, the latest first; none unless the shop vouches for the buyer."""
    if not event.buyer_signed_in:
        return []
    return list(SavedCard.objects.filter(buyer=event.buyer_id, psp=event.psp, forget_at=None).order_by("-pk"))


def named(event: PaymentEvent, public_id: str) -> SavedCard:
    """Return one of the cards that are offered.  Raises UnknownSavedCard."""
    card = next((card for card in offered_to(event) if card.public_id == public_id), None)
    if card is None:
        raise UnknownSavedCard("There is no such card. Choose another one, or type a card.", field="saved_card")
    return card


def is_expired(card: SavedCard, *, now: datetime) -> bool:
    """Is the month over in which it was valid last?"""
    return (now.year, now.month) > (card.exp_year, card.exp_month)


def forget(event: PaymentEvent, public_id: str, *, now: datetime) -> None:
    """Offer the card no more, and let the PSP forget it; if the PSP is away, the sweep asks it again.  Raises UnknownSavedCard."""
    card = named(event, public_id)
    SavedCard.objects.filter(pk=card.pk, forget_at=None).update(forget_at=now + LEASE)
    ask_to_forget(card, now=now)


def forget_due(*, now: datetime, limit: int = 20) -> int:
    """Ask the PSPs to forget the cards that are due; return how many were asked for."""
    cards = claim_due(now=now, limit=limit)
    for card in cards:
        ask_to_forget(card, now=now)
    return len(cards)


def ask_to_forget(card: SavedCard, *, now: datetime) -> None:
    """Let the PSP forget the card; asked twice, it has forgotten it."""
    unforgotten = SavedCard.objects.filter(pk=card.pk, forgotten_at=None)
    try:
        registry.psp_named(card.psp).forget_card(card.token)
    except (PspError, UnknownPsp) as error:
        logger.warning("%s is not forgotten yet by %s: %s", card.public_id, card.psp, error)
        unforgotten.update(forget_at=now + AGAIN_AFTER)
    else:
        unforgotten.update(forgotten_at=now)


@transaction.atomic(durable=True)
def claim_due(*, now: datetime, limit: int) -> Sequence[SavedCard]:
    due = SavedCard.objects.select_for_update(skip_locked=True).filter(forget_at__lte=now, forgotten_at=None).order_by("forget_at")
    cards = list(due[:limit])
    SavedCard.objects.filter(pk__in=[card.pk for card in cards]).update(forget_at=now + LEASE)
    return cards
