"""The journal: `post` is the only writer of entries and postings, `open_accounts` the only writer of accounts.

An entry and all of its postings arrive in ONE statement, so that Postgres can refuse it whole (migration 0002).  A reference is posted
once: the second time the same entry answers, and a different one under its name is refused.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from djmoney.money import Money

from ledger import chart
from ledger.errors import DomainError
from ledger.money import minor_units
from ledger.statements import execute, execute_from, require_transaction

Leg = tuple[str, Money]


class Unbalanced(DomainError):
    code = "entry_does_not_balance"


class ReferenceConflict(DomainError):
    code = "reference_already_posted"


class UnknownAccount(DomainError):
    code = "unknown_account"


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry about to be posted.  Amounts are positive; the side gives the direction.  Legs of no money at all are left out.

    `effective_at` is when it happened.  If the month of that is closed, the entry is effective from the first open moment on.
    """

    kind: str
    reference: str
    effective_at: datetime
    debits: Sequence[Leg]
    credits: Sequence[Leg]
    memo: str = field(default="")


# What lies in a closed month is booked at the first open moment, and keeps the time at which it happened: the guard of migration 0011 refuses
# what is not.  Asked once per statement; the function sees what is committed as it is called.
OPEN_MONTHS = "open AS MATERIALIZED (SELECT ledger_open_since() AS since)"
OPEN_TIMES = "greatest(effective_at, since), CASE WHEN effective_at < since THEN effective_at END"

POST = f"""
WITH {OPEN_MONTHS}, entry AS (
    INSERT INTO ledger_journalentry (kind, reference, memo, effective_at, occurred_at)
    SELECT kind, reference, memo, {OPEN_TIMES}
    FROM json_to_recordset(%s) AS draft (kind text, reference text, memo text, effective_at timestamptz), open
    ON CONFLICT (reference) DO NOTHING
    RETURNING id, reference
), posting AS (
    INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
    SELECT entry.id, leg.line, account.id, leg.amount, leg.currency
    FROM json_to_recordset(%s) AS leg (reference text, line int, code text, amount numeric, currency text)
    JOIN entry USING (reference)
    LEFT JOIN ledger_account AS account USING (code, currency)
)
SELECT reference, id FROM entry
"""  # noqa: S608 (constants of this module)

POST_FROM = f"""
WITH {OPEN_MONTHS}, draft AS MATERIALIZED ({{rows}}), entry AS (
    INSERT INTO ledger_journalentry (id, kind, reference, memo, effective_at, occurred_at)
    SELECT id, kind, reference, memo, {OPEN_TIMES} FROM draft, open
    RETURNING id
), posting AS (
    INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
    SELECT leg.id, leg.line, account.id, leg.amount, leg.currency
    FROM (
        SELECT draft.id, side.line, side.code, side.amount, draft.currency
        FROM draft, LATERAL (VALUES (1, debit, amount), (2, credit, -amount)) AS side (line, code, amount)
    ) AS leg
    LEFT JOIN ledger_account AS account USING (code, currency)
)
SELECT count(*) FROM entry
"""  # noqa: S608 (constants of this module)

NEXT_ID = "nextval(pg_get_serial_sequence('ledger_journalentry', 'id'))"
WILL_WRITE = "LOCK TABLE ledger_journalentry IN ROW EXCLUSIVE MODE"

STANDING = """
SELECT entry.reference, entry.id, entry.kind, entry.effective_at,
       array_agg(ARRAY[account.code, posting.amount::text, posting.currency] ORDER BY posting.line)
FROM json_to_recordset(%s) AS draft (reference text)
JOIN ledger_journalentry AS entry USING (reference)
JOIN ledger_posting AS posting ON posting.entry_id = entry.id
JOIN ledger_account AS account ON account.id = posting.account_id
GROUP BY entry.id
"""

MISSING_ACCOUNTS = """
SELECT code, currency FROM json_to_recordset(%s) AS leg (code text, currency text)
WHERE NOT EXISTS (SELECT FROM ledger_account AS account WHERE account.code = leg.code AND account.currency = leg.currency)
"""

OPEN_ACCOUNTS = """
INSERT INTO ledger_account (code, currency)
SELECT code, currency FROM json_to_recordset(%s) AS account (code text, currency text) ORDER BY code, currency
ON CONFLICT (code, currency) DO NOTHING
"""


def sides(moved: Mapping[str, Decimal], *, currency: str) -> tuple[list[Leg], list[Leg]]:
    """Return the debits and the credits of what moves on each account: above zero it is debited, below zero credited."""
    debits = [(code, Money(amount, currency)) for code, amount in moved.items() if amount > 0]
    credits = [(code, Money(-amount, currency)) for code, amount in moved.items() if amount < 0]
    return debits, credits


