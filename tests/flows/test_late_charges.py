"""Charges that succeed when their order cannot take them any more: owed to the buyer, told, and given back by themselves, once."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from ledger.models import JournalEntry
from payments import cancellations, dead_letters, expiry, inbox, late, rescue, settlement
from payments.models import DeadLetter, DueOrder, LateCharge, PaymentEvent, PaymentOrder, PspEvent, Refund
from payments.psp import registry
from payments.psp.protocol import Charged, ChargeRequest, RefundRequest
from payments.rescue import NotToRescue
from payments.settlement import Capture, Failure, Undecided
from tests import webhooks
from tests.factories import RECEIVABLE, eur
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    execute_until_settled,
    pay_with_card,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from wallet.models import OutboxMessage, WalletEntry

Open = Callable[..., PaymentEvent]


def given_up(event: PaymentEvent, card: str = VISA) -> list[Capture]:
    """Charge at the PSP, lose the answers, and give the orders up; return what the PSP did."""
    captures = captures_of(charge_and_keep_the_answer(event, card))
    settlement.fail([Failure(each.order_id, each.attempt_id, each.psp_key, "", "gave_up", "") for each in captures])
    return captures


def end(event: PaymentEvent) -> None:
    """Let the checkout's time run out."""
    expiry.expire_checkouts(now=event.expires_at)


def owed() -> Money:
    return queries.balance_of(chart.owed_to_buyers(), currency="EUR")


def topics(about: str) -> list[tuple[str, int]]:
    return list(OutboxMessage.objects.filter(about=about).order_by("id").values_list("topic", "sequence"))


def checkout_is_done(event: PaymentEvent) -> None:
    end(event)


def paid_by_another_card(event: PaymentEvent) -> None:
    pay_with_card(event)


def cancelled(event: PaymentEvent) -> None:
    order = event.orders.get()
    cancellations.cancel_order(order.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())


