"""Cards that are kept for a customer: a token for the merchant, the behaviour's name and the expiry for us, and never a number.

A card is kept when the session that the buyer wished it for is complete. The same card of the same customer has one token. A card that was
forgotten pays for nothing any more; one that has expired, or was reported stolen since, is declined when it is charged.
"""

import secrets
from datetime import datetime
from typing import Any

from payments.sandbox import cards
from payments.sandbox.errors import Refusal
from payments.sandbox.models import SavedCard, Session


def keep(session: Session, *, now: datetime) -> str:
    """Keep the session's card for its customer, inside the caller's transaction; return its token."""
    month, year = session.card_exp_month or 0, session.card_exp_year or 0
    kept, is_new = SavedCard.objects.get_or_create(
        customer=session.customer,
        fingerprint=session.card_fingerprint,
        forgotten_at=None,
        defaults={
            "token": "card_" + secrets.token_hex(16),
            "card": session.card,
            "exp_month": month,
            "exp_year": year,
            "created_at": now,
        },
    )
    if not is_new and (kept.exp_month, kept.exp_year) != (month, year):
        kept.exp_month, kept.exp_year = month, year
        kept.save(update_fields=["exp_month", "exp_year"])
    return kept.token


def of_customer(token: str, customer: str) -> SavedCard:
    """Return the customer's card, or raise Refusal unknown_card (404): forgotten, never kept, or somebody else's."""
    kept = SavedCard.objects.filter(token=token, customer=customer, forgotten_at=None).first()
    if kept is None:
        raise Refusal(404, "unknown_card", "No such card is kept for this customer.", field="saved_card")
    return kept


def is_kept(token: str) -> bool:
    return SavedCard.objects.filter(token=token, forgotten_at=None).exists()


def put_into(session: Session, kept: SavedCard) -> None:
    """Let the session be paid with the card, as if it had been typed."""
    card = cards.named(kept.card)
    session.card, session.card_brand, session.card_funding = card.name, card.brand, card.funding
    session.card_country, session.card_last4 = card.country, card.last4
    session.card_exp_month, session.card_exp_year = kept.exp_month, kept.exp_year
    session.card_fingerprint = kept.fingerprint


def forget(token: str, *, now: datetime) -> None:
    """Forget a card; one that is not kept is forgotten already."""
    SavedCard.objects.filter(token=token, forgotten_at=None).update(forgotten_at=now)


def as_wire(session: Session) -> dict[str, Any] | None:
    """Return the card that was kept by this session as the merchant may show it; None if it kept none."""
    if not (session.save_card and session.saved_card):
        return None
    return {
        "token": session.saved_card,
        "brand": session.card_brand,
        "funding": session.card_funding,
        "last4": session.card_last4,
        "exp_month": session.card_exp_month,
        "exp_year": session.card_exp_year,
    }
