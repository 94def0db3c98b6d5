"""The time line of a payment's whole path: what happened, step by step.

Pure: rows come in (payment_path.py), steps go out.  A step stands where we wrote it down; the day by which a PSP or a bank dates it is in its
words.  What happened to several orders at about the same time is one step of many, so that a basket of twenty sellers can be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from django.db import models
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.models import JournalEntry, Posting
from ledger.templatetags.written import amount, day
from payments.models import CheckoutSession, PaymentEvent, PaymentOrder, PspEvent, ReceiptMail
from payments.timeline import Moment
from payouts.models import Payout
from reconciliation.models import BankLineMatch, LineMatch, Mismatch
from reconciliation.payment_path import Path, day_of, part_of
from wallet.models import OutboxMessage, WalletEntry

TOGETHER = timedelta(minutes=10)  # what happens to several orders within that is one step


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: when we knew it, what, its particulars, the row to look at, which orders (none: all), and its postings."""

    at: datetime
    what: str
    detail: str
    row: models.Model | None
    orders: Sequence[PaymentOrder] = ()
    tone: str = ""
    legs: Sequence[Posting] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """The same thing that happened to one or several orders at about the same time, the earliest first."""

    what: str
    tone: str
    each: list[Step] = field(default_factory=list)

    @property
    def at(self) -> datetime:
        return self.each[0].at

    @property
    def orders(self) -> int:
        """How many orders it is about."""
        return len({order.pk for step in self.each for order in step.orders})


def steps_of(path: Path) -> list[Step]:
    """Return everything that happened to the payment, oldest first."""
    steps = [
        *(from_moment(moment, path) for moment in path.moments if not is_told_better(moment, path)),
        *(booked(entry, path) for entry in path.entries),
        *(moved(movement, order, path) for order in path.orders for movement in path.movements.get(order.pk, [])),
        *(settled(match, path) for match in path.matches),
        *(step for mismatch in path.mismatches for step in differed(mismatch, path)),
        *(arrived(arrival, path) for arrival in path.arrivals),
    ]
    return sorted(steps, key=attrgetter("at"))


def together(steps: Sequence[Step]) -> list[Steps]:
    """Return the steps with those of a kind that happened at about the same time as one."""
    grouped: list[Steps] = []
    latest: dict[tuple[str, str], Steps] = {}
    for step in steps:
        key = step.what, step.tone
        group = latest.get(key)
        if group is None or not step.orders or step.at - group.at > TOGETHER:
            group = latest[key] = Steps(*key)
            grouped.append(group)
        group.each.append(step)
    return grouped


def is_told_better(moment: Moment, path: Path) -> bool:
    """Is it about an entry or a movement?  They come with their postings, and those that pay-in's time line does not know, too."""
    reserves = {entry for reserve in path.rows.reserves for entry in (reserve.journal_entry_id, reserve.release_entry_id)}
    return isinstance(moment.row, WalletEntry) or (isinstance(moment.row, JournalEntry) and moment.row.pk not in reserves)


def from_moment(moment: Moment, path: Path) -> Step:
    about = order_about(moment.row, path)
    return Step(moment.at, moment.what, moment.detail, moment.row, [about] if about else [], moment.tone)


def order_about(row: Any, path: Path) -> PaymentOrder | None:
    """Return which of the orders a row of pay-in belongs to; None for what concerns the payment as a whole."""
    match row:
        case PaymentEvent() | CheckoutSession() | ReceiptMail():
            return None
        case PaymentOrder() | JournalEntry():
            return path.order_about(row.public_id if isinstance(row, PaymentOrder) else row.reference)
        case PspEvent():
            return path.order_about(str(row.body["data"]["object"]["key"]))
        case OutboxMessage():
            return path.order_about(row.about)
        case _:
            return next((order for order in path.orders if order.pk == row.order_id), None)


def booked(entry: JournalEntry, path: Path) -> Step:
    about = path.order_about(entry.reference)
    said = " ".join(word for word in (entry.reference, entry.memo) if word)
    orders = [about] if about else orders_sharing(entry, path)
    return Step(entry.booked_at, _("Booked: %s") % entry.get_kind_display(), said, entry, orders, "good", path.legs[entry.pk])


def orders_sharing(entry: JournalEntry, path: Path) -> list[PaymentOrder]:
    """Return the orders that an entry is about which others have a part in, too: of a payout, of a settlement batch."""
    owner = entry.reference.partition(":")[0]
    payout = path.payout_called(owner)
    if payout is not None:
        return orders_in(payout, path)
    return [order for order in path.orders if (match := path.capture_of(order)) and match.batch.journal_entry_id == entry.pk]


def orders_in(payout: Payout, path: Path) -> list[PaymentOrder]:
    """Return the orders that went with the payout, or made it smaller."""
    return [
        order
        for order in path.orders
        if any(payout in path.payouts_of.get(movement.pk, ()) for movement in path.movements.get(order.pk, ()))
    ]


