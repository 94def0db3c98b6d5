"""Dead letters: what the machine gives up on reaches a person with its reason, and each decision is carried out once and written down."""

import importlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger.approvals import AlreadyDecided, ReasonMissing
from ledger.models import JournalEntry
from payments import (
    cancellations,
    claims,
    confirmation,
    dead_letters,
    disputes,
    executor,
    inbox,
    late,
    refund_executor,
    refunds,
    rescue,
    settlement,
)
from payments.models import CircuitBreaker, DeadLetter, DueOrder, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund, Transition
from payments.psp import registry
from payments.psp.protocol import Psp, PspUnavailable
from payments.psp.sandbox import dispute_of
from payments.rescue import NotToRescue
from tests.factories import eur
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    all_at_once,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
    session_for,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_given_up_is_not_not_taken import Misbehaving, raising
from tests.flows.test_late_charges import end, given_up, owed
from wallet.models import OutboxMessage

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]
ACTOR = "staff:grace"


def bury(order: PaymentOrder, *, reason: str = dead_letters.UNKNOWN_TOO_LONG, refund: Refund | None = None) -> DeadLetter:
    with transaction.atomic():
        dead_letters.bury(order.pk, refund_id=refund.pk if refund else None, reason=reason, detail="as the test says")
    return DeadLetter.objects.get(order=order, refund=refund, decided_at=None)


def left_unknown(event: PaymentEvent, sandbox: SandboxCompany, *, kind: str = "execute_then_500") -> DeadLetter:
    """Let the event's only order be charged (or not), be unknown to us, and be given up."""
    confirm_card(event)
    sandbox.fault(operation="charge", kind=kind, times=1)
    executor.execute_due_orders(now=timezone.now())
    return bury(event.orders.get())


def last_transition(order: PaymentOrder) -> tuple[str, str, str]:
    last = Transition.objects.filter(kind="order", object_id=order.pk).order_by("-id")[0]
    return last.after, last.actor, last.reason


# --- How a letter comes about -----------------------------------------------------------------------------------------


