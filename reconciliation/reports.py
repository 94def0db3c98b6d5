"""The figures for finance and management, from our own rows: what was sold and how well, what it cost, what we owe, and what stands.

Nothing here writes, locks, or keeps a cursor open: each function is one statement over whole sets, ended after LONGEST_S, and returns a few
hundred rows at most.  Figures of sales are about the orders that were opened on the days asked for, as they stand now; figures of the books
are about entries by their effective date.  docs/figures.md says what each one is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import OperationalError, connection, transaction
from djmoney.money import Money
from psycopg.errors import QueryCanceled

from ledger import chart, queries, seek
from ledger.chart import AccountType
from ledger.models import Account
from ledger.money import zero
from ledger.queries import TrialBalanceLine, money
from payments.models import PaymentOrder, PspAttempt
from payments.settlement import VOIDED
from wallet.models import WalletEntry

LONGEST_S = 10  # of one statement: somebody waits for the page
AGES = (7, 30, 90)  # days: what stands for no longer than that
CASH = {"operating_bank": 1, "bank_in_transit": 1, "psp_receivable": 1, "payouts_in_transit": -1}  # what is ours of each, by its sign


class TookTooLong(Exception):
    """There is too much to sum up while somebody waits: ask for fewer days."""


class By(StrEnum):
    """What sales are grouped by: METHOD is the way to pay and, of a card, its funding ("card debit"); COUNTRY is the seller's."""

    ALL = "all"
    DAY = "day"
    PSP = "psp"
    METHOD = "method"
    CARD = "card"
    CARD_COUNTRY = "card_country"
    COUNTRY = "country"


class DeclinesBy(StrEnum):
    """What declined charges are grouped by beside their reason."""

    NOTHING = ""
    PSP = "psp"
    CARD_COUNTRY = "card_country"


METHOD = "CASE event.method WHEN '' THEN '' ELSE rtrim(event.method || ' ' || event.card_funding) END"

# A dispute over a charge that came too late took nothing of a sale.  What nobody tried to pay has not failed.  A gift card or a top-up that is
# bought is no sale: what is bought with it will be.  What such paid alone no PSP settles.
SALES = """
WITH disputed AS (
    SELECT order_id, sum(amount) AS amount FROM payments_dispute AS dispute
    WHERE order_id >= %(first_id)s AND order_id < %(end_id)s AND currency = %(currency)s AND NOT EXISTS (
        SELECT FROM payments_latecharge AS late WHERE late.order_id = dispute.order_id AND late.psp_reference = dispute.charge)
    GROUP BY order_id
), sale AS (
    SELECT (payment.created_at AT TIME ZONE 'UTC')::date AS day, payment.psp, {method} AS method, event.card_brand AS card, event.card_country,
           seller.country, payment.status = 'SUCCESS' AS is_paid,
           payment.status = 'FAILED' AND payment.confirmations > 0 AND payment.failure_code <> %(voided)s AS has_failed,
           payment.amount, payment.fee, payment.refunded, coalesce(disputed.amount, 0) AS disputed,
           CASE WHEN payment.tendered < payment.amount THEN payment.settled_at - payment.created_at END AS settled_after
    FROM payments_paymentorder AS payment
    JOIN payments_paymentevent AS event ON event.id = payment.event_id
    JOIN wallet_seller AS seller ON seller.id = payment.seller_id
    LEFT JOIN disputed ON disputed.order_id = payment.id
    WHERE payment.id >= %(first_id)s AND payment.id < %(end_id)s AND payment.currency = %(currency)s
      AND payment.created_at >= %(since)s AND payment.created_at < %(until)s AND payment.fills_id IS NULL
)
SELECT CASE 0 WHEN grouping(day) THEN 'day' WHEN grouping(psp) THEN 'psp' WHEN grouping(method) THEN 'method' WHEN grouping(card) THEN 'card'
              WHEN grouping(card_country) THEN 'card_country' WHEN grouping(country) THEN 'country' ELSE 'all' END,
       coalesce(day::text, psp, method, card, card_country, country, ''),
       count(*), count(*) FILTER (WHERE is_paid), count(*) FILTER (WHERE has_failed),
       coalesce(sum(amount) FILTER (WHERE is_paid), 0) AS volume, coalesce(sum(fee) FILTER (WHERE is_paid), 0),
       coalesce(sum(refunded) FILTER (WHERE is_paid), 0), coalesce(sum(disputed) FILTER (WHERE is_paid), 0),
       extract(epoch FROM avg(settled_after) FILTER (WHERE is_paid)) / 86400, count(settled_after) FILTER (WHERE is_paid),
       count(*) FILTER (WHERE is_paid AND settled_after <= interval '1 day'), count(*) FILTER (WHERE is_paid AND settled_after <= interval '2 days'),
       count(*) FILTER (WHERE is_paid AND settled_after <= interval '3 days'), count(*) FILTER (WHERE is_paid AND settled_after <= interval '7 days')
FROM sale GROUP BY GROUPING SETS ((), (day), (psp), (method), (card), (card_country), (country)) ORDER BY day, volume DESC, 2
""".replace("{method}", METHOD)

