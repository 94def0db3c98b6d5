"""Settle and fail by hand: what is not about an executing order, under its key and over its amount, changes nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from ledger.models import JournalEntry, Posting
from payments import claims, settlement
from payments.models import DueOrder, PaymentEvent, PspAttempt
from payments.settlement import Capture, Failure
from tests.factories import eur
from tests.fixtures_money import (
    DECLINED,
    Oracle,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    execute_until_settled,
    statuses,
)
from wallet.models import OutboxMessage, WalletEntry

Open = Callable[..., PaymentEvent]


def failure_for(capture: Capture, **terms: Any) -> Failure:
    said: dict[str, Any] = {
        "order_id": capture.order_id,
        "attempt_id": capture.attempt_id,
        "psp_key": capture.psp_key,
        "psp_reference": capture.psp_reference,
        "code": "card_declined",
        "message": "No.",
    }
    return Failure(**(said | terms))


def everything() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (JournalEntry, Posting, WalletEntry, OutboxMessage))


@pytest.mark.parametrize(
    "wrong",
    [{"amount": eur("9.99")}, {"amount": eur("10.01")}, {"psp_key": "ord_x"}, {"order_id": 10**9}, {"psp_key": ""}],
)
def test_bug_47_a_capture_that_does_not_fit_is_left_out(open_payment: Open, wrong: dict[str, Any]) -> None:
    [capture] = captures_of(charge_and_keep_the_answer(open_payment("10.00")))
    assert settlement.settle([dataclasses.replace(capture, **wrong)]) == []
    assert everything() == (0, 0, 0, 0)
    assert len(settlement.settle([capture])) == 1


def test_bug_47_a_weaker_currency_pays_nothing(open_payment: Open) -> None:
    [capture] = captures_of(charge_and_keep_the_answer(open_payment("10.00")))
    worthless = dataclasses.replace(capture, amount=eur("10.00").__class__("10.00", "USD"))
    assert settlement.settle([worthless]) == []
    settlement.settle([capture])


def test_those_of_a_batch_that_fit_are_settled_without_the_others(open_payment: Open) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    first, second, third = captures_of(charge_and_keep_the_answer(event))
    settlement.settle([first, dataclasses.replace(second, amount=eur("2.00")), third])
    assert statuses(event) == ["SUCCESS", "EXECUTING", "SUCCESS"]
    settlement.settle([first, second, third])
    assert statuses(event) == ["SUCCESS"] * 3


def test_bug_09_the_second_witness_finds_the_work_done(open_payment: Open) -> None:
    captures = captures_of(charge_and_keep_the_answer(open_payment("10.00", "20.00")))
    assert [len(settlement.settle(captures)) for _witness in range(5)] == [2, 0, 0, 0, 0]
    assert everything() == (2, 6, 2, 3)


@pytest.mark.parametrize("foreign_first", [True, False])
def test_word_of_another_key_in_the_same_batch_does_not_hide_the_right_one(open_payment: Open, foreign_first: bool) -> None:
    event = open_payment("10.00")
    [capture] = captures_of(charge_and_keep_the_answer(event))
    foreign = dataclasses.replace(capture, psp_key="given up", psp_reference="ch_late")
    settlement.settle([foreign, capture] if foreign_first else [capture, foreign])
    assert (statuses(event), PspAttempt.objects.get().psp_reference) == (["SUCCESS"], capture.psp_reference)


def test_settling_nothing_is_nothing(books_hold: None) -> None:
    assert (settlement.settle([]), settlement.fail([])) == ([], [])


def test_an_order_that_nobody_confirmed_is_not_settled(open_payment: Open) -> None:
    event = open_payment("10.00")
    order = event.orders.get()
    capture = Capture(order.pk, 0, order.public_id, "ch_1", order.amount, timezone.now())
    assert settlement.settle([capture]) == []
    assert statuses(event) == ["NOT_STARTED"]


def test_bug_41_a_late_failure_never_overwrites_success(open_payment: Open) -> None:
    event = open_payment("10.00")
    [capture] = captures_of(charge_and_keep_the_answer(event))
    settlement.settle([capture])
    assert settlement.fail([failure_for(capture)]) == []
    assert (statuses(event), PspAttempt.objects.get().status) == (["SUCCESS"], "SUCCEEDED")


def test_bug_41_word_of_an_earlier_key_says_nothing_about_the_present_one(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = pay(open_payment("10.00"), DECLINED)
    [declined] = PspAttempt.objects.all()
    [capture] = captures_of(charge_and_keep_the_answer(event))
    assert settlement.fail([failure_for(capture, psp_key=declined.psp_key, attempt_id=declined.pk)]) == []
    assert settlement.settle([dataclasses.replace(capture, psp_key=declined.psp_key)]) == []
    assert statuses(event) == ["EXECUTING"]
    settlement.settle([capture])
    assert oracle.charged() == [declined.psp_key]


def test_a_failure_of_one_order_leaves_the_others_executing(open_payment: Open) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event, DECLINED)
    works = claims.claim_due(now=timezone.now(), limit=10)
    [first, *_others] = works
    settlement.fail([Failure(first.order_id, first.attempt_id, first.request.key, "", "card_declined", "x" * 5000)])
    assert statuses(event) == ["FAILED", "EXECUTING"]
    assert len(PspAttempt.objects.get(pk=first.attempt_id).error_message) == 500
    assert DueOrder.objects.count() == 1
    execute_until_settled_as_declined(event)


def execute_until_settled_as_declined(event: PaymentEvent) -> None:
    execute_until_settled()
    assert statuses(event) == ["FAILED", "FAILED"]


def test_the_messages_say_how_the_order_stands_in_the_same_commit(open_payment: Open) -> None:
    event = open_payment("10.00")
    settlement.settle(captures_of(charge_and_keep_the_answer(event)))
    told = OutboxMessage.objects.get(topic="payment_order.succeeded")
    order = event.orders.get()
    assert told.payload == {
        "id": order.public_id,
        "object": "payment_order",
        "reference": "",
        "status": "SUCCESS",
        "failure_code": None,
        "amount": {"amount": "10.00", "currency": "EUR"},
        "fee": {"amount": "1.00", "currency": "EUR"},
        "net": {"amount": "9.00", "currency": "EUR"},
    }
