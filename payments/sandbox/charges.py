"""Charges: money taken with a session's token, each under its own idempotency key, never more than the session's total.

One transaction holds the key, the session's running total, the charge, its journal row, its webhook and the stored
answer. The card decides how it ends, or a fault; either may leave a charge pending, which ripens later.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import uuid_utils
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from payments.sandbox import cards, courses, deliveries, idempotency, journal, wire
from payments.sandbox.cards import TestCard
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.idempotency import BROKEN, Answer
from payments.sandbox.models import Charge, Session, visible
from payments.sandbox.sessions import Payer

TAKE = "UPDATE sandbox_session SET charged = charged + %s WHERE id = %s AND charged + %s <= amount"
INSERT = """
    INSERT INTO sandbox_charge (id, key, session_id, reference, amount, currency, status, failure, metadata, created_at,
                                matures_at, matures_to, succeeded_at, disputed_at, hidden_until, statement_descriptor, refunded, lost)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0)
"""


@transaction.atomic(durable=True)
def charge(payer: Payer, *, key: str, terms: Mapping[str, Any], fault: Fault | None, now: datetime) -> Answer:
    """Charge the payer's card under `key`, or return the answer that this key got before.

    `terms` are token, amount (minor units), currency, reference, metadata and statement_descriptor. A decline is an answer, with status 402.
    Raises Refusal: key_in_flight, key_reused, key_voided, currency_mismatch, amount_exceeds_session.
    """
    earlier = idempotency.claim(key, operation="charge", request_hash=idempotency.hash_of(dict(terms)), now=now)
    if earlier:
        return earlier
    if fault and fault.kind == "refuse_stored_500":
        return idempotency.remember(key, BROKEN)
    if terms["currency"] != payer.currency:
        raise Refusal(400, "currency_mismatch", f"The session is in {payer.currency}.", field="currency")
    made = _drafted(payer, key=key, terms=terms, now=now)
    _run(made, payer, fault=fault, now=now)
    _take(payer, amount=made.amount if made.status != "failed" else 0, within=made.amount)
    _insert(made)
    body = tell(made, payer.card, now=now)
    return idempotency.remember(key, Answer(402 if made.status == "failed" else 201, orjson.dumps(body)), fault=fault)


def _drafted(payer: Payer, *, key: str, terms: Mapping[str, Any], now: datetime) -> Charge:
    return Charge(
        id=f"ch_{uuid_utils.uuid7().hex}",
        key=key,
        session_id=payer.session_id,
        reference=terms["reference"],
        metadata=terms["metadata"],
        statement_descriptor=terms["statement_descriptor"],
        amount=terms["amount"],
        currency=terms["currency"],
        created_at=now,
    )


def _run(made: Charge, payer: Payer, *, fault: Fault | None, now: datetime) -> None:
    """Set the charge on its course."""
    failure = payer.failure_at(now)
    course = courses.FAILS if failure else courses.course_of(payer.card.charge, fault=fault)
    made.status, made.matures_to, made.matures_at = course.status, course.then, course.matures_at(now)
    made.failure = failure.as_wire() if failure else None
    made.hidden_until = courses.hidden_until(fault, now=now)
    if made.status == "succeeded":
        _succeed(made, payer.card, now=now)


def _succeed(made: Charge, card: TestCard, *, now: datetime) -> None:
    """Note when the money was taken, and when the bank will dispute it if the card says so."""
    made.succeeded_at = now
    made.disputed_at = now + timedelta(seconds=settings.SANDBOX_PENDING_S) if card.disputed else None


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
    later: list[Any] = [made.succeeded_at, made.disputed_at, made.hidden_until, made.statement_descriptor]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, terms + course + later)


def ripen(*, now: datetime, limit: int) -> int:
    """Let up to `limit` pending charges become what their card says; return how many did."""
    with transaction.atomic(durable=True):
        due = Charge.objects.select_for_update(skip_locked=True, of=("self",)).select_related("session")
        ripe = list(due.filter(matures_at__lte=now).order_by("matures_at")[:limit])
        for made in ripe:
            made.status, made.matures_at = made.matures_to, None
            if made.status == "failed":
                made.failure = cards.DECLINED.as_wire()
                give_back(made)
            else:
                _succeed(made, cards.named(made.session.card), now=now)
            made.save(update_fields=["status", "matures_at", "failure", "succeeded_at", "disputed_at"])
        for made in ripe:
            tell(made, cards.named(made.session.card), now=now)
    return len(ripe)


def give_back(made: Charge) -> None:
    """Let the session be charged again for what this charge took."""
    Session.objects.filter(id=made.session_id).update(charged=F("charged") - made.amount)


def tell(made: Charge, card: TestCard, *, now: datetime) -> dict[str, Any]:
    """Write the journal and queue the webhook; return the charge as it goes over the wire.

    The journal's amount is the charge's; of a voided charge it is what had been taken, which is nothing if it was pending.
    """
    event_type = f"charge.{made.status}"
    amount = 0 if made.status == "voided" and made.succeeded_at is None else made.amount
    fact = journal.Fact(event_type, made.id, made.reference, key=made.key, amount=amount, currency=made.currency)
    journal.write([fact], now=now)
    fault = switchboard.fire("webhook", card=card.last4, references=[made.reference, made.key])
    if fault is None and card.fault and card.fault.concerns_webhooks:
        fault = card.fault
    body = as_wire(made)
    deliveries.queue(event_type, body, fault=fault, now=now)
    return body


def by_key(key: str, *, now: datetime, lag_s: float) -> Sequence[Charge]:
    """Return the charges made under this key, but for those that may not be seen yet: none or one, unless it was pruned."""
    return list(Charge.objects.filter(visible(key, now=now, lag_s=lag_s)).order_by("created_at", "id"))


def by_id(charge_id: str) -> Charge:
    """Return the charge, or raise Refusal unknown_charge (404)."""
    return _found(Charge.objects.filter(id=charge_id).first())


def locked(charge_id: str) -> Charge:
    """Return the charge, locked until the caller's transaction ends, or raise Refusal unknown_charge (404)."""
    return _found(Charge.objects.select_for_update(of=("self",)).select_related("session").filter(id=charge_id).first())


def _found(found: Charge | None) -> Charge:
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
        "statement_descriptor": made.statement_descriptor or None,
        "created_at": wire.moment(made.created_at),
    }
