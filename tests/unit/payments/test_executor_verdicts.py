"""What the executor makes of each answer: when it charges again, when it asks, and how long it waits."""

from datetime import timedelta

import pytest

from payments import executor
from payments.executor import NotFound, Outcome, Work
from payments.psp.protocol import ChargeRequest, Pending, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable
from tests.factories import NOON, eur


def work(*, tries: int = 1, ask: bool = False) -> Work:
    request = ChargeRequest(key="ord_1", payment_token="tok_1", amount=eur("5.00"), reference="ord_1")
    return Work(order_id=1, attempt_id=1, psp="sandbox", tries=tries, ask=ask, maybe_sent=ask, key_is_old=False, request=request)


@pytest.mark.parametrize(
    ("outcome", "ask", "status"),
    [
        (PspOutcomeUnknown("silence"), False, "UNKNOWN"),
        (PspOutcomeUnknown("silence"), True, "UNKNOWN"),
        (PspUnavailable("refused"), False, "NOT_EXECUTED"),
        (PspUnavailable("refused"), True, "UNKNOWN"),
        (PspRejectedRequest("401"), True, "UNKNOWN"),
        (NotFound(), True, "NOT_EXECUTED"),
        (Pending("ch_1"), False, "PENDING"),
        (Pending("ch_1"), True, "PENDING"),
    ],
)
def test_what_could_have_happened_is_never_taken_for_not_executed(outcome: Outcome, ask: bool, status: str) -> None:
    assert executor.wait_for(work(ask=ask), outcome, now=NOON)["status"] == status


def test_bug_16_an_unknown_outcome_is_asked_for_on_a_ladder_that_ends_at_a_day_and_never_stops() -> None:
    waits = [
        (executor.wait_for(work(tries=tries), PspOutcomeUnknown(""), now=NOON)["next_attempt_at"] - NOON).total_seconds()
        for tries in range(1, 12)
    ]
    assert waits == [2, 10, 30, 120, 600, 3600, 21600, 86400, 86400, 86400, 86400]


def test_what_the_psp_never_saw_is_charged_at_once() -> None:
    assert executor.wait_for(work(ask=True), NotFound(), now=NOON)["next_attempt_at"] == NOON


@pytest.mark.parametrize("tries", range(1, 20))
def test_a_psp_that_is_down_is_left_alone_longer_each_time_but_never_over_two_minutes(tries: int) -> None:
    longest = min(2 ** (tries - 1), 120)
    waited = executor.wait_for(work(tries=tries), PspUnavailable(""), now=NOON)["next_attempt_at"] - NOON
    assert timedelta(seconds=longest / 2) <= waited <= timedelta(seconds=longest)


def test_cel_01_a_lease_outlasts_every_timeout_of_a_call_together() -> None:
    connect_s, write_s, pool_s, read_s = 1, 5, 5, 10
    assert connect_s + write_s + pool_s + read_s < executor.LEASE_S


def test_a_psp_that_is_away_for_a_month_is_tried_again_every_two_minutes_at_most() -> None:
    for tries in (8, 1_025, 40_000):
        assert 60 <= executor.backoff_s(tries) <= 120
