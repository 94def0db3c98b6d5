"""Webhooks that come too early, in a strange form, or about somebody else: kept, looked at again where that may help, never dropped."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from ledger.models import JournalEntry
from payments import cancellations, claims, confirmation, dead_letters, inbox, refunds, rescue
from payments.models import DeadLetter, PaymentEvent, PspEvent, Refund
from payments.psp import registry
from payments.psp.protocol import ChargeRequest, RefundRequest
from tests.factories import eur
from tests.fixtures_money import (
    Oracle,
    card_given,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from tests.webhooks import apply, deliveries, event_about, post, signed

Open = Callable[..., PaymentEvent]
SUCCEEDS_THEN_FAILS = "4000000000005126"


def due_again() -> list[datetime]:
    return [event.next_attempt_at for event in PspEvent.objects.all() if event.next_attempt_at is not None]


def apply_at(now: datetime) -> list[str]:
    while inbox.apply_received(now=now):
        pass
    return list(PspEvent.objects.order_by("id").values_list("status", flat=True))


# --- Too early ------------------------------------------------------------------------------------------------------


def test_bug_42_word_of_a_charge_that_comes_before_our_own_row_is_applied_once_later(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    order, confirmed, now = event.orders.get(), card_given(event), timezone.now()
    request = ChargeRequest(order.public_id, confirmed.payment_token, order.amount, reference=order.public_id)
    registry.psp_named("sandbox").charge(request)  # faster than the commit that comes before it
    [delivery] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(delivery)
    assert (apply_at(now), statuses(event)) == (["parked"], ["NOT_STARTED"])
    assert PspEvent.objects.get().reason == "no attempt has this key"
    confirmation.confirm(event.pk, confirmed, now=now)
    claims.claim_due(now=now, limit=1)
    assert inbox.apply_received(now=now + timedelta(seconds=4)) == 0
    assert (apply_at(now + timedelta(seconds=5)), statuses(event)) == (["applied"], ["SUCCESS"])
    assert (due_again(), PspEvent.objects.get().reason, JournalEntry.objects.count()) == ([], "", 1)


def test_what_never_becomes_ours_is_looked_at_for_three_days_and_then_left_to_a_person(
    open_payment: Open, sandbox: SandboxCompany, caplog: pytest.LogCaptureFixture
) -> None:
    post(signed(sandbox, event_about(open_payment("10.00"))))
    now, waits = timezone.now(), []
    while inbox.apply_received(now=now) and due_again():
        [next_look] = due_again()
        waits.append(int((next_look - now).total_seconds()))
        now = next_look
    assert waits == [5, 30, 120, 600, 3600, 21600, 86400, 86400, 86400]
    assert (PspEvent.objects.get().status, PspEvent.objects.get().tries) == ("parked", 9)
    assert "not looked at again" in caplog.text


def test_a_parked_event_is_applied_when_a_person_has_it_looked_at_again(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    [(_headers, body)] = deliveries(sandbox, oracle, "charge.succeeded", count=1)
    post(signed(sandbox, json.loads(body) | {"api_version": "2099-01-01"}))
    apply()
    PspEvent.objects.update(body=json.loads(body))  # as if a release could read it by now
    assert [status for _type, status, _reason in apply()] == ["parked"], "nothing happens by itself"
    assert inbox.look_again(PspEvent.objects.values_list("pk", flat=True)) == 1
    assert [status for _type, status, _reason in apply()] == ["applied"]
    assert inbox.look_again(PspEvent.objects.values_list("pk", flat=True)) == 0, "what is applied stays applied"
    assert statuses(event) == ["SUCCESS"]


# --- Strange --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"type": "charge.teleported"}, "nothing is done with charge.teleported"),
        ({"type": "payout.paid"}, "nothing is done with payout.paid"),
        ({"api_version": "2099-01-01"}, "we do not read events of api_version '2099-01-01'"),
        ({"api_version": 7}, "we do not read events of api_version '7'"),
        ({"type": "dispute.opened"}, "not a dispute"),
        ({"charge": {"reference": "basket-7", "key": "basket-7"}}, "no attempt has this key"),
    ],
    ids=["type", "family", "version", "no version", "garbled dispute", "not ours"],
)
def test_bug_46_what_we_do_not_know_is_parked_with_a_warning_and_waits_for_a_person(
    open_payment: Open, sandbox: SandboxCompany, caplog: pytest.LogCaptureFixture, changed: dict[str, Any], reason: str
) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    assert post(signed(sandbox, event_about(event, **changed))) == 200
    with caplog.at_level(logging.WARNING):
        [(_type, status, said)] = apply()
    assert (status, due_again()) == ("parked", [])
    assert reason in said
    assert reason in caplog.text
    execute_until_settled()


def test_word_of_another_psp_about_our_keys_is_not_believed(open_payment: Open, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    charge_and_keep_the_answer(event)
    post(signed(sandbox, event_about(event, charge={"status": "failed"})))
    PspEvent.objects.update(psp="elsewhere")
    assert [status for _type, status, _reason in apply()] == ["parked"]
    assert statuses(event) == ["EXECUTING"]
    execute_until_settled()


# --- Refunds that do not end as they began --------------------------------------------------------------------------


@pytest.mark.parametrize("order_of_news", ["sf", "fs", "sfs", "fsf"])
def test_bug_39_inv_13_a_refund_that_came_back_is_put_back_in_whatever_order_we_hear_of_it(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle, order_of_news: str
) -> None:
    order = pay(open_payment("100.00"), SUCCEEDS_THEN_FAILS).orders.get()
    refund = refunds.request_refund(order.pk, amount=eur("40.00"), reason="", now=timezone.now())
    if order_of_news[0] == "s":
        execute_refunds(now=timezone.now())
    else:
        send_only(refund)
    oracle.wait_for("refund.failed", count=1)
    told = {
        "s": deliveries(sandbox, oracle, "refund.succeeded", count=1)[0],
        "f": deliveries(sandbox, oracle, "refund.failed", count=1)[0],
    }
    for kind in order_of_news:
        assert post(told[kind]) == 200
        apply_at(timezone.now() + timedelta(minutes=1))
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, order.refunded) == ("FAILED", eur("0.00"))
    again = refunds.request_refund(order.pk, amount=eur("100.00"), reason="", now=timezone.now())
    assert again.amount == eur("100.00")


def send_only(refund: Refund) -> None:
    """Send the refund as the worker does, and die before its answer is recorded."""
    request = RefundRequest(key=refund.public_id, charge=refund.charge, amount=refund.amount, reference=refund.public_id)
    registry.psp_named("sandbox").refund(request)


# --- Word of a refund that is not the one we mean -------------------------------------------------------------------


def news_of(sandbox: SandboxCompany, refund: Refund, status: str, *, psp_id: str) -> None:
    """Have the PSP say what became of a call for the refund, and apply it."""
    units = int(refund.amount.amount * 100)
    told = {"id": psp_id, "key": refund.public_id, "reference": refund.public_id, "status": status, "amount": units, "currency": "EUR"}
    event = {"id": f"evt_{psp_id}_{status}", "type": f"refund.{status}", "account": "acct_onebook"}
    post(signed(sandbox, event | {"data": {"object": told | {"created_at": "2026-11-02T12:00:00Z"}}}))


def test_that_the_call_for_a_refund_failed_does_not_undo_the_void_that_gave_the_money_back(
    open_payment: Open, pay: Open, sandbox: SandboxCompany
) -> None:
    event = pay(open_payment("10.00"))
    order = event.orders.get()
    cancellations.cancel_order(order.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())
    registry.psp_named("sandbox").void(ChargeRequest(order.public_id, order.payment_token, order.amount, reference=order.public_id))
    cancellations.voided(order.pk, psp_key=order.public_id, now=timezone.now())
    refund = Refund.objects.get()
    assert (refund.status, refund.psp_reference) == ("SUCCESS", refund.charge)
    news_of(sandbox, refund, "failed", psp_id="re_of_the_call")
    refund.refresh_from_db()
    assert (apply()[-1][1], refund.status) == ("applied", "SUCCESS")


def test_that_another_refund_failed_does_not_undo_the_one_that_gave_the_money_back(
    open_payment: Open, pay: Open, sandbox: SandboxCompany
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    refund = refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    news_of(sandbox, refund, "failed", psp_id="re_of_another_call")
    [(_type, status, reason)] = apply()
    refund.refresh_from_db()
    assert (status, refund.status, "is not the refund that gave the money back" in reason) == ("parked", "SUCCESS", True)


def test_bug_39_a_refund_that_a_person_gave_up_and_the_psp_failed_is_not_booked_by_the_older_news_of_its_success(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("10.00"), SUCCEEDS_THEN_FAILS).orders.get()
    refund = refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    execute_refunds(now=timezone.now())
    with transaction.atomic():
        dead_letters.bury(order.pk, refund_id=refund.pk, reason=dead_letters.UNKNOWN_TOO_LONG, detail="")
    rescue.fail(DeadLetter.objects.get().pk, actor="staff:ada", note="nobody answers", now=timezone.now())
    for kind in ("refund.failed", "refund.succeeded"):
        [delivery] = deliveries(sandbox, oracle, kind, count=1)
        post(delivery)
        assert apply()[-1][:2] == (kind, "applied")
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, refund.journal_entry_id, order.refunded) == ("FAILED", None, eur("0.00"))


@pytest.mark.parametrize(("moments", "status"), [(-1, "applied"), (1, "parked")], ids=["before", "after"])
def test_a_charge_under_a_voided_key_is_old_news_unless_it_was_made_after_the_void(
    open_payment: Open, sandbox: SandboxCompany, moments: int, status: str
) -> None:
    event = open_payment("10.00")
    order = event.orders.get()
    confirm_card(event)
    claims.claim_due(now=timezone.now(), limit=1)
    cancellations.cancel_order(order.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())
    cancellations.voided(order.pk, psp_key=order.public_id, now=timezone.now())
    at = timezone.now() + timedelta(seconds=30 * moments)
    post(signed(sandbox, event_about(event, charge={"created_at": at.isoformat()})))
    [(_type, became, reason)] = apply()
    assert (became, "voided before" in reason, statuses(event)) == (status, status == "parked", ["CANCELLED"])
