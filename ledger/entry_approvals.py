"""Journal entries that two people make: one proposes the legs and says why, another one approves, and they are posted in that commit.

A manual entry names its legs.  Its terms hold all that is posted, so that what the checker sees is what is booked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, chart, journal, manual, queries
from ledger.approvals import Facts, Kind, Outcome, Proposal, Terms
from ledger.journal import Draft, Leg, ReferenceConflict
from ledger.models import Approval, JournalEntry
from ledger.money import exact, text, zero
from ledger.templatetags.written import amount, moment

ENTRY = "entry"
SIDES = ("debits", "credits")


@dataclass(frozen=True, slots=True)
class Effect:
    """What an entry does to one account in one currency.  Balances are in the direction in which the account grows."""

    account: str
    debit: Money
    credit: Money
    before: Money
    after: Money


def proposal_of(draft: Draft, *, evidence: str) -> Proposal:
    """Return the proposal of a manual entry; the draft's memo says why, and `evidence` where that can be looked up."""
    legs = {side: [[code, text(money), money.currency.code] for code, money in getattr(draft, side)] for side in SIDES}
    terms = {"reference": draft.reference, "effective_at": draft.effective_at.isoformat(), "evidence": evidence, **legs}
    return Proposal(ENTRY, draft.reference, terms, draft.memo)


def draft_of(terms: Terms, *, memo: str) -> Draft:
    """Return the entry that the terms say."""
    debits, credits = (legs_in(terms[side]) for side in SIDES)
    evidence = f" ({terms['evidence']})" if terms["evidence"] else ""
    effective_at = datetime.fromisoformat(terms["effective_at"])
    return Draft(JournalEntry.Kind.MANUAL, terms["reference"], effective_at, debits, credits, memo=f"{memo}{evidence}")


def legs_in(rows: Iterable[tuple[str, str, str]]) -> list[Leg]:
    return [(code, exact(digits, currency)) for code, digits, currency in rows]


def post(approval: Approval, now: datetime) -> Outcome:
    """Post the entry.  An account of the platform that was never used in the currency is opened; one with an owner must be open.

    Raises what `manual.post` raises, and ReferenceConflict if the reference was used meanwhile, be it for the same entry.
    """
    draft = draft_of(approval.terms, memo=approval.memo)
    for code, money in (*draft.debits, *draft.credits):
        manual.require_bookable(code)
        if code in chart.KINDS.keys() - chart.OWNED_KINDS:
            journal.open_accounts([code], currency=money.currency.code)
    entry_id, is_new = manual.posted(draft)
    if not is_new:
        raise ReferenceConflict(f"{draft.reference} is posted already (je_{entry_id}). Nothing is left to do.", field="reference")
    return Outcome(f"je_{entry_id}", entry_id)


def entry(terms: Terms, now: datetime) -> Draft:
    return draft_of(terms, memo="")


def effects(draft: Draft) -> list[Effect]:
    """Return what the entry does to each account and currency that it names, beside what stands there now."""
    found: dict[tuple[str, str], list[Money]] = {}
    for side, legs in enumerate((draft.debits, draft.credits)):
        for code, money in legs:
            currency = money.currency.code
            found.setdefault((code, currency), [zero(currency), zero(currency)])[side] += money
    return [effect_on(code, currency, debit, credit) for (code, currency), (debit, credit) in found.items()]


def effect_on(code: str, currency: str, debit: Money, credit: Money) -> Effect:
    before = queries.balance_of(code, currency=currency)
    grows = debit - credit if chart.type_of(code).grows_by_debit else credit - debit
    return Effect(code, debit, credit, before, before + grows)


def totals(terms: Terms) -> str:
    """Return what the entry moves in each currency, in words."""
    sums: dict[str, Money] = {}
    for _code, money in legs_in(terms["debits"]):
        sums[money.currency.code] = sums.get(money.currency.code, zero(money.currency.code)) + money
    return ", ".join(amount(money) for money in sums.values())


def facts(terms: Terms) -> Facts:
    return [
        (_("effective"), moment(datetime.fromisoformat(terms["effective_at"]))),
        (_("evidence"), terms["evidence"] or "–"),
        (_("moves"), totals(terms)),
    ]


approvals.register(
    Kind(
        name=ENTRY,
        title=_("Manual entry"),
        may_see="ledger.view_journalentry",
        may_propose="ledger.propose_entry",
        may_approve="ledger.approve_entry",
        apply=post,
        summary=totals,
        facts=facts,
        entry=entry,
    )
)
