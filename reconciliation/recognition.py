"""Charges that our books come to know after the PSP's file had them: their lines are looked at again, and what agrees by now resolves itself.

A PSP's file may be faster than the PSP's own word.  Until our books know the charge, its line is a mismatch with all that it moved in suspense;
then the line is matched, one entry takes off suspense what the PSP owed for the charge, and the order is settled.  What does not agree is
left to people.  Called by beat.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from django.db import connection, transaction

from ledger import chart, journal
from ledger.money import minor_units
from payments import releases
from reconciliation import matching, resolution
from reconciliation.formats.records import LineKind
from reconciliation.models import ExpectedFee, LineMatch, Mismatch

logger = logging.getLogger(__name__)

PAGE = 1000  # mismatches in one transaction


class Known(NamedTuple):
    """The line of an open mismatch, and the order or the late charge whose charge it is."""

    mismatch_id: int
    line_id: int
    batch_id: int
    order_id: int | None
    late_charge_id: int | None


# Lines of charges that our books did not have, and have now as the line says it.  As in `matching`, by the PSP's id, else by our key.
KNOWN_BY_NOW = """
SELECT DISTINCT ON (coalesce(late.public_id, payment.public_id)) mismatch.id, line.id, mismatch.batch_id, payment.id, late.id
FROM reconciliation_mismatch AS mismatch
JOIN reconciliation_stagedline AS line ON line.id = mismatch.line_id AND line.kind = 'capture'
LEFT JOIN payments_latecharge AS late ON late.psp = mismatch.psp AND late.psp_reference = line.psp_reference
LEFT JOIN payments_pspattempt AS by_id
       ON late.id IS NULL AND by_id.psp_reference = line.psp_reference AND by_id.psp_reference <> ''
      AND by_id.psp = mismatch.psp AND by_id.operation = 'charge' AND by_id.status = 'SUCCEEDED'
LEFT JOIN payments_pspattempt AS by_key
       ON late.id IS NULL AND by_id.id IS NULL AND by_key.psp_key = line.our_reference AND by_key.psp_key <> '' AND by_key.psp_reference = ''
      AND by_key.psp = mismatch.psp AND by_key.operation = 'charge' AND by_key.status = 'SUCCEEDED'
LEFT JOIN payments_paymentorder AS payment ON payment.id = coalesce(by_id.order_id, by_key.order_id) AND payment.status = 'SUCCESS'
WHERE mismatch.kind = 'missing_here' AND mismatch.resolved_at IS NULL AND (%(among)s::bigint[] IS NULL OR mismatch.id = ANY(%(among)s::bigint[]))
  AND coalesce(late.amount, payment.amount - payment.tendered) = line.gross AND line.net = line.gross - line.fee AND line.fee BETWEEN 0 AND line.gross
  AND coalesce(late.currency, payment.currency) = line.currency AND line.net_currency = line.currency
  AND NOT EXISTS (SELECT FROM reconciliation_linematch AS its WHERE its.order_id = payment.id AND its.kind = 'capture')
  AND NOT EXISTS (SELECT FROM reconciliation_linematch AS its WHERE its.late_charge_id = late.id AND its.kind = 'capture')
ORDER BY coalesce(late.public_id, payment.public_id), mismatch.id
"""


def resolve_known(*, now: datetime) -> int:
    """Resolve the mismatches over charges that our books know by now, and that agree; return how many.  Commits page by page."""
    known = list(known_by_now())
    return sum(resolve(known[start : start + PAGE], now=now) for start in range(0, len(known), PAGE))


@transaction.atomic(durable=True)
def resolve(mismatch_ids: Sequence[int], *, now: datetime) -> int:
    """Match the lines of the mismatches with what they are about, post what explains them, and settle the orders: all of it or nothing.

    Nobody else compares meanwhile.  Locks the mismatches, then the orders.  Leaves out what was resolved or matched since, and what has
    another fee than the expected one.
    """
    matching.compare_alone()
    locked = Mismatch.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=mismatch_ids).order_by("pk")
    mismatches = list(locked.select_related("line", "batch"))
    known = known_by_now(among=mismatch_ids)
    terms = {(row.psp, row.currency): row for row in ExpectedFee.objects.all()}
    explained = [each for each in mismatches if each.pk in known and has_expected_fee(each, terms.get((each.psp, each.currency)))]
    if not explained:
        return 0
    post(explained, now=now)
    LineMatch.objects.bulk_create(match_of(known[mismatch.pk]) for mismatch in explained)
    Mismatch.objects.filter(pk__in=[mismatch.pk for mismatch in explained]).update(kind=Mismatch.Kind.LATE, resolved_at=now)
    releases.mark_settled(orders_paid(explained, known), at=now)
    logger.info("%s charges that a file had before us are known by now", len(explained))
    return len(explained)


def orders_paid(mismatches: Iterable[Mismatch], known: Mapping[int, Known]) -> list[int]:
    """Return the orders of the mismatches whose batch is paid to us.  Those of one that is only carried over wait for the batch that pays."""
    batches = {mismatch.batch for mismatch in mismatches if mismatch.batch is not None}
    paid = {batch.pk for batch in batches if matching.paid_with(batch)}
    found = [known[mismatch.pk].order_id for mismatch in mismatches if mismatch.batch_id in paid]
    return [order_id for order_id in found if order_id is not None]


def known_by_now(*, among: Sequence[int] | None = None) -> dict[int, Known]:
    """Return the mismatches, all or among these, whose charge our books know by now: each with its order, or its late charge."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN_BY_NOW, {"among": None if among is None else list(among)})
        return {known.mismatch_id: known for known in map(Known._make, cursor.fetchall())}


def has_expected_fee(mismatch: Mismatch, terms: ExpectedFee | None) -> bool:
    line = mismatch.line
    if line is None or terms is None:
        return line is not None
    unit = Decimal(1).scaleb(-minor_units(mismatch.currency))
    return line.fee == (line.gross * terms.basis_points / 10_000 + terms.fixed).quantize(unit, rounding=ROUND_HALF_UP)


def post(mismatches: Sequence[Mismatch], *, now: datetime) -> None:
    """Post for each the entry that takes it off suspense: the PSP owes us less.  Inside the caller's transaction."""
    memo = "Our books know the charge by now"
    drafts = [resolution.entry_of(mismatch, chart.psp_receivable(mismatch.psp), memo=memo, now=now) for mismatch in mismatches]
    for currency in {mismatch.currency for mismatch in mismatches}:
        journal.open_accounts([chart.psp_fees()], currency=currency)
    journal.post(drafts)


def match_of(known: Known) -> LineMatch:
    return LineMatch(
        line_id=known.line_id,
        batch_id=known.batch_id,
        kind=LineKind.CAPTURE,
        order_id=known.order_id,
        late_charge_id=known.late_charge_id,
    )
