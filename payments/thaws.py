"""Thaws: a gift card or wallet that a lost dispute left frozen can be spent again, once two people say so (ledger/approvals.py).

It stays frozen where the platform bore a part of the loss: what the charge had bought was spent.  A thaw moves no money: what is left on the
card or in the wallet was given back or paid into it since, and the platform's part stays its loss.
"""

from collections.abc import Collection
from datetime import datetime

from djmoney.money import Money

from ledger.errors import DomainError
from ledger.money import text, zero
from payments import losses, value_returns
from payments.models import Dispute
from payments.states import DisputeStatus
from wallet import stored_value
from wallet.models import StoredValue


class NothingToThaw(DomainError):
    code = "nothing_to_thaw"


def decided(value: StoredValue) -> list[Dispute]:
    """Return the disputes that are decided and for which the value is frozen all the same, the oldest first."""
    named = Dispute.objects.select_related("order").filter(public_id__in=stored_value.reasons_of(value))
    return list(named.exclude(status=DisputeStatus.OPEN).order_by("pk")) if value.frozen_at else []


def borne(value: StoredValue) -> Money:
    """Return what the platform bears of the disputes for which the value is frozen still."""
    return sum((losses.borne_of(dispute, dispute.order) for dispute in decided(value)), start=zero(value.balance.currency.code))


def thaw(value_id: int, *, disputes: Collection[str], left: Money, now: datetime) -> None:
    """Let it be spent again as far as these disputes go: for anything else that it is frozen for, it stays so.

    Inside the caller's transaction.  Locks it.  A gift card whose time ended while it was frozen is good for some time, as after a refund.
    Raises NothingToThaw: it is not frozen for one of them, or that is not decided, or something else is left on it than was said.
    """
    [value] = stored_value.lock([value_id])
    for dispute in sorted(set(disputes) - {each.public_id for each in decided(value)}):
        raise NothingToThaw(f"It is not frozen for {dispute} any more, or that is not decided.")
    if value.balance != left:
        raise NothingToThaw(
            f"{text(value.balance)} {left.currency} are left now, and {text(left)} were when this was proposed. Propose it anew."
        )
    for dispute in disputes:
        stored_value.thaw(value_id, because=dispute)
    if set(stored_value.reasons_of(value)) <= set(disputes):
        value_returns.keep_good([value_id], now=now)
