"""Refunds: money given back out of a charge, each under its own key, never more than is left: charged minus refunded minus lost in disputes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import uuid_utils
from django.db import transaction
from django.db.models import F

from payments.sandbox import cards, charges, courses, deliveries, idempotency, journal, wire
from payments.sandbox.cards import TestCard
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.idempotency import BROKEN, Answer
from payments.sandbox.methods import METHODS
from payments.sandbox.models import Charge, Refund, visible


@transaction.atomic(durable=True)
def refund(key: str, *, terms: Mapping[str, Any], fault: Fault | None, now: datetime) -> Answer:
    """Refund part or all of a charge under `key`, or return the answer that this key got before.

    `terms` are charge, amount (minor units), currency and reference. Raises Refusal: key_in_flight, key_reused,
    key_voided, unknown_charge, charge_not_succeeded, charge_disputed, refund_too_late, currency_mismatch, refund_exceeds_charge.
    """
    earlier = idempotency.claim(key, operation="refund", request_hash=idempotency.hash_of(dict(terms)), now=now)
    if earlier:
        return earlier
    if fault and fault.kind == "refuse_stored_500":
        return idempotency.remember(key, BROKEN)
    charged = charges.locked(terms["charge"])
    _require_refundable(charged, currency=terms["currency"], now=now)
    _take(charged, amount=terms["amount"])
    card = cards.named(charged.session.card)
    made = _drafted(charged, key=key, terms=terms, now=now)
    _run(made, card, fault=fault, now=now)
    made.save(force_insert=True)
    return idempotency.remember(key, Answer(201, orjson.dumps(_tell(made, card, now=now))), fault=fault)


def _require_refundable(charged: Charge, *, currency: str, now: datetime) -> None:
    if charged.status != "succeeded":
        raise Refusal(400, "charge_not_succeeded", f"The charge is {charged.status}, there is nothing to give back.")
    if charged.disputes.filter(status="open").exists():
        raise Refusal(400, "charge_disputed", "The charge is disputed. Wait until the dispute is closed.")
    method = METHODS[charged.session.method]
    if method.refundable_for and now >= charged.created_at + method.refundable_for:
        raise Refusal(400, "refund_too_late", f"{method.label} is refunded within {method.refundable_for.days} days.")
    if currency != charged.currency:
        raise Refusal(400, "currency_mismatch", f"The charge is in {charged.currency}.", field="currency")


def _take(charged: Charge, *, amount: int) -> None:
    left = Charge.objects.filter(id=charged.id, refunded__lte=F("amount") - F("lost") - amount)
    if not left.update(refunded=F("refunded") + amount):
        message = "More cannot be refunded than was charged, not yet refunded and not lost in a dispute."
        raise Refusal(400, "refund_exceeds_charge", message, field="amount")


def _drafted(charged: Charge, *, key: str, terms: Mapping[str, Any], now: datetime) -> Refund:
    return Refund(
        id=f"re_{uuid_utils.uuid7().hex}",
        key=key,
        charge_id=charged.id,
        reference=terms["reference"],
        amount=terms["amount"],
        currency=terms["currency"],
        created_at=now,
    )


def _run(made: Refund, card: TestCard, *, fault: Fault | None, now: datetime) -> None:
    """Set the refund on its course."""
    course = courses.course_of(card.refund, fault=fault)
    made.status, made.matures_to, made.matures_at = course.status, course.then, course.matures_at(now)
    made.hidden_until = courses.hidden_until(fault, now=now)


def ripen(*, now: datetime, limit: int) -> int:
    """Let up to `limit` refunds become what their card says; what fails may be refunded again. Return how many did."""
    with transaction.atomic(durable=True):
        due = Refund.objects.select_for_update(skip_locked=True, of=("self",)).select_related("charge__session")
        ripe = list(due.filter(matures_at__lte=now).order_by("matures_at")[:limit])
        for made in ripe:
            made.status, made.matures_at = made.matures_to, None
            if made.status == "failed":
                made.failure = cards.REFUND_FAILED.as_wire()
                Charge.objects.filter(id=made.charge_id).update(refunded=F("refunded") - made.amount)
            made.save(update_fields=["status", "matures_at", "failure"])
        for made in ripe:
            _tell(made, cards.named(made.charge.session.card), now=now)
    return len(ripe)


def _tell(made: Refund, card: TestCard, *, now: datetime) -> dict[str, Any]:
    """Write the journal and queue the webhook; return the refund as it goes over the wire."""
    event_type = f"refund.{made.status}"
    fact = journal.Fact(event_type, made.id, made.reference, key=made.key, amount=made.amount, currency=made.currency)
    journal.write([fact], now=now)
    fault = switchboard.fire("webhook", card=card.last4, references=[made.reference, made.key])
    body = as_wire(made)
    deliveries.queue(event_type, body, fault=fault, now=now)
    return body


def by_key(key: str, *, now: datetime, lag_s: float) -> Sequence[Refund]:
    """Return the refunds made under this key, but for those that may not be seen yet: none or one, unless it was pruned."""
    return list(Refund.objects.filter(visible(key, now=now, lag_s=lag_s)).order_by("created_at", "id"))


def by_id(refund_id: str) -> Refund:
    """Return the refund, or raise Refusal unknown_refund (404)."""
    found = Refund.objects.filter(id=refund_id).first()
    if found is None:
        raise Refusal(404, "unknown_refund", "There is no such refund.", field="refund")
    return found


def as_wire(made: Refund) -> dict[str, Any]:
    return {
        "id": made.id,
        "object": "refund",
        "key": made.key,
        "charge": made.charge_id,
        "reference": made.reference,
        "status": made.status,
        "amount": made.amount,
        "currency": made.currency,
        "failure": made.failure,
        "created_at": wire.moment(made.created_at),
    }
