"""Charges: money taken with a session's token, each under its own idempotency key, never more than the session's total.

One transaction holds the key, the session's running total, the charge, its journal row, its webhook and the stored
answer. The card decides how it ends; a card may leave a charge pending, which ripens later.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import uuid_utils
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from payments.sandbox import cards, deliveries, idempotency, journal, wire
from payments.sandbox.cards import TestCard
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import switchboard
from payments.sandbox.idempotency import Answer
from payments.sandbox.models import Charge, Session
from payments.sandbox.sessions import Payer

TAKE = "UPDATE sandbox_session SET charged = charged + %s WHERE id = %s AND charged + %s <= amount"
INSERT = """
    INSERT INTO sandbox_charge (id, key, session_id, reference, amount, currency, status, failure, metadata,
                                created_at, matures_at, matures_to, refunded)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0)
"""
RIPENS_TO = {"pending_then_succeeds": "succeeded", "pending_then_fails": "failed"}


@transaction.atomic(durable=True)
def charge(payer: Payer, *, key: str, terms: Mapping[str, Any], now: datetime) -> Answer:
    """Charge the payer's card under `key`, or return the answer that this key got before.

    `terms` are token, amount (minor units), currency, reference and metadata. A decline is an answer, with status 402.
    Raises Refusal: key_in_flight, key_reused, currency_mismatch, amount_exceeds_session.
    """
    earlier = idempotency.claim(key, operation="charge", request_hash=idempotency.hash_of(dict(terms)), now=now)
    if earlier:
        return earlier
    if terms["currency"] != payer.currency:
        raise Refusal(400, "currency_mismatch", f"The session is in {payer.currency}.", field="currency")
    made = _drafted(payer, key=key, terms=terms, now=now)
    _take(payer, amount=made.amount if made.status != "failed" else 0, within=made.amount)
    _insert(made)
    body = _tell(made, payer.card, now=now)
    return idempotency.remember(key, Answer(402 if made.status == "failed" else 201, orjson.dumps(body)))


def _drafted(payer: Payer, *, key: str, terms: Mapping[str, Any], now: datetime) -> Charge:
    card = payer.card
    ripens_to = RIPENS_TO.get(card.charge, "")
    return Charge(
        id=f"ch_{uuid_utils.uuid7().hex}",
        key=key,
        session_id=payer.session_id,
        reference=terms["reference"],
        metadata=terms["metadata"],
        amount=terms["amount"],
        currency=terms["currency"],
        status="failed" if card.failure else "pending" if ripens_to else "succeeded",
        failure=card.failure.as_wire() if card.failure else None,
        created_at=now,
        matures_at=now + timedelta(seconds=settings.SANDBOX_PENDING_S) if ripens_to else None,
        matures_to=ripens_to,
    )


def _take(payer: Payer, *, amount: int, within: int) -> None:
    """Add to what the session was charged, or raise; a charge that fails takes nothing but must fit all the same."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [amount, payer.session_id, within])
        if not cursor.rowcount:
            message = "The charges of one token cannot exceed the session's amount."
            raise Refusal(400, "amount_exceeds_session", message, field="amount")


def _insert(made: Charge) -> None:
    failure = orjson.dumps(made.failure).decode() if made.failure else None
    metadata = orjson.dumps(made.metadata).decode()
    terms: list[Any] = [made.id, made.key, made.session_id, made.reference, made.amount, made.currency]
    course: list[Any] = [made.status, failure, metadata, made.created_at, made.matures_at, made.matures_to]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, terms + course)


def ripen(*, now: datetime, limit: int) -> int:
    """Let up to `limit` pending charges become what their card says; return how many did."""
    with transaction.atomic(durable=True):
        due = Charge.objects.select_for_update(skip_locked=True, of=("self",)).select_related("session")
        ripe = list(due.filter(matures_at__lte=now).order_by("matures_at")[:limit])
        for made in ripe:
            made.status, made.matures_at = made.matures_to, None
            if made.status == "failed":
                made.failure = cards.DECLINED.as_wire()
                Session.objects.filter(id=made.session_id).update(charged=F("charged") - made.amount)
            made.save(update_fields=["status", "matures_at", "failure"])
        for made in ripe:
            _tell(made, cards.named(made.session.card), now=now)
    return len(ripe)


def _tell(made: Charge, card: TestCard, *, now: datetime) -> dict[str, Any]:
    """Write the journal and queue the webhook; return the charge as it goes over the wire."""
    event_type = f"charge.{made.status}"
    fact = journal.Fact(event_type, made.id, made.reference, key=made.key, amount=made.amount, currency=made.currency)
    journal.write([fact], now=now)
    fault = switchboard.fire("webhook", card=card.last4, references=[made.reference, made.key])
    if fault is None and card.fault and card.fault.concerns_webhooks:
        fault = card.fault
    body = as_wire(made)
    deliveries.queue(event_type, body, fault=fault, now=now)
    return body


def by_key(key: str) -> Sequence[Charge]:
    """Return the charge made under this key: none or one."""
    return list(Charge.objects.filter(key=key))


def by_id(charge_id: str) -> Charge:
    """Return the charge, or raise Refusal unknown_charge (404)."""
    found = Charge.objects.filter(id=charge_id).first()
    if found is None:
        raise Refusal(404, "unknown_charge", "There is no such charge.", field="charge")
    return found


def as_wire(made: Charge) -> dict[str, Any]:
    return {
        "id": made.id,
        "object": "charge",
        "key": made.key,
        "reference": made.reference,
        "session": made.session_id,
        "status": made.status,
        "amount": made.amount,
        "currency": made.currency,
        "refunded": made.refunded,
        "failure": made.failure,
        "metadata": made.metadata,
        "created_at": wire.moment(made.created_at),
    }
