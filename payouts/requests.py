"""Payouts are asked for and decided here: what is paid out is taken off the seller's available balance before the bank is asked.

Under the wallet's row lock, so that requests that race never pay out more than is there; the worker executes them (executor.py).  The same
wish - the same Idempotency-Key, or the shop's own reference - gives the same payout, for ever.  Whoever asked for a payout does not approve it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, Sum
from djmoney.money import Money

from ledger import chart, journal, transitions
from ledger.approvals import AlreadyDecided, MakerMayNotApprove, require_reason
from ledger.errors import DomainError
from ledger.money import text
from ledger.statements import execute
from payouts import calls, conversions, queries, settlement, stops, terms
from payouts.models import PaymentFile, Payout, PayoutRun, PayoutTransition
from payouts.providers.bank_file import BankFile
from payouts.providers.protocol import PaidOut, PayoutFailed, PayoutReturned
from payouts.providers.registry import UnknownProvider
from payouts.settlement import GIVEN_UP, REPLACED
from payouts.states import LIVE, PayoutStatus, RunStatus
from wallet import balances, holds
from wallet.models import Seller

logger = logging.getLogger(__name__)

REJECTED, CANCELLED = "rejected", "cancelled"
AT_ONCE = 500  # payouts of a run that are put back by one statement
LONGEST_REASON = 500
A_SECOND = 50  # payouts of one run that are due each second: the bank is called for a hundred thousand within 33 min, and not at once
SPREAD = timedelta(seconds=1) / A_SECOND

# A run locks the shop alone: it sees each request that was granted before, or is waited for.
HOLD_SHOP = "SELECT FROM wallet_shop WHERE id = %s FOR SHARE"

LOCK_WALLETS = """
SELECT FROM wallet_wallet AS wallet JOIN payouts_payout AS payout USING (seller_id, currency)
WHERE payout.id IN (SELECT id FROM json_to_recordset(%s) AS decided (id bigint))
ORDER BY wallet.id FOR NO KEY UPDATE OF wallet
"""

# Shared, since many may pay out to an account at once; only its replacement waits.
HOLD_ACCOUNT = """
SELECT account.id FROM payouts_bankaccount AS account JOIN json_to_recordset(%s) AS wanted (seller_id bigint, currency text)
    USING (seller_id, currency)
WHERE account.replaced_at IS NULL FOR SHARE OF account
"""

HOLD_ACCOUNTS_AND_FIND_REPLACED = """
WITH waiting AS MATERIALIZED (
    SELECT payout.id, bank_account_id FROM payouts_payout AS payout
    JOIN json_to_recordset(%s) AS decided (id bigint) ON decided.id = payout.id
), held AS MATERIALIZED (
    SELECT account.id, account.replaced_at FROM payouts_bankaccount AS account
    WHERE account.id IN (SELECT bank_account_id FROM waiting) ORDER BY account.id FOR SHARE OF account
)
SELECT waiting.id FROM waiting JOIN held ON held.id = waiting.bank_account_id WHERE held.replaced_at IS NOT NULL ORDER BY waiting.id
"""

# They are due one after the other, as those of a run that nobody has to approve (scheduling.py).
EXECUTE_RUN = """
UPDATE payouts_payout AS payout
SET status = 'EXECUTING', next_attempt_at = %(now)s + place.number * %(spread)s, decided_by = %(actor)s, decided_at = %(now)s
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM payouts_payout WHERE run_id = %(run)s AND status = 'WAITING') AS place
WHERE payout.id = place.id
"""


class PayoutConflict(DomainError):
    code = "payout_conflict"


class CurrencyMissing(DomainError):
    code = "required"


class BankAccountReplaced(DomainError):
    """The money would go to an account that the seller has replaced."""

    code = "bank_account_replaced"


class NotToRescue(DomainError):
    """It does not wait for a person, or only the bank can tell how it ends."""

    code = "not_to_rescue"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants paid out to a seller.  `amount` None is all that can be.

    `once` (an Idempotency-Key) and `reference` (the shop's own id of the payout) each name the wish; `requested_by` says who has it.
    """

    amount: Money | None
    currency: str
    reference: str = ""
    once: str = ""
    requested_by: str = ""
    cause: str = Payout.Cause.REQUEST


