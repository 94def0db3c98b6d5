"""Wallet balances: the only writer of wallets and their entries.

Each movement names the journal entry that says the same in the books; both are written by one transaction.  Wallets are locked by
ascending id, each once, however many movements it gets, so that batches never deadlock and a busy seller is the fastest case.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from djmoney.money import Money

from ledger import chart, journal
from ledger.errors import DomainError
from ledger.statements import execute, execute_from
from wallet.models import WalletEntry


class UnknownWallet(DomainError):
    code = "unknown_wallet"


@dataclass(frozen=True, slots=True)
class Movement:
    """What one sale brings a seller: the journal entry that says so, and gross - fee = net, all in one currency."""

    seller_id: int
    journal_entry_id: int
    source: str
    gross: Money
    fee: Money
    net: Money


@dataclass(frozen=True, slots=True)
class Change:
    """What one fact changes of a wallet's three figures; they sum to net, and gross - fee = net.  Negative takes away."""

    seller_id: int
    journal_entry_id: int
    kind: str
    source: str
    gross: Money
    fee: Money
    pending: Money
    available: Money
    reserved: Money


@dataclass(frozen=True, slots=True)
class Figures:
    """A locked wallet's three figures."""

    pending: Money
    available: Money
    reserved: Money


MOVE = """
WITH movement AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS movement (seller_id bigint, journal_entry_id bigint, kind text, source text,
        gross numeric, fee numeric, pending numeric, available numeric, reserved numeric, currency text)
), locked AS MATERIALIZED (
    SELECT id, seller_id, currency FROM wallet_wallet
    WHERE (seller_id, currency) IN (SELECT seller_id, currency FROM movement)
    ORDER BY id FOR NO KEY UPDATE
), entry AS (
    INSERT INTO wallet_walletentry (wallet_id, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved, currency)
    SELECT locked.id, kind, source, journal_entry_id, gross, fee, gross - fee, pending, available, reserved, currency
    FROM movement JOIN locked USING (seller_id, currency)
    RETURNING id, wallet_id, journal_entry_id, pending, available, reserved
), moved AS (
    UPDATE wallet_wallet AS wallet SET pending = wallet.pending + brought.pending, available = wallet.available + brought.available,
        reserved = wallet.reserved + brought.reserved
    FROM (SELECT wallet_id, sum(pending) AS pending, sum(available) AS available, sum(reserved) AS reserved
          FROM entry GROUP BY wallet_id) AS brought
    WHERE id = wallet_id
)
SELECT journal_entry_id, id FROM entry
"""

MOVE_FROM = """
WITH movement AS MATERIALIZED ({rows}), locked AS MATERIALIZED (
    SELECT id, seller_id, currency FROM wallet_wallet
    WHERE (seller_id, currency) IN (SELECT seller_id, currency FROM movement)
    ORDER BY id FOR NO KEY UPDATE
), entry AS (
    INSERT INTO wallet_walletentry (id, wallet_id, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved, currency)
    SELECT movement.id, locked.id, kind, source, journal_entry_id, available, 0, available, 0, available, 0, currency
    FROM movement JOIN locked USING (seller_id, currency)
    RETURNING wallet_id, available
), moved AS (
    UPDATE wallet_wallet AS wallet SET available = wallet.available + brought.available
    FROM (SELECT wallet_id, sum(available) AS available FROM entry GROUP BY wallet_id) AS brought
    WHERE id = wallet_id
)
SELECT count(*) FROM entry
"""

NEXT_ID = "nextval(pg_get_serial_sequence('wallet_walletentry', 'id'))"

LOCK = """
SELECT pending, available, reserved FROM json_to_recordset(%s) AS wanted (seller_id bigint, currency text)
JOIN wallet_wallet AS wallet USING (seller_id, currency) FOR NO KEY UPDATE OF wallet
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
    return move([sale_row(movement) for movement in movements])


def change(changes: Sequence[Change]) -> list[int]:
    """Change the three figures of wallets as each change says; return the ids of the wallet entries, in the order of the changes.

    Locks, statements and errors are those of `credit`.  Postgres refuses to take more than is pending or reserved (IntegrityError).
    """
    return move([change_row(each) for each in changes])


def change_from(rows: str, parameters: Mapping[str, Any]) -> int:
    """Change the available balance of wallets by each row of a SELECT; return how many.  For rows that are in Postgres already; else `change`.

    A row has id (drawn by NEXT_ID), seller_id, journal_entry_id, kind, source, available (negative takes away) and currency.  Locks the
    wallets by ascending id; one statement, inside the caller's transaction.  A row whose seller has no such wallet is not counted.
    """
    return execute_from(MOVE_FROM, rows, parameters)


def lock(seller_id: int, *, currency: str) -> Figures:
    """Lock the seller's wallet and return its figures, for a caller whose legs depend on them.  Raises UnknownWallet."""
    rows = execute(LOCK, wanted([seller_id], currency=currency))
    if not rows:
        raise UnknownWallet(f"The seller has no wallet in {currency}: nothing was sold in it yet.", field="currency")
    [figures] = rows
    return Figures(*(Money(figure, currency) for figure in figures))


def sale_row(movement: Movement) -> dict[str, Any]:
    return {
        "seller_id": movement.seller_id,
        "journal_entry_id": movement.journal_entry_id,
        "kind": WalletEntry.Kind.SALE,
        "source": movement.source,
        "gross": movement.gross.amount,
        "fee": movement.fee.amount,
        "pending": movement.net.amount,
        "available": 0,
        "reserved": 0,
        "currency": movement.net.currency.code,
    }


def change_row(each: Change) -> dict[str, Any]:
    return {
        "seller_id": each.seller_id,
        "journal_entry_id": each.journal_entry_id,
        "kind": each.kind,
        "source": each.source,
        "gross": each.gross.amount,
        "fee": each.fee.amount,
        "pending": each.pending.amount,
        "available": each.available.amount,
        "reserved": each.reserved.amount,
        "currency": each.gross.currency.code,
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
