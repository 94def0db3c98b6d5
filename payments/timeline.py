"""The time line of one payment: from the checkout's opening to the books, everything that happened, in order, each with where to look.

Gathers rows of all apps below; writes nothing.  Webhooks and messages have no index for this question: they are looked for by id in the time
in which the payment was alive (ledger/seek.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext as _

from ledger import seek
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from payments import receipts
from payments.methods.registry import METHODS
from payments.models import (
    Cancellation,
    CheckoutSession,
    DeadLetter,
    Dispute,
    LateCharge,
    PaymentEvent,
    PaymentOrder,
    PspAttempt,
    PspEvent,
    ReceiptMail,
    Refund,
    Reserve,
    Tender,
    Transition,
)
from payments.states import (
    AttemptStatus,
    CancellationStatus,
    DisputeStatus,
    EventStatus,
    OrderStatus,
    PspOperation,
    RefundStatus,
    SessionStatus,
)
from wallet.models import OutboxMessage, StoredValue, WalletEntry

Row = TypeVar("Row", bound=models.Model)

LATE_WEBHOOKS = timedelta(days=7)  # how long after the last of our own rows a PSP may still tell of it
TONES = {
    AttemptStatus.SUCCEEDED: "good",
    AttemptStatus.DECLINED: "bad",
    AttemptStatus.UNKNOWN: "warn",
    AttemptStatus.PENDING: "warn",
    AttemptStatus.NOT_EXECUTED: "bad",
}
SESSION_TONES = {SessionStatus.CONFIRMED: "good", SessionStatus.FAILED: "bad", SessionStatus.EXPIRED: "warn", SessionStatus.UNUSED: "warn"}
STATUSES: dict[str, type[models.TextChoices]] = {
    Transition.Kind.EVENT: EventStatus,
    Transition.Kind.ORDER: OrderStatus,
    Transition.Kind.REFUND: RefundStatus,
    Transition.Kind.CANCELLATION: CancellationStatus,
    Transition.Kind.DISPUTE: DisputeStatus,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when, what, its particulars, the row to look at, and good, bad or warn (empty: neither)."""

    at: datetime
    what: str
    detail: str
    row: models.Model
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """All that hangs on the orders of a payment, or on one of them, and on the payment as a whole."""

    event: PaymentEvent
    sessions: Sequence[CheckoutSession]
    receipt: ReceiptMail | None
    orders: Sequence[PaymentOrder]
    attempts: Sequence[PspAttempt]
    refunds: Sequence[Refund]
    late_charges: Sequence[LateCharge]
    cancellations: Sequence[Cancellation]
    disputes: Sequence[Dispute]
    reserves: Sequence[Reserve]
    letters: Sequence[DeadLetter]
    tenders: Sequence[Tender]

    def with_status(self) -> Iterator[tuple[Transition.Kind, Any]]:
        """Yield the rows whose changes of status are kept, each with its kind."""
        yield Transition.Kind.EVENT, self.event
        yield from ((Transition.Kind.ORDER, order) for order in self.orders)
        yield from ((Transition.Kind.REFUND, refund) for refund in self.refunds)
        yield from ((Transition.Kind.CANCELLATION, cancellation) for cancellation in self.cancellations)
        yield from ((Transition.Kind.DISPUTE, dispute) for dispute in self.disputes)


def timeline_of(event: PaymentEvent) -> list[Moment]:
    """Return everything that happened to the payment, oldest first.  A fixed number of queries, whatever its size."""
    return moments_of(rows_of(event, PaymentOrder.objects.filter(event=event)))


def timeline_of_order(order: PaymentOrder) -> list[Moment]:
    """Return everything that happened to one order of a payment, and to the payment as a whole, oldest first."""
    return moments_of(rows_of(order.event, PaymentOrder.objects.filter(pk=order.pk)))


def rows_of(event: PaymentEvent, chosen: models.QuerySet[PaymentOrder]) -> Rows:
    both = ("journal_entry", "wallet_entry")
    beside = ("reserve__journal_entry", "reserve__release_entry", "event__receipt_mail")  # of which an order has one at most
    orders = list(chosen.select_related(*both, *beside).order_by("id"))
    return Rows(
        event=event,
        sessions=list(CheckoutSession.objects.filter(event=event).defer("code_text").order_by("id")),
        receipt=next((order.event.receipt_mail for order in orders if hasattr(order.event, "receipt_mail")), None),
        orders=orders,
        attempts=hanging_on(orders, PspAttempt),
        refunds=hanging_on(orders, Refund, *both, "reversal_entry", "reversal_wallet_entry"),
        late_charges=hanging_on(orders, LateCharge, "journal_entry"),
        cancellations=hanging_on(orders, Cancellation),
        disputes=hanging_on(orders, Dispute, *both, "closing_entry", "closing_wallet_entry"),
        reserves=[order.reserve for order in orders if hasattr(order, "reserve")],
        letters=hanging_on(orders, DeadLetter),
        tenders=hanging_on(orders, Tender, "value"),
    )


