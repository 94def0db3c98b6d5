"""Retry strategies at work: each PSP's own policy, the same stored key in every try, and an end that a person or the shop may bring forward."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from ledger.retries import Strategy
from payments import executor, refund_executor, refunds, rescue
from payments.models import Cancellation, DeadLetter, DueOrder, PaymentEvent, PspAttempt, Refund, RetryPolicy, Transition
from payments.psp.protocol import Psp
from payments.rescue import NotToRescue
from tests.factories import eur
from tests.fixtures_money import Oracle, confirm_card, execute_refunds, execute_until_settled, statuses
from tests.fixtures_services import SandboxCompany

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]
ACTOR = "staff:grace"


def charges() -> list[PspAttempt]:
    return list(PspAttempt.objects.filter(operation="charge").order_by("id"))


def waited_s(*, since: datetime) -> float:
    """Return how long the only due order waits, in seconds."""
    at = DueOrder.objects.get().next_attempt_at
    assert at is not None
    return (at - since).total_seconds()


def policy(strategy: Strategy, *, first_s: int = 4, longest_s: int = 60, most_tries: int = 4, operation: str = "charge") -> None:
    RetryPolicy.objects.create(
        psp="sandbox", operation=operation, strategy=strategy, first_s=first_s, longest_s=longest_s, most_tries=most_tries
    )


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        (Strategy.IMMEDIATE, [(0, 0), (0, 0), (0, 0)]),
        (Strategy.FIXED_INTERVAL, [(4, 4), (4, 4), (4, 4)]),
        (Strategy.INCREMENTAL_INTERVAL, [(4, 4), (8, 8), (12, 12)]),
        (Strategy.EXPONENTIAL_BACKOFF, [(2, 4), (4, 8), (8, 16)]),
        (Strategy.NONE, []),
    ],
)
def test_each_strategy_waits_as_its_policy_says_and_then_the_order_fails_unsent(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, strategy: Strategy, waits: list[tuple[float, float]]
) -> None:
    policy(strategy)
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle")
    for least, most in waits:
        before = timezone.now()
        assert executor.execute_due_orders(now=before + timedelta(hours=1)) == 1
        assert least <= waited_s(since=before) <= most + (timezone.now() - before).total_seconds()
    executor.execute_due_orders(now=timezone.now() + timedelta(hours=1))
    assert (statuses(event), DueOrder.objects.count()) == (["FAILED"], 0)
    assert event.orders.get().failure_code == "psp_unavailable"
    assert {(attempt.psp_key, attempt.status) for attempt in charges()} == {(event.orders.get().public_id, "NOT_EXECUTED")}
    assert len(charges()) == len(waits) + 1
    assert DeadLetter.objects.get().reason == "tries_exhausted"
    assert oracle.charged() == []


def test_a_success_in_the_last_try_is_a_success(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    policy(Strategy.IMMEDIATE, most_tries=3)
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle", times=2)
    for _try in range(3):
        executor.execute_due_orders(now=timezone.now() + timedelta(seconds=1))
    assert (statuses(event), len(oracle.charged()), DeadLetter.objects.count()) == (["SUCCESS"], 1, 0)


def test_bug_13_when_the_tries_of_a_charge_that_may_have_been_sent_are_used_up_the_order_stays_open(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    policy(Strategy.IMMEDIATE, most_tries=2)
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="refuse_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    sandbox.fault(operation="charge", kind="throttle")
    for minutes in range(1, 6):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    assert (statuses(event), DueOrder.objects.get().next_attempt_at) == (["EXECUTING"], None)
    assert DeadLetter.objects.get().reason == "tries_exhausted"
    sandbox.clear_faults()
    rescue.redrive(DeadLetter.objects.get().pk, actor=ACTOR, note="the PSP is back", now=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_each_call_has_its_attempt_with_the_time_at_which_it_was_made(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="refuse_500", times=1)
    moments = [timezone.now() + timedelta(minutes=minutes) for minutes in (0, 10, 20)]
    for moment in moments:
        executor.execute_due_orders(now=moment)
    rows = list(PspAttempt.objects.order_by("id").values_list("operation", "number", "status", "created_at"))
    assert rows == [
        ("charge", 1, "SUCCEEDED", moments[0]),
        ("find", 1, "UNKNOWN", moments[1]),
        ("find", 2, "SUCCEEDED", moments[2]),
    ]
    assert all(attempt.finished_at for attempt in PspAttempt.objects.all())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_a_refund_has_a_policy_of_its_own(open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    policy(Strategy.NONE, operation="refund")
    order = pay(open_payment("10.00")).orders.get()
    refund = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    sandbox.fault(operation="refund", kind="throttle", times=1)
    refund_executor.execute_due_refunds(now=timezone.now())
    letter = DeadLetter.objects.get()
    assert (letter.refund_id, letter.reason) == (refund.pk, "tries_exhausted")
    rescue.redrive(letter.pk, actor=ACTOR, note="again", now=timezone.now())
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, len(oracle.rows("refund.succeeded"))) == ("SUCCESS", 1)


# --- Ended by the shop or by finance ----------------------------------------------------------------------------------


def test_retries_that_are_stopped_charge_nothing_any_more(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle", times=1)
    executor.execute_due_orders(now=timezone.now())
    rescue.stop_retries(event.orders.get().pk, actor="api:ob_test_1", note="the buyer gave up", now=timezone.now())
    execute_until_settled()
    assert (statuses(event), oracle.charged()) == (["CANCELLED"], [])
    told = Transition.objects.filter(kind="cancellation").values_list("after", flat=True)
    assert (list(told), Cancellation.objects.get().requested_by) == (["SUCCESS"], "api:ob_test_1")


def test_retries_of_a_charge_that_was_taken_are_stopped_by_voiding_it(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    rescue.stop_retries(event.orders.get().pk, actor=ACTOR, note="asked by phone", now=timezone.now())
    execute_until_settled()
    assert statuses(event) == ["CANCELLED"]
    assert [row["type"] for row in oracle.rows("charge.succeeded", "charge.voided")] == ["charge.succeeded", "charge.voided"]
    voids = PspAttempt.objects.filter(operation="void").values_list("status", "psp_key")
    assert list(voids) == [("SUCCEEDED", event.orders.get().public_id)]


def test_an_order_that_came_to_its_end_has_no_retries_to_stop(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("10.00"))
    with pytest.raises(NotToRescue, match="SUCCESS"):
        rescue.stop_retries(event.orders.get().pk, actor=ACTOR, note="why not", now=timezone.now())


def test_the_retries_of_a_refund_are_stopped_only_while_it_was_never_sent(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    unsent, sent = (refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now()) for _refund in range(2))
    sandbox.fault(operation="refund", kind="throttle", times=1)
    refund_executor.execute_due_refunds(now=timezone.now())
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    refund_executor.execute_due_refunds(now=timezone.now())
    rescue.stop_refund_retries(unsent.pk, actor=ACTOR, note="wrong order", now=timezone.now())
    with pytest.raises(NotToRescue, match="may have been given back"):
        rescue.stop_refund_retries(sent.pk, actor=ACTOR, note="wrong order", now=timezone.now())
    execute_refunds(now=timezone.now() + timedelta(days=1))
    assert list(Refund.objects.order_by("id").values_list("status", "failure_code")) == [("FAILED", "retries_stopped"), ("SUCCESS", "")]
    order.refresh_from_db()
    assert order.refunded == eur("4.00")
