"""What should stand on our bank's statements by now and does not: batches that a PSP says it paid us, payouts that our books call paid or back.

It is missing once statements are compared through the day by which it was due, so many bank days after it was ordered.  Nothing of it is in
suspense, since nothing has moved: it is still on its way to us, or our books took it off the bank account too early.  If a line comes
after all, the mismatch is LATE, and resolved by that.  What was paid before our first statement is not looked for.

Called by beat, and whenever statements were compared.
"""

from datetime import date, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from ledger.ids import new_id_in_sql
from reconciliation import matching, tolerances
from reconciliation.bank_groups import IS_TO_COME_BACK

QUIET_AFTER = 14  # days: an account whose last statement is that much older than the newest has no movements, and is not waited for

# Of each currency: its first day, and the day through which the statements of all accounts that are not quiet are compared.
COMPARED = """
WITH account AS (
    SELECT currency, min(coalesce(opened_on, closed_on)) AS since, max(closed_on) AS through
    FROM reconciliation_comparedstatement AS compared JOIN reconciliation_bankstatement AS statement ON statement.id = compared.statement_id
    JOIN reconciliation_sourcefile AS file ON file.id = statement.file_id
    WHERE closed_on IS NOT NULL GROUP BY file.source, account, currency
), newest AS (
    SELECT currency, max(through) AS day FROM account GROUP BY 1
)
SELECT currency, min(since), min(through) FILTER (WHERE through > newest.day - %(quiet_after)s)
FROM account JOIN newest USING (currency) GROUP BY 1 ORDER BY 1
"""

# A batch whose payment came with another amount, in another currency, or in another batch's name, has come: that line is a mismatch of its own.
NOT_COME = f"""
WITH due AS (
    SELECT batch.psp, batch.public_id AS subject, batch.id AS batch_id, batch.paid_out AS expected,
           (coalesce(batch.closed_at, batch.matched_at) AT TIME ZONE 'UTC')::date + 1 AS soonest
    FROM reconciliation_settlementbatch AS batch CROSS JOIN LATERAL (
        SELECT until FROM unnest(%(psps)s::text[], %(untils)s::date[]) AS rule (psp, until)
        WHERE rule.psp IN ('', batch.psp) ORDER BY rule.psp DESC LIMIT 1
    ) AS rule
    WHERE batch.currency = %(currency)s AND batch.matched_at IS NOT NULL AND batch.paid_out > 0
      AND (coalesce(batch.closed_at, batch.matched_at) AT TIME ZONE 'UTC')::date BETWEEN %(since)s AND rule.until
      AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.batch_id = batch.id)
      AND NOT EXISTS (SELECT FROM reconciliation_mismatch AS its JOIN reconciliation_stagedbankline AS line ON line.id = its.bank_line_id
                      WHERE its.kind = 'wrong_batch' AND (its.currency, its.found) = (batch.currency, batch.paid_out)
                        AND coalesce(line.booked_on, line.valued_on) >= (coalesce(batch.closed_at, batch.matched_at) AT TIME ZONE 'UTC')::date)
    UNION ALL
    SELECT payout.provider, payout.public_id, NULL, -payout.amount, (coalesce(booked.occurred_at, booked.effective_at) AT TIME ZONE 'UTC')::date
    FROM payouts_payout AS payout JOIN ledger_journalentry AS booked ON booked.id = coalesce(payout.paid_entry_id, payout.late_entry_id)
    WHERE payout.currency = %(currency)s
      AND (coalesce(booked.occurred_at, booked.effective_at) AT TIME ZONE 'UTC')::date BETWEEN %(since)s AND %(payouts_until)s
      AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.payout_id = payout.id AND its.kind = 'payout')
    UNION ALL
    SELECT payout.provider, payout.public_id, NULL, payout.amount, (coalesce(booked.occurred_at, booked.effective_at) AT TIME ZONE 'UTC')::date
    FROM payouts_payout AS payout JOIN ledger_journalentry AS booked ON booked.id = payout.return_entry_id
    WHERE payout.currency = %(currency)s AND {IS_TO_COME_BACK}
      AND (coalesce(booked.occurred_at, booked.effective_at) AT TIME ZONE 'UTC')::date BETWEEN %(since)s AND %(payouts_until)s
      AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.payout_id = payout.id AND its.kind = 'payout_return')
), not_come AS (
    SELECT * FROM due WHERE NOT EXISTS (
        SELECT FROM reconciliation_mismatch AS come
        WHERE come.subject = due.subject AND come.bank_line_id IS NOT NULL AND come.kind IN ('amount', 'currency')
    )
)
"""  # noqa: S608 (a constant)
FIND = f"""
{NOT_COME}
INSERT INTO reconciliation_mismatch (public_id, kind, psp, batch_id, subject, currency, expected, suspended, found_at)
SELECT {new_id_in_sql("mm")}, 'missing_at_bank', psp, batch_id, subject, %(currency)s, expected, 0, %(now)s
FROM not_come ORDER BY batch_id, subject, expected
ON CONFLICT (subject) WHERE line_id IS NULL AND bank_line_id IS NULL DO NOTHING
"""  # noqa: S608 (a constant)

