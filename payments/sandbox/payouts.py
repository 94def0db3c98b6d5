"""Payouts: money sent to bank accounts, each under its own key. The account decides how it ends, or a fault.

What is paid may still be returned by the account's bank, days later. Webhooks about payouts go to an address of their own;
where none is set, whoever wants to know asks for what changed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import uuid_utils
from django.conf import settings
from django.db import transaction

from payments.sandbox import bank_accounts, courses, deliveries, idempotency, journal, wire
from payments.sandbox.bank_accounts import BankAccount, TestAccount
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.idempotency import BROKEN, Answer
from payments.sandbox.models import Payout, visible

ENDS_BADLY = ("failed", "returned")


@transaction.atomic(durable=True)
def pay_out(key: str, *, terms: Mapping[str, Any], fault: Fault | None, now: datetime) -> Answer:
    """Send money to a bank account under `key`, or return the answer that this key got before.

    `terms` are amount (minor units), currency, reference, holder, account (a BankAccount) and statement_text. A payout
    that fails at once is an answer like any other. Raises Refusal: key_in_flight, key_reused.
    """
    earlier = idempotency.claim(key, operation="payout", request_hash=_hash_of(terms), now=now)
    if earlier:
        return earlier
    if fault and fault.kind == "refuse_stored_500":
        return idempotency.remember(key, BROKEN)
    known = bank_accounts.behaviour_of(terms["account"])
    made = _drafted(known, key=key, terms=terms, now=now)
    _run(made, known, fault=fault, now=now)
    made.save(force_insert=True)
    return idempotency.remember(key, Answer(201, orjson.dumps(_tell(made, now=now))), fault=fault)


def _hash_of(terms: Mapping[str, Any]) -> str:
    """Hash the terms with the account's fingerprint in its place: an account number could be guessed from a plain hash."""
    return idempotency.hash_of({**terms, "account": bank_accounts.fingerprint(terms["account"], secret=settings.SECRET_KEY)})


def _drafted(known: TestAccount, *, key: str, terms: Mapping[str, Any], now: datetime) -> Payout:
    account: BankAccount = terms["account"]
    return Payout(
        id=f"po_{uuid_utils.uuid7().hex}",
        key=key,
        reference=terms["reference"],
        amount=terms["amount"],
        currency=terms["currency"],
        account=known.name,
        account_last4=account.last4,
        created_at=now,
        updated_at=now,
    )


def _run(made: Payout, known: TestAccount, *, fault: Fault | None, now: datetime) -> None:
    """Set the payout on its course."""
    course = courses.payout_course_of(known.payout, fault=fault)
    made.matures_to, made.matures_at = course.then, course.matures_at(now)
    made.hidden_until = courses.hidden_until(fault, now=now)
    _become(made, course.status)


def _become(made: Payout, status: str) -> None:
    """Let the payout be this from now on, with the account's reason if it ends badly."""
    failure = bank_accounts.named(made.account).failure
    made.status, made.failure = status, failure.as_wire() if failure and status in ENDS_BADLY else None


def ripen(*, now: datetime, limit: int) -> int:
    """Let up to `limit` payouts become what their account says: paid, failed or returned. Return how many did."""
    with transaction.atomic(durable=True):
        due = Payout.objects.select_for_update(skip_locked=True)
        ripe = list(due.filter(matures_at__lte=now).order_by("matures_at")[:limit])
        for made in ripe:
            made.matures_at, made.updated_at = None, now
            _become(made, made.matures_to)
            made.save(update_fields=["status", "matures_at", "failure", "updated_at"])
        for made in ripe:
            _tell(made, now=now)
    return len(ripe)


def _tell(made: Payout, *, now: datetime) -> dict[str, Any]:
    """Write the journal and queue the webhook where one is wanted; return the payout as it goes over the wire."""
    event_type = f"payout.{made.status}"
    fact = journal.Fact(event_type, made.id, made.reference, key=made.key, amount=made.amount, currency=made.currency)
    journal.write([fact], now=now)
    body = as_wire(made)
    if settings.SANDBOX_PAYOUT_WEBHOOK_URL:
        fault = switchboard.fire("webhook", card=made.account_last4, references=[made.reference, made.key])
        deliveries.queue(event_type, body, address="payouts", fault=fault, now=now)
    return body


def by_key(key: str, *, now: datetime, lag_s: float) -> Sequence[Payout]:
    """Return the payouts made under this key, but for those that may not be seen yet: none or one, unless it was pruned."""
    return list(Payout.objects.filter(visible(key, now=now, lag_s=lag_s)).order_by("created_at", "id"))


def by_id(payout_id: str) -> Payout:
    """Return the payout, or raise Refusal unknown_payout (404)."""
    found = Payout.objects.filter(id=payout_id).first()
    if found is None:
        raise Refusal(404, "unknown_payout", "There is no such payout.", field="payout")
    return found


def updated_since(since: datetime, *, limit: int) -> Sequence[Payout]:
    """Return up to `limit` payouts that were made or changed at `since` or later, by the time of their last change.

    The time of a change is taken shortly before it is committed: ask with some seconds of overlap. Those that ripened
    together share it, 64 at most: ask for more than that.
    """
    return list(Payout.objects.filter(updated_at__gte=since).order_by("updated_at", "id")[:limit])


def as_wire(made: Payout) -> dict[str, Any]:
    return {
        "id": made.id,
        "object": "payout",
        "key": made.key,
        "reference": made.reference,
        "status": made.status,
        "amount": made.amount,
        "currency": made.currency,
        "account_last4": made.account_last4,
        "failure": made.failure,
        "created_at": wire.moment(made.created_at),
        "updated_at": wire.moment(made.updated_at),
    }
