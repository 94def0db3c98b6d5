"""Settlement: THE transaction.  Order, books, wallet and message change together, or none of them does.

Called by whoever learns what the PSP did (executor, webhook, poller); the second witness finds the work done.  Each function takes a
batch: one is a batch of one, and a batch costs a fixed number of statements.  Locks, always in this order: events by id, orders by id,
stored values by id, wallets by id.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, transaction
from django.db.models.functions import Now
from djmoney.money import Money

from ledger import chart, clock, journal
from ledger.errors import DomainError
from ledger.journal import Draft
from ledger.models import JournalEntry
from ledger.statements import execute
from payments import dead_letters, fees, losses, news, queries, refund_entries, tenders, unreleased, value_returns
from payments.models import LateCharge, PaymentOrder, Refund
from payments.queries import ExecutingOrder
from payments.states import UNRESOLVED, AttemptStatus, PspOperation, RefundStatus
from payments.tenders import Held
from payments.value_returns import Part
from wallet import balances, notifications, stored_value
from wallet.balances import Movement
from wallet.models import StoredValueEntry
from wallet.stored_value import Change

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


class NotBookable(DomainError):
    code = "not_bookable"


class Undecided(NotBookable):
    """Who bears it hangs on something that is under way: look again until that is decided."""


@dataclass(frozen=True, slots=True)
class Capture:
    """The PSP's word that it took the money of one order, under one attempt and its key; nothing at all, if tenders pay the whole order."""

    order_id: int
    attempt_id: int
    psp_key: str
    psp_reference: str
    amount: Money
    charged_at: datetime


PSP_SAID_SO = 0  # the PSP's own word holds whoever heard it; claims count from one
GIVEN_UP = "given_up"  # the code of what a person gave up, although nobody knows what became of it
VOIDED = "voided"  # the code of a charge whose key takes nothing any more: what it took was given back at once


@dataclass(frozen=True, slots=True)
class Failure:
    """That the money of one order was not and will not be taken under one key.

    The PSP's own word, or (`claim`) the verdict of the worker that made that claim: it counts only while nobody has claimed the order since.
    """

    order_id: int
    attempt_id: int
    psp_key: str
    psp_reference: str
    code: str
    message: str
    claim: int = PSP_SAID_SO


Outcome = TypeVar("Outcome", Capture, Failure)

LOCK_EVENTS = """
SELECT id FROM payments_paymentevent
WHERE id IN (SELECT event_id FROM payments_paymentorder
             WHERE id IN (SELECT order_id FROM json_to_recordset(%s) AS outcome (order_id bigint)))
ORDER BY id FOR NO KEY UPDATE
"""

LOCK_CLAIMS = """
SELECT due.order_id, due.tries FROM payments_dueorder AS due
WHERE due.order_id IN (SELECT order_id FROM json_to_recordset(%s) AS failed (order_id bigint)) ORDER BY due.order_id FOR UPDATE
"""

# When an order becomes available follows from its seller's terms (wallet/terms.py says the same in Python): its own, the shop's, the house's.
SUCCEED = """
WITH settled AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS settled (order_id bigint, shop_id bigint, seller_id bigint, attempt_id bigint,
        journal_entry_id bigint, wallet_entry_id bigint, psp_reference text, charged_at timestamptz, is_charged boolean)
), due AS (
    INSERT INTO payments_duerelease (order_id, due_at)
    SELECT order_id, CASE
        WHEN terms.id IS NULL THEN charged_at + interval '14 days'
        WHEN days_after_payment IS NOT NULL THEN greatest(charged_at + days_after_payment * interval '1 day', (
            SELECT created_at + new_seller_days * interval '1 day' FROM wallet_seller WHERE id = settled.seller_id AND new_seller_days > 0))
        END
    FROM settled LEFT JOIN LATERAL (
        SELECT id, days_after_payment, new_seller_days FROM wallet_releaseterms AS agreed
        WHERE agreed.shop_id = settled.shop_id AND (agreed.seller_id = settled.seller_id OR agreed.seller_id IS NULL)
        ORDER BY agreed.seller_id LIMIT 1
    ) AS terms ON true
    WHERE wallet_entry_id IS NOT NULL
), attempt AS (
    UPDATE payments_pspattempt SET status = 'SUCCEEDED', psp_reference = settled.psp_reference, finished_at = now()
    FROM settled WHERE id = settled.attempt_id
), done AS (
    DELETE FROM payments_dueorder USING settled WHERE payments_dueorder.order_id = settled.order_id
)
UPDATE payments_paymentorder
SET status = 'SUCCESS', failure_code = '', told = told + 1, journal_entry_id = settled.journal_entry_id,
    wallet_entry_id = settled.wallet_entry_id, unreleased = CASE WHEN settled.wallet_entry_id IS NULL THEN 0 ELSE net END,
    settled_at = CASE WHEN is_charged THEN settled_at ELSE charged_at END
FROM settled WHERE id = settled.order_id
"""

