"""Money that goes back: within what was taken, once, with our part of the fee, and never twice over one silence."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from django.utils import timezone
from djmoney.money import Money

from ledger import queries
from ledger.money import exact
from payments import refunds, settlement
from payments.models import CircuitBreaker, DeadLetter, PaymentEvent, PaymentOrder, Refund
from payments.psp import registry
from payments.psp.protocol import Psp, RefundRequest
from payments.refunds import NotRefundable
from tests import webhooks
from tests.factories import FEES, RECEIVABLE, eur
from tests.fixtures_money import DECLINED, Oracle, execute_refunds, sandbox_psp
from tests.fixtures_services import Delivery, SandboxCompany
from wallet.models import OutboxMessage, Seller, Wallet, WalletEntry

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]


@pytest.fixture
def order(open_payment: Open, pay: Open) -> PaymentOrder:
    """Give a paid order of 10.00 with a fee of 1.00."""
    return pay(open_payment("10.00")).orders.get()


def ask(order: PaymentOrder, amount: str | Money) -> Refund:
    wanted = eur(amount) if isinstance(amount, str) else amount
    return refunds.request_refund(order.pk, amount=wanted, reason="broken", now=timezone.now())


def later(days: int = 1) -> datetime:
    return timezone.now() + timedelta(days=days)


def give_back(order: PaymentOrder, amount: str) -> Refund:
    refund = ask(order, amount)
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    return refund


def refunded_at_psp(oracle: Oracle) -> list[str]:
    return [row["reference"] for row in oracle.rows("refund.succeeded")]


def test_a_refund_takes_back_the_fee_from_the_platform_not_the_seller(order: PaymentOrder, sellers: list[Seller], oracle: Oracle) -> None:
    refund = give_back(order, "10.00")
    assert (refund.status, refund.fee, refund.net) == ("SUCCESS", eur("1.00"), eur("9.00"))
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("0.00")
    assert queries.balance_of(FEES, currency="EUR") == eur("0.00")
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("0.00")
    assert refunded_at_psp(oracle) == [refund.public_id]
    movement = WalletEntry.objects.get(kind="refund")
    assert (movement.gross, movement.fee, movement.net) == (eur("-10.00"), eur("-1.00"), eur("-9.00"))


def test_a_refunded_order_is_still_a_sale(order: PaymentOrder) -> None:
    give_back(order, "10.00")
    order.refresh_from_db()
    assert (order.status, order.refunded, order.event.status) == ("SUCCESS", eur("10.00"), "paid")


def test_everybody_is_told_of_a_refund_once(order: PaymentOrder) -> None:
    refund = give_back(order, "4.00")
    execute_refunds(now=later())
    assert list(OutboxMessage.objects.filter(about=refund.public_id).values_list("topic", flat=True)) == ["refund.succeeded"]


@pytest.mark.parametrize("parts", [("3.33", "3.33", "3.34"), ("0.01", "9.99"), ("9.99", "0.01"), ("2.50", "2.50", "2.50", "2.50")])
def test_pg_17_several_refunds_give_back_what_one_would(order: PaymentOrder, sellers: list[Seller], parts: tuple[str, ...]) -> None:
    given = [give_back(order, part) for part in parts]
    assert sum(refund.fee.amount for refund in given) == order.fee.amount
    assert sum(refund.net.amount for refund in given) == order.net.amount
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("0.00")
    assert queries.balance_of(FEES, currency="EUR") == eur("0.00")


@pytest.mark.parametrize(
    "amount",
    [eur("10.01"), eur("0.00"), eur("-1.00"), exact("5", "JPY"), exact("5.00", "USD")],
    ids=["a cent too much", "nothing", "negative", "yen", "dollars"],
)
def test_bug_18_what_cannot_be_refunded_is_refused_and_reserves_nothing(order: PaymentOrder, amount: Money) -> None:
    with pytest.raises(NotRefundable):
        ask(order, amount)
    order.refresh_from_db()
    assert order.refunded == eur("0.00")


def test_bug_17_a_second_refund_gets_only_what_the_first_left_even_before_it_is_executed(order: PaymentOrder, oracle: Oracle) -> None:
    ask(order, "6.00")
    with pytest.raises(NotRefundable, match=r"4\.00 EUR can still be refunded"):
        ask(order, "6.00")
    execute_refunds(now=timezone.now())
    assert [row["amount"] for row in oracle.rows("refund.succeeded")] == [600]


def test_bug_19_what_was_not_taken_is_not_refunded(open_payment: Open, pay: Open) -> None:
    for order in (open_payment("10.00").orders.get(), pay(open_payment("10.00"), DECLINED).orders.get()):
        with pytest.raises(NotRefundable, match="not paid"):
            ask(order, "1.00")


def test_a_refund_belongs_to_its_seller_alone(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    event = pay(open_payment("10.00", "20.00"))
    give_back(event.orders.order_by("id")[0], "10.00")
    assert [wallet.pending.amount for wallet in Wallet.objects.order_by("seller")] == [0, 18]


@pytest.mark.parametrize("kind", ["execute_then_500", "refuse_500", "slow", "execute_then_silence"])
def test_bug_34_a_refund_whose_answer_was_lost_is_asked_for_and_paid_back_once(
    order: PaymentOrder, sandbox: SandboxCompany, oracle: Oracle, use_psp: UsePsp, kind: str
) -> None:
    use_psp(sandbox_psp(sandbox, read_timeout_s=0.3))
    sandbox.fault(operation="refund", kind=kind, times=1, delay_s=0.6)
    refund = give_back(order, "4.00")
    assert refund.status == "EXECUTING"
    assert len(refunded_at_psp(oracle)) == (0 if kind == "refuse_500" else 1)
    use_psp(sandbox_psp(sandbox))
    execute_refunds(now=timezone.now() + timedelta(minutes=1))
    refund.refresh_from_db()
    assert refund.status == "SUCCESS"
    assert refunded_at_psp(oracle) == [refund.public_id]


def test_a_refund_waits_for_a_psp_that_is_down(order: PaymentOrder, oracle: Oracle, sandbox: SandboxCompany, use_psp: UsePsp) -> None:
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:1"))
    refunds_waiting = [give_back(order, "1.00") for _refund in range(5)]
    assert CircuitBreaker.objects.get(operation="refund").opened_at is not None
    assert (DeadLetter.objects.count(), refunded_at_psp(oracle)) == (0, [])
    use_psp(sandbox_psp(sandbox))
    for minutes in (1, 2):
        execute_refunds(now=timezone.now() + timedelta(minutes=minutes))
    assert sorted(refunded_at_psp(oracle)) == sorted(refund.public_id for refund in refunds_waiting)
    assert CircuitBreaker.objects.get(operation="refund").opened_at is None


def test_what_is_held_back_while_the_psp_is_away_does_not_count_as_a_failure(
    order: PaymentOrder, sandbox: SandboxCompany, use_psp: UsePsp
) -> None:
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:1"))
    for _refund in range(5):
        give_back(order, "1.00")
    held = give_back(order, "1.00")
    execute_refunds(now=timezone.now())
    held.refresh_from_db()
    until = CircuitBreaker.objects.get(operation="refund").open_until
    assert (held.failures, held.attempts.count(), held.next_attempt_at) == (0, 0, until)
    use_psp(sandbox_psp(sandbox))
    for minutes in (1, 2):
        execute_refunds(now=timezone.now() + timedelta(minutes=minutes))


def test_a_refund_that_fails_at_the_psp_may_be_asked_for_again(order: PaymentOrder, oracle: Oracle) -> None:
    """Somebody gave 7.00 back in the PSP's own back office, behind our books: 5.00 is more than the PSP has left."""
    charge = order.attempts.get().psp_reference
    behind = RefundRequest(key="by hand", charge=charge, amount=eur("7.00"), reference="by hand")
    by_hand = registry.psp_named("sandbox").refund(behind)
    refund = give_back(order, "5.00")
    order.refresh_from_db()
    assert (refund.status, refund.failure_code, order.refunded) == ("FAILED", "rejected_request", eur("0.00"))
    assert give_back(order, "3.00").status == "SUCCESS"
    oracle.explain(by_hand.psp_reference)
    assert OutboxMessage.objects.get(about=refund.public_id).topic == "refund.failed"


