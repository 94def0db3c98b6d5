"""What a payout is in the books and in its seller's wallet: made, paid, put back, paid after all, paid again by another file.

Pure: rows come in, drafts of entries and changes of wallets go out.  scheduling.py writes the same by SQL for a whole run.
"""

from datetime import datetime

from ledger import chart
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import zero
from payouts.models import PaymentFile, Payout
from wallet.balances import Change
from wallet.models import WalletEntry


def made(payout: Payout, *, at: datetime) -> Draft:
    """The entry of a payout as it is made: what we owe the seller is on its way."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT,
        reference=payout.public_id,
        effective_at=at,
        debits=[(chart.seller_available(payout.seller_id), payout.amount)],
        credits=[(chart.payouts_in_transit(), payout.amount)],
    )


def paid(payout: Payout, *, at: datetime) -> Draft:
    """The entry of a payout that was paid: the money has left our bank account."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_PAID,
        reference=f"{payout.public_id}:paid",
        effective_at=at,
        debits=[(chart.payouts_in_transit(), payout.amount)],
        credits=[(chart.operating_bank(), payout.amount)],
    )


def not_paid(payout: Payout, *, at: datetime) -> Draft:
    """The entry of a payout that failed or was cancelled: we owe the seller as before."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_RETURN,
        reference=f"{payout.public_id}:return",
        effective_at=at,
        debits=[(chart.payouts_in_transit(), payout.amount)],
        credits=[(chart.seller_available(payout.seller_id), payout.amount)],
    )


def came_back(payout: Payout, *, at: datetime) -> Draft:
    """The entry of a payout that the seller's bank sent back: it is on our bank account again, and we owe it to the seller."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_RETURN,
        reference=f"{payout.public_id}:{'late_return' if payout.late_entry_id else 'return'}",
        effective_at=at,
        debits=[(chart.operating_bank(), payout.amount)],
        credits=[(chart.seller_available(payout.seller_id), payout.amount)],
    )


def paid_after_all(payout: Payout, *, at: datetime) -> Draft:
    """The entry of a payout that was given up, put back, and paid nevertheless: the seller has the money."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT,
        reference=f"{payout.public_id}:late",
        effective_at=at,
        debits=[(chart.seller_available(payout.seller_id), payout.amount)],
        credits=[(chart.operating_bank(), payout.amount)],
    )


def paid_again(payout: Payout, file: PaymentFile, *, at: datetime) -> Draft:
    """The entry of a payout that a second file paid: the money has left our bank account, and is ours."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_PAID,
        reference=f"{payout.public_id}:{file.public_id}",
        effective_at=at,
        debits=[(chart.paid_twice(), payout.amount)],
        credits=[(chart.operating_bank(), payout.amount)],
    )


def paid_anew(payout: Payout, file: PaymentFile, *, at: datetime) -> Draft:
    """The entry of a payout that came back and was paid by another file then: the seller has the money after all."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT,
        reference=f"{payout.public_id}:{file.public_id}",
        effective_at=at,
        debits=[(chart.seller_available(payout.seller_id), payout.amount)],
        credits=[(chart.operating_bank(), payout.amount)],
    )


def came_back_anew(payout: Payout, file: PaymentFile, *, at: datetime) -> Draft:
    """The entry of a payout that came back once more, after another file had paid it: we owe it to the seller again."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_RETURN,
        reference=f"{payout.public_id}:{file.public_id}:return",
        effective_at=at,
        debits=[(chart.operating_bank(), payout.amount)],
        credits=[(chart.seller_available(payout.seller_id), payout.amount)],
    )


def called_back(payout: Payout, file: PaymentFile, *, at: datetime) -> Draft:
    """The entry of a second payment that came back: it is on our bank account again, and nobody else's."""
    return Draft(
        kind=JournalEntry.Kind.PAYOUT_RETURN,
        reference=f"{payout.public_id}:{file.public_id}:return",
        effective_at=at,
        debits=[(chart.operating_bank(), payout.amount)],
        credits=[(chart.paid_twice(), payout.amount)],
    )


def taken(payout: Payout, journal_entry_id: int) -> Change:
    """What the payout takes off its seller's available balance."""
    return change(payout, journal_entry_id, kind=WalletEntry.Kind.PAYOUT, sign=-1)


def put_back(payout: Payout, journal_entry_id: int) -> Change:
    """What a payout that came to nothing gives its seller again: what it took."""
    return change(payout, journal_entry_id, kind=WalletEntry.Kind.PAYOUT_RETURN, sign=1)


def change(payout: Payout, journal_entry_id: int, *, kind: str, sign: int) -> Change:
    nothing, moved = zero(payout.amount.currency.code), sign * payout.amount
    return Change(
        payout.seller_id,
        journal_entry_id,
        kind,
        payout.public_id,
        gross=moved,
        fee=nothing,
        pending=nothing,
        available=moved,
        reserved=nothing,
    )