DECLINES = """
SELECT CASE 0 WHEN grouping(psp) THEN 'psp' WHEN grouping(card_country) THEN 'card_country' ELSE '' END, reason, coalesce(psp, card_country, ''),
       sum(calls), count(*), sum(amount), count(*) FILTER (WHERE is_paid)
FROM (
    SELECT attempt.error_code AS reason, payment.psp, event.card_country, payment.amount, payment.status = 'SUCCESS' AS is_paid, count(*) AS calls
    FROM payments_pspattempt AS attempt
    JOIN payments_paymentorder AS payment ON payment.id = attempt.order_id
    JOIN payments_paymentevent AS event ON event.id = payment.event_id
    WHERE attempt.id >= %(first_id)s AND attempt.id < %(end_id)s AND payment.currency = %(currency)s
      AND attempt.operation = 'charge' AND attempt.status = 'DECLINED' AND attempt.error_code <> %(voided)s
      AND attempt.created_at >= %(since)s AND attempt.created_at < %(until)s
    GROUP BY attempt.error_code, payment.id, event.id
) AS declined GROUP BY GROUPING SETS ((reason), (reason, psp), (reason, card_country)) ORDER BY 5 DESC, 2, 3
"""

# Whose fees an entry is about is said by its settlement batch, or by the line of one whose mismatch it resolves; a bank's line and what
# somebody has booked by hand do not say it.
WHOSE_FEES = """
LEFT JOIN reconciliation_settlementbatch AS batch ON batch.journal_entry_id = entry.id
LEFT JOIN reconciliation_mismatch AS mismatch
    ON entry.kind = 'resolution' AND mismatch.public_id = entry.reference AND mismatch.bank_line_id IS NULL
"""

PSP_FEES = """
SELECT coalesce(batch.psp, mismatch.psp, ''), count(DISTINCT posting.entry_id), sum(posting.amount)
FROM ledger_account AS account
JOIN ledger_posting AS posting ON posting.account_id = account.id
JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
{whose}
WHERE account.code = %(code)s AND account.currency = %(currency)s AND entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
GROUP BY 1 ORDER BY 3 DESC, 1
""".replace("{whose}", WHOSE_FEES)

# What was paid out first is what was available first: so what stands became available last.
PAYABLES = """
WITH credited AS (
    SELECT wallet_id, sum(available) AS in_90, coalesce(sum(available) FILTER (WHERE created_at >= %(days_30)s), 0) AS in_30,
           coalesce(sum(available) FILTER (WHERE created_at >= %(days_7)s), 0) AS in_7
    FROM wallet_walletentry
    WHERE id >= %(first_id)s AND created_at >= %(days_90)s AND available > 0 AND currency = %(currency)s GROUP BY wallet_id
), standing AS (
    SELECT pending, available, reserved, least(available, coalesce(in_7, 0)) AS in_7, least(available, coalesce(in_30, 0)) AS in_30,
           least(available, coalesce(in_90, 0)) AS in_90
    FROM wallet_wallet AS wallet LEFT JOIN credited ON credited.wallet_id = wallet.id WHERE currency = %(currency)s
)
SELECT coalesce(sum(pending), 0), count(*) FILTER (WHERE pending > 0),
       coalesce(sum(available) FILTER (WHERE available > 0), 0), count(*) FILTER (WHERE available > 0),
       coalesce(sum(reserved), 0), count(*) FILTER (WHERE reserved > 0),
       coalesce(sum(available) FILTER (WHERE available < 0), 0), count(*) FILTER (WHERE available < 0),
       coalesce(sum(in_7) FILTER (WHERE available > 0), 0), coalesce(sum(in_30 - in_7) FILTER (WHERE available > 0), 0),
       coalesce(sum(in_90 - in_30) FILTER (WHERE available > 0), 0), coalesce(sum(available - in_90) FILTER (WHERE available > 0), 0)
FROM standing
"""

