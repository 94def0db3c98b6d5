"""Sessions: a buyer confirms one total with one card, in fields that belong to the sandbox.

open -> requires_action (3-D Secure) -> complete; a failed try may be followed by another one with another card. A
complete session has a token, which the seller's side charges. Nothing is charged here.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from payments.sandbox import cards, deliveries, journal, wire
from payments.sandbox.cards import EnteredCard, TestCard
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import switchboard
from payments.sandbox.models import Session

PAYER = "SELECT id, currency, card FROM sandbox_session WHERE token = %s"
TERMS = ("amount", "currency", "parent_origin", "return_url")


class CardRefused(Exception):
    """The card cannot be used; `fields` maps field names to keys of words.py. Nothing was stored."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("The card cannot be used.")
        self.fields = fields


@dataclass(frozen=True)
class Payer:
    """What a charge needs to know of a complete session."""

    session_id: str
    currency: str
    card: TestCard


@dataclass(frozen=True)
class Opened:
    session: Session
    is_new: bool


def open_session(nonce: str, *, terms: Mapping[str, Any], now: datetime) -> Opened:
    """Open a session, or return the one that this nonce opened before; other terms are refused.

    Locale and description are how the page looks, not terms: the latest ones win.
    """
    session, is_new = Session.objects.get_or_create(
        nonce=nonce,
        defaults={
            **terms,
            "id": "cs_" + secrets.token_hex(16),
            "created_at": now,
            "expires_at": now + timedelta(seconds=settings.SANDBOX_SESSION_LIFETIME_S),
        },
    )
    if is_new:
        return Opened(session, is_new=True)
    for name in TERMS:
        if getattr(session, name) != terms[name]:
            raise Refusal(422, "nonce_reused", f"This nonce opened a session with another {name}.", field=name)
    if (session.locale, session.description) != (terms["locale"], terms["description"]):
        session.locale, session.description = terms["locale"], terms["description"]
        session.save(update_fields=["locale", "description"])
    return Opened(session, is_new=False)


def by_id(session_id: str) -> Session:
    """Return the session, or raise Refusal unknown_session (404)."""
    session = Session.objects.filter(id=session_id).first()
    if session is None:
        raise Refusal(404, "unknown_session", "There is no such session.")
    return session


def payer_of(token: str) -> Payer:
    """Return who pays with this token, or raise Refusal unknown_token (404)."""
    with connection.cursor() as cursor:
        cursor.execute(PAYER, [token])
        found = cursor.fetchone()
    if found is None:
        raise Refusal(404, "unknown_token", "There is no such payment token.", field="token")
    session_id, currency, card = found
    return Payer(session_id, currency, cards.named(card))


def status_at(session: Session, now: datetime) -> str:
    """Return the status, counting a session that nobody completed in time as expired."""
    if session.status != "complete" and session.expires_at <= now:
        return "expired"
    return session.status


@transaction.atomic
def confirm(session_id: str, *, entered: EnteredCard, now: datetime) -> Session:
    """Take the buyer's card: the session becomes complete, requires_action or failed.

    Raises CardRefused when the card cannot be used. A session that is complete or expired is returned as it is.
    """
    session = _locked(session_id)
    if status_at(session, now) in ("complete", "expired"):
        return session
    wrong = cards.complaints(entered, today=now.date())
    card = cards.numbered(cards.digits_of(entered.number))
    expiry = cards.expiry_of(entered.expiry)
    if wrong or card is None or expiry is None:
        raise CardRefused(wrong)
    session.card = card.name
    session.card_brand, session.card_funding = card.brand, card.funding
    session.card_country, session.card_last4 = card.country, card.last4
    session.card_exp_month, session.card_exp_year = expiry.month, expiry.year
    session.card_fingerprint = cards.fingerprint(card.number, secret=settings.SECRET_KEY)
    if card.authentication == "none":
        return _complete(session, card, now=now)
    if card.authentication == "broken":
        return _fail(session, now=now)
    session.status = "requires_action"
    session.save()
    return session


@transaction.atomic
def answer_challenge(session_id: str, *, succeeded: bool, now: datetime) -> Session:
    """Take the buyer's answer to 3-D Secure: complete or failed. Without an open challenge nothing changes."""
    session = _locked(session_id)
    if status_at(session, now) != "requires_action":
        return session
    if succeeded:
        return _complete(session, cards.named(session.card), now=now)
    return _fail(session, now=now)


def _locked(session_id: str) -> Session:
    session = Session.objects.select_for_update().filter(id=session_id).first()
    if session is None:
        raise Refusal(404, "unknown_session", "There is no such session.")
    return session


def _complete(session: Session, card: TestCard, *, now: datetime) -> Session:
    session.status = "complete"
    session.token = "tok_" + secrets.token_hex(20)
    session.save()
    _tell("session.completed", session, card, now=now)
    return session


def _fail(session: Session, *, now: datetime) -> Session:
    session.status = "failed"
    session.save()
    _tell("session.failed", session, cards.named(session.card), now=now)
    return session


def _tell(event_type: str, session: Session, card: TestCard, *, now: datetime) -> None:
    """Write the journal and queue the webhook; the token is left out of it and must be asked for."""
    fact = journal.Fact(event_type, session.id, session.nonce, key=session.nonce, amount=session.amount, currency=session.currency)
    journal.write([fact], now=now)
    fault = switchboard.fire("webhook", card=card.last4, references=[session.nonce])
    deliveries.queue(event_type, {**as_wire(session, now=now), "payment_token": None}, fault=fault, now=now)


def as_wire(session: Session, *, now: datetime) -> dict[str, Any]:
    card = {
        "brand": session.card_brand,
        "funding": session.card_funding,
        "last4": session.card_last4,
        "exp_month": session.card_exp_month,
        "exp_year": session.card_exp_year,
        "country": session.card_country,
        "fingerprint": session.card_fingerprint,
    }
    return {
        "id": session.id,
        "object": "session",
        "nonce": session.nonce,
        "status": status_at(session, now),
        "amount": session.amount,
        "currency": session.currency,
        "parent_origin": session.parent_origin,
        "return_url": session.return_url,
        "locale": session.locale,
        "description": session.description,
        "fields_url": f"{settings.SANDBOX_PUBLIC_URL}/fields/{session.id}",
        "hosted_url": f"{settings.SANDBOX_PUBLIC_URL}/hosted/{session.id}",
        "payment_token": session.token,
        "method": "card" if session.card else None,
        "card": card if session.card else None,
        "created_at": wire.moment(session.created_at),
        "expires_at": wire.moment(session.expires_at),
    }
