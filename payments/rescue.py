"""Rescue: what a person decides where the machine gave up.  Try again, fail, or void; and the end of retries that nobody wants any more.

Each decision is one transaction: it locks, looks at how things stand now, moves the order or the refund, and writes down who decided what
and why, on the dead letter and on every transition.  Called by the admin, the REST API and the commands.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from ledger import transitions
from ledger.approvals import AlreadyDecided, require_reason
from ledger.errors import DomainError
from ledger.statements import execute
from payments import cancellations, confirmation, dead_letters, late, news, refund_executor, settlement, tenders
from payments.models import Cancellation, DeadLetter, Dispute, DueOrder, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.settlement import GIVEN_UP, Failure
from payments.states import AttemptStatus, DisputeStatus, OrderStatus, PspOperation, RefundStatus, require_transition
from wallet import notifications

STOPPED = "retries_stopped"
LONGEST_NOTE = 500
NOTHING_TO_STOP: dict[str, str] = {
    OrderStatus.NOT_STARTED: "it was never charged, so there are no retries to stop. To keep it from being paid, cancel it.",
    OrderStatus.SUCCESS: "it is paid, so there are no retries to stop. To give the money back, refund or cancel it.",
    OrderStatus.FAILED: "it is not tried again. To keep the buyer from paying it another way, cancel it.",
    OrderStatus.CANCELLED: "there are no retries to stop.",
}


class NotToRescue(DomainError):
    code = "not_to_rescue"


@dataclass(frozen=True, slots=True)
class Case:
    """An open dead letter with what it is about, all of it locked."""

    letter: DeadLetter
    event: PaymentEvent
    order: PaymentOrder
    refund: Refund | None


@transaction.atomic(durable=True)
def redrive(letter_id: int, *, actor: str, note: str, now: datetime) -> DeadLetter:
    """Try again: the order or refund is due at once, and its tries are counted anew.

    What may have been sent is asked for first, as always.  An order that failed because its tries were used up is charged under the same
    key, as long as its checkout is open; a late charge whose refund has failed gets another one.  Raises AlreadyDecided, NotToRescue.
    """
    return decide(letter_id, DeadLetter.Decision.REDRIVE, actor=actor, note=note, now=now)


@transaction.atomic(durable=True)
def fail(letter_id: int, *, actor: str, note: str, now: datetime) -> DeadLetter:
    """Fail it, although nobody may know what became of it.  A charge that succeeds after all is booked, or given back, when the PSP tells.

    What failed already is taken note of.  Raises AlreadyDecided, NotToRescue.
    """
    return decide(letter_id, DeadLetter.Decision.FAIL, actor=actor, note=note, now=now)


@transaction.atomic(durable=True)
def void(letter_id: int, *, actor: str, note: str, now: datetime) -> DeadLetter:
    """Cancel the order: the PSP voids the charge, or what it took is given back in full.  Raises AlreadyDecided, NotToRescue."""
    return decide(letter_id, DeadLetter.Decision.VOID, actor=actor, note=note, now=now)


def decide(letter_id: int, decision: str, *, actor: str, note: str, now: datetime) -> DeadLetter:
    """Decide inside the caller's transaction, and otherwise as `redrive`, `fail` and `void` say.

    The letter is decided before the refund of a late charge fails, which writes another one: that the buyer's money is still with us.
    """
    case = opened(letter_id, actor=actor, note=note)
    letter = decided(case, DeadLetter.Decision(decision), actor=actor, note=note, now=now)
    match decision:
        case DeadLetter.Decision.REDRIVE:
            try_again(case, now=now)
        case DeadLetter.Decision.FAIL:
            let_fail(case, note=note)
        case _:
            require(case.refund is None, "A refund cannot be voided. Try it again, or fail it.")
            call_off(case.event, case.order, actor=actor, note=note, now=now)
    return letter


def try_again(case: Case, *, now: datetime) -> None:
    if case.refund is not None and case.refund.late_charge is not None and case.refund.status == RefundStatus.FAILED:
        refund_again(case.refund.late_charge)
    elif case.refund is not None:
        require(case.refund.status == RefundStatus.EXECUTING, f"{case.refund.public_id} is {case.refund.status}: ask for a new refund.")
        Refund.objects.filter(pk=case.refund.pk).update(next_attempt_at=now, failures=0, deaths=0)
    elif case.order.status == OrderStatus.FAILED:
        charge_again(case, now=now)
    else:
        make_due(case.order, now=now)


def let_fail(case: Case, *, note: str) -> None:
    if case.refund is not None:
        if case.refund.status == RefundStatus.EXECUTING:
            give_refund_up(case.order, case.refund, code=GIVEN_UP)
    elif case.order.status == OrderStatus.EXECUTING:
        give_up(case.order, note=note)


@transaction.atomic(durable=True)
def stop_retries(order_id: int, *, actor: str, note: str, now: datetime) -> Cancellation:
    """End the retries of an order that executes: nothing more is charged, and what was taken is given back.  Raises NotToRescue.

    Locks the event, then the order.
    """
    transitions.by(actor, reason=note)
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=order_id)
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)
    require(order.status == OrderStatus.EXECUTING, f"{order.public_id} is {order.status}: {NOTHING_TO_STOP.get(order.status)}")
    cancellation = call_off(event, order, actor=actor, note=note, now=now)
    letter = DeadLetter.objects.filter(order=order, refund=None, decided_at=None)
    letter.update(decision=DeadLetter.Decision.VOID, decided_by=actor, note=note[:LONGEST_NOTE], decided_at=now)
    return cancellation


@transaction.atomic(durable=True)
def stop_refund_retries(refund_id: int, *, actor: str, note: str, now: datetime) -> Refund:
    """End the retries of a refund that was never sent: it has failed, and its money can be refunded again.

    What a person must still see to, the money of a late charge, gets a letter of its own after the one that this decides.
    Locks the order, then the refund.  Raises NotToRescue: it came to its end, or it may have been sent, so that only the PSP can tell.
    """
    transitions.by(actor, reason=note)
    order, refund = settlement.lock_refund(refund_id)
    require(refund.status == RefundStatus.EXECUTING, f"{refund.public_id} is {refund.status}: it is not tried again.")
    is_refund_unsent = refund_executor.first_sent_at(refund) is None
    require(is_refund_unsent, f"{refund.public_id} may have been given back already. Wait for the payment service provider's word.")
    letter = DeadLetter.objects.filter(refund=refund, decided_at=None)
    letter.update(decision=DeadLetter.Decision.FAIL, decided_by=actor, note=note[:LONGEST_NOTE], decided_at=now)
    give_refund_up(order, refund, code=STOPPED)
    return refund


def opened(letter_id: int, *, actor: str, note: str) -> Case:
    """Lock what the letter is about, then the letter, and say who decides and why.  Raises AlreadyDecided, NotToRescue, ReasonMissing.

    Inside the caller's transaction.  Locks the event, the order, its place in the queue or the refund, then the letter.
    """
    require_reason(note)
    transitions.by(actor, reason=note)
    known = DeadLetter.objects.values("order_id", "refund_id").get(pk=letter_id)
    event = PaymentEvent.objects.select_for_update(no_key=True).get(orders=known["order_id"])
    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=known["order_id"])
    refund = Refund.objects.select_for_update(no_key=True).get(pk=known["refund_id"]) if known["refund_id"] else None
    if refund is None:
        DueOrder.objects.select_for_update().filter(order=order).first()  # whoever claims it may be writing the letter
    letter = DeadLetter.objects.select_for_update(no_key=True).get(pk=letter_id)
    require_undecided(letter)
    if refund is None:
        is_alive = order.status in (OrderStatus.EXECUTING, OrderStatus.FAILED)
        require(is_alive, f"{order.public_id} is {order.status} by now: there is nothing to decide.")
    else:
        refund.order = order
        require(refund.status != RefundStatus.SUCCESS, f"{refund.public_id} succeeded after all: there is nothing to decide.")
    return Case(letter, event, order, refund)


def decided(case: Case, decision: DeadLetter.Decision, *, actor: str, note: str, now: datetime) -> DeadLetter:
    letter = case.letter
    letter.decision, letter.decided_by, letter.note, letter.decided_at = decision, actor, note[:LONGEST_NOTE], now
    letter.save(update_fields=["decision", "decided_by", "note", "decided_at"])
    return letter


def require_undecided(letter: DeadLetter) -> None:
    if letter.decided_at is not None:
        raise AlreadyDecided(f"{letter.public_id} was decided by {letter.decided_by}: {letter.decision}.")


def require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotToRescue(otherwise)


def require_no_letter(order: PaymentOrder, refund: Refund | None = None) -> None:
    """Raise NotToRescue if a dead letter about the order, or the refund, is open: how that ends is decided there, which takes two people."""
    letter = DeadLetter.objects.filter(order=order, refund=refund, decided_at=None).first()
    require(letter is None, f"{letter} waits for a decision, which takes two people. Propose how it ends there.")


def make_due(order: PaymentOrder, *, now: datetime) -> None:
    """Make an executing order due at once, with its tries counted anew.  One that is being worked on stays with whoever works on it."""
    DueOrder.objects.filter(order=order).update(next_attempt_at=now, failures=0, deaths=0)


def refund_again(charge: LateCharge) -> None:
    """Ask for another refund of a late charge, under a key of its own: the PSP has decided over the old one.  Raises NotToRescue.

    The caller holds the order.
    """
    is_given_back = charge.refunds.exclude(status=RefundStatus.FAILED).exists()
    require(
        not is_given_back, f"{charge.public_id} is given back already, or another refund of it is under way: there is nothing to decide."
    )
    is_disputed = Dispute.objects.filter(psp=charge.psp, charge=charge.psp_reference, status=DisputeStatus.OPEN).exists()
    require(not is_disputed, f"{charge.public_id} is disputed: the buyer's bank has the money. Wait until the dispute is decided.")
    late.refund_of(charge).save()


def charge_again(case: Case, *, now: datetime) -> None:
    """Start an order again whose tries were used up, nothing of which was ever executed, with the token it was started with.

    Raises NotToRescue.
    """
    order, event, key = case.order, case.event, confirmation.psp_key_of(case.order)
    require(
        case.letter.reason == dead_letters.TRIES_EXHAUSTED and is_unsent(order),
        f"{order.public_id} has failed at the payment service provider: the buyer may pay again.",
    )
    require(
        not event.is_payment_done and event.expires_at > now,
        f"{event.public_id} can no longer be paid, and the order has failed: the buyer may pay again in the shop.",
    )
    require(
        not order.tenders.exists(),
        f"{order.public_id} has failed, and what gift cards or a wallet were to pay of it was let go: the buyer may pay again.",
    )
    require_transition(order.status, to=OrderStatus.EXECUTING, what=order.public_id)
    PaymentOrder.objects.filter(pk=order.pk).update(status=OrderStatus.EXECUTING)
    DueOrder.objects.create(order=order, psp_key=key, payment_token=order.payment_token, next_attempt_at=now)


def is_unsent(order: PaymentOrder) -> bool:
    """Was nothing of this charge ever executed, whatever was tried?"""
    charges = PspAttempt.objects.filter(order=order, operation=PspOperation.CHARGE, psp_key=confirmation.psp_key_of(order))
    return not charges.exclude(status=AttemptStatus.NOT_EXECUTED).exists()


def give_up(order: PaymentOrder, *, note: str) -> None:
    """Fail an executing order.  Its attempts stay as they are: what became of them is not known.

    That the PSP knew nothing of a charge which may have been sent is no certainty, since a look-up may lag: its call is unknown again, so
    that it is asked for (orphans.py).
    """
    due = DueOrder.objects.get(order=order)
    if due.maybe_sent:
        charges = PspAttempt.objects.filter(order=order, operation=PspOperation.CHARGE, psp_key=due.psp_key)
        latest = charges.order_by("-number").values("pk")[:1]
        charges.filter(pk__in=latest, status=AttemptStatus.NOT_EXECUTED).update(status=AttemptStatus.UNKNOWN, finished_at=None)
    failure = Failure(order.pk, attempt_id=0, psp_key=due.psp_key, psp_reference="", code=GIVEN_UP, message=note)
    for executing, given_up in settlement.lock_executing([failure]):
        tenders.let_go([executing.id] if executing.tendered else [])
        execute(settlement.FAIL, [settlement.failure_row(given_up)])
        notifications.publish([news.order_news(executing, status="FAILED", failure_code=GIVEN_UP)])


def give_refund_up(order: PaymentOrder, refund: Refund, *, code: str) -> None:
    """Fail an executing refund, and let what it had reserved be refunded again."""
    settlement.put_back(order, refund)
    settlement.finish_refund(refund, RefundStatus.FAILED, psp_reference="", code=code)


def call_off(event: PaymentEvent, order: PaymentOrder, *, actor: str, note: str, now: datetime) -> Cancellation:
    """Cancel the order, or go on with the cancellation that lives.  The caller holds the event and the order."""
    cancellation = cancellations.standing(order, once="")
    if cancellation is None:
        cancellation = cancellations.keep(Cancellation(order=order, reason=note[:200], requested_by=actor), now=now)
    DueOrder.objects.filter(order=order).update(to_be_voided=True, next_attempt_at=now, failures=0, deaths=0)
    settlement.close_events([event.pk])
    return cancellation
