"""A bank's statements against our books: what a PSP paid in has arrived, what we ordered has gone, and the rest waits to be explained.

A statement is compared as a whole, in a few statements, and in one transaction: its lines are marked, its mismatches are kept, and what moved
is posted as one entry.  Of a payout nothing is posted, since our books took it off the bank account when it was paid, and put it back when it
was returned; of it only the difference goes to suspense.  What the bank kept of a PSP's payment, within a tolerance, is a charge of its own.
So suspense holds, statement by statement, what its mismatches are over.

A line is looked at alone first; what is left may be several things of ours together, or a part of one (bank_groups.py).

A line that another statement has brought counts once: it has the same reference of the bank, amount and day.  Called by beat, after files are
staged and the settlement batches in them compared.  A report within the day (MT942) is not compared: its lines come again.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from ledger import chart, journal
from ledger.ids import new_id_in_sql
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.statements import as_document
from payouts.files import PROVIDER
from reconciliation import bank_groups, matching, not_at_the_bank, tolerances
from reconciliation.bank_groups import EXPLAINED, IS_TO_COME_BACK, LONG_NAME, TIMES_PAID, Left
from reconciliation.models import BankStatement, ComparedStatement, SourceFile, StagedBankLine

logger = logging.getLogger(__name__)

WAIT_FOR_SETTLEMENT = timedelta(hours=1)  # that a settlement file which came, and may name what the bank has paid, is read first

# Amounts are signed as the account sees them.  `nth` tells lines apart that are alike within one statement: its balances prove both.  Of the
# batches that a line names, the one that agrees with it and has not arrived comes first.  `times` is how often our books have a payout.  What
# was just staged the planner knows nothing of and takes for one line, so a line's own columns go along and nothing but tables with their
# indexes is joined.  {of} says which lines, {again} which of them another statement has brought.  A tolerance that was made after a line had
# become a mismatch does not explain it: that takes two people.
COMPARE = f"""
WITH read AS MATERIALIZED (
    SELECT id, number, amount, coalesce(booked_on, valued_on) AS day, bank_reference, batch_reference, btrim(end_to_end_id) AS end_to_end_id,
           text, row_number() OVER (PARTITION BY bank_reference, amount, coalesce(booked_on, valued_on) ORDER BY number) AS nth
    FROM reconciliation_stagedbankline WHERE {{of}}
), line AS MATERIALIZED (
    SELECT read.*, {{again}} AS is_again FROM read
), word AS (
    SELECT line.*, end_to_end_id AS name FROM line WHERE end_to_end_id <> '' AND NOT is_again
    UNION SELECT line.*, batch_reference FROM line WHERE batch_reference <> '' AND NOT is_again
    UNION SELECT line.*, btrim(part, '.-') FROM line, regexp_split_to_table(text, '[^A-Za-z0-9_.-]+') AS part WHERE NOT is_again
), claim AS (
    SELECT word.id, word.number, word.amount, word.day, word.is_again, 1 AS place,
           (batch.paid_out, batch.currency) = (word.amount, %(currency)s) AS agrees,
           its.line_id IS NOT NULL OR coalesce(abs({EXPLAINED} + word.amount) > abs(batch.paid_out), false) AS is_taken,
           batch.id AS batch_id, batch.psp, batch.paid_out, (coalesce(batch.closed_at, batch.matched_at) AT TIME ZONE 'UTC')::date AS ordered_on,
           NULL::bigint AS payout_id, NULL::text AS kind, NULL::bigint AS times, NULL::bigint AS nth,
           batch.public_id AS subject, batch.paid_out AS expected, batch.currency AS expected_in
    FROM word JOIN reconciliation_settlementbatch AS batch
      ON batch.name = word.name AND batch.name <> '' AND batch.matched_at IS NOT NULL AND batch.paid_out <> 0
    LEFT JOIN reconciliation_banklinematch AS its ON its.batch_id = batch.id
    WHERE length(batch.name) >= {LONG_NAME} OR (batch.paid_out, batch.currency) = (word.amount, %(currency)s)
    UNION ALL
    SELECT payout.line_id, payout.number, payout.line_amount, payout.day, false, 2, false, false, NULL, NULL, NULL, NULL, payout.id,
           CASE WHEN line_amount < 0 THEN 'payout' ELSE 'payout_return' END,
           CASE WHEN line_amount < 0 THEN {TIMES_PAID}
                ELSE {IS_TO_COME_BACK}::int + num_nonnulls(late_return_entry_id)
                     + (SELECT count(again_return_entry_id) FROM payouts_paymentfileline AS filed WHERE filed.payout_id = payout.id)
           END,
           row_number() OVER (PARTITION BY payout.id, line_amount < 0 ORDER BY payout.number) + (
               SELECT count(*) FROM reconciliation_banklinematch AS its
               WHERE its.payout_id = payout.id AND its.kind = CASE WHEN line_amount < 0 THEN 'payout' ELSE 'payout_return' END
           ), payout.public_id, CASE WHEN line_amount < 0 THEN -payout.amount ELSE payout.amount END, payout.currency
    FROM (
        SELECT line.id AS line_id, line.number, line.amount AS line_amount, line.day, payout.*
        FROM line JOIN payouts_payout AS payout ON payout.public_id = regexp_replace(line.end_to_end_id, '-', '_') WHERE NOT is_again
    ) AS payout
    UNION ALL
    SELECT id, number, amount, day, is_again, 9, false, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL FROM line
), best AS (
    SELECT DISTINCT ON (id) * FROM claim ORDER BY id, place, agrees DESC, is_taken, batch_id
), tolerated AS (
    SELECT best.*, CASE WHEN expected_in = %(currency)s AND amount > 0 AND paid_out > amount
                             AND paid_out - amount <= rule.allowed AND ordered_on >= rule.since THEN rule.id END AS rule_id
    FROM best LEFT JOIN LATERAL (
        SELECT * FROM unnest(%(psps)s::text[], %(days)s::date[], %(amounts)s::numeric[], %(since)s::date[], %(made)s::timestamptz[],
                             %(rules)s::bigint[]) AS rule (of, on_day, allowed, since, made_at, id)
        WHERE rule.of IN ('', best.psp) AND rule.on_day = best.day
          AND (%(is_new)s OR rule.made_at <= (SELECT found_at FROM reconciliation_mismatch WHERE bank_line_id = best.id))
        ORDER BY rule.of DESC LIMIT 1
    ) AS rule ON true
), compared AS (
    SELECT tolerated.*, is_taken OR bool_or(agrees OR rule_id IS NOT NULL) OVER (PARTITION BY batch_id)
               AND row_number() OVER (PARTITION BY batch_id ORDER BY agrees DESC, rule_id IS NULL, number) > 1 AS is_second
    FROM tolerated
), decided AS MATERIALIZED (
    SELECT compared.*, CASE
        WHEN is_again THEN ''
        WHEN batch_id IS NOT NULL THEN CASE
            WHEN expected_in <> %(currency)s THEN 'currency'
            WHEN paid_out = amount THEN CASE WHEN is_second THEN 'duplicate' ELSE '' END
            WHEN EXISTS (
                SELECT FROM reconciliation_settlementbatch AS other
                WHERE (other.psp, other.currency, other.paid_out) = (compared.psp, compared.expected_in, compared.amount)
                  AND other.matched_at IS NOT NULL AND other.id <> compared.batch_id
                  AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.batch_id = other.id)
            ) THEN 'wrong_batch'
            WHEN is_second THEN 'duplicate'
            WHEN rule_id IS NOT NULL THEN ''
            ELSE 'amount' END
        WHEN payout_id IS NULL OR times = 0 THEN 'missing_here'
        WHEN expected_in <> %(currency)s THEN 'currency'
        WHEN nth > times THEN 'duplicate'
        WHEN expected <> amount THEN 'amount'
        ELSE ''
    END AS verdict FROM compared
), matched AS (
    INSERT INTO reconciliation_banklinematch (line_id, kind, batch_id, payout_id, number, short_by, rule_id)
    SELECT id, CASE WHEN is_again THEN 'again' ELSE coalesce(kind, 'settlement') END, batch_id, payout_id, nth,
           CASE WHEN rule_id IS NULL THEN 0 ELSE paid_out - amount END, rule_id
    FROM decided WHERE verdict = '' OR verdict = 'amount' AND payout_id IS NOT NULL AND %(is_new)s
)
SELECT id, amount, verdict, subject, expected,
       CASE WHEN verdict = 'amount' AND payout_id IS NOT NULL THEN amount - expected ELSE amount END, payout_id IS NOT NULL
