"""A PSP's settlement files against our books: each line is found in them and agrees, or is a mismatch.

A batch is compared as a whole, in a few statements, and in one transaction: its lines are marked, its mismatches are kept, and what it
proves is posted as one entry.  The PSP has paid out so much (bank in transit) and kept so much (PSP fees); lines that we cannot explain go
to suspense with all that they moved; the rest is what the PSP owes us less.  So suspense holds, batch by batch, what its mismatches are over.

A line is found by our own key first, then by the PSP's id; it agrees if amount, net and currency do, and its fee, where one is expected.  Of
a batch that was compared before, from another file, nothing counts twice.  Called by beat, after files are staged.
"""

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, takewhile
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Q

from ledger import chart, journal
from ledger.ids import new_id_in_sql
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.money import minor_units
from payments import releases
from payments.settlement import CANNOT_BOOK
from reconciliation.formats.records import LineKind
from reconciliation.models import ExpectedFee, LineMatch, SettlementBatch, StagedLine

logger = logging.getLogger(__name__)

LONGEST_S = 240  # of one statement: a batch may have two million lines
MEMORY = "128MB"  # of Postgres, for a sort or a hash of a million lines
PAGE = 1000  # orders that are told at once
DISPUTE_KNOWN_AFTER = timedelta(days=2)  # since its fee stands in a file that we read
MISSING_AFTER = timedelta(days=5)  # a PSP may take so long to settle a charge
STUCK_AFTER = timedelta(hours=1)  # since its file was read: a batch is compared within minutes
MOST_STUCK = 100  # that are shown

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('reconciliation.matching'))"

OPEN_BATCHES = f"""
INSERT INTO reconciliation_settlementbatch
    (public_id, file_id, psp, name, currency, closed_at, lines, matched, mismatched, paid_out, fees, suspended)
SELECT {new_id_in_sql("sb")}, of.id, of.source, of.batch, of.net_currency, of.closed_at, of.lines, 0, 0, 0, 0, 0 FROM (
    SELECT file.id, source, batch, net_currency, count(*) AS lines,
           coalesce(max(settled_on + time '23:59:59') AT TIME ZONE 'UTC', max(occurred_at)) AS closed_at
    FROM reconciliation_sourcefile AS file JOIN reconciliation_stagedline AS line ON line.file_id = file.id
    WHERE status = 'STAGED' AND file.kind = 'settlement' AND file.format <> ALL(%(only_read)s::text[])
      AND NOT EXISTS (SELECT FROM reconciliation_settlementbatch AS batch WHERE batch.file_id = file.id)
    GROUP BY file.id, source, batch, net_currency
) AS of ORDER BY of.closed_at, of.id
ON CONFLICT (file_id, name, currency) DO NOTHING
"""  # noqa: S608 (a constant)

# A batch with the fee of a dispute that we have not heard of waits for it: the dispute books its fee, and nothing else may book it again.  At
# Adyen that is a Fee that names a payment; those of its own name none.  If the wait is over and nothing was heard, a person must say what it is.
WAITING = """
SELECT batch.id FROM reconciliation_settlementbatch AS batch JOIN reconciliation_sourcefile AS file ON file.id = batch.file_id
WHERE matched_at IS NULL AND file.staged_at <= %(staged_by)s AND (file.staged_at < %(until)s OR NOT EXISTS (
    SELECT FROM reconciliation_stagedline AS line
    WHERE (line.file_id, line.batch, line.net_currency) = (batch.file_id, batch.name, batch.currency)
      AND line.type IN ('dispute_fee', 'Fee') AND (line.type = 'dispute_fee' OR line.charge_reference <> '')
      AND NOT EXISTS (SELECT FROM payments_dispute AS dispute WHERE (dispute.psp, dispute.psp_reference) = (batch.psp, line.psp_reference))
)) ORDER BY batch.closed_at, batch.id LIMIT %(most)s
"""

