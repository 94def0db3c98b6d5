"""Whom a payout run pays, how much, and why it passes over the others: one SELECT, which the run, its rehearsal and every list share.

It says of a seller what `queries.payable` says, for all sellers of a shop at once.  Wallets that owe us something are passed over until what
they sell has paid it back: the available balance is net already.  What is owed in another currency is kept back (debts.py).
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import queries as books
from ledger.money import text
from payouts import calendars, debts, terms
from payouts.calendars import Calendar
from payouts.models import PayoutRun, PayoutSchedule
from payouts.states import RunStatus
from payouts.terms import Terms
from wallet.sheets import harmless

MOST_SHOWN = 50
CHUNK = 2000

WHY_NOT = {
    "seller_on_hold": _("Payouts to the seller are on hold"),
    "to_be_converted": _("Waits to be converted into the seller's payout currency"),
    "no_bank_account": _("No bank account for this currency"),
    "bank_account_not_verified": _("The bank account is not verified"),
    "bank_account_on_hold": _("The bank account was changed lately and waits"),
    "nothing_available": _("Nothing is available beyond what is kept back"),
    "owed_elsewhere": _("Kept back for what the seller owes in another currency"),
    "below_minimum": _("Less than the least that is paid out"),
}

WALLETS = """
    SELECT wallet.id AS wallet_id, wallet.seller_id, wallet.available FROM wallet_wallet AS wallet
    JOIN wallet_seller AS seller ON seller.id = wallet.seller_id
    WHERE seller.shop_id = %(shop)s AND wallet.currency = %(currency)s AND wallet.available <> 0
"""
LOCKED_WALLETS = WALLETS.replace("<> 0", "> 0") + "    ORDER BY wallet.id FOR NO KEY UPDATE OF wallet\n"

# Reads the relation `seen`, one of the two above.  A seller's own schedule holds alone; the shop's, for those who have none.  Of the limit of
# approval it says what terms.py's `limited` says; the shop's, of those whom it is for, is the run's.
CONSIDERED = f"""
    SELECT seen.seller_id, seen.available, seen.available - agreed.keep_back - owed.amount AS amount, agreed.provider,
           coalesce(own.approval_limit, %(house_rate)s::numeric * CASE WHEN in_house.id IS NOT NULL THEN in_house.approval_limit
                                                                       WHEN own.id IS NOT NULL THEN %(house_limit)s::numeric END) AS approval_limit,
           account.id AS bank_account_id,
           CASE WHEN EXISTS (SELECT FROM wallet_sellerhold AS hold WHERE hold.seller_id = seen.seller_id AND hold.lifted_at IS NULL
                             AND (hold.until IS NULL OR hold.until > %(now)s)) THEN 'seller_on_hold'
                WHEN EXISTS (SELECT FROM payouts_payoutcurrency AS chosen
                             WHERE chosen.seller_id = seen.seller_id AND chosen.currency NOT IN ('', %(currency)s)) THEN 'to_be_converted'
                WHEN account.id IS NULL THEN 'no_bank_account'
                WHEN account.verified_at IS NULL THEN 'bank_account_not_verified'
                WHEN account.usable_from > %(now)s THEN 'bank_account_on_hold'
                WHEN seen.available <= agreed.keep_back THEN 'nothing_available'
                WHEN seen.available - agreed.keep_back <= owed.amount THEN 'owed_elsewhere'
                WHEN seen.available - agreed.keep_back - owed.amount < agreed.minimum THEN 'below_minimum' END AS why_not
    FROM seen
    LEFT JOIN payouts_payoutschedule AS own ON own.shop_id = %(shop)s AND own.seller_id = seen.seller_id AND own.currency = %(currency)s
    LEFT JOIN payouts_payoutschedule AS in_house ON in_house.shop_id = %(shop)s AND in_house.seller_id = seen.seller_id AND in_house.currency = %(house)s
    CROSS JOIN LATERAL (
        SELECT coalesce(own.keep_back, %(keep_back)s) AS keep_back, coalesce(own.minimum, %(minimum)s) AS minimum,
               CASE WHEN own.id IS NULL THEN %(provider)s ELSE coalesce(nullif(own.provider, ''), %(house_provider)s) END AS provider
    ) AS agreed
    CROSS JOIN LATERAL ({debts.OWED_ELSEWHERE.format(seller="seen.seller_id")}) AS owed
    LEFT JOIN payouts_bankaccount AS account
        ON account.seller_id = seen.seller_id AND account.currency = %(currency)s AND account.replaced_at IS NULL
    WHERE CASE WHEN own.id IS NULL THEN %(is_default)s
          ELSE own.interval = %(interval)s AND own.cut_off = %(cut_off)s AND own.zone = %(zone)s AND own.holidays = %(holidays)s
               AND %(day)s = CASE own.interval WHEN 'weekly' THEN own.weekday WHEN 'monthly' THEN own.month_day ELSE 1 END END