def request_payout(
    seller: Seller,
    *,
    amount: Money | None = None,
    currency: str = "",
    now: datetime,
    reference: str = "",
    once: str = "",
    requested_by: str = "",
    cause: str = Payout.Cause.REQUEST,
) -> Payout:
    """Take a payout off the seller's available balance, to be executed by the worker; the parameters are those of a Wish.

    Without an amount it is all that can be paid out in `currency`.  Above the limit that holds for the seller it waits for approval first.
    Locks the shop against a run, the wallet, then the bank account against being replaced.  Raises PayoutsPaused, the errors of queries.py (NotPayable, NoBankAccount, BankAccountNotVerified, BankAccountOnHold, SellerOnHold),
    UnknownWallet, UnknownProvider, and PayoutConflict (the same wish stands with other terms; `field` names which).
    """
    if amount is None and not currency:
        raise CurrencyMissing("Send an amount, or the currency in which to pay out all that can be.", field="currency")
    wish = Wish(amount, currency if amount is None else amount.currency.code, reference, once, requested_by, cause)
    try:
        return grant(seller, wish, now=now)
    except IntegrityError:  # the same wish in another currency was there first, in this very moment: it stands now, and says so
        return grant(seller, wish, now=now)


@transaction.atomic(durable=True)
def grant(seller: Seller, wish: Wish, *, now: datetime) -> Payout:
    """Return the payout that the wish has made before, or makes now.  Shop, accounts, wallets, in the order of a run: no deadlock.

    A seller who is paid out in this currency has what is there in others converted first, in this transaction: a payout that is refused
    converts nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(HOLD_SHOP, [seller.shop_id])
    journal.open_accounts([chart.payouts_in_transit(), chart.operating_bank()], currency=wish.currency)
    conversions.hold_wallets(seller)
    standing = asked_before(seller, wish)
    if standing is not None:
        return standing
    conversions.convert_for(seller, wish.currency, now=now)
    available = balances.lock(seller.pk, currency=wish.currency).available
    return make(seller, wish, available=available, now=now)


def make(seller: Seller, wish: Wish, *, available: Money, now: datetime) -> Payout:
    """Check the wish against what there is, and write the payout.  The caller holds the wallet."""
    execute(HOLD_ACCOUNT, [{"seller_id": seller.pk, "currency": wish.currency}])
    agreed = terms.holding(seller, wish.currency, now=now)
    able = queries.payable_of(seller, agreed, available=available, now=now)
    amount = able.amount if wish.amount is None else wish.amount
    why_not = able.why_not or queries.refusal_of(amount, most=able.amount, agreed=agreed, covers=able.covers)
    if why_not is not None:
        raise why_not
    if not agreed.provider:
        raise UnknownProvider("Nobody is configured who would pay out. Set DEFAULT_PAYOUT_PROVIDER.")
    waits = agreed.approval_limit is not None and agreed.needs_approval(amount + under_way(seller, wish.currency, now=now))
    payout = Payout(
        shop_id=seller.shop_id,
        seller=seller,
        bank_account=queries.account_of(seller, wish.currency),
        cause=wish.cause,
        amount=amount,
        status=PayoutStatus.WAITING if waits else PayoutStatus.EXECUTING,
        reference=wish.reference,
        once=wish.once,
        requested_by=wish.requested_by,
        provider=agreed.provider,
        next_attempt_at=None if waits else now,
        created_at=now,
    )
    return settlement.make(payout, now=now)


def under_way(seller: Seller, currency: str, *, now: datetime) -> Money:
    """Return what the seller has under way, or was paid on this day (UTC): many small payouts are one large one.  The caller holds the wallet."""
    lately = Q(status__in=LIVE) | Q(status=PayoutStatus.SUCCESS, created_at__gte=midnight_before(now))
    found = Payout.objects.filter(lately, seller=seller, currency=currency).aggregate(total=Sum("amount"))
    return Money(found["total"] or 0, currency)


def midnight_before(now: datetime) -> datetime:
    """Return when the day (UTC) began."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def asked_before(seller: Seller, wish: Wish) -> Payout | None:
    """Return the payout that this wish has made already.  Raises PayoutConflict if it was another wish then."""
    named = [Q(**{name: value}) for name, value in (("once", wish.once), ("reference", wish.reference)) if value]
    found = list(Payout.objects.filter(named[0] | named[-1], seller=seller).order_by("id")) if named else []
    if not found:
        return None
    payout = found[0]
    if len(found) > 1 or (wish.reference and payout.reference != wish.reference):
        by_key = next(each for each in found if each.once == wish.once)
        said = f"{by_key.public_id} was asked for with the same Idempotency-Key, but another reference: {by_key.reference or 'none'}."
        raise PayoutConflict(said, field="reference")
    stands = payout.amount
    if wish.amount not in (None, stands) or wish.currency != stands.currency.code:
        name = "reference" if wish.reference else "Idempotency-Key"
        said = f"{payout.public_id} was asked for with the same {name}, but another amount: {text(stands)} {stands.currency}."
        raise PayoutConflict(said, field="currency" if wish.amount is None else "amount")
    return payout


