"""A bank's statements against our books: what a PSP paid in has arrived, what we ordered has gone, and the rest waits to be explained.

A statement is compared as a whole, in a few statements, and in one transaction: its lines are marked, its mismatches are kept, and what moved
is posted as one entry.  Of a payout nothing is posted, since our books took it off the bank account when it was paid, and put it back when it
was returned; of it only the difference goes to suspense.  So suspense holds, statement by statement, what its mismatches are over.

A line that another statement has brought counts once: it has the same reference of the bank, amount and day.  Called by beat, after files are
staged and the settlement batches in them compared.  A report within the day (MT942) is not compared: its lines come again.
"""

import logging
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction
from djmoney.money import Money

from ledger import chart, journal
from ledger.ids import new_id_in_sql
from ledger.journal import Draft
from ledger.models import JournalEntry
from payouts.files import PROVIDER
from reconciliation.matching import LONGEST_S, ONE_AT_A_TIME
from reconciliation.models import BankStatement, ComparedStatement, SourceFile

logger = logging.getLogger(__name__)

WAIT_FOR_SETTLEMENT = timedelta(hours=1)  # that a settlement file which came, and may name what the bank has paid, is read first
LONG_NAME = 8  # characters: a shorter name of a batch, such as a number, may stand in a text by chance, and must agree in its amount

