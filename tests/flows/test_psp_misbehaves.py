"""Silence, errors, slowness and refusals of the PSP: whatever it answers, each order is charged once and booked once."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ledger import retries
from payments import claims, confirmation, executor
from payments.models import CircuitBreaker, DeadLetter, DueOrder, PaymentEvent, PspAttempt
from payments.psp.protocol import ChargeRequest, Psp, PspOutcomeUnknown
from tests.factories import eur
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
    """Wait for the PSP's answer a second only."""
    return use_psp(sandbox_psp(sandbox, read_timeout_s=1))


def charges() -> QuerySet[PspAttempt]:
    """Return the calls that would take money: look-ups are attempts, too."""
    return PspAttempt.objects.filter(operation="charge").order_by("id")


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
    sandbox.fault(operation="charge", kind=kind, times=3, delay_s=2)
    executor.execute_due_orders(now=timezone.now())
    assert (statuses(event), set(charges().values_list("status", flat=True))) == (["EXECUTING"] * 3, {left})
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
    sandbox.fault(operation="charge", kind="execute_then_silence", times=1, delay_s=2)
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
    assert (statuses(event), charges().get().status) == (["EXECUTING"], "UNKNOWN")
    sandbox.clear_faults()
    executor.execute_due_orders(now=timezone.now() + timedelta(days=25))
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
    assert (statuses(event), charges().get().status) == (["EXECUTING"], "UNKNOWN")
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    executor.execute_due_orders(now=timezone.now() + timedelta(days=20))
    assert statuses(event) == ["EXECUTING"], "that we may not ask says nothing about what happened"
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(days=25))
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
    attempts = list(charges().values_list("status", "psp_key"))
    key = event.orders.get().public_id
    assert attempts == [("NOT_EXECUTED", key)] * 3 + [("SUCCEEDED", key)]
    assert (statuses(event), oracle.charged()) == (["SUCCESS"], [key])