def post(drafts: Sequence[Draft]) -> list[int]:
    """Write each draft as a journal entry; return the ids of the entries, in the order of the drafts.

    Runs inside the caller's transaction and takes no locks: one statement for any number of drafts, one more if some of their references
    were posted before.  A reference that stands with the same kind and legs answers with its entry and writes nothing.  What happened in a
    month that is closed by now is booked in the open one, and says when it happened (`occurred_at`): money never waits for a month.  Raises
    Unbalanced, ReferenceConflict (the reference stands with other legs, or comes twice here), NeedsTransaction; an account that was
    never opened is refused by Postgres (IntegrityError).
    """
    require_transaction("post")
    legs = {draft.reference: legs_of(draft) for draft in drafts}
    if len(legs) != len(drafts):
        [(reference, _)] = Counter(draft.reference for draft in drafts).most_common(1)
        raise ReferenceConflict(f"{reference} comes twice in one batch. Post each reference once.", field="reference")
    in_order = sorted(drafts, key=lambda draft: draft.reference)  # batches that share references meet them in the same order: no deadlock
    ids = dict(execute(POST, [entry_row(draft) for draft in in_order], [leg for rows in legs.values() for leg in rows]))
    if len(ids) < len(drafts):
        ids |= standing([draft for draft in drafts if draft.reference not in ids], legs=legs)
    return [ids[draft.reference] for draft in drafts]


def post_from(rows: str, parameters: Mapping[str, Any]) -> int:
    """Write a journal entry of two legs for each row of a SELECT; return how many.  For rows that are in Postgres already; else `post`.

    A row has id, kind, reference, memo, effective_at, debit and credit (codes of accounts), amount (more than nothing) and currency.  Its id
    was drawn by NEXT_ID after `will_draw_ids`, so that the row can name its entry before there is one.  One statement, no locks, inside the
    caller's transaction.  Of a closed month as `post` says.  Postgres refuses a reference that was posted before, and an account that was never opened (IntegrityError).
    """
    return execute_from(POST_FROM, rows, parameters)


def will_draw_ids() -> None:
    """Become a writer of the books before NEXT_ID is drawn, as any INSERT does: whoever seals them then waits for this transaction."""
    require_transaction("will_draw_ids")
    with connection.cursor() as cursor:
        cursor.execute(WILL_WRITE)


def entry_row(draft: Draft) -> dict[str, Any]:
    return {"kind": draft.kind, "reference": draft.reference, "memo": draft.memo, "effective_at": draft.effective_at}


def legs_of(draft: Draft) -> list[dict[str, Any]]:
    """Return the draft's postings as rows, debits positive and credits negative.  Raises Unbalanced."""
    sides = [(code, money, money.amount) for code, money in draft.debits] + [(code, money, -money.amount) for code, money in draft.credits]
    rows: list[dict[str, Any]] = []
    sums: dict[str, Decimal] = {}
    for code, money, signed in sides:
        if money.amount < 0:
            raise Unbalanced(f"{draft.reference} has a negative leg on {code}. Put it on the other side.", field="amount")
        if signed:
            currency = money.currency.code
            sums[currency] = sums.get(currency, Decimal(0)) + signed
            rows.append(
                {"reference": draft.reference, "line": len(rows) + 1, "code": code, "amount": signed, "currency": currency},
            )
    off = {currency: total for currency, total in sums.items() if total}
    if off or len(rows) < 2:
        reason = ", ".join(f"debits exceed credits by {total} {currency}" for currency, total in off.items()) or "it moves nothing"
        raise Unbalanced(f"{draft.reference} does not balance: {reason}.", field="postings")
    return rows


def standing(drafts: Sequence[Draft], *, legs: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Return the entries that already stand under the drafts' references.  Raises ReferenceConflict if one of them says something else."""
    stands = {}
    for reference, entry_id, kind, _effective_at, posted in execute(STANDING, [{"reference": draft.reference} for draft in drafts]):
        stands[reference] = (entry_id, kind, [(code, Decimal(amount), currency) for code, amount, currency in posted])
    for draft in drafts:
        entry_id, kind, posted = stands[draft.reference]
        asked = [(leg["code"], leg["amount"], leg["currency"]) for leg in legs[draft.reference]]
        if (kind, posted) != (draft.kind, asked):
            raise ReferenceConflict(
                f"{draft.reference} is posted already, as another entry (je_{entry_id}). Use a new reference.", field="reference"
            )
    return {reference: entry_id for reference, (entry_id, _kind, _posted) in stands.items()}


def open_accounts(codes: Iterable[str], *, currency: str) -> None:
    """Make sure that each code has its account in the currency.  One statement, inside the caller's transaction; opening twice is nothing.

    Raises UnknownCurrency, and UnknownAccount for a code of no kind in the chart.
    """
    minor_units(currency)
    rows = [{"code": code, "currency": currency} for code in codes]
    for row in rows:
        if not chart.is_known(row["code"]):
            raise UnknownAccount(f"{row['code']} is not an account of the chart.", field="account")
    execute(OPEN_ACCOUNTS, rows)


def require_accounts(drafts: Sequence[Draft]) -> None:
    """Raise UnknownAccount if a draft names an account that was never opened: the kind word before Postgres refuses it."""
    legs = [{"code": leg["code"], "currency": leg["currency"]} for draft in drafts for leg in legs_of(draft)]
    for code, currency in execute(MISSING_ACCOUNTS, legs):
        raise UnknownAccount(
            f"There is no account {code} in {currency}. GET /v1/ledger/accounts lists those that are open.", field="account"
        )
