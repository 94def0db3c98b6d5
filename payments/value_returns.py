"""What refunds move of stored value: back to the gift cards and wallets that paid, and out of the one that the payment had filled.

What was paid last goes back first: the PSP's charge, then the wallet, then gift cards.  A refund reserves its parts on the order's tenders
when it is asked for, and they are given when the PSP has given its own part.  What a payment bought is held until its refund has ended, so
that nobody spends what goes back.  All inside the caller's transaction, which holds the order and the refund.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from djmoney.money import Money

from ledger import chart, journal
from ledger.journal import Leg
from ledger.money import zero
from payments.models import PaymentOrder, Refund, Tender, TenderRefund
from wallet import stored_value
from wallet.models import StoredValue, StoredValueEntry
from wallet.stored_value import Change

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """What of a refund goes back to one stored value, or comes from there again, and the account in the books that says so."""

    value_id: int
    account: str
    amount: Money


def reserve(order: PaymentOrder, refund: Refund) -> None:
    """Take what of the refund is tendered off the order's tenders, the last one first, and write it on the order, which the caller saves."""
    rest = refund.tendered
    for tender in order.tenders.filter(status=Tender.Status.TAKEN).order_by("-pk") if rest else ():
        part = min(rest, tender.amount - tender.refunded)
        if part:
            reserve_part(refund, tender, part)
            rest -= part
    if rest:
        raise ValueError(f"{rest} of {refund.public_id} belong to no tender of {order.public_id}")
    order.tendered_back += refund.tendered


def reserve_parts(order: PaymentOrder, refund: Refund, parts: Sequence[Part]) -> None:
    """Take the parts off the tenders that are of their values, and write them on the order, which the caller saves."""
    for part in parts:
        reserve_part(refund, order.tenders.get(value=part.value_id, status=Tender.Status.TAKEN), part.amount)
    order.tendered_back += refund.tendered


def reserve_part(refund: Refund, tender: Tender, part: Money) -> None:
    TenderRefund.objects.create(refund=refund, tender=tender, amount=part)
    tender.refunded += part
    tender.save(update_fields=["refunded"])


def put_back(order: PaymentOrder, refund: Refund) -> None:
    """Let the tenders' parts of the refund be refunded again, and let go what it holds; the caller saves the order."""
    if refund.tendered:
        for part in refund.tender_refunds.select_related("tender"):
            part.tender.refunded -= part.amount
            part.tender.save(update_fields=["refunded"])
        order.tendered_back -= refund.tendered
    if refund.takes_from_id is not None and refund.journal_entry_id is None:
        stored_value.change([Change(refund.takes_from_id, amount=refund.net * 0, held=-refund.net)])


def forget(refund: Refund) -> None:
    """Leave the PSP's part alone of a refund that was given up: the tenders' parts were put back, and may have been refunded again since."""
    if refund.tendered:
        refund.tender_refunds.all().delete()
        refund.amount = refund.charged_back
        refund.tendered = zero(refund.amount.currency.code)


def parts_of(refund: Refund) -> list[Part]:
    """Return what of the refund goes back to each stored value, by ascending id."""
    rows = refund.tender_refunds.select_related("tender__value").order_by("tender__value") if refund.tendered else ()
    return [Part(row.tender.value_id, stored_value.account_of(row.tender.value), row.amount) for row in rows]


def give(refund: Refund, parts: Sequence[Part], *, at: datetime) -> None:
    """Give the parts to the stored values, by the refund's entry.  A gift card is good for some time after money came back to it."""
    kind, entry = StoredValueEntry.Kind.REFUND, refund.journal_entry_id
    stored_value.change([Change(part.value_id, part.amount, part.amount * 0, kind, refund.public_id, entry) for part in parts])
    stored_value.prolong([part.value_id for part in parts], until=at + timedelta(days=settings.GIFT_CARD_REFUND_DAYS))


def spent_of(parts: Sequence[Part]) -> list[Part]:
    """Lock the stored values that a refund gave these parts to, and return what of them cannot be taken from there again."""
    free = {value.pk: value.free for value in stored_value.lock([part.value_id for part in parts])}
    spent = [Part(part.value_id, part.account, part.amount - min(part.amount, free[part.value_id])) for part in parts]
    return [part for part in spent if part.amount]


def take_again(refund: Refund, parts: Sequence[Part]) -> None:
    """Take the parts from the stored values again, by the entry of the refund's reversal."""
    kind, entry = StoredValueEntry.Kind.REFUND_REVERSAL, refund.reversal_entry_id
    stored_value.change([Change(part.value_id, -part.amount, part.amount * 0, kind, refund.public_id, entry) for part in parts])


def sum_of(parts: Sequence[Part], like: Money) -> Money:
    """Return the sum of the parts, in the currency of `like`."""
    return sum((part.amount for part in parts), start=zero(like.currency.code))


def legs(parts: Sequence[Part]) -> list[Leg]:
    """Return the parts as legs of an entry."""
    return [(part.account, part.amount) for part in parts]


def keep_good(value_ids: Sequence[int], *, now: datetime) -> None:
    """Let gift cards whose payment came after their end be good for some time, as after a refund."""
    stored_value.prolong(value_ids, until=now + timedelta(days=settings.GIFT_CARD_REFUND_DAYS), over_at=now)


# --- What a payment bought ---------------------------------------------------------------------------------------------


def filled_by(order: PaymentOrder) -> StoredValue:
    """Lock and return the gift card or wallet that the order filled."""
    [value] = stored_value.lock([order.fills_id] if order.fills_id is not None else [])
    return value


def hold_what_is_there(value: StoredValue, amount: Money) -> Money:
    """Hold so much of the locked value, or as much as is there, and return how much that is.  The platform bears what is spent."""
    part = min(amount, value.free)
    if part < amount:
        journal.open_accounts([chart.dispute_losses()], currency=amount.currency.code)
        logger.error("%s went back of what had filled stored value %s, and %s of it are spent", amount, value.pk, amount - part)
    stored_value.hold(value, part)
    return part


def buy_back(refund: Refund, part: Money) -> None:
    """Take what the refund holds out of the gift card or wallet, by the refund's entry."""
    if refund.takes_from_id is not None:
        kind, entry = StoredValueEntry.Kind.BOUGHT_BACK, refund.journal_entry_id
        stored_value.change([Change(refund.takes_from_id, -part, -part, kind, refund.public_id, entry)])


def fill_again(refund: Refund, part: Money, *, at: datetime) -> None:
    """Bring the gift card or wallet what the refund had taken out of it, by the entry of the refund's reversal.  A card is then good for some time."""
    if refund.takes_from_id is not None:
        kind, entry = StoredValueEntry.Kind.REFUND_REVERSAL, refund.reversal_entry_id
        stored_value.change([Change(refund.takes_from_id, part, part * 0, kind, refund.public_id, entry)] if part else [])
        stored_value.prolong([refund.takes_from_id], until=at + timedelta(days=settings.GIFT_CARD_REFUND_DAYS))


def take_lost(order: PaymentOrder, part: Money, *, source: str, entry: int) -> None:
    """Take what the buyer's bank took back for good out of what it had bought."""
    if order.fills_id is not None and part:
        kind = StoredValueEntry.Kind.BOUGHT_BACK
        stored_value.change([Change(order.fills_id, -part, part * 0, kind, source, entry)])


def filled_legs(order: PaymentOrder, part: Money) -> list[Leg]:
    """Return the leg of an entry by which we owe so much less for what the order filled; none if it filled nothing."""
    return [] if order.fills is None else [(stored_value.account_of(order.fills), part)]