FROM decided WHERE verdict <> '' ORDER BY number
"""  # noqa: S608 (constants)
IS_AGAIN = """CASE bank_reference WHEN '' THEN %(is_copy)s ELSE nth <= (
        SELECT count(*) FROM reconciliation_stagedbankline AS other
        JOIN reconciliation_bankstatement AS theirs ON theirs.id = other.statement_id AND theirs.currency = %(currency)s
        JOIN reconciliation_sourcefile AS file ON file.id = other.file_id AND file.source = %(source)s
        JOIN reconciliation_comparedstatement AS compared ON compared.statement_id = other.statement_id
        WHERE other.bank_reference = read.bank_reference AND other.bank_reference <> '' AND other.amount = read.amount
          AND coalesce(other.booked_on, other.valued_on) IS NOT DISTINCT FROM read.day
          AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.line_id = other.id AND its.kind = 'again')
    ) END"""
COMPARE_NEW = COMPARE.format(of="statement_id = %(statement)s", again=IS_AGAIN)
COMPARE_OPEN = COMPARE.format(of="id = ANY(%(lines)s::bigint[])", again="false")

KEEP_MISMATCHES = f"""
INSERT INTO reconciliation_mismatch (public_id, kind, psp, bank_line_id, subject, currency, expected, found, suspended, could_be, found_at)
SELECT {new_id_in_sql("mm")}, verdict, %(source)s, line_id, subject, %(currency)s, expected, amount, suspended, could_be, %(now)s
FROM json_to_recordset(%(left)s) AS line
     (line_id bigint, amount numeric, verdict text, subject text, expected numeric, suspended numeric, could_be text)
