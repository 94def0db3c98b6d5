"""Silence, errors, slowness and refusals of the PSP: whatever it answers, each order is charged once and booked once."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from payments import confirmation, executor
from payments.models import DueOrder, PaymentEvent, PspAttempt
from payments.psp.protocol import Psp
from tests.fixtures_money import (
    VISA,
    Oracle,
    card_given,
    charge_and_keep_the_answer,
    confirm_card,
    execute_until_settled,
    sandbox_psp,
    session_for,
    statuses,
)
from tests.fixtures_services import SandboxCompany

Open = Callable[..., PaymentEvent]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def impatient(sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp]) -> Psp:
    """Wait for the PSP's answer a fraction of a second only."""
    return use_psp(sandbox_psp(sandbox, read_timeout_s=0.4))


@pytest.mark.parametrize(
    ("kind", "left", "charged_by_then"),
    [
        ("execute_then_silence", "UNKNOWN", 3),
        ("slow", "UNKNOWN", 3),
        ("execute_then_500", "UNKNOWN", 3),
        ("refuse_500", "UNKNOWN", 0),
    ],
)
def test_bug_16_an_answer_that_never_came_is_asked_for_by_key_and_charged_once(
    open_payment: Open,
    impatient: Psp,
    sandbox: SandboxCompany,
    oracle: Oracle,
    kind: str,
    left: str,
    charged_by_then: int,
) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind=kind, times=3, delay_s=0.8)
    executor.execute_due_orders(now=timezone.now())
    assert (statuses(event), set(PspAttempt.objects.values_list("status", flat=True))) == (["EXECUTING"] * 3, {left})
    assert len(oracle.charged()) == charged_by_then
    execute_until_settled()
    event.refresh_from_db()
    assert event.status == "paid"
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


@pytest.mark.parametrize("card", ["4000000000009029", "4000000000009037", "4000000000009045"])
def test_the_cards_that_make_the_psp_misbehave_are_charged_once(open_payment: Open, impatient: Psp, oracle: Oracle, card: str) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event, card)
    if card.endswith("9045"):  # it never charges this card
        for hours in range(4):
            executor.execute_due_orders(now=timezone.now() + timedelta(hours=2 * hours))
        assert (statuses(event), oracle.charged()) == (["EXECUTING"] * 2, [])
    else:
        execute_until_settled()
        assert len(oracle.charged()) == len(set(oracle.charged())) == 2


def test_bug_01_an_impatient_buyer_who_tries_again_and_again_meanwhile_pays_once(
    open_payment: Open, impatient: Psp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    sandbox.fault(operation="charge", kind="execute_then_silence", times=1, delay_s=0.8)
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    for tab in range(5):
        session = session_for(event.amount, VISA, nonce=f"{event.public_id}:again:{tab}")
        confirmed = confirmation.Confirmed(session.id, session.payment_token, session.amount)
        assert confirmation.confirm(event.pk, confirmed, now=timezone.now()) == [], "bug 13: no new attempt while one is unknown"
    execute_until_settled()
    assert len(oracle.charged()) == 1


def test_an_unknown_outcome_is_never_charged_again_while_the_psp_cannot_tell(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="refuse_500")
    confirm_card(event)
    for hours in range(20):
        executor.execute_due_orders(now=timezone.now() + timedelta(hours=2 * hours))
    assert (statuses(event), PspAttempt.objects.get().status) == (["EXECUTING"], "UNKNOWN")
    sandbox.clear_faults()
    executor.execute_due_orders(now=timezone.now() + timedelta(days=50))
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_an_unknown_outcome_survives_a_psp_that_is_down_when_it_is_asked(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    for hours in range(1, 15):
        executor.execute_due_orders(now=timezone.now() + timedelta(hours=2 * hours))
    assert (statuses(event), PspAttempt.objects.get().status) == (["EXECUTING"], "UNKNOWN")
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    executor.execute_due_orders(now=timezone.now() + timedelta(days=40))
    assert statuses(event) == ["EXECUTING"], "that we may not ask says nothing about what happened"
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(days=50))
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_a_psp_that_is_down_is_tried_again_under_the_same_key_when_it_is_up(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    for hours in range(3):
        executor.execute_due_orders(now=timezone.now() + timedelta(hours=2 * hours))
    assert statuses(event) == ["EXECUTING"]
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(hours=10))
    attempts = list(PspAttempt.objects.order_by("number").values_list("status", "psp_key"))
    key = event.orders.get().public_id
    assert attempts == [("NOT_EXECUTED", key)] * 3 + [("SUCCEEDED", key)]
    assert (statuses(event), oracle.charged()) == (["SUCCESS"], [key])


def test_cel_04_past_the_last_try_the_order_fails_nothing_was_charged_and_the_buyer_may_try_again(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    assert execute_until_settled() == executor.MOST_TRIES
    assert statuses(event) == ["FAILED", "FAILED"]
    assert set(event.orders.values_list("failure_code", flat=True)) == {"psp_unavailable"}
    assert (oracle.charged(), DueOrder.objects.count()) == ([], 0)
    use_psp(sandbox_psp(sandbox))
    assert pay(event).status == "paid"


def test_a_request_that_the_psp_refuses_fails_the_order_and_charges_nothing(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    executor.execute_due_orders(now=timezone.now())
    order = event.orders.get()
    assert (order.status, order.failure_code, oracle.charged()) == ("FAILED", "rejected_request", [])


def test_a_token_that_covers_less_than_the_basket_charges_no_more_than_it_covers(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    small = session_for(event.orders.order_by("id")[0].amount, VISA, nonce=event.public_id)
    forged = confirmation.Confirmed(small.id, small.payment_token, event.amount)
    confirmation.confirm(event.pk, forged, now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["SUCCESS", "FAILED"]
    assert len(oracle.charged()) == 1


def test_pg_04_the_psp_is_never_called_while_a_transaction_is_open(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    confirmed = card_given(open_payment("10.00"))
    with pytest.raises(RuntimeError, match="never called inside"), transaction.atomic():
        sandbox_psp(sandbox).session(confirmed.session)


def test_a_lease_is_respected_and_when_it_ends_the_next_one_asks_first(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    answered = charge_and_keep_the_answer(event)
    now = timezone.now()
    assert executor.claim_due(now=now + timedelta(seconds=executor.LEASE_S - 5), limit=10) == []
    works = executor.claim_due(now=now + timedelta(seconds=executor.LEASE_S + 5), limit=10)
    assert [(work.ask, work.attempt_id) for work in works] == [(True, work.attempt_id) for work, _answer in answered]
    for batch in executor.call_all(works):
        executor.hand_over(batch, now=now)
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


def test_an_answer_that_comes_after_its_lease_ended_is_still_believed(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event)
    executor.claim_due(now=timezone.now() + timedelta(hours=1), limit=10)
    executor.hand_over(answered, now=timezone.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_whoever_waits_longest_is_served_first_and_no_more_are_taken_than_asked_for(open_payment: Open) -> None:
    event = open_payment(*["1.00"] * 5)
    confirm_card(event)
    orders = list(event.orders.order_by("-id").values_list("id", flat=True))
    for place, order in enumerate(orders):
        DueOrder.objects.filter(order=order).update(next_attempt_at=timezone.now() - timedelta(minutes=5 - place))
    works = executor.claim_due(now=timezone.now(), limit=2)
    assert {work.order_id for work in works} == set(orders[:2])
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"] * 5
