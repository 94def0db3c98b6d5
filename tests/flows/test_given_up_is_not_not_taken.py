"""What was given up may have happened: late successes, refusals that hide a charge, verdicts of workers that lost their claim."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from djmoney.money import Money

from payments import claims, confirmation, executor, inbox, late, refund_executor, refunds, settlement
from payments.models import DueOrder, PaymentEvent, PaymentOrder, PspEvent, Refund
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Psp,
    PspError,
    PspOutcomeUnknown,
    PspRejectedRequest,
    PspUnavailable,
    RefundRequest,
    Result,
)
from payments.psp.sandbox import result_of
from tests.factories import eur
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    pay_with_card,
    sandbox_psp,
    session_for,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from wallet.models import Seller

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]


class Misbehaving:
    """The real adapter, but for the verbs that are given."""

    def __init__(self, psp: Psp, **verbs: Callable[..., Any]) -> None:
        self._psp, self._verbs = psp, verbs

    def __getattr__(self, name: str) -> Any:
        return self._verbs.get(name) or getattr(self._psp, name)


def raising(error: PspError) -> Callable[[Any], Result]:
    def verb(_request: Any) -> Result:
        raise error

    return verb


def ask_back(order: PaymentOrder, amount: str) -> Refund:
    return refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now())


def test_a_refusal_after_a_charge_that_may_have_been_sent_fails_nothing(
    open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    due, now = DueOrder.objects.get(), timezone.now()
    real = sandbox_psp(sandbox)
    use_psp(Misbehaving(real, charge=raising(PspOutcomeUnknown("timeout"))))
    executor.execute_due_orders(now=now)
    executor.execute_due_orders(now=now + timedelta(minutes=5))
    use_psp(Misbehaving(real, charge=raising(PspRejectedRequest("401"))))
    executor.execute_due_orders(now=now + timedelta(minutes=10))
    assert statuses(event) == ["EXECUTING"]
    real.charge(ChargeRequest(due.psp_key, due.payment_token, eur("10.00"), due.order.public_id))
    use_psp(real)
    executor.execute_due_orders(now=now + timedelta(days=2))
    assert statuses(event) == ["SUCCESS"]
    assert len(oracle.charged()) == 1


def test_a_worker_that_wakes_after_the_others_gave_up_books_what_it_charged(
    open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    now = timezone.now()
    [paused] = claims.claim_due(now=now, limit=10)
    DueOrder.objects.update(maybe_sent=False)
    PaymentOrder.objects.get().attempts.update(status="NOT_EXECUTED")
    use_psp(Misbehaving(sandbox_psp(sandbox), charge=raising(PspUnavailable("429"))))
    for minutes in range(5, 75, 5):
        executor.execute_due_orders(now=now + timedelta(minutes=minutes))
    assert statuses(event) == ["FAILED"]
    use_psp(sandbox_psp(sandbox))
    for batch in executor.call_all([paused]):
        executor.hand_over(batch, now=now)
    assert statuses(event) == ["SUCCESS"]
    assert len(oracle.charged()) == 1


def test_whoever_dies_after_reviving_an_order_leaves_it_to_be_asked_for_and_never_charged_again(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    [(work, answer)] = [(work, executor.call(work)) for work in claims.claim_due(now=timezone.now(), limit=1)]
    executor.hand_over([(work, PspRejectedRequest("400"))], now=timezone.now())
    assert statuses(event) == ["FAILED"]
    assert isinstance(answer, Charged)
    assert late.revive(executor.capture_of(work, answer))
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=1))
    assert statuses(event) == ["SUCCESS"]
    assert len(oracle.charged()) == 1


def test_a_verdict_of_a_worker_that_lost_its_claim_counts_no_more(open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    now = timezone.now()
    [paused] = claims.claim_due(now=now, limit=10)
    [_second] = claims.claim_due(now=now + timedelta(seconds=claims.LEASE_S + 1), limit=10)
    executor.hand_over([(paused, PspRejectedRequest("400"))], now=now)
    executor.hand_over([(paused, PspUnavailable("refused"))], now=now)
    assert statuses(event) == ["EXECUTING"]
    assert DueOrder.objects.get().claimed_until is not None
    use_psp(sandbox_psp(sandbox))
    executor.execute_due_orders(now=now + timedelta(hours=1))
    executor.execute_due_orders(now=now + timedelta(hours=1))
    assert statuses(event) == ["SUCCESS"]


def test_an_answer_about_another_key_of_the_same_order_decides_nothing(
    open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    pay_with_card(event, DECLINED)
    first = event.orders.get().attempts.get()
    confirm_card(event)
    real = sandbox_psp(sandbox)
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    use_psp(real)
    executor.execute_due_orders(now=timezone.now())
    declined = sandbox.client.get("/v1/charges", params={"key": first.psp_key}).json()["data"][0]
    use_psp(Misbehaving(real, find_charge=lambda request: result_of(declined, request)))
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=5))
    assert statuses(event) == ["EXECUTING"]
    use_psp(real)
    executor.execute_due_orders(now=timezone.now() + timedelta(days=2))
    assert statuses(event) == ["SUCCESS"]
    assert len(oracle.charged()) == 1


def test_a_key_older_than_the_psp_remembers_is_never_sent_again(open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    now = timezone.now()
    sent: list[ChargeRequest] = []

    def charge(request: ChargeRequest) -> Result:
        sent.append(request)
        raise PspOutcomeUnknown("timeout")

    use_psp(Misbehaving(sandbox_psp(sandbox), charge=charge, find_charge=raising(PspUnavailable("away"))))
    executor.execute_due_orders(now=now)
    for hours in (1, 10, 40):
        executor.execute_due_orders(now=now + timedelta(hours=hours))
    use_psp(Misbehaving(sandbox_psp(sandbox), charge=charge))
    executor.execute_due_orders(now=now + timedelta(hours=70))
    assert len(sent) == 1
    assert statuses(event) == ["FAILED"]


@pytest.mark.parametrize("message", ["NUL \0", "half \ud800", 5, None, ["a", "list"]])
def test_a_decline_with_a_strange_message_fails_its_order_and_holds_up_no_other(
    open_payment: Open, use_psp: UsePsp, sandbox: SandboxCompany, message: Any
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    strange = event.orders.order_by("id")[0]
    real = sandbox_psp(sandbox)

    def charge(request: ChargeRequest) -> Result:
        if request.reference != strange.public_id:
            return real.charge(request)
        wire = {"id": "ch_x", "key": request.key, "reference": request.reference, "amount": 1000, "currency": "EUR"}
        failure = {"code": "card_declined", "message": message}
        return result_of(wire | {"status": "failed", "failure": failure, "created_at": timezone.now().isoformat()}, request)

    use_psp(Misbehaving(real, charge=charge))
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["FAILED", "SUCCESS"]


def test_one_outcome_that_cannot_be_booked_keeps_nobody_else_waiting(open_payment: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    confirm_card(event)
    answered = [(work, executor.call(work)) for work in claims.claim_due(now=timezone.now(), limit=100)]
    spoilt = answered[1][0].order_id
    whole = settlement.sale

    def sale(order: Any, capture: Any, **paid: Any) -> Any:
        if order.id == spoilt:
            raise ValueError("this one cannot be booked")
        return whole(order, capture, **paid)

    monkeypatch.setattr(settlement, "sale", sale)
    executor.hand_over(answered, now=timezone.now())
    assert sorted(statuses(event)) == ["EXECUTING", "SUCCESS", "SUCCESS"]
    monkeypatch.setattr(settlement, "sale", whole)
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=5))
    assert statuses(event) == ["SUCCESS"] * 3


def test_pg_17_a_refund_after_a_failed_one_bears_its_own_fee(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    order = pay(open_payment("0.10")).orders.get()
    first, _second = ask_back(order, "0.05"), ask_back(order, "0.05")
    settlement.fail_refund(first.pk, psp_reference="", code="no")
    execute_refunds(now=timezone.now())
    third = ask_back(order, "0.05")
    other = ask_back(pay(open_payment("10.00", sellers=sellers[1:2])).orders.get(), "4.00")
    execute_refunds(now=timezone.now())
    third.refresh_from_db()
    other.refresh_from_db()
    assert (third.fee, third.status, other.status) == (eur("0.01"), "SUCCESS", "SUCCESS")


def test_a_refund_refused_while_another_worker_pays_it_back_is_not_given_up(
    open_payment: Open, pay: Open, use_psp: UsePsp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    refund, now = ask_back(order, "4.00"), timezone.now()
    real = sandbox_psp(sandbox)
    claimed = refund_executor.claim_due(now=now)
    assert claimed is not None

    def pay_back_late(request: RefundRequest) -> Result:
        use_psp(Misbehaving(real, refund=raising(PspRejectedRequest("403"))))
        refund_executor.execute_due_refunds(now=now + timedelta(seconds=refund_executor.LEASE_S + 1))
        return real.refund(request)

    use_psp(Misbehaving(real, refund=pay_back_late))
    refund_executor.execute(claimed, now=now)
    refund.refresh_from_db()
    assert refund.status == "SUCCESS"
    assert len(oracle.rows("refund.succeeded")) == 1


def test_a_refund_that_was_given_up_and_succeeded_after_all_is_booked(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    refund = ask_back(order, "4.00")
    settlement.fail_refund(refund.pk, psp_reference="", code="gave_up")
    charge = order.attempts.get().psp_reference
    paid = sandbox_psp(sandbox).refund(RefundRequest(refund.public_id, charge, refund.amount, refund.public_id))
    assert settlement.settle_refund(refund.pk, psp_reference=paid.psp_reference, refunded_at=timezone.now())
    assert not settlement.settle_refund(refund.pk, psp_reference=paid.psp_reference, refunded_at=timezone.now())
    order.refresh_from_db()
    assert order.refunded == eur("4.00")


def test_a_poisoned_webhook_is_parked_and_the_inbox_goes_on(open_payment: Open) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    claims.claim_due(now=timezone.now(), limit=10)
    key = event.orders.get().public_id
    PspEvent.objects.create(psp="sandbox", event_id="evt_bad", type="refund.succeeded", body={"data": {"object": {"key": 5, "status": {}}}})
    told = {"id": "ch_x", "key": key, "reference": key, "status": "failed", "failure": {"code": "card_declined", "message": 5}}
    PspEvent.objects.create(psp="sandbox", event_id="evt_good", type="charge.failed", body={"data": {"object": told}})
    inbox.apply_received(now=timezone.now())
    assert dict(PspEvent.objects.values_list("event_id", "status")) == {"evt_bad": "parked", "evt_good": "applied"}
    assert statuses(event) == ["FAILED"]


def test_twelve_orders_of_one_checkout_can_each_be_executed_by_the_shop(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment(*["1.00"] * 12)
    token = pay_token(event)
    for number, order in enumerate(event.orders.order_by("id")):
        confirm_one(order, token=token, once=f"wish-{number}")
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"] * 12


def test_the_same_wish_never_starts_an_order_twice(open_payment: Open) -> None:
    event = open_payment("10.00")
    pay_with_card(event, DECLINED)
    order = event.orders.get()
    token = pay_token(event)
    confirm_one(order, token=token, once="wish")
    executor.hand_over([(work, PspRejectedRequest("400")) for work in claims.claim_due(now=timezone.now(), limit=1)], now=timezone.now())
    assert statuses(event) == ["FAILED"]
    confirm_one(order, token=token, once="wish")
    assert statuses(event) == ["FAILED"]


def confirm_one(order: PaymentOrder, *, token: str, once: str) -> None:
    confirmation.confirm_order(order.pk, payment_token=token, once=once, now=timezone.now())


def pay_token(event: PaymentEvent) -> str:
    total = sum((order.amount for order in event.orders.all()), start=Money(0, "EUR"))
    return session_for(total, VISA, nonce=f"{event.public_id}:token").payment_token
