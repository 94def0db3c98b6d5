"""Releases: what was sold becomes available to its seller once it was delivered, or some days after it was paid; by the seller's terms.

A part may stay reserved for some days more, and a shop may have it that only what the PSP's file has settled becomes available.  What waits for
its release is a row in a queue (DueRelease).  Each release is one entry and one movement of its own, and each reserve one more when its
time has come.  Locks, always in this order: what is due, orders by id, wallets by id.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q
from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import split, zero
from ledger.statements import execute
from payments import news
from payments.fees import WHOLE
from payments.models import DueRelease, PaymentOrder, Refund, Reserve
from payments.states import OrderStatus, RefundStatus
from wallet import balances, notifications, terms
from wallet.balances import Change
from wallet.models import WalletEntry
from wallet.terms import Terms

PUT_OFF = timedelta(days=1)  # what waits for the PSP's file is looked at again after that, whatever the file says
REFUND_TAKES = timedelta(hours=1)  # what waits for a refund to end is looked at again after that
PART_WAITS = timedelta(days=3)  # for a refund of a part, no longer: what it takes off then, the next sales make up


class NotDeliverable(DomainError):
    code = "not_deliverable"


class WrongDeliveryTime(DomainError):
    code = "wrong_delivery_time"


@dataclass(frozen=True, slots=True)
class Release:
    """What becomes available of one order, and what of it stays reserved for a while; together they are what was pending of it."""

    order: PaymentOrder
    available: Money
    reserved: Money
    free_at: datetime


RELEASE = """
WITH released AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS released (order_id bigint, seller_id bigint, reserved numeric, currency text,
        free_at timestamptz, journal_entry_id bigint, released_at timestamptz)
), held AS (
    INSERT INTO payments_reserve (order_id, seller_id, amount, currency, free_at, journal_entry_id)
    SELECT order_id, seller_id, reserved, currency, free_at, journal_entry_id FROM released WHERE reserved > 0
), done AS (
    DELETE FROM payments_duerelease USING released WHERE payments_duerelease.order_id = released.order_id
)
UPDATE payments_paymentorder SET unreleased = 0, released_at = released.released_at, told = told + 1
FROM released WHERE id = released.order_id
"""

# One statement after the other, since each has to see what somebody wrote for whom the one before it waited.
LOCK_DUE = "SELECT FROM payments_duerelease WHERE order_id = ANY(%s::bigint[]) ORDER BY order_id FOR UPDATE"
LOCK_UNSETTLED = """
SELECT id FROM payments_paymentorder
WHERE id = ANY(%s::bigint[]) AND status = 'SUCCESS' AND settled_at IS NULL ORDER BY id FOR NO KEY UPDATE
"""
SETTLED = "UPDATE payments_paymentorder SET settled_at = %(at)s WHERE id = ANY(%(orders)s::bigint[])"
DUE_AT_ONCE = """
UPDATE payments_duerelease SET due_at = %(at)s, waits_for_file = false WHERE order_id = ANY(%(orders)s::bigint[]) AND waits_for_file
"""

FREE = """
UPDATE payments_reserve AS reserve SET released_at = freed.released_at, release_entry_id = freed.journal_entry_id,
    release_wallet_entry_id = freed.wallet_entry_id
