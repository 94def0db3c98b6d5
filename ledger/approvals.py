"""Approvals: what takes two people is proposed by one, approved by another, and done in the commit that approves it, or not at all.

Each app registers its kinds of approval: who may, what will happen, and how it is done; the ledger is at the bottom and knows none of them.
What is proposed is rehearsed, done and undone, so that nobody is asked to approve what cannot be.  Its terms never change, so a checker
decides about what he saw.  The world may change: doing it looks at the world of that moment, and what is refused then leaves the approval
waiting, to be rejected, withdrawn, or approved once it is possible.

Who, what, why, before and after stay: Postgres writes each step down (migration 0010).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from djmoney.money import Money

from ledger import transitions
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import Approval
from ledger.money import text

LONGEST_REASON = 500
Status = Approval.Status
Facts = list[tuple[Any, Any]]  # each a title and a value
Terms = Mapping[str, Any]  # what JSON knows; amounts are text


class NoSuchApproval(DomainError):
    code = "not_found"


class AlreadyDecided(DomainError):
    """Somebody has decided about it, or another one about the same waits."""

    code = "already_decided"


class MakerMayNotApprove(DomainError):
    code = "maker_may_not_approve"


class OnlyTheMakerWithdraws(DomainError):
    code = "only_the_maker_withdraws"


class ApprovalExpired(DomainError):
    code = "approval_expired"


class ApprovalNeeded(DomainError):
    """It is more than one person may do alone; a second one must approve it, for which there is a page in the admin."""

    code = "approval_needed"


class ReasonMissing(DomainError):
    code = "reason_missing"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an approval: the public id of what was made or changed, and the journal entry, if one was posted at once."""

    result: str
    journal_entry_id: int | None = None


def no_entry(terms: Terms, now: datetime) -> Draft | None:
    """Return no entry: for what posts nothing at once, or not before somebody outside of this house has acted."""
    return None


def nothing_more(terms: Terms) -> Facts:
    """Say nothing more: the terms say it all."""
    return []


def nobody() -> None:
    """Wake nobody."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that takes two people.

    `apply` gets the approval, which says who made and who approves it, and does it inside the caller's transaction; what it raises as a
    DomainError is shown.  `summary` and `facts` say in people's words what the terms mean; `standing` what it is about, and `entry` what
    will be posted, as the world is now.  `nudge` wakes whoever works on what was approved, after the commit.
    """

    name: str
    title: Any
    may_see: str
    may_propose: str
    may_approve: str
    apply: Callable[[Approval, datetime], Outcome]
    summary: Callable[[Terms], Any]
    facts: Callable[[Terms], Facts]
    standing: Callable[[Terms], Facts] = nothing_more
    entry: Callable[[Terms, datetime], Draft | None] = no_entry
    nudge: Callable[[], None] = nobody


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody proposes, and why.  `subject` is the public id of what it is about, of which one proposal of a kind waits at a time."""

    kind: str
    subject: str
    terms: Terms
    memo: str


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Make a kind known, once, when the module that has it is imported."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind of approval called {kind.name} already")
    KINDS[kind.name] = kind
    return kind


def kind_of(approval: Approval) -> Kind:
    return KINDS[approval.kind]


def waiting() -> QuerySet[Approval]:
    """Return what waits for a second person, the oldest first."""
    return Approval.objects.filter(status=Status.WAITING).order_by("pk")


def waiting_about(kind: str, subject: str) -> Approval | None:
    """Return what of this kind waits about the subject."""
    return waiting().filter(kind=kind, subject=subject).first()


@transaction.atomic(durable=True)
def propose(proposal: Proposal, *, actor: str, now: datetime) -> Approval:
    """Keep the proposal until somebody else decides about it, or for `settings.APPROVAL_DAYS`; return it.

    The same proposal of the same maker that waits already is returned as it stands.  Raises what doing it now would raise, AlreadyDecided
    (another one about the same waits), ReasonMissing.
    """
    require_reason(proposal.memo)
    expire(waiting().filter(kind=proposal.kind, subject=proposal.subject), now=now)
    transitions.by(actor, reason=proposal.memo)
    if standing := in_the_way_of(proposal):
        return same(standing, proposal, actor=actor)
    approval = Approval(
        kind=proposal.kind,
        subject=proposal.subject,
        terms=dict(proposal.terms),
        memo=proposal.memo[:LONGEST_REASON],
        made_by=actor,
        made_at=now,
        expires_at=now + timedelta(days=settings.APPROVAL_DAYS),
    )
    rehearse(approval, actor=actor, now=now)
    try:
        with transaction.atomic():
            approval.save(force_insert=True)
    except IntegrityError:  # somebody else proposed about the same in this very moment
        if standing := in_the_way_of(proposal):
            return same(standing, proposal, actor=actor)
        raise
    return approval


def in_the_way_of(proposal: Proposal) -> Approval | None:
    """Return what waits already about the same, or, where there is nothing yet that it would be about, says the same."""
    if proposal.subject:
        return waiting_about(proposal.kind, proposal.subject)
    return waiting().filter(kind=proposal.kind, subject="", terms=dict(proposal.terms)).first()


def rehearse(approval: Approval, *, actor: str, now: datetime) -> None:
    """Do it as if the maker approved it, and undo it: what is refused is refused now.  Inside the caller's transaction."""
    with transaction.atomic():
        approval.decided_by = actor
        kind_of(approval).apply(approval, now)
        transaction.set_rollback(True)
    approval.decided_by = ""