# Of what was just staged the planner knows nothing, and takes it for one line.  That is the right plan where our tables are far larger than the
# batch: each line finds its own by an index.  Else the tables are read from end to end, once.
PLAN = """
SELECT set_config('work_mem', %(memory)s, true), set_config('enable_nestloop', CASE WHEN %(lines)s * 8 > reltuples THEN 'off' ELSE 'on' END, true)
FROM pg_class WHERE oid = 'payments_pspattempt'::regclass
"""
AS_BEFORE = "SELECT set_config('enable_nestloop', 'on', true)"

# Nearly all lines are captures.  They go straight through joins with keys of which each has one partner, and carry no more than numbers from
# there on, so that a million of them are sorted once.  Of the others, `place` orders what a line could be about, the surest first.
# Amounts are signed as our balance at the PSP sees them.  A charge is told by its own id, whoever's key stands beside it.  A line with two claims
# on one thing, whose call was made twice, counts once.  The fee of a dispute is booked by the dispute, in whichever line it stands.
# Nothing but tables with their indexes is joined: what has neither would be compared line by line.
COMPARE = f"""
WITH other AS MATERIALIZED (
    SELECT id, number, kind, type, psp_reference, charge_reference, our_reference, currency, gross, fee, net, CASE kind WHEN 'fee' THEN net ELSE gross END AS found
    FROM reconciliation_stagedline WHERE (file_id, batch, net_currency) = (%(file)s, %(name)s, %(currency)s) AND kind <> 'capture'
), claim AS (
    SELECT other.*, 1 AS place, NULL::numeric AS fee_of_dispute, refund.id AS refund_id, NULL::bigint AS dispute_id,
           CASE other.kind WHEN 'refund' THEN -1 ELSE 1 END * (refund.amount - refund.tendered) AS expected, refund.currency AS expected_in
    FROM other JOIN payments_pspattempt AS attempt ON attempt.psp_key = other.our_reference AND attempt.psp_key <> '' AND attempt.psp = %(psp)s
    JOIN payments_refund AS refund ON refund.id = attempt.refund_id
    WHERE other.kind IN ('refund', 'refund_failed')
      AND CASE other.kind WHEN 'refund' THEN refund.journal_entry_id ELSE refund.reversal_entry_id END IS NOT NULL
    UNION ALL
    SELECT other.*, 2, NULL, refund.id, NULL, CASE other.kind WHEN 'refund' THEN -1 ELSE 1 END * (refund.amount - refund.tendered), refund.currency
    FROM other JOIN payments_refund AS refund ON refund.psp_reference = other.psp_reference AND refund.psp_reference <> ''
    JOIN payments_paymentorder AS payment ON payment.id = refund.order_id AND payment.psp = %(psp)s
    WHERE other.kind IN ('refund', 'refund_failed')
      AND CASE other.kind WHEN 'refund' THEN refund.journal_entry_id ELSE refund.reversal_entry_id END IS NOT NULL
    UNION ALL
    SELECT other.*, 1, dispute.fee, NULL, dispute.id,
           CASE other.kind WHEN 'dispute' THEN -dispute.amount WHEN 'fee' THEN -dispute.fee ELSE dispute.amount - dispute.lost END, dispute.currency
    FROM other JOIN payments_dispute AS dispute ON dispute.psp = %(psp)s AND dispute.psp_reference = other.psp_reference
    WHERE other.kind IN ('dispute', 'fee') OR other.kind = 'dispute_reversed' AND dispute.closing_entry_id IS NOT NULL
    UNION ALL
    SELECT other.*, 9, NULL, NULL, NULL, NULL, NULL FROM other
), best AS (
    SELECT DISTINCT ON (id) * FROM claim ORDER BY id, place, expected
), compared AS (
    SELECT line.id, line.number, line.kind, payment.id AS order_id, NULL::bigint AS refund_id, NULL::bigint AS dispute_id, late.id AS late_charge_id,
           gross, line.fee, line.net, gross AS found, coalesce(late.amount, payment.amount - payment.tendered) AS expected,
           coalesce(round(gross * %(basis_points)s::numeric / 10000 + %(fixed)s::numeric, %(places)s), greatest(0, least(line.fee, gross))) AS expected_fee,
           line.currency <> coalesce(late.currency, payment.currency) OR %(currency)s <> coalesce(late.currency, payment.currency) AS is_foreign,
           coalesce(of_order.line_id, of_late_charge.line_id) IS NOT NULL AS is_again, false AS is_own
    FROM reconciliation_stagedline AS line
    LEFT JOIN payments_latecharge AS late ON late.psp = %(psp)s AND late.psp_reference = line.psp_reference
    LEFT JOIN payments_pspattempt AS by_key
           ON late.id IS NULL AND by_key.psp_key = line.our_reference AND by_key.psp_key <> ''
          AND by_key.psp = %(psp)s AND by_key.operation = 'charge' AND by_key.status = 'SUCCEEDED'
          AND by_key.psp_reference IN ('', line.psp_reference)
    LEFT JOIN LATERAL (
        SELECT order_id FROM payments_pspattempt AS attempt
        WHERE late.id IS NULL AND by_key.id IS NULL AND attempt.psp_reference = line.psp_reference AND attempt.psp_reference <> ''
          AND attempt.psp = %(psp)s AND attempt.operation = 'charge' AND attempt.status = 'SUCCEEDED'
        LIMIT 1
    ) AS by_id ON true
    LEFT JOIN payments_paymentorder AS payment ON payment.id = coalesce(by_key.order_id, by_id.order_id) AND payment.status = 'SUCCESS'
    LEFT JOIN reconciliation_linematch AS of_order ON of_order.order_id = payment.id AND of_order.kind = 'capture'
    LEFT JOIN reconciliation_linematch AS of_late_charge ON of_late_charge.late_charge_id = late.id AND of_late_charge.kind = 'capture'
    WHERE (line.file_id, line.batch, line.net_currency) = (%(file)s, %(name)s, %(currency)s) AND line.kind = 'capture'
    UNION ALL
    SELECT best.id, best.number, best.kind, NULL, best.refund_id, best.dispute_id, NULL, gross, fee, net, found, expected,
           CASE WHEN best.kind = 'dispute' THEN CASE WHEN fee = 0 OR EXISTS (
               SELECT FROM reconciliation_linematch AS its WHERE its.dispute_id = best.dispute_id AND its.kind = 'fee'
           ) THEN 0 ELSE fee_of_dispute END END,
           best.currency <> expected_in OR %(currency)s <> expected_in,
           coalesce(of_refund.line_id, of_dispute.line_id) IS NOT NULL
               OR best.kind = 'fee' AND best.psp_reference IN (SELECT psp_reference FROM other WHERE kind = 'dispute' AND fee <> 0)
               OR best.kind = 'fee' AND EXISTS (SELECT FROM reconciliation_stagedline AS earlier WHERE earlier.fee <> 0 AND earlier.id = (
                   SELECT line_id FROM reconciliation_linematch AS its WHERE its.dispute_id = best.dispute_id AND its.kind = 'dispute')),
           best.kind = ANY(%(own)s) OR best.kind = 'fee' AND best.dispute_id IS NULL AND type <> 'dispute_fee'
               AND NOT (type = 'Fee' AND charge_reference <> '')
    FROM best
    LEFT JOIN reconciliation_linematch AS of_refund ON of_refund.refund_id = best.refund_id AND of_refund.kind = best.kind
    LEFT JOIN reconciliation_linematch AS of_dispute ON of_dispute.dispute_id = best.dispute_id AND of_dispute.kind = best.kind
), in_order AS (
    SELECT *, lag(id) OVER same AS id_before FROM compared
    WINDOW same AS (PARTITION BY order_id, late_charge_id, refund_id, dispute_id, kind ORDER BY number)
), decided AS MATERIALIZED (
    SELECT id, kind, order_id, refund_id, dispute_id, late_charge_id, gross, fee, net, found, expected, expected_fee, CASE
        WHEN is_own THEN CASE WHEN %(is_copy)s THEN 'duplicate' ELSE '' END
        WHEN coalesce(order_id, late_charge_id, refund_id, dispute_id) IS NULL THEN 'missing_here'
        WHEN is_again OR id_before IS NOT NULL THEN 'duplicate'
        WHEN is_foreign THEN 'currency'
        WHEN found <> expected OR net <> gross - fee THEN 'amount'
        WHEN fee <> expected_fee THEN 'fee'
        ELSE ''
    END AS verdict FROM in_order WHERE id_before IS DISTINCT FROM id
), matched AS (
    INSERT INTO reconciliation_linematch (line_id, batch_id, kind, order_id, refund_id, dispute_id, late_charge_id)
    SELECT id, %(batch)s, kind, order_id, refund_id, dispute_id, late_charge_id FROM decided WHERE verdict IN ('', 'fee')
), mismatched AS (
    INSERT INTO reconciliation_mismatch
        (public_id, kind, psp, batch_id, line_id, subject, currency, expected, found, suspended, found_at)
    SELECT {new_id_in_sql("mm")}, verdict, %(psp)s, %(batch)s, id, coalesce(
               (SELECT public_id FROM payments_latecharge WHERE id = late_charge_id), (SELECT public_id FROM payments_paymentorder WHERE id = order_id),
               (SELECT public_id FROM payments_refund WHERE id = refund_id), (SELECT public_id FROM payments_dispute WHERE id = dispute_id), ''),
           %(currency)s,
           CASE WHEN verdict = 'fee' THEN expected_fee WHEN verdict = 'amount' AND found = expected THEN gross - fee ELSE expected END,
           CASE WHEN verdict = 'fee' THEN fee WHEN verdict = 'amount' AND found = expected THEN net ELSE found END,
           CASE verdict WHEN 'fee' THEN expected_fee - fee ELSE net END, %(now)s
    FROM decided WHERE verdict <> ''
)
SELECT count(*), count(*) FILTER (WHERE verdict = ''),
       coalesce(-sum(net + fee) FILTER (WHERE kind = ANY(%(to_bank)s) AND verdict = ''), 0),
       coalesce(sum(CASE WHEN kind = 'dispute' THEN 0 WHEN verdict = 'fee' THEN expected_fee
                         WHEN kind <> 'fee' THEN fee WHEN dispute_id IS NULL THEN -net ELSE 0 END)
                FILTER (WHERE verdict IN ('', 'fee')), 0),
       coalesce(sum(CASE verdict WHEN 'fee' THEN expected_fee - fee ELSE net END) FILTER (WHERE verdict <> ''), 0)
FROM decided
"""  # noqa: S608 (a constant)

