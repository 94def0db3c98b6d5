"""Where the money of a payment is now: what the buyer paid, and what the seller is to have of it, each order's amounts shared out to the cent.

Pure: rows come in (payment_path.py), words go out.  What a seller is to have is what the order has moved in its wallet, no more and no less.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.money import zero
from ledger.templatetags.written import day
from payments.models import PaymentOrder, Refund
from payments.states import UNRESOLVED, DisputeStatus, OrderStatus, RefundStatus
from payouts.models import Payout
from payouts.states import PUT_BACK, PayoutStatus
from reconciliation.payment_path import Path, day_of


@dataclass(frozen=True, slots=True)
class Place:
    """An amount, where it is, the row that shows it, and good, bad or warn (empty: neither)."""

    amount: Money
    words: str
    row: models.Model | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One order: how it stands, where what the buyer paid is, and where what the seller is to have of it is.

    Of a paid order the `paid` come to its amount and the `owed` to what it has moved in the seller's wallet; of any other there are none.
    """

    order: PaymentOrder
    state: str
    tone: str
    paid: Sequence[Place]
    owed: Sequence[Place]


def whereabouts(path: Path) -> list[Whereabouts]:
    """Return where the money of each order is, in the basket's order."""
    return [
        Whereabouts(order, *state_of(order, path), paid=list(buyers_money(order, path)), owed=list(sellers_share(order, path)))
        for order in path.orders
    ]


def together(places: Iterable[Place]) -> list[Place]:
    """Return what is at the same place as one, the largest first."""
    found: dict[tuple[str, str], Place] = {}
    for place in places:
        key = place.words, place.tone
        found[key] = Place(found[key].amount + place.amount if key in found else place.amount, place.words, tone=place.tone)
    return sorted(found.values(), key=lambda place: -place.amount.amount)


def state_of(order: PaymentOrder, path: Path) -> tuple[str, str]:
    """Return how the order stands, in words, and its tone."""
    if any(letter.order_id == order.pk and letter.decided_at is None for letter in path.rows.letters):
        return _("Waits for a person"), "bad"
    match order.status:
        case OrderStatus.SUCCESS:
            return paid_state(order, path)
        case OrderStatus.EXECUTING if any(each.order_id == order.pk and each.status in UNRESOLVED for each in path.rows.attempts):
            return _("Being charged: the PSP has not said what came of it"), "warn"
        case OrderStatus.EXECUTING:
            return _("Being charged"), "warn"
        case OrderStatus.FAILED:
            return _("Not paid: %s") % order.failure_code.replace("_", " "), "bad"
        case OrderStatus.CANCELLED:
            return _("Cancelled, never charged"), ""
        case _not_started:
            return _("Not paid yet"), ""


def paid_state(order: PaymentOrder, path: Path) -> tuple[str, str]:
    if any(each.order_id == order.pk and each.status == DisputeStatus.OPEN for each in path.rows.disputes):
        return _("Paid, and disputed"), "bad"
    if order.refunded == order.amount:
        return _("Paid, and given back"), ""
    if order.refunded:
        return _("Paid, and given back in part"), "good"
    return _("Paid"), "good"


# --- What the buyer paid --------------------------------------------------------------------------------------------


def buyers_money(order: PaymentOrder, path: Path) -> Iterator[Place]:
    """Yield where what the buyer paid is: what went back, what the buyer's bank took, and the rest."""
    if order.status != OrderStatus.SUCCESS:
        return
    gone = [*given_back(order, path), *taken_back(order, path)]
    stays = order.tendered - sum((refund.tendered for refund in refunds_of(order, path)), zero(order.amount.currency.code))
    rest = order.amount - sum((place.amount for place in gone), stays)
    if rest:
        words, row, tone = what_is_left(order, path)
        yield Place(rest, words, row, tone)
    if stays:
        yield Place(stays, _("paid with gift cards or the buyer's wallet"), order, "good")
    yield from gone


def refunds_of(order: PaymentOrder, path: Path) -> list[Refund]:
    """Return the order's refunds that have not failed, without those of charges that came too late."""
    its_own = [refund for refund in path.rows.refunds if refund.order_id == order.pk and not refund.late_charge_id]
    return [refund for refund in its_own if refund.status != RefundStatus.FAILED]


