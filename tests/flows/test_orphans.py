"""Orphans: what became of a charge or refund that a person gave up is asked for daily until the PSP tells, though no webhook does."""

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from payments import breaker, executor, inbox, orphans, refund_executor, refunds, rescue, settlement
from payments.models import CircuitBreaker, DeadLetter, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.psp.protocol import Declined, Pending, Psp, PspOutcomeUnknown, PspUnavailable
from payments.states import UNRESOLVED
from tests import webhooks
from tests.factories import eur
from tests.fixtures_money import Oracle, confirm_card, execute_refunds, pay_with_card, sandbox_psp, statuses
from tests.fixtures_services import SandboxCompany
from tests.flows.test_dead_letters import bury, left_unknown
from tests.flows.test_disputes import close, decide, dispute, open_
from tests.flows.test_given_up_is_not_not_taken import Misbehaving, raising
from tests.flows.test_late_charges import end, owed

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]


class Counting:
    """The real adapter; counts how often it is asked what became of something."""

    def __init__(self, psp: Psp) -> None:
        self._psp, self.asked = psp, 0

    def __getattr__(self, name: str) -> Any:
        self.asked += name.startswith("find_")
        return getattr(self._psp, name)


def failed_by_a_person(letter: DeadLetter) -> datetime:
    rescue.fail(letter.pk, actor="staff:grace", note="nobody knows", now=timezone.now())
    return timezone.now()


def unresolved() -> list[str]:
    return list(PspAttempt.objects.filter(status__in=UNRESOLVED).exclude(operation="find").values_list("psp_key", flat=True))


def asked_again() -> int:
    return PspAttempt.objects.filter(ask_again_at__isnull=False).count()


