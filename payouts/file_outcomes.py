"""Payouts by file of which the bank's answer does not tell the truth, or nothing: a person reads in its statement what became of them.

Each payment stands in the statement, or does not: it was paid, also if it was taken for failed; or it never left, and waits for the next
file.  Somebody other than who fetched the file says so, with the day of the statement and where it was seen: who carried a file to the bank,
and could have it paid twice, does not decide that.  What is not in a statement tells something only when its day is over, and when the bank
could have paid until then.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from django.db import transaction
from django.db.models import Q, QuerySet

from ledger import transitions
from ledger.approvals import MakerMayNotApprove, ReasonMissing, require_reason
from payouts import calendars, file_answers, paid_twice, requests, settlement
from payouts.files import FileConflict
from payouts.models import PaymentFile, PaymentFileLine, Payout
from payouts.settlement import NotBookable
from payouts.states import PayoutStatus

logger = logging.getLogger(__name__)

OPEN = Q(dropped_at=None, payout__status=PayoutStatus.EXECUTING)  # lines of which nobody knows yet how they end


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody saw in the bank's statement: of which day, who, where (kept with the payout), and when we were told."""

    on: date
    actor: str
    reason: str
    now: datetime


@transaction.atomic(durable=True)
def was_paid(line_id: int, seen: Seen) -> PaymentFileLine:
    """Record that this file paid the payout of the line on that day, as the statement shows; `paid_twice.warning_of` says what else to do.

    One that has failed, or came back after something else had paid it, is taken off its seller again, below zero if need be; another one
    that something else had paid was paid twice.  Locks the file, the payout, then the wallet.  Raises ReasonMissing, FileConflict (it was
    never fetched), MakerMayNotApprove, and NotBookable: it is known already, or cannot be.
    """
    file, line = lock_sent(line_id, seen)
    return record_paid(file, line, settlement.lock(line.payout_id), seen)


@transaction.atomic(durable=True)
def was_paid_if_open(line_id: int, seen: Seen) -> None:
    """Do what `was_paid` does, unless somebody has told meanwhile how the payout of the line ends: what is known is left as it is."""
    file, line = lock_sent(line_id, seen)
    payout = settlement.lock(line.payout_id)
    if payout.status == PayoutStatus.EXECUTING and file.lines.filter(pk=line.pk, dropped_at=None).exists():
        record_paid(file, line, payout, seen)
    else:
        logger.info("%s is %s meanwhile: that %s paid it is not recorded", payout.public_id, payout.status, file.public_id)


def record_paid(file: PaymentFile, line: PaymentFileLine, payout: Payout, seen: Seen) -> PaymentFileLine:
    """Record that a locked file paid a locked payout, as `was_paid` says."""
    at, before = moment_of(file, seen, since=left_on(file), until=seen.now.date()), payout.status
    refused_here = payout.provider_reference == file.message_id
    reference = "" if refused_here else file.message_id  # without one, the statement outweighs what the answer to this very file said
    is_first = settlement.paid(payout, provider_reference=reference, paid_at=at)
    if not is_first and not paid_twice.pay_again(payout, file, at=at):
        raise NotBookable(f"{payout.public_id} is {payout.status}: that {file.public_id} paid it is known.")
    if payout.status == before:
        requests.keep(payout, actor=seen.actor, reason=seen.reason)
    told_of(file, seen)
    line = PaymentFileLine.objects.select_related("file", "payout").get(pk=line.pk)
    if warning := paid_twice.warning_of(line):
        logger.error("%s: %s", payout.public_id, warning)
    return line


@transaction.atomic(durable=True)
def never_left(line_id: int, seen: Seen) -> PaymentFileLine:
    """Free the payout of the line: the statement, up to that day, does not have it.  The next file has it, or it is given up.

    Locks the file, then the payout.  Raises what `was_paid` does, NotBookable for a payout that does not wait for the bank's word in this
    file, and for a day of which the statement cannot tell (`free`).
    """
    file, line = lock_sent(line_id, seen)
    if not free(file, file.lines.filter(pk=line.pk), seen):
        raise NotBookable(f"{line.payout.public_id} is {line.payout.status}: it does not wait for the bank's word in {file.public_id}.")
    line.refresh_from_db()
    return line


@transaction.atomic(durable=True)
def file_never_left(file_id: int, seen: Seen) -> PaymentFile:
    """Free all payouts of the file of which nobody knows how they end, as `never_left` does one.  Locks the file, then the payouts by id."""
    file = lock(file_id, seen)
    if not free(file, file.lines.all(), seen):
        raise FileConflict(f"{file.public_id} is {file.status}: none of its payouts waits for the bank's word.")
    return file


