"""The payouts' executor: claim what is due, ask or send with nothing locked and no transaction open, record the answer.

The payout's id is the key under which the bank knows it.  A payout that may have been sent is asked for before it is sent again, and never
sent again once the key is old; what could have happened is never taken for failed.  Each claim is a lease (`next_attempt_at` moves on);
a payout over which one worker after the other dies, or of whose end nobody can tell, is given to a person.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from ledger import retries
from ledger.retries import Policy
from payouts import calls, queries, settlement, stops
from payouts.calls import Outcome
from payouts.models import Payout, PayoutAttempt, PayoutSchedule, ReturnWatch
from payouts.providers import registry
from payouts.providers.protocol import (
    PaidOut,
    PayoutFailed,
    PayoutPending,
    PayoutReturned,
    PspError,
    PspRejectedRequest,
    PspUnavailable,
    ReturnNotice,
)
from payouts.providers.registry import UnknownProvider
from payouts.states import UNRESOLVED, AttemptStatus, PayoutOperation, PayoutStatus
from payouts.vault import CannotOpen
from wallet import holds

logger = logging.getLogger(__name__)

LEASE_S = 60  # longer than a call takes
MOST_DEATHS = 8
MOST_BOOKINGS = 8
POLICY = Policy(first_s=2, longest_s=3600, most_tries=40)  # a bank may be away for a day: nothing is lost by waiting
LOOK_AT_HOLD_AGAIN = timedelta(hours=1)  # or at a stop of all payouts
OVERLAP = timedelta(days=1)
FIRST_LOOK = timedelta(days=90)
LONGEST_REASON = 500

# Why a payout waits for a person
WORKERS_DIED = f"{MOST_DEATHS} workers died over it."
UNKNOWN_TOO_LONG = "The bank has not told for a month what became of it."
NEVER_SEEN = "The bank says that it never saw it, and its key is too old to be sent again."
TRIES_EXHAUSTED = "It could not be sent: "
CANNOT_BE_BOOKED = "What the bank says cannot be booked: "


def execute_due_payouts(*, now: datetime) -> int:
    """Claim one due payout, ask the bank to pay it, and record its answer; return how many were claimed.

    One at a time, so that no claim runs out while others are executed.  What goes wrong with it holds up no other: it is tried again.
    """
    payout = claim_due(now=now)
    if payout is None:
        return 0
    try:
        execute(payout, now=now)
    except (*settlement.CANNOT_BOOK, CannotOpen) as error:
        logger.error("payout %s cannot be executed or booked: %s", payout.public_id, error)
        book_later(payout, detail=str(error), now=now)
    return 1


def claim_due(*, now: datetime) -> Payout | None:
    """Take the payout that is due first for LEASE_S; one over which MOST_DEATHS workers died is given to a person, and another is taken."""
    payout = claim_one(now=now)
    while payout is not None and payout.deaths > MOST_DEATHS:
        payout = claim_one(now=now)
    return payout


@transaction.atomic(durable=True)
def claim_one(*, now: datetime) -> Payout | None:
    """Claim once; COMMIT, before anything is sent.  A claim counts as a death until it is handed back.

    One that has failed and is due was given up: it is asked for, and never sent.
    """
    due = Payout.objects.filter(next_attempt_at__lte=now, status__in=[PayoutStatus.EXECUTING, PayoutStatus.FAILED])
    claimable = due.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("seller", "bank_account", "shop")
    payout = claimable.order_by("next_attempt_at").first()
    if payout is not None:
        payout.tries += 1
        payout.deaths += 1
        payout.next_attempt_at = now + timedelta(seconds=LEASE_S)
        if payout.deaths > MOST_DEATHS:
            stop(payout, WORKERS_DIED)
        payout.save(update_fields=["tries", "deaths", "next_attempt_at", "failure_message"])
    return payout


def execute(payout: Payout, *, now: datetime) -> None:
    """Ask what became of the payout if it may have been sent; send it if the bank never saw it; record the answer.

    One of which nothing has left goes to no account that its seller has replaced since: its money is put back.
    """
    if payout.bank_account.replaced_at is not None and settlement.fail_replaced(payout.pk, now=now, claim=payout.tries):
        return None
    sent_at = queries.first_sent_at(payout)
    if sent_at is not None or payout.status == PayoutStatus.FAILED:
        outcome = calls.ask(payout, now=now)
        payout.asked += 1
        if outcome is not None or sent_at is None or now - sent_at > retries.KEY_LIFETIME or payout.status == PayoutStatus.FAILED:
            return heard(payout, outcome, sent_at=asked_since(payout, sent_at=sent_at), now=now)
    until = held_back_until(payout, now=now)
    if until is not None:
        return give_back(payout, at=until)
    attempt = open_attempt(payout, now=now)
    if attempt is not None:
        answered(payout, attempt, calls.send(payout), sent_at=sent_at, now=now)
    return None


def asked_since(payout: Payout, *, sent_at: datetime | None) -> datetime:
    """Return since when the bank is asked: since the first call, or since the payout was given up, which its entry says."""
    if payout.status == PayoutStatus.FAILED and payout.return_entry is not None:
        return payout.return_entry.happened_at
    return sent_at or payout.created_at


def held_back_until(payout: Payout, *, now: datetime) -> datetime | None:
    """Return when to look again at a payout while all are stopped, or its seller is on hold: no money leaves.  None if nothing holds it back."""
    if stops.active() is not None:
        return now + LOOK_AT_HOLD_AGAIN
    hold = holds.active([payout.seller_id], now).get(payout.seller_id)
    return min(hold.until or now + LOOK_AT_HOLD_AGAIN, now + LOOK_AT_HOLD_AGAIN) if hold else None


@transaction.atomic(durable=True)
def open_attempt(payout: Payout, *, now: datetime) -> PayoutAttempt | None:
    """Write the call that is about to be sent; COMMIT.

    None if the claim was lost meanwhile, if the payout came to its end, if all payouts were stopped just now, or if nothing of it has left
    and its account was replaced just now: the next claim puts its money back.
    """
    if stops.active() is not None:
        return None
    mine = Payout.objects.select_for_update(no_key=True, of=("self",)).select_related("bank_account")
    found = mine.filter(pk=payout.pk, status=PayoutStatus.EXECUTING, tries=payout.tries).first()
    if found is None or (found.bank_account.replaced_at is not None and not queries.may_have_left(found)):
        return None
    number = payout.attempts.filter(operation=PayoutOperation.PAY_OUT).count() + 1
    attempt = calls.attempt_of(payout, PayoutOperation.PAY_OUT, number=number, now=now)
    attempt.save(force_insert=True)
    return attempt


def answered(payout: Payout, attempt: PayoutAttempt, outcome: Outcome, *, sent_at: datetime | None, now: datetime) -> None:
    """Record what the bank answered to the call that would pay out.

    A refusal fails the payout only when nothing can have been sent before: later it may hide one that was executed.
    """
    match outcome:
        case PspUnavailable():
            close(attempt, AttemptStatus.NOT_EXECUTED, code=outcome.code, message=str(outcome), now=now)
            try_again(payout, outcome, now=now)
        case PspRejectedRequest():
            logger.error("the bank refused our payout %s: %s", payout.public_id, outcome)
            close(attempt, AttemptStatus.NOT_EXECUTED, code=outcome.code, message=str(outcome), now=now)
            if sent_at is None:
                said = str(outcome)
                settlement.fail_payout(payout.pk, provider_reference="", code=outcome.code, message=said, now=now, claim=payout.tries)
            else:
                ask_later(payout, sent_at=sent_at, now=now)
        case PspError():
            close(attempt, AttemptStatus.UNKNOWN, code=outcome.code, message=str(outcome), now=now)
            heard(payout, outcome, sent_at=sent_at or now, now=now)
        case PayoutPending():
            close(attempt, AttemptStatus.PENDING, reference=outcome.provider_reference, now=now)
            heard(payout, outcome, sent_at=sent_at or now, now=now)
        case _:
            heard(payout, outcome, sent_at=sent_at or now, now=now)


def heard(payout: Payout, outcome: Outcome, *, sent_at: datetime, now: datetime) -> None:
    """Record what is known of a payout that may have been sent.

    What the bank never saw, under a key too old to send, is nobody's to decide but a person's: a look-up may be wrong.
    """
    match outcome:
        case PaidOut() | PayoutFailed() | PayoutReturned():
            settlement.hear(payout.pk, outcome, now=now)
        case None if payout.status == PayoutStatus.EXECUTING:
            give_up(payout, NEVER_SEEN)
        case PayoutPending(arrives_on=arrives_on) if arrives_on is not None:
            Payout.objects.filter(pk=payout.pk, status=PayoutStatus.EXECUTING).update(arrives_on=arrives_on)
            ask_later(payout, sent_at=sent_at, now=now)
        case _:
            ask_later(payout, sent_at=sent_at, now=now)


def try_again(payout: Payout, error: PspUnavailable, *, now: datetime) -> None:
    """Nothing was executed: give the claim back by the retry policy, or to a person when its tries are used up."""
    failures = payout.failures + 1
    delay_s = retries.delay_s(POLICY, failures=failures)
    if delay_s is None:
        give_up(payout, TRIES_EXHAUSTED + str(error))
    else:
        give_back(payout, at=now + timedelta(seconds=max(delay_s, error.retry_after_s)), failures=failures)


def ask_later(payout: Payout, *, sent_at: datetime, now: datetime) -> None:
    """Pending or unknown: give the claim back, to be asked for later and later, and to a person after a month.

    One that was given up is asked for that long from then on, and then no more; `sent_at` is when it was given up.
    """
    if now - sent_at > retries.ASK_FOR:
        give_up(payout, UNKNOWN_TOO_LONG)
    else:
        give_back(payout, at=now + timedelta(seconds=retries.ask_delay_s(payout.asked)), failures=0)


def book_later(payout: Payout, *, detail: str, now: datetime) -> None:
    """The bank's answer does not fit what is booked, or we cannot call it: try once more later, and give it to a person after MOST_BOOKINGS."""
    failures = payout.failures + 1
    if failures >= MOST_BOOKINGS:
        give_up(payout, CANNOT_BE_BOOKED + detail)
    else:
        give_back(payout, at=now + timedelta(seconds=retries.ask_delay_s(failures)), failures=failures)


