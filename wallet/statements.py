"""Statements: what a seller's wallet of one currency held as a month began, every movement of the month, and what it held as it ended.

The opening is the sum of all movements before; the closing is counted from the other end, from the wallet as it stands now back over all
movements since.  Opening and movements that do not come to the closing are an accident, and there is no statement then.  The page, the PDF,
the CSV and the camt.053 are made of the same rows (wallet/documents).  Nothing here writes or locks.

The figure that runs along is the whole wallet: pending, available and reserved.  A release only moves money between them, so its net is
nothing; what it does to the available figure stands beside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone
from djmoney.money import Money

from ledger import queries as books
from ledger import seek
from ledger.errors import DomainError
from wallet import months
from wallet.models import Seller, Wallet, WalletEntry
from wallet.months import Month

ROWS_IN_A_CHUNK = 2000  # each chunk is a short query of its own, so that no snapshot is held while somebody reads
STILL_BEING_WRITTEN = timedelta(minutes=2)  # a month that is not over ends here: no transaction writes for as long, a payout run included

# One statement, so that all figures are of one moment.
FIGURES = """
SELECT wallet.pending, wallet.available, wallet.reserved, place, kind, entries, gross, fee,
       moved.pending, moved.available, moved.reserved, credits, credited, debited
FROM wallet_wallet AS wallet LEFT JOIN LATERAL (
    SELECT CASE WHEN created_at < %(since)s THEN 'before' WHEN created_at < %(until)s THEN 'within' ELSE 'after' END AS place, kind,
           count(*) AS entries, sum(gross) AS gross, sum(fee) AS fee,
           sum(pending) AS pending, sum(available) AS available, sum(reserved) AS reserved,
           count(*) FILTER (WHERE net >= 0) AS credits, sum(greatest(net, 0)) AS credited, -sum(least(net, 0)) AS debited
    FROM wallet_walletentry WHERE wallet_id = wallet.id GROUP BY 1, 2
) AS moved ON true
WHERE wallet.id = %(wallet)s ORDER BY place, kind
"""

ROWS = """
SELECT id, created_at, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved
FROM wallet_walletentry
WHERE wallet_id = %(wallet)s AND id > %(after)s AND id < %(before)s AND created_at >= %(since)s AND created_at < %(until)s
ORDER BY id LIMIT %(limit)s
"""

PASSED = """
SELECT coalesce(sum(net), 0), coalesce(sum(available), 0) FROM wallet_walletentry
WHERE wallet_id = %(wallet)s AND id <= %(after)s AND id > %(first)s AND created_at >= %(since)s AND created_at < %(until)s
"""

DAYS = """
SELECT (created_at AT TIME ZONE %(zone)s)::date, kind, count(*), sum(gross), sum(fee), sum(pending), sum(available), sum(reserved)
FROM wallet_walletentry
WHERE wallet_id = %(wallet)s AND created_at >= %(since)s AND created_at < %(until)s GROUP BY 1, 2 ORDER BY 1, 2
"""

FIRST = "SELECT created_at FROM wallet_walletentry WHERE wallet_id = %(wallet)s ORDER BY id LIMIT 1"


class NoStatement(DomainError):
    code = "no_statement"


class StatementDoesNotAddUp(RuntimeError):
    """Opening and movements do not come to the closing: the wallet is not the sum of its movements (INV-03)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a wallet holds, or what changed of it: three figures and their sum."""

    pending: Money
    available: Money
    reserved: Money

    @property
    def total(self) -> Money:
        return self.pending + self.available + self.reserved

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.pending + other.pending, self.available + other.available, self.reserved + other.reserved)

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(self.pending - other.pending, self.available - other.available, self.reserved - other.reserved)


@dataclass(frozen=True, slots=True)
class KindSum:
    """All movements of one kind: how many, gross - fee, and what they changed."""

    kind: str
    count: int
    gross: Money
    fee: Money
    changed: Figures

    @property
    def net(self) -> Money:
        return self.changed.total


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of one wallet.  `until` is the end of the month or, while it is not over, the moment up to which it is told.

    `number` counts the seller's statements of the currency, without a gap.  `credits` are the movements that took nothing away, and
    `credited` and `debited` (both positive) what came and what went.
    """

    seller: Seller
    wallet_id: int
    currency: str
    month: Month
    number: int
    since: datetime
    until: datetime
    is_final: bool
    opening: Figures
    sums: tuple[KindSum, ...]
    closing: Figures
    credits: int
    credited: Money
    debited: Money

    @property
    def period(self) -> str:
        return str(self.month)

    @property
    def count(self) -> int:
        return sum(each.count for each in self.sums)

    @property
    def gross(self) -> Money:
        return sum((each.gross for each in self.sums), Money(0, self.currency))

    @property
    def fee(self) -> Money:
        return sum((each.fee for each in self.sums), Money(0, self.currency))

    @property
    def changed(self) -> Money:
        return self.closing.total - self.opening.total


