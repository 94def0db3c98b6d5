"""What a wallet's sales came to month by month: net sales, after our fees, refunds and disputes.  Payouts and what was written off
are not counted.

Sums of what nobody can add to any more are kept (MonthlyFigures), up to a position in the movements; what came after it is added up when
somebody asks.  So a page costs the same at ten movements and at a million, and is right even if nobody kept sums for a day.  `keep_sums`
is called by beat.  Months are those of months.py.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from ledger import seek
from wallet import months
from wallet.models import MonthlyPosition, Wallet, WalletEntry
from wallet.months import LONGER_THAN_ANY_WRITER, Month

POSITION = "monthly_figures"
MOVEMENTS_AT_ONCE = 100_000
Kind = WalletEntry.Kind
NOT_SALES = [kind.value for kind in (Kind.PAYOUT, Kind.PAYOUT_RETURN, Kind.WRITE_OFF, Kind.CONVERSION)]

KEEP = """
INSERT INTO wallet_monthlyfigures (wallet_id, month, currency, net)
SELECT wallet_id, date_trunc('month', created_at AT TIME ZONE %(zone)s)::date, currency, sum(net) FROM wallet_walletentry
WHERE id >= %(since)s AND id < %(until)s AND kind <> ALL(%(not_sales)s) GROUP BY 1, 2, 3 ORDER BY 1, 2
ON CONFLICT (wallet_id, month) DO UPDATE SET net = wallet_monthlyfigures.net + excluded.net
"""

# One statement, so that position, kept sums and the movements after it are of one moment.
SUMS = """
SELECT wallet_id, month, sum(net) FROM (
    SELECT wallet_id, month, net FROM wallet_monthlyfigures WHERE wallet_id = ANY(%(wallets)s) AND month >= %(first_day)s
    UNION ALL
    SELECT wallet_id, date_trunc('month', created_at AT TIME ZONE %(zone)s)::date, net FROM wallet_walletentry
    WHERE wallet_id = ANY(%(wallets)s) AND id >= coalesce((SELECT next_id FROM wallet_monthlyposition), 0)
      AND created_at >= %(since)s AND kind <> ALL(%(not_sales)s)
) AS each GROUP BY 1, 2
"""


def last_months(now: datetime, *, count: int) -> list[Month]:
    """Return so many months up to the one of that moment, oldest first."""
    found = [months.of(now)]
    while len(found) < count:
        found.append(found[-1].previous)
    return found[::-1]


def net_sales(wallets: Sequence[Wallet], wanted: Sequence[Month]) -> dict[int, list[Decimal]]:
    """Return, for each wallet's id, what its sales came to in each of the months, which follow one another.  One statement, and no lock."""
    first = wanted[0]
    asked: dict[str, Any] = {"wallets": [wallet.pk for wallet in wallets], "first_day": first.first_day, "since": first.since}
    with connection.cursor() as cursor:
        cursor.execute(SUMS, asked | {"zone": timezone.get_default_timezone_name(), "not_sales": NOT_SALES})
        found = {(wallet, month): net for wallet, month, net in cursor.fetchall()}
    return {wallet.pk: [found.get((wallet.pk, month.first_day), Decimal(0)) for month in wanted] for wallet in wallets}


@transaction.atomic(durable=True)
def keep_sums(*, now: datetime) -> int:
    """Add the next movements that are older than any writer lives to the kept sums; return how many ids that were, 0 when there are none.

    Call again until it returns 0.  Locks the position; returns 0 at once while somebody else holds it.  `now` is true time.
    """
    MonthlyPosition.objects.get_or_create(name=POSITION)
    position = MonthlyPosition.objects.select_for_update(skip_locked=True, no_key=True).first()
    if position is None:
        return 0
    since = position.next_id
    until = min(since + MOVEMENTS_AT_ONCE, seek.first_id_since(WalletEntry, "created_at", now - LONGER_THAN_ANY_WRITER))
    if until <= since:
        return 0
    with connection.cursor() as cursor:
        limits = {"since": since, "until": until}
        cursor.execute(KEEP, limits | {"zone": timezone.get_default_timezone_name(), "not_sales": NOT_SALES})
    position.next_id = until
    position.save(update_fields=["next_id"])
    return until - since