def test_a_charge_that_was_given_up_and_of_which_no_webhook_tells_pays_its_order_if_it_is_open(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    now = failed_by_a_person(left_unknown(event, sandbox))
    assert statuses(event) == ["FAILED"]
    assert orphans.ask_for_orphans(now=now) == 1
    assert (statuses(event), unresolved(), len(oracle.charged())) == (["SUCCESS"], [], 1)
    orphans.ask_for_orphans(now=now + timedelta(days=2))
    assert asked_again() == 0


def test_a_charge_that_was_given_up_goes_back_to_the_buyer_if_its_checkout_is_over(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    now = failed_by_a_person(left_unknown(event, sandbox))
    end(event)
    orphans.ask_for_orphans(now=now)
    assert (statuses(event), owed(), LateCharge.objects.count()) == (["FAILED"], eur("10.00"), 1)
    execute_refunds(now=timezone.now())
    assert owed() == eur("0.00")


def test_what_the_psp_never_saw_is_asked_for_until_its_key_is_too_old(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    psp = Counting(sandbox_psp(sandbox))
    use_psp(Misbehaving(psp, charge=raising(PspOutcomeUnknown("a timeout"))))
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    now = failed_by_a_person(bury(event.orders.get()))
    for hours in (0, 1, 12, 23):
        orphans.ask_for_orphans(now=now + timedelta(hours=hours))
    assert (psp.asked, len(unresolved())) == (1, 1)
    for days in (1, 2, 3):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
    assert (psp.asked, unresolved(), asked_again()) == (2, [], 0)
    assert (statuses(event), oracle.charged()) == (["FAILED"], [])


def test_a_psp_that_is_away_is_asked_until_it_answers_and_holds_up_no_other(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    """Both calls were a month old when they were given up, as the usual letter is."""
    event, other = open_payment("10.00"), open_payment("20.00")
    letters = [left_unknown(each, sandbox) for each in (event, other)]
    PspAttempt.objects.update(created_at=timezone.now() - timedelta(days=31))
    for letter in letters:
        now = failed_by_a_person(letter)
    real, key = sandbox_psp(sandbox), event.orders.get().public_id

    def find_charge(request: Any) -> Any:
        if request.key == key:
            raise PspUnavailable("it is away")
        return real.find_charge(request)

    use_psp(Misbehaving(real, find_charge=find_charge))
    for days in (0, 1, 2, 33):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
        CircuitBreaker.objects.all().delete()
    assert (statuses(event), statuses(other), unresolved(), asked_again()) == (["FAILED"], ["SUCCESS"], [key], 1)
    use_psp(real)
    for days in (34, 36):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
    assert (statuses(event), asked_again()) == (["SUCCESS"], 0)


def test_a_charge_that_is_pending_a_month_after_it_was_given_up_is_asked_for_no_more(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("10.00")
    letter = left_unknown(event, sandbox)
    PspAttempt.objects.update(created_at=timezone.now() - timedelta(days=31))
    now = failed_by_a_person(letter)
    psp = Counting(Misbehaving(sandbox_psp(sandbox), find_charge=lambda _request: Pending("ch_slow")))
    use_psp(psp)
    for days in (0, 29, 30, 31, 32):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
    assert (psp.asked, len(unresolved()), asked_again()) == (3, 1, 0)
    assert "ch_slow is pending a month after it was given up" in caplog.text
    PspAttempt.objects.filter(operation="charge").update(ask_again_at=now)
    use_psp(sandbox_psp(sandbox))
    orphans.ask_for_orphans(now=now)
    assert statuses(event) == ["SUCCESS"]


def test_f_20_a_charge_that_a_lagging_look_up_hid_is_asked_for_when_a_person_gives_it_up(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    """It was executed, its answer was lost, the PSP did not know of it yet, and went away before it was sent again."""
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    now = timezone.now()
    executor.execute_due_orders(now=now)
    use_psp(Misbehaving(sandbox_psp(sandbox), find_charge=lambda _request: None, charge=raising(PspUnavailable("away"))))
    for minutes in range(3, 60, 3):
        executor.execute_due_orders(now=now + timedelta(minutes=minutes))
    letter = DeadLetter.objects.get()
    assert (letter.reason, statuses(event), unresolved()) == ("tries_exhausted", ["EXECUTING"], [])
    now = failed_by_a_person(letter)
    use_psp(sandbox_psp(sandbox))
    CircuitBreaker.objects.all().delete()
    orphans.ask_for_orphans(now=now)
    assert (statuses(event), len(oracle.charged()), unresolved()) == (["SUCCESS"], 1, [])


def test_a_psp_whose_line_is_open_is_left_alone_and_asked_when_its_time_has_come(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    now = failed_by_a_person(left_unknown(event, sandbox))
    psp = Counting(sandbox_psp(sandbox))
    use_psp(psp)
    for _accident in range(breaker.ACCIDENTS_IN_A_ROW):
        until = breaker.failed("sandbox", "find", now=now)
    orphans.ask_for_orphans(now=now)
    assert (psp.asked, statuses(event)) == (0, ["FAILED"])
    assert until is not None
    orphans.ask_for_orphans(now=until)
    assert (psp.asked, statuses(event)) == (1, ["SUCCESS"])


def test_a_refund_that_was_given_up_and_of_which_no_webhook_tells_is_booked(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay_with_card(open_payment("10.00")).orders.get()
    refund = given_up_unknown(order, sandbox)
    assert (refund.status, len(unresolved())) == ("FAILED", 1)
    orphans.ask_for_orphans(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, unresolved()) == ("SUCCESS", [])


def test_a_refund_that_was_given_up_and_never_reached_the_psp_has_failed_and_is_asked_for_no_more(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle
) -> None:
    order = pay_with_card(open_payment("10.00")).orders.get()
    real = sandbox_psp(sandbox)
    use_psp(Misbehaving(real, refund=raising(PspOutcomeUnknown("a timeout"))))
    refund = given_up_unknown(order, None)
    use_psp(real)
    now = timezone.now()
    for days in range(3):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
    refund.refresh_from_db()
    assert (refund.status, unresolved(), asked_again()) == ("FAILED", [], 0)


def test_a_refund_whose_success_cannot_be_booked_yet_waits_in_the_inbox(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """Who bears it is open while the charge is disputed."""
    order = pay_with_card(open_payment("100.00")).orders.get()
    refund = given_up_unknown(order, sandbox)
    opened = dispute(sandbox, order)
    open_(opened)
    now = timezone.now()
    for days in range(2):
        orphans.ask_for_orphans(now=now + timedelta(days=days))
    assert [(kind, status) for kind, status, _reason in webhooks.apply()] == [("refund.succeeded", "parked")]
    close(decide(sandbox, opened, "won"))
    inbox.apply_received(now=now + timedelta(minutes=1))
    refund.refresh_from_db()
    assert (refund.status, unresolved(), [status for _kind, status, _reason in webhooks.apply()]) == ("SUCCESS", [], ["applied"])


def test_a_refund_whose_refusal_cannot_be_recorded_waits_in_the_inbox(
    open_payment: Open, sandbox: SandboxCompany, use_psp: UsePsp, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = pay_with_card(open_payment("10.00")).orders.get()
    refused = Declined("re_refused", "account_closed", "The account is closed.")
    use_psp(Misbehaving(sandbox_psp(sandbox), refund=raising(PspOutcomeUnknown("a timeout")), find_refund=lambda _request: refused))
    refund = given_up_unknown(order, None)

    def fail_refund(*_args: Any, **_terms: Any) -> bool:
        raise ValueError("this one cannot be recorded")

    with monkeypatch.context() as patch:
        patch.setattr(settlement, "fail_refund", fail_refund)
        orphans.ask_for_orphans(now=timezone.now())
    assert webhooks.apply() == [("refund.failed", "applied", "")]
    refund.refresh_from_db()
    assert (refund.status, refund.psp_reference) == ("FAILED", "re_refused")
    orphans.ask_for_orphans(now=timezone.now() + timedelta(days=2))
    assert (unresolved(), asked_again()) == ([], 0)


def test_a_refund_whose_psp_is_configured_no_more_holds_up_no_other(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    orders = [pay_with_card(open_payment("10.00")).orders.get() for _order in range(2)]
    gone, _other = (given_up_unknown(order, sandbox) for order in orders)
    PaymentOrder.objects.filter(pk=gone.order_id).update(psp="gone")
    orphans.ask_for_orphans(now=timezone.now())
    assert [each.status for each in Refund.objects.order_by("id")] == ["FAILED", "SUCCESS"]
    PaymentOrder.objects.filter(pk=gone.order_id).update(psp="sandbox")
    orphans.ask_for_orphans(now=timezone.now() + timedelta(days=2))
    assert [each.status for each in Refund.objects.order_by("id")] == ["SUCCESS", "SUCCESS"]


def test_a_refund_that_was_given_up_before_calls_were_asked_for_is_found_by_the_migration(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """Its calls were written down as declined then."""
    order = pay_with_card(open_payment("10.00")).orders.get()
    refund = given_up_unknown(order, sandbox)
    calls = PspAttempt.objects.filter(refund=refund, operation="refund")
    calls.update(status="DECLINED", error_code="given_up", finished_at=timezone.now(), ask_again_at=None, given_up_at=None)
    migration = importlib.import_module("payments.migrations.0011_calls_that_nobody_waits_for")
    later = importlib.import_module("payments.migrations.0012_tokens_of_orders_and_calls_that_were_given_up")
    with connection.cursor() as cursor:
        cursor.execute(migration.ASK_FOR_ORPHANS)
        cursor.execute(later.DATE_ORPHANS)
    assert calls.get().given_up_at is not None
    orphans.ask_for_orphans(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, unresolved()) == ("SUCCESS", [])


def given_up_unknown(order: PaymentOrder, sandbox: SandboxCompany | None) -> Refund:
    """Ask a part of the order back, never hear what became of it, and let a person give it up."""
    if sandbox is not None:
        sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    refund = refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    refund_executor.execute_due_refunds(now=timezone.now())
    failed_by_a_person(bury(order, refund=refund))
    refund.refresh_from_db()
    return refund
