"""Settlement of payouts: status, books, wallet and message change together, or none of them does.

Called by whoever learns what the bank did (executor, watch of returns, bank files), and by people who reject; the second witness finds the
work done.  Locks, always in this order: payouts by id, wallets by id.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.core.exceptions import ObjectDoesNotExist
from django.db import DataError, IntegrityError, InternalError, transaction
from django.db.models.functions import Now

from ledger import journal
from ledger.errors import DomainError
from ledger.line import without_numbers
from payouts import news, payout_entries, queries
from payouts.models import Payout
from payouts.providers.protocol import PaidOut, PayoutFailed, PayoutReturned
from payouts.states import UNRESOLVED, AttemptStatus, PayoutOperation, PayoutStatus
from wallet import balances, notifications

logger = logging.getLogger(__name__)

CANNOT_BOOK = (
    IntegrityError,
    DataError,
    InternalError,
    DomainError,
    ObjectDoesNotExist,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)  # the fault of one outcome, foreseen or not, and neither of the database nor of the network

BANK_SAID_SO = 0  # the bank's own word holds whoever heard it; claims count from one
GIVEN_UP = "given_up"  # the code of what a person gave up
REPLACED = "bank_account_replaced"  # the code of what was not sent, because the seller has another account now
LONGEST_MESSAGE = 500


class NotBookable(DomainError):
    code = "not_bookable"


def make(payout: Payout, *, now: datetime) -> Payout:
    """Write a new payout, with its entry, its movement and its message, inside the caller's transaction.

    The caller has opened the accounts and holds the seller's wallet, in this order.
    """
    [payout.journal_entry_id] = journal.post([payout_entries.made(payout, at=now)])
    [payout.wallet_entry_id] = balances.change([payout_entries.taken(payout, payout.journal_entry_id)])
    payout.told = 1
    payout.save(force_insert=True)
    notifications.publish([news.payout_news(payout)])
    return payout


def hear(payout_id: int, told: PaidOut | PayoutFailed | PayoutReturned, *, now: datetime) -> bool:
    """Record the bank's last word on a payout, whichever it is; False if it is known already, or older news than what is."""
    match told:
        case PaidOut():
            return settle_payout(payout_id, provider_reference=told.provider_reference, paid_at=told.at)
        case PayoutFailed():
            return fail_payout(payout_id, provider_reference=told.provider_reference, code=told.code, message=told.message, now=now)
        case PayoutReturned():
            reason: dict[str, str] = {"code": told.code, "message": told.message}
            return return_payout(payout_id, provider_reference=told.provider_reference, **reason, returned_at=told.at)


@transaction.atomic(durable=True)
def settle_payout(payout_id: int, *, provider_reference: str, paid_at: datetime) -> bool:
    """Record that the bank paid: payout, books and message together.  False if that is known already, or is older news than what is.

    One that was given up and arrived after all takes its money off the seller again, below zero if need be.  Locks the payout, then the
    wallet.  Raises NotBookable for a payout that was never sent.
    """
    payout = lock(payout_id)
    return paid(payout, provider_reference=provider_reference, paid_at=paid_at)


@transaction.atomic(durable=True)
def fail_payout(payout_id: int, *, provider_reference: str, code: str, message: str = "", now: datetime, claim: int = BANK_SAID_SO) -> bool:
    """Record that the bank will not pay: the seller has the money again.

    False if the payout does not execute, or (`claim`, the verdict of a worker) was claimed again since.  Locks the payout, then the wallet.
    """
    payout = lock(payout_id)
    return failed(payout, provider_reference=provider_reference, code=code, message=message, now=now, claim=claim)


def failed(payout: Payout, *, provider_reference: str, code: str, message: str, now: datetime, claim: int = BANK_SAID_SO) -> bool:
    """Record that the bank will not pay a locked payout, as `fail_payout` says."""
    if payout.status == PayoutStatus.FAILED and payout.next_attempt_at is not None:  # given up, and now the bank says that it was right
        payout.provider_reference, payout.next_attempt_at = provider_reference, None
        payout.save(update_fields=["provider_reference", "next_attempt_at"])
    if payout.status != PayoutStatus.EXECUTING or claim not in (BANK_SAID_SO, payout.tries):
        return False
    fail(payout, provider_reference=provider_reference, code=code, message=message, now=now)
    return True


@transaction.atomic(durable=True)
def fail_replaced(payout_id: int, *, now: datetime, claim: int) -> bool:
    """Put the money of a payout back that was made for a bank account which was replaced before anything left.

    False if something may have left: what is under way arrives where it was sent.  `claim` is the worker's.  Locks the payout, then the wallet.
    """
    payout = lock(payout_id)
    if payout.status != PayoutStatus.EXECUTING or claim != payout.tries or queries.may_have_left(payout):
        return False
    fail(payout, provider_reference="", code=REPLACED, message="The bank account was replaced before anything was sent.", now=now)
    return True


@transaction.atomic(durable=True)
def return_payout(payout_id: int, *, provider_reference: str, code: str, message: str = "", returned_at: datetime) -> bool:
    """Record that the seller's bank sent the money back: the seller has it available again.

    Whoever had not heard yet that it was paid records that, too.  False if it came back before, or was given up and put back already: then
    it moved nothing in the end.  Locks the payout, then the wallet.  Raises NotBookable for a payout that was never sent.
    """
    payout = lock(payout_id)
    return returned(payout, provider_reference=provider_reference, code=code, message=message, returned_at=returned_at)


