"""How a session gets complete without a card being typed: the wallet's sheet, the phone that read a QR code, the provider of pay later.

Each answer takes the session's lock, looks at what it is by now, and changes it once: a second answer, or one that comes too late, changes
nothing and is told what the session is. A cancelled try may be followed by another one in the same session; a decline is the end of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings
from django.db import transaction

from payments.sandbox import cards, sessions
from payments.sandbox.errors import Refusal
from payments.sandbox.methods import METHODS
from payments.sandbox.models import Session
from payments.sandbox.sessions import CANCELED, DECLINED_BY_BUYER, DECLINED_BY_PROVIDER

Decision = Literal["complete", "failed"]
WALLET_CARDS = tuple(cards.named(name) for name in ("visa_us_4242", "mastercard_fr_8210", "visa_us_9995", "visa_us_0002"))


@dataclass(frozen=True)
class Person:
    """Somebody who wants to pay later: what the provider decides at once, or, after a review, later."""

    email: str
    name: str
    says: str
    decision: Decision | Literal["in_review"]
    then: Literal["", "complete", "failed"] = ""


PEOPLE: Mapping[str, Person] = {
    person.email: person
    for person in (
        Person("ada@approved.example", "Ada Approved", "Approved at once", "complete"),
        Person("dan@declined.example", "Dan Declined", "Declined", "failed"),
        Person("rita@referred.example", "Rita Referred", "Left to a person, then approved", "in_review", then="complete"),
        Person("rob@referred.example", "Rob Referred", "Left to a person, then declined", "in_review", then="failed"),
    )
}


@dataclass(frozen=True)
class Answered:
    """The session after an answer; `is_new` is false when the answer changed nothing."""

    session: Session
    is_new: bool


@transaction.atomic
def pay_with_wallet(session_id: str, *, card: str, now: datetime) -> Answered:
    """Let the buyer pay with one of the cards of the wallet's sheet; raises Refusal unknown_session, unknown_card."""
    session = _locked(session_id, method="digital_wallet")
    chosen = next((known for known in WALLET_CARDS if known.name == card), None)
    if chosen is None:
        raise Refusal(404, "unknown_card", "There is no such card in the wallet.", field="card")
    if not _may_answer(session, now=now):
        return Answered(session, is_new=False)
    session.card, session.card_brand, session.card_funding = chosen.name, chosen.brand, chosen.funding
    session.card_country, session.card_last4 = chosen.country, chosen.last4
    return Answered(sessions.complete(session, now=now), is_new=True)


@transaction.atomic
def cancel(session_id: str, *, now: datetime) -> Answered:
    """Let the buyer walk away from the wallet's sheet or from pay later."""
    session = sessions.locked(session_id)
    if session.method not in ("digital_wallet", "pay_later") or sessions.status_at(session, now) != "open":
        return Answered(session, is_new=False)
    return Answered(sessions.fail(session, code=CANCELED, now=now), is_new=True)


def by_short_code(short_code: str) -> Session:
    """Return the session whose QR code leads to this, or raise Refusal unknown_session (404)."""
    session = Session.objects.filter(short_code=short_code.upper()[:16]).first()
    if session is None:
        raise Refusal(404, "unknown_session", "There is no such code.")
    return session


@transaction.atomic
def answer_on_phone(short_code: str, *, approved: bool, now: datetime) -> Answered:
    """Let the buyer approve or decline what the phone shows, once."""
    session = _locked(by_short_code(short_code).id, method="qr")
    if not _may_answer(session, now=now):
        return Answered(session, is_new=False)
    if approved:
        return Answered(sessions.complete(session, now=now), is_new=True)
    return Answered(sessions.fail(session, code=DECLINED_BY_BUYER, now=now), is_new=True)


@transaction.atomic
def apply_to_pay_later(session_id: str, *, email: str, now: datetime) -> Answered:
    """Let a test person ask the provider; raises Refusal unknown_session, unknown_person."""
    session = _locked(session_id, method="pay_later")
    person = PEOPLE.get(email)
    if person is None:
        raise Refusal(404, "unknown_person", "Choose one of the test people.", field="person")
    if not _may_answer(session, now=now):
        return Answered(session, is_new=False)
    if person.decision != "in_review":
        return Answered(_decide(session, person.decision, now=now), is_new=True)
    session.status, session.failure_code = "in_review", ""
    session.decides_at, session.decides_to = now + timedelta(seconds=settings.SANDBOX_REVIEW_S), person.then
    session.save()
    sessions.tell("session.in_review", session, now=now)
    return Answered(session, is_new=True)


@transaction.atomic
def end_review(session_id: str, *, approved: bool, now: datetime) -> Answered:
    """Decide what a person at the provider reviews, before the clock does."""
    session = sessions.locked(session_id)
    if session.status != "in_review":
        return Answered(session, is_new=False)
    return Answered(_decide(session, "complete" if approved else "failed", now=now), is_new=True)


def ripen(*, now: datetime, limit: int) -> int:
    """Let up to `limit` reviews end as they were going to; return how many did."""
    with transaction.atomic(durable=True):
        due = Session.objects.select_for_update(skip_locked=True).filter(decides_at__lte=now).order_by("decides_at")[:limit]
        ripe = list(due)
        for session in ripe:
            _decide(session, "complete" if session.decides_to == "complete" else "failed", now=now)
    return len(ripe)


def wait_for_a_phone(*, now: datetime, limit: int) -> Sequence[Session]:
    """Return the QR codes that nobody has answered yet, the latest first."""
    codes = Session.objects.filter(
        short_code__isnull=False, status="open", created_at__gte=now - METHODS["qr"].lifetime, expires_at__gt=now
    )
    return list(codes.order_by("-created_at")[:limit])


def in_review(limit: int) -> Sequence[Session]:
    """Return what is being reviewed, the next to be decided first."""
    return list(Session.objects.filter(decides_at__isnull=False).order_by("decides_at")[:limit])


def _decide(session: Session, decision: Decision, *, now: datetime) -> Session:
    if decision == "complete":
        return sessions.complete(session, now=now)
    return sessions.fail(session, code=DECLINED_BY_PROVIDER, now=now)


def _locked(session_id: str, *, method: str) -> Session:
    session = sessions.locked(session_id)
    if session.method != method:
        raise Refusal(404, "unknown_session", "There is no such session.")
    return session


def _may_answer(session: Session, *, now: datetime) -> bool:
    status = sessions.status_at(session, now)
    return status == "open" or (status == "failed" and session.failure_code == CANCELED)
