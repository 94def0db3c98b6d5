"""Sessions: a buyer confirms one total in one way to pay, on fields or pages that belong to the sandbox.

open -> requires_action (3-D Secure) or in_review (a person at the provider decides) -> complete or failed. A failed try with a card may be
followed by another one. A complete session has a token, which the seller's side charges. Nothing is charged here. How a card is given is
said here; how the other ways to pay are approved, in approvals.py.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from payments.sandbox import cards, deliveries, emvco, instalments, journal, methods, saved_cards, wire
from payments.sandbox.cards import EnteredCard, Expiry, Failure, TestCard
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import switchboard
from payments.sandbox.models import Session

PAYER = """
    SELECT id, currency, card, CASE WHEN saved_card <> '' AND NOT save_card THEN card_exp_month END, card_exp_year
    FROM sandbox_session WHERE token = %s
"""
TERMS = ("method", "amount", "currency", "parent_origin", "return_url", "saved_card", "country")
WISHES = ("locale", "description", "save_card", "customer")
LETTERS_OF_A_CODE = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
AUTHENTICATION_FAILED, CARD_FORGOTTEN, CANCELED = "authentication_failed", "card_forgotten", "canceled_by_buyer"
DECLINES = DECLINED_BY_BUYER, DECLINED_BY_PROVIDER = "declined_by_buyer", "declined_by_provider"  # the end of a session
FAILURES = {
    AUTHENTICATION_FAILED: "The card's bank did not confirm the payment.",
    CARD_FORGOTTEN: "The card was forgotten while its bank was asked.",
    CANCELED: "The buyer cancelled.",
    DECLINED_BY_BUYER: "The buyer declined on the phone.",
    DECLINED_BY_PROVIDER: "The provider of pay later declined.",
}


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
    kept_until: Expiry | None = None

    def failure_at(self, now: datetime) -> Failure | None:
        """Return why charging the card fails; one that was kept may have expired, or been reported stolen, since."""
        if self.card.failure or self.kept_until is None:
            return self.card.failure
        return cards.EXPIRED if cards.is_past(self.kept_until, today=now.date()) else self.card.kept


@dataclass(frozen=True)
class Opened:
    session: Session
    is_new: bool


@transaction.atomic
def open_session(nonce: str, *, terms: Mapping[str, Any], now: datetime) -> Opened:
    """Open a session, or return the one that this nonce opened before; other terms are refused.

    How the page looks, and whether the card shall be kept, are no terms: the latest wish counts until the session is complete. A session with
    a kept card goes on at once to what the card asks for. Raises Refusal: nonce_reused, method_not_possible, missing_field, invalid_field,
    unknown_card.
    """
    found = Session.objects.select_for_update().filter(nonce=nonce).first()
    if found is None:
        _require_possible(terms)
        found, is_new = Session.objects.get_or_create(nonce=nonce, defaults=_drafted(terms, now=now))
        if is_new:
            return Opened(_with_kept_card(found, now=now) if found.saved_card else found, is_new=True)
    for name in TERMS:
        if getattr(found, name) != terms[name] and not (name == "saved_card" and found.save_card):
            raise Refusal(422, "nonce_reused", f"This nonce opened a session with another {name}.", field=name)
    if found.status != "complete" and any(getattr(found, name) != terms[name] for name in WISHES):
        _require_possible(terms)
        for name in WISHES:
            setattr(found, name, terms[name])
        found.save(update_fields=WISHES)
    return Opened(found, is_new=False)


def _require_possible(terms: Mapping[str, Any]) -> None:
    methods.require_possible(terms["method"], amount=terms["amount"], currency=terms["currency"], country=terms["country"])
    if terms["save_card"] and terms["saved_card"]:
        raise Refusal(400, "invalid_field", "A card that is kept already cannot be kept again.", field="save_card")
    for name in ("save_card", "saved_card"):
        if terms[name] and terms["method"] != "card":
            raise Refusal(400, "invalid_field", "Only cards can be kept.", field=name)
        if terms[name] and not terms["customer"]:
            raise Refusal(400, "missing_field", "Say whose card it is: customer.", field="customer")


def _drafted(terms: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    is_code = terms["method"] == "qr"
    return {
        **terms,
        "id": "cs_" + secrets.token_hex(16),
        "short_code": "".join(secrets.choice(LETTERS_OF_A_CODE) for _ in range(12)) if is_code else None,
        "created_at": now,
        "expires_at": now + methods.METHODS[terms["method"]].lifetime,
    }


def _with_kept_card(session: Session, *, now: datetime) -> Session:
    saved_cards.put_into(session, saved_cards.of_customer(session.saved_card, session.customer))
    return _authenticate(session, cards.named(session.card), now=now)


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
    session_id, currency, card, exp_month, exp_year = found
    return Payer(session_id, currency, cards.named(card), Expiry(exp_month, exp_year) if exp_month else None)


def status_at(session: Session, now: datetime) -> str:
    """Return the status, counting a session that nobody completed in time as expired; what a person reviews waits for that person."""
    is_over = session.status in ("complete", "in_review") or session.failure_code in DECLINES
    if not is_over and session.expires_at <= now:
        return "expired"
    return session.status


@transaction.atomic
def confirm(session_id: str, *, entered: EnteredCard, now: datetime) -> Session:
    """Take the buyer's card: the session becomes complete, requires_action or failed.

    Raises CardRefused when the card cannot be used. A session that is complete or expired is returned as it is, and so is one that was
    opened for a kept card. Raises Refusal unknown_session (404), also for one that is paid in another way.
    """
    session = locked(session_id)
    if session.method != "card":
        raise Refusal(404, "unknown_session", "There is no such session.")
    if session.saved_card or status_at(session, now) in ("complete", "expired"):
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
    return _authenticate(session, card, now=now)


def _authenticate(session: Session, card: TestCard, *, now: datetime) -> Session:
    """Ask the card's bank, which asks the buyer (requires_action), or does not."""
    if card.authentication == "none":
        return complete(session, now=now)
    if card.authentication == "broken":
        return fail(session, code=AUTHENTICATION_FAILED, now=now)
    session.status, session.failure_code = "requires_action", ""
    session.save()
    return session


