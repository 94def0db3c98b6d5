"""Bank lines that came before our books knew what they are: they are looked at again, and what is explained by now resolves itself.

A bank's statement may be faster than the PSP's file, or than the word that a payout was paid.  Until our books know, the line is a mismatch
with all of it in suspense; then it is matched, and one entry takes it off suspense: against what is on its way to us, if it pays a batch, or
against the bank account, from which our books have taken a payout already.  What cannot be explained is left to people.

Called by beat, and whenever files were compared.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from ledger import chart, journal
from ledger.journal import Draft
from ledger.models import JournalEntry
from reconciliation import bank_matching, matching, not_at_the_bank
from reconciliation.models import BankLineMatch, Mismatch

logger = logging.getLogger(__name__)

PAID_IN = (BankLineMatch.Kind.SETTLEMENT, BankLineMatch.Kind.INSTALMENT)
MEMO = "Our books know what it is by now"


def resolve_known(*, now: datetime) -> int:
    """Resolve the mismatches over bank lines that our books explain by now; return how many.  Commits bank by bank and currency by currency."""
    waiting = Mismatch.objects.filter(resolved_at=None, bank_line__isnull=False).order_by("psp", "currency")
    return sum(resolve(source, currency, now=now) for source, currency in waiting.values_list("psp", "currency").distinct())


@transaction.atomic(durable=True)
def resolve(source: str, currency: str, *, now: datetime) -> int:
    """Match what of a bank's open lines in a currency is ours, post what explains it, and close it: all of it or nothing.

    Nobody else compares meanwhile.  Locks the mismatches: one that a person resolves at the same time is left out.
    """
    matching.compare_alone()
    open_ = Mismatch.objects.filter(resolved_at=None, psp=source, currency=currency, bank_line__isnull=False, bank_line__matches=None)
    mismatches = list(Mismatch.objects.select_for_update(no_key=True).filter(pk__in=open_.values("pk"), resolved_at=None).order_by("pk"))
    lines = [mismatch.bank_line_id for mismatch in mismatches if mismatch.bank_line_id is not None]
    bank_matching.match_open(lines, source=source, currency=currency)
    matches = matches_of(lines)
    explained = [mismatch for mismatch in mismatches if mismatch.bank_line_id in matches]
    if not explained:
        return 0
    journal.open_accounts([chart.bank_in_transit(), chart.bank_charges(), chart.operating_bank()], currency=currency)
    journal.post([entry_of(mismatch, matches[mismatch.bank_line_id], now=now) for mismatch in explained])
    Mismatch.objects.filter(pk__in=[mismatch.pk for mismatch in explained]).update(kind=Mismatch.Kind.LATE, resolved_at=now)
    not_at_the_bank.resolve_arrived(now=now)
    logger.info("%s lines of %s that were not explained are by now", len(explained), source)
    return len(explained)


def matches_of(line_ids: Sequence[int]) -> dict[int | None, list[BankLineMatch]]:
    matches: dict[int | None, list[BankLineMatch]] = defaultdict(list)
    for match in BankLineMatch.objects.filter(line__in=line_ids):
        matches[match.line_id].append(match)
    return matches


def entry_of(mismatch: Mismatch, matches: Sequence[BankLineMatch], *, now: datetime) -> Draft:
    """Return the entry that takes the line off suspense: what a PSP paid was on its way to us, and a payout is off the bank account already."""
    charges = sum((match.short_by for match in matches), Decimal(0))
    account = chart.bank_in_transit() if matches[0].kind in PAID_IN else chart.operating_bank()
    moved = {chart.suspense(): mismatch.suspended, chart.bank_charges(): charges, account: -mismatch.suspended - charges}
    debits, credits = journal.sides(moved, currency=mismatch.currency)
    return Draft(
        kind=JournalEntry.Kind.RESOLUTION,
        reference=mismatch.public_id,
        memo=MEMO,
        effective_at=now,
        debits=debits,
        credits=credits,
    )
