"""One call to a provider about a payout: what is asked for, and what came of it.  No transaction is open meanwhile.

The payout's id is the key under which the provider knows it.  Whatever goes wrong without saying what it means is an unknown outcome.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from django.views.decorators.debug import sensitive_variables

from ledger.line import without_numbers
from payouts import account_numbers
from payouts.models import Payout, PayoutAttempt
from payouts.providers import registry
from payouts.providers.protocol import (
    Account,
    PaidOut,
    PayoutFailed,
    PayoutPending,
    PayoutRequest,
    PayoutReturned,
    PayoutTerms,
    PspError,
    PspOutcomeUnknown,
    Result,
)
from payouts.states import AttemptStatus, PayoutOperation

logger = logging.getLogger(__name__)

LONGEST_STATEMENT_TEXT = 140  # of SEPA and of most others
LONGEST_MESSAGE = 500

Outcome = Result | PspError | None  # None: asked for, and the provider never saw the key


@sensitive_variables()
def send(payout: Payout) -> Outcome:
    """Ask the provider to pay out."""
    provider = registry.provider_named(payout.provider)
    request = request_of(payout)
    return outcome_of(payout, lambda: provider.pay_out(request))


def ask(payout: Payout, *, now: datetime) -> Outcome:
    """Ask the provider what became of the payout, and keep the answer among the calls; its number is the claim's."""
    provider = registry.provider_named(payout.provider)
    outcome = outcome_of(payout, lambda: provider.find_payout(terms_of(payout)))
    PayoutAttempt.objects.bulk_create([look_up(payout, outcome, now=now)], ignore_conflicts=True)  # one is enough for one claim
    return outcome


def outcome_of(payout: Payout, call: Callable[[], Result | None]) -> Outcome:
    try:
        return call()
    except PspError as error:
        return error
    except Exception:
        logger.exception("the call for %s went wrong in a way nobody foresaw", payout.public_id)
        return PspOutcomeUnknown("unforeseen error")


def terms_of(payout: Payout) -> PayoutTerms:
    return PayoutTerms(key=payout.public_id, amount=payout.amount, reference=payout.public_id)


@sensitive_variables()
def request_of(payout: Payout) -> PayoutRequest:
    """Return the payout as the provider is asked for it, with its account's number.  Raises vault.CannotOpen."""
    account = payout.bank_account
    details = account_numbers.opened(account.sealed, owner=account.public_id, fingerprint=account.fingerprint)
    return PayoutRequest(
        key=payout.public_id,
        amount=payout.amount,
        reference=payout.public_id,
        holder=account.holder,
        account=Account(**details),
        statement_text=f"{payout.shop.name} {payout.public_id}"[:LONGEST_STATEMENT_TEXT],
    )


def attempt_of(payout: Payout, operation: PayoutOperation, *, number: int, now: datetime) -> PayoutAttempt:
    return PayoutAttempt(payout=payout, operation=operation, number=number, provider=payout.provider, key=payout.public_id, created_at=now)


def look_up(payout: Payout, outcome: Outcome, *, now: datetime) -> PayoutAttempt:
    """Return the call that says what a look-up brought."""
    attempt = attempt_of(payout, PayoutOperation.FIND, number=payout.tries, now=now)
    attempt.finished_at = now
    match outcome:
        case PaidOut():
            attempt.status, attempt.provider_reference = AttemptStatus.SUCCEEDED, outcome.provider_reference
        case PayoutPending():
            attempt.status, attempt.provider_reference = AttemptStatus.PENDING, outcome.provider_reference
        case PayoutFailed() | PayoutReturned():
            attempt.status, attempt.provider_reference = AttemptStatus.FAILED, outcome.provider_reference
            attempt.error_code, attempt.error_message = outcome.code, without_numbers(outcome.message)[:LONGEST_MESSAGE]
        case PspError():
            attempt.status, attempt.error_code, attempt.error_message = AttemptStatus.UNKNOWN, outcome.code, str(outcome)[:LONGEST_MESSAGE]
        case None:
            attempt.status, attempt.error_code = AttemptStatus.NOT_EXECUTED, "never_seen"
    return attempt