@transaction.atomic
def answer_challenge(session_id: str, *, succeeded: bool, now: datetime) -> Session:
    """Take the buyer's answer to 3-D Secure: complete or failed. Without an open challenge nothing changes."""
    session = locked(session_id)
    if status_at(session, now) != "requires_action":
        return session
    if not succeeded:
        return fail(session, code=AUTHENTICATION_FAILED, now=now)
    if session.saved_card and not saved_cards.is_kept(session.saved_card):
        return fail(session, code=CARD_FORGOTTEN, now=now)
    return complete(session, now=now)


def locked(session_id: str) -> Session:
    """Return the session, locked until the caller's transaction ends, or raise Refusal unknown_session (404)."""
    session = Session.objects.select_for_update().filter(id=session_id).first()
    if session is None:
        raise Refusal(404, "unknown_session", "There is no such session.")
    return session


def complete(session: Session, *, now: datetime) -> Session:
    """Give the locked session its token, and keep its card if the buyer wishes that; tell."""
    session.status, session.failure_code, session.decides_at = "complete", "", None
    session.token = "tok_" + secrets.token_hex(20)
    if session.save_card:
        session.saved_card = saved_cards.keep(session, now=now)
    session.save()
    tell("session.completed", session, now=now)
    return session


def fail(session: Session, *, code: str, now: datetime) -> Session:
    """Let the locked session have failed, and tell."""
    session.status, session.failure_code, session.decides_at = "failed", code, None
    session.save()
    tell("session.failed", session, now=now)
    return session


def tell(event_type: str, session: Session, *, now: datetime) -> None:
    """Write the journal and queue the webhook; the token is left out of it and must be asked for."""
    card = cards.named(session.card)
    fact = journal.Fact(event_type, session.id, session.nonce, key=session.nonce, amount=session.amount, currency=session.currency)
    journal.write([fact], now=now)
    fault = switchboard.fire("webhook", card=card.last4, references=[session.nonce])
    deliveries.queue(event_type, {**as_wire(session, now=now), "payment_token": None}, fault=fault, now=now)


def phone_url(session: Session) -> str:
    """Return where the phone that reads the session's QR code approves."""
    return f"{settings.SANDBOX_PUBLIC_URL}/phone/{session.short_code}"


def hosted_url(session: Session) -> str:
    """Return where the buyer approves in a browser."""
    return phone_url(session) if session.short_code else f"{settings.SANDBOX_PUBLIC_URL}/hosted/{session.id}"


def schedule(session: Session) -> Sequence[instalments.Instalment]:
    """Return what the buyer of pay later pays and when; nothing in any other way to pay."""
    return instalments.schedule(session.amount, begins_on=session.created_at.date()) if session.method == "pay_later" else []


def _code_text(session: Session) -> str | None:
    if session.short_code is None:
        return None
    return emvco.code(
        address=phone_url(session),
        reference=session.short_code,
        amount=session.amount,
        currency=session.currency,
        merchant=session.description,
    )


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
        "country": session.country or None,
        "fields_url": f"{settings.SANDBOX_PUBLIC_URL}/fields/{session.id}" if session.method == "card" else None,
        "hosted_url": hosted_url(session),
        "payment_token": session.token,
        "method": session.method,
        "card": card if session.card else None,
        "saved_card": saved_cards.as_wire(session),
        "code_text": _code_text(session),
        "schedule": [{"due_date": one.due_date.isoformat(), "amount": one.amount} for one in schedule(session)],
        "failure": {"code": session.failure_code, "message": FAILURES[session.failure_code]} if session.failure_code else None,
        "created_at": wire.moment(session.created_at),
        "expires_at": wire.moment(session.expires_at),
    }