ORDER BY line_id
"""  # noqa: S608 (a constant)

# What came of a statement: lines, those that match, and of these the ones that are here already; paid in, kept by the bank, in suspense.
TOTALS = """
WITH line AS (
    SELECT line.id, line.amount, mismatch.id AS mismatch_id, mismatch.suspended FROM reconciliation_stagedbankline AS line
    LEFT JOIN reconciliation_mismatch AS mismatch ON mismatch.bank_line_id = line.id WHERE line.statement_id = %(statement)s
), match AS (
    SELECT count(*) FILTER (WHERE kind = 'again') AS again, coalesce(sum(short_by), 0) AS charges,
           coalesce(sum(coalesce(its.amount, line.amount) + short_by) FILTER (WHERE kind IN ('settlement', 'instalment')), 0) AS paid_in
    FROM line JOIN reconciliation_banklinematch AS its ON its.line_id = line.id
)
SELECT (SELECT count(*) FROM line), (SELECT count(mismatch_id) FROM line), again, paid_in, charges,
       (SELECT coalesce(sum(suspended), 0) FROM line)
FROM match
"""

# The newest day before this one on which a statement of the account closed, with what it closed; a part goes on where one of its day ended.
CLOSED_BEFORE = """
WITH other AS (
    SELECT statement.* FROM reconciliation_bankstatement AS statement
    JOIN reconciliation_sourcefile AS file ON file.id = statement.file_id AND file.status = 'STAGED' AND file.source = %(source)s
    WHERE (account, currency) = (%(account)s, %(currency)s) AND has_balances AND statement.id <> %(statement)s AND closed_on <= %(closed_on)s
), newest AS (
    SELECT max(closed_on) AS closed_on FROM other WHERE closed_on < %(closed_on)s
)
SELECT other.closed_on, other.closing FROM other, newest
WHERE newest.closed_on IS NOT NULL AND (other.closed_on = newest.closed_on OR other.closed_on = %(closed_on)s AND other.opening <> %(opening)s)
ORDER BY other.closing = %(opening)s DESC, other.closed_on, other.position DESC LIMIT 1
"""


class Gap(NamedTuple):
    """A statement does not open with what the one before closed with: one between them is missing, or one of them is wrong."""

    closed_on: date  # of the one before
    closing: Decimal


def match_waiting(*, now: datetime) -> int:
    """Compare the statements of all staged files that were not compared, in their order; return how many.  Commits one by one.

    As long as a settlement file that came within the hour waits to be read, none is compared.
    """
    received = SourceFile.objects.filter(kind=SourceFile.Kind.SETTLEMENT, status=SourceFile.Status.RECEIVED)
    if received.filter(received_at__gt=now - WAIT_FOR_SETTLEMENT).exists():
        return 0
    waiting = BankStatement.objects.filter(file__status=SourceFile.Status.STAGED, has_balances=True, compared=None)
    ordered = waiting.order_by("closed_on", "file", "position").values_list("pk", flat=True)
    return sum(match(statement_id, now=now).matched_at == now for statement_id in ordered)


@transaction.atomic(durable=True)
def match(statement_id: int, *, now: datetime) -> ComparedStatement:
    """Compare the lines of a statement with our books, mark each, and post what moved: all of it or nothing; the second time nothing.

    Nobody else compares meanwhile.
    """
    matching.compare_alone()
    statement = BankStatement.objects.select_related("file").get(pk=statement_id)
    compared = ComparedStatement.objects.filter(pk=statement_id).first()
    if compared is None:
        compared = compare(statement, now=now)
        not_at_the_bank.resolve_arrived(now=now)
        compared.journal_entry_id = post(compared, now=now)
        compared.save(force_insert=True)
        logger.info("%s of %s is compared: %s of %s lines match", compared, statement.file.public_id, compared.matched, compared.lines)
        if gap := gap_before(statement):
            logger.error("%s does not open with what the statement of %s closed with", compared, gap.closed_on)
    return compared


def compare(statement: BankStatement, *, now: datetime) -> ComparedStatement:
    """Write a match or a mismatch for each line; return what came of it, not saved."""
    days = statement.bank_lines.values_list(Coalesce("booked_on", "valued_on"), flat=True).distinct()
    asked = asked_of(statement.file.source, statement.currency, days=days)
    left = rows_left(COMPARE_NEW, asked | {"statement": statement.pk, "is_copy": is_copy(statement), "is_new": True})
    left = bank_groups.match_groups(left, currency=statement.currency)
    with connection.cursor() as cursor:
        cursor.execute(KEEP_MISMATCHES, asked | {"left": as_document([each._asdict() for each in left]), "now": now})
        cursor.execute(TOTALS, {"statement": statement.pk})
        lines, mismatched, again, paid_in, charges, suspended = cursor.fetchone()
    return ComparedStatement(
        statement=statement,
        lines=lines,
        matched=lines - mismatched,
        mismatched=mismatched,
        again=again,
        paid_in=paid_in,
        charges=charges,
        suspended=suspended,
        matched_at=now,
    )


def match_open(line_ids: Sequence[int], *, source: str, currency: str) -> None:
    """Match those of a bank's open lines that are something of ours by now.  Inside the caller's transaction, in which it compares alone."""
    lines = StagedBankLine.objects.filter(pk__in=line_ids)
    asked = asked_of(source, currency, days=lines.values_list(Coalesce("booked_on", "valued_on"), flat=True).distinct())
    bank_groups.match_groups(rows_left(COMPARE_OPEN, asked | {"lines": list(line_ids), "is_new": False}), currency=currency)


def asked_of(source: str, currency: str, *, days: Iterable[date | None]) -> dict[str, Any]:
    """Return what lines of a bank in a currency are compared by: what may be missing on each of the days on which they were booked."""
    allowed = tolerances.allowed(currency, [day for day in days if day is not None])
    return {
        "source": source,
        "currency": currency,
        "by_file": PROVIDER,
        "psps": [each.psp for each in allowed],
        "days": [each.day for each in allowed],
        "amounts": [each.amount for each in allowed],
        "since": [each.since for each in allowed],
        "made": [each.made_at for each in allowed],
        "rules": [each.rule_id for each in allowed],
    }


def rows_left(query: str, asked: dict[str, Any]) -> list[Left]:
    """Match the lines that alone are something of ours; return the others."""
    with connection.cursor() as cursor:
        cursor.execute(query, asked)
        return [Left(*row) for row in cursor.fetchall()]


def is_copy(statement: BankStatement) -> bool:
    """Say whether the same statement was compared before, from another file: lines without a reference of the bank's are told by that alone."""
    same = {name: getattr(statement, name) for name in ("account", "currency", "opening", "closing", "opened_on", "closed_on", "lines")}
    return ComparedStatement.objects.filter(
        **{f"statement__{name}": value for name, value in same.items()}, statement__file__source=statement.file.source
    ).exists()


