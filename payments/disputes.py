"""Disputes: a buyer's bank takes the money of an order back, and decides later who keeps it.

Opening holds the seller's part, what is pending of the order first; what was refunded before is not held a second time, nor is what gift
cards and wallets paid, which no bank can take back.  Closing lets the seller bear what is lost, as far as the order was not refunded, gives
our fee on that back by the shop's policy, and frees the rest, which is pending again if the order is not released; what is lost beyond that
the platform bears.  A refund that came to nothing leaves its money to the seller, and so its loss: while the dispute is open, or when it
comes back later (losses.py).  What is lost of a charge that came too late is owed to the buyer no more.  A charge that filled a gift card
or a wallet is no seller's: that is frozen until the dispute is decided, what is lost is taken out of it, and what is spent of it the
platform bears.  The PSP's own fee for a dispute is the platform's and never comes back.

What the PSP says may come in any order and as often as it likes: a dispute is kept once, by the PSP's id of it, and decided once.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from djmoney.money import Money

from ledger import chart, journal
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import to_minor, zero
from payments import fees, losses, news, queries, unreleased, value_returns
from payments.models import Dispute, LateCharge, PaymentOrder
from payments.psp.protocol import DisputeNotice
from payments.settlement import NotBookable, Undecided
from payments.states import DisputeStatus, OrderStatus, RefundStatus
from payments.unreleased import Parts
from wallet import balances, notifications, stored_value
from wallet.balances import Change
from wallet.models import WalletEntry

logger = logging.getLogger(__name__)


class TooEarly(NotBookable):
    """What the dispute is about is not in our books yet: it will be, so look again."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How what is lost is shared: what the seller bears, what is owed to the buyer no more, what is taken out of the gift card or wallet that
    the charge had filled, what the platform bears; and our fee that goes back.

    `moved` is what of the hold goes back to the seller's figures, and the fee with it; or what the seller bears beyond the hold.
    """

    seller: Money
    buyer: Money
    filled: Money
    platform: Money
    fee: Money
    moved: Parts


def record(notice: DisputeNotice, *, psp: str) -> Dispute:
    """Open or close the dispute, as the notice says.

    Raises as `open_dispute` and `close_dispute` do, and Undecided if the decision cannot be booked yet: nothing is lost, look again.
    """
    if notice.status == DisputeStatus.OPEN:
        return open_dispute(notice, psp=psp)
    dispute = close_dispute(notice, psp=psp)
    if dispute.status == DisputeStatus.OPEN:
        raise Undecided(
            f"{dispute.public_id} is lost, and a refund or another dispute of the same money is under way: who bears the loss hangs on it."
        )
    return dispute


@transaction.atomic(durable=True)
def open_dispute(notice: DisputeNotice, *, psp: str) -> Dispute:
    """Keep the dispute and hold the seller's part; one that is kept already is returned as it is.  Locks the order, then the wallet.

    Raises TooEarly (the charge is not booked yet), NotBookable (no such order, another charge, currency or amount).
    """
    order = lock_order(notice, psp=psp)
    return kept(notice, order) or opened(notice, order)


@transaction.atomic(durable=True)
def close_dispute(notice: DisputeNotice, *, psp: str) -> Dispute:
    """Record how the dispute was decided, and open it first if nobody told us of it; the second time nothing changes.

    It stays open if more is lost than the seller and the buyer can bear as long as a refund or another dispute of the same money is under way.  Locks the
    order, the dispute, then the wallet.  Raises as `open_dispute` does, and NotBookable for a decision that makes no sense or is another than
    the one that stands.
    """
    order = lock_order(notice, psp=psp)
    dispute = kept(notice, order) or opened(notice, order)
    require_decision(notice, dispute)
    if dispute.status == DisputeStatus.OPEN and not hangs_on_others(dispute, order, lost=notice.lost):
        close(dispute, notice, order)
    return dispute


def lock_order(notice: DisputeNotice, *, psp: str) -> PaymentOrder:
    """Lock and return the order whose charge is disputed.  Raises TooEarly, NotBookable."""
    order = PaymentOrder.objects.select_for_update(no_key=True).filter(public_id=notice.reference, psp=psp).first()
    if order is None:
        raise NotBookable(f"{notice.psp_reference} disputes a charge of {notice.reference}, which is no order of ours.")
    if notice.amount.currency != order.amount.currency or not 0 < to_minor(notice.amount) <= to_minor(order.amount):
        raise NotBookable(f"{notice.psp_reference} is over {notice.amount}, and {order.public_id} is over {order.amount}.")
    late = late_charge_of(order, notice.charge)
    if not (is_its_charge(notice, order) or late):
        raise TooEarly(f"{notice.psp_reference} disputes {notice.charge}, which is not booked on {order.public_id}.")
    charged = late.amount if late else order.charge
    if notice.amount > charged:
        raise NotBookable(f"{notice.psp_reference} is over {notice.amount}, and {notice.charge} is over {charged}.")
    return order


def is_its_charge(notice: DisputeNotice, order: PaymentOrder) -> bool:
    """Was the order paid by the disputed charge?  If not, it came too late, and no seller has anything of it."""
    return order.status == OrderStatus.SUCCESS and queries.charge_of(order) == notice.charge


def late_charge_of(order: PaymentOrder, charge: str) -> LateCharge | None:
    """Return the order's charge of that id that came too late; None if it is another one, the order's own."""
    return LateCharge.objects.filter(order=order, psp_reference=charge).first()


def kept(notice: DisputeNotice, order: PaymentOrder) -> Dispute | None:
    """Lock and return the dispute if it is kept already.  Raises NotBookable if it is kept of another order or charge."""
    dispute = Dispute.objects.select_for_update(no_key=True).filter(psp=order.psp, psp_reference=notice.psp_reference).first()
    if dispute is not None and (dispute.order_id, dispute.charge) != (order.pk, notice.charge):
        raise NotBookable(f"{dispute.public_id} is about {dispute.charge}, and not about {notice.charge} of {order.public_id}.")
    return dispute


def opened(notice: DisputeNotice, order: PaymentOrder) -> Dispute:
    """Book that the PSP took the money back, and hold what the seller has of it.  The order is locked.

    A charge has one open dispute at the PSP; here two may be, when we hear of the next one before we hear how the one before was decided.
    """
    currency = order.amount.currency.code
    dispute = Dispute(order=order, psp=order.psp, psp_reference=notice.psp_reference, charge=notice.charge, reason=notice.reason)
    dispute.amount, dispute.fee = notice.amount, notice.fee
    dispute.lost = dispute.fee_returned = zero(currency)
    is_a_sale = is_its_charge(notice, order) and order.fills_id is None
    dispute.held = min(notice.amount, order.charge_left) if is_a_sale else zero(currency)
    dispute.opened_at, dispute.evidence_due_at, dispute.told = notice.opened_at, notice.evidence_due_at, 1
    parts = unreleased.moved(order, -dispute.held)
    journal.open_accounts([chart.disputed(order.psp), chart.dispute_costs(), chart.dispute_losses()], currency=currency)
    [dispute.journal_entry_id] = journal.post([taken(dispute, parts)])
    if dispute.held:
        [dispute.wallet_entry_id] = balances.change([hold(dispute, parts)])
    dispute.save()
    if is_its_charge(notice, order) and order.fills_id is not None:
        stored_value.freeze(order.fills_id, because=dispute.public_id, now=dispute.opened_at)
    order.disputed += dispute.held
    order.save(update_fields=["disputed", "unreleased"])
    notifications.publish([news.dispute_news(dispute)])
    logger.warning("%s: %s is disputed (%s)", dispute.public_id, order.public_id, notice.reason)
    return dispute


def require_decision(notice: DisputeNotice, dispute: Dispute) -> None:
    """Raise NotBookable unless the decision makes sense, and is the one that stands if one stands."""
    lost, amount = to_minor(notice.lost), to_minor(dispute.amount)
    sound = {DisputeStatus.WON: lost == 0, DisputeStatus.LOST: lost == amount, DisputeStatus.PARTIAL: 0 < lost < amount}
    if notice.amount != dispute.amount or not sound.get(DisputeStatus(notice.status), False):
        raise NotBookable(f"{notice.lost} of {notice.amount} lost is no dispute over {dispute.amount} that is {notice.status}.")
    if dispute.status not in (DisputeStatus.OPEN, notice.status) or dispute.lost not in (zero(dispute.lost.currency.code), notice.lost):
        raise NotBookable(f"{dispute.public_id} was decided before: {dispute.status}, and {dispute.lost} lost.")


def hangs_on_others(dispute: Dispute, order: PaymentOrder, *, lost: Money) -> bool:
    """Would the platform bear a part of the loss only because of what may come to nothing?

    That is a refund of the same charge that is under way, or a dispute of it that we knew before, holds something, and is not decided.
    """
    if lost <= room(dispute, order):
        return False
    refunds = order.refunds.filter(charge=dispute.charge, status=RefundStatus.EXECUTING)
    others = order.disputes.filter(charge=dispute.charge, status=DisputeStatus.OPEN, held__gt=0, pk__lt=dispute.pk)
    return refunds.exists() or others.exists()


def room(dispute: Dispute, order: PaymentOrder) -> Money:
    """Return how much of a loss need not be the platform's: what the seller, or the buyer of a late charge, has not got back otherwise."""
    late = late_charge_of(order, dispute.charge)
    if late is None and order.fills_id is not None:
        others = order.disputes.exclude(pk=dispute.pk).filter(charge=dispute.charge)
        return max(order.left - sum_lost(others, order), zero(order.amount.currency.code))
    if late is None:
        return order.charge_left + dispute.held
    is_given_back = late.refunds.exclude(status=RefundStatus.FAILED).exists()
    return zero(late.amount.currency.code) if is_given_back else late.amount - late.taken_back