def same(standing: Approval, proposal: Proposal, *, actor: str) -> Approval:
    """Return the approval that stands if it is this very proposal.  Raises AlreadyDecided."""
    if (standing.terms, standing.made_by) != (dict(proposal.terms), actor):
        raise waits_already(standing)
    return standing


def waits_already(standing: Approval) -> AlreadyDecided:
    """Return the error that says that this one waits."""
    return AlreadyDecided(f"{standing.public_id} of {standing.made_by} waits already, about the same. It is decided first.")


@transaction.atomic(durable=True)
def approve(approval_id: int, *, actor: str, reason: str, now: datetime) -> Approval:
    """Do what was proposed, and close the approval: both, or neither.  Locks the approval, then what its kind locks.

    Raises what the kind refuses (the approval waits on), NoSuchApproval, AlreadyDecided, ApprovalExpired, MakerMayNotApprove, ReasonMissing.
    """
    approval = lock_waiting(approval_id, actor=actor, reason=reason)
    require_somebody_else(approval, actor)
    if approval.expires_at <= now:
        raise ApprovalExpired(f"{approval.public_id} waited for more than {settings.APPROVAL_DAYS} days. Propose it anew.")
    approval.decided_by = actor
    outcome = kind_of(approval).apply(approval, now)
    approval.result, approval.journal_entry_id = outcome.result, outcome.journal_entry_id
    return decide(approval, Status.APPROVED, actor=actor, reason=reason, now=now)


@transaction.atomic(durable=True)
def reject(approval_id: int, *, actor: str, reason: str, now: datetime) -> Approval:
    """Refuse what was proposed: nothing is done.  Locks it.  Raises NoSuchApproval, AlreadyDecided, MakerMayNotApprove, ReasonMissing."""
    approval = lock_waiting(approval_id, actor=actor, reason=reason)
    require_somebody_else(approval, actor)
    return decide(approval, Status.REJECTED, actor=actor, reason=reason, now=now)


@transaction.atomic(durable=True)
def withdraw(approval_id: int, *, actor: str, reason: str, now: datetime) -> Approval:
    """Take back what one has proposed.  Locks it.  Raises NoSuchApproval, AlreadyDecided, OnlyTheMakerWithdraws, ReasonMissing."""
    approval = lock_waiting(approval_id, actor=actor, reason=reason)
    if approval.made_by != actor:
        raise OnlyTheMakerWithdraws(f"{approval.made_by} proposed {approval.public_id}. Reject it, if it should not be done.")
    return decide(approval, Status.WITHDRAWN, actor=actor, reason=reason, now=now)


@transaction.atomic(durable=True)
def close_expired(*, now: datetime) -> int:
    """Close what has waited for too long, to be proposed anew; return how many."""
    return expire(waiting(), now=now)


def expire(approvals: QuerySet[Approval], *, now: datetime) -> int:
    """Close those of the approvals whose time is over, inside the caller's transaction, and as nobody's deed; return how many."""
    transitions.by("", reason="")
    return approvals.order_by().filter(expires_at__lte=now).update(status=Status.EXPIRED, decided_at=now)


def decide(approval: Approval, status: Approval.Status, *, actor: str, reason: str, now: datetime) -> Approval:
    transitions.by(actor, reason=reason)  # once more: what was done may have named another reason
    approval.status, approval.decided_by, approval.decided_at, approval.reason = status, actor, now, reason[:LONGEST_REASON]
    approval.save(update_fields=["status", "decided_by", "decided_at", "reason", "result", "journal_entry"])
    return approval


def lock_waiting(approval_id: int, *, actor: str, reason: str) -> Approval:
    """Lock an approval that waits, and say who decides it and why.  Raises NoSuchApproval, AlreadyDecided, ReasonMissing."""
    require_reason(reason)
    transitions.by(actor, reason=reason)
    approval = Approval.objects.select_for_update(no_key=True).filter(pk=approval_id).first()
    if approval is None:
        raise NoSuchApproval("There is no such approval. Look at the list of them.")
    if approval.status != Status.WAITING:
        by = f" by {approval.decided_by}" if approval.decided_by else ""
        raise AlreadyDecided(f"{approval.public_id} is {approval.get_status_display().lower()}{by} already.")
    return approval


def is_above(amount: Money, limits: Mapping[str, Decimal]) -> bool:
    """Is it more than one person may do alone?  A currency that the limits do not name has none."""
    most = limits.get(amount.currency.code)
    return most is not None and amount.amount > most


def require_within(draft: Draft, limits: Mapping[str, Decimal]) -> None:
    """Raise ApprovalNeeded if the entry debits more in a currency than one may post alone."""
    for currency in {money.currency for _code, money in draft.debits}:
        moved = sum((money for _code, money in draft.debits if money.currency == currency), start=Money(0, currency))
        if is_above(moved, limits):
            raise ApprovalNeeded(f"{draft.reference} moves {text(moved)} {currency}. More than {limits[currency.code]} takes two people.")


def require_somebody_else(approval: Approval, actor: str) -> None:
    if transitions.is_same_person(actor, approval.made_by):
        raise MakerMayNotApprove(f"You proposed {approval.public_id} yourself. Somebody else must decide it; you may withdraw it.")


def require_reason(reason: str, *, field: str = "note") -> None:
    if not reason.strip():
        raise ReasonMissing("Say why: it is kept with your name.", field=field)