"""  # noqa: S608 (constants)

LOOK = f"WITH seen AS ({WALLETS}), considered AS ({CONSIDERED})"

EVERYBODY = f"""
{LOOK}
SELECT seller.id, seller.public_id, seller.name, available, amount, why_not
FROM considered JOIN wallet_seller AS seller ON seller.id = seller_id
WHERE seller.id > %(after)s ORDER BY seller.id LIMIT %(limit)s
"""  # noqa: S608 (constants of this module)

PASSED_OVER = f"""
{LOOK}
SELECT why_not, count(*), sum(available) FROM considered WHERE why_not IS NOT NULL GROUP BY why_not ORDER BY why_not
"""  # noqa: S608 (constants of this module)

DIFFERENCES = """
SELECT seller.public_id, seller.name, coalesce(earlier.amount, 0), coalesce(later.amount, 0)
FROM (SELECT seller_id, amount FROM payouts_payout WHERE run_id = %(earlier)s) AS earlier
FULL JOIN (SELECT seller_id, amount FROM payouts_payout WHERE run_id = %(later)s) AS later USING (seller_id)
JOIN wallet_seller AS seller ON seller.id = seller_id
WHERE coalesce(earlier.amount, 0) <> coalesce(later.amount, 0)
ORDER BY abs(coalesce(later.amount, 0) - coalesce(earlier.amount, 0)) DESC, seller.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Which:
    """Which run: of all sellers of a shop in one currency who share a calendar, for one of its periods."""

    shop_id: int
    currency: str
    calendar: Calendar
    period: str


@dataclass(frozen=True, slots=True)
class Considered:
    """A seller whom a run looks at: what it pays, or (`why_not`, a key of WHY_NOT) why it pays nothing."""

    seller_id: int
    public_id: str
    name: str
    available: Money
    amount: Money
    why_not: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """How many sellers a run passes over for one reason, and what they have available together."""

    why_not: str
    count: int
    available: Money

    @property
    def reason(self) -> str:
        """The reason, for people."""
        return str(WHY_NOT[self.why_not])


@dataclass(frozen=True, slots=True)
class Difference:
    """What a seller got by the run before, and gets by this one."""

    public_id: str
    name: str
    before: Money
    now: Money


def agreed_for_all(shop_id: int, currency: str) -> Terms:
    """Return the terms of the shop's sellers that have none of their own.  One query."""
    schedule = PayoutSchedule.objects.filter(shop=shop_id, seller=None, currency=currency).first()
    return terms.of_schedule(schedule) if schedule else terms.of_the_house(currency)


