"""How a mismatch is resolved, by two people: one proposes the account that explains it, another one approves, and it is posted and closed.

What a mismatch has in suspense leaves it by ONE entry, in the commit that closes the mismatch: the fee in its line is the PSP's, the rest
goes to the account that was named.  So suspense is what open mismatches are over, always.  If the PSP's file was wrong and the next one
will put it right, the account is what the PSP owes us.  Where nothing stands in suspense, nothing is posted.

Who, what, why, before and after stay: Postgres writes each step down (migration 0008).
"""

from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from ledger import chart, journal, manual, transitions
from ledger.approvals import LONGEST_REASON, AlreadyDecided, MakerMayNotApprove, require_reason
from ledger.errors import DomainError
from ledger.journal import Draft, UnknownAccount
from ledger.models import JournalEntry
from payments import releases
from payments.models import LateCharge, PaymentOrder, PspAttempt
from payments.states import AttemptStatus, OrderStatus, PspOperation
from reconciliation.formats.records import LineKind
from reconciliation.matching import posted, settled_at
from reconciliation.models import Mismatch, Proposal, SettlementBatch, StagedLine

BATCHES = "sb_"  # what a bank's line pays, if it is a PSP's


class NoSuchMismatch(DomainError):
    code = "not_found"


class NoSuchProposal(DomainError):
    code = "not_found"


class UnknownOwner(DomainError):
    """Somebody who cannot look into a mismatch: nobody of the staff, or without the right to propose how one is resolved."""

    code = "unknown_owner"


def suggested_account(mismatch: Mismatch) -> str:
    """Return the account that would explain the mismatch; empty where only a person can say, and where there is nothing to explain."""
    if not mismatch.suspended:
        return ""
    match Mismatch.Kind(mismatch.kind), mismatch.line_id is not None:
        case Mismatch.Kind.FEE, _:
            return chart.psp_fees()
        case ((Mismatch.Kind.AMOUNT | Mismatch.Kind.DUPLICATE), True):
            return chart.psp_receivable(mismatch.psp)
        case ((Mismatch.Kind.AMOUNT | Mismatch.Kind.WRONG_BATCH), False) if mismatch.subject.startswith(BATCHES):
            return chart.bank_in_transit()
        case _:
            return ""


def draft_of(mismatch: Mismatch, *, now: datetime) -> Draft | None:
    """Return the entry that would explain the mismatch, balanced and ready to be proposed; None where only a person can say."""
    account = suggested_account(mismatch)
    return entry_of(mismatch, account, memo=str(mismatch), now=now) if account else None


def waiting_for(mismatch: Mismatch) -> Proposal | None:
    """Return the proposal that waits for somebody else's approval."""
    return mismatch.proposals.filter(status=Proposal.Status.WAITING).first()


def entry_proposed(proposal: Proposal, *, now: datetime) -> Draft | None:
    """Return the entry that follows if the proposal is approved; None if nothing is posted then."""
    return entry_of(proposal.mismatch, proposal.account, memo=proposal.memo, now=now) if proposal.account else None


def entry_of(mismatch: Mismatch, account: str, *, memo: str, now: datetime) -> Draft:
    """Return the entry that takes off suspense what the mismatch has there: the fee in its line is the PSP's, the rest the account's."""
    fee = fee_in(mismatch)
    moved = {chart.suspense(): mismatch.suspended, chart.psp_fees(): fee}
    moved[account] = moved.get(account, Decimal(0)) - mismatch.suspended - fee
    debits, credits = journal.sides(moved, currency=mismatch.currency)
    return Draft(
        kind=JournalEntry.Kind.RESOLUTION,
        reference=mismatch.public_id,
        memo=memo,
        effective_at=now,
        debits=debits,
        credits=credits,
    )


def fee_in(mismatch: Mismatch) -> Decimal:
    """Return what the PSP has kept of a line that is in suspense as a whole, in the mismatch's currency.

    Nothing of a FEE, of which all but the difference is booked, of a line that is a fee itself, and of one that the same batch has had in
    another file before: its fee is in that one.
    """
    line, batch = mismatch.line, mismatch.batch
    if line is None or line.kind == LineKind.FEE or mismatch.kind == Mismatch.Kind.FEE or mismatch.suspended != line.net:
        return Decimal(0)
    if batch is not None and batch.copy_of is not None and (mismatch.kind == Mismatch.Kind.DUPLICATE or is_said_in(batch.copy_of, line)):
        return Decimal(0)
    return line.fee


