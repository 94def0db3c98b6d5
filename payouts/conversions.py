"""Conversions for payouts: a seller with a payout currency is paid out in it, and what is available in others is converted into it first.

At the rates of the moment, above what always stays in a wallet as agreed (`keep_back`).  Asking for a payout converts in the transaction that
grants it; before a run, whoever it is about to pay is converted a few hundred at a time, so that the run itself stays as it is.  Where a rate
is missing or stale, that wallet waits, and everything else goes on.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from djmoney.money import Money

from ledger.errors import DomainError
from ledger.money import TooLarge, minor_units, zero
from ledger.statements import execute
from payouts import choice, terms
from payouts.choice import Which
from payouts.models import PayoutCurrency
from wallet import balances, conversions, rates
from wallet.conversions import Wish
from wallet.models import Conversion, Seller, Wallet
from wallet.rates import NoRate, StaleRate

logger = logging.getLogger(__name__)

AT_ONCE = 500
MOST_IN_A_TASK = 10_000  # conversions: some 200 a second on a busy machine, and a task has 90 s (config/celery.py)
BY_PAYOUT = "payout"  # who asked for a conversion that a payout made

# The sellers whom the run would pay if they had enough, and who have money in another currency; found as the run finds its own.
DUE = f"""
WITH seen AS (
    SELECT DISTINCT wallet.seller_id, 0::numeric AS available FROM payouts_payoutcurrency AS chosen
    JOIN wallet_seller AS seller ON seller.id = chosen.seller_id
    JOIN wallet_wallet AS wallet ON wallet.seller_id = chosen.seller_id AND wallet.currency = %(sold)s AND wallet.available > 0
    WHERE seller.shop_id = %(shop)s AND chosen.currency = %(currency)s
), considered AS ({choice.CONSIDERED})
SELECT seller_id FROM considered WHERE why_not IN ('nothing_available', 'below_minimum') AND seller_id > %(after)s
ORDER BY seller_id LIMIT %(limit)s
"""  # noqa: S608 (constants)

FOREIGN = """
SELECT DISTINCT wallet.currency FROM payouts_payoutcurrency AS chosen
JOIN wallet_seller AS seller ON seller.id = chosen.seller_id
JOIN wallet_wallet AS wallet ON wallet.seller_id = chosen.seller_id AND wallet.currency <> chosen.currency AND wallet.available > 0
WHERE seller.shop_id = %s AND chosen.currency = %s ORDER BY 1
"""

KEPT = """
SELECT wanted.id, coalesce(own.keep_back, of_all.keep_back) FROM json_to_recordset(%s) AS wanted (id bigint, shop_id bigint, currency text)
LEFT JOIN payouts_payoutschedule AS own ON own.seller_id = wanted.id AND (own.shop_id, own.currency) = (wanted.shop_id, wanted.currency)
LEFT JOIN payouts_payoutschedule AS of_all
    ON of_all.seller_id IS NULL AND (of_all.shop_id, of_all.currency) = (wanted.shop_id, wanted.currency)