# A payment file that was fetched is on its way, too, before anybody tells what became of it: the statement may be the only one who does.
ON_ITS_WAY = f"""
{NOT_COME}
SELECT soonest FROM not_come
UNION
SELECT execute_on
FROM payouts_payout AS payout
JOIN payouts_paymentfileline AS line ON line.payout_id = payout.id AND line.dropped_at IS NULL
JOIN payouts_paymentfile AS file ON file.id = line.file_id AND file.downloaded_at IS NOT NULL
WHERE payout.status = 'EXECUTING' AND payout.currency = %(currency)s AND execute_on BETWEEN %(since)s AND %(payouts_until)s
  AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.payout_id = payout.id AND its.kind = 'payout')
"""  # noqa: S608 (a constant)

RESOLVE_ARRIVED = """
UPDATE reconciliation_mismatch AS missing SET kind = 'late', resolved_at = %(now)s
WHERE missing.kind = 'missing_at_bank' AND missing.resolved_at IS NULL AND (
    EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.batch_id = missing.batch_id)
    OR EXISTS (SELECT FROM payouts_payout AS payout JOIN reconciliation_banklinematch AS its ON its.payout_id = payout.id
               WHERE payout.public_id = missing.subject
                 AND its.kind = CASE WHEN missing.expected < 0 THEN 'payout' ELSE 'payout_return' END)
    OR EXISTS (SELECT FROM reconciliation_mismatch AS come
               WHERE come.subject = missing.subject AND come.bank_line_id IS NOT NULL AND come.kind IN ('amount', 'currency')))
"""


class Compared(NamedTuple):
    """A currency in which statements are compared: since their first day, and through which day."""

    currency: str
    since: date
    through: date


@transaction.atomic(durable=True)
def find(*, now: datetime) -> int:
    """Keep as a mismatch each batch and each payout that the bank's statements should have by now and have not; return how many are new.

    Nobody compares meanwhile.
    """
    matching.compare_alone()
    with connection.cursor() as cursor:
        cursor.execute(COMPARED, {"quiet_after": QUIET_AFTER})
        found = 0
        for compared in map(Compared._make, cursor.fetchall()):
            cursor.execute(FIND, asked_of(compared) | {"now": now})
            found += cursor.rowcount
    return found


def asked_of(compared: Compared) -> dict[str, Any]:
    """Return what is looked for in a currency: through which day each PSP's batches and our payouts must have arrived."""
    by_the_house = tolerances.last_day_due(compared.through, settings.BANK_DAYS_TO_ARRIVE)
    rules = tolerances.holding(compared.currency, compared.through)
    untils = {"": by_the_house} | {rule.psp: tolerances.last_day_due(compared.through, rule.days) for rule in rules}
    return {
        "currency": compared.currency,
        "since": compared.since,
        "psps": list(untils),
        "untils": list(untils.values()),
        "payouts_until": by_the_house,
    }


def on_its_way(currency: str, *, since: date, until: date) -> set[date]:
    """Return from which days on money could be booked by our bank that no statement has yet, of what was ordered on these days.

    A PSP's batch is booked on the day after it was closed at the soonest, a payout on the day of which its bank says that it was paid, or,
    while it says nothing of a payment file, on the day on which it is to pay.
    """
    asked: dict[str, Any] = {"currency": currency, "since": since, "psps": [""], "untils": [until], "payouts_until": until}
    with connection.cursor() as cursor:
        cursor.execute(ON_ITS_WAY, asked)
        return {day for (day,) in cursor.fetchall()}


def resolve_arrived(*, now: datetime) -> int:
    """Resolve what has come after all; return how many.  Inside the caller's transaction, in which the lines were matched."""
    with connection.cursor() as cursor:
        cursor.execute(RESOLVE_ARRIVED, {"now": now})
        return int(cursor.rowcount)