# What became of its other calls may be open still: they are asked for, though nobody waits for them any more (orphans.py).
FAIL = """
WITH failed AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS failed (order_id bigint, attempt_id bigint, psp_reference text, code text, message text)
), attempt AS (
    UPDATE payments_pspattempt SET status = 'DECLINED', psp_reference = failed.psp_reference, error_code = failed.code,
        error_message = failed.message, finished_at = now()
    FROM failed WHERE id = failed.attempt_id
), orphaned AS (
    UPDATE payments_pspattempt AS attempt SET ask_again_at = coalesce(ask_again_at, now()), given_up_at = coalesce(given_up_at, now())
    FROM failed WHERE attempt.order_id = failed.order_id AND attempt.operation = 'charge' AND attempt.id <> failed.attempt_id
      AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING')
), done AS (
    DELETE FROM payments_dueorder USING failed WHERE payments_dueorder.order_id = failed.order_id
)
UPDATE payments_paymentorder SET status = 'FAILED', failure_code = failed.code, told = told + 1, tendered = 0
FROM failed WHERE id = failed.order_id
"""

CLOSE_EVENTS = """
WITH standing AS MATERIALIZED (
    SELECT event_id, bool_and(status = 'SUCCESS') AS all_paid, bool_or(status = 'SUCCESS') AS any_paid,
           bool_and(status IN ('SUCCESS', 'CANCELLED')) AS is_final
    FROM payments_paymentorder WHERE event_id IN (SELECT event_id FROM json_to_recordset(%s) AS touched (event_id bigint))
    GROUP BY event_id
), closed AS (
    UPDATE payments_paymentevent AS event SET is_payment_done = is_final, told = told + is_final::int,
        status = CASE WHEN all_paid THEN 'paid' WHEN any_paid THEN 'partly_paid' WHEN is_final THEN 'cancelled' ELSE event.status END
    FROM standing WHERE event.id = event_id AND NOT event.is_payment_done
    RETURNING event.id, event.shop_id, event.public_id, event.status, event.amount, event.currency, event.told, event.is_payment_done
), unlisted AS (
    DELETE FROM payments_opencheckout USING closed WHERE event_id = closed.id AND is_payment_done
)
SELECT shop_id, public_id, status, amount, currency, told FROM closed WHERE is_payment_done ORDER BY id
"""


@transaction.atomic(durable=True)
def settle(captures: Sequence[Capture]) -> list[ExecutingOrder]:
    """Record that the PSP took the money: orders, wallets, books and messages together, or nothing.  Return the orders settled now.

    Captures of orders that are not executing under that key (settled before, say), or of another amount than the order's charge, are left
    out.  Ten SQL statements for any number of captures, BEGIN and COMMIT included; some more if gift cards or buyers' wallets have a part
    in them.  Wallets are locked as late as can be, so that batches for one busy seller hardly wait for each other.
    """
    return record(captures)


