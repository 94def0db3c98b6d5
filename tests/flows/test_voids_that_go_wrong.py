"""A void that the PSP refuses, and one that nobody told us of: the charge is looked for, what was taken goes back, and a person is told at last."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from payments import cancellations, dead_letters, executor, inbox, late, refund_executor, refunds, rescue, settlement
from payments.models import Cancellation, DeadLetter, DueOrder, PaymentEvent, PspAttempt, PspEvent, Refund
from payments.psp.protocol import ChargeRequest, Psp, PspOutcomeUnknown, PspRejectedRequest, Voided
from payments.settlement import NotBookable
from tests import webhooks
from tests.factories import eur
from tests.fixtures_money import (
    Oracle,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    pay_with_card,
    sandbox_psp,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_dead_letters import bury
from tests.flows.test_disputes import SUCCEEDS_THEN_FAILS
from tests.flows.test_given_up_is_not_not_taken import Misbehaving, raising
from tests.flows.test_late_charges import end, given_up, owed

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]
KNOWS_NO_VOIDS = PspRejectedRequest("400: this method knows no voids")


def cancel(event: PaymentEvent) -> None:
    cancellations.cancel_event(event.pk, reason="out of stock", once="", requested_by="staff:ada", now=timezone.now())


def calls(*operations: str) -> list[str]:
    return list(PspAttempt.objects.filter(operation__in=operations).order_by("id").values_list("operation", flat=True))


@pytest.fixture
def unanswered(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> PaymentEvent:
    """Give an order of 10.00 that the PSP has charged, and of which it told us nothing."""
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    return event


def test_a_charge_whose_void_is_refused_is_looked_for_booked_and_given_back(
    unanswered: PaymentEvent, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    cancel(unanswered)
    use_psp(Misbehaving(sandbox_psp(sandbox), void=raising(KNOWS_NO_VOIDS)))
    executor.execute_due_orders(now=timezone.now())
    assert (statuses(unanswered), calls("void", "find")) == (["EXECUTING"], ["void"])
    executor.execute_due_orders(now=timezone.now() + timedelta(seconds=1))
    assert (statuses(unanswered), calls("void", "find")) == (["SUCCESS"], ["void", "find"])
    execute_refunds(now=timezone.now())
    cancellations.follow(now=timezone.now())
    assert (Refund.objects.get().status, Refund.objects.get().amount) == ("SUCCESS", eur("10.00"))
    assert (Cancellation.objects.get().outcome, len(oracle.rows("refund.succeeded"))) == ("refunded", 1)


def test_a_psp_that_refuses_the_void_and_tells_nothing_of_the_charge_is_shown_to_a_person_after_eight_answers(
    unanswered: PaymentEvent, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    cancel(unanswered)
    tells_nothing = raising(PspOutcomeUnknown("the PSP's answer is about another amount", answered=True))
    use_psp(Misbehaving(sandbox_psp(sandbox), void=raising(KNOWS_NO_VOIDS), find_charge=tells_nothing))
    for hours in range(0, 24 * 3, 2):
        executor.execute_due_orders(now=timezone.now() + timedelta(hours=hours))
    letter, due = DeadLetter.objects.get(), DueOrder.objects.get()
    assert (calls("void", "find"), letter.decided_at, due.next_attempt_at) == (["void", "find"] * 4, None, None)
    use_psp(sandbox_psp(sandbox))
    DueOrder.objects.update(next_attempt_at=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert (statuses(unanswered), Cancellation.objects.get().outcome) == (["CANCELLED"], "voided")


def test_what_was_never_taken_and_cannot_be_voided_is_shown_to_a_person_too(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="refuse_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    cancel(event)
    use_psp(Misbehaving(sandbox_psp(sandbox), void=raising(KNOWS_NO_VOIDS)))
    for minutes in range(0, 180, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    assert (statuses(event), DeadLetter.objects.get().reason, calls("charge")) == (["EXECUTING"], "tries_exhausted", ["charge"])
    executor.execute_due_orders(now=timezone.now() + timedelta(days=2))
    assert (statuses(event), oracle.charged()) == (["EXECUTING"], [])


# --- A void that we booked as a success -------------------------------------------------------------------------------


@pytest.fixture
def voided_there(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> PaymentEvent:
    """Give an order of 10.00 that is paid in our books and voided at the PSP, whose word of that was lost."""
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event)
    executor.hand_over(answered, now=timezone.now())
    assert isinstance(sandbox_psp(sandbox).void(answered[0][0].request), Voided)
    return event


def test_the_refund_of_a_cancelled_order_whose_charge_was_voided_has_gone_back_by_the_void(
    voided_there: PaymentEvent, oracle: Oracle
) -> None:
    cancel(voided_there)
    execute_refunds(now=timezone.now())
    refund = Refund.objects.get()
    assert (refund.status, refund.psp_reference, DeadLetter.objects.count()) == ("SUCCESS", refund.charge, 0)
    cancellations.follow(now=timezone.now())
    assert (Cancellation.objects.get().outcome, oracle.rows("refund.succeeded")) == ("refunded", [])


def test_a_part_that_is_asked_back_of_a_voided_charge_brings_the_whole_void_to_light(voided_there: PaymentEvent, oracle: Oracle) -> None:
    order = voided_there.orders.get()
    part = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    part.refresh_from_db()
    order.refresh_from_db()
    whole = order.refunds.exclude(pk=part.pk).get()
    assert (part.status, part.failure_code, whole.status, whole.amount) == ("FAILED", "voided", "SUCCESS", eur("10.00"))
    assert order.refunded == eur("10.00")


def test_of_two_parts_of_a_voided_charge_the_last_one_brings_the_void_to_light(voided_there: PaymentEvent, oracle: Oracle) -> None:
    order = voided_there.orders.get()
    for amount in ("4.00", "6.00"):
        refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    ended = [(refund.status, refund.amount) for refund in order.refunds.order_by("id")]
    assert ended == [("FAILED", eur("4.00")), ("FAILED", eur("6.00")), ("SUCCESS", eur("10.00"))]


def test_a_refused_refund_is_not_failed_while_nobody_can_say_whether_its_charge_was_voided(
    voided_there: PaymentEvent, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    cancel(voided_there)
    use_psp(Misbehaving(sandbox_psp(sandbox), find_charge=raising(PspOutcomeUnknown("timeout"))))
    refund_executor.execute_due_refunds(now=timezone.now())
    assert (Refund.objects.get().status, Refund.objects.get().failures) == ("EXECUTING", 1)
    use_psp(sandbox_psp(sandbox))
    execute_refunds(now=timezone.now() + timedelta(minutes=5))
    assert Refund.objects.get().status == "SUCCESS"


def test_a_refund_that_is_refused_although_its_charge_stands_has_failed(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    order = pay_with_card(open_payment("10.00")).orders.get()
    refund = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    use_psp(Misbehaving(sandbox_psp(sandbox), refund=raising(PspRejectedRequest("400"))))
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, refund.failure_code, order.refunded) == ("FAILED", "rejected_request", eur("0.00"))


# --- A void that cannot be booked at once -----------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a worker in the middle of its work."""