def returned(payout: Payout, *, provider_reference: str, code: str, message: str, returned_at: datetime) -> bool:
    """Record that a locked payout came back, as `return_payout` says."""
    if payout.status == PayoutStatus.EXECUTING:
        paid(payout, provider_reference=provider_reference, paid_at=returned_at)
    elif payout.status == PayoutStatus.FAILED:
        Payout.objects.filter(pk=payout.pk).update(next_attempt_at=None)  # nobody needs to ask any more
    require_sent(payout)
    if payout.status != PayoutStatus.SUCCESS:
        return False
    [entry] = journal.post([payout_entries.came_back(payout, at=returned_at)])
    [movement] = balances.change([payout_entries.put_back(payout, entry)])
    if payout.late_entry_id:
        payout.late_return_entry_id, payout.late_return_wallet_entry_id = entry, movement
    else:
        payout.return_entry_id, payout.return_wallet_entry_id = entry, movement
    finish(payout, PayoutStatus.RETURNED, provider_reference=provider_reference, code=code, message=message)
    return True


def paid(payout: Payout, *, provider_reference: str, paid_at: datetime) -> bool:
    """Record that a locked payout was paid, as `settle_payout` says."""
    require_sent(payout)
    if payout.status == PayoutStatus.EXECUTING:
        [payout.paid_entry_id] = journal.post([payout_entries.paid(payout, at=paid_at)])
    elif payout.status == PayoutStatus.FAILED and not has_failed_there(payout, provider_reference):
        logger.error("%s was paid after it had failed: %s is taken off seller %s again", payout.public_id, payout.amount, payout.seller_id)
        [payout.late_entry_id] = journal.post([payout_entries.paid_after_all(payout, at=paid_at)])
        [payout.late_wallet_entry_id] = balances.change([payout_entries.taken(payout, payout.late_entry_id)])
    else:
        return False
    payout.paid_at = paid_at
    finish(payout, PayoutStatus.SUCCESS, provider_reference=provider_reference)
    return True


def has_failed_there(payout: Payout, provider_reference: str) -> bool:
    """Did the bank say that this very payout of its own failed?  No bank takes that back: a success is older news."""
    return provider_reference != "" and payout.provider_reference == provider_reference


def fail(payout: Payout, *, provider_reference: str, code: str, message: str, now: datetime) -> None:
    """Fail a locked payout that executes, and put its money back."""
    put_back([payout], now=now)
    finish(payout, PayoutStatus.FAILED, provider_reference=provider_reference, code=code, message=message)


def cancel(payouts: Sequence[Payout], *, code: str, now: datetime) -> None:
    """Cancel locked payouts that wait for approval, and put their money back; their sellers' wallets are locked by id."""
    put_back(payouts, now=now)
    for payout in payouts:
        payout.status, payout.failure_code, payout.told = PayoutStatus.CANCELLED, code, payout.told + 1
    Payout.objects.bulk_update(payouts, [*PUT_BACK_FIELDS, "status", "failure_code", "told", "decided_by", "decided_at"])
    notifications.publish([news.payout_news(payout) for payout in payouts])


PUT_BACK_FIELDS = ("return_entry", "return_wallet_entry")


def put_back(payouts: Sequence[Payout], *, now: datetime) -> None:
    """Post and move what these payouts had taken back to their sellers; the rows are the caller's to save."""
    entries = journal.post([payout_entries.not_paid(payout, at=now) for payout in payouts])
    changes = [payout_entries.put_back(payout, entry) for payout, entry in zip(payouts, entries, strict=True)]
    for payout, entry, movement in zip(payouts, entries, balances.change(changes), strict=True):
        payout.return_entry_id, payout.return_wallet_entry_id = entry, movement


def finish(payout: Payout, status: PayoutStatus, *, provider_reference: str, code: str = "", message: str = "") -> None:
    """Give the payout its outcome, close its calls, and tell everybody."""
    payout.status, payout.failure_code, payout.failure_message = status, code, without_numbers(message)[:LONGEST_MESSAGE]
    payout.provider_reference = provider_reference or payout.provider_reference
    payout.next_attempt_at, payout.deaths, payout.told = None, 0, payout.told + 1
    payout.save()
    ended = AttemptStatus.FAILED if status == PayoutStatus.FAILED else AttemptStatus.SUCCEEDED
    calls = payout.attempts.filter(operation=PayoutOperation.PAY_OUT, status__in=UNRESOLVED)
    if code != GIVEN_UP:
        calls.update(status=ended, provider_reference=provider_reference, error_code=code, finished_at=Now())
    notifications.publish([news.payout_news(payout)])


def require_sent(payout: Payout) -> None:
    if payout.status in (PayoutStatus.WAITING, PayoutStatus.CANCELLED):
        raise NotBookable(f"{payout.public_id} is {payout.status}: it was never sent, and cannot have been paid.")


def lock(payout_id: int) -> Payout:
    """Lock the payout."""
    return Payout.objects.select_for_update(no_key=True, of=("self",)).select_related("seller").get(pk=payout_id)


def lock_waiting(run_id: int) -> list[int]:
    """Lock the payouts of the run that wait for approval, by id; return their ids."""
    waiting = Payout.objects.select_for_update(no_key=True).filter(run=run_id, status=PayoutStatus.WAITING)
    return list(waiting.order_by("pk").values_list("pk", flat=True))