def test_cel_04_past_the_last_try_the_order_fails_nothing_was_charged_and_the_buyer_may_try_again(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    for minutes in range(0, 120, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    assert statuses(event) == ["FAILED", "FAILED"]
    assert set(event.orders.values_list("failure_code", flat=True)) == {"psp_unavailable"}
    assert (oracle.charged(), DueOrder.objects.count(), charges().count()) == ([], 0, 2 * retries.DEFAULT.most_tries)
    assert list(DeadLetter.objects.values_list("reason", flat=True)) == ["tries_exhausted"] * 2
    use_psp(sandbox_psp(sandbox))
    confirm_card(event)
    execute_until_settled()
    assert statuses(event) == ["SUCCESS", "SUCCESS"]


def test_a_wrong_api_key_of_ours_is_not_the_buyers_fault_and_fails_no_order(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    executor.execute_due_orders(now=timezone.now())
    assert (statuses(event), charges().get().status, oracle.charged()) == (["EXECUTING"], "NOT_EXECUTED", [])
    assert CircuitBreaker.objects.get(operation="charge").failures == 1
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=5))
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_a_token_that_covers_less_than_the_basket_charges_no_more_than_it_covers(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    small = session_for(event.orders.order_by("id")[0].amount, VISA, nonce=event.public_id)
    forged = confirmation.Confirmed(small.id, small.payment_token, event.amount)
    confirmation.confirm(event.pk, forged, now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert list(event.orders.order_by("id").values_list("status", "failure_code")) == [("SUCCESS", ""), ("FAILED", "rejected_request")]
    assert len(oracle.charged()) == 1


def test_pg_04_the_psp_is_never_called_while_a_transaction_is_open(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    confirmed = card_given(open_payment("10.00"))
    with pytest.raises(RuntimeError, match="never called inside"), transaction.atomic():
        sandbox_psp(sandbox).session(confirmed.session)


def test_a_lease_is_respected_and_when_it_ends_the_next_one_asks_first(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    answered = charge_and_keep_the_answer(event)
    now = timezone.now()
    assert claims.claim_due(now=now + timedelta(seconds=claims.LEASE_S - 5), limit=10) == []
    works = claims.claim_due(now=now + timedelta(seconds=claims.LEASE_S + 5), limit=10)
    assert [(work.operation, work.attempt_id) for work in works] == [("find", work.attempt_id) for work, _answer in answered]
    for batch in executor.call_all(works):
        executor.hand_over(batch, now=now)
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


def test_an_answer_that_comes_after_its_lease_ended_is_still_believed(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event)
    claims.claim_due(now=timezone.now() + timedelta(hours=1), limit=10)
    executor.hand_over(answered, now=timezone.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_whoever_waits_longest_is_served_first_and_no_more_are_taken_than_asked_for(open_payment: Open) -> None:
    event = open_payment(*["1.00"] * 5)
    confirm_card(event)
    orders = list(event.orders.order_by("-id").values_list("id", flat=True))
    for place, order in enumerate(orders):
        DueOrder.objects.filter(order=order).update(next_attempt_at=timezone.now() - timedelta(minutes=5 - place))
    works = claims.claim_due(now=timezone.now(), limit=2)
    assert {work.order_id for work in works} == set(orders[:2])
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"] * 5


# --- The list of faults -----------------------------------------------------------------------------------------------

WHATEVER_THE_CHARGE_ANSWERS = [
    ("F-04", "reset_before"),
    ("F-05", "execute_then_reset"),
    ("F-06", "execute_then_silence"),
    ("F-07", "execute_then_500"),
    ("F-08", "refuse_500"),
    ("F-09", "throttle"),
    ("F-10", "in_flight"),
    ("F-11", "malformed_json"),
    ("F-12", "cut_body"),
    ("F-13", "html_200"),
    ("F-14", "other_amount"),
    ("F-14", "other_currency"),
    ("F-15", "other_payment"),
    ("F-16", "duplicate_response"),
    ("F-17", "drip"),
    ("F-20", "status_lags"),
    ("F-22", "stored_500"),
]


@pytest.mark.parametrize(
    ("fault", "kind"), WHATEVER_THE_CHARGE_ANSWERS, ids=[f"{fault}-{kind}" for fault, kind in WHATEVER_THE_CHARGE_ANSWERS]
)
def test_f_04_to_f_22_whatever_a_charge_is_answered_it_is_taken_once_and_booked_once(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp], fault: str, kind: str
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, read_timeout_s=0.4, answer_s=0.8))
    sandbox.fault(operation="charge", kind=kind, times=2, **({"delay_s": 0.2} if kind == "drip" else {"delay_s": 1}))
    execute_until_settled()
    event.refresh_from_db()
    assert event.status == "paid"
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


@pytest.mark.parametrize("kind", ["reset_before", "execute_then_500", "throttle", "malformed_json", "cut_body", "html_200", "other_amount",
                                  "other_payment", "duplicate_response", "drip"])  # fmt: skip
def test_f_04_to_f_17_whatever_a_question_is_answered_the_charge_is_found_and_never_sent_again(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp], kind: str
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, read_timeout_s=0.4, answer_s=0.8))
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind=kind, times=2, **({"delay_s": 0.2} if kind == "drip" else {"delay_s": 1}))
    execute_until_settled()
    assert (statuses(event), len(oracle.charged()), charges().count()) == (["SUCCESS"], 1, 1)


@pytest.mark.parametrize("fault", ["F-01", "F-02", "F-03", "F-25"])
def test_f_01_to_f_25_where_no_request_ever_begins_nothing_may_have_been_sent(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp], fault: str
) -> None:
    addresses = sandbox.client.get("/v1/broken_addresses").json()
    event = open_payment("10.00")
    confirm_card(event)
    use_psp(sandbox_psp(sandbox, url=addresses[fault]))
    executor.execute_due_orders(now=timezone.now())
    assert list(charges().values_list("status", "error_code")) == [("NOT_EXECUTED", "psp_unavailable")]
    use_psp(sandbox_psp(sandbox))
    execute_until_settled()
    assert (statuses(event), len(oracle.charged()), DueOrder.objects.count()) == (["SUCCESS"], 1, 0)