# Amounts are signed as the account sees them.  `nth` tells lines apart that are alike within one statement: its balances prove both.  Of the
# batches that a line names, the one that agrees with it and has not arrived comes first.  `times` is how often our books have a payout.
COMPARE = f"""
WITH read AS MATERIALIZED (
    SELECT id, number, amount, coalesce(booked_on, valued_on) AS day, bank_reference, batch_reference, btrim(end_to_end_id) AS end_to_end_id,
           text, row_number() OVER (PARTITION BY bank_reference, amount, coalesce(booked_on, valued_on) ORDER BY number) AS nth
    FROM reconciliation_stagedbankline WHERE statement_id = %(statement)s
), known AS (
    SELECT other.bank_reference, other.amount, coalesce(other.booked_on, other.valued_on) AS day, count(*) AS times
    FROM reconciliation_stagedbankline AS other
    JOIN reconciliation_bankstatement AS theirs ON theirs.id = other.statement_id AND theirs.currency = %(currency)s
    JOIN reconciliation_sourcefile AS file ON file.id = other.file_id AND file.source = %(source)s
    JOIN reconciliation_comparedstatement AS compared ON compared.statement_id = other.statement_id
    WHERE other.bank_reference IN (SELECT bank_reference FROM read WHERE bank_reference <> '') AND other.bank_reference <> ''
      AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.line_id = other.id AND its.kind = 'again')
    GROUP BY 1, 2, 3
), line AS MATERIALIZED (
    SELECT read.*, CASE read.bank_reference WHEN '' THEN %(is_copy)s ELSE coalesce(read.nth <= known.times, false) END AS is_again
    FROM read LEFT JOIN known ON (known.bank_reference, known.amount) = (read.bank_reference, read.amount)
          AND known.day IS NOT DISTINCT FROM read.day
), word AS (
    SELECT id AS line_id, end_to_end_id AS name FROM line WHERE end_to_end_id <> '' AND NOT is_again
    UNION SELECT id, batch_reference FROM line WHERE batch_reference <> '' AND NOT is_again
    UNION SELECT id, btrim(part, '.-') FROM line, regexp_split_to_table(text, '[^A-Za-z0-9_.-]+') AS part WHERE NOT is_again
), settled AS (
    SELECT DISTINCT ON (line.id) line.id AS line_id, batch.id AS batch_id, batch.public_id AS subject, batch.psp, batch.paid_out, batch.currency,
           its.line_id IS NOT NULL AS is_taken
    FROM word JOIN line ON line.id = word.line_id
    JOIN reconciliation_settlementbatch AS batch
      ON batch.name = word.name AND batch.name <> '' AND batch.matched_at IS NOT NULL AND batch.paid_out <> 0
    LEFT JOIN reconciliation_banklinematch AS its ON its.batch_id = batch.id
    WHERE length(batch.name) >= {LONG_NAME} OR (batch.paid_out, batch.currency) = (line.amount, %(currency)s)
    ORDER BY line.id, (batch.paid_out, batch.currency) = (line.amount, %(currency)s) DESC, its.line_id IS NOT NULL, batch.id
), said AS (
    SELECT line.id AS line_id, line.number, line.amount < 0 AS is_debit, payout.*
    FROM line JOIN payouts_payout AS payout ON payout.public_id = regexp_replace(line.end_to_end_id, '-', '_') WHERE NOT is_again
), paid AS (
    SELECT said.line_id, said.id AS payout_id, said.public_id AS subject, said.currency,
           CASE WHEN is_debit THEN 'payout' ELSE 'payout_return' END AS kind,
           CASE WHEN is_debit THEN -said.amount ELSE said.amount END AS expected,
           CASE WHEN is_debit
                THEN greatest(num_nonnulls(paid_entry_id, late_entry_id) + again.debits,
                              (status = 'EXECUTING' AND provider = %(by_file)s)::int)
                ELSE (num_nonnulls(paid_entry_id, return_entry_id) = 2)::int + num_nonnulls(late_return_entry_id) + again.returns
           END AS times,
           earlier.lines + row_number() OVER (PARTITION BY said.id, is_debit ORDER BY said.number) AS nth
    FROM said, LATERAL (
        SELECT count(again_entry_id) AS debits, count(again_return_entry_id) AS returns
        FROM payouts_paymentfileline AS filed WHERE filed.payout_id = said.id
    ) AS again, LATERAL (
        SELECT count(*) AS lines FROM reconciliation_banklinematch AS its
        WHERE its.payout_id = said.id AND its.kind = CASE WHEN is_debit THEN 'payout' ELSE 'payout_return' END
    ) AS earlier
), compared AS (
    SELECT line.id, line.number, line.amount, line.is_again, settled.batch_id, settled.psp, settled.paid_out, settled.currency AS settled_in,
           settled.is_taken OR row_number() OVER (PARTITION BY settled.batch_id ORDER BY settled.paid_out = line.amount DESC, line.number) > 1
               AS is_taken,
           paid.payout_id, paid.kind, paid.expected AS ordered, paid.currency AS ordered_in, paid.times, paid.nth,
           coalesce(settled.subject, paid.subject, '') AS subject, coalesce(settled.paid_out, paid.expected) AS expected
    FROM line LEFT JOIN settled ON settled.line_id = line.id LEFT JOIN paid ON paid.line_id = line.id AND settled.line_id IS NULL
), decided AS MATERIALIZED (
    SELECT compared.*, CASE
        WHEN is_again THEN ''
        WHEN batch_id IS NOT NULL THEN CASE
            WHEN settled_in <> %(currency)s THEN 'currency'
            WHEN paid_out = amount THEN CASE WHEN is_taken THEN 'duplicate' ELSE '' END
            WHEN EXISTS (
                SELECT FROM reconciliation_settlementbatch AS other
                WHERE (other.psp, other.currency, other.paid_out) = (compared.psp, compared.settled_in, compared.amount)
                  AND other.matched_at IS NOT NULL AND other.id <> compared.batch_id
                  AND NOT EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.batch_id = other.id)
            ) THEN 'wrong_batch'
            WHEN is_taken THEN 'duplicate'
            ELSE 'amount' END
        WHEN payout_id IS NULL OR times = 0 THEN 'missing_here'
        WHEN ordered_in <> %(currency)s THEN 'currency'
        WHEN nth > times THEN 'duplicate'
        WHEN ordered <> amount THEN 'amount'
        ELSE ''
    END AS verdict FROM compared
), matched AS (
    INSERT INTO reconciliation_banklinematch (line_id, kind, batch_id, payout_id, number)
    SELECT id, CASE WHEN is_again THEN 'again' ELSE coalesce(kind, 'settlement') END, batch_id, payout_id, nth
    FROM decided WHERE verdict = '' OR verdict = 'amount' AND payout_id IS NOT NULL
), mismatched AS (
    INSERT INTO reconciliation_mismatch (public_id, kind, psp, bank_line_id, subject, currency, expected, found, suspended, found_at)
    SELECT {new_id_in_sql("mm")}, verdict, %(source)s, id, subject, %(currency)s, expected, amount,
           CASE WHEN verdict = 'amount' AND payout_id IS NOT NULL THEN amount - ordered ELSE amount END, %(now)s
    FROM decided WHERE verdict <> ''
)
SELECT count(*), count(*) FILTER (WHERE verdict = ''), count(*) FILTER (WHERE is_again),
       coalesce(sum(amount) FILTER (WHERE verdict = '' AND batch_id IS NOT NULL), 0),
       coalesce(sum(CASE WHEN verdict = 'amount' AND payout_id IS NOT NULL THEN amount - ordered ELSE amount END)
                FILTER (WHERE verdict <> ''), 0)
FROM decided
"""  # noqa: S608 (constants)

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
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{LONGEST_S}s"])
    statement = BankStatement.objects.select_related("file").get(pk=statement_id)
    compared = ComparedStatement.objects.filter(pk=statement_id).first()
    if compared is None:
        compared = compare(statement, now=now)
        compared.journal_entry_id = post(compared, now=now)
        compared.save(force_insert=True)
        logger.info("%s of %s is compared: %s of %s lines match", compared, statement.file.public_id, compared.matched, compared.lines)
        if gap := gap_before(statement):
            logger.error("%s does not open with what the statement of %s closed with", compared, gap.closed_on)
    return compared


