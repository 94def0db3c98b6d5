"""Voids: whoever does not know what became of a charge's key lets the key have taken nothing, now and for ever.

A void and a charge under the same key exclude each other by the same lock: either the charge was first, and is taken
back while that is possible, or the void was, and the key is buried.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import transaction

from payments.sandbox import cards, charges, idempotency
from payments.sandbox.idempotency import Answer
from payments.sandbox.models import Charge

VOIDABLE_FOR = timedelta(hours=24)


@transaction.atomic(durable=True)
def void(key: str, *, charge_key: str, now: datetime) -> Answer:
    """Void what was charged under `charge_key`, or return the answer that this void's own `key` got before.

    What is pending, or succeeded less than 24 hours ago with nothing refunded and never disputed, is given back. When one
    charge under the key is beyond that, nothing changes and the answer is not_voidable. Raises Refusal: key_in_flight,
    key_reused.
    """
    request_hash = idempotency.hash_of({"key": charge_key})
    earlier = idempotency.claim(key, operation="void", request_hash=request_hash, now=now)
    if earlier:
        return earlier
    idempotency.hold(charge_key)
    locking = Charge.objects.select_for_update(of=("self",)).select_related("session")
    made = list(locking.filter(key=charge_key).order_by("created_at", "id"))
    is_voided = all(_is_voidable(one, now=now) for one in made)
    if is_voided:
        _void(made, now=now)
        _close_key(charge_key, made, now=now)
    return idempotency.remember(key, Answer(200, orjson.dumps(_as_wire(charge_key, made, is_voided=is_voided))))


def _is_voidable(made: Charge, *, now: datetime) -> bool:
    if made.status != "succeeded":
        return True  # pending: not taken yet; failed or voided: taken no more
    is_fresh = made.succeeded_at is not None and now - made.succeeded_at < VOIDABLE_FOR
    return is_fresh and not made.refunded and not made.disputes.exists()


def _void(made: Sequence[Charge], *, now: datetime) -> None:
    taken = [one for one in made if one.status in ("pending", "succeeded")]
    for one in taken:
        one.status, one.matures_at, one.disputed_at = "voided", None, None
        one.save(update_fields=["status", "matures_at", "disputed_at"])
        charges.give_back(one)
    for one in taken:
        charges.tell(one, cards.named(one.session.card), now=now)


def _close_key(charge_key: str, made: Sequence[Charge], *, now: datetime) -> None:
    """Bury the key; that of a charge that failed by itself goes on telling of the failure."""
    if not made or any(one.status == "voided" for one in made):
        idempotency.bury(charge_key, operation="charge", now=now)


def _as_wire(charge_key: str, made: Sequence[Charge], *, is_voided: bool) -> dict[str, Any]:
    return {
        "object": "void",
        "key": charge_key,
        "status": "voided" if is_voided else "not_voidable",
        "charge": charges.as_wire(made[-1]) if made else None,
    }
