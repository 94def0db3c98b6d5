"""Write-offs: what a seller owes us and will not pay is our loss, and the wallet stands at nothing again.

A wallet is below zero after refunds and disputes of what was paid out before.  Two people write that off (ledger/approvals.py): one entry, and
one movement, whose reference and source are the approval's id.
"""

from datetime import datetime

from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import text, zero
from wallet import balances
from wallet.balances import Change, Figures
from wallet.models import WalletEntry


class NothingOwed(DomainError):
    code = "nothing_owed"


def write_off(seller_id: int, amount: Money, *, reference: str, memo: str, now: datetime) -> int:
    """Take the loss of what the seller owes; return the id of the journal entry.

    Inside the caller's transaction.  Locks the wallet.  Raises NothingOwed (the seller owes less than this), UnknownWallet.
    """
    owed = owed_in(balances.lock(seller_id, currency=amount.currency.code))
    if not zero(amount.currency.code) < amount <= owed:
        raise NothingOwed(
            f"The seller owes {text(owed)} {owed.currency}: {text(amount)} {amount.currency} cannot be written off.", field="part"
        )
    journal.open_accounts([chart.write_offs()], currency=amount.currency.code)
    [entry] = journal.post([draft_of(seller_id, amount, reference=reference, memo=memo, now=now)])
    nothing = zero(amount.currency.code)
    movement = Change(seller_id, entry, WalletEntry.Kind.WRITE_OFF, reference, amount, nothing, nothing, available=amount, reserved=nothing)
    balances.change([movement])
    return entry


def owed_in(wallet: Figures) -> Money:
    """Return what the seller owes us: what is below zero and is not covered by what is pending or held back."""
    worth = wallet.pending + wallet.available + wallet.reserved
    return -worth if worth.amount < 0 else zero(worth.currency.code)


def draft_of(seller_id: int, amount: Money, *, reference: str, memo: str, now: datetime) -> Draft:
    """The entry of one write-off: the loss is ours, and the seller owes us so much less."""
    return Draft(
        kind=JournalEntry.Kind.WRITE_OFF,
        reference=reference,
        memo=memo,
        effective_at=now,
        debits=[(chart.write_offs(), amount)],
        credits=[(chart.seller_available(seller_id), amount)],
    )