@pytest.mark.parametrize(
    ("then", "status"),
    [(checkout_is_done, "FAILED"), (paid_by_another_card, "SUCCESS"), (cancelled, "CANCELLED")],
    ids=["done", "paid otherwise", "cancelled"],
)
def test_bug_13_bug_59_a_charge_that_comes_too_late_is_owed_to_the_buyer_and_given_back(
    open_payment: Open, oracle: Oracle, then: Callable[[PaymentEvent], None], status: str
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    then(event)
    movements = WalletEntry.objects.count()
    assert late.settle(captures) == {}
    charge, refund = LateCharge.objects.get(), Refund.objects.get()
    assert (statuses(event), owed(), charge.amount) == ([status], eur("10.00"), eur("10.00"))
    assert (refund.status, refund.charge, refund.fee, refund.net) == ("EXECUTING", captures[0].psp_reference, eur("0.00"), eur("10.00"))
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    order = event.orders.get()
    assert (refund.status, owed(), order.refunded) == ("SUCCESS", eur("0.00"), eur("0.00"))
    assert queries.balance_of(RECEIVABLE, currency="EUR") == (eur("10.00") if status == "SUCCESS" else eur("0.00"))
    assert WalletEntry.objects.count() == movements, "no seller has anything of it"
    assert [row["reference"] for row in oracle.rows("refund.succeeded")] == [refund.public_id]
    assert (topics(charge.public_id), topics(refund.public_id)) == ([("late_charge.received", 1)], [("refund.succeeded", 1)])


def test_the_webhook_of_a_late_charge_is_applied_and_not_parked(open_payment: Open, oracle: Oracle, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    given_up(event)
    end(event)
    [delivery] = webhooks.deliveries(sandbox, oracle, "charge.succeeded", count=1)
    assert webhooks.post(delivery) == 200
    assert webhooks.apply() == [("charge.succeeded", "applied", "")]
    execute_refunds(now=timezone.now())
    assert Refund.objects.get().status == "SUCCESS"


def test_inv_10_a_late_charge_is_booked_once_however_many_tell_of_it(open_payment: Open, oracle: Oracle, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    end(event)
    assert all_at_once(*[partial(late.settle, captures)] * 6) == [{}] * 6
    [delivery] = webhooks.deliveries(sandbox, oracle, "charge.succeeded", count=1)
    webhooks.post(delivery)
    assert webhooks.apply() == [("charge.succeeded", "applied", "")]
    assert late.settle(captures) == {}
    assert (LateCharge.objects.count(), Refund.objects.count(), owed()) == (1, 1, eur("10.00"))
    execute_refunds(now=timezone.now())
    assert len(oracle.rows("refund.succeeded")) == 1


@pytest.mark.parametrize(("second_card", "late_charges"), [(VISA, 1), (DECLINED, 0)], ids=["the second pays", "the second is declined"])
def test_money_that_comes_while_another_card_is_tried_waits_for_what_becomes_of_that(
    open_payment: Open, second_card: str, late_charges: int
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    confirm_card(event, second_card)
    unbooked = late.settle(captures)
    assert "not decided yet" in unbooked[captures[0].psp_key]
    late.keep(captures)
    late.keep(captures)
    [(kind, status, _reason)] = webhooks.apply()
    assert (kind, status, statuses(event)) == ("charge.succeeded", "parked", ["EXECUTING"])
    execute_until_settled()
    PspEvent.objects.update(next_attempt_at=timezone.now())
    assert webhooks.apply() == [("charge.succeeded", "applied", "")]
    assert (statuses(event), LateCharge.objects.count()) == (["SUCCESS"], late_charges)
    execute_refunds(now=timezone.now())
    assert set(Refund.objects.values_list("status", flat=True)) <= {"SUCCESS"}


def test_money_that_comes_while_another_card_is_undecided_is_never_forgotten(
    open_payment: Open, oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    confirm_card(event)
    late.keep(captures)
    webhooks.apply()
    now = timezone.now()
    for days in range(1, 36):
        inbox.apply_received(now=now + timedelta(days=days))
    told = PspEvent.objects.get()
    assert (told.status, told.next_attempt_at) == ("parked", now + timedelta(days=36))
    assert "waits since" in caplog.text
    execute_until_settled()
    inbox.apply_received(now=now + timedelta(days=36))
    told.refresh_from_db()
    assert (told.status, statuses(event), LateCharge.objects.count()) == ("applied", ["SUCCESS"], 1)
    execute_refunds(now=timezone.now())


def test_a_refund_that_is_told_to_have_succeeded_after_all_waits_for_the_one_that_was_asked_for_instead(
    open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    captures = given_up(event)
    end(event)
    late.settle(captures)
    first = Refund.objects.get()
    psp = registry.psp_named("sandbox")
    answer = psp.refund(RefundRequest(first.public_id, first.charge, first.amount, reference=first.public_id))
    settlement.fail_refund(first.pk, psp_reference="", code="rejected_request")
    letter = DeadLetter.objects.get()
    rescue.redrive(letter.pk, actor="staff:ada", note="again", now=timezone.now())
    with pytest.raises(Undecided):
        settlement.settle_refund(first.pk, psp_reference=answer.psp_reference, refunded_at=timezone.now())
    execute_refunds(now=timezone.now())  # the PSP gives no charge back twice
    assert [refund.status for refund in Refund.objects.order_by("id")] == ["FAILED", "FAILED"]
    assert settlement.settle_refund(first.pk, psp_reference=answer.psp_reference, refunded_at=timezone.now())
    with pytest.raises(NotToRescue, match="given back already"):
        rescue.redrive(DeadLetter.objects.get(decided_at=None).pk, actor="staff:ada", note="again", now=timezone.now())
    dead_letters.close_settled(now=timezone.now())
    assert (owed(), DeadLetter.objects.filter(decided_at=None).exists()) == (eur("0.00"), False)


def test_an_order_that_executes_under_the_very_key_is_asked_for_and_its_charge_is_not_kept_apart(open_payment: Open) -> None:
    event = open_payment("10.00")
    captures = captures_of(charge_and_keep_the_answer(event))
    late.keep(captures)
    assert not PspEvent.objects.exists()
    assert late.settle(captures) == {}
    assert (statuses(event), LateCharge.objects.exists()) == (["SUCCESS"], False)


def test_a_charge_that_the_psp_made_twice_under_one_key_goes_back_once(open_payment: Open, oracle: Oracle, sandbox: SandboxCompany) -> None:
    """F-21: the PSP forgot the key, and somebody sent it again."""
    event = open_payment("10.00", "10.00")
    confirm_card(event)
    due = DueOrder.objects.order_by("order_id")[0]
    request = ChargeRequest(due.psp_key, due.payment_token, eur("10.00"), due.order.public_id)
    event.orders.exclude(pk=due.order_id).get().due.delete()
    PaymentOrder.objects.filter(due__isnull=True).update(status="FAILED")
    first = registry.psp_named("sandbox").charge(request)
    sandbox.fault(operation="charge", kind="prune_keys", times=1)
    second = registry.psp_named("sandbox").charge(request)
    assert isinstance(first, Charged)
    assert isinstance(second, Charged)
    assert first.psp_reference != second.psp_reference
    attempt = due.order.attempts.create(number=1, psp="sandbox", psp_key=due.psp_key)
    twice = [Capture(due.order_id, attempt.pk, due.psp_key, each.psp_reference, each.amount, each.at) for each in (first, second)]
    for capture in [*twice, *twice]:
        assert late.settle([capture]) == {}
    assert LateCharge.objects.get().psp_reference == second.psp_reference
    execute_refunds(now=timezone.now())
    assert Refund.objects.get().charge == second.psp_reference
    pay_with_card(event)


def test_a_late_charge_whose_refund_came_back_is_owed_again_and_waits_for_a_person(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    captures = given_up(event, "4000000000005126")
    end(event)
    assert late.settle(captures) == {}
    execute_refunds(now=timezone.now())
    refund = Refund.objects.get()
    assert (refund.status, owed()) == ("SUCCESS", eur("0.00"))
    oracle.wait_for("refund.failed", count=1)
    for _time in range(2):
        settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, owed()) == ("FAILED", eur("10.00"))
    assert list(DeadLetter.objects.values_list("reason", "refund")) == [("late_charge_not_given_back", refund.pk)]
    assert JournalEntry.objects.get(kind="refund_reversal").reference == f"{refund.public_id}:reversal"


def test_a_late_charge_whose_refund_came_back_gets_another_refund_when_a_person_says_so(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    captures = given_up(event, "4000000000005126")
    end(event)
    late.settle(captures)
    for round_ in (1, 2):
        execute_refunds(now=timezone.now())
        assert (Refund.objects.latest("id").status, owed()) == ("SUCCESS", eur("0.00"))
        oracle.wait_for("refund.failed", count=round_)
        settlement.reverse_refund(Refund.objects.latest("id").pk, code="refund_failed", at=timezone.now())
        assert owed() == eur("10.00")
        letter = DeadLetter.objects.get(decided_at=None)
        if round_ == 1:
            rescue.redrive(letter.pk, actor="staff:ada", note="the bank says it was their mistake", now=timezone.now())
            assert LateCharge.objects.get().refund.status == "EXECUTING"
    assert len({row["key"] for row in oracle.rows("refund.succeeded")}) == 2
