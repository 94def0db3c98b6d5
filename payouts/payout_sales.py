"""What the sales in a payout come to, together and order by order: what the buyers paid, our fee, and what of the rest is in the payout.

A sale comes to the available balance by its release, which says nothing of gross and fee: they stand in the entry of the sale, which is
found by the order's id.  Nothing here writes or locks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from djmoney.money import Money

from ledger import queries as books
from payouts.models import Payout
from payouts.queries import THIS
from wallet.models import WalletEntry

# Reads the relation `released`: releases, as movements.  What became available without any sale counts as sold without a fee.
SOLD = """
    SELECT released.id, coalesce(sold.gross, released.available + released.reserved) AS gross, coalesce(sold.fee, 0) AS fee,
           released.reserved AS held, released.available
    FROM released LEFT JOIN ledger_journalentry AS sale ON sale.reference = released.source AND sale.kind = 'sale'
    LEFT JOIN LATERAL (
        SELECT sum(amount) FILTER (WHERE amount > 0) AS gross, coalesce(-sum(amount) FILTER (WHERE account.code = 'fee_revenue'), 0) AS fee
        FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id WHERE posting.entry_id = sale.id
    ) AS sold ON sale.id IS NOT NULL
"""

EACH = f"""
WITH released AS (SELECT * FROM wallet_walletentry WHERE id = ANY(%(movements)s) AND kind = 'release')
SELECT id, 1, gross, fee, gross - fee - held - available, held, available FROM ({SOLD}) AS each
"""  # noqa: S608 (a constant of this module)

TOGETHER = f"""
WITH this AS ({THIS}), released AS (
    SELECT entry.* FROM this JOIN wallet_walletentry AS entry ON entry.wallet_id = this.wallet_id AND entry.id > this.since AND entry.id < this.id
    WHERE entry.kind = 'release' AND entry.available <> 0
)
SELECT count(*), sum(gross), sum(fee), sum(gross - fee - held - available), sum(held), sum(available) FROM ({SOLD}) AS each
"""  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Sold:
    """One sale or many: gross - fee - reduced - held = available, which is in the payout.

    `reduced` is what refunds and disputes took before it became available, `held` what stays in reserve for a while.
    """

    count: int
    gross: Money
    fee: Money
    reduced: Money
    held: Money
    available: Money


def together(payout: Payout) -> Sold:
    """Return what all sales come to that are in the payout.  One statement; it reads each of them once."""
    with connection.cursor() as cursor:
        cursor.execute(TOGETHER, [payout.pk])
        return sold(cursor.fetchone(), payout.amount.currency.code)


def each_of(movements: Sequence[WalletEntry]) -> dict[int, Sold]:
    """Return, for those of these movements of one wallet that are releases, what was sold, by the movement's id."""
    with connection.cursor() as cursor:
        cursor.execute(EACH, {"movements": [movement.pk for movement in movements]})
        return {pk: sold(row, movements[0].net.currency.code) for pk, *row in cursor.fetchall()}


def sold(row: Sequence[Any], currency: str) -> Sold:
    count, *figures = row
    return Sold(count, *(books.money(figure or Decimal(0), currency) for figure in figures))