def goes_wrong(error: BaseException) -> Callable[..., None]:
    def voided(_order_id: int, *, psp_key: str, now: datetime) -> None:
        raise error

    return voided


def later(moment: timedelta) -> None:
    """Do what the beat does by then."""
    now = timezone.now() + moment
    execute_refunds(now=now)
    inbox.apply_received(now=now)
    cancellations.follow(now=now)


def test_a_void_that_a_part_brought_to_light_is_booked_though_the_worker_dies_over_it(
    voided_there: PaymentEvent, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = voided_there.orders.get()
    part = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    with monkeypatch.context() as patch:
        patch.setattr(cancellations, "voided", goes_wrong(Killed()))
        with pytest.raises(Killed):
            execute_refunds(now=timezone.now())
    part.refresh_from_db()
    assert part.status == "FAILED"
    later(timedelta(minutes=1))
    order.refresh_from_db()
    assert (order.refunded, PspEvent.objects.get().status) == (eur("10.00"), "applied")


def test_a_void_that_a_part_brought_to_light_is_booked_when_a_person_has_failed_the_other_part(
    voided_there: PaymentEvent, oracle: Oracle
) -> None:
    order = voided_there.orders.get()
    other = refunds.request_refund(order.pk, amount=eur("6.00"), reason="", now=timezone.now())
    bury(order, refund=other, reason="tries_exhausted")
    refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    for days in range(0, 40, 10):
        later(timedelta(days=days))
    assert PspEvent.objects.get().status == "parked"
    rescue.stop_refund_retries(other.pk, actor="api:shop", note="not any more", now=timezone.now())
    later(timedelta(days=42))
    order.refresh_from_db()
    assert (order.refunded, PspEvent.objects.get().status) == (eur("10.00"), "applied")
    assert sorted(order.refunds.values_list("status", flat=True)) == ["FAILED", "FAILED", "SUCCESS"]


def test_a_void_after_the_refund_of_a_cancelled_order_came_back_is_booked(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("100.00")
    answered = charge_and_keep_the_answer(event, SUCCEEDS_THEN_FAILS)
    executor.hand_over(answered, now=timezone.now())
    cancel(event)
    execute_refunds(now=timezone.now())
    oracle.wait_for("refund.failed", count=1)
    settlement.reverse_refund(Refund.objects.get().pk, code="refund_failed", at=timezone.now())
    assert isinstance(sandbox_psp(sandbox).void(answered[0][0].request), Voided)
    [told] = webhooks.deliveries(sandbox, oracle, "charge.voided", count=1)
    webhooks.post(told)
    assert webhooks.apply() == [("charge.voided", "applied", "")]
    cancellations.follow(now=timezone.now())
    assert event.orders.get().refunded == eur("100.00")
    assert (Cancellation.objects.get().outcome, Cancellation.objects.get().refund) == ("refunded", Refund.objects.get(status="SUCCESS"))


def test_the_cancellation_of_the_rest_of_an_order_whose_charge_was_voided_ends_with_the_void(
    voided_there: PaymentEvent, oracle: Oracle
) -> None:
    order = voided_there.orders.get()
    refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    cancel(voided_there)
    later(timedelta(0))
    later(timedelta(minutes=1))
    order.refresh_from_db()
    cancellation = Cancellation.objects.get()
    assert (cancellation.status, cancellation.outcome, order.refunded) == ("SUCCESS", "refunded", eur("10.00"))
    assert (cancellation.refund, PspEvent.objects.get().status) == (order.refunds.get(status="SUCCESS"), "applied")


def test_a_cancellation_whose_refund_failed_waits_for_the_void_that_brought_it_down(
    voided_there: PaymentEvent, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    refunds.request_refund(voided_there.orders.get().pk, amount=eur("4.00"), reason="", now=timezone.now())
    cancel(voided_there)
    with monkeypatch.context() as patch:
        patch.setattr(cancellations, "voided", goes_wrong(NotBookable("not yet")))
        execute_refunds(now=timezone.now())
    cancellations.follow(now=timezone.now())
    assert Cancellation.objects.get().status == "EXECUTING"
    later(timedelta(minutes=1))
    assert Cancellation.objects.get().outcome == "refunded"


def test_a_cancellation_whose_refund_failed_ends_with_the_refund_that_somebody_else_asked_for(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    event = open_payment("10.00")
    order = pay_with_card(event).orders.get()
    cancel(event)
    use_psp(Misbehaving(sandbox_psp(sandbox), refund=raising(PspRejectedRequest("400"))))
    refund_executor.execute_due_refunds(now=timezone.now())
    use_psp(sandbox_psp(sandbox))
    other = refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    cancellations.follow(now=timezone.now())
    assert Cancellation.objects.get().status == "EXECUTING", "the other one is under way"
    later(timedelta(0))
    assert (Cancellation.objects.get().outcome, Cancellation.objects.get().refund) == ("refunded", other)


def test_a_late_charge_that_was_voided_is_owed_no_more(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    [capture] = given_up(event)
    end(event)
    late.settle([capture])
    assert owed() == eur("10.00")
    request = ChargeRequest(key=capture.psp_key, payment_token="", amount=eur("10.00"), reference=event.orders.get().public_id)
    assert isinstance(sandbox_psp(sandbox).void(request), Voided)
    execute_refunds(now=timezone.now())
    refund = Refund.objects.get()
    assert (refund.status, refund.psp_reference, owed()) == ("SUCCESS", capture.psp_reference, eur("0.00"))
    assert not DeadLetter.objects.exists()


def test_a_void_of_a_late_charge_whose_refund_came_back_is_its_new_refund(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    [capture] = given_up(event, SUCCEEDS_THEN_FAILS)
    end(event)
    late.settle([capture])
    execute_refunds(now=timezone.now())
    oracle.wait_for("refund.failed", count=1)
    settlement.reverse_refund(Refund.objects.get().pk, code="refund_failed", at=timezone.now())
    assert owed() == eur("10.00")
    request = ChargeRequest(key=capture.psp_key, payment_token="", amount=eur("10.00"), reference=event.orders.get().public_id)
    assert isinstance(sandbox_psp(sandbox).void(request), Voided)
    for delivery in webhooks.deliveries(sandbox, oracle, "charge.voided", count=1):
        webhooks.post(delivery)
    assert (webhooks.apply(), owed()) == ([("charge.voided", "applied", "")], eur("0.00"))
    assert dead_letters.close_settled(now=timezone.now()) == 1