def test_what_is_given_up_is_never_claimed_again_and_has_one_open_letter(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    assert bury(event.orders.get()).pk == letter.pk
    assert caplog.text.count("waits for a person") == 1
    assert [bury(event.orders.get(), reason=dead_letters.WORKER_DIED).reason for _time in range(2)] == ["worker_died"] * 2
    assert (DeadLetter.objects.count(), caplog.text.count("waits for a person")) == (1, 2)
    assert claims.claim_due(now=timezone.now() + timedelta(days=400), limit=10) == []
    assert statuses(event) == ["EXECUTING"]
    assert list(dead_letters.waiting()) == [letter]
    rescue.redrive(letter.pk, actor=ACTOR, note="look again", now=timezone.now())
    execute_until_settled()


def test_an_order_over_which_eight_workers_died_is_left_to_a_person(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    poisoned, healthy = event.orders.order_by("id")
    DueOrder.objects.filter(order=healthy).update(next_attempt_at=timezone.now() + timedelta(days=9))
    now = timezone.now()
    for death in range(claims.MOST_DEATHS):
        assert len(claims.claim_due(now=now + timedelta(minutes=2 * death), limit=10)) == 1
    assert claims.claim_due(now=now + timedelta(hours=1), limit=10) == []
    assert (DeadLetter.objects.get().reason, DeadLetter.objects.get().order_id) == ("worker_died", poisoned.pk)
    rescue.redrive(DeadLetter.objects.get().pk, actor=ACTOR, note="mended", now=timezone.now())
    DueOrder.objects.update(next_attempt_at=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


def test_what_cannot_be_booked_is_tried_eight_times_and_holds_nobody_else_up(
    open_payment: Open, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    spoilt = event.orders.order_by("id")[0]
    whole = settlement.sale

    def sale(order: Any, capture: Any, **parts: Any) -> Any:
        if order.id == spoilt.pk:
            raise ValueError("this one cannot be booked")
        return whole(order, capture, **parts)

    monkeypatch.setattr(settlement, "sale", sale)
    for days in range(12):
        executor.execute_due_orders(now=timezone.now() + timedelta(days=days))
    assert statuses(event) == ["EXECUTING", "SUCCESS"]
    letter = DeadLetter.objects.get()
    assert (letter.order_id, letter.reason, letter.detail) == (spoilt.pk, "cannot_be_booked", "this one cannot be booked")
    assert PspAttempt.objects.filter(order=spoilt, operation="find").count() == 7
    assert DueOrder.objects.get().deaths == 0
    monkeypatch.setattr(settlement, "sale", whole)
    rescue.redrive(letter.pk, actor=ACTOR, note="the account is open now", now=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


def test_an_order_that_was_cancelled_while_it_was_called_for_is_not_put_back_nor_given_up(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    [work] = claims.claim_due(now=timezone.now(), limit=10)
    answer = executor.call(work)
    cancellations.cancel_order(event.orders.get().pk, reason="", once="", requested_by=ACTOR, now=timezone.now())
    executor.hand_over([(work, answer)], now=timezone.now())
    assert DueOrder.objects.get().next_attempt_at <= timezone.now()  # type: ignore[operator]
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["CANCELLED"]


# --- What a person decides --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "charged"), [("execute_then_500", 1), ("refuse_500", 1)])
def test_an_order_that_is_tried_again_is_asked_for_first_and_taken_once(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, kind: str, charged: int
) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox, kind=kind)
    rescue.redrive(letter.pk, actor=ACTOR, note="the PSP is back", now=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], charged)
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by, letter.note) == ("redrive", ACTOR, "the PSP is back")


def test_bug_13_an_order_failed_by_a_person_that_was_charged_after_all_is_booked_or_given_back(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """The buyer has paid again meanwhile, so that the first charge goes back."""
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    order = event.orders.get()
    rescue.fail(letter.pk, actor=ACTOR, note="no answer for a month", now=timezone.now())
    assert last_transition(order) == ("FAILED", ACTOR, "no answer for a month")
    order.refresh_from_db()
    assert (order.failure_code, DueOrder.objects.count()) == ("given_up", 0)
    told = OutboxMessage.objects.filter(about=order.public_id).order_by("sequence").values_list("topic", "sequence")
    assert list(told) == [("payment_order.failed", 1)]
    confirm_card(event)
    execute_until_settled()
    deliver_webhooks(sandbox, oracle)
    execute_refunds(now=timezone.now())
    assert (statuses(event), len(oracle.charged()), LateCharge.objects.count()) == (["SUCCESS"], 2, 1)
    assert len(oracle.rows("refund.succeeded")) == 1


def deliver_webhooks(sandbox: SandboxCompany, oracle: Oracle) -> None:
    """Let our inbox have what the PSP told about this test's charges."""
    oracle.wait_for("webhook.delivered", count=len(oracle.charged()))
    charged = {row["object_id"] for row in oracle.rows("charge.succeeded")}
    for headers, body in list(sandbox.letterbox.deliveries):
        if any(charge.encode() in body for charge in charged):
            notice = registry.psp_named("sandbox").verify_webhook(body, headers, now=timezone.now())
            inbox.store("sandbox", notice, body=body.decode())
    inbox.apply_received(now=timezone.now())


@pytest.mark.parametrize(("kind", "rows"), [("execute_then_500", ["charge.succeeded", "charge.voided"]), ("refuse_500", [])])
def test_an_order_that_is_voided_takes_nothing_whatever_had_become_of_its_charge(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, kind: str, rows: list[str]
) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox, kind=kind)
    rescue.void(letter.pk, actor=ACTOR, note="the buyer does not wait", now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["CANCELLED"]
    assert [row["type"] for row in oracle.rows("charge.succeeded", "charge.voided")] == rows
    assert DeadLetter.objects.get().decision == "void"
    assert JournalEntry.objects.count() == 0


def test_a_void_that_comes_too_late_gives_back_what_was_taken(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    sandbox.client.put("/v1/clock", json={"offset_s": 25 * 3600}).raise_for_status()
    rescue.void(letter.pk, actor=ACTOR, note="too late", now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    execute_refunds(now=timezone.now())
    assert statuses(event) == ["SUCCESS"]
    assert len(oracle.rows("refund.succeeded")) == 1
    assert list(PspAttempt.objects.filter(operation="void").values_list("status", "error_code")) == [("NOT_EXECUTED", "not_voidable")]
    cancellations.follow(now=timezone.now())
    assert event.orders.get().cancellations.get().outcome == "refunded"


@pytest.mark.parametrize("kind", ["execute_then_500", "refuse_500", "throttle", "html_200", "in_flight"])
def test_a_void_whose_answer_is_lost_is_sent_again(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, kind: str) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    sandbox.fault(operation="void", kind=kind, times=2)
    rescue.void(letter.pk, actor=ACTOR, note="the buyer does not wait", now=timezone.now())
    execute_until_settled()
    assert statuses(event) == ["CANCELLED"]
    assert PspAttempt.objects.filter(operation="void").count() == 3


def test_an_order_whose_tries_were_used_up_is_charged_again_while_its_checkout_is_open(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle")
    for minutes in range(0, 60, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    letter = DeadLetter.objects.get()
    assert (statuses(event), letter.reason) == (["FAILED"], "tries_exhausted")
    assert dead_letters.close_settled(now=timezone.now()) == 0, "finance is to see it although the order failed"
    sandbox.clear_faults()
    rescue.redrive(letter.pk, actor=ACTOR, note="the PSP is back", now=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_an_order_that_is_charged_again_is_charged_with_its_own_token(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    """Another order of its checkout was started with other payment details since."""
    event = open_payment("10.00", "20.00")
    first, second = event.orders.order_by("id")
    tokens = [session_for(each.amount, VISA, nonce=f"{each.public_id}:own").payment_token for each in (first, second)]
    use_psp(Misbehaving(sandbox_psp(sandbox), charge=raising(PspUnavailable("away"))))
    now = timezone.now()
    confirmation.confirm_order(first.pk, payment_token=tokens[0], once="the first", now=now)
    for minutes in range(0, 60, 3):
        executor.execute_due_orders(now=now + timedelta(minutes=minutes))
    CircuitBreaker.objects.all().delete()
    use_psp(sandbox_psp(sandbox))
    confirmation.confirm_order(second.pk, payment_token=tokens[1], once="the second", now=now)
    execute_until_settled()
    rescue.redrive(DeadLetter.objects.get().pk, actor=ACTOR, note="the PSP is back", now=timezone.now())
    assert DueOrder.objects.get().payment_token == tokens[0]
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


def test_orders_that_can_still_be_charged_got_their_token_by_the_migration(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    executing, failed = event.orders.order_by("id")
    token = DueOrder.objects.get(order=executing).payment_token
    PaymentOrder.objects.update(payment_token="")
    rescue.fail(bury(failed).pk, actor=ACTOR, note="nobody knows", now=timezone.now())
    migration = importlib.import_module("payments.migrations.0012_tokens_of_orders_and_calls_that_were_given_up")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('session_replication_role', 'replica', true)")  # no trigger waits while the column comes and goes
        cursor.execute("ALTER TABLE payments_paymentevent ADD COLUMN payment_token text NOT NULL DEFAULT 'tok_latest'")
        cursor.execute(migration.KEEP_TOKENS)
        cursor.execute("ALTER TABLE payments_paymentevent DROP COLUMN payment_token")
    assert list(event.orders.order_by("id").values_list("payment_token", flat=True)) == [token, "tok_latest"]
    execute_until_settled()


def test_an_order_that_was_declined_since_is_not_charged_again(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle")
    for minutes in range(0, 60, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    sandbox.clear_faults()
    confirm_card(event, DECLINED)
    execute_until_settled()
    assert statuses(event) == ["FAILED"]
    letter = bury(event.orders.get(), reason=dead_letters.TRIES_EXHAUSTED)
    with pytest.raises(NotToRescue, match="the buyer may pay again"):
        rescue.redrive(letter.pk, actor=ACTOR, note="again", now=timezone.now())
    rescue.fail(letter.pk, actor=ACTOR, note="taken note of", now=timezone.now())
    assert statuses(event) == ["FAILED"]


def test_a_letter_about_an_order_that_the_buyer_pays_again_is_closed_and_decides_nothing_over_the_second_try(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle")
    for minutes in range(0, 60, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    sandbox.clear_faults()
    CircuitBreaker.objects.all().delete()
    first = DeadLetter.objects.get()
    answered = charge_and_keep_the_answer(event)
    first.refresh_from_db()
    assert (first.decision, first.decided_by, first.note) == ("settled", "machine", "The buyer pays again.")
    with pytest.raises(AlreadyDecided):
        rescue.fail(first.pk, actor=ACTOR, note="taken note of", now=timezone.now())
    caplog.clear()
    second = bury(event.orders.get())
    assert (second.reason, second.pk != first.pk, "waits for a person" in caplog.text) == ("unknown_too_long", True, True)
    executor.hand_over(answered, now=timezone.now())
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"], 1)


def test_a_charge_that_comes_after_its_order_was_given_up_closes_the_letter_about_it(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    bury(event.orders.get(), reason=dead_letters.TRIES_EXHAUSTED)
    late.settle(captures)
    assert (statuses(event), dead_letters.waiting().exists()) == (["SUCCESS"], False)


def test_a_decision_locks_in_the_order_of_whoever_claims_and_writes_a_letter(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    with CaptureQueriesContext(connection) as said:
        rescue.redrive(letter.pk, actor=ACTOR, note="again", now=timezone.now())
    locks = [query["sql"].split('FROM "')[1].split('"')[0] for query in said.captured_queries if "FOR " in query["sql"]]
    assert locks == ["payments_paymentevent", "payments_paymentorder", "payments_dueorder", "payments_deadletter"]
    execute_until_settled()


def test_a_long_note_is_cut_wherever_a_person_decides(open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    order = pay(open_payment("10.00")).orders.get()
    refund = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    bury(order, refund=refund)
    rescue.stop_refund_retries(refund.pk, actor=ACTOR, note="x" * 600, now=timezone.now())
    event = open_payment("20.00")
    left_unknown(event, sandbox)
    rescue.stop_retries(event.orders.get().pk, actor=ACTOR, note="x" * 600, now=timezone.now())
    assert [len(letter.note) for letter in DeadLetter.objects.all()] == [500, 500]
    execute_until_settled()


def test_a_refund_is_tried_again_or_failed_and_can_be_asked_for_anew(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    first, second = (refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now()) for _refund in range(2))
    again, failed = bury(order, refund=first), bury(order, refund=second)
    assert refund_executor.execute_due_refunds(now=timezone.now() + timedelta(days=40)) == 0
    with pytest.raises(NotToRescue, match="cannot be voided"):
        rescue.void(again.pk, actor=ACTOR, note="no", now=timezone.now())
    rescue.redrive(again.pk, actor=ACTOR, note="yes", now=timezone.now())
    rescue.fail(failed.pk, actor=ACTOR, note="paid by bank", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert list(Refund.objects.order_by("id").values_list("status", "failure_code")) == [("SUCCESS", ""), ("FAILED", "given_up")]
    order.refresh_from_db()
    assert order.refunded == eur("4.00")
    refunds.request_refund(order.pk, amount=eur("6.00"), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert sum(row["amount"] for row in oracle.rows("refund.succeeded")) == 1000


def stopped(refund: Refund) -> None:
    rescue.stop_refund_retries(refund.pk, actor=ACTOR, note="the buyer closed the account", now=timezone.now())


def stopped_as_a_dead_letter(refund: Refund) -> None:
    letter = bury(refund.order, reason=dead_letters.TRIES_EXHAUSTED, refund=refund)
    stopped(refund)
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by) == ("fail", ACTOR)


def failed_by_a_person(refund: Refund) -> None:
    letter = bury(refund.order, reason=dead_letters.TRIES_EXHAUSTED, refund=refund)
    rescue.fail(letter.pk, actor=ACTOR, note="the PSP is gone", now=timezone.now())
    letter.refresh_from_db()
    assert (letter.reason, letter.decision, letter.decided_by) == ("tries_exhausted", "fail", ACTOR)


def refused_after_it_was_given_up(refund: Refund) -> None:
    bury(refund.order, refund=refund)
    settlement.fail_refund(refund.pk, psp_reference="re_refused", code="account_closed")


@pytest.mark.parametrize("ended", [stopped, stopped_as_a_dead_letter, failed_by_a_person, refused_after_it_was_given_up])
def test_a_late_charge_that_is_not_given_back_waits_for_a_person_however_its_refund_ended(
    open_payment: Open, oracle: Oracle, caplog: pytest.LogCaptureFixture, ended: Callable[[Refund], None]
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    end(event)
    late.settle(captures)
    refund = Refund.objects.get()
    ended(refund)
    assert dead_letters.close_settled(now=timezone.now()) == 0
    letter = dead_letters.waiting().get()
    assert (letter.reason, letter.refund_id, owed()) == ("late_charge_not_given_back", refund.pk, eur("10.00"))
    assert "10.00" in letter.detail
    assert f"{letter.public_id} waits for a person: late_charge_not_given_back" in caplog.text
    assert bury(event.orders.get(), reason=dead_letters.WORKER_DIED, refund=refund).reason == "late_charge_not_given_back"
    rescue.redrive(letter.pk, actor=ACTOR, note="another one", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert (owed(), len(oracle.rows("refund.succeeded"))) == (eur("0.00"), 1)
    assert not dead_letters.waiting().exists()


def test_a_late_charge_is_not_refunded_again_while_it_is_disputed(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    """The buyer's bank has the money, and may keep it."""
    event = open_payment("10.00")
    [capture] = given_up(event)
    end(event)
    late.settle([capture])
    stopped(Refund.objects.get())
    letter = dead_letters.waiting().get()
    told = sandbox.client.post("/v1/disputes", json={"charge": capture.psp_reference}).json()
    disputes.open_dispute(dispute_of(told), psp="sandbox")
    with pytest.raises(NotToRescue, match="is disputed"):
        rescue.redrive(letter.pk, actor=ACTOR, note="another one", now=timezone.now())
    decided = sandbox.client.post(f"/v1/disputes/{told['id']}/close", json={"outcome": "won"}).json()
    disputes.close_dispute(dispute_of(decided), psp="sandbox")
    rescue.redrive(letter.pk, actor=ACTOR, note="another one", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert (owed(), len(oracle.rows("refund.succeeded"))) == (eur("0.00"), 1)


@pytest.mark.race
def test_two_people_who_decide_at_once_do_not_both_decide(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    for _round in range(4):
        event = open_payment("10.00")
        letter = left_unknown(event, sandbox)
        answers = all_at_once(
            *[
                partial(decide, letter.pk, actor=ACTOR, note="at once", now=timezone.now())
                for decide in (rescue.redrive, rescue.fail, rescue.void)
            ]
        )
        assert [type(error) for error in errors_in(answers)] == [AlreadyDecided] * 2
        execute_until_settled()
        letter.refresh_from_db()
        assert statuses(event) == {"redrive": ["SUCCESS"], "fail": ["FAILED"], "void": ["CANCELLED"]}[letter.decision]
        if letter.decision == "fail":
            deliver_webhooks(sandbox, oracle)
            assert statuses(event) == ["SUCCESS"], "it was charged, and its checkout is open: it is paid"


def test_a_decision_needs_its_reason_and_its_actor(open_payment: Open, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    with pytest.raises(ReasonMissing):
        rescue.redrive(letter.pk, actor=ACTOR, note="  ", now=timezone.now())
    with pytest.raises(IntegrityError, match="a_decision_has_its_actor"):
        rescue.redrive(letter.pk, actor="", note="nobody", now=timezone.now())
    rescue.redrive(letter.pk, actor=ACTOR, note="somebody", now=timezone.now())
    execute_until_settled()


def test_what_came_to_its_end_meanwhile_leaves_the_list_by_itself(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event, other = open_payment("10.00"), open_payment("20.00")
    letter = left_unknown(event, sandbox)
    stays = left_unknown(other, sandbox)
    order = event.orders.get()
    attempt = order.attempts.get(operation="charge")
    [found] = sandbox.client.get("/v1/charges", params={"key": attempt.psp_key}).json()["data"]
    settlement.settle([settlement.Capture(order.pk, attempt.pk, attempt.psp_key, found["id"], order.amount, timezone.now())])
    with pytest.raises(NotToRescue, match="SUCCESS"):
        rescue.fail(letter.pk, actor=ACTOR, note="gone", now=timezone.now())
    assert dead_letters.close_settled(now=timezone.now()) == 1
    assert list(dead_letters.waiting()) == [stays]
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by) == ("settled", "machine")
    rescue.redrive(stays.pk, actor=ACTOR, note="look", now=timezone.now())
    execute_until_settled()


# --- The commands -----------------------------------------------------------------------------------------------------


def test_the_commands_list_decide_and_say_who_and_why(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [open_payment("10.00") for _event in range(3)]
    letters = [left_unknown(event, sandbox) for event in events]
    call_command("dead_letters")
    listed = capsys.readouterr()
    assert [line.split()[0] for line in listed.out.splitlines()] == [letter.public_id for letter in letters]
    assert "10.00 EUR" in listed.out
    assert "3 dead letters wait" in listed.err
    for command, letter in zip(("redrive", "fail_dead_letter", "void_dead_letter"), letters, strict=True):
        call_command(command, letter.public_id, "--actor", "grace", "--note", f"by {command}")
    assert [statuses(event) for event in events] == [["EXECUTING"], ["FAILED"], ["EXECUTING"]]
    execute_until_settled()
    assert [statuses(event) for event in events] == [["SUCCESS"], ["FAILED"], ["CANCELLED"]]
    assert last_transition(events[1].orders.get()) == ("FAILED", "shell:grace", "by fail_dead_letter")
    with pytest.raises(CommandError, match="was decided by shell:grace"):
        call_command("redrive", letters[0].public_id, "--actor", "ada", "--note", "me too")
    with pytest.raises(CommandError, match="Say who decides"):
        call_command("redrive", letters[0].public_id, "--actor", " ", "--note", "me too")
    with pytest.raises(CommandError, match="There is no dead letter 'dl_none'"):
        call_command("redrive", "dl_none", "--actor", "ada", "--note", "me too")
    deliver_webhooks(sandbox, oracle)
    assert statuses(events[1]) == ["SUCCESS"], "it was charged, and its checkout is open: it is paid"
