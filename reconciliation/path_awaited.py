"""What is still to come of a payment, and when: from the buyer who has not paid yet to the bank statement that shows a payout.

Pure: rows come in (payment_path.py), and the time; what is awaited goes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.templatetags.written import amount
from payments.models import PaymentOrder, Refund
from payments.states import DisputeStatus, OrderStatus, RefundStatus
from payouts import calendars, terms
from payouts.models import Payout
from payouts.states import PUT_BACK, PayoutStatus
from reconciliation import causes
from reconciliation.matching import MISSING_AFTER
from reconciliation.payment_path import Path


@dataclass(frozen=True, slots=True)
class Awaited:
    """One thing that is still to come: what, when (None: nobody knows), and for which orders (none: all)."""

    what: str
    when: datetime | date | None
    orders: Sequence[PaymentOrder] = ()

    @property
    def day(self) -> date | None:
        return self.when.date() if isinstance(self.when, datetime) else self.when


def awaited(path: Path, *, now: datetime) -> list[Awaited]:
    """Return what has not come yet, what has a day first; what several orders wait for alike is one."""
    found: dict[tuple[str, date | None], Awaited] = {}
    for each in to_come(path, now=now):
        key = each.what, each.day
        before = found.get(key)
        orders = [*before.orders, *(order for order in each.orders if order not in before.orders)] if before else each.orders
        found[key] = Awaited(each.what, before.when if before else each.when, orders)
    return sorted(found.values(), key=lambda each: (each.day is None, each.day or date.max))


def to_come(path: Path, *, now: datetime) -> Iterator[Awaited]:
    event = path.event
    unpaid = [order for order in path.orders if order.status in (OrderStatus.NOT_STARTED, OrderStatus.FAILED)]
    if unpaid and not event.is_payment_done:
        yield Awaited(_("The buyer pays, or the checkout expires"), event.expires_at, unpaid)
    for order in path.orders:
        if order.status == OrderStatus.EXECUTING:
            yield from to_be_charged(order)
        if order.status == OrderStatus.SUCCESS:
            yield from to_be_settled(order, path)
            yield from to_be_released(order)
            yield from to_be_paid_out(order, path, now=now)
    for refund in path.rows.refunds:
        yield from to_be_given_back(refund, path)
    for dispute in path.rows.disputes:
        if dispute.status == DisputeStatus.OPEN:
            about = [order for order in path.orders if order.pk == dispute.order_id]
            yield Awaited(_("The shop's evidence, and then the decision of the buyer's bank"), dispute.evidence_due_at, about)
    for mismatch in path.mismatches:
        if mismatch.resolved_at is None:
            explained = _("Two people explain the mismatch %s") % mismatch.public_id
            yield Awaited(explained, causes.due_on(mismatch), [order for order in [path.order_about(mismatch.subject)] if order])


def to_be_charged(order: PaymentOrder) -> Iterator[Awaited]:
    due = getattr(order, "due", None)
    if due is None or due.next_attempt_at is None:
        yield Awaited(_("A person decides: the machine has given up"), None, [order])
    else:
        yield Awaited(_("The next call to the PSP"), due.next_attempt_at, [order])


def to_be_settled(order: PaymentOrder, path: Path) -> Iterator[Awaited]:
    """What the PSP's file and our bank's statement have not shown yet of the charge.  What was voided they never show."""
    match = path.capture_of(order)
    differs = any(mismatch.subject == order.public_id for mismatch in path.mismatches)
    if match is None and not differs and order.settled_at is None and not is_voided(order, path) and order.journal_entry:
        by = order.journal_entry.happened_at + MISSING_AFTER
        yield Awaited(_("Its line in the PSP's settlement file; after that day it counts as missing"), by, [order])
    elif match is not None and match.batch.paid_out and path.arrival_of(match.batch) is None:
        yield Awaited(_("The bank statement that shows the PSP's payment of %s") % match.batch.name, None, [order])


def is_voided(order: PaymentOrder, path: Path) -> bool:
    return any(
        (refund.order_id, refund.late_charge_id, refund.status) == (order.pk, None, RefundStatus.SUCCESS)
        and refund.psp_reference == refund.charge != ""
        for refund in path.rows.refunds
    )


def to_be_released(order: PaymentOrder) -> Iterator[Awaited]:
    due = getattr(order, "due_release", None)
    if due is not None and order.unreleased:
        if due.waits_for_file:
            yield Awaited(_("The PSP's settlement file: only then it becomes available to the seller"), None, [order])
        elif due.due_at is None:
            yield Awaited(_("The delivery: then it becomes available to the seller"), None, [order])
        else:
            yield Awaited(_("It becomes available to the seller"), due.due_at, [order])
    reserve = getattr(order, "reserve", None)
    if reserve is not None and reserve.released_at is None:
        yield Awaited(_("What is held back becomes available to the seller"), reserve.free_at, [order])


def to_be_paid_out(order: PaymentOrder, path: Path, *, now: datetime) -> Iterator[Awaited]:
    """What the seller's payouts still have to do: be made, be approved, arrive, and stand on our bank's statement."""
    available = Money(0, order.amount.currency)
    for movement in path.movements.get(order.pk, ()):
        payout = next(reversed(path.payouts_of.get(movement.pk, ())), None)
        if payout is None or payout.status in PUT_BACK:
            available += movement.available
        else:
            yield from to_arrive(payout, order, path)
    if available.amount > 0:
        schedule = path.schedules.get(order.seller_id) or path.schedules.get(None)
        agreed = terms.of_schedule(schedule) if schedule else terms.of_the_house(available.currency.code)
        days = calendars.next_payouts(calendars.of(agreed), now, count=1)
        yield Awaited(_("The seller's next payout") if days else _("A payout that the seller asks for"), next(iter(days), None), [order])


def to_arrive(payout: Payout, order: PaymentOrder, path: Path) -> Iterator[Awaited]:
    match payout.status:
        case PayoutStatus.WAITING:
            yield Awaited(_("Somebody approves the payout %s") % payout.public_id, None, [order])
        case PayoutStatus.EXECUTING:
            yield Awaited(_("The bank pays %s") % payout.public_id, payout.arrives_on or payout.next_attempt_at, [order])
        case PayoutStatus.SUCCESS if not any(each.payout_id == payout.pk for each in path.arrivals):
            yield Awaited(_("The bank statement that shows the payout %s") % payout.public_id, None, [order])


def to_be_given_back(refund: Refund, path: Path) -> Iterator[Awaited]:
    about = [order for order in path.orders if order.pk == refund.order_id]
    if refund.status == RefundStatus.EXECUTING:
        goes_back = _("The PSP gives the buyer %s back") if refund.charged_back else _("%s go back to gift cards and the buyer's wallet")
        what = goes_back if refund.next_attempt_at else _("A person decides about the refund of %s")
        yield Awaited(what % amount(refund.charged_back or refund.amount), refund.next_attempt_at, about)
    elif refund.status == RefundStatus.SUCCESS and refund.charged_back and refund.psp_reference != refund.charge and refund.journal_entry:
        shown = any(match.refund_id == refund.pk for match in path.matches)
        if not shown and not any(mismatch.subject == refund.public_id for mismatch in path.mismatches):
            by = refund.journal_entry.happened_at + MISSING_AFTER
            yield Awaited(_("The refund's line in the PSP's settlement file; after that day it counts as missing"), by, about)
