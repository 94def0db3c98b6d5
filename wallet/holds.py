"""Holds: no payout leaves for a seller while one is active.  Who placed and who lifted it, and why, is kept for good.

What is sold and delivered becomes available all the same: a hold stops money on its way out, not the books.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q

from ledger.errors import DomainError
from wallet.models import SellerHold


class HoldRefused(DomainError):
    code = "hold_refused"


def place(seller_id: int, *, reason: str, until: datetime | None, actor: str, now: datetime) -> SellerHold:
    """Let no payout leave for the seller until that moment, or (None) until the hold is lifted.

    Raises HoldRefused without a reason, and for an end that is not ahead.
    """
    if not reason.strip():
        raise HoldRefused("A hold has a reason: whoever looks at it in a year must understand it.", field="reason")
    if until is not None and until <= now:
        raise HoldRefused("The end of a hold lies in the future.", field="until")
    return SellerHold.objects.create(seller_id=seller_id, reason=reason.strip(), until=until, placed_by=actor, placed_at=now)


@transaction.atomic
def lift(hold_id: int, *, reason: str, actor: str, now: datetime) -> SellerHold:
    """End the hold now.  Locks it.  Raises HoldRefused without a reason, and for one that is over."""
    hold = SellerHold.objects.select_for_update(no_key=True).get(pk=hold_id)
    if not reason.strip():
        raise HoldRefused("Say why the hold is lifted.", field="reason")
    if not is_active(hold, now=now):
        raise HoldRefused(f"{hold.public_id} is over already.")
    hold.lifted_by, hold.lifted_at, hold.lift_reason = actor, now, reason.strip()
    hold.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
    return hold


def is_active(hold: SellerHold, *, now: datetime) -> bool:
    """Does the hold stop payouts at that moment?"""
    return hold.lifted_at is None and (hold.until is None or hold.until > now)


def active(seller_ids: Iterable[int], now: datetime) -> dict[int, SellerHold]:
    """Return the active hold of each of the sellers that has one, of several the one that lasts longest.  One query, and no lock."""
    active_ones = SellerHold.objects.filter(Q(until=None) | Q(until__gt=now), seller__in=set(seller_ids), lifted_at=None)
    return {hold.seller_id: hold for hold in active_ones.order_by("seller", F("until").asc(nulls_last=True), "pk")}