PROFIT_AND_LOSS = """
SELECT split_part(account.code, ':', 1), sum(posting.amount)
FROM ledger_account AS account
JOIN ledger_posting AS posting ON posting.account_id = account.id
JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
WHERE split_part(account.code, ':', 1) = ANY(%(kinds)s) AND account.currency = %(currency)s
  AND entry.effective_at >= %(since)s AND entry.effective_at < %(until)s
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which days (UTC, both are counted in) and which currency."""

    first_day: date
    last_day: date
    currency: str

    @property
    def since(self) -> datetime:
        return midnight(self.first_day)

    @property
    def until(self) -> datetime:
        """The first moment that is not counted in."""
        return midnight(self.last_day + timedelta(days=1))

    @property
    def days(self) -> list[date]:
        return [self.first_day + timedelta(days=number) for number in range((self.last_day - self.first_day).days + 1)]


@dataclass(frozen=True, slots=True)
class Sales:
    """Orders of one group as they stand now: how many were opened and paid, and how many failed; what buyers paid, and what of it went back.

    `fees` are ours as they were taken, before refunds gave any back; `refunded` is given back or on its way; `disputed` was ever taken back
    by a buyer's bank.  `settled_after` is how many days the PSP took to pay us, on the average; None: it has paid nothing yet.  It has paid for
    `settled` of the orders, and of these for so many `within` 1, 2, 3 and 7 days.
    """

    key: str
    opened: int
    paid: int
    failed: int
    volume: Money
    fees: Money
    refunded: Money
    disputed: Money
    settled_after: Decimal | None
    settled: int
    within: Sequence[int]

    @property
    def success_rate(self) -> Decimal | None:
        return share(Decimal(self.paid), Decimal(self.paid + self.failed))

    @property
    def take_rate(self) -> Decimal | None:
        return share(self.fees.amount, self.volume.amount)

    @property
    def refund_rate(self) -> Decimal | None:
        return share(self.refunded.amount, self.volume.amount)

    @property
    def dispute_rate(self) -> Decimal | None:
        return share(self.disputed.amount, self.volume.amount)

    @property
    def settled_rates(self) -> list[Decimal | None]:
        """Which part of the orders that the PSP has paid for it paid for within 1, 2, 3 and 7 days."""
        return [share(Decimal(number), Decimal(self.settled)) for number in self.within]


@dataclass(frozen=True, slots=True)
class Declines:
    """Charges that were declined for one reason: so many calls, of so many orders of that amount, and how many of those were paid after all.

    `key` says by which PSP, or on cards of which country; that is the country of the last card that the buyer gave.
    """

    reason: str
    key: str
    calls: int
    orders: int
    amount: Money
    paid_after_all: int


@dataclass(frozen=True, slots=True)
class PspFees:
    """What a PSP has charged us by so many entries of the books; `psp` is empty where nothing says whose they are."""

    psp: str
    entries: int
    fees: Money


@dataclass(frozen=True, slots=True)
class Owed:
    """What so many sellers have of one of their wallet's figures, together."""

    sellers: int
    amount: Money


@dataclass(frozen=True, slots=True)
class Payables:
    """What we owe sellers now, and for how long what is available has stood: by AGES, and last what is older.  `overdrawn` they owe us."""

    pending: Owed
    available: Owed
    reserved: Owed
    overdrawn: Owed
    by_age: Sequence[Money]


@dataclass(frozen=True, slots=True)
class Result:
    """What one kind of revenue or expense account came to; a revenue that shrank is below zero."""

    kind: str
    type: AccountType
    amount: Money


def currencies() -> list[str]:
    """Return the currencies that the books have accounts in."""
    return list(Account.objects.order_by("currency").values_list("currency", flat=True).distinct())


def sales(asked: Asked) -> dict[By, list[Sales]]:
    """Return the sales of the days in all their groups, the largest first and days by date; ALL has one.  Raises TookTooLong."""
    found: dict[By, list[Sales]] = defaultdict(list)
    parameters = parameters_of(asked) | ids_of(PaymentOrder, asked) | {"voided": VOIDED}
    for by, key, opened, paid, failed, volume, fees, refunded, disputed, settled_after, settled, *within in rows(SALES, parameters):
        group = Sales(
            key,
            opened,
            paid,
            failed,
            volume=money(volume, asked.currency),
            fees=money(fees, asked.currency),
            refunded=money(refunded, asked.currency),
            disputed=money(disputed, asked.currency),
            settled_after=settled_after,
            settled=settled,
            within=within,
        )
        found[By(by)].append(group)
    return found


