"""Claims that are never handed back: eight in a row are given to a person, and one that is handed back forgets those before it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from ledger.journal import Draft
from payments import breaker, claims, executor, refund_executor, refunds, rescue, settlement
from payments.models import DeadLetter, DueOrder, PaymentEvent, Refund
from payments.psp.protocol import Psp
from payments.queries import ExecutingOrder
from payments.settlement import Capture
from tests.factories import eur
from tests.fixtures_money import (
    Oracle,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
    statuses,
)
from tests.fixtures_services import SandboxCompany

Open = Callable[..., PaymentEvent]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def refund(open_payment: Open, pay: Open) -> Refund:
    """Give a refund of 4.00 that is due."""
    order = pay(open_payment("10.00")).orders.get()
    return refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())


def die_over_refunds(times: int) -> None:
    for death in range(times):
        assert refund_executor.claim_due(now=timezone.now() + timedelta(minutes=2 * death)) is not None


def test_a_refund_over_which_eight_workers_died_is_given_to_a_person_and_the_next_one_is_executed(refund: Refund, oracle: Oracle) -> None:
    die_over_refunds(claims.MOST_DEATHS)
    other = refunds.request_refund(refund.order_id, amount=eur("1.00"), reason="", now=timezone.now() + timedelta(minutes=59))
    assert refund_executor.execute_due_refunds(now=timezone.now() + timedelta(hours=1)) == 1
    letter = DeadLetter.objects.get()
    assert (letter.refund, letter.reason, letter.detail) == (refund, "worker_died", "8 workers died over it.")
    other.refresh_from_db()
    refund.refresh_from_db()
    assert (other.status, refund.status, refund.next_attempt_at) == ("SUCCESS", "EXECUTING", None)
    rescue.redrive(letter.pk, actor="staff:ada", note="the worker is mended", now=timezone.now())
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, len(oracle.rows("refund.succeeded"))) == ("SUCCESS", 2)


def test_a_refund_that_is_handed_back_forgets_who_died_over_it_and_one_that_is_held_back_does_not(
    refund: Refund, sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp]
) -> None:
    die_over_refunds(3)
    breaker.failed("sandbox", "refund", now=timezone.now() + timedelta(hours=1), times=5)
    assert refund_executor.execute_due_refunds(now=timezone.now() + timedelta(hours=1)) == 1
    refund.refresh_from_db()
    assert refund.deaths == 3, "nobody tried it"
    breaker.succeeded("sandbox", "refund", now=timezone.now())
    use_psp(sandbox_psp(sandbox, url=NOWHERE))
    assert refund_executor.execute_due_refunds(now=timezone.now() + timedelta(hours=2)) == 1
    refund.refresh_from_db()
    assert (refund.deaths, refund.failures) == (0, 1)


def test_an_order_that_is_handed_back_forgets_who_died_over_it(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    """A worker a day dies over a charge that is pending for weeks, as by a deployment."""
    event = open_payment("10.00")
    confirm_card(event)
    sandbox.fault(operation="charge", kind="pending_forever", times=1)
    executor.execute_due_orders(now=timezone.now())
    for day in range(1, claims.MOST_DEATHS + 3):
        now = timezone.now() + timedelta(days=day)
        assert len(claims.claim_due(now=now, limit=10)) == 1
        executor.execute_due_orders(now=now + timedelta(seconds=claims.LEASE_S + 1))
        assert DueOrder.objects.get().deaths == 0
    assert not DeadLetter.objects.exists()


# --- One that cannot be booked ---------------------------------------------------------------------------------------


def spoil_the_first(event: PaymentEvent, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the books go wrong over the first order of the payment."""
    spoilt, whole = event.orders.order_by("id").values_list("pk", flat=True)[0], settlement.sale

    def sale(order: ExecutingOrder, capture: Capture, **parts: Any) -> Draft:
        if order.id == spoilt:
            raise error
        return whole(order, capture, **parts)

    monkeypatch.setattr(settlement, "sale", sale)


def test_an_error_that_nobody_foresaw_over_one_order_keeps_no_other_from_being_booked(
    open_payment: Open, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    answered = charge_and_keep_the_answer(event)
    with monkeypatch.context() as patched:
        spoil_the_first(event, KeyError("a bug of ours"), patched)
        executor.hand_over(answered, now=timezone.now())
    assert (statuses(event), DueOrder.objects.get().failures) == (["EXECUTING", "SUCCESS", "SUCCESS"], 1)
    told = [record for record in caplog.records if "cannot be booked" in record.message]
    assert [record.exc_info is not None for record in told] == [True]
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS"] * 3, 3)


def test_a_database_that_goes_away_while_booking_is_everybodys_trouble(
    open_payment: Open, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = open_payment("10.00", "20.00")
    answered = charge_and_keep_the_answer(event)
    with monkeypatch.context() as patched:
        spoil_the_first(event, OperationalError("the connection is lost"), patched)
        with pytest.raises(OperationalError):
            executor.hand_over(answered, now=timezone.now())
    assert statuses(event) == ["EXECUTING"] * 2
    executor.hand_over(answered, now=timezone.now())
    assert statuses(event) == ["SUCCESS"] * 2
