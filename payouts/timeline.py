"""The time line of one payout: asked for, decided, sent, answered, booked and told, in order, each with where to look.

Gathers rows of this app and of those below; writes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.db import models
from django.utils.translation import gettext as _

from ledger import seek
from ledger.models import JournalEntry
from ledger.templatetags.written import amount
from payouts.models import Payout, PayoutTransition
from payouts.states import AttemptStatus, PayoutOperation, PayoutStatus, RunStatus
from wallet.models import OutboxMessage, WalletEntry

ENTRIES = ("journal_entry", "paid_entry", "return_entry", "late_entry", "late_return_entry")
MOVEMENTS = ("wallet_entry", "return_wallet_entry", "late_wallet_entry", "late_return_wallet_entry")
AGAIN_ENTRIES = ("again_entry", "again_return_entry")
AGAIN_MOVEMENTS = ("again_wallet_entry", "again_return_wallet_entry")
TONES = {
    AttemptStatus.SUCCEEDED: "good",
    AttemptStatus.FAILED: "bad",
    AttemptStatus.UNKNOWN: "warn",
    AttemptStatus.PENDING: "warn",
    AttemptStatus.NOT_EXECUTED: "bad",
}
STATUSES: dict[str, type[models.TextChoices]] = {PayoutTransition.Kind.PAYOUT: PayoutStatus, PayoutTransition.Kind.RUN: RunStatus}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when, what, its particulars, the row to look at (None: this one), and good, bad or warn."""

    at: datetime
    what: str
    detail: str
    row: models.Model | None = None
    tone: str = ""


def timeline_of(payout: Payout) -> list[Moment]:
    """Return everything that happened to the payout, oldest first.  A fixed number of queries."""
    gathered = chain(beginning(payout), calls(payout), booked(payout), in_files(payout), changes(payout), messages(payout))
    return sorted(gathered, key=lambda moment: moment.at)


def beginning(payout: Payout) -> Iterator[Moment]:
    said = " ".join(word for word in (amount(payout.amount), payout.requested_by, payout.reference) if word)
    yield Moment(payout.created_at, _("Made by a payout run") if payout.run_id else _("Asked for"), said, payout.run)


def calls(payout: Payout) -> Iterator[Moment]:
    """The calls to the bank: when each was sent, and how it ended.  A look-up is written with its answer, so it is one moment."""
    for attempt in payout.attempts.order_by("id"):
        answer = " ".join(word for word in (attempt.provider_reference, attempt.error_code, attempt.error_message) if word)
        at, tone = attempt.finished_at or attempt.created_at, TONES.get(AttemptStatus(attempt.status), "")
        if attempt.operation == PayoutOperation.FIND:
            yield Moment(at, _("The bank was asked"), f"{attempt.get_status_display()} {answer}", tone=tone)
            continue
        yield Moment(attempt.created_at, _("Sent to the bank"), f"{attempt.provider} {attempt.key}")
        if attempt.status != AttemptStatus.SENDING:
            yield Moment(at, attempt.get_status_display(), answer, tone=tone)


def booked(payout: Payout) -> Iterator[Moment]:
    """What stands in the books and in the wallet."""
    for column in ENTRIES:
        entry: JournalEntry | None = getattr(payout, column)
        if entry:
            yield Moment(entry.booked_at, _("Booked"), f"{entry.get_kind_display()} {amount(payout.amount)}", entry, "good")
    for column in MOVEMENTS:
        movement: WalletEntry | None = getattr(payout, column)
        if movement:
            yield Moment(movement.created_at, _("Wallet moved"), amount(movement.net), movement, "good")


def in_files(payout: Payout) -> Iterator[Moment]:
    """When it was taken out of a payment file and why, and what another file that paid it, too, has moved on our bank account and in the wallet."""
    for line in payout.file_lines.select_related("file", *AGAIN_ENTRIES, *AGAIN_MOVEMENTS).order_by("file"):
        if line.dropped_at:
            why = " ".join(word for word in (line.file.public_id, line.freed_by, line.dropped_why) if word)
            yield Moment(line.dropped_at, _("Taken out of a payment file"), why, line, "warn")
        for column in AGAIN_ENTRIES:
            entry: JournalEntry | None = getattr(line, column)
            if entry:
                yield Moment(entry.booked_at, _("Booked"), f"{entry.get_kind_display()} {line.file.public_id}", entry, "warn")
        for column in AGAIN_MOVEMENTS:
            movement: WalletEntry | None = getattr(line, column)
            if movement:
                yield Moment(movement.created_at, _("Wallet moved"), amount(movement.net), movement, "warn")


def changes(payout: Payout) -> Iterator[Moment]:
    """Each change of its status, by whom and why."""
    for change in transitions_of(PayoutTransition.Kind.PAYOUT, payout.pk):
        why = " ".join(word for word in (change.actor, change.reason) if word)
        yield Moment(change.at, f"{label(change.kind, change.before)} → {label(change.kind, change.after)}", why)


def messages(payout: Payout) -> Iterator[Moment]:
    """What the shop was told.  Messages have no index for this: they are looked for from the payout's first entry on."""
    since = min(payout.journal_entry.booked_at, payout.created_at)
    first = seek.first_id_since(OutboxMessage, "created_at", since)
    for message in OutboxMessage.objects.filter(pk__gte=first, shop=payout.shop_id, about=payout.public_id).order_by("id"):
        yield Moment(message.created_at, _("Message to the shop"), message.topic, message)


def transitions_of(kind: str, pk: int) -> models.QuerySet[PayoutTransition]:
    return PayoutTransition.objects.filter(kind=kind, object_id=pk).order_by("id")


def label(kind: str, status: str) -> str:
    """Return a status of that kind of thing as people read it."""
    return str(STATUSES[kind](status).label)