@transaction.atomic(durable=True)
def approve(payout_id: int, *, actor: str, reason: str = "", now: datetime) -> Payout:
    """Let a payout that waits for approval be executed.  Locks its run, it, and its bank account against being replaced.

    Raises AlreadyDecided, MakerMayNotApprove (whoever asked for it), BankAccountReplaced, SellerOnHold if a hold was placed since, and
    PayoutsPaused.
    """
    stops.require_none()
    payout = lock_waiting(payout_id, actor=actor, reason=reason)
    if execute(HOLD_ACCOUNTS_AND_FIND_REPLACED, [{"id": payout.pk}]):
        said = f"{payout.public_id} would go to a bank account that was replaced since. Reject it: its money is available again."
        raise BankAccountReplaced(said, field="bank_account")
    hold = holds.active([payout.seller_id], now).get(payout.seller_id)
    if hold is not None:
        raise queries.SellerOnHold(f"Payouts to {payout.seller.name} are on hold {queries.lasting(hold)}.", field="seller")
    payout.status, payout.next_attempt_at, payout.decided_by, payout.decided_at = PayoutStatus.EXECUTING, now, actor, now
    payout.save(update_fields=["status", "next_attempt_at", "decided_by", "decided_at"])
    return payout


@transaction.atomic(durable=True)
def reject(payout_id: int, *, actor: str, reason: str, now: datetime) -> Payout:
    """Cancel a payout that waits for approval, and put its money back.  Locks its run, it, then the wallet.

    Raises AlreadyDecided, ReasonMissing, MakerMayNotApprove (whoever asked for it cancels it).
    """
    require_reason(reason, field="reason")
    payout = lock_waiting(payout_id, actor=actor, reason=reason)
    payout.decided_by, payout.decided_at = actor, now
    settlement.cancel([payout], code=REJECTED, now=now)
    return payout


@transaction.atomic(durable=True)
def cancel(payout_id: int, *, actor: str, reason: str = "", now: datetime) -> Payout:
    """Take the wish for a payout back while it waits for approval; its money is available again.  Locks it, then the wallet.

    Asking again answers with the same payout.  Raises AlreadyDecided: it is on its way, came to its end, or belongs to a run.
    """
    transitions.by(actor, reason=reason)
    payout = settlement.lock(payout_id)
    if payout.status == PayoutStatus.CANCELLED and payout.failure_code == CANCELLED:
        return payout
    if payout.run_id is not None:
        raise AlreadyDecided(f"{payout.public_id} is part of a payout run, which is approved or rejected as a whole.")
    require_waiting(payout)
    settlement.cancel([payout], code=CANCELLED, now=now)
    return payout