def volume_by_day(asked: Asked, by_day: Iterable[Sales]) -> list[Money]:
    """Return what was paid on each of the days, nothing on those of which the sales say nothing."""
    volumes = {each.key: each.volume for each in by_day}
    return [volumes.get(day.isoformat(), zero(asked.currency)) for day in asked.days]


def declines(asked: Asked) -> dict[DeclinesBy, list[Declines]]:
    """Return why PSPs declined charges on the days, in all groups and the most frequent first; cancelled charges are not counted.

    Raises TookTooLong.
    """
    found: dict[DeclinesBy, list[Declines]] = defaultdict(list)
    parameters = parameters_of(asked) | ids_of(PspAttempt, asked) | {"voided": VOIDED}
    for by, reason, key, calls, orders, amount, paid in rows(DECLINES, parameters):
        found[DeclinesBy(by)].append(Declines(reason, key, int(calls), orders, money(amount, asked.currency), paid))
    return found


def psp_fees(asked: Asked) -> list[PspFees]:
    """Return what was booked on the days as each PSP's fees.  Raises TookTooLong."""
    found = rows(PSP_FEES, parameters_of(asked) | {"code": chart.psp_fees()})
    return [PspFees(psp, entries, money(fees, asked.currency)) for psp, entries, fees in found]


def payables(currency: str, *, now: datetime) -> Payables:
    """Return what we owe sellers.  `now` is true time, by which wallets' movements are dated.  Raises TookTooLong."""
    ages = {f"days_{days}": now - timedelta(days=days) for days in AGES}
    first_id = seek.first_id_since(WalletEntry, "created_at", now - timedelta(days=max(AGES)))
    [figures] = rows(PAYABLES, ages | {"currency": currency, "first_id": first_id})
    pending, available, reserved, overdrawn = (
        Owed(sellers, money(amount, currency)) for amount, sellers in zip(figures[0:8:2], figures[1:8:2], strict=True)
    )
    return Payables(pending, available, reserved, overdrawn, [money(amount, currency) for amount in figures[8:]])


def trial_balance(asked: Asked) -> list[TrialBalanceLine]:
    """Return the trial balance of the currency at the end of the last day.  Raises TookTooLong."""
    with within_the_time():
        return [line for line in queries.trial_balance(as_of=asked.until) if line.balance.currency.code == asked.currency]


def cash_position(lines: Sequence[TrialBalanceLine]) -> list[tuple[str, Money]]:
    """Return, of a trial balance, what is ours at the bank and on its way there, and (below zero) what is on its way to sellers."""
    standing = {line.kind: line.balance for line in lines}
    return [(kind, sign * standing[kind]) for kind, sign in CASH.items() if kind in standing]


def profit_and_loss(asked: Asked) -> list[Result]:
    """Return what each kind of revenue and then of expense came to on the days.  Raises TookTooLong."""
    kinds = [kind for kind, type_ in chart.KINDS.items() if type_ in (AccountType.REVENUE, AccountType.EXPENSE)]
    found = rows(PROFIT_AND_LOSS, parameters_of(asked) | {"kinds": kinds})
    results = [Result(kind, chart.type_of(kind), queries.natural(kind, signed, asked.currency)) for kind, signed in found]
    return sorted(results, key=lambda result: result.type != AccountType.REVENUE)


def profit(results: Iterable[Result], currency: str) -> Money:
    """Return what the results leave: revenue less expenses."""
    return sum((result.amount if result.type == AccountType.REVENUE else -result.amount for result in results), start=zero(currency))


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return which part of the whole it is, to a hundredth of a percent; None of nothing."""
    return (part / whole).quantize(Decimal("0.0001")) if whole else None


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def parameters_of(asked: Asked) -> dict[str, Any]:
    return {"since": asked.since, "until": asked.until, "currency": asked.currency}


def ids_of(model: Any, asked: Asked) -> dict[str, int]:
    """Return between which ids the rows of the days stand (ledger/seek.py)."""
    ends = seek.first_id_since(model, "created_at", asked.since), seek.first_id_after(model, "created_at", asked.until)
    return {"first_id": ends[0], "end_id": ends[1]}


def rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with within_the_time(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


@contextmanager
def within_the_time() -> Iterator[None]:
    """Give each statement inside LONGEST_S.  Raises TookTooLong for one that needs more."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{LONGEST_S}s"])
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise
