"""Asking for a refund: all that is left or a part, the fee by policy, once per wish, and never while the buyer's bank has the money."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from ledger import chart, journal, queries
from ledger.journal import Draft
from payments import disputes, refunds, releases, settlement
from payments.models import DeadLetter, PaymentEvent, PaymentOrder, Refund, RetryPolicy
from payments.psp import registry
from payments.psp.protocol import Psp, RefundRequest
from payments.refunds import NotRefundable, RefundConflict
from tests.factories import FEES, eur
from tests.fixtures_money import Oracle, execute_refunds, sandbox_psp
from tests.fixtures_services import SandboxCompany
from wallet import balances
from wallet.balances import Change
from wallet.models import OutboxMessage, Seller, Shop, Wallet

Open = Callable[..., PaymentEvent]
UsePsp = Callable[[Psp], Psp]
NOBODY_THERE = "http://127.0.0.1:1"


@pytest.fixture
def order(open_payment: Open, pay: Open) -> PaymentOrder:
    """Give a paid order of 10.00 with a fee of 1.00."""
    return pay(open_payment("10.00")).orders.get()


def ask(order: PaymentOrder, amount: str | None, **terms: Any) -> Refund:
    asked: dict[str, Any] = {"reason": "broken", "now": timezone.now()}
    return refunds.request_refund(order.pk, amount=eur(amount) if amount else None, **(asked | terms))


def spend(order: PaymentOrder, amount: str) -> None:
    """Release the order, and take some of it away as if it had been paid out."""
    now = timezone.now()
    releases.deliver(order.pk, at=now, actor="api:test", now=now)
    releases.release_due(now=now)
    nothing, taken = eur("0.00"), eur(amount)
    with transaction.atomic():
        journal.open_accounts([chart.operating_bank()], currency="EUR")
        legs = [(chart.seller_available(order.seller_id), taken)], [(chart.operating_bank(), taken)]
        [entry] = journal.post([Draft("manual", "paid out", timezone.now(), *legs)])
        balances.change(
            [Change(order.seller_id, entry, "sale", "paid out", -taken, nothing, pending=nothing, available=-taken, reserved=nothing)]
        )


def executed(refund: Refund, *, after: timedelta = timedelta()) -> Refund:
    execute_refunds(now=timezone.now() + after)
    refund.refresh_from_db()
    return refund


# --- The fee --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "fee", "left_of_the_fee", "sellers_pending"),
    [("pro_rata", "0.40", "0.60", "5.40"), ("full", "1.00", "0.00", "6.00"), ("keep", "0.00", "1.00", "5.00")],
)
def test_the_shops_policy_says_what_of_the_fee_goes_back(
    order: PaymentOrder, shop: Shop, sellers: list[Seller], policy: str, fee: str, left_of_the_fee: str, sellers_pending: str
) -> None:
    Shop.objects.filter(pk=shop.pk).update(refund_fee_policy=policy)
    refund = executed(ask(order, "4.00"))
    assert (refund.status, refund.fee_policy, refund.fee) == ("SUCCESS", policy, eur(fee))
    assert queries.balance_of(FEES, currency="EUR") == eur(left_of_the_fee)
    assert Wallet.objects.get(seller=sellers[0]).pending == eur(sellers_pending)


def test_a_refund_may_have_a_policy_of_its_own_and_never_gives_back_more_fee_than_is_left(order: PaymentOrder) -> None:
    parts = [("2.00", "keep", "0.00"), ("2.00", "", "0.20"), ("2.00", "full", "0.80"), ("2.00", "pro_rata", "0.00"), (None, "full", "0.00")]
    for amount, policy, fee in parts:
        assert executed(ask(order, amount, fee_policy=policy)).fee == eur(fee)
    assert queries.balance_of(FEES, currency="EUR") == eur("0.00")


def test_a_policy_that_does_not_exist_is_refused_by_its_name(order: PaymentOrder) -> None:
    with pytest.raises(NotRefundable, match="'half' is no fee policy") as refused:
        ask(order, "1.00", fee_policy="half")
    assert refused.value.field == "fee_policy"


def test_a_refund_given_up_gives_back_no_fee_that_another_has_given_back_since(order: PaymentOrder, oracle: Oracle) -> None:
    first = ask(order, "2.00", fee_policy="full")
    settlement.fail_refund(first.pk, psp_reference="", code="gave_up")
    assert executed(ask(order, "3.00", fee_policy="full")).fee == eur("1.00")
    paid = registry.psp_named("sandbox").refund(RefundRequest(first.public_id, first.charge, first.amount, first.public_id))
    assert settlement.settle_refund(first.pk, psp_reference=paid.psp_reference, refunded_at=timezone.now())
    first.refresh_from_db()
    assert (first.status, first.fee, first.net) == ("SUCCESS", eur("0.00"), eur("2.00"))


# --- How much -------------------------------------------------------------------------------------------------------


def test_a_refund_without_an_amount_is_all_that_is_left(order: PaymentOrder, sellers: list[Seller]) -> None:
    executed(ask(order, "3.33"))
    assert executed(ask(order, None)).amount == eur("6.67")
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("0.00")
    with pytest.raises(NotRefundable, match=r"0\.00 EUR can still be refunded"):
        ask(order, None)


def test_a_seller_who_was_paid_out_owes_us_what_is_refunded_and_gets_it_back_where_it_was_taken(
    order: PaymentOrder, sellers: list[Seller], oracle: Oracle
) -> None:
    spend(order, "7.00")
    refund = executed(ask(order, None))
    wallet = Wallet.objects.get(seller=sellers[0])
    assert (wallet.pending, wallet.available) == (eur("0.00"), eur("-7.00"))
    assert settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    assert not settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    wallet.refresh_from_db()
    order.refresh_from_db()
    assert (wallet.pending, wallet.available, order.refunded) == (eur("0.00"), eur("2.00"), eur("0.00"))
    assert queries.balance_of(FEES, currency="EUR") == eur("1.00")
    oracle.explain(refund.psp_reference)


# --- The same wish --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [{"once": "key-1"}, {"reference": "R-1"}, {"once": "key-1", "reference": "R-1"}], ids=lambda name: "+".join(name)
)
@pytest.mark.parametrize("amount", ["4.00", None])
def test_inv_14_the_same_wish_is_one_refund_for_ever(order: PaymentOrder, oracle: Oracle, name: dict[str, str], amount: str | None) -> None:
    first = ask(order, amount, **name)
    assert ask(order, amount, **name) == first
    executed(first)
    assert ask(order, amount, now=timezone.now() + timedelta(days=400), **name) == first
    execute_refunds(now=timezone.now() + timedelta(days=1))
    assert len(oracle.rows("refund.succeeded")) == 1


def test_the_same_reference_under_another_key_is_the_same_refund(order: PaymentOrder) -> None:
    assert ask(order, "4.00", once="key-1", reference="R-1") == ask(order, "4.00", once="key-2", reference="R-1")


def test_wishes_of_different_names_are_different_refunds(order: PaymentOrder) -> None:
    made = {ask(order, "1.00", **name).pk for name in ({"once": "a"}, {"once": "b"}, {"reference": "a"}, {}, {})}
    assert len(made) == 5


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"amount": "4.01"}, "amount"),
        ({"reason": "late"}, "reason"),
        ({"fee_policy": "full"}, "fee_policy"),
        ({"reference": "R-2"}, "reference"),
        ({"once": "other", "reference": "R-1", "amount": "3.00"}, "amount"),
    ],
    ids=lambda one: str(one),
)
def test_the_same_wish_with_other_terms_is_refused_and_says_which(order: PaymentOrder, changed: dict[str, Any], field: str) -> None:
    wish = {"amount": "4.00", "once": "key-1", "reference": "R-1"}
    ask(order, **wish)
    with pytest.raises(RefundConflict) as refused:
        ask(order, **(wish | changed))
    assert (refused.value.field, Refund.objects.count()) == (field, 1)


def test_a_key_of_one_refund_with_the_reference_of_another_is_refused(order: PaymentOrder) -> None:
    ask(order, "1.00", once="key-1", reference="R-1")
    ask(order, "1.00", once="key-2", reference="R-2")
    with pytest.raises(RefundConflict) as refused:
        ask(order, "1.00", once="key-1", reference="R-2")
    assert refused.value.field == "reference"


# --- Disputes -------------------------------------------------------------------------------------------------------


def test_bug_38_while_the_buyers_bank_has_the_money_nothing_is_refunded_and_after_it_only_what_is_left(
    order: PaymentOrder, sandbox: SandboxCompany
) -> None:
    psp = registry.psp_named("sandbox")
    began = timezone.now() - timedelta(hours=1)
    made = sandbox.client.post("/v1/disputes", json={"reference": order.public_id, "amount": 600}).raise_for_status().json()
    [notice] = [each for each in psp.disputes_since(began) if each.psp_reference == made["id"]]
    disputes.open_dispute(notice, psp="sandbox")
    with pytest.raises(NotRefundable, match="disputed"):
        ask(order, "1.00")
    sandbox.client.post(f"/v1/disputes/{made['id']}/close", json={"outcome": "lost"}).raise_for_status()
    [notice] = [each for each in psp.disputes_since(began) if each.psp_reference == made["id"]]
    disputes.close_dispute(notice, psp="sandbox")
    with pytest.raises(NotRefundable, match=r"4\.00 EUR can still be refunded"):
        ask(order, "4.01")
    refund = executed(ask(order, None))
    assert (refund.status, refund.amount, refund.fee) == ("SUCCESS", eur("4.00"), eur("0.40"))
    assert queries.balance_of(FEES, currency="EUR") == eur("0.00")


# --- When the PSP is away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
def test_a_refund_is_tried_as_often_as_its_policy_says_and_then_waits_for_a_person(
    order: PaymentOrder, oracle: Oracle, sandbox: SandboxCompany, use_psp: UsePsp, times: int
) -> None:
    RetryPolicy.objects.create(psp="sandbox", operation="refund", strategy="fixed_interval", first_s=60, longest_s=60, most_tries=times)
    use_psp(sandbox_psp(sandbox, url=NOBODY_THERE))
    refund = ask(order, "4.00")
    for minutes in range(0, 10, 2):
        executed(refund, after=timedelta(minutes=minutes))
    assert (refund.status, refund.tries, refund.next_attempt_at) == ("EXECUTING", times, None)
    assert list(DeadLetter.objects.values_list("reason", "refund")) == [("tries_exhausted", refund.pk)]
    assert list(refund.attempts.values_list("operation", "number", "status")) == [
        ("refund", number, "NOT_EXECUTED") for number in range(1, times + 1)
    ]
    order.refresh_from_db()
    assert order.refunded == eur("4.00"), "its money stays reserved until a person decides"
    use_psp(sandbox_psp(sandbox))
    Refund.objects.update(next_attempt_at=timezone.now(), failures=0)
    DeadLetter.objects.update(decided_at=timezone.now(), decision="redrive", decided_by="staff:ada")
    assert executed(refund, after=timedelta(hours=1)).status == "SUCCESS"
    assert len(oracle.rows("refund.succeeded")) == 1


def test_each_call_about_a_refund_is_kept_with_what_it_brought(order: PaymentOrder, sandbox: SandboxCompany, oracle: Oracle) -> None:
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="refuse_500", times=1)
    refund = ask(order, "4.00")
    for minutes in (0, 1, 2):
        executed(refund, after=timedelta(minutes=minutes))
    assert list(refund.attempts.order_by("id").values_list("operation", "number", "status")) == [
        ("refund", 1, "SUCCEEDED"),
        ("find", 2, "UNKNOWN"),
        ("find", 3, "SUCCEEDED"),
    ]
    assert all(attempt.finished_at for attempt in refund.attempts.all())
    assert len(oracle.rows("refund.succeeded")) == 1


def test_a_refund_under_a_key_older_than_the_psp_remembers_is_never_sent_again(
    order: PaymentOrder, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    sandbox.fault(operation="refund", kind="refuse_500", times=1)
    refund = executed(ask(order, "4.00"))
    assert refund.status == "EXECUTING"
    executed(refund, after=timedelta(hours=20, minutes=1))
    order.refresh_from_db()
    assert (refund.status, refund.failure_code, order.refunded) == ("FAILED", "never_refunded", eur("0.00"))
    assert oracle.rows("refund.succeeded") == []


def test_a_refund_that_nobody_knows_the_end_of_is_asked_for_during_a_month_and_then_waits_for_a_person(
    order: PaymentOrder, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    sandbox.fault(operation="find", kind="refuse_500", times=100)
    refund = executed(ask(order, "4.00"))
    for days in range(1, 40):
        executed(refund, after=timedelta(days=days))
    assert (refund.status, refund.next_attempt_at, 25 <= refund.tries <= 33) == ("EXECUTING", None, True)
    assert DeadLetter.objects.get().reason == "unknown_too_long"
    settlement.settle_refund(refund.pk, psp_reference=oracle.rows("refund.succeeded")[0]["object_id"], refunded_at=timezone.now())
    refund.refresh_from_db()
    assert refund.status == "SUCCESS", "a webhook that tells its end is applied all the same"


# --- Who is told ----------------------------------------------------------------------------------------------------


def test_inv_16_what_is_told_of_a_refund_is_counted(order: PaymentOrder, oracle: Oracle) -> None:
    refund = executed(ask(order, "4.00"))
    settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    oracle.explain(refund.psp_reference)
    told = list(OutboxMessage.objects.filter(about=refund.public_id).order_by("id").values_list("topic", "sequence"))
    assert told == [("refund.succeeded", 1), ("refund.failed", 2)]
