"""Bank lines that stand for several things of ours, and things of ours that stand in several lines: found by their names, else by their sums.

Our bank may book all payouts of a payment file in one sum; a PSP may pay several batches at once, or one in several payments.  Whatever is
named is looked at first: the file's message or batch id, the names of batches.  Without a name, only a sum that fits exactly counts, and
only if one possibility alone has it: of two, none is taken, and the line says what it could be.

Called by bank_matching inside its transaction, with the lines that alone are nothing of ours.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations
from operator import attrgetter
from typing import NamedTuple

from django.db import connection

from ledger import chart
from payouts.files import PROVIDER
from reconciliation.models import BankLineMatch, Mismatch, Proposal, SettlementBatch, StagedBankLine

LONG_NAME = 8  # characters: a shorter name of a batch, such as a number, may stand in a text by chance, and must agree in its amount
MOST_AT_ONCE = 12  # batches of a PSP that have not arrived: the sums of more are too many for one of them to prove anything
PAID_WITHIN = 35  # days since the PSP closed a batch, or the bank was to pay a file: without a name, an older one is not thought of
MOST_NAMED = 5  # possibilities, of one line

# How often our books, or a payment file that no answer has told of, took a payout off our bank; and how often lines of the bank's showed it.
TIMES_PAID = """greatest(
    num_nonnulls(payout.paid_entry_id, payout.late_entry_id)
        + (SELECT count(again_entry_id) FROM payouts_paymentfileline AS filed WHERE filed.payout_id = payout.id),
    (payout.status = 'EXECUTING' AND payout.provider = %(by_file)s)::int)"""
# Is it to stand on the bank's statements once more, as one that came back: because it was paid, or because lines show that it left all the same?
IS_TO_COME_BACK = """(payout.return_entry_id IS NOT NULL AND (
    payout.paid_entry_id IS NOT NULL OR payout.late_entry_id IS NULL
        AND EXISTS (SELECT FROM reconciliation_banklinematch AS its WHERE its.payout_id = payout.id AND its.kind = 'payout')))"""
# How much of a batch people have found in lines of another amount: the rest may come, and not all of it again.
EXPLAINED = """(
    SELECT sum(mismatch.found) FROM reconciliation_mismatch AS mismatch
    JOIN reconciliation_proposal AS proposal ON proposal.mismatch_id = mismatch.id AND proposal.status = 'APPROVED'
    WHERE mismatch.subject = batch.public_id AND mismatch.kind = 'amount' AND mismatch.bank_line_id IS NOT NULL
      AND proposal.account = 'bank_in_transit')"""
TIMES_SHOWN = "(SELECT count(*) FROM reconciliation_banklinematch AS its WHERE its.payout_id = payout.id AND its.kind = 'payout')"

# The payment files that debits could be: those that a line names, and those of just its sum.  Of each, what the bank has not shown yet.
FILES = f"""
WITH line AS MATERIALIZED (
    SELECT id, -amount AS amount, coalesce(booked_on, valued_on) AS day, parts, batch_reference, btrim(end_to_end_id) AS end_to_end_id, text
    FROM reconciliation_stagedbankline WHERE id = ANY(%(lines)s::bigint[]) AND amount < 0
), word AS (
    SELECT id AS line_id, batch_reference AS name FROM line UNION SELECT id, end_to_end_id FROM line
    UNION SELECT id, btrim(part, '.-') FROM line, regexp_split_to_table(text, '[^A-Za-z0-9_.-]+') AS part
), file AS MATERIALIZED (
    SELECT id, public_id, message_id, regexp_replace(message_id, '^.*-', '') || '-1' AS batch_id, count, total, execute_on
    FROM payouts_paymentfile WHERE downloaded_at IS NOT NULL AND currency = %(currency)s
), candidate AS (
    SELECT line_id, file.id AS file_id, true AS is_named FROM word JOIN file ON file.message_id = word.name
    UNION SELECT line_id, file.id, true FROM word JOIN file ON file.batch_id = word.name
    UNION SELECT line.id, file.id, false FROM line JOIN file ON file.total = line.amount
    WHERE file.count > 1 AND line.parts IN (1, file.count) AND line.day - file.execute_on BETWEEN -1 AND {PAID_WITHIN}
)
SELECT line_id, file.id, file.public_id, is_named, due.total, line.amount = due.total AND due.total > 0
FROM candidate JOIN file ON file.id = candidate.file_id JOIN line ON line.id = candidate.line_id, LATERAL (
    SELECT coalesce(sum(payout.amount), 0) AS total
    FROM payouts_paymentfileline AS filed JOIN payouts_payout AS payout ON payout.id = filed.payout_id
    WHERE filed.file_id = file.id AND filed.dropped_at IS NULL AND {TIMES_PAID} > {TIMES_SHOWN}
) AS due
ORDER BY line_id, is_named DESC, file.id
"""  # noqa: S608 (constants)

MATCH_FILE = f"""
INSERT INTO reconciliation_banklinematch (line_id, kind, payout_id, number, amount)
SELECT %(line)s, 'payout', payout.id, {TIMES_SHOWN} + 1, -payout.amount
FROM payouts_paymentfileline AS filed JOIN payouts_payout AS payout ON payout.id = filed.payout_id
WHERE filed.file_id = %(file)s AND filed.dropped_at IS NULL AND {TIMES_PAID} > {TIMES_SHOWN}
ORDER BY filed.number
"""  # noqa: S608 (constants)


class Left(NamedTuple):
    """A line that is nothing of ours by itself: why, what it is about, and what of it goes to suspense unless more is found."""

    line_id: int
    amount: Decimal
    verdict: str
    subject: str
    expected: Decimal | None
    suspended: Decimal
    is_payout: bool
    could_be: str = ""


class FileMeant(NamedTuple):
    """A payment file that a debit could be: what the bank has not shown of it yet, and whether that is just the debit."""

    line_id: int
    file_id: int
    public_id: str
    is_named: bool
    due: Decimal
    fits: bool


class Credit(NamedTuple):
    """A credit, the batches that it names which have not arrived, and the PSPs that it names."""

    left: Left
    day: date | None
    named: list[SettlementBatch]
    psps: set[str]


def match_groups(left: Sequence[Left], *, currency: str) -> list[Left]:
    """Match the lines that are several things of ours, or parts of one; return the others, with what they could be."""
    return match_batches(match_files(left, currency=currency), currency=currency)


def without(left: Iterable[Left], matched: Iterable[int]) -> list[Left]:
    gone = set(matched)
    return [each for each in left if each.line_id not in gone]


# --- One debit for the payouts of a file ------------------------------------------------------------------------------


def match_files(left: Sequence[Left], *, currency: str) -> list[Left]:
    """Match the debits that are a payment file; of one that names a file of another sum, say which file."""
    debits = {each.line_id: each for each in left if each.amount < 0 and not each.is_payout}
    meant = files_meant(list(debits), currency=currency)
    wanted = Counter(file.file_id for files in meant.values() for file in files if file.fits)
    matched = []
    for line_id, files in meant.items():
        is_named = files[0].is_named
        fitting = [file for file in files if file.fits and file.is_named == is_named]
        if len(fitting) == 1 and (is_named or wanted[fitting[0].file_id] == 1) and is_matched(line_id, fitting[0].file_id):
            matched.append(line_id)
        elif is_named:
            debits[line_id] = of_another_sum(debits[line_id], files[0])
        elif fitting:
            debits[line_id] = debits[line_id]._replace(could_be="\n".join(file.public_id for file in fitting[:MOST_NAMED]))
    return without((debits.get(each.line_id, each) for each in left), matched)


def files_meant(line_ids: list[int], *, currency: str) -> dict[int, list[FileMeant]]:
    if not line_ids:
        return {}
    meant = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(FILES, {"lines": line_ids, "currency": currency, "by_file": PROVIDER})
        for row in cursor.fetchall():
            meant[row[0]].append(FileMeant(*row))
    return meant


def is_matched(line_id: int, file_id: int) -> bool:
    """Match the debit with all payouts of the file that the bank has not shown; say whether there are any: another line may have been first."""
    with connection.cursor() as cursor:
        cursor.execute(MATCH_FILE, {"line": line_id, "file": file_id, "by_file": PROVIDER})
        return bool(cursor.rowcount)


def of_another_sum(left: Left, file: FileMeant) -> Left:
    verdict = "amount" if file.due and not file.fits else "duplicate"
    return left._replace(verdict=verdict, subject=file.public_id, expected=-file.due if file.due else None)


# --- Credits and batches ----------------------------------------------------------------------------------------------


def match_batches(left: Sequence[Left], *, currency: str) -> list[Left]:
    """Match the credits that are several batches, or parts of one: named ones first, then those of which only the sum tells."""
    credits = [
        each for each in left if each.amount > 0 and not each.is_payout and each.verdict in ("missing_here", "amount", "wrong_batch")
    ]
    if not credits:
        return list(left)
    open_ = unpaid(currency)
    said = said_by(credits, open_)
    matched = match_named(said)
    matched |= match_instalments([each for each in said if each.left.line_id not in matched])
    arrived = set(BankLineMatch.objects.filter(line__in=matched).values_list("batch", flat=True))
    rest = [each for each in said if each.left.line_id not in matched]
    nameless = [each for each in rest if not each.named and each.left.verdict == "missing_here"]
    by_sum, could_be = match_sums(nameless, [batch for batch in open_ if batch.pk not in arrived])
    twice = {each.left.line_id for each in rest if each.named and arrived.issuperset(batch.pk for batch in each.named)}
    return [
        each._replace(verdict="duplicate" if each.line_id in twice else each.verdict, could_be=could_be.get(each.line_id, each.could_be))
        for each in without(left, matched | by_sum)
    ]


def unpaid(currency: str) -> list[SettlementBatch]:
    """Return the batches in the currency that a PSP says it paid, and of which nothing is in a line of the bank's, oldest first."""
    paid_out = SettlementBatch.objects.filter(currency=currency, matched_at__isnull=False, paid_out__gt=0)
    arrived = BankLineMatch.objects.filter(batch__isnull=False).values("batch")
    by_people = Proposal.objects.filter(status=Proposal.Status.APPROVED, account=chart.bank_in_transit(), mismatch__bank_line__isnull=False)
    explained = by_people.filter(mismatch__kind=Mismatch.Kind.AMOUNT).values("mismatch__subject")
    return list(paid_out.exclude(pk__in=arrived).exclude(public_id__in=explained).order_by("closed_at", "pk"))