def record(captures: Sequence[Capture]) -> list[ExecutingOrder]:
    """Settle inside the caller's transaction; otherwise as `settle`."""
    captured = [(order, capture) for order, capture in lock_executing(captures) if order.charge == capture.amount]
    orders = [order for order, _capture in captured]
    if not orders:
        return []
    held = tenders.held([order.id for order in orders if order.tendered])
    filled = [order.fills_id for order in orders if order.fills_id is not None]
    stored_value.lock({*filled, *(tender.value_id for of_order in held.values() for tender in of_order)})
    fills = stored_value.accounts_of(filled)
    entries = journal.post([sale(order, capture, paid_by=held.get(order.id, ()), fills=fills) for order, capture in captured])
    notifications.publish([news.order_news(order, status="SUCCESS") for order in orders])
    booked = dict(zip([order.id for order in orders], entries, strict=True))
    tenders.take([(tender, booked[order.id], order.public_id) for order in orders for tender in held.get(order.id, ())])
    stored_value.change([bought(order, booked[order.id]) for order in orders if order.fills_id is not None])
    if filled:
        value_returns.keep_good(filled, now=clock.now())
    sold = [order for order in orders if order.fills_id is None]
    movements = balances.credit([proceeds(order, booked[order.id]) for order in sold]) if sold else []
    credited = dict(zip([order.id for order in sold], movements, strict=True))
    execute(
        SUCCEED,
        [
            {
                "order_id": order.id,
                "shop_id": order.shop_id,
                "seller_id": order.seller_id,
                "attempt_id": capture.attempt_id,
                "journal_entry_id": booked[order.id],
                "wallet_entry_id": credited.get(order.id),
                "psp_reference": capture.psp_reference,
                "charged_at": capture.charged_at,
                "is_charged": bool(order.charge),
            }
            for order, capture in captured
        ],
    )
    close_events({order.event_id for order in orders})
    return orders


def close_events(event_ids: Collection[int]) -> None:
    """Say how the events stand now, and finish and tell those whose orders are all paid or cancelled.  The caller holds the events' locks."""
    closed = execute(CLOSE_EVENTS, [{"event_id": event_id} for event_id in event_ids])
    notifications.publish([news.payment_news(*row) for row in closed])