WHERE coalesce(own.keep_back, of_all.keep_back) > 0
"""

WAITING = """
SELECT chosen.currency, wallet.currency, count(*), sum(wallet.available) FROM payouts_payoutcurrency AS chosen
JOIN wallet_wallet AS wallet ON wallet.seller_id = chosen.seller_id AND wallet.currency <> chosen.currency AND wallet.available > 0
WHERE chosen.currency <> '' GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Money that cannot be converted now, and why: there is no rate, or it is too old."""

    amount: Money
    why_not: DomainError


@dataclass(frozen=True, slots=True)
class Expected:
    """What conversions would bring into a wallet before a payout now, and what of other wallets waits."""

    amount: Money
    waiting: Sequence[Waiting] = ()


# --- The currency that a seller is paid out in ----------------------------------------------------------------------


def chosen_by(seller: Seller) -> str:
    """Return the currency that the seller is paid out in; empty if each is paid out as it is."""
    found = PayoutCurrency.objects.filter(seller=seller).values_list("currency", flat=True).first()
    return found or ""


@transaction.atomic
def choose(seller: Seller, currency: str, *, by: str, now: datetime) -> PayoutCurrency:
    """Pay the seller out in that currency from now on, in a wallet that is opened for it; an empty one: each as it is.  Raises UnknownCurrency."""
    if currency:
        minor_units(currency)
        balances.open_wallets([seller.pk], currency=currency)
    said = {"currency": currency, "chosen_by": by, "chosen_at": now}
    chosen, _is_new = PayoutCurrency.objects.update_or_create(seller=seller, defaults=said)
    return chosen


# --- Asked for ------------------------------------------------------------------------------------------------------


def convert(seller: Seller, wish: Wish, *, now: datetime) -> Conversion:
    """Convert what somebody asks for, but nothing of what always stays in the wallet.  Raises what `wallet.conversions.convert` raises."""
    kept = terms.of(seller, wish.amount.currency.code).keep_back
    return conversions.convert(seller, wish, kept=kept, now=now)


def most(wallet: Wallet) -> Money:
    """Return what of the wallet may be converted."""
    spare = wallet.available - terms.of(wallet.seller, wallet.available.currency.code).keep_back
    return max(spare, zero(spare.currency.code))


# --- Before a payout ------------------------------------------------------------------------------------------------


def expected(seller: Seller, currency: str, *, now: datetime) -> Expected:
    """Return what a payout in that currency, asked for now, would convert first.  Nothing is locked: it may be otherwise then."""
    total, waiting = zero(currency), []
    if chosen_by(seller) != currency:
        return Expected(total)
    for wallet in (
        Wallet.objects.filter(seller=seller, available__gt=0).exclude(currency=currency).select_related("seller").order_by("currency")
    ):
        spare = most(wallet)
        try:
            total += conversions.quote(spare, currency, now=now).bought
        except (NoRate, StaleRate) as error:
            if spare:
                waiting.append(Waiting(spare, error))
        except (conversions.NotConvertible, TooLarge):
            continue
    return Expected(total, waiting)


def hold_wallets(seller: Seller) -> None:
    """Lock all wallets of the seller, by ascending id."""
    conversions.lock([seller.pk])


def convert_for(seller: Seller, currency: str, *, now: datetime) -> list[Conversion]:
    """Convert what the seller has in other currencies, if it is paid out in this one, inside the caller's transaction.

    What has no rate, or a stale one, stays where it is.  Locks all wallets of the seller by ascending id.
    """
    if chosen_by(seller) != currency:
        return []
    held = conversions.lock([seller.pk])
    made = []
    for sold in sorted(code for (_seller, code), available in held.items() if code != currency and available > 0):
        try:
            pair = rates.pair(sold, currency, now=now)
        except (NoRate, StaleRate) as error:
            logger.warning("%s of seller %s waits: %s", sold, seller.pk, error)
        else:
            made += conversions.sell_all([seller], pair, kept=kept_of([seller], sold), requested_by=BY_PAYOUT, now=now)
    return made


def convert_due(which: Which, *, now: datetime) -> int:
    """Convert what those whom a run is about to pay have in other currencies; return how many conversions that were.

    A few hundred sellers to a transaction, each of which stands by itself: whoever dies in between leaves the rest to the next one, and
    what was converted is not converted again.  A currency without a rate, or with a stale one, waits.
    """
    return sum(batches(which, now=now))


def convert_some(which: Which, *, now: datetime) -> bool:
    """Convert as `convert_due` does, no more than a task has time for; return whether nothing is left, so that the run may follow."""
    made = 0
    for count in batches(which, now=now):
        made += count
        if made >= MOST_IN_A_TASK:
            return False
    return True


def batches(which: Which, *, now: datetime) -> Iterator[int]:
    """Convert what is due, a few hundred sellers to a transaction; yield how many conversions each has made."""
    for sold in foreign(which):
        try:
            pair = rates.pair(sold, which.currency, now=now)
        except (NoRate, StaleRate) as error:
            logger.warning("%s of sellers of shop %s waits: %s", sold, which.shop_id, error)
            continue
        asked = choice.asked_of(which, now=now) | {"sold": sold, "limit": AT_ONCE}
        after = 0
        while sellers := due(asked | {"after": after}):
            yield len(sell(sellers, pair, now=now))
            after = sellers[-1].pk


def foreign(which: Which) -> list[str]:
    """Return the currencies in which sellers of the shop have something that is to become the run's."""
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN, [which.shop_id, which.currency])
        return [currency for (currency,) in cursor.fetchall()]


def due(asked: dict[str, Any]) -> list[Seller]:
    with connection.cursor() as cursor:
        cursor.execute(DUE, asked)
        found = [seller_id for (seller_id,) in cursor.fetchall()]
    return list(Seller.objects.filter(pk__in=found).order_by("pk"))


@transaction.atomic(durable=True)
def sell(sellers: Sequence[Seller], pair: rates.Pair, *, now: datetime) -> list[Conversion]:
    return conversions.sell_all(sellers, pair, kept=kept_of(sellers, pair.sold), requested_by=BY_PAYOUT, now=now)


def kept_of(sellers: Sequence[Seller], currency: str) -> dict[int, Money]:
    """Return what always stays in the sellers' wallets of the currency, for those of whom something does."""
    wanted = [{"id": seller.pk, "shop_id": seller.shop_id, "currency": currency} for seller in sellers]
    return {seller_id: Money(kept, currency) for seller_id, kept in execute(KEPT, wanted)}


# --- What waits -----------------------------------------------------------------------------------------------------


def waiting_for_rates(*, now: datetime) -> list[tuple[int, Waiting]]:
    """Return how many sellers' wallets wait for a rate, with what is in them together, for each pair of currencies whose rate is missing."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        found = cursor.fetchall()
    waiting = []
    for bought, sold, count, available in found:
        try:
            rates.pair(sold, bought, now=now)
        except (NoRate, StaleRate) as error:
            waiting.append((count, Waiting(Money(available, sold), error)))
    return waiting