def hanging_on(orders: Sequence[PaymentOrder], model: type[Row], *related: str) -> list[Row]:
    """Return the rows of that table which belong to the orders, oldest first, with what they point at."""
    rows = model._default_manager.filter(order__in=orders).order_by("pk")
    return list(rows.select_related(*related) if related else rows)


def moments_of(rows: Rows) -> list[Moment]:
    moments = list(
        chain(
            beginning(rows),
            sessions(rows),
            receipt(rows),
            paid_by_value(rows),
            chain.from_iterable(call(attempt) for attempt in rows.attempts),
            asked_for(rows),
            set_aside(rows),
            delivered(rows),
            booked(rows),
            transitions(rows),
        )
    )
    since, until = rows.event.created_at, max(moment.at for moment in moments) + LATE_WEBHOOKS
    keys = {attempt.psp_key for attempt in rows.attempts} | {refund.public_id for refund in rows.refunds}
    about = [row.public_id for _kind, row in rows.with_status()] + [late.public_id for late in rows.late_charges]
    moments += webhooks(keys, since=since, until=until)
    moments += messages(rows.event, about, since=since, until=until)
    return sorted(moments, key=lambda moment: moment.at)


def beginning(rows: Rows) -> Iterator[Moment]:
    """The opening, and the confirmation; its time is not kept, and it is at most moments before the first charge."""
    event = rows.event
    yield Moment(event.created_at, _("Opened"), f"{event.checkout_id}, {amount(event.amount)}", event)
    first = next((attempt for attempt in rows.attempts if attempt.operation == PspOperation.CHARGE), None)
    if first:
        ending = event.card_last4 and f"•••• {event.card_last4}"
        card = " ".join(word for word in (event.card_brand, event.card_funding, event.card_country, ending) if word)
        yield Moment(first.created_at, _("Confirmed by the buyer"), card, event)


def sessions(rows: Rows) -> Iterator[Moment]:
    """Each way to pay that the buyer began at the PSP, and how it stands; when it came to that is not kept."""
    for session in rows.sessions:
        method = METHODS[session.method].label if session.method in METHODS else session.method
        said = " ".join(word for word in (f"{method},", amount(session.amount), session.get_status_display(), session.failure_code) if word)
        tone = SESSION_TONES.get(SessionStatus(session.status), "")
        yield Moment(session.created_at, _("Way to pay chosen"), said, session, tone)


def receipt(rows: Rows) -> Iterator[Moment]:
    """The receipt by e-mail: that it was sent, or what has kept it so far."""
    mail = rows.receipt
    if mail is None:
        return
    to = receipts.masked(mail.address)
    if mail.sent_at:
        yield Moment(mail.sent_at, _("Receipt sent"), to, mail, "good")
    else:
        yield Moment(mail.noted_at, _("Receipt to be sent"), f"{to} {mail.error}".strip(), mail, "warn" if mail.error else "")


def paid_by_value(rows: Rows) -> Iterator[Moment]:
    """What gift cards and the buyer's wallet were to pay: held with the confirmation; that it was taken, the books say."""
    for tender in rows.tenders:
        what = _("Held on a gift card") if tender.value.kind == StoredValue.Kind.GIFT_CARD else _("Held in the buyer's wallet")
        order = next(order for order in rows.orders if order.pk == tender.order_id)
        yield Moment(tender.created_at, what, f"{amount(tender.amount)} {tender.get_status_display()}", order)


def call(attempt: PspAttempt) -> Iterator[Moment]:
    """A call to the PSP: when it was sent and how it ended.  A look-up is written with its answer, so it is one moment."""
    answer = " ".join(word for word in (attempt.psp_reference, attempt.error_code, attempt.error_message) if word)
    at, tone = attempt.finished_at or attempt.created_at, TONES.get(AttemptStatus(attempt.status), "")
    if attempt.operation == PspOperation.FIND:
        yield Moment(at, _("The PSP was asked"), f"{attempt.psp_key}: {attempt.get_status_display()} {answer}", attempt, tone)
        return
    yield Moment(attempt.created_at, what_was_sent(attempt), f"{attempt.psp} {attempt.psp_key}", attempt)
    if attempt.status != AttemptStatus.SENDING:
        yield Moment(at, attempt.get_status_display(), answer, attempt, tone)


def what_was_sent(attempt: PspAttempt) -> str:
    match attempt.operation:
        case PspOperation.REFUND:
            return _("Refund sent to the PSP")
        case PspOperation.VOID:
            return _("Void sent to the PSP")
        case _:
            return _("Sent to the PSP")


def asked_for(rows: Rows) -> Iterator[Moment]:
    """What somebody wanted: refunds, cancellations, disputes."""
    for refund in rows.refunds:
        part = _("(%s of it to gift cards or the wallet)") % amount(refund.tendered) if refund.tendered else ""
        said = " ".join(word for word in (amount(refund.amount), part, refund.reason, refund.requested_by) if word)
        yield Moment(refund.created_at, _("Refund asked for"), said, refund)
    for cancellation in rows.cancellations:
        said = " ".join(word for word in (cancellation.reason, cancellation.requested_by) if word)
        yield Moment(cancellation.created_at, _("Cancellation asked for"), said, cancellation)
    for dispute in rows.disputes:
        yield Moment(dispute.opened_at, _("Disputed"), f"{amount(dispute.amount)} {dispute.reason}", dispute, "bad")


