"""The circuit breaker: a PSP that is away is left alone, by everybody; what waits has not failed, and goes on as soon as the PSP is back."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger import clock
from payments import breaker, claims, confirmation, dead_letters, executor, refund_executor, refunds
from payments.confirmation import Confirmed
from payments.models import CircuitBreaker, DeadLetter, DueOrder, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.psp.protocol import Psp
from tests.factories import NOON, eur
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    all_at_once,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_until_settled,
    sandbox_psp,
    session_for,
    statuses,
)
from tests.fixtures_services import SandboxCompany

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]
LINE = ("sandbox", "charge")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """Let no test begin with what this process remembers of the one before."""
    breaker._shaken.clear()
    yield
    breaker._shaken.clear()


@pytest.fixture
def is_away(sandbox: SandboxCompany, use_psp: UsePsp) -> Callable[[], Psp]:
    """Let the PSP go away; the real one comes back with what is returned."""

    def go() -> Psp:
        use_psp(sandbox_psp(sandbox, url=NOWHERE))
        return sandbox_psp(sandbox)

    return go


@pytest.fixture
def move_clock(settings: Any, tmp_path: Path) -> Callable[[int], None]:
    """Put our clock so many seconds ahead of the true time."""
    settings.TEST_CLOCK_FILE = str(tmp_path / "clock")

    def move(seconds: int) -> None:
        Path(settings.TEST_CLOCK_FILE).write_text(str(seconds))

    return move


def failures_of(operation: str = "charge") -> int:
    return CircuitBreaker.objects.get(psp="sandbox", operation=operation).failures


def charges() -> int:
    return PspAttempt.objects.filter(operation="charge").count()


def open_it(*, now: datetime) -> None:
    for _accident in range(breaker.ACCIDENTS_IN_A_ROW):
        breaker.failed(*LINE, now=now)


def test_it_opens_after_five_accidents_in_a_row_and_not_before(real_db: None) -> None:
    assert [breaker.failed(*LINE, now=NOON) for _accident in range(4)] == [None] * 4
    assert breaker.admit([LINE], now=NOON) == [None]
    assert breaker.failed(*LINE, now=NOON) == NOON + timedelta(seconds=5)
    assert breaker.admit([LINE, ("sandbox", "refund"), ("another", "charge")], now=NOON) == [NOON + timedelta(seconds=5), None, None]


def test_a_success_between_accidents_begins_the_count_anew(real_db: None) -> None:
    for _round in range(5):
        breaker.failed(*LINE, now=NOON, times=4)
        breaker.succeeded(*LINE, now=NOON)
    assert (failures_of(), breaker.admit([LINE], now=NOON)) == (0, [None])


def test_when_its_time_is_up_one_call_goes_through_and_the_waits_double_up_to_half_a_minute(real_db: None) -> None:
    open_it(now=NOON)
    now, waits = NOON, []
    for _probe in range(5):
        until = breaker.states("sandbox")["charge"].open_until
        assert until is not None
        waits.append((until - now).total_seconds())
        now = until
        first, second = breaker.admit([LINE, LINE], now=now)
        assert (first, second) == (None, now + timedelta(seconds=breaker.PROBE_S))
        assert breaker.admit([LINE], now=now + timedelta(seconds=14)) == [second]
        breaker.failed(*LINE, now=now)
    assert waits == [5, 10, 20, 30, 30]


def test_a_probe_that_dies_is_followed_by_another(real_db: None) -> None:
    open_it(now=NOON)
    assert breaker.admit([LINE], now=NOON + timedelta(seconds=5)) == [None]
    assert breaker.admit([LINE], now=NOON + timedelta(seconds=20)) == [None]


@pytest.mark.race
def test_of_many_workers_at_once_one_makes_the_probe(real_db: None) -> None:
    open_it(now=NOON)
    for round_ in range(10):
        now = NOON + timedelta(hours=round_ + 1)
        answers = all_at_once(*[lambda now=now: breaker.admit([LINE], now=now)] * 8)
        assert answers.count([None]) == 1


@pytest.mark.race
def test_workers_that_probe_the_same_lines_in_other_orders_do_not_wait_for_each_other_in_a_circle(real_db: None) -> None:
    lines = [("sandbox", operation) for operation in ("charge", "find", "void")]
    for line in lines:
        breaker.failed(*line, now=NOON, times=5)

    @transaction.atomic(durable=True)
    def admit(calls: list[breaker.Line], now: datetime) -> list[datetime | None]:
        return breaker.admit(calls, now=now)

    for round_ in range(3):
        now = NOON + timedelta(hours=round_ + 1)
        answers = all_at_once(*[partial(admit, calls, now) for calls in (lines, lines[::-1]) * 3])
        assert errors_in(answers) == []
        assert sum(answer.count(None) for answer in answers if isinstance(answer, list)) == len(lines)


def test_stragglers_that_were_sent_before_it_opened_do_not_count_as_probes(real_db: None) -> None:
    open_it(now=NOON)
    for _straggler in range(40):
        assert breaker.failed(*LINE, now=NOON) == NOON + timedelta(seconds=5)


def test_a_psp_that_is_away_is_called_five_times_and_all_other_orders_wait_without_failing(
    open_payment: Open, oracle: Oracle, is_away: Callable[[], Psp], use_psp: UsePsp
) -> None:
    first, waiting = open_payment(*["1.00"] * 5), open_payment(*["2.00"] * 40)
    confirm_card(first)
    confirm_card(waiting)
    DueOrder.objects.filter(order__event=waiting).update(next_attempt_at=timezone.now())
    back = is_away()
    executor.execute_due_orders(now=timezone.now(), limit=5)
    assert claims.claim_due(now=timezone.now(), limit=100) == []
    assert charges() == 5
    assert set(DueOrder.objects.filter(order__event=waiting).values_list("failures", "claimed_until")) == {(0, None)}
    executor.execute_due_orders(now=timezone.now() + timedelta(seconds=40))
    assert charges() == 6, "one probe"
    use_psp(back)
    executor.execute_due_orders(now=timezone.now() + timedelta(seconds=90))
    assert CircuitBreaker.objects.get(operation="charge").opened_at is None
    assert DueOrder.objects.filter(next_attempt_at__gt=timezone.now() + timedelta(seconds=1)).count() == 0, "all is due at once"
    executor.execute_due_orders(now=timezone.now() + timedelta(seconds=1))
    assert set(PaymentOrder.objects.values_list("status", flat=True)) == {"SUCCESS"}
    assert len(oracle.charged()) == 45


def test_a_psp_that_is_away_holds_up_no_other(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp) -> None:
    """Orders of the one that is away are due first, and more than a batch of them."""
    dead = open_payment(*["1.00"] * 7)
    confirm_card(dead, now=timezone.now() - timedelta(minutes=1))
    PaymentOrder.objects.filter(event=dead).update(psp="away")
    for _accident in range(5):
        breaker.failed("away", "charge", now=timezone.now())
    healthy = open_payment("2.00")
    confirm_card(healthy)
    assert executor.execute_due_orders(now=timezone.now(), limit=3) == 1
    assert (statuses(healthy), set(statuses(dead))) == (["SUCCESS"], {"EXECUTING"})
    PaymentOrder.objects.filter(event=dead).update(psp="sandbox")
    breaker.succeeded("away", "charge", now=timezone.now())
    execute_until_settled()
    assert len(oracle.charged()) == 8


def test_what_is_held_back_until_its_checkout_is_over_has_failed_and_is_never_charged(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("1.00", "2.00")
    confirm_card(event)
    sent, unsent = event.orders.order_by("id")
    DueOrder.objects.filter(order=sent).update(maybe_sent=True)
    open_it(now=event.expires_at)
    executor.execute_due_orders(now=event.expires_at - timedelta(seconds=1))
    assert (statuses(event), DeadLetter.objects.count()) == (["EXECUTING"] * 2, 0)
    breaker.failed(*LINE, now=event.expires_at + timedelta(seconds=10))
    executor.execute_due_orders(now=event.expires_at + timedelta(seconds=10))
    assert statuses(event) == ["EXECUTING", "FAILED"]
    letter = DeadLetter.objects.get()
    assert (letter.order, letter.reason, letter.decided_at, charges()) == (unsent, "tries_exhausted", None, 0)
    CircuitBreaker.objects.all().delete()
    executor.execute_due_orders(now=event.expires_at + timedelta(days=1))
    assert (statuses(event), oracle.charged()) == (["SUCCESS", "FAILED"], [sent.public_id])


def test_whoever_dies_before_failing_what_was_held_back_leaves_it_to_the_next_one(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("1.00")
    confirm_card(event)
    open_it(now=event.expires_at)
    assert claims.claim_due(now=event.expires_at + timedelta(seconds=1), limit=10) == []
    assert statuses(event) == ["EXECUTING"]
    executor.execute_due_orders(now=event.expires_at + timedelta(seconds=2))
    assert (statuses(event), oracle.charged()) == (["FAILED"], [])


def test_what_may_have_been_charged_is_never_taken_for_held_back(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("1.00")
    [(work, answer)] = charge_and_keep_the_answer(event)
    with transaction.atomic():
        dead_letters.bury(work.order_id, reason=dead_letters.TRIES_EXHAUSTED, detail="somebody said so")
    executor.execute_due_orders(now=event.expires_at + timedelta(days=1))
    assert statuses(event) == ["EXECUTING"]
    executor.hand_over([(work, answer)], now=timezone.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_an_unknown_outcome_is_resolved_within_half_a_minute_of_the_psps_return_even_after_hours(
    open_payment: Open,
    sandbox: SandboxCompany,
    oracle: Oracle,
    is_away: Callable[[], Psp],
    use_psp: UsePsp,
    move_clock: Callable[[int], None],
) -> None:
    """Asked for alone, with nothing else going on: the ladder would have it wait for hours by then."""
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    back = is_away()
    for half_minutes in range(2 * 60 * 3):
        move_clock(30 * half_minutes)
        executor.execute_due_orders(now=clock.now())
    use_psp(back)
    move_clock(3 * 3600 + breaker.LONGEST_WAIT_S + claims.JITTER_S)
    executor.execute_due_orders(now=clock.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)
    assert PspAttempt.objects.filter(operation="find").count() > 150


def test_declines_and_refusals_are_answers_and_open_nothing(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    declined = open_payment(*["1.00"] * 8)
    confirm_card(declined, DECLINED)
    executor.execute_due_orders(now=timezone.now())
    refused = open_payment(*["1.00"] * 8)
    small = session_for(eur("0.50"), VISA, nonce=refused.public_id)
    confirmation.confirm(refused.pk, Confirmed(small.id, small.payment_token, refused.amount), now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert set(statuses(declined) + statuses(refused)) == {"FAILED"}
    assert set(refused.orders.values_list("failure_code", flat=True)) == {"rejected_request"}
    assert CircuitBreaker.objects.count() == 0


def test_a_psp_that_does_not_let_us_in_is_left_alone_and_nothing_fails(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    event = open_payment(*["1.00"] * 8)
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    executor.execute_due_orders(now=timezone.now(), limit=5)
    assert executor.execute_due_orders(now=timezone.now()) == 0
    assert (set(statuses(event)), charges()) == ({"EXECUTING"}, 5)
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=1))
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=1))
    assert (set(statuses(event)), len(oracle.charged())) == ({"SUCCESS"}, 8)


def test_single_accidents_among_successes_open_nothing(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    for _round in range(6):
        event = open_payment("1.00", "2.00")
        confirm_card(event)
        sandbox.fault(operation="charge", kind="throttle", times=1)
        executor.execute_due_orders(now=timezone.now())
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=5))
        assert statuses(event) == ["SUCCESS", "SUCCESS"]
    assert not CircuitBreaker.objects.filter(opened_at__isnull=False).exists()


def test_a_line_in_order_costs_one_select_per_batch_and_no_write(open_payment: Open) -> None:
    event = open_payment(*["1.00"] * 20)
    confirm_card(event)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        executor.execute_due_orders(now=timezone.now())
    about = [query["sql"] for query in queries if "circuitbreaker" in query["sql"]]
    assert (len(about), about[0][:6], statuses(event)) == (1, "SELECT", ["SUCCESS"] * 20)


def test_refunds_wait_for_the_line_too_and_go_on_when_it_is_back(
    open_payment: Open, pay: Open, oracle: Oracle, is_away: Callable[[], Psp], use_psp: UsePsp
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    for _refund in range(7):
        refunds.request_refund(order.pk, amount=eur("1.00"), reason="", now=timezone.now())
    back = is_away()
    while refund_executor.execute_due_refunds(now=timezone.now()):
        pass
    tried = PspAttempt.objects.filter(operation="refund", error_code="psp_unavailable").values("refund").distinct().count()
    assert tried == breaker.ACCIDENTS_IN_A_ROW
    use_psp(back)
    now = timezone.now() + timedelta(minutes=1)
    assert refund_executor.execute_due_refunds(now=now) == 1
    Refund.objects.filter(status="EXECUTING", next_attempt_at__gt=now).update(tries=99)
    assert not Refund.objects.filter(tries=99).exists(), "all are due at once"
    while refund_executor.execute_due_refunds(now=now):
        pass
    assert set(Refund.objects.values_list("status", flat=True)) == {"SUCCESS"}
    assert len(oracle.rows("refund.succeeded")) == 7