@dataclass(frozen=True, slots=True)
class Row:
    """One movement, and what the whole wallet and its available part came to with it."""

    movement_id: int
    at: datetime
    kind: str
    source: str
    journal_entry_id: int
    gross: Money
    fee: Money
    net: Money
    pending: Money
    available: Money
    reserved: Money
    balance: Money
    available_balance: Money

    @property
    def public_id(self) -> str:
        return f"wen_{self.movement_id}"

    @property
    def journal_entry(self) -> str:
        return f"je_{self.journal_entry_id}"


@dataclass(frozen=True, slots=True)
class DaySum:
    """All movements of one kind on one day, and what the whole wallet and its available part came to with them."""

    day: date
    kind: str
    count: int
    gross: Money
    fee: Money
    net: Money
    balance: Money
    available_balance: Money


@dataclass(frozen=True, slots=True)
class Listed:
    """A statement that can be asked for."""

    seller: Seller
    currency: str
    month: Month
    is_final: bool

    @property
    def period(self) -> str:
        return str(self.month)


def listed(seller: Seller, *, now: datetime, currency: str = "") -> list[Listed]:
    """Return the seller's statements, newest month first: one for each month since the first movement of each wallet."""
    wallets = Wallet.objects.filter(seller=seller, **({"currency": currency} if currency else {}))
    found = [
        Listed(seller, wallet.currency, month, month.is_over(now))  # type: ignore[attr-defined]
        for wallet in wallets
        if (first := first_movement(wallet.pk)) is not None
        for month in months.newest_first(first, until=now)
    ]
    return sorted(found, key=lambda each: (-each.month.year, -each.month.number, each.currency))


def of(seller: Seller, *, currency: str, month: Month, now: datetime) -> Statement:
    """Return the seller's statement of the month, without its rows; a month that is not over is told up to two minutes ago.

    Reads all movements of the wallet, once.  Raises NoStatement for a currency in which nothing ever moved, and for a month before the
    first movement or after `now`; StatementDoesNotAddUp.
    """
    wallet = Wallet.objects.filter(seller=seller, currency=currency).first()
    first = first_movement(wallet.pk) if wallet else None
    if wallet is None or first is None:
        raise NoStatement(f"Nothing ever moved in {currency} here.", field="currency")
    if not months.of(first) <= month <= months.of(now):
        known = f"there is one for each month from {months.of(first)} to {months.of(now)}"
        raise NoStatement(f"There is no statement of {month}: {known}.", field="period")
    until = month.until if month.is_over(now) else max(month.since, min(month.until, now - STILL_BEING_WRITTEN))
    found = fetched(FIGURES, {"wallet": wallet.pk, "since": month.since, "until": until})
    within = sorted((row for row in found if row[3] == "within"), key=lambda row: WalletEntry.Kind.values.index(row[4]))
    opening, moved, after = (all_changes(found, currency, place=place) for place in ("before", "within", "after"))
    closing = figures(found[0][:3], currency) - after
    if opening + moved != closing:
        raise StatementDoesNotAddUp(f"{seller.public_id} {currency} {month}: {opening} and its movements are not {closing}")
    return Statement(
        seller=seller,
        wallet_id=wallet.pk,
        currency=currency,
        month=month,
        number=sum(1 for _month in months.newest_first(first, until=month.since)),
        since=month.since,
        until=until,
        is_final=month.is_over(now),
        opening=opening,
        sums=tuple(kind_sum(row, currency) for row in within),
        closing=closing,
        credits=sum(row[11] for row in within),
        credited=books.money(sum((row[12] for row in within), Decimal(0)), currency),
        debited=books.money(sum((row[13] for row in within), Decimal(0)), currency),
    )