# What was missing there, and is in this batch after all.
COME_LATE = """
UPDATE reconciliation_mismatch AS missing SET kind = 'late', resolved_at = %(now)s, batch_id = %(batch)s
FROM (
    SELECT missing.id, payment.id AS order_id, refund.id AS refund_id, late.id AS late_charge_id
    FROM reconciliation_mismatch AS missing
    LEFT JOIN payments_paymentorder AS payment ON payment.public_id = missing.subject
    LEFT JOIN payments_refund AS refund ON refund.public_id = missing.subject
    LEFT JOIN payments_latecharge AS late ON late.public_id = missing.subject
    WHERE missing.line_id IS NULL AND missing.kind = 'missing_there' AND missing.resolved_at IS NULL
) AS of
WHERE missing.id = of.id AND missing.resolved_at IS NULL AND (
    EXISTS (SELECT FROM reconciliation_linematch AS its WHERE (its.order_id, its.kind, its.batch_id) = (of.order_id, 'capture', %(batch)s))
    OR EXISTS (SELECT FROM reconciliation_linematch AS its WHERE (its.refund_id, its.kind, its.batch_id) = (of.refund_id, 'refund', %(batch)s))
    OR EXISTS (SELECT FROM reconciliation_linematch AS its WHERE (its.late_charge_id, its.kind, its.batch_id) = (of.late_charge_id, 'capture', %(batch)s))
)
"""

