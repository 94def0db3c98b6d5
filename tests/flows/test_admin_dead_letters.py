"""What staff may do about money in the admin: each deed has its page, asks why, keeps who did it, and does it once."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import models, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ledger.models import Approval, JournalEntry
from ledger.money import exact
from payments import breaker, dead_letters, executor, late, refunds, rescue, settlement
from payments.admin.dead_letters import DeadLetterAdmin
from payments.models import (
    Cancellation,
    CircuitBreaker,
    DeadLetter,
    DueOrder,
    LateCharge,
    PaymentEvent,
    PaymentOrder,
    PspEvent,
    Refund,
    RetryPolicy,
    Transition,
)
from tests.fixtures_money import Oracle, charge_and_keep_the_answer, confirm_card, execute_refunds, execute_until_settled
from tests.flows.test_admin import listed, page_of, words
from tests.flows.test_late_charges import end, given_up, owed
from wallet.models import Shop

Open = Callable[..., PaymentEvent]
Pay = Callable[..., PaymentEvent]
NOTE = "The PSP's support says so, ticket 4711"


def browser_of(user: User) -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


@pytest.fixture
def staff(shop: Shop) -> Client:
    """Return a browser in which somebody is logged in who may do whatever anybody may."""
    return browser_of(User.objects.create_superuser("finance"))


@pytest.fixture
def reader(shop: Shop) -> Client:
    """Return a browser of somebody who may look at everything and do nothing."""
    user = User.objects.create_user("auditor", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return browser_of(user)


def clerk_with(*permissions: str) -> Client:
    """Return a browser of somebody who may do these things and no others."""
    user = User.objects.create_user(f"clerk {len(permissions)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return browser_of(user)


def deed(row: models.Model, name: str) -> str:
    return reverse(f"admin:payments_{row._meta.model_name}_{name}", args=[row.pk])


def by_two(maker: Client, row: models.Model, name: str, **said: str) -> str:
    """Let one person propose it and another one approve it; return what the second one reads then."""
    maker.post(deed(row, name), {"note": NOTE, **said})
    checker, _is_new = User.objects.get_or_create(username="checker", is_staff=True, is_superuser=True)
    approval = Approval.objects.latest("pk")
    answer = browser_of(checker).post(reverse("admin:ledger_approval_approve", args=[approval.pk]), {"note": "So say I"}, follow=True)
    return words(answer.content)


def buried(order: PaymentOrder, reason: str = dead_letters.UNKNOWN_TOO_LONG) -> DeadLetter:
    """Let the machine give the order up."""
    with transaction.atomic():
        dead_letters.bury(order.pk, reason=reason, detail="no answer since 30 days")
    return DeadLetter.objects.get(order=order, decided_at=None)


def waiting(open_payment: Open) -> DeadLetter:
    """Give a dead letter of an order that is confirmed, and that was never sent."""
    [order] = confirm_card(open_payment("24.90"))
    return buried(order)


# --- Dead letters ---------------------------------------------------------------------------------------------------


def test_the_queue_shows_open_letters_first_oldest_first(staff: Client, open_payment: Open) -> None:
    decided, older, newer = (waiting(open_payment) for _letter in range(3))
    by_two(staff, decided, "fail")
    DeadLetter.objects.filter(pk=older.pk).update(created_at=timezone.now() - timedelta(days=3))
    shown = staff.get(listed(DeadLetter))
    assert list(shown.context["cl"].result_list) == [older, newer, decided]
    seen = words(shown.content)
    for what in ("24.90 EUR", "No answer for 30 days", "3 days", "staff:checker"):
        assert what in seen
    assert list(staff.get(listed(DeadLetter), {"decided_at_is": "open"}).context["cl"].result_list) == [older, newer]


def test_a_letters_page_tells_the_whole_history_and_offers_three_ways_out(staff: Client, open_payment: Open) -> None:
    event = open_payment("24.90")
    charge_and_keep_the_answer(event)
    order = event.orders.get()
    letter = buried(order)
    page = staff.get(page_of(letter))
    seen = words(page.content)
    for what in (
        "Opened",
        "Confirmed by the buyer",
        "Sent to the PSP",
        order.attempts.get().psp_key,
        "Payment order: Not started → Executing",
        "Dead letter",
    ):
        assert what in seen, what
    assert "For 30 days the PSP has not said what became of it." in seen
    for name in ("redrive", "fail", "void"):
        assert f'href="{deed(letter, name)}"' in page.content.decode()
    by_two(staff, letter, "redrive")
    execute_until_settled()
    after = words(staff.get(page_of(letter)).content)
    for what in ("The PSP was asked", "Payment order: Executing → Success", "Booked", "Wallet moved", "Message to the shop", NOTE):
        assert what in after, what


def test_trying_again_asks_the_psp_and_books_what_was_charged_once(staff: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("24.90")
    charge_and_keep_the_answer(event)
    order = event.orders.get()
    letter = buried(order)
    assert "Approved, and done." in by_two(staff, letter, "redrive")
    execute_until_settled()
    order.refresh_from_db()
    letter.refresh_from_db()
    assert (order.status, oracle.charged()) == ("SUCCESS", [order.public_id])
    said = f"{NOTE} (staff:finance, {Approval.objects.get().public_id})"
    assert (letter.decision, letter.decided_by, letter.note) == ("redrive", "staff:checker", said)


def test_failing_it_keeps_who_decided_and_why(staff: Client, open_payment: Open, oracle: Oracle) -> None:
    letter = waiting(open_payment)
    assert "nobody knows" in words(staff.get(deed(letter, "fail")).content)
    by_two(staff, letter, "fail")
    letter.order.refresh_from_db()
    assert (letter.order.status, oracle.charged()) == ("FAILED", [])
    change = Transition.objects.get(kind="order", object_id=letter.order_id, after="FAILED")
    assert (change.actor, change.reason) == ("staff:checker", f"{NOTE} (staff:finance, {Approval.objects.get().public_id})")
    assert f"staff:checker: {NOTE}" in words(staff.get(page_of(letter.order)).content)


def test_voiding_it_takes_the_charge_back_at_the_psp(staff: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("24.90")
    charge_and_keep_the_answer(event)
    order = event.orders.get()
    letter = buried(order)
    by_two(staff, letter, "void")
    execute_until_settled()
    order.refresh_from_db()
    letter.refresh_from_db()
    assert (order.status, letter.decision) == ("CANCELLED", "void")
    assert [row["reference"] for row in oracle.rows("charge.voided")] == [order.public_id]


def offered_of(letter: DeadLetter, browser: Client) -> list[str]:
    page = browser.get(page_of(letter)).content.decode()
    return [each.name for each in DeadLetterAdmin.deeds if f'href="{deed(letter, each.name)}"' in page]


def test_of_an_order_that_nobody_can_pay_any_more_the_letter_is_only_closed(staff: Client, open_payment: Open) -> None:
    event = open_payment("24.90")
    [order] = confirm_card(event)
    breaker.failed("sandbox", "charge", now=event.expires_at + timedelta(seconds=10), times=breaker.ACCIDENTS_IN_A_ROW)
    executor.execute_due_orders(now=event.expires_at + timedelta(seconds=10))
    CircuitBreaker.objects.all().delete()
    order.refresh_from_db()
    letter = DeadLetter.objects.get(order=order)
    seen = words(staff.get(page_of(letter)).content)
    assert (order.status, "tries_exhausted" in seen, "No try got through" in seen, "+00:00" in seen) == ("FAILED", False, True, False)
    assert offered_of(letter, staff) == ["redrive", "close"]
    PaymentEvent.objects.filter(pk=event.pk).update(expires_at=timezone.now())
    assert offered_of(letter, staff) == ["close"]
    by_two(staff, letter, "close")
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by, offered_of(letter, staff)) == ("fail", "staff:checker", [])


def test_of_an_order_that_succeeded_meanwhile_nothing_is_offered(staff: Client, open_payment: Open, pay: Pay) -> None:
    letter = buried(pay(open_payment("24.90")).orders.get())
    assert offered_of(letter, staff) == []


@pytest.mark.parametrize("name", ["redrive", "fail", "void"])
def test_nothing_is_decided_without_a_reason(staff: Client, open_payment: Open, name: str) -> None:
    letter = waiting(open_payment)
    for note in ("", "   ", "x" * 201):
        answer = staff.post(deed(letter, name), {"note": note})
        assert (answer.status_code, "Nothing was done." in words(answer.content)) == (200, True)
    letter.refresh_from_db()
    assert letter.decided_at is None


def test_who_comes_second_is_told_who_was_quicker(staff: Client, open_payment: Open) -> None:
    letter = waiting(open_payment)
    staff.post(deed(letter, "fail"), {"note": NOTE})
    assert (letter.decided_at, offered_of(letter, staff)) == (None, [])
    assert "of staff:finance waits already" in words(staff.post(deed(letter, "redrive"), {"note": NOTE}).content)
    by_two(staff, letter, "fail")
    answer = staff.post(deed(letter, "redrive"), {"note": NOTE})
    assert "was decided by staff:checker: fail" in words(answer.content)
    letter.refresh_from_db()
    assert letter.decision == "fail"
    assert "This is not possible any more." in words(staff.get(deed(letter, "redrive"), follow=True).content)
    assert deed(letter, "redrive") not in staff.get(page_of(letter)).content.decode()


def test_what_a_button_promised_and_is_not_so_any_more_is_not_done(staff: Client, open_payment: Open) -> None:
    """The letter of an order that executes is closed by nobody who saw it fail: to close it would fail the order."""
    letter = waiting(open_payment)
    for name in ("close", "take_note", "refund_again"):
        answer = staff.post(deed(letter, name), {"note": NOTE})
        assert (answer.status_code, "This is not possible any more." in words(answer.content)) == (200, True), name
    letter.refresh_from_db()
    letter.order.refresh_from_db()
    assert (letter.decided_at, letter.order.status) == (None, "EXECUTING")


def test_sec_who_may_only_look_sees_no_button_and_is_refused(reader: Client, open_payment: Open) -> None:
    letter = waiting(open_payment)
    page = reader.get(page_of(letter))
    assert page.status_code == 200
    for name in ("redrive", "fail", "void"):
        assert deed(letter, name) not in page.content.decode()
        assert reader.get(deed(letter, name)).status_code == 403
        assert reader.post(deed(letter, name), {"note": NOTE}).status_code == 403
    assert reader.post(deed(letter.order, "stop_retries"), {"note": NOTE}).status_code == 403
    assert Client().post(deed(letter, "fail"), {"note": NOTE}).status_code == 302
    letter.refresh_from_db()
    assert letter.decided_at is None


def test_sec_who_may_only_decide_letters_voids_and_refunds_nothing(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    letter = waiting(open_payment)
    clerk = clerk_with("view_deadletter", "change_deadletter", "add_refund")
    assert f'href="{deed(letter, "redrive")}"' in clerk.get(page_of(letter)).content.decode()
    assert deed(letter, "void") not in clerk.get(page_of(letter)).content.decode()
    assert clerk.get(deed(letter, "void")).status_code == 403
    assert clerk.post(deed(letter, "void"), {"note": NOTE}).status_code == 403
    letter.order.refresh_from_db()
    assert (letter.order.status, Cancellation.objects.count()) == ("EXECUTING", 0)
    finance = clerk_with("view_deadletter", "change_deadletter", "add_refund", "add_cancellation")
    by_two(finance, letter, "void")
    execute_until_settled()
    letter.order.refresh_from_db()
    assert (letter.order.status, oracle.charged()) == ("CANCELLED", [])


def test_sec_who_may_not_look_at_an_order_sees_nothing_of_it_on_a_deeds_page(shop: Shop, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    clerk = clerk_with("add_refund", "add_cancellation", "view_refund")
    for address in (deed(order, "refund"), deed(order, "cancel"), deed(PaymentOrder(pk=order.pk + 1), "refund")):
        for answer in (clerk.get(address), clerk.post(address, {"note": NOTE, "once": "admin:1"})):
            assert (answer.status_code, b"24.90" in answer.content) == (403, False)
    assert (Refund.objects.count(), Cancellation.objects.count()) == (0, 0)


def not_given_back(open_payment: Open) -> DeadLetter:
    """Take a charge that comes too late, and let its refund fail."""
    event = open_payment("24.90")
    captures = given_up(event)
    end(event)
    late.settle(captures)
    settlement.fail_refund(Refund.objects.get().pk, psp_reference="", code="account_closed")
    return DeadLetter.objects.get()


def test_of_a_late_charge_that_did_not_go_back_another_refund_is_asked_for(staff: Client, open_payment: Open, oracle: Oracle) -> None:
    letter = not_given_back(open_payment)
    page = staff.get(page_of(letter)).content.decode()
    offered = [name for name in ("redrive", "fail", "void", "refund_again", "take_note") if f'href="{deed(letter, name)}"' in page]
    assert offered == ["refund_again", "take_note"]
    assert "asked for another one" in words(staff.get(deed(letter, "refund_again")).content)
    assert staff.post(deed(letter, "void"), {"note": NOTE}).status_code == 200
    assert "Approved, and done." in by_two(staff, letter, "refund_again")
    execute_refunds(now=timezone.now())
    letter.refresh_from_db()
    assert (letter.decision, owed(), len(oracle.rows("refund.succeeded"))) == ("redrive", exact("0", "EUR"), 1)


def test_note_is_taken_of_a_late_charge_that_did_not_go_back_and_it_stays_owed(staff: Client, open_payment: Open, oracle: Oracle) -> None:
    letter = not_given_back(open_payment)
    assert "The buyer is still owed the money" in words(staff.get(deed(letter, "take_note")).content)
    by_two(staff, letter, "take_note")
    letter.refresh_from_db()
    assert (letter.decision, letter.decided_by, NOTE in letter.note) == ("fail", "staff:checker", True)
    assert (owed(), DeadLetter.objects.filter(decided_at=None).count()) == (exact("24.90", "EUR"), 0)
    assert "take_note" not in staff.get(page_of(letter)).content.decode()


@pytest.mark.parametrize("name", ["redrive", "fail", "void"])
def test_a_deeds_page_holds_no_script_and_no_style_of_its_own(staff: Client, open_payment: Open, name: str) -> None:
    page = staff.get(deed(waiting(open_payment), name)).content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert "24.90" in page


# --- Orders ---------------------------------------------------------------------------------------------------------


def test_a_refund_is_asked_for_on_the_orders_page_and_two_presses_are_one(staff: Client, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    form = staff.get(deed(order, "refund")).context["form"]
    said = {"part": "10.00", "fee_policy": "keep", "note": NOTE, "once": form["once"].value()}
    for _press in range(2):
        answer = staff.post(deed(order, "refund"), said)
        assert (answer.status_code, answer["Location"]) == (302, page_of(Refund.objects.get()))
    refund = Refund.objects.get()
    assert (refund.amount, refund.fee, refund.reason) == (exact("10.00", "EUR"), exact("0", "EUR"), NOTE)
    assert refund.requested_by == "staff:finance"
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    assert refund.status == "SUCCESS"
    seen = words(staff.get(page_of(refund)).content)
    assert "Executing → Success" in seen
    assert "Refund" in seen


def test_without_an_amount_all_that_is_left_goes_back(staff: Client, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    assert "all that is left: 24.90 EUR" in words(staff.get(deed(order, "refund")).content)
    staff.post(deed(order, "refund"), {"part": "", "fee_policy": "", "note": NOTE, "once": "admin:1"})
    assert Refund.objects.get().amount == order.amount
    assert deed(order, "refund") not in staff.get(page_of(order)).content.decode()
    execute_refunds(now=timezone.now())


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ("0", "more than zero"),
        ("-0", "more than zero"),
        ("-1", "more than zero"),
        ("1.001", "is finer than EUR counts"),
        ("NaN", "Enter a number"),
        ("1e400", "is not an amount"),
        ("9" * 31, "larger than the largest"),
        ("24.91", "24.90 EUR can still be refunded"),
        ("ten", "Enter a number"),
    ],
)
def test_an_amount_that_cannot_be_is_refused_with_a_reason(staff: Client, open_payment: Open, pay: Pay, part: str, complaint: str) -> None:
    order = pay(open_payment("24.90")).orders.get()
    answer = staff.post(deed(order, "refund"), {"part": part, "fee_policy": "", "note": NOTE, "once": "admin:1"})
    assert answer.status_code == 200
    assert complaint in words(answer.content)
    assert not Refund.objects.exists()


def test_sec_a_refund_needs_the_right_to_give_one(reader: Client, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    assert deed(order, "refund") not in reader.get(page_of(order)).content.decode()
    for name in ("refund", "cancel"):
        assert reader.get(deed(order, name)).status_code == 403
        assert reader.post(deed(order, name), {"note": NOTE, "once": "admin:1"}).status_code == 403
    assert not Refund.objects.exists()


def test_what_changed_since_it_was_proposed_is_not_done_and_waits(staff: Client, open_payment: Open) -> None:
    letter = waiting(open_payment)
    staff.post(deed(letter, "fail"), {"note": NOTE})
    rescue.redrive(letter.pk, actor="shell:eve", note=NOTE, now=timezone.now())
    assert "was decided by shell:eve: redrive" in by_two(staff, letter, "fail")
    assert Approval.objects.get().status == "WAITING"
    execute_until_settled()


def test_sec_29_a_refund_above_the_limit_takes_two_people_and_small_ones_add_up(
    staff: Client, open_payment: Open, pay: Pay, oracle: Oracle, settings: Any
) -> None:
    settings.REFUND_APPROVAL_LIMITS = {"EUR": Decimal(10)}
    order = pay(open_payment("24.90")).orders.get()
    staff.post(deed(order, "refund"), {"part": "6.00", "fee_policy": "", "note": NOTE, "once": "admin:1"})
    assert Refund.objects.get().amount == exact("6.00", "EUR")
    asked = {"part": "4.01", "fee_policy": "keep", "once": "admin:2"}
    for _press in range(2):
        answer = staff.post(deed(order, "refund"), {"note": NOTE, **asked}, follow=True)
    approval = Approval.objects.get()
    assert ("Proposed." in words(answer.content), approval.subject, Refund.objects.count()) == (True, order.public_id, 1)
    assert "takes two people" in words(staff.post(deed(order, "cancel"), {"note": NOTE}).content)
    assert staff.post(reverse("admin:ledger_approval_approve", args=[approval.pk]), {"note": "Mine"}).status_code == 403
    assert "Approved, and done." in by_two(staff, order, "refund", **asked)
    execute_refunds(now=timezone.now())
    refund = Refund.objects.latest("pk")
    assert (refund.status, refund.amount, refund.fee, refund.requested_by) == (
        "SUCCESS", exact("4.01", "EUR"), exact("0", "EUR"), "staff:finance",
    )  # fmt: skip
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by, approval.result) == ("APPROVED", "staff:checker", refund.public_id)
    assert len(oracle.rows("refund.succeeded")) == 2


def test_a_refund_of_what_is_given_back_meanwhile_waits_and_nothing_goes_back_twice(
    staff: Client, open_payment: Open, pay: Pay, settings: Any
) -> None:
    settings.REFUND_APPROVAL_LIMITS = {"EUR": Decimal(10)}
    order = pay(open_payment("24.90")).orders.get()
    said = {"part": "", "fee_policy": "", "note": NOTE, "once": "admin:1"}
    staff.post(deed(order, "refund"), said)
    refunds.request_refund(order.pk, amount=exact("1.00", "EUR"), reason="By the shop", now=timezone.now())
    assert "23.90 EUR can still be refunded" in by_two(staff, order, "refund", **said)
    approval = Approval.objects.get()
    assert (approval.status, approval.terms["amount"], Refund.objects.count()) == ("WAITING", "24.90", 1)
    staff.post(reverse("admin:ledger_approval_withdraw", args=[approval.pk]), {"note": "The shop was quicker"})
    approval.refresh_from_db()
    assert approval.status == "WITHDRAWN"
    rest = said | {"once": "admin:2"}
    staff.post(deed(order, "refund"), rest)
    settings.REFUND_APPROVAL_LIMITS = {}
    assert "made of this wish already" in by_two(staff, order, "refund", **rest)
    assert (Approval.objects.latest("pk").status, Refund.objects.count()) == ("WAITING", 2)
    execute_refunds(now=timezone.now())


def test_an_order_is_cancelled_on_its_page(staff: Client, open_payment: Open) -> None:
    order = open_payment("24.90").orders.get()
    assert deed(order, "refund") not in staff.get(page_of(order)).content.decode()
    staff.post(deed(order, "cancel"), {"note": NOTE})
    cancellation = Cancellation.objects.get()
    assert (cancellation.outcome, cancellation.requested_by) == ("cancelled", "staff:finance")
    assert "Executing → Success" in words(staff.get(page_of(cancellation)).content)


def test_the_retries_of_an_order_are_stopped_on_its_page(staff: Client, open_payment: Open) -> None:
    [order] = confirm_card(open_payment("24.90"))
    assert deed(order, "stop_retries") in staff.get(page_of(order)).content.decode()
    staff.post(deed(order, "stop_retries"), {"note": NOTE})
    executor.execute_due_orders(now=timezone.now())
    order.refresh_from_db()
    assert (order.status, DueOrder.objects.count()) == ("CANCELLED", 0)


def test_sec_29_what_is_given_up_is_ended_by_two_also_from_the_page_of_its_order_or_refund(
    staff: Client, open_payment: Open, pay: Pay, oracle: Oracle
) -> None:
    event = open_payment("24.90")
    charge_and_keep_the_answer(event)
    letter = buried(event.orders.get())
    refunded = pay(open_payment("9.90")).orders.get()
    refund = refunds.request_refund(refunded.pk, amount=None, reason="", now=timezone.now())
    with transaction.atomic():
        dead_letters.bury(refunded.pk, refund_id=refund.pk, reason=dead_letters.TRIES_EXHAUSTED, detail="no answer")
    for row, name in ((letter.order, "stop_retries"), (letter.order, "cancel"), (refund, "stop_retries")):
        assert deed(row, name) not in staff.get(page_of(row)).content.decode()
        assert "waits for a decision, which takes two people" in words(staff.post(deed(row, name), {"note": NOTE}).content), name
    assert (DeadLetter.objects.filter(decided_at=None).count(), Cancellation.objects.count()) == (2, 0)
    by_two(staff, letter, "void")
    by_two(staff, DeadLetter.objects.get(refund=refund), "redrive")
    execute_until_settled()
    execute_refunds(now=timezone.now())
    assert len(oracle.rows("charge.voided")) == 1


def test_the_retries_of_a_refund_that_was_never_sent_are_stopped(staff: Client, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    staff.post(deed(order, "refund"), {"part": "4.90", "fee_policy": "", "note": NOTE, "once": "admin:1"})
    refund = Refund.objects.get()
    staff.post(deed(refund, "stop_retries"), {"note": NOTE})
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, order.refunded) == ("FAILED", exact("0", "EUR"))
    assert deed(refund, "stop_retries") not in staff.get(page_of(refund)).content.decode()


# --- The rest of the desk -------------------------------------------------------------------------------------------


def test_a_late_charge_is_noted_once(staff: Client, open_payment: Open, pay: Pay) -> None:
    order = pay(open_payment("24.90")).orders.get()
    late = LateCharge(order=order, psp="sandbox", psp_key="k", psp_reference="ch_late", charged_at=timezone.now())
    late.amount, late.taken_back, late.journal_entry = exact("1.00", "EUR"), exact("0", "EUR"), JournalEntry.objects.all()[0]
    with transaction.atomic():
        late.save()
        staff.post(deed(late, "note"), {"note": NOTE})
        late.refresh_from_db()
        assert (late.seen_by, late.seen_at is None) == ("staff:finance", False)
        assert deed(late, "note") not in staff.get(page_of(late)).content.decode()
        transaction.set_rollback(True)


def test_parked_webhooks_are_looked_at_again_by_who_may(staff: Client, reader: Client) -> None:
    parked = PspEvent.objects.create(
        psp="sandbox", event_id="evt_1", type="charge.teleported", body={"data": {"object": {}}}, status="parked", reason="unknown"
    )
    chosen = {"action": "look_again", "_selected_action": [parked.pk]}
    reader.post(listed(PspEvent), chosen)
    parked.refresh_from_db()
    assert parked.status == "parked"
    assert "1 webhook is looked at again." in words(staff.post(listed(PspEvent), chosen, follow=True).content)
    parked.refresh_from_db()
    assert parked.status == "received"
    parked.delete()


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"psp": "nobody"}, "There is no PSP named"),
        ({"strategy": "hope"}, "not one of the available choices"),
        ({"first_s": "300"}, "longer than the longest"),
        ({"most_tries": "0"}, "greater than or equal to 1"),
        ({"most_tries": "101"}, "less than or equal to 100"),
        ({"longest_s": "86401"}, "less than or equal to 86400"),
        ({"operation": "void"}, "not one of the available choices"),
    ],
)
def test_a_retry_policy_that_cannot_be_is_refused_under_its_field(staff: Client, terms: dict[str, str], complaint: str) -> None:
    said = {"psp": "sandbox", "operation": "charge", "strategy": "fixed_interval", "first_s": "2", "longest_s": "60", "most_tries": "5"}
    answer = staff.post(reverse("admin:payments_retrypolicy_add"), said | terms)
    assert complaint in words(answer.content)
    assert not RetryPolicy.objects.exists()


def test_a_retry_policy_is_kept_once_for_each_operation_and_explains_itself(staff: Client) -> None:
    said = {"psp": "sandbox", "operation": "charge", "strategy": "fixed_interval", "first_s": "2", "longest_s": "60", "most_tries": "5"}
    page = reverse("admin:payments_retrypolicy_add")
    assert "tried again under the same key" in words(staff.get(page).content)
    assert staff.post(page, said).status_code == 302
    assert "already exists" in words(staff.post(page, said).content)
    policy: Any = RetryPolicy.objects.get()
    assert staff.post(page_of(policy), said | {"strategy": "none"}).status_code == 302
    policy.refresh_from_db()
    assert policy.strategy == "none"


def test_a_breaker_is_looked_at_and_not_touched(staff: Client) -> None:
    breaker = CircuitBreaker.objects.create(psp="sandbox", operation="charge", failures=5, opened_at=timezone.now())
    assert "open: the PSP is left alone" in words(staff.get(listed(CircuitBreaker)).content)
    assert staff.post(page_of(breaker), {"failures": "0"}).status_code == 403
    breaker.delete()