def is_said_in(batch: SettlementBatch, line: StagedLine) -> bool:
    """Say whether the batch, from another file, has a line about the same: the PSP's id and the kind tell."""
    its = StagedLine.objects.filter(file=batch.file_id, batch=batch.name, net_currency=batch.currency)
    return its.filter(kind=line.kind, psp_reference=line.psp_reference).exists()


def accounts_for(mismatch: Mismatch) -> list[str]:
    """Return the accounts that may explain the mismatch: what its PSP owes us, if it is about a PSP's line, and the platform's own."""
    owed = [chart.psp_receivable(mismatch.psp)] if mismatch.line_id is not None else []
    refused = chart.OWNED_KINDS | manual.KEPT | {chart.suspense()}
    return [*owed, *(kind for kind in chart.KINDS if kind not in refused)]


@transaction.atomic(durable=True)
def take_over(mismatch_id: int, *, actor: str, reason: str) -> Mismatch:
    """Make the actor the owner of an open mismatch.  Locks it.  Raises NoSuchMismatch, AlreadyDecided, ReasonMissing."""
    require_reason(reason, field="reason")
    transitions.by(actor, reason=reason)
    return own(mismatch_id, actor)


@transaction.atomic(durable=True)
def assign(mismatch_id: int, username: str, *, actor: str, reason: str) -> Mismatch:
    """Make somebody else of the staff the owner of an open mismatch.  Locks it.

    Raises NoSuchMismatch, AlreadyDecided, ReasonMissing, UnknownOwner.
    """
    require_reason(reason, field="reason")
    if username not in owners():
        raise UnknownOwner(
            f"{username[:60]!r} may not look into mismatches. Name somebody who may propose how they are resolved.", field="owner"
        )
    transitions.by(actor, reason=reason)
    return own(mismatch_id, f"staff:{username}")


@transaction.atomic(durable=True)
def give_back(mismatch_id: int, *, actor: str, reason: str) -> Mismatch:
    """Leave an open mismatch without an owner, for anybody to take over.  Locks it.  Raises NoSuchMismatch, AlreadyDecided, ReasonMissing."""
    require_reason(reason, field="reason")
    transitions.by(actor, reason=reason)
    return own(mismatch_id, "")


def own(mismatch_id: int, owner: str) -> Mismatch:
    mismatch = lock_open(mismatch_id)
    mismatch.owner = owner
    mismatch.save(update_fields=["owner"])
    return mismatch


def owners() -> list[str]:
    """Return the names of those who may look into mismatches: staff that may propose how one is resolved."""
    able = User.objects.with_perm("reconciliation.propose_resolution").filter(is_staff=True)
    return list(able.order_by("username").values_list("username", flat=True))


@transaction.atomic(durable=True)
def propose(mismatch_id: int, account: str, memo: str, *, actor: str, now: datetime) -> Proposal:
    """Propose the account that explains an open mismatch, and say why; empty if nothing stands in suspense, and nothing is to be posted.

    Locks the mismatch.  Raises NoSuchMismatch, AlreadyDecided (another proposal waits, too), ReasonMissing, and UnknownAccount or
    WalletAccountRefused for an account that cannot explain it.
    """
    require_reason(memo, field="memo")
    transitions.by(actor, reason=memo)
    mismatch = lock_open(mismatch_id)
    if mismatch.proposals.filter(status=Proposal.Status.WAITING).exists():
        raise AlreadyDecided(f"A proposal for {mismatch.public_id} waits already. It is approved or rejected first.")
    require_explaining(mismatch, account)
    return Proposal.objects.create(mismatch=mismatch, account=account, memo=memo[:LONGEST_REASON], made_by=actor, made_at=now)


@transaction.atomic(durable=True)
def approve(proposal_id: int, *, actor: str, reason: str, now: datetime) -> Proposal:
    """Post what was proposed, and close the mismatch: both, or neither.  Locks the mismatch, then the proposal, then the order.

    Raises NoSuchProposal, AlreadyDecided, MakerMayNotApprove, ReasonMissing.
    """
    proposal = lock_waiting(proposal_id, actor=actor, reason=reason)
    mismatch = proposal.mismatch
    if draft := entry_proposed(proposal, now=now):
        proposal.journal_entry_id = posted(draft, currency=mismatch.currency)
    decide(proposal, Proposal.Status.APPROVED, actor=actor, reason=reason, now=now)
    mismatch.resolved_at = now
    mismatch.save(update_fields=["resolved_at"])
    settle_order(mismatch, by=proposal.account, now=now)
    return proposal