def moved(movement: WalletEntry, order: PaymentOrder, path: Path) -> Step:
    """A movement of the seller's wallet, with the figures that it changed."""
    changed = (
        (_("pending"), movement.pending),
        (_("available"), movement.available),
        (_("held back"), movement.reserved),
    )
    said = ", ".join(f"{name} {'+' if figure.amount > 0 else ''}{amount(figure)}" for name, figure in changed if figure)
    at = booked_at(movement.journal_entry_id, path) or movement.created_at
    return Step(at, _("Wallet moved: %s") % movement.get_kind_display(), said, movement, [order], "good")


def settled(match: LineMatch, path: Path) -> Step:
    """A line of the PSP's settlement file that says what our books say."""
    line, batch = match.line, match.batch
    said = _("%(kind)s: gross %(gross)s, fee %(fee)s, net %(net)s; line %(line)s of %(file)s, batch %(batch)s, settled on %(day)s") % {
        "kind": line.type,
        "gross": amount(Money(line.gross, line.currency)),
        "fee": amount(Money(line.fee, line.net_currency)),
        "net": amount(Money(line.net, line.net_currency)),
        "line": line.line,
        "file": line.file.name,
        "batch": batch.name,
        "day": day(batch.closed_at) if batch.closed_at else "–",
    }
    return Step(compared_at(match, path), _("In the PSP's settlement file"), said, line, orders_of(match, path), "good")


def booked_at(entry_id: int | None, path: Path) -> datetime | None:
    """Return when an entry was booked; None where there is none."""
    legs = path.legs.get(entry_id or 0)
    return legs[0].entry.booked_at if legs else None


def compared_at(match: LineMatch, path: Path) -> datetime:
    """Return when the batch was compared, by the clock by which its entry was written."""
    return booked_at(match.batch.journal_entry_id, path) or match.batch.matched_at or match.line.file.received_at


def orders_of(match: LineMatch, path: Path) -> list[PaymentOrder]:
    rows: list[Any] = [*path.rows.refunds, *path.rows.disputes, *path.rows.late_charges]
    hanging = {(type(row)._meta.model_name, row.pk): row.order_id for row in rows}
    keys = (("refund", match.refund_id), ("dispute", match.dispute_id), ("latecharge", match.late_charge_id))
    order_id = match.order_id or next((hanging[key] for key in keys if key in hanging), None)
    return [order for order in path.orders if order.pk == order_id]


def differed(mismatch: Mismatch, path: Path) -> Iterator[Step]:
    """A mismatch: when it was found, and when it was explained."""
    about = path.order_about(mismatch.subject)
    payout = path.payout_called(mismatch.subject)
    orders = [about] if about else orders_in(payout, path) if payout else []
    figures = (
        (_("by our books"), mismatch.expected),
        (_("by the file"), mismatch.found),
        (_("in suspense"), mismatch.suspended),
    )
    said = ", ".join(f"{name} {amount(Money(figure, mismatch.currency))}" for name, figure in figures if figure is not None)
    tone = "bad" if mismatch.resolved_at is None else "warn"
    yield Step(mismatch.found_at, _("Mismatch: %s") % mismatch.get_kind_display(), f"{mismatch.subject}: {said}", mismatch, orders, tone)
    if mismatch.resolved_at:
        yield Step(mismatch.resolved_at, _("Mismatch explained"), mismatch.subject, mismatch, orders, "good")


def arrived(arrival: BankLineMatch, path: Path) -> Step:
    """A line of our bank's statement: a PSP has paid a batch, or a payout has left or come back."""
    line, compared = arrival.line, arrival.line.statement.compared
    when = day_of(arrival)
    said = _("%(amount)s on %(day)s; line %(line)s of %(file)s, the bank's reference %(reference)s") % {
        "amount": share(arrival),
        "day": day(when) if when else "–",
        "line": line.line,
        "file": line.file.name,
        "reference": line.bank_reference or "–",
    }
    at = booked_at(compared.journal_entry_id, path) or compared.matched_at
    payout = path.payouts.get(arrival.payout_id or 0)
    orders = (
        orders_in(payout, path)
        if payout
        else [order for order in path.orders if (match := path.capture_of(order)) and match.batch_id == arrival.batch_id]
    )
    return Step(at, _("On our bank's statement: %s") % arrival.get_kind_display(), said, line, orders, "good")


def share(arrival: BankLineMatch) -> str:
    """Return how much of its line the match is about: all of it, or so much of a line that the bank booked for several of ours together."""
    part, whole = (amount(Money(figure, arrival.line.currency)) for figure in (part_of(arrival), arrival.line.amount))
    return whole if part == whole else _("%(part)s of %(whole)s") % {"part": part, "whole": whole}