def parameters(which: Which, agreed: Terms, *, now: datetime) -> dict[str, Any]:
    """Return what CONSIDERED asks for; `agreed` is for the sellers without a schedule of their own."""
    calendar, by_default = which.calendar, calendars.of(agreed)
    pair, of_house = terms.into(which.currency, now=now), agreed_for_all(which.shop_id, settings.HOUSE_CURRENCY)
    return debts.asked_of(which.currency, now=now) | {
        "shop": which.shop_id,
        "now": now,
        "keep_back": agreed.keep_back.amount,
        "minimum": agreed.minimum.amount,
        "house": settings.HOUSE_CURRENCY,
        "house_rate": pair.rate if pair else 0,
        "house_limit": of_house.approval_limit.amount if of_house.approval_limit is not None else None,
        "provider": agreed.provider,
        "house_provider": terms.of_the_house(which.currency).provider,
        "is_default": (by_default.interval, by_default.key) == (calendar.interval, calendar.key),
        "interval": str(calendar.interval),
        "day": calendar.day,
        "cut_off": calendar.cut_off,
        "zone": calendar.zone,
        "holidays": calendar.holidays,
    }


def asked_of(which: Which, *, now: datetime) -> dict[str, Any]:
    return parameters(which, agreed_for_all(which.shop_id, which.currency), now=now)


def everybody(which: Which, *, now: datetime, after: int = 0, limit: int = MOST_SHOWN) -> list[Considered]:
    """Return the sellers whom the run would look at now, by id after that one; a page of at most `limit`.  No locks."""
    with connection.cursor() as cursor:
        cursor.execute(EVERYBODY, asked_of(which, now=now) | {"after": after, "limit": limit})
        return [considered(row, which.currency) for row in cursor.fetchall()]


def stream(which: Which, *, now: datetime) -> Iterator[Considered]:
    """Yield all of them, through a cursor of the server: a few thousand are in memory at a time."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(EVERYBODY, asked_of(which, now=now) | {"after": 0, "limit": None})
        while rows := cursor.fetchmany(CHUNK):
            yield from (considered(row, which.currency) for row in rows)


def as_csv(which: Which, *, now: datetime) -> Iterator[str]:
    """Yield all of them as the lines of a CSV file; the first names its columns."""
    write = csv.writer(Echo()).writerow
    yield write(["seller", "name", "available", "paid", "currency", "why_not"])
    for each in stream(which, now=now):
        yield write([each.public_id, harmless(each.name), text(each.available), text(each.amount), which.currency, each.why_not])


class Echo:
    """A file that gives back what is written to it."""

    def write(self, line: str) -> str:
        return line


def considered(row: tuple[Any, ...], currency: str) -> Considered:
    seller_id, public_id, name, available, amount, why_not = row
    paid = Decimal(0) if why_not else amount
    return Considered(seller_id, public_id, name, books.money(available, currency), books.money(paid, currency), why_not or "")


def passed_over(which: Which, *, now: datetime) -> list[PassedOver]:
    """Count the sellers whom the run would pass over now, by reason.  No locks."""
    with connection.cursor() as cursor:
        cursor.execute(PASSED_OVER, asked_of(which, now=now))
        return [PassedOver(why_not, count, books.money(sum_, which.currency)) for why_not, count, sum_ in cursor.fetchall()]


def run_before(run: PayoutRun) -> PayoutRun | None:
    """Return the run of the same calendar before this one that was not rejected."""
    same = PayoutRun.objects.filter(shop=run.shop_id, currency=run.total.currency.code, interval=run.interval, calendar=run.calendar)
    return same.filter(ends_at__lt=run.ends_at).exclude(status=RunStatus.REJECTED).order_by("-ends_at").first()


def differences(run: PayoutRun, *, limit: int = MOST_SHOWN) -> list[Difference]:
    """Return what sellers get otherwise than by the run before, the largest differences first."""
    before = run_before(run)
    found: Mapping[str, Any] = {"earlier": before.pk if before else None, "later": run.pk, "limit": limit}
    currency = run.total.currency.code
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENCES, found)
        return [
            Difference(public_id, name, books.money(earlier, currency), books.money(later, currency))
            for public_id, name, earlier, later in cursor.fetchall()
        ]