@transaction.atomic(durable=True)
def decide_run(run_id: int, *, approve: bool, actor: str, reason: str, now: datetime) -> PayoutRun:
    """Approve or reject a payout run, and with it all of its payouts that still wait, in one transaction and constant memory.

    A payout to a bank account that was replaced since is cancelled all the same, and the run's reason says how many were.  The others are
    due one after the other, A_SECOND of them each second.  Locks the run, its payouts by id, (to approve) the bank accounts by id, then (to
    put money back) the wallets by id.  Raises AlreadyDecided, MakerMayNotApprove, ReasonMissing, and PayoutsPaused for an approval.
    """
    require_reason(reason, field="reason")
    if approve:
        stops.require_none()
    transitions.by(actor, reason=reason)
    run = PayoutRun.objects.select_for_update(no_key=True).get(pk=run_id)
    if run.status != RunStatus.WAITING:
        raise AlreadyDecided(f"{run.public_id} is {run.status}: it was decided already.")
    if transitions.is_same_person(actor, run.made_by):
        raise MakerMayNotApprove(f"{run.public_id} was made by {actor}: somebody else must decide it.")
    waiting = settlement.lock_waiting(run.pk)
    if approve:
        replaced = [payout_id for (payout_id,) in execute(HOLD_ACCOUNTS_AND_FIND_REPLACED, [{"id": each} for each in waiting])]
        cancel_all(replaced, code=REPLACED, actor=actor, now=now)
        decided: dict[str, Any] = {"run": run.pk, "now": now, "spread": SPREAD, "actor": actor}
        with connection.cursor() as cursor:
            cursor.execute(EXECUTE_RUN, decided)
        reason += f" ({len(replaced)} cancelled: bank account replaced since)" if replaced else ""
    else:
        cancel_all(waiting, code=REJECTED, actor=actor, now=now)
    run.status = RunStatus.APPROVED if approve else RunStatus.REJECTED
    run.decided_by, run.decided_at, run.reason = actor, now, reason
    run.save(update_fields=["status", "decided_by", "decided_at", "reason"])
    return run


def cancel_all(waiting: Sequence[int], *, code: str, actor: str, now: datetime) -> None:
    """Cancel locked payouts of a run that wait, a few hundred at a time, and put their money back.  Locks the wallets by id."""
    if waiting:
        execute(LOCK_WALLETS, [{"id": each} for each in waiting])
    for start in range(0, len(waiting), AT_ONCE):
        payouts = list(Payout.objects.select_related("seller").filter(pk__in=waiting[start : start + AT_ONCE]).order_by("pk"))
        for payout in payouts:
            payout.decided_by, payout.decided_at = actor, now
        settlement.cancel(payouts, code=code, now=now)


@transaction.atomic(durable=True)
def ask_again(payout_id: int, *, actor: str, reason: str, now: datetime) -> Payout:
    """Let the machine go on with a payout that waits for a person: it is due at once, and its tries are counted anew.

    What may have been sent is asked for first, as always.  Locks the payout.  Raises NotToRescue, ReasonMissing.
    """
    payout = lock_stopped(payout_id, actor=actor, reason=reason)
    payout.next_attempt_at, payout.failures, payout.deaths, payout.failure_message = now, 0, 0, ""
    payout.save(update_fields=["next_attempt_at", "failures", "deaths", "failure_message"])
    keep(payout, actor=actor, reason=reason)
    return payout


def give_up(payout_id: int, *, actor: str, reason: str, now: datetime) -> Payout:
    """Fail a payout that waits for a person, and put its money back - if the bank, asked now, never saw it or says that it failed.

    What the bank says it paid, or returned, is recorded instead.  One that the bank never saw is asked for from time to time all the same:
    if it was paid after all, it is taken off the seller again.  One that goes by file may be given up whenever no file names it.  Raises
    NotToRescue: the bank has it, or cannot be asked.
    """
    require_reason(reason, field="reason")
    payout = Payout.objects.select_related("seller", "bank_account", "shop").get(pk=payout_id)
    if payout.provider == BankFile.name:
        return give_up_unfiled(payout_id, actor=actor, reason=reason, now=now)
    require_stopped(payout)
    match calls.ask(payout, now=now):
        case PaidOut() | PayoutFailed() | PayoutReturned() as outcome:
            settlement.hear(payout.pk, outcome, now=now)
        case None:
            put_back(payout, actor=actor, reason=reason, now=now)
        case _ as outcome:
            raise NotToRescue(f"{payout.public_id} cannot be given up: the bank has it, or cannot be asked now ({outcome}).")
    payout.refresh_from_db()
    return payout


