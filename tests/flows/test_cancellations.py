"""Cancellations: before the charge, during it, and after it; asked for twice, raced by the buyer, and followed through crashes."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from ledger.models import JournalEntry
from ledger.money import zero
from payments import cancellations, claims, confirmation, executor, expiry, inbox, late, refunds, settlement, standing
from payments.admin.orders import can_be_cancelled
from payments.cancellations import NotCancellable
from payments.confirmation import CheckoutExpired, NothingToPay
from payments.models import Cancellation, DeadLetter, DueOrder, OpenCheckout, PaymentEvent, PaymentOrder, PspEvent, Refund, Transition
from payments.psp import registry
from payments.psp.protocol import ChargeRequest
from payments.serializers.cancellations import CancellationSerializer
from payments.serializers.payments import PaymentOrderDetailSerializer
from payments.settlement import Failure
from tests import webhooks
from tests.factories import eur
from tests.fixtures_money import (
    DECLINED,
    Oracle,
    all_at_once,
    captures_of,
    card_given,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from tests.webhooks import post, webhooks_about
from wallet.models import OutboxMessage, Wallet

Open = Callable[..., PaymentEvent]
PENDING, PENDING_REFUND_THAT_FAILS, REFUND_COMES_BACK = "4000000000009110", "4000000000009151", "4000000000005126"


def cancel(event: PaymentEvent, **terms: Any) -> list[Cancellation]:
    asked: dict[str, Any] = {"reason": "out of stock", "once": "", "requested_by": "staff:ada", "now": timezone.now()}
    return cancellations.cancel_event(event.pk, **(asked | terms))


def cancel_order(order: PaymentOrder, **terms: Any) -> Cancellation:
    asked: dict[str, Any] = {"reason": "out of stock", "once": "", "requested_by": "staff:ada", "now": timezone.now()}
    return cancellations.cancel_order(order.pk, **(asked | terms))


def outcomes() -> list[tuple[str, str]]:
    return list(Cancellation.objects.order_by("order_id").values_list("status", "outcome"))


def topics() -> list[str]:
    return sorted(OutboxMessage.objects.values_list("topic", flat=True))


def nothing_is_left(order: PaymentOrder) -> bool:
    wallet = Wallet.objects.get(seller=order.seller_id, currency="EUR")
    return wallet.pending == wallet.available == wallet.reserved == zero("EUR")


def follow(*, after: timedelta = timedelta()) -> None:
    """Do what the worker does: execute, refund, and follow the cancellations."""
    now = timezone.now() + after
    executor.execute_due_orders(now=now)
    cancellations.follow(now=now)
    execute_refunds(now=now)
    cancellations.follow(now=now)


# --- Before anything was sent ---------------------------------------------------------------------------------------


def test_a_payment_that_nobody_has_paid_is_cancelled_at_once_and_says_so(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    cancel(event)
    event.refresh_from_db()
    assert (statuses(event), event.status, event.is_payment_done) == (["CANCELLED", "CANCELLED"], "cancelled", True)
    assert outcomes() == [("SUCCESS", "cancelled")] * 2
    assert topics() == ["cancellation.succeeded"] * 2 + ["payment.cancelled"] + ["payment_order.cancelled"] * 2
    assert not OpenCheckout.objects.exists()
    assert set(Transition.objects.values_list("actor", "reason")) == {("staff:ada", "out of stock")}
    assert standing.standing_of(event, list(event.orders.all()), now=timezone.now()).state == "cancelled"
    assert oracle.charged() == []


def test_a_cancelled_payment_cannot_be_paid_by_a_card_that_was_ready(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    ready = card_given(event)
    cancel(event)
    with pytest.raises(NothingToPay):
        confirmation.confirm(event.pk, ready, now=timezone.now())
    assert oracle.charged() == []


def test_one_order_of_a_basket_is_cancelled_and_the_rest_is_paid(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    first, second = event.orders.order_by("id")
    cancel_order(first)
    assert statuses(event) == ["CANCELLED", "NOT_STARTED"]
    pay(event)
    event.refresh_from_db()
    assert (statuses(event), event.status, event.is_payment_done) == (["CANCELLED", "SUCCESS"], "partly_paid", True)
    assert oracle.charged() == [second.public_id]


def test_an_order_that_was_declined_is_cancelled_and_cannot_be_tried_again(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("10.00"), DECLINED)
    cancel(event)
    event.refresh_from_db()
    assert (statuses(event), event.status) == (["CANCELLED"], "cancelled")


def test_what_was_paid_of_a_basket_stays_paid_when_the_rest_is_cancelled(open_payment: Open, pay: Open) -> None:
    event = open_payment("10.00", "20.00")
    cancel_order(event.orders.order_by("id")[1])
    pay(event)
    assert (event.status, event.is_payment_done) == ("partly_paid", True)
    assert expiry.expire_checkouts(now=timezone.now() + timedelta(days=2)) == 0


def test_a_confirmed_order_that_no_worker_has_claimed_is_cancelled_at_once(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    cancel(event)
    assert (statuses(event), outcomes(), DueOrder.objects.count()) == (["CANCELLED"], [("SUCCESS", "cancelled")], 0)
    assert executor.execute_due_orders(now=timezone.now()) == 0
    assert oracle.charged() == []


# --- The same wish, and wishes that come too late -------------------------------------------------------------------


def test_the_same_wish_finds_the_same_cancellation_and_so_does_another(open_payment: Open) -> None:
    order = open_payment("10.00").orders.get()
    first = cancel_order(order, once="key-1")
    assert [cancel_order(order, once=once).pk for once in ("key-1", "key-2", "")] == [first.pk] * 3
    assert Cancellation.objects.count() == 1


def test_a_wish_that_failed_stays_failed_and_a_new_one_is_tried(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    order = pay(open_payment("10.00"), PENDING_REFUND_THAT_FAILS).orders.get()
    first = cancel_order(order, once="key-1")
    follow()
    oracle.wait_for("refund.failed", count=1)
    follow(after=timedelta(hours=1))
    first.refresh_from_db()
    assert (first.status, first.outcome) == ("FAILED", "")
    assert first.failure_code
    assert topics()[0] == "cancellation.failed"
    assert cancel_order(order, once="key-1").pk == first.pk
    second = cancel_order(order, once="key-2")
    assert (second.pk != first.pk, second.status) == (True, "EXECUTING")


def test_nothing_is_left_to_cancel_of_what_was_refunded(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("10.00"))
    order = event.orders.get()
    refunds.request_refund(order.pk, amount=eur("10.00"), reason="", now=timezone.now())
    with pytest.raises(NotCancellable):
        cancel(event)
    execute_refunds(now=timezone.now())
    assert not Cancellation.objects.exists()


def test_an_expired_payment_is_cancelled_without_being_told_of_twice(open_payment: Open) -> None:
    event = open_payment("10.00")
    expiry.expire_checkouts(now=timezone.now() + timedelta(days=2))
    cancel(event)
    event.refresh_from_db()
    assert (statuses(event), event.status) == (["CANCELLED"], "expired")
    assert topics() == ["cancellation.succeeded", "payment.expired", "payment_order.cancelled"]


# --- After the charge -----------------------------------------------------------------------------------------------


def test_a_paid_order_is_refunded_with_the_whole_fee(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = pay(open_payment("100.00"))
    [cancellation] = cancel(event)
    assert (cancellation.status, cancellation.refund is not None) == ("EXECUTING", True)
    follow()
    cancellation.refresh_from_db()
    assert (cancellation.status, cancellation.outcome) == ("SUCCESS", "refunded")
    refund = Refund.objects.get()
    assert (refund.amount, refund.fee, refund.cause, refund.requested_by) == (eur("100.00"), eur("10.00"), "cancellation", "staff:ada")
    assert nothing_is_left(event.orders.get())
    assert len(oracle.rows("refund.succeeded")) == 1
    assert topics()[:1] == ["cancellation.succeeded"]


def test_what_was_refunded_in_part_is_cancelled_for_the_rest(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("100.00"))
    refunds.request_refund(event.orders.get().pk, amount=eur("30.00"), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    cancel(event)
    follow()
    assert outcomes() == [("SUCCESS", "refunded")]
    assert sorted(Refund.objects.values_list("fee", flat=True)) == [3, 7]
    assert nothing_is_left(event.orders.get())


def test_a_cancellation_goes_on_until_nothing_is_left_if_another_refund_fails_meanwhile(
    open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    order = pay(open_payment("100.00")).orders.get()
    part = refunds.request_refund(order.pk, amount=eur("40.00"), reason="", now=timezone.now())
    cancellation = cancel_order(order)
    settlement.fail_refund(part.pk, psp_reference="", code="refused")
    follow()
    assert outcomes() == [("EXECUTING", "")], "the buyer has 60 of 100"
    assert cancel_order(order).pk == cancellation.pk
    follow()
    cancellation.refresh_from_db()
    assert outcomes() == [("SUCCESS", "refunded")]
    assert cancellation.refund == Refund.objects.latest("id")
    assert sorted(row["amount"] for row in oracle.rows("refund.succeeded")) == [4000, 6000]
    assert nothing_is_left(order)
    assert topics().count("cancellation.succeeded") == 1


def test_a_cancellation_waits_for_the_refunds_that_were_under_way_before_it(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    order = pay(open_payment("100.00")).orders.get()
    part = refunds.request_refund(order.pk, amount=eur("40.00"), reason="", now=timezone.now())
    Refund.objects.filter(pk=part.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    cancellation = cancel_order(order)
    execute_refunds(now=timezone.now())
    assert len(oracle.rows("refund.succeeded")) == 1
    assert cancellations.follow(now=timezone.now()) == 0
    cancellations.take_step(cancellation.pk, now=timezone.now())  # by somebody who looked before that refund was asked for
    assert outcomes() == [("EXECUTING", "")]
    follow(after=timedelta(hours=2))
    assert outcomes() == [("SUCCESS", "refunded")]
    assert (Refund.objects.count(), nothing_is_left(order)) == (2, True)


def test_an_order_whose_refund_came_back_after_its_cancellation_can_be_cancelled_again(
    open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    order = pay(open_payment("100.00"), REFUND_COMES_BACK).orders.get()
    first = cancel_order(order, once="key-1")
    follow()
    assert cancel_order(order, once="key-2").pk == first.pk
    oracle.wait_for("refund.failed", count=1)
    settlement.reverse_refund(Refund.objects.get().pk, code="refund_failed", at=timezone.now())
    assert cancel_order(order, once="key-1").pk == first.pk, "the same wish, for ever"
    order.refresh_from_db()
    assert can_be_cancelled(order)
    answers = all_at_once(*[partial(cancel_order, order)] * 4)
    assert errors_in(answers) == []
    second = Cancellation.objects.exclude(pk=first.pk).get()
    assert (second.status, second.refund == Refund.objects.latest("id")) == ("EXECUTING", True)
    assert PaymentOrderDetailSerializer().get_cancellation(order) == CancellationSerializer(second).data
    follow()
    assert outcomes() == [("SUCCESS", "refunded")] * 2
    assert nothing_is_left(order)
    order.refresh_from_db()
    assert not can_be_cancelled(order)
    oracle.wait_for("refund.failed", count=2)
    settlement.reverse_refund(Refund.objects.latest("id").pk, code="refund_failed", at=timezone.now())


# --- While the charge is under way ----------------------------------------------------------------------------------


def test_a_charge_that_is_pending_at_the_psp_is_voided(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = pay(open_payment("10.00"), PENDING)
    [cancellation] = cancel(event)
    assert (statuses(event), cancellation.status) == (["EXECUTING"], "EXECUTING")
    follow()
    event.refresh_from_db()
    assert (statuses(event), event.status, outcomes()) == (["CANCELLED"], "cancelled", [("SUCCESS", "voided")])
    assert len(oracle.rows("charge.voided")) == 1


def test_a_charge_of_which_we_had_no_answer_is_voided_and_nothing_is_booked(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    cancel(event)
    follow(after=timedelta(minutes=2))
    assert (statuses(event), outcomes()) == (["CANCELLED"], [("SUCCESS", "voided")])
    assert not JournalEntry.objects.exists()
    assert len(oracle.rows("charge.voided")) == 1


def test_a_charge_that_the_psp_cannot_void_any_more_is_booked_and_refunded(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("100.00")
    charge_and_keep_the_answer(event)
    cancel(event)
    sandbox.client.put("/v1/clock", json={"advance_s": 25 * 3600}).raise_for_status()
    try:
        follow(after=timedelta(minutes=2))
    finally:
        sandbox.client.delete("/v1/clock").raise_for_status()
    assert (statuses(event), outcomes()) == (["SUCCESS"], [("SUCCESS", "refunded")])
    assert nothing_is_left(event.orders.get())
    assert (len(oracle.rows("charge.succeeded")), len(oracle.rows("refund.succeeded"))) == (1, 1)


def test_a_charge_that_was_never_sent_because_the_psp_is_away_is_cancelled_without_it(
    open_payment: Open, sandbox: SandboxCompany, use_psp: Callable[..., Any], oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:1"))
    executor.execute_due_orders(now=timezone.now())
    cancel(event)
    assert (statuses(event), outcomes()) == (["CANCELLED"], [("SUCCESS", "cancelled")])
    use_psp(sandbox_psp(sandbox))
    assert oracle.charged() == []


def test_a_charge_that_is_declined_while_it_is_cancelled_is_cancelled(open_payment: Open) -> None:
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event, DECLINED)
    cancel(event)
    executor.hand_over(answered, now=timezone.now())
    follow()
    event.refresh_from_db()
    assert (statuses(event), event.status, outcomes()) == (["CANCELLED"], "cancelled", [("SUCCESS", "cancelled")])


def test_a_charge_that_succeeds_while_it_is_cancelled_is_refunded(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("100.00")
    answered = charge_and_keep_the_answer(event)
    cancel(event)
    executor.hand_over(answered, now=timezone.now())
    follow()
    assert (statuses(event), outcomes()) == (["SUCCESS"], [("SUCCESS", "refunded")])
    assert nothing_is_left(event.orders.get())


# --- Webhooks of voids, in any order --------------------------------------------------------------------------------


@pytest.mark.parametrize("order_of_news", ["sv", "vs", "svs", "vsv"])
def test_inv_13_word_of_the_charge_and_of_its_void_may_come_in_any_order(
    open_payment: Open, sandbox: SandboxCompany, order_of_news: str
) -> None:
    """The PSP charged and voided; nobody lived to hand either answer over, and only webhooks tell."""
    event = open_payment("100.00")
    charge_and_keep_the_answer(event)
    cancel(event)
    works = claims.claim_due(now=timezone.now() + timedelta(minutes=2), limit=10)
    assert list(executor.call_all(works))
    told = dict(zip("sv", webhooks_about(sandbox, event.orders.get(), count=2), strict=True))
    for kind in order_of_news:
        assert post(told[kind]) == 200
        webhooks.apply()
        cancellations.follow(now=timezone.now())
    order = event.orders.get()
    assert nothing_is_left(order)
    assert (order.status, *outcomes()) == (
        ("SUCCESS", ("SUCCESS", "refunded")) if order_of_news[0] == "s" else ("CANCELLED", ("SUCCESS", "voided"))
    )
    execute_refunds(now=timezone.now() + timedelta(hours=1))
    assert DueOrder.objects.count() == 0


def test_a_void_that_nobody_here_asked_for_fails_the_order_and_the_buyer_may_pay_again(
    open_payment: Open, pay: Open, sandbox: SandboxCompany
) -> None:
    event = pay(open_payment("10.00"), PENDING)
    order = event.orders.get()
    request = claims.claim_due(now=timezone.now() + timedelta(hours=1), limit=1)[0].request
    registry.psp_named("sandbox").void(request)
    for delivery in webhooks_about(sandbox, order, count=2):
        post(delivery)
    assert {status for _type, status, _reason in webhooks.apply()} == {"applied"}
    order.refresh_from_db()
    assert (order.status, order.failure_code) == ("FAILED", "voided")
    assert pay(event).status == "paid"


def test_a_void_of_a_booked_charge_that_nobody_here_asked_for_is_its_refund(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("100.00")
    answered = charge_and_keep_the_answer(event)
    executor.hand_over(answered, now=timezone.now())
    [(work, _answer)] = answered
    registry.psp_named("sandbox").void(work.request)
    [_charged, told] = webhooks_about(sandbox, event.orders.get(), count=2)
    for _time in range(2):
        post(told)
        inbox.look_again([])
        webhooks.apply()
    assert (statuses(event), nothing_is_left(event.orders.get())) == (["SUCCESS"], True)
    assert [refund.status for refund in Refund.objects.all()] == ["SUCCESS"]


def test_an_order_over_which_workers_died_is_voided_when_it_is_cancelled(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    for death in range(claims.MOST_DEATHS + 1):
        claims.claim_due(now=timezone.now() + timedelta(minutes=2 * death), limit=1)
    assert DeadLetter.objects.get().reason == "worker_died"
    cancel(event)
    assert (DueOrder.objects.get().deaths, DueOrder.objects.get().failures) == (0, 0)
    follow(after=timedelta(hours=1))
    assert (statuses(event), outcomes(), oracle.charged()) == (["CANCELLED"], [("SUCCESS", "voided")], [])


def test_word_of_a_void_waits_for_the_refund_that_is_under_way_and_is_then_booked(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    order = pay(open_payment("10.00")).orders.get()
    part = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    registry.psp_named("sandbox").void(ChargeRequest(order.public_id, "", order.amount, reference=order.public_id))
    told = {"id": part.charge, "key": order.public_id, "reference": order.public_id, "status": "voided", "amount": 1000, "currency": "EUR"}
    PspEvent.objects.create(psp="sandbox", event_id="evt_void", type="charge.voided", body={"data": {"object": told}})
    [(_type, status, _reason)] = webhooks.apply()
    assert (status, PspEvent.objects.get().next_attempt_at is not None) == ("parked", True)
    settlement.fail_refund(part.pk, psp_reference="", code="charge_voided")
    inbox.apply_received(now=timezone.now() + timedelta(minutes=1))
    assert (PspEvent.objects.get().status, nothing_is_left(order)) == ("applied", True)


def test_a_void_of_a_charge_that_came_too_late_gives_it_back(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    [capture] = captures_of(charge_and_keep_the_answer(event))
    settlement.fail([Failure(capture.order_id, capture.attempt_id, capture.psp_key, "", "gave_up", "")])
    expiry.expire_checkouts(now=event.expires_at)
    assert late.settle([capture]) == {}
    registry.psp_named("sandbox").void(ChargeRequest(capture.psp_key, "", capture.amount, reference=event.orders.get().public_id))
    for _time in range(2):
        cancellations.voided(capture.order_id, psp_key=capture.psp_key, now=timezone.now())
    refund = Refund.objects.get()
    assert (refund.status, refund.psp_reference) == ("SUCCESS", capture.psp_reference)
    execute_refunds(now=timezone.now() + timedelta(hours=1))
    assert oracle.rows("refund.succeeded") == []


# --- Races and crashes ----------------------------------------------------------------------------------------------


def test_cancelling_and_confirming_at_the_same_moment_leaves_no_money_behind(open_payment: Open, oracle: Oracle) -> None:
    for _round in range(6):
        event = open_payment("10.00")
        wish, ready = partial(cancel, event), partial(confirmation.confirm, event.pk, card_given(event), now=timezone.now())
        answers = all_at_once(wish, ready, wish, partial(executor.execute_due_orders, now=timezone.now()))
        assert {type(error) for error in errors_in(answers)} <= {NothingToPay, CheckoutExpired}
    execute_until_settled()
    follow(after=timedelta(hours=1))
    assert {status for status, _outcome in outcomes()} == {"SUCCESS"}
    assert Cancellation.objects.count() == 6
    assert all(nothing_is_left(order) for order in PaymentOrder.objects.all())


def test_a_worker_that_dies_between_the_charge_and_its_refund_loses_no_cancellation(open_payment: Open) -> None:
    event = open_payment("100.00")
    answered = charge_and_keep_the_answer(event)
    cancel(event)
    settlement.settle(captures_of(answered))  # and nobody follows
    assert Cancellation.objects.get().refund is None
    assert cancellations.follow(now=timezone.now()) == 1
    assert cancellations.follow(now=timezone.now()) == 0
    follow()
    assert outcomes() == [("SUCCESS", "refunded")]


def test_an_order_that_failed_while_it_is_cancelled_cannot_be_paid_before_the_cancellation_goes_on(open_payment: Open) -> None:
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event, DECLINED)
    cancel(event)
    [(work, _answer)] = answered
    settlement.fail([Failure(work.order_id, work.attempt_id, work.request.key, "", "card_declined", "")])
    with pytest.raises(NothingToPay):
        confirmation.confirm(event.pk, card_given(event, tab="again"), now=timezone.now())
    follow()
    assert statuses(event) == ["CANCELLED"]
