"""Manual entries: what finance books by hand, under the same rules as everything else and two more.

A wallet's accounts move together with the wallet or not at all, so they are closed here.  A reference that looks like one of our own ids
is refused: it would take the place of the entry that a sale or a refund posts under it later.
"""

import re

from django.db import transaction

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.journal import Draft, UnknownAccount
from ledger.models import JournalEntry

KEPT = frozenset({"payouts_in_transit", "disputed", "gift_cards", "buyer_wallet"})  # what payouts, disputes, cards and wallets account for
OUR_OWN = re.compile(r"[a-z]{2,5}_[0-9a-f]{32}(:.*)?")


class WalletAccountRefused(DomainError):
    code = "wallet_account_refused"


class SuspenseAccountRefused(DomainError):
    code = "suspense_account_refused"


class ReferenceReserved(DomainError):
    code = "reference_reserved"


@transaction.atomic(durable=True)
def post(draft: Draft) -> tuple[JournalEntry, bool]:
    """Post one manual entry; return it, and whether it is new: the same reference with the same legs answers with the entry that stands.

    Raises WalletAccountRefused, SuspenseAccountRefused, ReferenceReserved, UnknownAccount, and what `journal.post` raises.
    """
    entry_id, is_new = posted(draft)
    return JournalEntry.objects.prefetch_related("postings__account").get(pk=entry_id), is_new


def posted(draft: Draft) -> tuple[int, bool]:
    """Post one manual entry inside the caller's transaction, and otherwise as `post`; return its id, and whether it is new."""
    if OUR_OWN.fullmatch(draft.reference):
        raise ReferenceReserved(f"{draft.reference} looks like an id of this system. Use a reference of your own.", field="reference")
    for code, _amount in (*draft.debits, *draft.credits):
        require_bookable(code)
    journal.require_accounts([draft])
    is_new = not JournalEntry.objects.filter(reference=draft.reference).exists()
    [entry_id] = journal.post([draft])
    return entry_id, is_new


def require_bookable(code: str) -> None:
    """Raise UnknownAccount if the chart has no such kind of account, or for KEPT, WalletAccountRefused if it is part of a wallet.

    SuspenseAccountRefused: what stands in suspense is what the open mismatches are over, and leaves it when one is resolved.
    """
    if not chart.is_known(code):
        raise UnknownAccount(
            f"{code[:60]!r} is not an account of the chart. GET /v1/ledger/accounts lists those that are open.", field="account"
        )
    if code == chart.suspense():
        raise SuspenseAccountRefused("What stands in suspense is over mismatches. Resolve the mismatch instead.", field="account")
    if chart.kind_of(code) in KEPT:
        raise UnknownAccount(
            f"{code} is what open payouts, disputes, gift cards and buyers' wallets make of it. Book against another account.",
            field="account",
        )
    if chart.kind_of(code) in chart.WALLET_KINDS:
        raise WalletAccountRefused(
            f"{code} is part of a seller's wallet and moves only together with it. Book against another account.", field="account"
        )