def give_back(payout: Payout, *, at: datetime, failures: int | None = None) -> None:
    """Give the claim back, to be taken again at that time; a claim that was lost meanwhile is left as it is."""
    claimed = Payout.objects.filter(pk=payout.pk, status=payout.status, tries=payout.tries)
    claimed.update(next_attempt_at=at, failures=payout.failures if failures is None else failures, deaths=0, asked=payout.asked)


def give_up(payout: Payout, reason: str) -> None:
    """Leave the payout to a person, unless the claim was lost meanwhile.  Its money stays in transit."""
    stop(payout, reason)
    claimed = Payout.objects.filter(pk=payout.pk, status=payout.status, tries=payout.tries)
    claimed.update(next_attempt_at=None, failure_message=payout.failure_message, deaths=0, asked=payout.asked)


def stop(payout: Payout, reason: str) -> None:
    """Let the payout be tried no more, and say why.  One that has failed keeps what it failed of."""
    payout.next_attempt_at = None
    if payout.status == PayoutStatus.EXECUTING:
        payout.failure_message = reason[:LONGEST_REASON].replace("\0", "")
        logger.error("payout %s waits for a person: %s", payout.public_id, reason)


def close(attempt: PayoutAttempt, status: AttemptStatus, *, now: datetime, code: str = "", message: str = "", reference: str = "") -> None:
    """Write what came of a call, unless somebody has told its end meanwhile."""
    PayoutAttempt.objects.filter(pk=attempt.pk, status__in=UNRESOLVED).update(
        status=status, error_code=code, error_message=message[: calls.LONGEST_MESSAGE], provider_reference=reference, finished_at=now
    )


