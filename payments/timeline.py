"""The time line of one payment: from the checkout's opening to the books, everything that happened, in order, each with where to look.

Gathers rows of all apps below; writes nothing.  Webhooks and messages have no index for this question: they are looked for by id in the time
in which the payment was alive (ledger/seek.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from django.db import models
from django.utils.translation import gettext as _

from ledger import seek
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from payments.models import PaymentEvent, PaymentOrder, PspAttempt, PspEvent, Refund
from payments.states import AttemptStatus, RefundStatus
from wallet.models import OutboxMessage, WalletEntry

LATE_WEBHOOKS = timedelta(days=7)  # how long after the last of our own rows a PSP may still tell of it
TONES = {
    AttemptStatus.SUCCEEDED: "good",
    AttemptStatus.DECLINED: "bad",
    AttemptStatus.UNKNOWN: "warn",
    AttemptStatus.PENDING: "warn",
    AttemptStatus.NOT_EXECUTED: "bad",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when, what, its particulars, the row to look at, and good, bad or warn (empty: neither)."""

    at: datetime
    what: str
    detail: str
    row: models.Model
    tone: str = ""


def timeline_of(event: PaymentEvent) -> list[Moment]:
    """Return everything that happened to the payment, oldest first.  Nine queries, whatever its size."""
    orders = list(PaymentOrder.objects.filter(event=event).select_related("seller", "journal_entry", "wallet_entry").order_by("id"))
    attempts = list(PspAttempt.objects.filter(order__in=orders).order_by("id"))
    refunds = list(Refund.objects.filter(order__in=orders).select_related("journal_entry", "wallet_entry").order_by("id"))
    moments = list(
        chain(
            beginning(event, attempts),
            chain.from_iterable(tries(attempt) for attempt in attempts),
            chain.from_iterable(given_back(refund) for refund in refunds),
            booked([*orders, *refunds]),
        )
    )
    since, until = event.created_at, max(moment.at for moment in moments) + LATE_WEBHOOKS
    keys = [attempt.psp_key for attempt in attempts] + [refund.public_id for refund in refunds]
    told = [event.public_id, *(order.public_id for order in orders), *(refund.public_id for refund in refunds)]
    moments += webhooks(keys, since=since, until=until)
    moments += messages(event, told, since=since, until=until)
    return sorted(moments, key=lambda moment: moment.at)


def beginning(event: PaymentEvent, attempts: Sequence[PspAttempt]) -> Iterator[Moment]:
    """The opening, and the confirmation; its time is not kept, and it is at most moments before the first attempt."""
    yield Moment(event.created_at, _("Opened"), f"{event.checkout_id}, {amount(event.amount)}", event)
    if attempts:
        card = " ".join(word for word in (event.card_brand, event.card_last4 and f"•••• {event.card_last4}") if word)
        yield Moment(attempts[0].created_at, _("Confirmed by the buyer"), card, event)


def tries(attempt: PspAttempt) -> Iterator[Moment]:
    yield Moment(attempt.created_at, _("Sent to the PSP"), f"{attempt.psp} {attempt.psp_key}", attempt)
    if attempt.status != AttemptStatus.SENDING:
        at = attempt.finished_at or attempt.created_at
        detail = " ".join(word for word in (attempt.psp_reference, attempt.error_code, attempt.error_message) if word)
        yield Moment(at, attempt.get_status_display(), detail, attempt, TONES.get(AttemptStatus(attempt.status), ""))


def given_back(refund: Refund) -> Iterator[Moment]:
    yield Moment(refund.created_at, _("Refund asked for"), f"{amount(refund.amount)} {refund.reason}", refund)
    if refund.status == RefundStatus.FAILED:
        yield Moment(refund.created_at, _("Refund failed"), refund.failure_code, refund, "bad")


def booked(rows: Iterable[PaymentOrder | Refund]) -> Iterator[Moment]:
    """What stands in the books and the wallets because of an order or a refund."""
    for row in rows:
        entry: JournalEntry | None = row.journal_entry
        movement: WalletEntry | None = row.wallet_entry
        if entry:
            yield Moment(entry.booked_at, _("Booked"), f"{entry.kind} {amount(row.amount)} {row.public_id}", entry, "good")
        if movement:
            yield Moment(movement.created_at, _("Wallet moved"), amount(movement.net), movement, "good")


def webhooks(keys: Sequence[str], *, since: datetime, until: datetime) -> list[Moment]:
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
