"""What the executor makes of each answer: when it charges again, when it asks, how long it waits, and when a person must decide."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ledger import line
from ledger.retries import Policy, Strategy
from payments import claims, verdicts
from payments.claims import Work
from payments.psp.protocol import Charged, ChargeRequest, Declined, Pending, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable, Voided
from payments.states import PspOperation
from payments.verdicts import NotFound, Outcome
from tests.factories import NOON, eur

CHARGE, FIND, VOID = PspOperation.CHARGE, PspOperation.FIND, PspOperation.VOID
SILENCE, REFUSED_TO_CONNECT = PspOutcomeUnknown("silence"), PspUnavailable("refused")


def work(operation: PspOperation = CHARGE, **known: Any) -> Work:
    asked = Work(
        order_id=1,
        attempt_id=1,
        call_id=1,
        psp="sandbox",
        operation=operation,
        tries=1,
        failures=0,
        asked=0,
        maybe_sent=operation != CHARGE,
        to_be_voided=operation == VOID,
        key_is_old=False,
        asked_too_long=False,
        claimed_at=NOON,
        request=ChargeRequest(key="ord_1", payment_token="tok_1", amount=eur("5.00"), reference="ord_1"),
    )
    return replace(asked, **known)


def waited_s(asked: Work, outcome: Outcome, **terms: Any) -> float | None:
    """Return how long the order waits, in seconds; None if it becomes a dead letter."""
    at = verdicts.wait_for(asked, outcome, now=NOON, **terms)["next_attempt_at"]
    return None if at is None else (at - NOON).total_seconds()


@pytest.mark.parametrize(
    ("outcome", "operation", "status"),
    [
        (SILENCE, CHARGE, "UNKNOWN"),
        (SILENCE, FIND, "UNKNOWN"),
        (REFUSED_TO_CONNECT, CHARGE, "NOT_EXECUTED"),
        (REFUSED_TO_CONNECT, FIND, "UNKNOWN"),
        (PspRejectedRequest("400"), FIND, "UNKNOWN"),
        (NotFound(), FIND, "NOT_EXECUTED"),
        (Pending("ch_1"), CHARGE, "PENDING"),
        (Pending("ch_1"), FIND, "PENDING"),
    ],
)
def test_what_could_have_happened_is_never_taken_for_not_executed(outcome: Outcome, operation: PspOperation, status: str) -> None:
    assert verdicts.wait_for(work(operation), outcome, now=NOON)["status"] == status


def test_bug_16_an_unknown_outcome_is_asked_for_on_a_ladder_that_ends_at_a_day() -> None:
    waits = [waited_s(work(), SILENCE)] + [waited_s(work(FIND, asked=asked), SILENCE) for asked in range(10)]
    assert waits == [2, 10, 30, 120, 600, 3600, 21600, 86400, 86400, 86400, 86400]


@pytest.mark.parametrize("outcome", [SILENCE, Pending("ch_1"), REFUSED_TO_CONNECT, PspRejectedRequest("400")])
def test_what_is_unknown_for_a_month_is_given_to_a_person(outcome: Outcome) -> None:
    row = verdicts.wait_for(work(FIND, asked_too_long=True), outcome, now=NOON)
    assert (row["next_attempt_at"], row["reason"]) == (None, "unknown_too_long")


def test_a_question_does_not_count_as_a_try_and_a_pending_charge_forgets_them() -> None:
    assert verdicts.wait_for(work(FIND, failures=3), SILENCE, now=NOON)["failures"] == 3
    assert verdicts.wait_for(work(failures=3), REFUSED_TO_CONNECT, now=NOON)["failures"] == 4
    assert verdicts.wait_for(work(failures=3), Pending("ch_1"), now=NOON)["failures"] == 0


def test_what_the_psp_never_saw_is_charged_at_once_and_later_and_later_if_that_goes_on() -> None:
    assert waited_s(work(FIND), NotFound()) == 0
    policy = Policy(Strategy.INCREMENTAL_INTERVAL, first_s=10, longest_s=60, most_tries=5)
    waits = [waited_s(work(FIND, failures=failures), NotFound(), policy=policy) for failures in range(5)]
    assert waits == [0, 20, 30, 40, None]


@pytest.mark.parametrize("failures", range(7))
def test_a_psp_that_is_down_is_left_alone_longer_each_time_but_never_over_two_minutes(failures: int) -> None:
    longest = min(2**failures, 120)
    waited = waited_s(work(failures=failures), REFUSED_TO_CONNECT)
    assert waited is not None
    assert longest / 2 <= waited <= longest


def test_the_eighth_call_that_came_to_nothing_is_the_last() -> None:
    row = verdicts.wait_for(work(failures=7), REFUSED_TO_CONNECT, now=NOON)
    assert (row["next_attempt_at"], row["reason"]) == (None, "tries_exhausted")


def test_f_09_a_psp_that_asks_for_time_gets_it() -> None:
    assert waited_s(work(), PspUnavailable("429", retry_after_s=90)) == 90
    assert waited_s(work(failures=7), PspUnavailable("429", retry_after_s=90)) is None


def test_while_a_line_is_open_the_question_that_failed_is_the_one_that_tries_it_next() -> None:
    waited = waited_s(work(FIND, asked=6), SILENCE, open_until=NOON + timedelta(seconds=30))
    assert waited is not None
    assert 30 <= waited <= 30 + claims.JITTER_S
    assert waited_s(work(FIND), SILENCE, open_until=NOON + timedelta(seconds=30)) == 10


def test_an_accident_is_the_lines_and_an_answer_is_the_psps() -> None:
    accidents: list[Outcome] = [SILENCE, REFUSED_TO_CONNECT]
    answers: list[Outcome] = [
        PspRejectedRequest("400"),
        PspOutcomeUnknown("409", answered=True),
        NotFound(),
        Pending("ch_1"),
        Declined("ch_1", "no", ""),
    ]
    assert [verdicts.is_accident(outcome) for outcome in accidents + answers] == [True] * 2 + [False] * 5


def test_a_void_leaves_the_charges_row_alone_and_says_how_it_ended_itself() -> None:
    assert verdicts.wait_for(work(VOID), SILENCE, now=NOON)["attempt_id"] is None
    charged = Charged("ch_1", eur("5.00"), NOON)
    ends = [verdicts.status_of(work(VOID), outcome) for outcome in (Voided(), Declined("ch_1", "no", ""), charged, REFUSED_TO_CONNECT)]
    assert ends == ["SUCCEEDED", "SUCCEEDED", "NOT_EXECUTED", "NOT_EXECUTED"]


def test_a_refused_void_is_followed_by_the_question_at_once_and_the_question_waits_on_the_ladder() -> None:
    assert waited_s(work(VOID, asked=4), PspRejectedRequest("400")) == 0
    assert waited_s(work(VOID, asked=4), PspRejectedRequest("400"), open_until=NOON + timedelta(seconds=30)) == 0
    assert waited_s(work(FIND, asked=4, to_be_voided=True), PspRejectedRequest("400")) == 3600


@pytest.mark.parametrize("outcome", [PspRejectedRequest("400"), PspOutcomeUnknown("another amount", answered=True)])
@pytest.mark.parametrize("operation", [FIND, VOID])
def test_the_eighth_answer_in_a_row_that_tells_nothing_is_given_to_a_person(operation: PspOperation, outcome: Outcome) -> None:
    rows = [verdicts.wait_for(work(operation, failures=failures), outcome, now=NOON) for failures in range(8)]
    assert [row["failures"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row["next_attempt_at"] is None for row in rows] == [False] * 7 + [True]
    assert verdicts.wait_for(work(operation, failures=7), SILENCE, now=NOON)["next_attempt_at"] is not None, "the line's fault"


def test_a_question_about_an_order_that_is_to_be_voided_does_not_make_it_due_at_once() -> None:
    row = verdicts.wait_for(work(FIND, to_be_voided=True), SILENCE, now=NOON)
    assert (row["to_void"], verdicts.wait_for(work(FIND), SILENCE, now=NOON)["to_void"]) == (True, False)


def test_what_cannot_be_booked_is_asked_for_again_and_given_to_a_person_at_last() -> None:
    charged = Charged("ch_1", eur("5.00"), NOON)
    row = verdicts.wait_for_booking(work(FIND, failures=6), charged, reason="no such account", now=NOON)
    assert (row["status"], row["failures"], row["next_attempt_at"] > NOON) == ("UNKNOWN", 7, True)
    row = verdicts.wait_for_booking(work(FIND, failures=7), charged, reason="no such account", now=NOON)
    assert (row["next_attempt_at"], row["reason"], row["detail"]) == (None, "cannot_be_booked", "no such account")


def test_cel_01_a_lease_outlasts_every_timeout_of_a_call_together() -> None:
    connect_s, write_s, pool_s = 1, 5, 5
    assert connect_s + write_s + pool_s + line.ANSWER_S < claims.LEASE_S
