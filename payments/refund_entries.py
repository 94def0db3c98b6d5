"""What money that goes back - a refund, one that came back, a charge that came too late - is in the books and in the seller's wallet.

Pure: rows come in, drafts of entries and changes of wallets go out.  A refund of a late charge concerns no seller, nor does one of a payment
that filled a gift card or a wallet.
"""

from collections.abc import Sequence
from datetime import datetime

from ledger import chart
from ledger.journal import Draft, Leg
from ledger.models import JournalEntry
from ledger.money import zero
from payments import unreleased
from payments.models import LateCharge, Refund
from payments.unreleased import Parts
from wallet.balances import Change
from wallet.models import WalletEntry


def give_back(refund: Refund, parts: Parts, *, to_tenders: Sequence[Leg], refunded_at: datetime) -> Draft:
    """The entry of one refund: the seller bears the net (`parts`), we give our part of the fee back, and bear the rest.

    The PSP owes us less, and we owe more for gift cards and wallets (`to_tenders`).
    """
    order = refund.order
    return Draft(
        kind=JournalEntry.Kind.REFUND,
        reference=refund.public_id,
        effective_at=refunded_at,
        debits=[
            *unreleased.taken(order, parts),
            (chart.fee_revenue(), refund.fee),
            (chart.dispute_losses(), refund.borne),
        ],
        credits=[(chart.psp_receivable(order.psp), refund.charged_back), *to_tenders],
    )


def taken_back(refund: Refund, journal_entry_id: int, parts: Parts) -> Change:
    """What the refund takes from its seller."""
    return Change(
        refund.order.seller_id,
        journal_entry_id,
        WalletEntry.Kind.REFUND,
        refund.public_id,
        gross=refund.borne - refund.amount,
        fee=-refund.fee,
        pending=parts.pending,
        available=parts.available,
        reserved=zero(refund.amount.currency.code),
    )


def came_back(refund: Refund, parts: Parts, *, from_tenders: Sequence[Leg], at: datetime) -> Draft:
    """The entry of a refund that came back: the reverse of the one that gave the money away, on the seller's figures as they are now.

    What gift cards and wallets had got comes from them again (`from_tenders`).
    """
    order = refund.order
    return Draft(
        kind=JournalEntry.Kind.REFUND_REVERSAL,
        reference=reversal_of(refund),
        effective_at=at,
        debits=[(chart.psp_receivable(order.psp), refund.charged_back), *from_tenders],
        credits=[
            *unreleased.given(order, parts),
            (chart.fee_revenue(), refund.fee),
            (chart.dispute_losses(), refund.borne),
        ],
    )


def restored(refund: Refund, journal_entry_id: int, parts: Parts) -> Change:
    """What a refund that came back gives its seller again: what it took."""
    return Change(
        refund.order.seller_id,
        journal_entry_id,
        WalletEntry.Kind.REFUND_REVERSAL,
        refund.public_id,
        gross=refund.amount - refund.borne,
        fee=refund.fee,
        pending=parts.pending,
        available=parts.available,
        reserved=zero(refund.amount.currency.code),
    )


def bought_back(refund: Refund, account: str, *, refunded_at: datetime) -> Draft:
    """The entry of a refund of what filled a gift card or a wallet: we owe its holder less.  What is spent of it, we bear."""
    return Draft(
        kind=JournalEntry.Kind.REFUND,
        reference=refund.public_id,
        effective_at=refunded_at,
        debits=[(account, refund.net), (chart.dispute_losses(), refund.borne)],
        credits=[(chart.psp_receivable(refund.order.psp), refund.amount)],
    )


def bought_again(refund: Refund, account: str, *, at: datetime) -> Draft:
    """The entry of such a refund that came back: we owe the holder of the gift card or wallet as much as before."""
    return Draft(
        kind=JournalEntry.Kind.REFUND_REVERSAL,
        reference=reversal_of(refund),
        effective_at=at,
        debits=[(chart.psp_receivable(refund.order.psp), refund.amount)],
        credits=[(account, refund.net), (chart.dispute_losses(), refund.borne)],
    )


def owed(charge: LateCharge) -> Draft:
    """The entry of a late charge: the PSP owes us the money, and we owe it to the buyer."""
    return Draft(
        kind=JournalEntry.Kind.LATE_CHARGE,
        reference=charge.public_id,
        effective_at=charge.charged_at,
        debits=[(chart.psp_receivable(charge.psp), charge.amount)],
        credits=[(chart.owed_to_buyers(), charge.amount)],
    )


def owed_no_more(refund: Refund, *, refunded_at: datetime) -> Draft:
    """The entry of a late charge's refund: the buyer has the money again.  What a dispute had given the buyer before, we bear."""
    return Draft(
        kind=JournalEntry.Kind.REFUND,
        reference=refund.public_id,
        effective_at=refunded_at,
        debits=[(chart.owed_to_buyers(), refund.net), (chart.dispute_losses(), refund.borne)],
        credits=[(chart.psp_receivable(refund.order.psp), refund.amount)],
    )


def owed_again(refund: Refund, *, at: datetime) -> Draft:
    """The entry of a late charge's refund that came back: we owe the buyer the money as before."""
    return Draft(
        kind=JournalEntry.Kind.REFUND_REVERSAL,
        reference=reversal_of(refund),
        effective_at=at,
        debits=[(chart.psp_receivable(refund.order.psp), refund.amount)],
        credits=[(chart.owed_to_buyers(), refund.net), (chart.dispute_losses(), refund.borne)],
    )


def reversal_of(refund: Refund) -> str:
    return f"{refund.public_id}:reversal"