def rows(statement: Statement, *, after: int = 0, limit: int | None = None) -> Iterator[Row]:
    """Yield the statement's movements in the order in which they were written, from the one after that id on, `limit` of them at most.

    Memory stays the same for any number.  When all were asked for, the last balance must be the closing: StatementDoesNotAddUp.
    """
    first_id = seek.first_id_since(WalletEntry, "created_at", statement.since) - 1
    asked: dict[str, Any] = {
        "wallet": statement.wallet_id,
        "since": statement.since,
        "until": statement.until,
        "before": seek.first_id_after(WalletEntry, "created_at", statement.until),
        "after": max(after, first_id),
    }
    balance, available = passed(statement, asked | {"first": first_id}) if after else (statement.opening.total, statement.opening.available)
    left = limit
    while left is None or left > 0:
        found = fetched(ROWS, asked | {"limit": ROWS_IN_A_CHUNK if left is None else min(left, ROWS_IN_A_CHUNK)})
        for each in found:
            row = row_of(each, statement.currency, balance=balance, available=available)
            balance, available = row.balance, row.available_balance
            yield row
        if not found:
            break
        asked["after"] = found[-1][0]
        left = None if left is None else left - len(found)
    if not after and limit is None and (balance, available) != (statement.closing.total, statement.closing.available):
        raise StatementDoesNotAddUp(f"{statement.seller.public_id} {statement.currency} {statement.month}: its rows end with {balance}")


def days(statement: Statement) -> Iterator[DaySum]:
    """Yield the statement's movements added up by day and kind: some hundred rows, for a paper that cannot list each of a million."""
    asked = {
        "wallet": statement.wallet_id,
        "since": statement.since,
        "until": statement.until,
        "zone": timezone.get_current_timezone_name(),
    }
    balance = statement.opening
    for day, kind, count, gross, fee, *changed in fetched(DAYS, asked):
        change = figures(changed, statement.currency)
        balance += change
        both = (books.money(gross, statement.currency), books.money(fee, statement.currency))
        yield DaySum(day, kind, count, *both, change.total, balance.total, balance.available)


def passed(statement: Statement, asked: dict[str, Any]) -> tuple[Money, Money]:
    """Return the whole wallet and its available part as they stood after the rows up to that id."""
    [(net, available)] = fetched(PASSED, asked)
    return (
        statement.opening.total + books.money(net, statement.currency),
        statement.opening.available + books.money(available, statement.currency),
    )


def row_of(found: tuple[Any, ...], currency: str, *, balance: Money, available: Money) -> Row:
    movement_id, at, kind, source, journal_entry_id, *amounts = found
    gross, fee, net, pending, freed, reserved = (books.money(amount, currency) for amount in amounts)
    stands = (balance + net, available + freed)
    return Row(movement_id, at, kind, source, journal_entry_id, gross, fee, net, pending, freed, reserved, *stands)


def first_movement(wallet_id: int) -> datetime | None:
    found = fetched(FIRST, {"wallet": wallet_id})
    return found[0][0] if found else None


def fetched(query: str, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, asked)
        return list(cursor.fetchall())


def all_changes(rows: list[tuple[Any, ...]], currency: str, *, place: str) -> Figures:
    nothing = figures([Decimal(0)] * 3, currency)
    return sum((figures(row[8:11], currency) for row in rows if row[3] == place), nothing)


def kind_sum(row: tuple[Any, ...], currency: str) -> KindSum:
    return KindSum(row[4], row[5], books.money(row[6], currency), books.money(row[7], currency), figures(row[8:11], currency))


def figures(amounts: Any, currency: str) -> Figures:
    pending, available, reserved = (books.money(amount, currency) for amount in amounts)
    return Figures(pending, available, reserved)
