"""Why is this my balance?  One sum per wallet: what was sold, less fees, refunds, disputes and payouts, comes to what stands there now.

All figures are of one statement, and so of one moment.  It reads every movement of the wallet once.  Nothing here writes or locks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from djmoney.money import Money

from ledger import queries as books
from wallet.models import Wallet, WalletEntry

Kind = WalletEntry.Kind

SUMS = """
SELECT wallet.pending, wallet.available, wallet.reserved, (
    SELECT coalesce(sum(amount), 0) FROM payouts_payout AS live
    WHERE live.seller_id = wallet.seller_id AND live.currency = wallet.currency AND live.status IN ('WAITING', 'EXECUTING')
), kind, entries, gross, fee, net, held
FROM wallet_wallet AS wallet LEFT JOIN (
    SELECT kind, count(*) AS entries, sum(gross) AS gross, sum(fee) AS fee, sum(net) AS net, sum(reserved) AS held
    FROM wallet_walletentry WHERE wallet_id = %(wallet)s GROUP BY kind
) AS moved ON true
WHERE wallet.id = %(wallet)s
"""

REFUNDS = (Kind.REFUND, Kind.REFUND_REVERSAL)
DISPUTES = (Kind.DISPUTE, Kind.DISPUTE_CLOSED)
PAYOUTS = (Kind.PAYOUT, Kind.PAYOUT_RETURN)
RELEASES = (Kind.RELEASE, Kind.RESERVE_RELEASE)


class BalanceDoesNotAddUp(RuntimeError):
    """The movements of a wallet do not come to what it holds (INV-03)."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A wallet from top to bottom, each amount with the sign with which it counts: the first nine come to `total`.

    `total` is pending + available + reserved; `reserve` and `in_dispute` are what of the reserved is held for which reason.
    """

    currency: str
    sales: int
    sold: Money
    fees: Money
    refunded: Money
    fees_returned: Money
    disputes: Money
    converted: Money
    other: Money
    paid_out: Money
    in_transit: Money
    total: Money
    pending: Money
    available: Money
    reserved: Money
    reserve: Money
    in_dispute: Money


def explained(wallet: Wallet) -> Explained:
    """Return the sum that explains the wallet.  Raises BalanceDoesNotAddUp."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS, {"wallet": wallet.pk})
        rows = list(cursor.fetchall())
    currency: str = wallet.currency  # type: ignore[attr-defined]
    by_kind = {row[4]: row[5:] for row in rows if row[4]}
    pending, available, reserved, live = rows[0][:4]
    gross, fee, net, held = (adder(by_kind, column) for column in (1, 2, 3, 4))
    if (total := net(*by_kind)) != pending + available + reserved:
        raise BalanceDoesNotAddUp(f"wallet {wallet.pk}: its movements come to {total} {currency}, and it holds something else")
    named = {
        "sold": gross(Kind.SALE),
        "fees": -fee(Kind.SALE),
        "refunded": gross(*REFUNDS),
        "fees_returned": -fee(*REFUNDS),
        "disputes": net(*DISPUTES),
        "converted": net(Kind.CONVERSION),
        "other": total - net(Kind.SALE, *REFUNDS, *DISPUTES, *PAYOUTS, Kind.CONVERSION),
        "paid_out": net(*PAYOUTS) + live,
        "in_transit": -live,
        "total": total,
        "pending": pending,
        "available": available,
        "reserved": reserved,
        "reserve": held(*RELEASES),
        "in_dispute": reserved - held(*RELEASES),
    }
    sales = by_kind[Kind.SALE][0] if Kind.SALE in by_kind else 0
    return Explained(currency, sales, **{name: books.money(figure, currency) for name, figure in named.items()})


def adder(by_kind: dict[str, Any], column: int) -> Callable[..., Decimal]:
    """Return a function that adds one column up over the kinds that it is given."""

    def add(*kinds: str) -> Decimal:
        return sum((by_kind[kind][column] for kind in kinds if kind in by_kind), Decimal(0))

    return add