def apart(record: Callable[[Sequence[Outcome]], object], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Record the outcomes together; if one of them cannot be booked, record each by itself, so that it keeps nobody else waiting.

    Returns, by PSP key, why those that cannot be booked cannot, also for a reason that nobody foresaw.  Their orders stay EXECUTING and are
    asked for again; a database that is away is everybody's trouble and raises.
    """
    try:
        record(outcomes)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(outcomes) == 1:
            logger.exception("what the PSP says of %s cannot be booked", outcomes[0].psp_key)
            return {outcomes[0].psp_key: str(error) or type(error).__name__}
        return {key: reason for outcome in outcomes for key, reason in apart(record, [outcome]).items()}
    return {}


@transaction.atomic(durable=True)
def fail(failures: Sequence[Failure]) -> list[ExecutingOrder]:
    """Record that the PSP will not take the money.  The checkout stays open: the buyer may pay those orders another way.

    Returns the orders failed now; those that are not executing under that key, or were claimed again since, are left out.
    """
    executing = lock_executing(failures)
    claims = dict(execute(LOCK_CLAIMS, [{"order_id": order.id} for order, _failure in executing]))
    failed = [(order, failure) for order, failure in executing if failure.claim in (PSP_SAID_SO, claims[order.id])]
    if failed:
        tenders.let_go([order.id for order, _failure in failed if order.tendered])
        execute(FAIL, [failure_row(failure) for _order, failure in failed])
        notifications.publish([news.order_news(order, status="FAILED", failure_code=failure.code) for order, failure in failed])
    return [order for order, _failure in failed]


@transaction.atomic(durable=True)
def settle_refund(refund_id: int, *, psp_reference: str, refunded_at: datetime) -> bool:
    """Record that the PSP gave its part of one refund back, and give the rest to the tenders: refund, books, wallets and message together.

    False if that is done already, or if the PSP said later that the money came back: it may tell us in any order.  A refund that was given
    up and succeeded after all is booked too, the PSP's part of it, and what the buyer had got otherwise by then, the platform bears.  Raises
    Undecided while that may still change.  Locks the order, the refund, the stored values, then the wallet.
    """
    order, refund = lock_refund(refund_id)
    if refund.status == RefundStatus.SUCCESS or has_come_back(refund, psp_reference):
        return False
    if refund.status == RefundStatus.FAILED:
        reserve_again(order, refund)
    if refund.late_charge_id is not None:
        [refund.journal_entry_id] = journal.post([refund_entries.owed_no_more(refund, refunded_at=refunded_at)])
    elif refund.takes_from is not None:
        account = stored_value.account_of(refund.takes_from)
        [refund.journal_entry_id] = journal.post([refund_entries.bought_back(refund, account, refunded_at=refunded_at)])
        value_returns.buy_back(refund, refund.net)
    else:
        give_back(order, refund, at=refunded_at)
    finish_refund(refund, RefundStatus.SUCCESS, psp_reference=psp_reference)
    return True


def give_back(order: PaymentOrder, refund: Refund, *, at: datetime) -> None:
    """Book one refund of a sale: the seller has less, the tenders have their parts again."""
    parts, tendered = unreleased.moved(order, -refund.net), value_returns.parts_of(refund)
    order.save(update_fields=["unreleased"])
    draft = refund_entries.give_back(refund, parts, to_tenders=value_returns.legs(tendered), refunded_at=at)
    [refund.journal_entry_id] = journal.post([draft])
    value_returns.give(refund, tendered, at=at)
    [refund.wallet_entry_id] = balances.change([refund_entries.taken_back(refund, refund.journal_entry_id, parts)])


def has_come_back(refund: Refund, psp_reference: str) -> bool:
    """Did the PSP say that this very refund of its own failed?  No PSP takes that back: a success is older news."""
    failed_there = psp_reference != "" and refund.psp_reference == psp_reference
    return refund.status == RefundStatus.FAILED and (failed_there or refund.reversal_entry_id is not None)


def reserve_again(order: PaymentOrder, refund: Refund) -> None:
    """Take a refund that was given up off its order, or off what is owed of its late charge, once more.

    With the fee that goes back with it as things are now, and without what was to go to tenders: the PSP gave its own part alone.  What is
    not there any more, the buyer has twice, and the platform bears it.  Raises Undecided while a dispute or another refund may still leave
    something, and NotBookable if the late charge has been given back by another refund since.
    """
    charge = refund.late_charge
    if charge is not None:
        require_no_other(refund, charge)
    value_returns.forget(refund)
    left = order.charge_left if charge is None else charge.amount - charge.taken_back
    part = min(refund.amount, left)
    if refund.takes_from_id is not None:
        part = min(part, value_returns.filled_by(order).free)
    refund.borne = refund.amount - part
    if refund.borne:
        if charge is None and (queries.is_disputed(order) or queries.is_being_refunded(order)):
            raise Undecided(f"{refund.public_id} succeeded after it was given up: who bears it is open until the other ways end.")
        journal.open_accounts([chart.dispute_losses()], currency=order.amount.currency.code)
        logger.error("%s succeeded after it was given up, and %s of it had gone back otherwise", refund.public_id, refund.borne)
    if charge is None:
        others = queries.returns_of(order)
        refund.fee = fees.given_back(part, policy=refund.fee_policy, amount=order.amount, fee=order.fee, others=others)
        order.refunded += part
        order.save(update_fields=["refunded"])
    if refund.takes_from_id is not None:
        stored_value.change([Change(refund.takes_from_id, amount=part * 0, held=part)])
    refund.net = part - refund.fee


def require_no_other(refund: Refund, charge: LateCharge) -> None:
    """Raise Undecided if another refund of the late charge is under way, which may come to nothing, and NotBookable if one has succeeded."""
    other = charge.refunds.exclude(pk=refund.pk).exclude(status=RefundStatus.FAILED).first()
    if other is not None and other.status == RefundStatus.EXECUTING:
        raise Undecided(f"{refund.public_id} succeeded after it had failed, and {other.public_id} of the same charge is under way.")
    if other is not None:
        raise NotBookable(f"{refund.public_id} succeeded after it had failed, and {other.public_id} has given the same charge back since.")


@transaction.atomic(durable=True)
def fail_refund(refund_id: int, *, psp_reference: str, code: str, claim: int = PSP_SAID_SO) -> bool:
    """Record that the PSP will not give the money back; it may be refunded again.

    False if the refund is not executing, or (`claim`, the verdict of a worker) was claimed again since.  Of one that was given up before, the
    PSP's id is kept: it has failed there, whatever older news may still come.  Locks the order, then the refund.
    """
    order, refund = lock_refund(refund_id)
    if refund.status == RefundStatus.FAILED and refund.psp_reference == "":
        refund.psp_reference = psp_reference
        refund.save(update_fields=["psp_reference"])
    if refund.status != RefundStatus.EXECUTING or claim not in (PSP_SAID_SO, refund.tries):
        return False
    put_back(order, refund)
    finish_refund(refund, RefundStatus.FAILED, psp_reference=psp_reference, code=code)
    return True


@transaction.atomic(durable=True)
def reverse_refund(refund_id: int, *, code: str, at: datetime) -> bool:
    """Record that money which a refund had given back came back to us; it may be refunded again.

    The seller gets back what the refund took - pending where the order is not released, else available - and we our fee; then bears what
    was lost in disputes of the same charge, and what only the refund had left to the platform.  What tenders had got is taken from them
    again; what is spent of it by now stays given, as a refund of its own.  False if the refund is not a success (it came back before, say).
    Locks the order, the refund, the stored values, then the wallet.
    """
    order, refund = lock_refund(refund_id)
    if refund.status != RefundStatus.SUCCESS:
        return False
    tendered = value_returns.parts_of(refund)
    spent = value_returns.spent_of(tendered)
    if refund.late_charge_id is not None:
        [refund.reversal_entry_id] = journal.post([refund_entries.owed_again(refund, at=at)])
    elif refund.takes_from is not None:
        account = stored_value.account_of(refund.takes_from)
        [refund.reversal_entry_id] = journal.post([refund_entries.bought_again(refund, account, at=at)])
        value_returns.fill_again(refund, refund.net, at=at)
    else:
        parts = unreleased.moved(order, refund.net)
        order.save(update_fields=["unreleased"])
        draft = refund_entries.came_back(refund, parts, from_tenders=value_returns.legs(tendered), at=at)
        [refund.reversal_entry_id] = journal.post([draft])
        [refund.reversal_wallet_entry_id] = balances.change([refund_entries.restored(refund, refund.reversal_entry_id, parts)])
    put_back(order, refund)
    finish_refund(refund, RefundStatus.FAILED, psp_reference=refund.psp_reference, code=code)
    if spent:
        keep_given(order, refund, spent, at=at)
    value_returns.take_again(refund, tendered)
    losses.pass_on(order, refund, at=at)
    return True


def keep_given(order: PaymentOrder, came_back: Refund, spent: Sequence[Part], *, at: datetime) -> None:
    """Leave the buyer what is spent of a refund that came back, as a refund of its own: nobody may give that back a second time.

    The PSP has no part in it.  The caller has put the other one back on the order and its tenders, and takes it from the stored values next.
    """
    amount = value_returns.sum_of(spent, came_back.tendered)
    refund = Refund(order=order, charge=came_back.charge, reason=came_back.reason, requested_by=came_back.requested_by)
    refund.amount = refund.tendered = amount
    refund.fee_policy, others = came_back.fee_policy, queries.returns_of(order)
    refund.fee = fees.given_back(amount, policy=refund.fee_policy, amount=order.amount, fee=order.fee, others=others)
    refund.net, refund.borne = amount - refund.fee, amount * 0
    refund.save()
    value_returns.reserve_parts(order, refund, spent)
    order.refunded += amount
    order.save(update_fields=["refunded", "tendered_back"])
    give_back(order, refund, at=at)
    finish_refund(refund, RefundStatus.SUCCESS, psp_reference="")
    logger.warning(
        "%s came back, and %s that it gave to gift cards or a wallet are spent: %s", came_back.public_id, amount, refund.public_id
    )


def put_back(order: PaymentOrder, refund: Refund) -> None:
    """Let what the refund had reserved be refunded again.  A late charge has nobody who could ask again: a person must see to it."""
    if refund.late_charge_id is None:
        value_returns.put_back(order, refund)
        order.refunded -= refund.amount - refund.borne
        order.save(update_fields=["refunded", "tendered_back"])
    else:
        detail = f"{refund.amount} of {refund.order.public_id} are still owed to the buyer"
        dead_letters.bury(order.pk, refund_id=refund.pk, reason=dead_letters.NOT_GIVEN_BACK, detail=detail)


def finish_refund(refund: Refund, status: RefundStatus, *, psp_reference: str, code: str = "") -> None:
    """Write how the refund ended, on its row and on the calls whose end was open, and tell it.

    Of one that a person gave up, the calls' end stays open: the PSP is asked for them (orphans.py).
    """
    refund.status, refund.psp_reference, refund.failure_code, refund.next_attempt_at = status, psp_reference, code, None
    refund.told += 1
    refund.save()
    ended = AttemptStatus.SUCCEEDED if status == RefundStatus.SUCCESS else AttemptStatus.DECLINED
    calls = refund.attempts.filter(operation=PspOperation.REFUND, status__in=UNRESOLVED)
    if code == GIVEN_UP:
        calls.update(ask_again_at=Now(), given_up_at=Now())
    else:
        calls.update(status=ended, psp_reference=psp_reference, error_code=code, finished_at=Now())
    notifications.publish([news.refund_news(refund)])


def lock_refund(refund_id: int) -> tuple[PaymentOrder, Refund]:
    """Lock the refund's order, then the refund."""
    order = PaymentOrder.objects.select_for_update(no_key=True).get(refunds=refund_id)
    refund = Refund.objects.select_for_update(no_key=True).get(pk=refund_id)
    refund.order = order
    return order, refund


def lock_executing(outcomes: Sequence[Outcome]) -> list[tuple[ExecutingOrder, Outcome]]:
    """Lock the events, then the orders, by ascending id; return those that execute under the key of an outcome, each with that outcome."""
    by_key = {(outcome.order_id, outcome.psp_key): outcome for outcome in outcomes}
    order_ids = {outcome.order_id for outcome in outcomes}
    execute(LOCK_EVENTS, [{"order_id": order_id} for order_id in order_ids])
    locked = queries.lock_executing(order_ids)
    return [(order, by_key[order.id, order.psp_key]) for order in locked if (order.id, order.psp_key) in by_key]


def sale(order: ExecutingOrder, capture: Capture, *, paid_by: Sequence[Held], fills: Mapping[int, str]) -> Draft:
    """The entry of one sale: the PSP owes us what it charged, we owe the seller the net, the fee is ours.

    We owe less for the gift cards and wallets that paid a part (`paid_by`).  What fills one is no sale: we owe it all to whoever holds it.
    """
    if order.fills_id is None:
        kind, credits = JournalEntry.Kind.SALE, [(chart.seller_pending(order.seller_id), order.net), (chart.fee_revenue(), order.fee)]
    else:
        kind, credits = JournalEntry.Kind.STORED_VALUE, [(fills[order.fills_id], order.amount)]
    return Draft(
        kind=kind,
        reference=order.public_id,
        effective_at=capture.charged_at,
        debits=[(chart.psp_receivable(order.psp), order.charge), *((tender.account, tender.amount) for tender in paid_by)],
        credits=credits,
    )


def bought(order: ExecutingOrder, journal_entry_id: int) -> Change:
    """What the payment brings the gift card or wallet that it fills."""
    if order.fills_id is None:
        raise ValueError(f"{order.public_id} fills nothing")
    kind = StoredValueEntry.Kind.BOUGHT
    return Change(order.fills_id, order.amount, order.amount * 0, kind=kind, source=order.public_id, journal_entry_id=journal_entry_id)


def proceeds(order: ExecutingOrder, journal_entry_id: int) -> Movement:
    """What the sale brings its seller."""
    return Movement(order.seller_id, journal_entry_id, order.public_id, gross=order.amount, fee=order.fee, net=order.net)


def failure_row(failure: Failure) -> dict[str, Any]:
    return {
        "order_id": failure.order_id,
        "attempt_id": failure.attempt_id,
        "psp_reference": failure.psp_reference,
        "code": failure.code,
        "message": failure.message[:500],
    }
