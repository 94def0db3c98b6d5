"""Payouts by file whose money came back: the bank's statement shows it, days after its answer, and a person records it here.

Whoever reads the statement names the payout, the day and why; the seller has the money again.  Providers that can be asked are watched by
the machine instead (executor.watch_returns).
"""

from datetime import UTC, date, datetime, time

from django.db import transaction

from ledger import transitions
from payouts import requests, settlement, wording
from payouts.file_answers import SENT
from payouts.models import PaymentFile, PaymentFileLine, Payout
from payouts.providers.bank_file import BankFile
from payouts.settlement import NotBookable
from payouts.states import PayoutStatus

CODES = tuple(wording.REASONS)
NOT_SAID = "declined"


@transaction.atomic(durable=True)
def came_back(payout_id: int, *, on: date, code: str, actor: str, reason: str, now: datetime) -> Payout:
    """Record that the money of a payout was on our account again that day, because of `code` (CODES), as `actor` saw and says why.

    One whose file the bank has not answered counts as paid and sent back.  Locks the payout, then the wallet.  Raises ReasonMissing, and
    NotBookable for a payout that was not in a file that left, that came to another end, and for a day on which it cannot have come back.
    """
    requests.require_reason(reason)
    if code not in CODES:
        raise NotBookable(f"There is no reason {code!r}; there are {', '.join(CODES)}.", field="code")
    transitions.by(actor, reason=reason)
    payout = settlement.lock(payout_id)
    file = sent_in(payout)
    if file is None or payout.status not in (PayoutStatus.EXECUTING, PayoutStatus.SUCCESS):
        raise NotBookable(f"{payout.public_id} is {payout.status}: only what went to the bank in a file, or was paid by one, comes back.")
    left_at = payout.paid_at or file.created_at
    if not left_at.date() <= on <= now.date():
        raise NotBookable(f"{payout.public_id} can have come back from {left_at.date()} until today.", field="on")
    at = max(left_at, min(now, datetime.combine(on, time(12), UTC)))
    reference = file.message_id if payout.status == PayoutStatus.EXECUTING else payout.provider_reference
    settlement.returned(payout, provider_reference=reference, code=code, message=reason, returned_at=at)
    return payout


def sent_in(payout: Payout) -> PaymentFile | None:
    """Return the latest file that left with the payout in it; None if none did, or if it does not go by file."""
    if payout.provider != BankFile.name:
        return None
    lines = PaymentFileLine.objects.filter(SENT, payout=payout.pk, file__downloaded_at__isnull=False)
    line = lines.select_related("file").order_by("-file").first()
    return line.file if line else None


def may_come_back(payout: Payout) -> bool:
    return payout.status in (PayoutStatus.EXECUTING, PayoutStatus.SUCCESS) and sent_in(payout) is not None