def post(compared: ComparedStatement, *, now: datetime) -> int | None:
    """Post what moved; return the entry, None where nothing did.  Inside the caller's transaction."""
    return matching.posted(entry_of(compared, now=now), currency=compared.statement.currency)


def entry_of(compared: ComparedStatement, *, now: datetime) -> Draft:
    """The entry of a statement: on the bank account is what was on its way, less what the bank kept, and what nobody can explain."""
    statement = compared.statement
    moved = {
        chart.operating_bank(): compared.paid_in - compared.charges + compared.suspended,
        chart.bank_charges(): compared.charges,
        chart.bank_in_transit(): -compared.paid_in,
        chart.suspense(): -compared.suspended,
    }
    debits, credits = journal.sides(moved, currency=statement.currency)
    return Draft(
        kind=JournalEntry.Kind.BANK_STATEMENT,
        reference=compared.public_id,
        memo=f"{statement.account} {statement.number}".strip(),
        effective_at=datetime.combine(statement.closed_on, time(23, 59, 59), tzinfo=UTC) if statement.closed_on else now,
        debits=debits,
        credits=credits,
    )


def gap_before(statement: BankStatement) -> Gap | None:
    """Return what the statement before closed with, unless this one opens with just that, or there is none before."""
    asked: dict[str, Any] = {name: getattr(statement, name) for name in ("account", "currency", "closed_on", "opening")}
    with connection.cursor() as cursor:
        cursor.execute(CLOSED_BEFORE, asked | {"statement": statement.pk, "source": statement.file.source})
        row = cursor.fetchone()
    return Gap(*row) if row and row[1] != statement.opening and statement.has_balances else None