def set_aside(rows: Rows) -> Iterator[Moment]:
    """What the machine could not bring to an end by itself, and what a person decided."""
    for late in rows.late_charges:
        yield Moment(late.created_at, _("Charged too late"), f"{amount(late.amount)} {late.psp_reference}", late, "warn")
    for letter in rows.letters:
        yield Moment(letter.created_at, _("Dead letter"), f"{letter.get_reason_display()}: {letter.detail}", letter, "bad")
        if letter.decided_at:
            yield Moment(letter.decided_at, _("Decided"), f"{letter.get_decision_display()}, {letter.decided_by}: {letter.note}", letter)


def delivered(rows: Rows) -> Iterator[Moment]:
    """What was delivered, by whose word, and what became available of it and when."""
    for order in rows.orders:
        if order.delivered_at:
            said = " ".join(word for word in (order.public_id, order.delivered_by, order.delivery_note) if word)
            yield Moment(order.delivered_at, _("Delivered"), said, order, "good")
        if order.released_at:
            yield Moment(order.released_at, _("Available to the seller"), order.public_id, order, "good")
    for reserve in rows.reserves:
        until = _("until %(day)s") % {"day": reserve.free_at.date().isoformat()}
        yield Moment(reserve.journal_entry.booked_at, _("Held back"), f"{amount(reserve.amount)} {until}", reserve.journal_entry)
        if reserve.released_at and reserve.release_entry:
            yield Moment(reserve.released_at, _("Reserve set free"), amount(reserve.amount), reserve.release_entry, "good")


def booked(rows: Rows) -> Iterator[Moment]:
    """What stands in the books and the wallets."""
    booked_rows: list[Any] = [*rows.orders, *rows.refunds, *rows.disputes, *rows.late_charges]
    for row in booked_rows:
        for column in ("journal_entry", "reversal_entry", "closing_entry"):
            entry: JournalEntry | None = getattr(row, column, None)
            if entry:
                yield Moment(entry.booked_at, _("Booked"), f"{entry.kind} {amount(row.amount)} {row.public_id}", entry, "good")
        for column in ("wallet_entry", "reversal_wallet_entry", "closing_wallet_entry"):
            movement: WalletEntry | None = getattr(row, column, None)
            if movement:
                yield Moment(movement.created_at, _("Wallet moved"), amount(movement.net), movement, "good")


def transitions(rows: Rows) -> Iterator[Moment]:
    """Each change of a status, by whom and why."""
    known = {(kind, row.pk): row for kind, row in rows.with_status()}
    asked = models.Q(pk=None)
    for kind in {kind for kind, _pk in known}:
        asked |= models.Q(kind=kind, object_id__in=[pk for of_kind, pk in known if of_kind == kind])
    for change in Transition.objects.filter(asked).order_by("id"):
        row = known[Transition.Kind(change.kind), change.object_id]
        what = f"{change.get_kind_display()}: {label(change.kind, change.before)} → {label(change.kind, change.after)}"
        why = [row.public_id, change.actor, change.reason, getattr(row, "failure_code", "") if change.after == "FAILED" else ""]
        yield Moment(change.at, what, " ".join(word for word in why if word), row)


def label(kind: str, status: str) -> str:
    """Return a status of that kind of thing as people read it."""
    return str(STATUSES[kind](status).label)


def webhooks(keys: Iterable[str], *, since: datetime, until: datetime) -> list[Moment]:
    """What the PSP told about these keys of ours."""
    told = PspEvent.objects.filter(
        pk__gte=seek.first_id_since(PspEvent, "received_at", since),
        pk__lt=seek.first_id_after(PspEvent, "received_at", until),
        body__data__object__key__in=list(keys),
    )
    tones = {PspEvent.Status.APPLIED: "good", PspEvent.Status.PARKED: "bad"}
    return [
        Moment(
            row.received_at,
            _("Webhook"),
            f"{row.type}: {row.status} {row.reason}",
            row,
            tones.get(PspEvent.Status(row.status), ""),
        )
        for row in told.order_by("id")
    ]


def messages(event: PaymentEvent, about: Sequence[str], *, since: datetime, until: datetime) -> list[Moment]:
    """What the shop was told."""
    sent = OutboxMessage.objects.filter(
        pk__gte=seek.first_id_since(OutboxMessage, "created_at", since),
        pk__lt=seek.first_id_after(OutboxMessage, "created_at", until),
        shop=event.shop_id,
        about__in=list(about),
    )
    return [Moment(row.created_at, _("Message to the shop"), f"{row.topic} {row.about}", row) for row in sent.order_by("id")]
