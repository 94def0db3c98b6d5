"""Losses of disputes that the platform bears only because a refund gave the same money back: when that refund comes back, it bears them no more.

The seller (or what is owed to the buyer, of a charge that came too late; or the gift card or wallet that it filled) bears them then, as if
the refund had never been; in the same transaction, by an entry of their own.
"""

from datetime import datetime

from django.db.models import Sum
from django.db.models.functions import Now
from djmoney.money import Money

from ledger import chart, journal
from ledger.journal import Draft
from ledger.models import JournalEntry, Posting
from ledger.money import zero
from payments import fees, news, queries, unreleased, value_returns
from payments.models import DeadLetter, Dispute, LateCharge, PaymentOrder, Refund
from wallet import balances, notifications, stored_value
from wallet.balances import Change
from wallet.models import WalletEntry


def pass_on(order: PaymentOrder, refund: Refund, *, at: datetime) -> None:
    """Let what came back bear what the platform lost of the same charge in disputes that are decided.

    Inside the caller's transaction, which has put the refund back on the order and holds both.  Locks the disputes, then the wallet.
    """
    rest = refund.charged_back - refund.borne
    for dispute in order.disputes.select_for_update(no_key=True).filter(charge=refund.charge).exclude(lost=0).order_by("id"):
        part = min(rest, borne_of(dispute, order))
        if not part:
            continue
        rest -= part
        dispute.order = order
        if refund.takes_from_id is not None:
            filled_bears(dispute, order, refund, part, at=at)
        elif refund.late_charge_id is None:
            seller_bears(dispute, order, refund, part, at=at)
        else:
            journal.post([moved(dispute, refund, at=at, debits=[(chart.owed_to_buyers(), part)], part=part)])
            owe_no_more(order, dispute.charge, part)


def borne_of(dispute: Dispute, order: PaymentOrder) -> Money:
    """Return what the platform bears of the dispute: what its entries say, those of refunds that came back since included."""
    came_back = order.refunds.filter(charge=dispute.charge, reversal_entry__isnull=False)
    entries = [closing_reference(dispute), *(reference_of(dispute, refund) for refund in came_back)]
    losses = Posting.objects.filter(entry__reference__in=entries, account__code=chart.dispute_losses())
    return Money(losses.aggregate(sum=Sum("amount"))["sum"] or 0, dispute.lost.currency)


def seller_bears(dispute: Dispute, order: PaymentOrder, refund: Refund, part: Money, *, at: datetime) -> None:
    """Take the part off the order and its seller, who gets our fee on it back by the policy under which the dispute was decided."""
    policy = dispute.fee_policy or order.shop.refund_fee_policy
    fee = fees.given_back(part, policy=policy, amount=order.amount, fee=order.fee, others=queries.returns_of(order))
    parts = unreleased.moved(order, fee - part)
    debits = [*unreleased.taken(order, parts), (chart.fee_revenue(), fee)]
    [entry] = journal.post([moved(dispute, refund, at=at, debits=debits, part=part)])
    kind, source = WalletEntry.Kind.DISPUTE_CLOSED, dispute.public_id
    taken = {"gross": -part, "fee": -fee, "pending": parts.pending, "available": parts.available, "reserved": zero(part.currency.code)}
    balances.change([Change(order.seller_id, entry, kind, source, **taken)])
    order.disputed += part
    order.save(update_fields=["disputed", "unreleased"])
    dispute.held += part
    dispute.fee_returned += fee
    dispute.told += 1
    dispute.save(update_fields=["held", "fee_returned", "told"])
    notifications.publish([news.dispute_news(dispute)])


def filled_bears(dispute: Dispute, order: PaymentOrder, refund: Refund, part: Money, *, at: datetime) -> None:
    """Take the part out of the gift card or wallet that the order filled, as far as it is there."""
    part = min(part, value_returns.filled_by(order).free)
    if part:
        debits = value_returns.filled_legs(order, part)
        [entry] = journal.post([moved(dispute, refund, at=at, debits=debits, part=part)])
        value_returns.take_lost(order, part, source=dispute.public_id, entry=entry)
    if order.fills_id is not None and not borne_of(dispute, order):
        stored_value.thaw(order.fills_id, because=dispute.public_id)


def owe_no_more(order: PaymentOrder, charge: str, part: Money) -> None:
    """Write on the late charge what the buyer's bank took of it for good; when it is all of it, nobody need see to its refund any more."""
    late = LateCharge.objects.select_for_update(no_key=True).get(order=order, psp_reference=charge)
    late.taken_back += part
    late.save(update_fields=["taken_back"])
    if late.taken_back == late.amount:
        DeadLetter.objects.filter(refund__late_charge=late, decided_at__isnull=True).update(
            decision=DeadLetter.Decision.SETTLED, decided_by="machine", decided_at=Now(), note="The buyer's bank took it back."
        )


def moved(dispute: Dispute, refund: Refund, *, at: datetime, debits: list[tuple[str, Money]], part: Money) -> Draft:
    """The entry of a loss that the platform bears no more."""
    return Draft(
        kind=JournalEntry.Kind.DISPUTE_CLOSED,
        reference=reference_of(dispute, refund),
        effective_at=at,
        debits=debits,
        credits=[(chart.dispute_losses(), part)],
    )


def closing_reference(dispute: Dispute) -> str:
    return f"{dispute.public_id}:closed"


def reference_of(dispute: Dispute, refund: Refund) -> str:
    """Return the reference of the entry that says who bears the dispute since the refund came back."""
    return f"{dispute.public_id}:{refund.public_id}"
