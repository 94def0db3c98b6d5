"""Questions to the books.  Balances are in the account's natural direction: positive means that the asset, debt, revenue or cost is there.

Nothing here is cached in a row that payments would have to fight over: a balance is the last snapshot plus what was posted after it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db import connection
from djmoney.money import Money

from ledger import chart
from ledger.money import minor_units

ALL_BOOKED = datetime.max.replace(tzinfo=UTC)  # as of a moment after everything: the balance that stands now
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)

BALANCE_NOW = """
SELECT coalesce((SELECT balance FROM ledger_balancesnapshot WHERE account_id = account.id ORDER BY through_entry_id DESC LIMIT 1), 0)
     + coalesce((SELECT sum(amount) FROM ledger_posting AS posting WHERE posting.account_id = account.id AND posting.entry_id >
           coalesce((SELECT max(through_entry_id) FROM ledger_balancesnapshot WHERE account_id = account.id), 0)), 0)
FROM ledger_account AS account WHERE code = %s AND currency = %s
"""

BALANCE_AS_OF = """
SELECT coalesce(sum(posting.amount), 0)
FROM ledger_account AS account
JOIN ledger_posting AS posting ON posting.account_id = account.id
JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
WHERE account.code = %s AND account.currency = %s AND entry.effective_at < %s
"""

# What the months came to that were closed by then is kept: only what is effective after them is summed up.  If a month is closed in between
# these statements, nothing differs: what is kept of it is what is summed up.  `id + 0`: found by the dates, not by going through all ids.
CLOSED_BY = """
SELECT (max(month) + interval '1 month') AT TIME ZONE 'UTC' FROM ledger_closedmonth
WHERE (month + interval '1 month') AT TIME ZONE 'UTC' <= %(as_of)s
"""
FIRST_SINCE = "SELECT coalesce(min(id + 0), 0) FROM ledger_journalentry WHERE effective_at >= %(since)s"
TRIAL_BALANCE = """
SELECT kind, currency, sum(debits), sum(credits) FROM (
    SELECT kind, currency, debits, credits FROM ledger_closedtotal
    WHERE month_id < (%(since)s AT TIME ZONE 'UTC')::date
    UNION ALL
    SELECT split_part(account.code, ':', 1), account.currency,
           coalesce(sum(posting.amount) FILTER (WHERE posting.amount > 0), 0),
           coalesce(-sum(posting.amount) FILTER (WHERE posting.amount < 0), 0)
    FROM ledger_journalentry AS entry
    JOIN ledger_posting AS posting ON posting.entry_id = entry.id
    JOIN ledger_account AS account ON account.id = posting.account_id
    WHERE entry.effective_at >= %(since)s AND entry.effective_at < %(as_of)s
      AND entry.id >= %(first_id)s AND posting.entry_id >= %(first_id)s
    GROUP BY 1, 2
) AS moved GROUP BY 1, 2 ORDER BY 2, 1
"""

STATEMENT = """
SELECT entry.id, entry.kind, entry.reference, entry.memo, entry.effective_at, entry.booked_at, sum(posting.amount)
FROM ledger_account AS account
JOIN ledger_posting AS posting ON posting.account_id = account.id
JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
WHERE account.code = %s AND account.currency = %s AND entry.effective_at >= %s AND entry.effective_at < %s
GROUP BY entry.id ORDER BY entry.effective_at, entry.id
"""


@dataclass(frozen=True, slots=True)
class TrialBalanceLine:
    """All accounts of one kind in one currency: what was debited and credited to them, and what stands."""

    kind: str
    type: chart.AccountType
    debits: Money
    credits: Money
    balance: Money


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry as it touched one account.  `amount` is in the account's natural direction, `balance` the balance after it."""

    entry_id: int
    kind: str
    reference: str
    memo: str
    effective_at: datetime
    booked_at: datetime
    amount: Money
    balance: Money


@dataclass(frozen=True, slots=True)
class Statement:
    """What happened on an account in a half-open time: opening + lines = closing, by construction."""

    code: str
    opening: Money
    lines: list[StatementLine]
    closing: Money


def balance_of(code: str, *, currency: str, as_of: datetime = ALL_BOOKED) -> Money:
    """Return what stands on the account, counting the entries effective before `as_of`.  An account nobody opened stands at zero.

    Now (the default) costs the last snapshot plus what came after; an earlier moment sums the account's entries up to it.
    """
    with connection.cursor() as cursor:
        if as_of == ALL_BOOKED:
            cursor.execute(BALANCE_NOW, [code, currency])
        else:
            cursor.execute(BALANCE_AS_OF, [code, currency, as_of])
        row = cursor.fetchone()
    return natural(code, row[0] if row else Decimal(0), currency)


def trial_balance(*, as_of: datetime = ALL_BOOKED) -> list[TrialBalanceLine]:
    """Return a line for each kind of account and currency, from the entries effective before `as_of`; debits equal credits per currency.

    Costs what came since the last month that was closed by then: what closed months came to is kept.
    """
    with connection.cursor() as cursor:
        cursor.execute(CLOSED_BY, {"as_of": as_of})
        [since] = cursor.fetchone()
        first_id = first_id_since(since) if since else 0
        cursor.execute(TRIAL_BALANCE, {"as_of": as_of, "since": since or BEFORE_ALL, "first_id": first_id})
        return [
            TrialBalanceLine(
                kind,
                chart.type_of(kind),
                debits=money(debits, currency),
                credits=money(credits, currency),
                balance=natural(kind, debits - credits, currency),
            )
            for kind, currency, debits, credits in cursor.fetchall()
        ]


def first_id_since(moment: datetime) -> int:
    """Return the lowest id of the entries that are effective from the moment on; 0 if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST_SINCE, {"since": moment})
        [first_id] = cursor.fetchone()
    return int(first_id)


def statement(code: str, *, currency: str, since: datetime, until: datetime) -> Statement:
    """Return the account's entries effective in `since <= t < until`, oldest first, with the balance before, after and between them."""
    opening = balance = balance_of(code, currency=currency, as_of=since)
    lines = []
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [code, currency, since, until])
        for entry_id, kind, reference, memo, effective_at, booked_at, signed in cursor.fetchall():
            amount = natural(code, signed, currency)
            balance += amount
            lines.append(StatementLine(entry_id, kind, reference, memo, effective_at, booked_at, amount, balance))
    return Statement(code, opening, lines, closing=balance)


def natural(code: str, signed: Decimal, currency: str) -> Money:
    """Return a signed sum of postings (debits positive) in the direction in which the account grows."""
    return money(signed if chart.type_of(code).grows_by_debit else -signed, currency)


def money(amount: Decimal, currency: str) -> Money:
    """Return the sum as money with its currency's own decimals (sums come from the database with four)."""
    return Money((amount + 0).quantize(Decimal(1).scaleb(-minor_units(currency))), currency)