def test_f_09_retry_after_is_waited_for(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle", times=1, retry_after_s=600)
    executor.execute_due_orders(now=timezone.now())
    assert executor.execute_due_orders(now=timezone.now() + timedelta(seconds=590)) == 0
    assert executor.execute_due_orders(now=timezone.now() + timedelta(seconds=610)) == 1
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_f_16_an_answer_that_comes_twice_is_never_taken_for_the_next_ones(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    """On one connection after the other, as in a worker that has little to do: each answer is about its own order."""
    psp = use_psp(sandbox_psp(sandbox))
    event = open_payment("10.00")
    sandbox.fault(operation="find", kind="duplicate_response", delay_s=0.1)
    for place in range(6):
        nobody = ChargeRequest(f"ord_nobody_{place}", "", event.amount, f"ord_nobody_{place}")
        assert psp.find_charge(nobody) is None
    answered = charge_and_keep_the_answer(event)
    assert [psp.find_charge(work.request) for work, _answer in answered] == [answer for _work, answer in answered]
    for batch in [answered]:
        executor.hand_over(batch, now=timezone.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_f_17_an_answer_that_drips_is_given_up_when_its_time_is_up_all_bytes_counted_together(sandbox: SandboxCompany) -> None:
    psp = sandbox_psp(sandbox, read_timeout_s=10, answer_s=0.5)
    sandbox.fault(operation="find", kind="drip", delay_s=0.05)
    began = time.monotonic()
    with pytest.raises(PspOutcomeUnknown, match="ReadTimeout"):
        psp.find_charge(ChargeRequest("ord_nobody", "", eur("1.00"), "ord_nobody"))
    assert time.monotonic() - began < 5


def test_f_18_what_is_pending_for_ever_is_asked_for_daily_and_given_to_a_person_after_a_month(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="pending_forever", times=1)
    for days in range(30):
        executor.execute_due_orders(now=timezone.now() + timedelta(days=days))
    assert DueOrder.objects.get().next_attempt_at is not None
    executor.execute_due_orders(now=timezone.now() + timedelta(days=31))
    assert (statuses(event), DueOrder.objects.get().next_attempt_at) == (["EXECUTING"], None)
    assert (DeadLetter.objects.get().reason, charges().get().status) == ("unknown_too_long", "PENDING")


def test_f_20_a_charge_that_cannot_be_looked_up_yet_is_sent_again_under_its_key_and_taken_once(
    open_payment: Open, impatient: Psp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="status_lags", times=1, delay_s=30)
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_f_21_a_key_that_the_psp_has_forgotten_is_only_asked_for_and_never_sent_again(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    executor.execute_due_orders(now=timezone.now())
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    executor.execute_due_orders(now=timezone.now() + timedelta(hours=1))
    sandbox.fault(operation="charge", kind="prune_keys", times=1)
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=timezone.now() + timedelta(hours=21))
    assert (statuses(event), len(oracle.charged()), charges().count()) == (["SUCCESS"], 1, 1)


def test_a_key_older_than_twenty_hours_is_never_sent_again_even_where_nothing_seems_executed(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: Callable[[Psp], Psp]
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    now = timezone.now()
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    assert executor.execute_due_orders(now=now) == 1
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=now + timedelta(hours=20, minutes=1))
    order = event.orders.get()
    assert (order.status, order.failure_code, oracle.charged()) == ("FAILED", "never_charged", [])


def test_f_22_an_error_that_the_psp_stored_is_healed_by_asking_and_one_that_hides_nothing_by_a_person(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="refuse_stored_500", times=1)
    for minutes in range(0, 120, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    assert (statuses(event), DueOrder.objects.get().next_attempt_at) == (["EXECUTING"], None)
    assert (DeadLetter.objects.get().reason, oracle.charged()) == ("tries_exhausted", [])