FROM json_to_recordset(%s) AS freed (id bigint, journal_entry_id bigint, wallet_entry_id bigint, released_at timestamptz)
WHERE reserve.id = freed.id
"""


@transaction.atomic(durable=True)
def deliver(order_id: int, *, at: datetime, actor: str, now: datetime, note: str = "") -> PaymentOrder:
    """Record that the order was delivered at that moment; it becomes available as its seller's terms say.  Return the order.

    The first word counts: an order that was delivered before is returned as it is.  Locks what is due, then the order.  Raises
    NotDeliverable (not paid, or given back in full) and WrongDeliveryTime (ahead of us, without its zone, or before the order was paid).
    """
    DueRelease.objects.select_for_update().filter(order=order_id).first()
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)
    if order.delivered_at is not None:
        return order
    require_deliverable(order)
    require_likely(order, at=at, now=now)
    order.delivered_at, order.delivered_by, order.delivery_note = at, actor, note
    order.told += 1
    order.save(update_fields=["delivered_at", "delivered_by", "delivery_note", "told"])
    due_at = terms.of([order.seller_id])[order.seller_id].due_at(at)
    DueRelease.objects.filter(order=order).update(due_at=due_at, waits_for_file=False)
    notifications.publish([news.delivery_news(order)])
    return order


def require_deliverable(order: PaymentOrder) -> None:
    """Raise NotDeliverable unless the order is paid, and not given back."""
    if order.status == OrderStatus.CANCELLED:
        raise NotDeliverable(f"{order.public_id} is cancelled and was never paid, so there is nothing to deliver.")
    if order.status != OrderStatus.SUCCESS:
        raise NotDeliverable(f"{order.public_id} is not paid. Deliver it once it is.")
    if order.refunded == order.amount:
        raise NotDeliverable(f"{order.public_id} was given back to the buyer in full, so there is nothing to deliver.")


def require_likely(order: PaymentOrder, *, at: datetime, now: datetime) -> None:
    """Raise WrongDeliveryTime unless the moment lies between the payment, by the PSP's clock or by ours, and now."""
    if at.tzinfo is None:
        raise WrongDeliveryTime("The time of the delivery has no zone. Send one, such as 2026-11-24T08:12:45Z.", field="delivered_at")
    if at > now:
        raise WrongDeliveryTime("The time of the delivery lies in the future. Tell us once it is delivered.", field="delivered_at")
    entry = order.journal_entry
    if entry is None or at < min(entry.happened_at, entry.booked_at):
        raise WrongDeliveryTime(f"The time of the delivery lies before {order.public_id} was paid.", field="delivered_at")


@transaction.atomic
def mark_settled(order_ids: Collection[int], at: datetime) -> int:
    """Record when the PSP's file said that the orders are paid to us; return of how many that was news.

    What was due and waited for this is due at once.  Inside the caller's transaction, if there is one.  Locks what is due, then the orders, by id.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK_DUE, [list(order_ids)])
        cursor.execute(LOCK_UNSETTLED, [list(order_ids)])
        settled = [order_id for (order_id,) in cursor.fetchall()]
        cursor.execute(SETTLED, {"orders": settled, "at": at})
        cursor.execute(DUE_AT_ONCE, {"orders": settled, "at": at})
    return len(settled)


@transaction.atomic(durable=True)
def release_due(*, now: datetime, limit: int = 500) -> int:
    """Let what is pending of the orders that are due become available; return how many were due, those that wait on included.

    A fixed number of statements for any number of orders.  Of an order that was given back or is disputed as a whole nothing is pending, and
    so nothing moves.  One whose seller is paid only what the PSP's file has settled waits for that, and one with a refund under way for its end:
    what goes back to the buyer is not paid out meanwhile.  For a refund of a part it waits three days at most.
    """
    due = DueRelease.objects.select_for_update(skip_locked=True).filter(due_at__lte=now).order_by("due_at", "order")
    order_ids = list(due.values_list("order", flat=True)[:limit])
    if not order_ids:
        return 0
    orders = list(PaymentOrder.objects.select_for_update(no_key=True).filter(pk__in=order_ids).order_by("pk"))
    agreed = terms.of(order.seller_id for order in orders)
    waiting = [order.pk for order in orders if agreed[order.seller_id].payable_means_reconciled and order.settled_at is None]
    if waiting:
        DueRelease.objects.filter(order__in=waiting).update(due_at=now + PUT_OFF, waits_for_file=True)
    giving_back = being_given_back(orders, now=now)
    DueRelease.objects.filter(order__in=giving_back.difference(waiting)).update(due_at=now + REFUND_TAKES)
    put_off = giving_back.union(waiting)
    release([part_of(order, agreed[order.seller_id], now=now) for order in orders if order.pk not in put_off], now=now)
    return len(order_ids)


def being_given_back(orders: Collection[PaymentOrder], *, now: datetime) -> set[int]:
    """Return which of the orders wait for a refund that is under way."""
    whole = [order.pk for order in orders if order.refunded == order.amount]
    under_way = Refund.objects.filter(order__in=orders, late_charge=None, status=RefundStatus.EXECUTING)
    return set(under_way.filter(Q(order__in=whole) | Q(created_at__gt=now - PART_WAITS)).values_list("order", flat=True))


def part_of(order: PaymentOrder, agreed: Terms, *, now: datetime) -> Release:
    """Share what is pending of the order, by its seller's terms: a part may stay reserved."""
    free_at = now + timedelta(days=agreed.reserve_days)
    if not agreed.holds_back:
        return Release(order, order.unreleased, zero(order.unreleased.currency.code), free_at)
    reserved, available = split(order.unreleased, [agreed.reserve_basis_points, WHOLE - agreed.reserve_basis_points])
    return Release(order, available, reserved, free_at)