# Charges, late ones too, and refunds that the PSP should have settled by now, and has not, since its files are read; what it voided it settles
# never, and of what gift cards and wallets pay it knows nothing.  A line that says otherwise of a refund or a late charge is a line all the same;
# an order of which it paid too little still waits.
FIND_MISSING = f"""
WITH unsettled AS (
    SELECT payment.public_id, payment.psp, payment.currency, payment.amount - payment.tendered AS amount, payment.journal_entry_id
    FROM payments_paymentorder AS payment
    WHERE payment.status = 'SUCCESS' AND payment.settled_at IS NULL
      AND NOT EXISTS (SELECT FROM reconciliation_linematch AS its WHERE its.order_id = payment.id AND its.kind = 'capture')
      AND NOT EXISTS (SELECT FROM payments_refund AS void WHERE void.order_id = payment.id AND void.late_charge_id IS NULL
                      AND void.status = 'SUCCESS' AND void.psp_reference = void.charge)
    UNION ALL
    SELECT late.public_id, late.psp, late.currency, late.amount, late.journal_entry_id
    FROM payments_latecharge AS late
    WHERE NOT EXISTS (SELECT FROM reconciliation_linematch AS its WHERE its.late_charge_id = late.id AND its.kind = 'capture')
      AND NOT EXISTS (SELECT FROM reconciliation_mismatch AS its WHERE its.subject = late.public_id AND its.line_id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM payments_refund AS void WHERE void.late_charge_id = late.id
                      AND void.status = 'SUCCESS' AND void.psp_reference = void.charge)
    UNION ALL
    SELECT refund.public_id, coalesce(late.psp, payment.psp), refund.currency, refund.tendered - refund.amount, refund.journal_entry_id
    FROM payments_refund AS refund JOIN payments_paymentorder AS payment ON payment.id = refund.order_id
    LEFT JOIN payments_latecharge AS late ON late.id = refund.late_charge_id
    WHERE refund.status = 'SUCCESS' AND refund.psp_reference <> refund.charge AND refund.tendered < refund.amount
      AND NOT EXISTS (SELECT FROM reconciliation_linematch AS its WHERE its.refund_id = refund.id AND its.kind = 'refund')
      AND NOT EXISTS (SELECT FROM reconciliation_mismatch AS its WHERE its.subject = refund.public_id AND its.line_id IS NOT NULL)
)
INSERT INTO reconciliation_mismatch (public_id, kind, psp, subject, currency, expected, suspended, found_at)
SELECT {new_id_in_sql("mm")}, 'missing_there', unsettled.psp, unsettled.public_id, unsettled.currency, unsettled.amount, 0, %(now)s
FROM unsettled
JOIN (SELECT id, coalesce(occurred_at, effective_at) AS happened_at FROM ledger_journalentry) AS booked ON booked.id = unsettled.journal_entry_id
JOIN (SELECT psp, currency, min(closed_at) - interval '1 day' AS since, max(closed_at) AS until
      FROM reconciliation_settlementbatch WHERE matched_at IS NOT NULL GROUP BY psp, currency) AS read USING (psp, currency)
WHERE booked.happened_at >= read.since AND booked.happened_at < %(charged_before)s
  AND booked.happened_at < read.until - make_interval(days => %(closed_after)s)
  AND NOT EXISTS (SELECT FROM reconciliation_mismatch AS its WHERE its.subject = unsettled.public_id AND its.resolved_at IS NULL)
ORDER BY booked.id
ON CONFLICT (subject) WHERE line_id IS NULL AND bank_line_id IS NULL DO NOTHING
"""  # noqa: S608 (a constant)