def said_by(credits: Sequence[Left], batches: Sequence[SettlementBatch]) -> list[Credit]:
    """Return what each credit names of the batches and their PSPs, in the order of the lines."""
    lines = StagedBankLine.objects.in_bulk([each.line_id for each in credits])
    by_name = defaultdict(list)
    for batch in batches:
        by_name[batch.name].append(batch)
    psps = {batch.psp for batch in batches}
    found = []
    for left in sorted(credits, key=attrgetter("line_id")):
        line = lines[left.line_id]
        text = " ".join((line.end_to_end_id, line.batch_reference, line.counterparty, line.text))
        words = {word.strip(".-") for word in re.split(r"[^A-Za-z0-9_.-]+", text)} | {line.end_to_end_id.strip(), line.batch_reference}
        by = {psp for psp in psps if re.search(rf"\b{re.escape(psp)}", text, re.IGNORECASE)}
        named = [batch for word in words - {""} for batch in by_name.get(word, ()) if len(word) >= LONG_NAME or batch.psp in by]
        found.append(Credit(left, line.booked_on or line.valued_on, named, by))
    return found


def match_named(credits: Sequence[Credit]) -> set[int]:
    """Match the credits that name several batches of one PSP, and are just their sum."""
    arrived: set[int] = set()
    matched = {}
    for credit in credits:
        batches = [batch for batch in credit.named if batch.pk not in arrived]
        one_psp = len({batch.psp for batch in batches}) == 1
        if len(batches) > 1 and one_psp and sum(batch.paid_out for batch in batches) == credit.left.amount:
            matched[credit.left.line_id] = batches
            arrived |= {batch.pk for batch in batches}
    keep(matched)
    return set(matched)


