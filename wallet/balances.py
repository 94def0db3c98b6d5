"""Wallet balances: the only writer of wallets and their entries.

Each movement names the journal entry that says the same in the books; both are written by one transaction.  Wallets are locked by
ascending id, each once, however many movements it gets, so that batches never deadlock and a busy seller is the fastest case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.statements import execute
from wallet.models import WalletEntry


class UnknownWallet(DomainError):
    code = "unknown_wallet"


@dataclass(frozen=True, slots=True)
class Movement:
    """What one fact brings a seller, or takes back: the journal entry that says so, and gross - fee = net, all in one currency."""

    seller_id: int
    journal_entry_id: int
    source: str
    gross: Money
    fee: Money
    net: Money


MOVE = """
WITH movement AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS movement (seller_id bigint, journal_entry_id bigint, kind text, source text,
        gross numeric, fee numeric, net numeric, currency text)
), locked AS MATERIALIZED (
    SELECT id, seller_id, currency FROM wallet_wallet
    WHERE (seller_id, currency) IN (SELECT seller_id, currency FROM movement)
    ORDER BY id FOR NO KEY UPDATE
), entry AS (
    INSERT INTO wallet_walletentry (wallet_id, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved, currency)
    SELECT locked.id, kind, source, journal_entry_id, gross, fee, net, net, 0, 0, currency
    FROM movement JOIN locked USING (seller_id, currency)
    RETURNING id, wallet_id, journal_entry_id, pending
), moved AS (
    UPDATE wallet_wallet SET pending = wallet_wallet.pending + total
    FROM (SELECT wallet_id, sum(pending) AS total FROM entry GROUP BY wallet_id) AS brought
    WHERE id = wallet_id
)
SELECT journal_entry_id, id FROM entry
"""

WITHOUT_WALLET = """
SELECT seller_id FROM json_to_recordset(%s) AS wanted (seller_id bigint, currency text)
WHERE NOT EXISTS (SELECT FROM wallet_wallet AS wallet WHERE wallet.seller_id = wanted.seller_id AND wallet.currency = wanted.currency)
"""

OPEN = """
INSERT INTO wallet_wallet (seller_id, currency, pending, available, reserved)
SELECT seller_id, currency, 0, 0, 0 FROM json_to_recordset(%s) AS wallet (seller_id bigint, currency text) ORDER BY seller_id
ON CONFLICT (seller_id, currency) DO NOTHING
"""


def credit(movements: Sequence[Movement]) -> list[int]:
    """Add each net amount to its seller's pending balance; return the ids of the wallet entries, in the order of the movements.

    Locks the wallets by ascending id.  Runs inside the caller's transaction: one statement for any number of movements, each of a journal
    entry of its own.  Raises UnknownWallet for a seller who has none in that currency.
    """
    return move([row_of(movement, kind=WalletEntry.Kind.SALE) for movement in movements])


def debit(movements: Sequence[Movement]) -> list[int]:
    """Take each net amount (positive) back from its seller's pending balance, as `credit` adds it: the exact reverse.

    Postgres refuses to take more than is pending (IntegrityError).
    """
    reversed_movements = [
        Movement(
            movement.seller_id,
            movement.journal_entry_id,
            movement.source,
            gross=-movement.gross,
            fee=-movement.fee,
            net=-movement.net,
        )
        for movement in movements
    ]
    return move([row_of(movement, kind=WalletEntry.Kind.REFUND) for movement in reversed_movements])


def row_of(movement: Movement, *, kind: str) -> dict[str, Any]:
    return {
        "seller_id": movement.seller_id,
        "journal_entry_id": movement.journal_entry_id,
        "kind": kind,
        "source": movement.source,
        "gross": movement.gross.amount,
        "fee": movement.fee.amount,
        "net": movement.net.amount,
        "currency": movement.net.currency.code,
    }


def move(rows: Sequence[dict[str, Any]]) -> list[int]:
    ids = dict(execute(MOVE, rows))
    if len(ids) != len(rows):
        lost = [row for row in rows if row["journal_entry_id"] not in ids]
        raise UnknownWallet(f"{len(lost)} of {len(rows)} movements name a seller without a wallet in their currency, such as {lost[:1]}.")
    return [ids[row["journal_entry_id"]] for row in rows]


def open_wallets(seller_ids: Iterable[int], *, currency: str) -> None:
    """Make sure that each seller has a wallet in the currency, and its accounts in the books.  Inside the caller's transaction."""
    missing = [seller_id for (seller_id,) in execute(WITHOUT_WALLET, wanted(seller_ids, currency=currency))]
    if missing:
        kinds = (chart.seller_pending, chart.seller_available, chart.seller_reserved)
        journal.open_accounts([account(seller_id) for seller_id in missing for account in kinds], currency=currency)
        execute(OPEN, wanted(missing, currency=currency))


def wanted(seller_ids: Iterable[int], *, currency: str) -> list[dict[str, Any]]:
    return [{"seller_id": seller_id, "currency": currency} for seller_id in sorted(set(seller_ids))]