def given_back(order: PaymentOrder, path: Path) -> Iterator[Place]:
    for refund in refunds_of(order, path):
        done = refund.status == RefundStatus.SUCCESS
        if refund.charged_back:
            words = _("given back to the buyer") if done else _("on its way back to the buyer")
            yield Place(refund.charged_back, words, refund, "" if done else "warn")
        if refund.tendered:
            words = (
                _("given back to gift cards or the buyer's wallet") if done else _("on its way back to gift cards or the buyer's wallet")
            )
            yield Place(refund.tendered, words, refund, "" if done else "warn")


def taken_back(order: PaymentOrder, path: Path) -> Iterator[Place]:
    """Yield what a buyer's bank took of the order's charge; what it took of a late one was none of the order's money."""
    late = {charge.psp_reference for charge in path.rows.late_charges}
    for dispute in path.rows.disputes:
        if dispute.order_id != order.pk or dispute.charge in late:
            continue
        if dispute.status == DisputeStatus.OPEN:
            yield Place(dispute.amount, _("taken back by the buyer's bank, not decided yet"), dispute, "bad")
        elif dispute.lost:
            yield Place(dispute.lost, _("lost to the buyer's bank"), dispute, "bad")


def what_is_left(order: PaymentOrder, path: Path) -> tuple[str, models.Model | None, str]:
    """Return where the rest of the buyer's money is: with the PSP, on its way to our bank account, or on it."""
    open_ones = [each for each in path.mismatches if each.subject == order.public_id and each.resolved_at is None]
    match = path.capture_of(order)
    if match is None and open_ones:
        return _("with the PSP (%(psp)s) or not: %(mismatch)s") % {
            "psp": order.psp,
            "mismatch": open_ones[0].get_kind_display(),
        }, open_ones[0], "bad"  # fmt: skip
    if match is None:
        return (_("paid to us"), None, "good") if order.settled_at else (_("to come from the PSP (%s)") % order.psp, None, "warn")
    arrival = path.arrival_of(match.batch)
    if arrival is not None:
        when = day_of(arrival)
        return _("on our bank account since %s") % (day(when) if when else "–"), arrival.line, "good"
    if not match.batch.paid_out:
        return _("settled by the PSP in %s, which paid nothing to our bank") % match.batch.name, match.batch, "warn"
    return _("settled by the PSP in %s, on its way to our bank account") % match.batch.name, match.batch, "warn"


# --- What the seller is to have -------------------------------------------------------------------------------------


def sellers_share(order: PaymentOrder, path: Path) -> Iterator[Place]:
    """Yield where what the order has brought its seller is: together, all that it has moved in the seller's wallet."""
    nothing = zero(order.amount.currency.code)
    movements = path.movements.get(order.pk, [])
    pending = sum((movement.pending for movement in movements), nothing)
    reserved = sum((movement.reserved for movement in movements), nothing)
    with_payouts: dict[int | None, Money] = {}
    for movement in movements:
        payout = next(reversed(path.payouts_of.get(movement.pk, [])), None)
        key = payout.pk if payout and payout.status not in PUT_BACK else None
        with_payouts[key] = with_payouts.get(key, nothing) + movement.available
    if pending:
        yield Place(pending, until_released(order), order, "warn")
    if reserved:
        yield Place(reserved, _("held back: a reserve, or a dispute that is not decided"), order, "warn")
    if available := with_payouts.pop(None, nothing):
        yield Place(available, _("available to the seller") if available.amount > 0 else _("taken off what is available"), movements[-1])
    for payout_id, amount in with_payouts.items():
        if amount and payout_id is not None:
            yield paid_out(amount, path.payouts[payout_id], path)


def until_released(order: PaymentOrder) -> str:
    due = getattr(order, "due_release", None)
    if due is None or due.due_at is None:
        return _("pending, until it is delivered")
    return _("pending, until %s") % day(due.due_at)


def paid_out(amount: Money, payout: Payout, path: Path) -> Place:
    """Return where the part of an order is that went with a payout; below zero, it made the payout smaller."""
    if amount.amount < 0:
        return Place(amount, _("taken off a payout"), payout)
    match payout.status:
        case PayoutStatus.WAITING:
            return Place(amount, _("in a payout that waits for approval"), payout, "warn")
        case PayoutStatus.EXECUTING:
            return Place(amount, _("on its way to the seller's bank"), payout, "warn")
        case _paid:
            seen = any(each.payout_id == payout.pk and each.kind == "payout" for each in path.arrivals)
            words = _("paid out, and on our bank's statement") if seen else _("paid out")
            return Place(amount, words, payout, "good")