def compare(statement: BankStatement, *, now: datetime) -> ComparedStatement:
    """Write a match or a mismatch for each line; return what came of it, not saved."""
    asked: dict[str, Any] = {
        "statement": statement.pk,
        "source": statement.file.source,
        "currency": statement.currency,
        "is_copy": is_copy(statement),
        "by_file": PROVIDER,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(COMPARE, asked)
        lines, matched, again, paid_in, suspended = cursor.fetchone()
    return ComparedStatement(
        statement=statement,
        lines=lines,
        matched=matched,
        mismatched=lines - matched,
        again=again,
        paid_in=paid_in,
        suspended=suspended,
        matched_at=now,
    )


def is_copy(statement: BankStatement) -> bool:
    """Say whether the same statement was compared before, from another file: lines without a reference of the bank's are told by that alone."""
    same = {name: getattr(statement, name) for name in ("account", "currency", "opening", "closing", "opened_on", "closed_on", "lines")}
    return ComparedStatement.objects.filter(
        **{f"statement__{name}": value for name, value in same.items()}, statement__file__source=statement.file.source
    ).exists()


def post(compared: ComparedStatement, *, now: datetime) -> int | None:
    """Post what moved; return the entry, None where nothing did.  Inside the caller's transaction."""
    draft = entry_of(compared, now=now)
    if not (draft.debits or draft.credits):
        return None
    journal.open_accounts([code for code, _amount in (*draft.debits, *draft.credits)], currency=compared.statement.currency)
    [entry_id] = journal.post([draft])
    return entry_id


def entry_of(compared: ComparedStatement, *, now: datetime) -> Draft:
    """The entry of a statement: on the bank account is what was on its way, and what nobody can explain."""
    statement = compared.statement
    moved = {
        chart.operating_bank(): compared.paid_in + compared.suspended,
        chart.bank_in_transit(): -compared.paid_in,
        chart.suspense(): -compared.suspended,
    }
    return Draft(
        kind=JournalEntry.Kind.BANK_STATEMENT,
        reference=compared.public_id,
        memo=f"{statement.account} {statement.number}".strip(),
        effective_at=datetime.combine(statement.closed_on, time(23, 59, 59), tzinfo=UTC) if statement.closed_on else now,
        debits=[(code, Money(amount, statement.currency)) for code, amount in moved.items() if amount > 0],
        credits=[(code, Money(-amount, statement.currency)) for code, amount in moved.items() if amount < 0],
    )


def gap_before(statement: BankStatement) -> Gap | None:
    """Return what the statement before closed with, unless this one opens with just that, or there is none before."""
    asked: dict[str, Any] = {name: getattr(statement, name) for name in ("account", "currency", "closed_on", "opening")}
    with connection.cursor() as cursor:
        cursor.execute(CLOSED_BEFORE, asked | {"statement": statement.pk, "source": statement.file.source})
        row = cursor.fetchone()
    return Gap(*row) if row and row[1] != statement.opening and statement.has_balances else None