def ring(provider: str, *, key: str, now: datetime) -> bool:
    """A bank says that something became of the payout under this key: let it be asked for at once.  True if there is one to ask for.

    One that waits for a person is asked for, too, if something of it may have left: a ring never makes us send.  Whoever works on it at this moment asks by himself.
    """
    left = PayoutAttempt.objects.filter(payout=OuterRef("pk"), operation=PayoutOperation.PAY_OUT).exclude(status=AttemptStatus.NOT_EXECUTED)
    waiting = Q(next_attempt_at__gt=now) | Q(Exists(left), next_attempt_at=None, status=PayoutStatus.EXECUTING)
    return Payout.objects.filter(waiting, public_id=key, provider=provider, deaths=0).update(next_attempt_at=now) > 0


# --- What was paid, and came back -------------------------------------------------------------------------------------


def watch_returns(*, now: datetime) -> int:
    """Ask every provider that we use, or used, for payouts that came back; return how many were recorded anew."""
    agreed = PayoutSchedule.objects.values_list("provider", flat=True)
    names = {settings.DEFAULT_PAYOUT_PROVIDER, *agreed, *ReturnWatch.objects.values_list("provider", flat=True)}
    return sum(look(name, now=now) for name in sorted(filter(None, names)))


def look(provider: str, *, now: datetime) -> int:
    """Ask one provider and record what is new; one that cannot be asked is asked for the same time again.  No transaction is open meanwhile."""
    watched = ReturnWatch.objects.filter(provider=provider).first()
    since = watched.asked_until - OVERLAP if watched else now - FIRST_LOOK
    try:
        notices = registry.provider_named(provider).returned_since(since)
    except (PspError, UnknownProvider) as error:
        logger.warning("%s cannot be asked for payouts that came back: %s", provider, error)
        return 0
    recorded, waiting = 0, [now]
    for notice in notices:
        try:
            recorded += record(notice, provider=provider)
        except settlement.CANNOT_BOOK as error:
            logger.error("that %s came back at %s cannot be recorded: %s", notice.key, notice.returned.at, error)
            if now - notice.returned.at < retries.ASK_FOR:  # then the watch goes on without it, and a person has the log
                waiting.append(notice.returned.at)
    ReturnWatch.objects.update_or_create(provider=provider, defaults={"asked_until": min(waiting)})
    return recorded


def record(notice: ReturnNotice, *, provider: str) -> bool:
    """Record that a payout came back; False if that is known.  Raises NotBookable for another amount than ours."""
    payout = Payout.objects.filter(public_id=notice.key, provider=provider).first()
    if payout is None:
        logger.warning("a payout of %s came back that is not ours: %s", provider, notice.key)
        return False
    if payout.amount != notice.amount:
        raise settlement.NotBookable(f"{payout.public_id} is over {payout.amount}, and {notice.amount} came back.")
    return settlement.hear(payout.pk, notice.returned, now=notice.returned.at)