def settle_order(mismatch: Mismatch, *, by: str, now: datetime) -> None:
    """Let the order of a charge know that it is paid to us, if its line turned out to be what the PSP owed for it, and pays all of it.

    An order for which the line has too little, or another currency, waits for the next file.
    """
    line, batch = mismatch.line, mismatch.batch
    if line is None or batch is None or line.kind != LineKind.CAPTURE or by != chart.psp_receivable(mismatch.psp):
        return
    order = order_of(mismatch, line)
    if order is None or {line.currency, line.net_currency} != {order.amount.currency.code}:
        return
    if min(line.gross, line.net + line.fee) >= order.charge.amount:
        releases.mark_settled([order.pk], at=settled_at(batch, now=now))


def order_of(mismatch: Mismatch, line: StagedLine) -> PaymentOrder | None:
    """Return the order that the line of a charge pays, also one that our books have come to know since the line was compared."""
    orders = PaymentOrder.objects.filter(status=OrderStatus.SUCCESS)
    if mismatch.subject:
        return orders.filter(public_id=mismatch.subject).first()
    if LateCharge.objects.filter(psp=mismatch.psp, psp_reference=line.psp_reference).exists():
        return None
    charges = PspAttempt.objects.filter(psp=mismatch.psp, operation=PspOperation.CHARGE, status=AttemptStatus.SUCCEEDED)
    by_id = charges.filter(psp_reference=line.psp_reference).exclude(psp_reference="")
    by_key = charges.filter(psp_key=line.our_reference, psp_reference="").exclude(psp_key="")
    return orders.filter(Q(pk__in=by_id.values("order")) | Q(pk__in=by_key.values("order"))).first()


@transaction.atomic(durable=True)
def reject(proposal_id: int, *, actor: str, reason: str, now: datetime) -> Proposal:
    """Refuse what was proposed: the mismatch stays open, for another proposal.  Locks the mismatch, then the proposal.

    Raises NoSuchProposal, AlreadyDecided, MakerMayNotApprove, ReasonMissing.
    """
    proposal = lock_waiting(proposal_id, actor=actor, reason=reason)
    decide(proposal, Proposal.Status.REJECTED, actor=actor, reason=reason, now=now)
    return proposal


def decide(proposal: Proposal, status: Proposal.Status, *, actor: str, reason: str, now: datetime) -> None:
    proposal.status, proposal.decided_by, proposal.decided_at, proposal.reason = status, actor, now, reason[:LONGEST_REASON]
    proposal.save(update_fields=["status", "decided_by", "decided_at", "reason", "journal_entry"])


def lock_waiting(proposal_id: int, *, actor: str, reason: str) -> Proposal:
    """Lock a proposal that waits, and its mismatch before it, for somebody else than its maker, who says why."""
    require_reason(reason, field="reason")
    transitions.by(actor, reason=reason)
    mismatch_id = Proposal.objects.filter(pk=proposal_id).values_list("mismatch", flat=True).first()
    if mismatch_id is None:
        raise NoSuchProposal("There is no such proposal. Look at its mismatch.")
    mismatch = lock_open(mismatch_id)
    proposal = Proposal.objects.select_for_update(no_key=True).get(pk=proposal_id)
    if proposal.status != Proposal.Status.WAITING:
        raise AlreadyDecided(f"This proposal for {mismatch.public_id} was decided by {proposal.decided_by} already.")
    if transitions.is_same_person(actor, proposal.made_by):
        raise MakerMayNotApprove(f"You proposed this for {mismatch.public_id} yourself. Somebody else must decide it.")
    proposal.mismatch = mismatch
    return proposal


def lock_open(mismatch_id: int) -> Mismatch:
    """Lock a mismatch that is open.  Raises NoSuchMismatch, AlreadyDecided."""
    mismatch = Mismatch.objects.select_for_update(no_key=True).filter(pk=mismatch_id).first()
    if mismatch is None:
        raise NoSuchMismatch("There is no such mismatch. Look at the list of them.")
    if mismatch.resolved_at is not None:
        raise AlreadyDecided(f"{mismatch.public_id} is resolved already.")
    return mismatch


def require_explaining(mismatch: Mismatch, account: str) -> None:
    """Raise unless the account explains the mismatch: one that it may be, and none where nothing stands in suspense."""
    if not mismatch.suspended:
        if account:
            raise UnknownAccount(f"{mismatch.public_id} has nothing in suspense. Name no account: nothing is posted.", field="account")
        return
    if not account:
        said = f"{mismatch.public_id} stands in suspense. Name the account that explains it; what the PSP owes us, if its file was wrong."
        raise UnknownAccount(said, field="account")
    manual.require_bookable(account)
    if account not in accounts_for(mismatch):
        able = ", ".join(accounts_for(mismatch))
        raise UnknownAccount(f"{account} cannot explain {mismatch.public_id}. Name one of these: {able}.", field="account")