def file_was_paid(file_id: int, seen: Seen) -> PaymentFile:
    """Record as paid all payouts of the file of which nobody knows how they end, as `was_paid` does one, each in its own transaction.

    What cannot be booked hinders no other; it is logged, and told by NotBookable at the end.  After a crash the same is said again.
    """
    waiting = open_lines(file_id)
    if not waiting:
        raise FileConflict("None of its payouts waits for the bank's word.")
    left = 0
    for line_id in waiting:
        try:
            was_paid_if_open(line_id, seen)
        except (ReasonMissing, MakerMayNotApprove, FileConflict):
            raise
        except settlement.CANNOT_BOOK:
            logger.exception("that line %s of a payment file was paid cannot be booked", line_id)
            left += 1
    if left:
        raise NotBookable(f"{left} of {len(waiting)} payouts cannot be booked, as the log says; the others are paid.")
    return PaymentFile.objects.get(pk=file_id)


def open_lines(file_id: int) -> list[int]:
    """Return the lines of the file of which nobody knows how they end, by number."""
    return list(PaymentFileLine.objects.filter(OPEN, file=file_id).order_by("number").values_list("pk", flat=True))


def is_open(line: PaymentFileLine) -> bool:
    """Does the payout of the line wait for the bank's word in this file?"""
    return line.file.downloaded_at is not None and line.dropped_at is None and line.payout.status == PayoutStatus.EXECUTING


def may_have_paid(line: PaymentFileLine) -> bool:
    """Would it be news that this file paid the payout of the line?"""
    file, payout = line.file, line.payout
    is_news = payout.status in (PayoutStatus.EXECUTING, PayoutStatus.FAILED) or paid_twice.is_paid_by_another(payout, file)
    left = file.downloaded_at is not None and file.lines.filter(file_answers.SENT, pk=line.pk).exists()
    return is_news and left and line.again_entry_id is None


def has_open(file: PaymentFile) -> bool:
    """Does any payout wait for the bank's word in this file?"""
    return file.downloaded_at is not None and file.lines.filter(OPEN).exists()


def lock_sent(line_id: int, seen: Seen) -> tuple[PaymentFile, PaymentFileLine]:
    """Lock the file of a line that left with it; return both.  Raises NotBookable for a line that was dropped before."""
    line = PaymentFileLine.objects.select_related("payout").get(pk=line_id)
    file = lock(line.file_id, seen)
    if not file.lines.filter(file_answers.SENT, pk=line.pk).exists():
        raise NotBookable(f"{line.payout.public_id} was taken out of {file.public_id} before that left.")
    return file, line


def lock(file_id: int, seen: Seen) -> PaymentFile:
    """Lock a file that was fetched, by somebody else, and say who decides and why.  Raises ReasonMissing, FileConflict, MakerMayNotApprove."""
    require_reason(seen.reason, field="reason")
    transitions.by(seen.actor, reason=seen.reason)
    file = PaymentFile.objects.select_for_update(no_key=True).get(pk=file_id)
    if file.downloaded_at is None:
        raise FileConflict(f"{file.public_id} was never fetched: no statement can tell of it. Put it aside if it must not leave.")
    if transitions.is_same_person(seen.actor, file.downloaded_by):
        raise MakerMayNotApprove(f"You fetched {file.public_id} yourself. Somebody else must say what the statement shows.")
    return file


def moment_of(file: PaymentFile, seen: Seen, *, since: date, until: date) -> datetime:
    """Return a moment of the statement's day.  Raises NotBookable for a day that cannot tell."""
    if not since <= seen.on <= until:
        today = "today" if until == seen.now.date() else "yesterday"
        raise NotBookable(f"Of {file.public_id} only the statement of a day from {since} until {today} can tell.", field="on")
    return max(file.created_at, min(seen.now, datetime.combine(seen.on, time(12), UTC)))


def left_on(file: PaymentFile) -> date:
    return (file.downloaded_at or file.created_at).date()


def paid_by(file: PaymentFile) -> date:
    """Return the first day at whose end the bank has paid a file that reached it: the day it names, or the day after it was fetched, which
    may have been too late for that day's payments, each put off to a day on which banks pay.
    """
    country = file.debtor.get("iban", "")[:2] or file.debtor["country"]
    return calendars.bank_day(max(file.execute_on, left_on(file) + calendars.A_DAY), country=country)


def free(file: PaymentFile, lines: QuerySet[PaymentFileLine], seen: Seen) -> int:
    """Drop those of these lines of which nobody knows how they end; return how many.  Locks their payouts by id.

    Raises NotBookable for the statement of a day that is not over, or before the bank had to pay (`paid_by`).
    """
    moment_of(file, seen, since=paid_by(file), until=seen.now.date() - calendars.A_DAY)
    waiting = lines.filter(OPEN)
    payouts = Payout.objects.select_for_update(no_key=True).filter(pk__in=waiting.values("payout_id"), status=PayoutStatus.EXECUTING)
    locked = list(payouts.order_by("pk").values_list("pk", flat=True))
    why = f"Not in the statement of {seen.on}: {seen.reason}"
    freed = waiting.filter(payout__in=locked).update(dropped_at=seen.now, dropped_why=why, freed_by=seen.actor)
    if freed:
        told_of(file, seen)
    return freed


def told_of(file: PaymentFile, seen: Seen) -> None:
    """Move a locked file on, so that nobody fetches it again: what was paid must not be sent twice."""
    file_answers.move_on(file, unpaid=file.lines.filter(file_answers.NOT_PAID).count(), reason=seen.reason)