def release(releases: Sequence[Release], *, now: datetime) -> None:
    """Book the releases, move the wallets and tell of it.  The caller holds what is due, and the orders."""
    moving = [each for each in releases if each.order.unreleased]
    entries = journal.post([released(each, at=now) for each in moving])
    balances.change([brought(each, entry) for each, entry in zip(moving, entries, strict=True)])
    entry_of = dict(zip((each.order.pk for each in moving), entries, strict=True))
    execute(
        RELEASE,
        [
            {
                "order_id": each.order.pk,
                "seller_id": each.order.seller_id,
                "reserved": each.reserved.amount,
                "currency": each.reserved.currency.code,
                "free_at": each.free_at,
                "journal_entry_id": entry_of.get(each.order.pk),
                "released_at": now,
            }
            for each in releases
        ],
    )
    for each in releases:
        each.order.released_at = now
        each.order.told += 1
    notifications.publish([news.release_news(each.order) for each in releases])


def released(each: Release, *, at: datetime) -> Draft:
    """The entry of one release: what we owed for an order under way, the seller may have paid out now, or a while later."""
    seller_id = each.order.seller_id
    return Draft(
        kind=JournalEntry.Kind.RELEASE,
        reference=release_of(each.order),
        effective_at=at,
        debits=[(chart.seller_pending(seller_id), each.order.unreleased)],
        credits=[(chart.seller_available(seller_id), each.available), (chart.seller_reserved(seller_id), each.reserved)],
    )


def brought(each: Release, journal_entry_id: int) -> Change:
    """What a release changes of its seller's figures: nothing comes or goes, it moves on."""
    nothing = zero(each.available.currency.code)
    return Change(
        each.order.seller_id,
        journal_entry_id,
        WalletEntry.Kind.RELEASE,
        each.order.public_id,
        gross=nothing,
        fee=nothing,
        pending=nothing - each.order.unreleased,
        available=each.available,
        reserved=each.reserved,
    )


@transaction.atomic(durable=True)
def free_due_reserves(*, now: datetime, limit: int = 500) -> int:
    """Let the reserves whose time has come become available; return how many.  A fixed number of statements for any number of them."""
    due = Reserve.objects.select_for_update(skip_locked=True, of=("self",)).filter(released_at=None, free_at__lte=now)
    reserves = list(due.select_related("order").order_by("free_at", "pk")[:limit])
    if not reserves:
        return 0
    entries = journal.post([freed(reserve, at=now) for reserve in reserves])
    movements = balances.change([set_free(reserve, entry) for reserve, entry in zip(reserves, entries, strict=True)])
    rows = [
        {"id": reserve.pk, "journal_entry_id": entry, "wallet_entry_id": movement, "released_at": now}
        for reserve, entry, movement in zip(reserves, entries, movements, strict=True)
    ]
    execute(FREE, rows)
    return len(reserves)


def freed(reserve: Reserve, *, at: datetime) -> Draft:
    """The entry of a reserve whose time has come."""
    return Draft(
        kind=JournalEntry.Kind.RESERVE_RELEASE,
        reference=f"{reserve.order.public_id}:reserve_release",
        effective_at=at,
        debits=[(chart.seller_reserved(reserve.seller_id), reserve.amount)],
        credits=[(chart.seller_available(reserve.seller_id), reserve.amount)],
    )


def set_free(reserve: Reserve, journal_entry_id: int) -> Change:
    """What a freed reserve changes of its seller's figures."""
    nothing = zero(reserve.amount.currency.code)
    return Change(
        reserve.seller_id,
        journal_entry_id,
        WalletEntry.Kind.RESERVE_RELEASE,
        reserve.order.public_id,
        gross=nothing,
        fee=nothing,
        pending=nothing,
        available=reserve.amount,
        reserved=nothing - reserve.amount,
    )


def release_of(order: PaymentOrder) -> str:
    """Return the reference of the entry by which the order was released."""
    return f"{order.public_id}:release"
