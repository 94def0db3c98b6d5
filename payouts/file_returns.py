"""Payouts by file whose money came back: the bank's statement shows it, days after its answer, and a person records it here.

Whoever reads the statement names the payout, the day and why; the seller has the money again.  Of a payout that was paid twice, what comes
back first is the second payment, which no seller gets (paid_twice.py).  Providers that can be asked are watched by the machine instead
(executor.watch_returns).
"""

from datetime import UTC, date, datetime, time

from django.db import transaction
from django.db.models import QuerySet

from ledger import transitions
from ledger.approvals import MakerMayNotApprove, require_reason
from payouts import file_answers, paid_twice, requests, settlement, wording
from payouts.models import PaymentFile, PaymentFileLine, Payout
from payouts.providers.bank_file import BankFile
from payouts.settlement import NotBookable
from payouts.states import PayoutStatus

CODES = tuple(wording.REASONS)
NOT_SAID = "declined"


@transaction.atomic(durable=True)
def came_back(payout_id: int, *, on: date, code: str, actor: str, reason: str, now: datetime) -> Payout:
    """Record that the money of a payout was on our account again that day, because of `code` (CODES), as `actor` saw and says why.

    One whose file the bank has not answered counts as paid and sent back, and nobody fetches that file again; of one that was paid twice,
    the second payment came back, and the payout stays what it is.  Locks the file, the payout, then the wallet.  Raises ReasonMissing,
    MakerMayNotApprove (whoever fetched the file: the money can be paid out again), and NotBookable for a payout that was not in a file that
    left, or in several of which nobody knows which paid it, that came to another end, and for a day on which it cannot have come back.
    """
    require_reason(reason, field="reason")
    if code not in CODES:
        raise NotBookable(f"There is no reason {code!r}; there are {', '.join(CODES)}.", field="code")
    transitions.by(actor, reason=reason)
    file = locked(sent_in(Payout.objects.get(pk=payout_id)))
    if file is not None and transitions.is_same_person(actor, file.downloaded_by):
        raise MakerMayNotApprove(f"You fetched {file.public_id} yourself. Somebody else must say what came back.")
    payout = settlement.lock(payout_id)
    again = paid_twice.still_out(payout)
    if again is not None and again.again_entry is not None:
        at = moment_of(on, payout, since=again.again_entry.happened_at, now=now)
        paid_twice.call_back(again, payout, code=code, message=reason, at=at)
        if payout.status == PayoutStatus.SUCCESS:
            requests.keep(payout, actor=actor, reason=reason)
        return payout
    if file is None or payout.status not in (PayoutStatus.EXECUTING, PayoutStatus.SUCCESS):
        raise NotBookable(f"{payout.public_id} is {payout.status}: only what went to the bank in a file, or was paid by one, comes back.")
    require_one_file(payout)
    at = moment_of(on, payout, since=payout.paid_at or file.created_at, now=now)
    reference = file.message_id if payout.status == PayoutStatus.EXECUTING else payout.provider_reference
    settlement.returned(payout, provider_reference=reference, code=code, message=reason, returned_at=at)
    file_answers.move_on(file, unpaid=file.lines.filter(file_answers.NOT_PAID).count(), reason=reason)
    return payout


def locked(file: PaymentFile | None) -> PaymentFile | None:
    return PaymentFile.objects.select_for_update(no_key=True).get(pk=file.pk) if file else None


def moment_of(on: date, payout: Payout, *, since: datetime, now: datetime) -> datetime:
    """Return a moment of that day at which a payout that left then can have come back.  Raises NotBookable if there is none."""
    if not since.date() <= on <= now.date():
        raise NotBookable(f"{payout.public_id} can have come back from {since.date()} until today.", field="on")
    return max(since, min(now, datetime.combine(on, time(12), UTC)))


def sent_in(payout: Payout) -> PaymentFile | None:
    """Return the latest file that left with the payout in it; None if none did, or if it does not go by file."""
    if payout.provider != BankFile.name:
        return None
    line = lines_that_left(payout).order_by("-file").first()
    return line.file if line else None


def lines_that_left(payout: Payout) -> QuerySet[PaymentFileLine]:
    lines = PaymentFileLine.objects.filter(file_answers.SENT, payout=payout.pk, file__downloaded_at__isnull=False)
    return lines.select_related("file")


def require_one_file(payout: Payout) -> None:
    """Raise NotBookable for a payout of which nobody knows by which of several files it was paid: another may pay it still."""
    left = [line.file.public_id for line in lines_that_left(payout).order_by("file")]
    if payout.status == PayoutStatus.EXECUTING and len(left) > 1:
        said = f"{payout.public_id} left in {' and in '.join(left)}. Say first, at its line of the right file, that the statement shows it as paid."
        raise NotBookable(said)


def may_come_back(payout: Payout) -> bool:
    may = payout.status in (PayoutStatus.EXECUTING, PayoutStatus.SUCCESS) and sent_in(payout) is not None
    return may or paid_twice.still_out(payout) is not None
