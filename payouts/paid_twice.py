"""Payouts that two payment files paid: a file that the bank had refused was paid after all, after the next one had its payouts.

If what the first had paid came back meanwhile, the seller has it again: then the second payment is the seller's, and is taken off the seller
as the first was.  Else it is nobody's but ours.  It stands on `paid_twice` until it comes back, and the first return of such a payout is
taken for it: the seller keeps one payment, and gets nothing more.  So the same payments and returns leave the same money, in whichever order
they become known.  Called with the payout locked (settlement.lock), inside the caller's transaction.
"""

from datetime import datetime

from django.db.models import F

from ledger import chart, journal
from payouts import pain002, payout_entries, settlement
from payouts.models import PaymentFile, PaymentFileLine, Payout
from payouts.states import PayoutStatus
from wallet import balances

CALL_BACK = "Call it back there, or it is paid twice."
PUT_ASIDE = "Put that file aside: it cannot be fetched any more."


def pay_again(payout: Payout, file: PaymentFile, *, at: datetime) -> bool:
    """Book that the file paid a payout which something else had paid; False if it is its first payment, or that is booked already.

    One that had come back is paid again, and taken off its seller again, below zero if need be.
    """
    line = PaymentFileLine.objects.get(file=file, payout=payout)
    if line.again_entry_id is not None or not is_paid_by_another(payout, file):
        return False
    if payout.status == PayoutStatus.RETURNED:
        [line.again_entry_id] = journal.post([payout_entries.paid_anew(payout, file, at=at)])
        [line.again_wallet_entry_id] = balances.change([payout_entries.taken(payout, line.again_entry_id)])
        payout.paid_at = at
        settlement.finish(payout, PayoutStatus.SUCCESS, provider_reference=payout.provider_reference)
    else:
        journal.open_accounts([chart.paid_twice()], currency=payout.amount.currency.code)
        [line.again_entry_id] = journal.post([payout_entries.paid_again(payout, file, at=at)])
    line.save(update_fields=["again_entry", "again_wallet_entry"])
    return True


def is_paid_by_another(payout: Payout, file: PaymentFile) -> bool:
    return payout.status in (PayoutStatus.SUCCESS, PayoutStatus.RETURNED) and payout.provider_reference != file.message_id


def call_back(line: PaymentFileLine, payout: Payout, *, code: str, message: str, at: datetime) -> None:
    """Book that the payment came back which `still_out` has named: ours if it was a second one, else available to the seller again."""
    if line.again_wallet_entry_id is None:
        [line.again_return_entry_id] = journal.post([payout_entries.called_back(payout, line.file, at=at)])
    else:
        [line.again_return_entry_id] = journal.post([payout_entries.came_back_anew(payout, line.file, at=at)])
        [line.again_return_wallet_entry_id] = balances.change([payout_entries.put_back(payout, line.again_return_entry_id)])
        settlement.finish(payout, PayoutStatus.RETURNED, provider_reference=payout.provider_reference, code=code, message=message)
    line.save(update_fields=["again_return_entry", "again_return_wallet_entry"])


def still_out(payout: Payout) -> PaymentFileLine | None:
    """Return the line whose file paid the payout again, as long as that has not come back, those that are ours first; None if there is none."""
    lines = PaymentFileLine.objects.filter(payout=payout.pk, again_entry__isnull=False, again_return_entry=None)
    return lines.select_related("file", "again_entry").order_by(F("again_wallet_entry").asc(nulls_first=True), "file").first()


def warning_of(line: PaymentFileLine) -> str:
    """Return what a person must do about a payout that the file of the line paid, and another one paid or may pay, too; nothing if none."""
    payout, file = line.payout, line.file
    if line.again_entry_id is not None and line.again_wallet_entry_id is None and line.again_return_entry_id is None:
        return f"It was paid by another file, too: {payout.provider_reference}. Ask the bank to call one of them back."
    is_paid_here = payout.status == PayoutStatus.SUCCESS and payout.provider_reference == file.message_id
    other = other_file_of(payout, than=file) if is_paid_here else None
    if other is None:
        return ""
    return f"It was paid, and is in {other.public_id}, too. {CALL_BACK if other.downloaded_at else PUT_ASIDE}"


def other_file_of(payout: Payout, *, than: PaymentFile) -> PaymentFile | None:
    """Return the other file in which the payout is now, unless that paid or refused it; None if none but this one names it."""
    lines = PaymentFileLine.objects.filter(payout=payout.pk, dropped_at=None, again_entry=None).exclude(file=than)
    line = lines.exclude(bank_status=pain002.REFUSED_CODE).select_related("file").first()
    return line.file if line else None