@transaction.atomic(durable=True)
def put_back(asked: Payout, *, actor: str, reason: str, now: datetime) -> None:
    """Fail the payout that the bank never saw, unless somebody had it tried again since it was asked for.  Locks it, then the wallet."""
    payout = lock_stopped(asked.pk, actor=actor, reason=reason)
    if payout.tries != asked.tries:
        raise NotToRescue(f"{payout.public_id} was tried again meanwhile. Look at it again.")
    settlement.fail(payout, provider_reference="", code=GIVEN_UP, message=reason, now=now)
    Payout.objects.filter(pk=payout.pk).update(next_attempt_at=now, asked=0)


@transaction.atomic(durable=True)
def give_up_unfiled(payout_id: int, *, actor: str, reason: str, now: datetime) -> Payout:
    """Fail a payout that no payment file names, and put its money back.  Locks it, so that no file takes it meanwhile, then the wallet.

    If a file that the bank had refused was paid after all, its answer takes the money off the seller again.  Raises NotToRescue.
    """
    transitions.by(actor, reason=reason)
    payout = settlement.lock(payout_id)
    if payout.status != PayoutStatus.EXECUTING:
        raise NotToRescue(f"{payout.public_id} is {payout.status}: it waits for no payment file.")
    file = file_of(payout)
    if file is not None:
        what = "Only the bank's answer tells how it ends, or its statement" if file.downloaded_at else "Put that file aside first"
        raise NotToRescue(f"{payout.public_id} is in {file.public_id}. {what}.")
    settlement.fail(payout, provider_reference="", code=GIVEN_UP, message=reason, now=now)
    return payout


def file_of(payout: Payout) -> PaymentFile | None:
    """Return the payment file in which the payout is now; None if none names it."""
    return PaymentFile.objects.filter(lines__payout=payout.pk, lines__dropped_at=None).first()


def lock_waiting(payout_id: int, *, actor: str, reason: str) -> Payout:
    """Lock a payout that waits for approval by itself, and its run before it, for somebody else than its maker.

    Raises AlreadyDecided, also for one whose run waits: that is decided as a whole.  MakerMayNotApprove.
    """
    transitions.by(actor, reason=reason)
    run = PayoutRun.objects.select_for_update(no_key=True, of=("self",)).filter(payouts=payout_id).first()
    payout = settlement.lock(payout_id)
    require_waiting(payout)
    if run is not None and run.status == RunStatus.WAITING:
        said = f"{payout.public_id} is part of {run.public_id}, which waits itself. Approve or reject the run as a whole."
        raise AlreadyDecided(said)
    if transitions.is_same_person(actor, payout.requested_by):
        raise MakerMayNotApprove(f"{payout.public_id} was asked for by {actor}: somebody else must decide it.")
    return payout


def lock_stopped(payout_id: int, *, actor: str, reason: str) -> Payout:
    """Lock a payout that waits for a person, and say who decides and why.  Raises NotToRescue, ReasonMissing."""
    require_reason(reason, field="reason")
    transitions.by(actor, reason=reason)
    payout = settlement.lock(payout_id)
    require_stopped(payout)
    return payout


def keep(payout: Payout, *, actor: str, reason: str) -> None:
    """Keep who had the payout tried again, and why, among its transitions: its status stays what it was."""
    same = {"before": payout.status, "after": payout.status}
    PayoutTransition.objects.create(
        kind=PayoutTransition.Kind.PAYOUT, object_id=payout.pk, actor=actor, reason=reason[:LONGEST_REASON], **same
    )


def require_waiting(payout: Payout) -> None:
    if payout.status != PayoutStatus.WAITING:
        raise AlreadyDecided(f"{payout.public_id} is {payout.status}: it does not wait for approval.")


def require_stopped(payout: Payout) -> None:
    if payout.status != PayoutStatus.EXECUTING:
        raise NotToRescue(f"{payout.public_id} is {payout.status}: it is not tried again.")
    if payout.next_attempt_at is not None:
        raise NotToRescue(f"{payout.public_id} does not wait for a person: the machine goes on with it by itself.")
