"""Disputes: a buyer's bank takes a charge back, and somebody decides later who keeps the money.

Opening withdraws the disputed amount and a fee; closing gives back what was not lost, and never the fee. A charge has at
most one open dispute. Test cards open and close theirs by themselves. Locks the charge before the dispute, always.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import uuid_utils
from django.conf import settings
from django.db import transaction
from django.db.models import F

from payments.sandbox import cards, charges, deliveries, journal, wire
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import switchboard
from payments.sandbox.journal import Fact
from payments.sandbox.models import Charge, Dispute

Outcome = Literal["won", "lost", "partial"]
FEE = 15_00
EVIDENCE_WITHIN = timedelta(days=7)


@transaction.atomic(durable=True)
def open_dispute(charge_id: str, *, terms: Mapping[str, Any], now: datetime) -> Dispute:
    """Open a dispute of the charge, for `amount` of it or for all that was not lost before.

    `terms` are amount and fee (minor units of the charge's currency), currency and reason; amount and currency may be
    None. Raises Refusal: unknown_charge, charge_not_succeeded, charge_disputed, currency_mismatch, dispute_exceeds_charge.
    """
    charged = charges.locked(charge_id)
    _require_disputable(charged, currency=terms["currency"] or charged.currency)
    left = charged.amount - charged.lost
    amount = terms["amount"] or left
    if not 0 < amount <= left:
        message = f"No more than {left} is left of the charge to be disputed."
        raise Refusal(400, "dispute_exceeds_charge", message, field="amount")
    return _open(charged, amount=amount, fee=terms["fee"], reason=terms["reason"], now=now)


def _require_disputable(charged: Charge, *, currency: str) -> None:
    if charged.status != "succeeded":
        raise Refusal(400, "charge_not_succeeded", f"The charge is {charged.status}, there is nothing to dispute.", field="charge")
    if charged.disputes.filter(status="open").exists():
        raise Refusal(400, "charge_disputed", "The charge has an open dispute.", field="charge")
    if currency != charged.currency:
        raise Refusal(400, "currency_mismatch", f"The charge is in {charged.currency}.", field="currency")


def _open(charged: Charge, *, amount: int, fee: int, reason: str, now: datetime) -> Dispute:
    opened = Dispute(
        id=f"dp_{uuid_utils.uuid7().hex}",
        charge=charged,
        amount=amount,
        currency=charged.currency,
        fee=fee,
        reason=reason,
        evidence_due_by=now + EVIDENCE_WITHIN,
        created_at=now,
        updated_at=now,
    )
    decided = cards.named(charged.session.card).disputed
    if decided and decided.then:
        opened.closes_at, opened.closes_to = now + timedelta(seconds=settings.SANDBOX_PENDING_S), decided.then
    opened.save(force_insert=True)
    facts = [_fact("dispute.opened", opened, amount)] + ([_fact("dispute.fee", opened, fee)] if fee else [])
    _tell("dispute.opened", opened, facts, now=now)
    return opened


@transaction.atomic(durable=True)
def close(dispute_id: str, *, outcome: Outcome, lost_amount: int | None, now: datetime) -> Dispute:
    """Decide an open dispute: won (nothing is lost), lost (all of it) or partial (`lost_amount` of it, minor units).

    Raises Refusal: unknown_dispute, dispute_closed, invalid_field.
    """
    charges.locked(by_id(dispute_id).charge_id)
    closed = Dispute.objects.select_related("charge__session").get(id=dispute_id)
    if closed.status != "open":
        raise Refusal(400, "dispute_closed", f"The dispute is {closed.status} already.")
    closed.status, closed.updated_at, closed.closes_at = outcome, now, None
    closed.lost_amount = _lost(closed, outcome=outcome, lost_amount=lost_amount)
    closed.save(update_fields=["status", "updated_at", "closes_at", "lost_amount"])
    Charge.objects.filter(id=closed.charge_id).update(lost=F("lost") + closed.lost_amount)
    returned = closed.amount - closed.lost_amount
    facts = [_fact(f"dispute.{outcome}", closed, closed.lost_amount)]
    facts += [_fact("dispute.returned", closed, returned)] if returned else []
    _tell("dispute.closed", closed, facts, now=now)
    return closed


def _lost(closed: Dispute, *, outcome: Outcome, lost_amount: int | None) -> int:
    certain = {"won": 0, "lost": closed.amount}.get(outcome)
    if certain is None:
        if lost_amount is None or not 0 < lost_amount < closed.amount:
            message = f"lost_amount must be more than nothing and less than the disputed {closed.amount}."
            raise Refusal(400, "invalid_field", message, field="lost_amount")
        return lost_amount
    if lost_amount not in (None, certain):
        raise Refusal(400, "invalid_field", f"lost_amount of a dispute that is {outcome} is {certain}.", field="lost_amount")
    return certain


def ripen(*, now: datetime, limit: int) -> int:
    """Open and close up to `limit` disputes each, as the test cards say; return how many."""
    to_open = list(Charge.objects.filter(disputed_at__lte=now).order_by("disputed_at").values_list("id", flat=True)[:limit])
    for charge_id in to_open:
        _open_by_card(charge_id, now=now)
    to_close = list(Dispute.objects.filter(closes_at__lte=now).order_by("closes_at")[:limit])
    for due in to_close:
        _close_by_card(due, now=now)
    return max(len(to_open), len(to_close))


@transaction.atomic(durable=True)
def _open_by_card(charge_id: str, *, now: datetime) -> None:
    charged = charges.locked(charge_id)
    disputed = cards.named(charged.session.card).disputed
    if charged.disputed_at is None or disputed is None:  # voided meanwhile
        return
    charged.disputed_at = None
    charged.save(update_fields=["disputed_at"])
    if not charged.disputes.exists():  # somebody was faster than the card
        _open(charged, amount=charged.amount, fee=FEE, reason=disputed.reason, now=now)


def _close_by_card(due: Dispute, *, now: datetime) -> None:
    try:
        close(due.id, outcome="won" if due.closes_to == "won" else "lost", lost_amount=None, now=now)
    except Refusal:
        """Somebody closed it meanwhile, and that stands."""


def _fact(kind: str, dispute: Dispute, amount: int) -> Fact:
    charged = dispute.charge
    return Fact(kind, dispute.id, charged.reference, key=charged.key, amount=amount, currency=dispute.currency)


def _tell(event_type: str, dispute: Dispute, facts: Sequence[Fact], *, now: datetime) -> None:
    """Write the journal and queue the webhook."""
    journal.write(facts, now=now)
    charged = dispute.charge
    references = [charged.reference, charged.key, dispute.id]
    fault = switchboard.fire("webhook", card=charged.session.card_last4, references=references)
    deliveries.queue(event_type, as_wire(dispute), fault=fault, now=now)


def by_id(dispute_id: str) -> Dispute:
    """Return the dispute, or raise Refusal unknown_dispute (404)."""
    found = Dispute.objects.select_related("charge__session").filter(id=dispute_id).first()
    if found is None:
        raise Refusal(404, "unknown_dispute", "There is no such dispute.")
    return found


def charge_of(reference: str) -> str:
    """Return the id of the latest charge with this reference that succeeded, or raise Refusal unknown_charge (404)."""
    found = Charge.objects.filter(reference=reference, status="succeeded").order_by("-created_at", "-id").first()
    if found is None:
        raise Refusal(404, "unknown_charge", "No charge with this reference succeeded.", field="reference")
    return found.id


def updated_since(since: datetime | None, *, limit: int) -> Sequence[Dispute]:
    """Return up to `limit` disputes that changed at `since` or later, by the time of their last change.

    The time of a change is taken shortly before it is committed: ask with some seconds of overlap.
    """
    found = Dispute.objects.select_related("charge")
    changed = found.filter(updated_at__gte=since) if since else found
    return list(changed.order_by("updated_at", "id")[:limit])


def latest(limit: int) -> Sequence[Dispute]:
    return list(Dispute.objects.select_related("charge").order_by("-created_at", "-id")[:limit])


def as_wire(dispute: Dispute) -> dict[str, Any]:
    return {
        "id": dispute.id,
        "object": "dispute",
        "charge": dispute.charge_id,
        "key": dispute.charge.key,
        "reference": dispute.charge.reference,
        "status": dispute.status,
        "amount": dispute.amount,
        "currency": dispute.currency,
        "fee": dispute.fee,
        "lost_amount": dispute.lost_amount,
        "reason": dispute.reason,
        "evidence_due_by": wire.moment(dispute.evidence_due_by),
        "created_at": wire.moment(dispute.created_at),
        "updated_at": wire.moment(dispute.updated_at),
    }