def sum_lost(disputes: Iterable[Dispute], order: PaymentOrder) -> Money:
    return sum((dispute.lost for dispute in disputes), start=zero(order.amount.currency.code))


def close(dispute: Dispute, notice: DisputeNotice, order: PaymentOrder) -> None:
    """Book the decision: what came back, what is lost and who bears it.  Order and dispute are locked."""
    dispute.fee_policy = order.shop.refund_fee_policy
    shared = shares(dispute, order, lost=notice.lost)
    dispute.lost, dispute.fee_returned = notice.lost, shared.fee
    dispute.status, dispute.closed_at = notice.status, notice.updated_at
    [entry] = journal.post([decided(dispute, shared, at=notice.updated_at)])
    dispute.closing_entry_id = entry
    if order.fills_id is not None:
        value_returns.take_lost(order, shared.filled, source=dispute.public_id, entry=entry)
        if not shared.platform:
            stored_value.thaw(order.fills_id, because=dispute.public_id)
    if dispute.held or shared.seller:
        [dispute.closing_wallet_entry_id] = balances.change([freed(dispute, entry, shared)])
    order.disputed += shared.seller - dispute.held
    order.save(update_fields=["disputed", "unreleased"])
    dispute.held = max(dispute.held, shared.seller)
    if shared.buyer:
        losses.owe_no_more(order, dispute.charge, shared.buyer)
    dispute.told += 1
    dispute.save()
    notifications.publish([news.dispute_news(dispute)])