def test_a_refund_is_not_given_up_because_the_psp_would_not_let_us_ask(
    order: PaymentOrder, oracle: Oracle, sandbox: SandboxCompany, use_psp: UsePsp
) -> None:
    """The money went back, the answer was lost, and meanwhile our API key is refused: that says nothing about the refund."""
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    refund = give_back(order, "4.00")
    use_psp(sandbox_psp(sandbox, api_key="revoked"))
    execute_refunds(now=timezone.now() + timedelta(minutes=1))
    refund.refresh_from_db()
    assert refund.status == "EXECUTING"
    use_psp(sandbox_psp(sandbox))
    execute_refunds(now=later(3))
    refund.refresh_from_db()
    assert refund.status == "SUCCESS"


def test_bug_21_a_pending_refund_is_asked_for_until_it_is_known(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    order = pay(open_payment("10.00"), "4000000000007726").orders.get()
    refund = give_back(order, "10.00")
    assert refund.status == "EXECUTING"
    oracle.wait_for("refund.succeeded", count=1)
    execute_refunds(now=later())
    refund.refresh_from_db()
    assert refund.status == "SUCCESS"


def taken_at(oracle: Oracle, sandbox: SandboxCompany, refund: Refund) -> list[Delivery]:
    """Wait for the PSP's two webhooks about a refund that succeeded and then failed; return them in that order."""
    oracle.wait_for("refund.failed", count=1)
    by_type: dict[str, Delivery] = {}
    until = time.monotonic() + 15
    while len(by_type) < 2:
        assert time.monotonic() < until, f"of two webhooks about {refund}, {list(by_type)} came"
        sandbox.letterbox.wait(0.02)
        oracle.rows()
        for headers, body in list(sandbox.letterbox.deliveries):
            event = json.loads(body)
            if event["data"]["object"].get("reference") == refund.public_id:
                by_type[event["type"]] = (headers, body)
    return [by_type["refund.succeeded"], by_type["refund.failed"]]


def test_bug_39_a_refund_that_comes_back_restores_all_it_took_and_may_be_given_again(
    open_payment: Open, pay: Open, sellers: list[Seller], oracle: Oracle, sandbox: SandboxCompany
) -> None:
    order = pay(open_payment("10.00"), "4000000000005126").orders.get()
    refund = give_back(order, "10.00")
    assert (refund.status, Wallet.objects.get(seller=sellers[0]).pending) == ("SUCCESS", eur("0.00"))
    for delivery in taken_at(oracle, sandbox, refund):
        webhooks.post(delivery)
    assert {status for _kind, status, _reason in webhooks.apply()} == {"applied"}
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, order.status, order.refunded) == ("FAILED", "SUCCESS", eur("0.00"))
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("9.00")
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("10.00")
    assert queries.balance_of(FEES, currency="EUR") == eur("1.00")
    assert list(WalletEntry.objects.order_by("id").values_list("kind", flat=True)) == ["sale", "refund", "refund_reversal"]
    again = give_back(order, "10.00")
    assert (again.status, Wallet.objects.get(seller=sellers[0]).pending) == ("SUCCESS", eur("0.00"))
    oracle.wait_for("refund.failed", count=2)
    settlement.reverse_refund(again.pk, code="refund_failed", at=timezone.now())


@pytest.mark.parametrize("order_of_events", list(permutations(["answer", "succeeded", "failed", "failed again"])), ids="-".join)
def test_bug_41_a_refund_that_came_back_ends_the_same_whatever_is_heard_first(
    order: PaymentOrder, order_of_events: tuple[str, ...]
) -> None:
    """The PSP said: succeeded, then failed.  We hear of it in any order, and as often as it likes."""
    refund, at = ask(order, "4.00"), timezone.now()

    def hear_success() -> None:
        settlement.settle_refund(refund.pk, psp_reference="re_psp", refunded_at=at)

    def hear_failure() -> None:
        refund.refresh_from_db()
        if refund.status == "SUCCESS":
            settlement.reverse_refund(refund.pk, code="refund_failed", at=at)
        else:
            settlement.fail_refund(refund.pk, psp_reference="re_psp", code="refund_failed")

    for heard in order_of_events:
        hear_success() if heard in ("answer", "succeeded") else hear_failure()
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, order.refunded, order.status) == ("FAILED", eur("0.00"), "SUCCESS")
    assert Wallet.objects.get(seller=order.seller_id).pending == eur("9.00")
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("10.00")