TO_BANK = [LineKind.PAYOUT.value, LineKind.PAYOUT_RETURNED.value]
OWN = [*TO_BANK, LineKind.CARRIED_OVER.value, LineKind.RESERVE.value]  # between the PSP and us, and about no payment


def match_waiting(*, now: datetime) -> int:
    """Compare the batches of all staged files that were not compared, oldest first, and tell their orders; return how many batches.

    Commits batch by batch.  Files in FILE_FORMATS_ONLY_READ are not compared, since another report has their lines.
    """
    count = compare_waiting(now=now)
    tell_waiting(now=now)
    return count


def compare_waiting(*, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(OPEN_BATCHES, {"only_read": settings.FILE_FORMATS_ONLY_READ})
    return sum(is_compared_now(batch_id, now=now) for batch_id in to_compare(staged_by=now, now=now, most=None))


def to_compare(*, staged_by: datetime, now: datetime, most: int | None) -> list[int]:
    """Return the batches that are compared next, of files that were staged by then; those that wait for a dispute are none of them."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"staged_by": staged_by, "until": now - DISPUTE_KNOWN_AFTER, "most": most})
        return [batch_id for (batch_id,) in cursor.fetchall()]


def stuck(*, now: datetime) -> list[SettlementBatch]:
    """Return the batches that should have been compared since an hour or more, the oldest first: at each look the log says why they cannot."""
    found = to_compare(staged_by=now - STUCK_AFTER, now=now, most=MOST_STUCK)
    return list(SettlementBatch.objects.filter(pk__in=found).order_by("closed_at", "pk"))


def is_compared_now(batch_id: int, *, now: datetime) -> bool:
    """Compare a batch; one that cannot be compared is logged, and keeps no other one waiting."""
    try:
        return match(batch_id, now=now).matched_at == now
    except (*CANNOT_BOOK, OperationalError):
        logger.exception("a settlement batch cannot be compared: %s", batch_id)
        return False


def tell_waiting(*, now: datetime) -> None:
    for batch in SettlementBatch.objects.filter(matched_at__isnull=False, orders_settled_at=None).order_by("pk"):
        settle_orders(batch, now=now)


def compare_alone() -> None:
    """Let nobody else compare until the caller's transaction ends, each of whose statements may take long."""
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{LONGEST_S}s"])


@transaction.atomic(durable=True)
def match(batch_id: int, *, now: datetime) -> SettlementBatch:
    """Compare the lines of a batch with our books, mark each, and post what the batch proves: all of it or nothing; the second time nothing.

    Nobody else compares meanwhile.
    """
    compare_alone()
    batch = SettlementBatch.objects.select_related("file").get(pk=batch_id)
    if batch.matched_at is None:
        batch.matched_at = now
        batch.copy_of = compared_before(batch)
        batch.lines, batch.matched, batch.paid_out, batch.fees, batch.suspended = compare(batch, now=now)
        batch.mismatched = batch.lines - batch.matched
        batch.journal_entry_id = post(batch, now=now)
        batch.save()
        logger.info("%s of %s is compared: %s of %s lines match", batch.public_id, batch.file.public_id, batch.matched, batch.lines)
    return batch


def compared_before(batch: SettlementBatch) -> SettlementBatch | None:
    """Return the batch of that name which was compared before, in other bytes: what moved in it has moved once."""
    same = SettlementBatch.objects.filter(psp=batch.psp, name=batch.name, currency=batch.currency, matched_at__isnull=False)
    return same.exclude(name="").order_by("pk").first()


def compare(batch: SettlementBatch, *, now: datetime) -> tuple[int, int, Decimal, Decimal, Decimal]:
    """Write a match or a mismatch for each line; return how many lines there are and match, what was paid out, the fees, the suspended."""
    terms = ExpectedFee.objects.filter(psp=batch.psp, currency=batch.currency).first()
    asked: dict[str, Any] = {
        "batch": batch.pk,
        "file": batch.file_id,
        "name": batch.name,
        "currency": batch.currency,
        "psp": batch.psp,
        "is_copy": batch.copy_of_id is not None,
        "own": OWN,
        "to_bank": TO_BANK,
        "places": minor_units(batch.currency),
        "basis_points": terms and terms.basis_points,
        "fixed": terms and terms.fixed,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(PLAN, {"memory": MEMORY, "lines": batch.lines})
        cursor.execute(COMPARE, asked)
        lines, matched, paid_out, fees, suspended = cursor.fetchone()
        cursor.execute(AS_BEFORE)
        cursor.execute(COME_LATE, asked)
    return lines, matched, paid_out, fees, suspended


def post(batch: SettlementBatch, *, now: datetime) -> int | None:
    """Post what the batch proves; return the entry, None where nothing was moved.  Inside the caller's transaction."""
    return posted(settlement_of(batch, now=now), currency=batch.currency)


def posted(draft: Draft, *, currency: str) -> int | None:
    """Post an entry in one currency, in which its accounts may never have been used; return it, None where it moves nothing."""
    if not (draft.debits or draft.credits):
        return None
    journal.open_accounts([code for code, _amount in (*draft.debits, *draft.credits)], currency=currency)
    [entry_id] = journal.post([draft])
    return entry_id


def settlement_of(batch: SettlementBatch, *, now: datetime) -> Draft:
    """The entry of a batch: paid out and kept as fees what the PSP owed us, and in suspense what nobody can explain."""
    owed = batch.paid_out + batch.fees - batch.suspended
    moved = {
        chart.bank_in_transit(): batch.paid_out,
        chart.psp_fees(): batch.fees,
        chart.suspense(): -batch.suspended,
        chart.psp_receivable(batch.psp): -owed,
    }
    debits, credits = journal.sides(moved, currency=batch.currency)
    return Draft(
        kind=JournalEntry.Kind.SETTLEMENT,
        reference=batch.public_id,
        memo=batch.name,
        effective_at=settled_at(batch, now=now),
        debits=debits,
        credits=credits,
    )


def settled_at(batch: SettlementBatch, *, now: datetime) -> datetime:
    """Return when a compared batch was settled: when the PSP closed it, but never ahead of us."""
    return min(batch.closed_at or now, now)


def settle_orders(batch: SettlementBatch, *, now: datetime) -> None:
    """Let the orders that a compared batch pays know it, page by page; after a crash it goes on with those that do not know.

    What is only carried over is not paid: its orders wait for the batch that pays.
    """
    paid = LineMatch.objects.filter(batch__in=paid_with(batch), kind=LineKind.CAPTURE)
    captures = paid.filter(order__settled_at=None, order__isnull=False).order_by("order")
    orders = captures.values_list("order", flat=True).iterator(chunk_size=PAGE)  # read once: one cursor of the server's
    while page := list(islice(orders, PAGE)):
        releases.mark_settled(page, at=settled_at(batch, now=now))
    SettlementBatch.objects.filter(pk=batch.pk).update(orders_settled_at=now)


def paid_with(batch: SettlementBatch) -> list[int]:
    """Return the batches that are paid now that this one is compared: itself, and those before it that were carried over to it.

    One that was only carried over is paid if its PSP has paid out a later one, whose file came before its own, and else none is.  A payout
    that came back, which is below zero, pays nothing.
    """
    if batch.closed_at is None:
        return [batch.pk]
    compared = SettlementBatch.objects.filter(psp=batch.psp, currency=batch.currency, matched_at__isnull=False)
    if batch.paid_out > 0:
        is_before = Q(closed_at__lt=batch.closed_at) | Q(closed_at=batch.closed_at, pk__lt=batch.pk)
        before = compared.filter(is_before).order_by("-closed_at", "-pk")
        return [batch.pk, *(each.pk for each in takewhile(lambda each: each.paid_out <= 0, before.iterator()))]
    lines = StagedLine.objects.filter(file=batch.file_id, batch=batch.name, net_currency=batch.currency)
    is_carried_over = lines.filter(kind=LineKind.CARRIED_OVER).exists()
    is_after = Q(closed_at__gt=batch.closed_at) | Q(closed_at=batch.closed_at, pk__gt=batch.pk)
    is_paid = not is_carried_over or compared.filter(is_after, paid_out__gt=0).exists()
    return [batch.pk] if is_paid else []


@transaction.atomic(durable=True)
def find_missing(*, now: datetime) -> int:
    """Keep as a mismatch each charge and each refund that the PSP's files should have by now and have not; return how many are new.

    Nobody compares meanwhile.  All that was sold and is not paid to us yet is read, which may take long.
    """
    compare_alone()
    with connection.cursor() as cursor:
        cursor.execute(FIND_MISSING, {"now": now, "charged_before": now - MISSING_AFTER, "closed_after": MISSING_AFTER.days})
        return int(cursor.rowcount)
