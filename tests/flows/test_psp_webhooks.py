"""Webhooks: stored before they are acknowledged, applied once, in any order and as often as they come; or parked with the reason."""

import itertools
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ledger.models import JournalEntry
from payments import confirmation, executor, inbox
from payments.models import LateCharge, PaymentEvent, PspEvent
from payments.psp.protocol import ChargeRequest, Psp
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    card_given,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
    session_for,
    statuses,
)
from tests.fixtures_services import Delivery, SandboxCompany
from tests.webhooks import ADDRESS, apply, deliveries, event_about, post, signed

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]


def test_a_webhook_alone_settles_what_the_executor_did_not_live_to_settle(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00", "20.00")
    charge_and_keep_the_answer(event)
    for delivery in deliveries(sandbox, oracle, "charge.succeeded", count=2):
        assert post(delivery) == 200
    assert statuses(event) == ["EXECUTING", "EXECUTING"], "an acknowledged webhook is stored, nothing more"
    assert apply() == [("charge.succeeded", "applied", "")] * 2
    event.refresh_from_db()
    assert event.status == "paid"


def test_bug_02_the_executor_comes_after_the_webhook_and_finds_the_work_done(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    answered = charge_and_keep_the_answer(event)
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(delivery)
    apply()
    executor.hand_over(answered, now=timezone.now())
    assert JournalEntry.objects.count() == 1


def test_bug_02_the_webhook_comes_after_the_executor_and_finds_the_work_done(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    pay(open_payment("10.00"))
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(delivery)
    assert apply() == [("charge.succeeded", "applied", "")]
    assert JournalEntry.objects.count() == 1


def test_bug_45_a_webhook_that_comes_a_hundred_times_is_stored_once(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    pay(open_payment("10.00"))
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    assert {post(delivery) for _time in range(50)} == {200}
    apply()
    assert {post(delivery) for _time in range(50)} == {200}
    assert apply() == [("charge.succeeded", "applied", "")]


def test_the_psp_doubles_its_webhooks_and_nothing_happens_twice(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = pay(open_payment("10.00"), "4000000000009060")
    oracle.wait_for("webhook.delivered", count=3)
    twice = [delivery for delivery in sandbox.letterbox.deliveries if event.orders.get().public_id.encode() in delivery[1]]
    assert len(twice) == 2
    assert [post(delivery) for delivery in twice] == [200, 200]
    assert apply() == [("charge.succeeded", "applied", "")]


def test_a_lost_webhook_is_not_missed(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = pay(open_payment("10.00"), "4000000000009052")
    assert (event.status, len(oracle.rows("webhook.lost"))) == ("paid", 1)


@pytest.mark.parametrize(
    "forgery",
    [
        lambda sandbox, event: signed(sandbox, event, secret="whsec_" + "x" * 30),
        lambda sandbox, event: signed(sandbox, event, at=time.time() - 301),
        lambda sandbox, event: signed(sandbox, event, at=time.time() + 330),
        lambda sandbox, event: signed(sandbox, event | {"account": "acct_other"}),
        lambda sandbox, event: ({}, json.dumps(event).encode()),
        lambda sandbox, event: (signed(sandbox, event)[0], json.dumps(event | {"id": "evt_2"}).encode()),
        lambda sandbox, event: signed(sandbox, event | {"note": "\x00"}),
        lambda sandbox, event: signed(sandbox, event | {"data": {"object": event["data"]["object"] | {"currency": "XXX"}}}),
        lambda sandbox, event: signed(sandbox, event | {"data": {"object": event["data"]["object"] | {"amount": "ten"}}}),
        lambda sandbox, event: signed(sandbox, event | {"data": []}),
        lambda sandbox, event: signed(sandbox, event | {"id": 7}),
        lambda sandbox, event: signed(sandbox, event | {"type": None}),
    ],
    ids=[
        "other secret",
        "old",
        "future",
        "other account",
        "unsigned",
        "changed",
        "NUL",
        "no currency",
        "no number",
        "no data",
        "id",
        "type",
    ],
)
def test_sec_14_what_the_psp_did_not_sign_for_us_now_is_refused_and_not_kept(
    open_payment: Open, sandbox: SandboxCompany, forgery: Callable[..., Delivery]
) -> None:
    event = open_payment("10.00")
    assert post(forgery(sandbox, event_about(event))) == 400
    assert not PspEvent.objects.exists()
    assert statuses(event) == ["NOT_STARTED"]


def test_an_address_of_no_psp_is_not_found_and_only_post_is_heard(books_hold: None, sandbox: SandboxCompany) -> None:
    assert post(({}, b"{}"), to="/webhooks/psp/nobody") == 404
    assert Client().get(ADDRESS).status_code == 405


def test_a_body_larger_than_any_event_is_not_read(open_payment: Open, sandbox: SandboxCompany) -> None:
    huge = event_about(open_payment("10.00"), note="x" * (5 * 1024 * 1024))
    assert post(signed(sandbox, huge)) == 413


def test_a_webhook_whose_length_is_no_number_is_refused(books_hold: None, sandbox: SandboxCompany) -> None:
    for address in (ADDRESS, "/webhooks/payouts/sandbox"):
        assert Client().post(address, b"{}", content_type="application/json", headers={"Content-Length": "many"}).status_code == 400


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"charge": {"key": "ord_nobody"}}, "no attempt has this key"),
        ({"charge": {"key": ""}}, "no attempt has this key"),
        ({"charge": {"amount": 999}}, "9.99"),
        ({"charge": {"currency": "USD"}}, "$10.00"),
        ({"type": "payout.paid"}, "nothing is done with payout.paid"),
        ({"type": "refund.succeeded"}, "no refund has this key"),
        ({"charge": {"status": "reversed"}}, "a status that we do not know"),
        ({"type": "refund.failed", "charge": {"amount": "many"}}, "not a charge"),
        ({"type": "x" * 500}, "nothing is done with xxx"),
    ],
    ids=["unknown key", "no key", "less", "other currency", "unknown type", "refund", "unknown status", "garbled refund", "long type"],
)
def test_bug_46_what_cannot_be_applied_is_parked_with_its_reason(
    open_payment: Open, sandbox: SandboxCompany, changed: dict[str, Any], reason: str
) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    assert post(signed(sandbox, event_about(event, **changed))) == 200
    [(_type, status, said)] = apply()
    assert status == "parked"
    assert reason in said.replace("€", "")
    assert statuses(event) == ["EXECUTING"]
    execute_until_settled()


def test_bug_42_word_of_an_order_that_nobody_charged_is_parked(open_payment: Open, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    post(signed(sandbox, event_about(event)))
    assert [status for _type, status, _reason in apply()] == ["parked"]
    assert statuses(event) == ["NOT_STARTED"]


def test_one_event_that_cannot_be_applied_holds_up_no_other(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    strange: list[dict[str, Any]] = [
        {"charge": {"key": "ord_x"}},
        {"type": "new.thing"},
        {"charge": {"status": "reversed"}},
    ]
    for number, changed in enumerate(strange):
        post(signed(sandbox, event_about(event, id=f"evt_{number}", **changed)))
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(delivery)
    apply()
    assert statuses(event) == ["SUCCESS"]
    assert PspEvent.objects.filter(status="received").count() == 0


def test_bug_44_an_event_whose_mark_was_lost_is_applied_again_without_effect(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    pay(open_payment("10.00"))
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(delivery)
    for _death in range(3):
        inbox.verdicts_on(list(PspEvent.objects.all()), now=timezone.now())
    assert apply() == [("charge.succeeded", "applied", "")]
    assert JournalEntry.objects.count() == 1


def test_bug_41_in_whatever_order_and_how_often_events_come_the_end_is_the_same(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """Twenty orders, declined and then paid; each hears of it in another order of three failures and three successes."""
    orders_of_events = sorted(set(itertools.permutations("fffsss")))
    event = pay(open_payment(*["1.00"] * len(orders_of_events)), DECLINED)
    answered = charge_and_keep_the_answer(event, VISA)
    told = {kind: deliveries(sandbox, oracle, kind, count=len(orders_of_events)) for kind in ("charge.failed", "charge.succeeded")}
    for moment in range(6):
        for place, permutation in enumerate(orders_of_events):
            kind = "charge.failed" if permutation[moment] == "f" else "charge.succeeded"
            assert post(told[kind][place]) == 200
        apply()
        if moment == 3:
            executor.hand_over(answered, now=timezone.now())
    assert statuses(event) == ["SUCCESS"] * len(orders_of_events)
    assert JournalEntry.objects.count() == len(orders_of_events)


def test_a_charge_that_is_pending_ends_by_webhook(open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    good, bad = pay(open_payment("10.00"), "4000000000009110"), pay(open_payment("10.00"), "4000000000009128")
    assert [*statuses(good), *statuses(bad)] == ["EXECUTING", "EXECUTING"]
    assert confirmation.confirm(bad.pk, card_given_elsewhere(bad), now=timezone.now()) == [], "no second try while one is pending"
    ends = [
        *deliveries(sandbox, oracle, "charge.succeeded", count=1),
        *deliveries(sandbox, oracle, "charge.failed", count=1),
        *deliveries(sandbox, oracle, "charge.pending", count=2),
    ]
    for delivery in ends:
        assert post(delivery) == 200
    assert {status for _type, status, _reason in apply()} == {"applied"}
    assert [*statuses(good), *statuses(bad)] == ["SUCCESS", "FAILED"]
    assert pay(bad).status == "paid"


def card_given_elsewhere(event: PaymentEvent) -> confirmation.Confirmed:
    session = session_for(event.amount, VISA, nonce=f"{event.public_id}:again")
    return confirmation.Confirmed(session.id, session.payment_token, session.amount)


def test_bug_13_money_that_comes_after_all_under_a_key_that_was_given_up_goes_back_to_the_buyer(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp
) -> None:
    """The first try was given up as not executed, the buyer paid again, and then the PSP executed the first try as well."""
    event = open_payment("10.00")
    confirmed = card_given(event)
    confirmation.confirm(event.pk, confirmed, now=timezone.now())
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:1"))
    execute_until_settled()
    psp = use_psp(sandbox_psp(sandbox))
    confirm_card(event)
    execute_until_settled()
    order = event.orders.get()
    assert order.status == "SUCCESS"
    psp.charge(ChargeRequest(key=order.public_id, payment_token=confirmed.payment_token, amount=order.amount, reference=order.public_id))
    for delivery in deliveries(sandbox, oracle, "charge.succeeded", count=2):
        post(delivery)
    assert {status for _type, status, _reason in apply()} == {"applied"}
    assert LateCharge.objects.get().amount == order.amount
    execute_refunds(now=timezone.now() + timedelta(minutes=1))
    assert len(oracle.rows("refund.succeeded")) == 1