def shares(dispute: Dispute, order: PaymentOrder, *, lost: Money) -> Shares:
    """Share what is lost: the seller bears it as far as the order was not refunded, and gets our fee on that part back by the shop's policy.

    Changes `unreleased` on the order, which is saved with the rest.
    """
    nothing = zero(lost.currency.code)
    borne = min(lost, room(dispute, order))
    seller, buyer, filled = borne, nothing, nothing
    if late_charge_of(order, dispute.charge) is not None:
        seller, buyer = nothing, borne
    elif order.fills_id is not None:
        seller, filled = nothing, min(borne, value_returns.filled_by(order).free)
    others = queries.returns_of(order)
    fee = fees.given_back(seller, policy=dispute.fee_policy, amount=order.amount, fee=order.fee, others=others)
    return Shares(seller, buyer, filled, lost - seller - buyer - filled, fee, unreleased.moved(order, dispute.held - seller + fee))


def taken(dispute: Dispute, parts: Parts) -> Draft:
    """The entry of an opened dispute: the PSP owes us less; it is open whose the money is, and the seller's part is held."""
    order = dispute.order
    return Draft(
        kind=JournalEntry.Kind.DISPUTE,
        reference=dispute.public_id,
        effective_at=dispute.opened_at,
        debits=[
            *unreleased.taken(order, parts),
            (chart.disputed(dispute.psp), dispute.amount),
            (chart.dispute_costs(), dispute.fee),
        ],
        credits=[(chart.seller_reserved(order.seller_id), dispute.held), (chart.psp_receivable(dispute.psp), dispute.amount + dispute.fee)],
    )


def decided(dispute: Dispute, shared: Shares, *, at: datetime) -> Draft:
    """The entry of a decided dispute: what was not lost comes back from the PSP, and what was held is freed, less what the seller bears."""
    order = dispute.order
    return Draft(
        kind=JournalEntry.Kind.DISPUTE_CLOSED,
        reference=losses.closing_reference(dispute),
        effective_at=at,
        debits=[
            (chart.psp_receivable(dispute.psp), dispute.amount - dispute.lost),
            (chart.seller_reserved(order.seller_id), dispute.held),
            *unreleased.taken(order, shared.moved),
            (chart.fee_revenue(), shared.fee),
            (chart.owed_to_buyers(), shared.buyer),
            *value_returns.filled_legs(order, shared.filled),
            (chart.dispute_losses(), shared.platform),
        ],
        credits=[(chart.disputed(dispute.psp), dispute.amount), *unreleased.given(order, shared.moved)],
    )


def hold(dispute: Dispute, parts: Parts) -> Change:
    """What the opened dispute changes of the seller's figures: nothing is taken, it is held."""
    nothing = zero(dispute.held.currency.code)
    return Change(
        dispute.order.seller_id,
        dispute.journal_entry_id,
        WalletEntry.Kind.DISPUTE,
        dispute.public_id,
        gross=nothing,
        fee=nothing,
        pending=parts.pending,
        available=parts.available,
        reserved=dispute.held,
    )


def freed(dispute: Dispute, journal_entry_id: int, shared: Shares) -> Change:
    """What the decided dispute changes of the seller's figures."""
    return Change(
        dispute.order.seller_id,
        journal_entry_id,
        WalletEntry.Kind.DISPUTE_CLOSED,
        dispute.public_id,
        gross=-shared.seller,
        fee=-shared.fee,
        pending=shared.moved.pending,
        available=shared.moved.available,
        reserved=-dispute.held,
    )