def match_instalments(credits: Sequence[Credit]) -> set[int]:
    """Match the credits that all name the same batch, and are just what it paid out together."""
    parts = defaultdict(list)
    for credit in credits:
        if len(credit.named) == 1:
            parts[credit.named[0]].append(credit.left)
    whole = {batch: lines for batch, lines in parts.items() if len(lines) > 1 and sum(line.amount for line in lines) == batch.paid_out}
    BankLineMatch.objects.bulk_create(
        BankLineMatch(line_id=line.line_id, kind=BankLineMatch.Kind.INSTALMENT, batch=batch)
        for batch, lines in whole.items()
        for line in lines
    )
    return {line.line_id for lines in whole.values() for line in lines}


def match_sums(credits: Sequence[Credit], batches: Sequence[SettlementBatch]) -> tuple[set[int], dict[int, str]]:
    """Match the credits that name their PSP alone, and are the sum of some of its batches in one way only.

    Return the lines that are matched, and of each other one that has such a sum what it could be.
    """
    possible = {credit.left.line_id: possibilities(credit, batches) for credit in credits}
    wanted = Counter(batch.pk for choices in possible.values() for batch in {batch for choice in choices for batch in choice})
    sure = {
        line_id: choices[0]
        for line_id, choices in possible.items()
        if len(choices) == 1 and all(wanted[batch.pk] == 1 for batch in choices[0])
    }
    keep(sure)
    could_be = {line_id: written(choices) for line_id, choices in possible.items() if choices and line_id not in sure}
    return set(sure), could_be


def possibilities(credit: Credit, batches: Sequence[SettlementBatch]) -> list[tuple[SettlementBatch, ...]]:
    """Return which batches of the one PSP that the credit names have just its sum; none where too many could be meant."""
    able = [batch for batch in batches if {batch.psp} == credit.psps and in_time(batch, credit.day)]
    if not able or len(able) > MOST_AT_ONCE:
        return []
    choices = (choice for size in range(1, len(able) + 1) for choice in combinations(able, size))
    return [choice for choice in choices if sum(batch.paid_out for batch in choice) == credit.left.amount]


def in_time(batch: SettlementBatch, day: date | None) -> bool:
    closed = batch.closed_at or batch.matched_at
    return day is not None and closed is not None and 0 <= (day - closed.date()).days <= PAID_WITHIN


def written(choices: Sequence[Sequence[SettlementBatch]]) -> str:
    return "\n".join(" ".join(batch.public_id for batch in choice) for choice in choices[:MOST_NAMED])


def keep(matched: Mapping[int, Sequence[SettlementBatch]]) -> None:
    """Match each line with its batches; one that is a single batch with all of it."""
    BankLineMatch.objects.bulk_create(
        BankLineMatch(line_id=line_id, kind=BankLineMatch.Kind.SETTLEMENT, batch=batch, amount=batch.paid_out if len(batches) > 1 else None)
        for line_id, batches in matched.items()
        for batch in batches
    )
