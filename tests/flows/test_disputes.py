"""Disputes: the seller's part is held, then freed or lost; in any order of news, once, and never beside a refund of the same money."""

import importlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from ledger.approvals import AlreadyDecided
from ledger.money import zero
from payments import cancellations, dead_letters, dispute_watch, disputes, expiry, inbox, late, refunds, rescue, settlement
from payments import queries as queries_of_payments
from payments.cancellations import NotCancellable
from payments.models import DeadLetter, Dispute, DisputeWatch, LateCharge, PaymentEvent, PaymentOrder, Refund, Transition
from payments.psp.protocol import Notice
from payments.psp.sandbox import dispute_of
from payments.refunds import NotRefundable
from payments.settlement import Capture, Failure, NotBookable
from reconciliation import invariants
from tests import webhooks
from tests.factories import eur
from tests.fixtures_money import (
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    errors_in,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
)
from tests.fixtures_services import SandboxCompany
from tests.webhooks import post, webhooks_about
from wallet.models import OutboxMessage, Shop, Wallet

Open = Callable[..., PaymentEvent]
Figures = tuple[str, str, str]

DISPUTED_THEN_WON, DISPUTED_THEN_LOST = "4000000000009136", "4000000000009144"
SUCCEEDS_THEN_FAILS = "4000000000005126"  # what is refunded to it
FEE = eur("15.00")  # what the sandbox charges for a dispute


@pytest.fixture
def order(open_payment: Open, pay: Open) -> PaymentOrder:
    """A paid order: 100.00, of which 10.00 are our fee and 90.00 are pending for the seller."""
    return pay(open_payment("100.00")).orders.get()


def dispute(sandbox: SandboxCompany, order: PaymentOrder, **terms: Any) -> dict[str, Any]:
    """Let the buyer's bank dispute the order's charge."""
    answer = sandbox.client.post("/v1/disputes", json={"reference": order.public_id, **terms})
    answer.raise_for_status()
    wire: dict[str, Any] = answer.json()
    return wire


def decide(sandbox: SandboxCompany, opened: dict[str, Any], outcome: str, **terms: Any) -> dict[str, Any]:
    answer = sandbox.client.post(f"/v1/disputes/{opened['id']}/close", json={"outcome": outcome, **terms})
    answer.raise_for_status()
    wire: dict[str, Any] = answer.json()
    return wire


def open_(wire: dict[str, Any]) -> Dispute:
    return disputes.open_dispute(dispute_of(wire), psp="sandbox")


def close(wire: dict[str, Any]) -> Dispute:
    return disputes.close_dispute(dispute_of(wire), psp="sandbox")


def figures(order: PaymentOrder) -> Figures:
    """Return what the seller has: pending, available, reserved."""
    wallet = Wallet.objects.get(seller=order.seller_id, currency=order.amount.currency.code)
    pending, available, reserved = (f"{part.amount:.2f}" for part in (wallet.pending, wallet.available, wallet.reserved))
    return pending, available, reserved


def balance(account: str) -> Money:
    return queries.balance_of(account, currency="EUR")


def disputed(order: PaymentOrder) -> str:
    order.refresh_from_db()
    return f"{order.disputed.amount:.2f}"


def refund(order: PaymentOrder, amount: str) -> None:
    refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())


def apply() -> set[str]:
    """Apply what the inbox holds; return what became of the events."""
    return {status for _type, status, _reason in webhooks.apply()}


# --- What is booked -------------------------------------------------------------------------------------------------


def test_an_open_dispute_holds_the_whole_gross_pending_money_first(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    opened = open_(dispute(sandbox, order))
    assert (opened.held, opened.fee, opened.status) == (eur("100.00"), FEE, "open")
    assert (figures(order), disputed(order)) == (("0.00", "-10.00", "100.00"), "100.00")
    assert balance(chart.disputed("sandbox")) == eur("100.00")
    assert balance(chart.dispute_costs()) == FEE
    assert opened.evidence_due_at is not None
    message = OutboxMessage.objects.get(about=opened.public_id)
    assert (message.topic, message.sequence, message.payload["amount"]["amount"]) == ("dispute.opened", 1, "100.00")


@pytest.mark.parametrize(
    ("policy", "outcome", "lost", "seller", "fees", "losses"),
    [
        ("pro_rata", "won", None, ("90.00", "0.00", "0.00"), "10.00", "0.00"),
        ("pro_rata", "lost", None, ("0.00", "0.00", "0.00"), "0.00", "0.00"),
        ("pro_rata", "partial", 2500, ("67.50", "0.00", "0.00"), "7.50", "0.00"),
        ("full", "lost", None, ("0.00", "0.00", "0.00"), "0.00", "0.00"),
        ("full", "partial", 2500, ("75.00", "0.00", "0.00"), "0.00", "0.00"),
        ("keep", "lost", None, ("0.00", "-10.00", "0.00"), "10.00", "0.00"),
        ("keep", "partial", 2500, ("65.00", "0.00", "0.00"), "10.00", "0.00"),
    ],
)
def test_bug_40_a_decided_dispute_takes_what_is_lost_and_frees_the_rest(
    sandbox: SandboxCompany, order: PaymentOrder, policy: str, outcome: str, lost: int | None, seller: Figures, fees: str, losses: str
) -> None:
    Shop.objects.update(refund_fee_policy=policy)
    opened = dispute(sandbox, order)
    open_(opened)
    closed = close(decide(sandbox, opened, outcome, **({"lost_amount": lost} if lost else {})))
    assert (closed.status, figures(order), disputed(order)) == (outcome, seller, f"{closed.lost.amount:.2f}")
    assert (balance(chart.fee_revenue()), balance(chart.dispute_losses())) == (eur(fees), eur(losses))
    assert balance(chart.disputed("sandbox")) == zero("EUR")
    assert balance(chart.dispute_costs()) == FEE, "the PSP's fee never comes back"
    told = OutboxMessage.objects.filter(about=closed.public_id).order_by("id").values_list("topic", "sequence")
    assert list(told) == [("dispute.opened", 1), ("dispute.closed", 2)]
    assert list(Transition.objects.filter(kind="dispute").values_list("before", "after")) == [("open", outcome)]


def test_several_losses_of_one_order_give_back_what_one_would_to_the_last_cent(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, shop: Shop
) -> None:
    shop.fee_basis_points = 100
    shop.save()
    order = pay(open_payment("1.00")).orders.get()
    assert order.fee == eur("0.01")
    for part in (40, 40, 20):
        opened = dispute(sandbox, order, amount=part)
        open_(opened)
        close(decide(sandbox, opened, "lost"))
    assert (figures(order), balance(chart.fee_revenue())) == (("0.00", "0.00", "0.00"), zero("EUR"))


def test_the_rest_of_an_order_that_was_lost_in_part_can_be_refunded_with_the_rest_of_its_fee(
    sandbox: SandboxCompany, order: PaymentOrder
) -> None:
    opened = dispute(sandbox, order, amount=4000)
    open_(opened)
    close(decide(sandbox, opened, "lost"))
    with pytest.raises(NotRefundable, match=r"60\.00 EUR"):
        refunds.request_refund(order.pk, amount=eur("60.01"), reason="", now=timezone.now())
    refund(order, "60.00")
    assert (figures(order), balance(chart.fee_revenue())) == (("0.00", "0.00", "0.00"), zero("EUR"))


def test_a_second_dispute_of_the_same_order_holds_what_the_first_left(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    first = dispute(sandbox, order, amount=4000)
    open_(first)
    close(decide(sandbox, first, "lost"))
    assert open_(dispute(sandbox, order)).held == eur("60.00")
    assert disputed(order) == "100.00"


@pytest.mark.parametrize("outcomes", list(itertools.product(("won", "lost", "partial"), ("won", "lost"))), ids="_then_".join)
@pytest.mark.parametrize("news", ["1o 1c 2o 2c", "1o 2o 1c 2c", "1o 2o 2c 1c", "2o 1o 1c 2c", "2o 1c 2c 1o", "2c 1o 1c", "2o 2c 1c"])
def test_inv_13_two_disputes_of_one_charge_end_alike_in_whatever_order_we_hear_of_them(
    sandbox: SandboxCompany, order: PaymentOrder, news: str, outcomes: tuple[str, str]
) -> None:
    """The PSP has one open at a time; its words of the first may come when we know of the second already, or not before it is over."""
    terms = {"lost_amount": 1500} if outcomes[0] == "partial" else {}
    first = dispute(sandbox, order, amount=4000)
    told = {"1o": partial(open_, first), "1c": partial(close, decide(sandbox, first, outcomes[0], **terms))}
    second = dispute(sandbox, order)
    told |= {"2o": partial(open_, second), "2c": partial(close, decide(sandbox, second, outcomes[1]))}
    for word in [*news.split(), "1c", "2c"]:  # what could not be decided yet is looked at again
        told[word]()
    lost_first = {"won": "0.00", "lost": "40.00", "partial": "15.00"}[outcomes[0]]
    lost = "100.00" if outcomes[1] == "lost" else lost_first
    assert disputed(order) == lost
    left = (order.amount - eur(lost)).amount * 9 / 10
    assert figures(order) == (f"{left:.2f}", "0.00", "0.00")
    assert balance(chart.dispute_losses()) == zero("EUR")


# --- Once, and in any order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("news", sorted(set(itertools.permutations(["opened", "opened", "closed", "closed"]))))
def test_inv_13_in_whatever_order_and_how_often_it_is_told_the_end_is_the_same(
    sandbox: SandboxCompany, order: PaymentOrder, news: tuple[str, ...]
) -> None:
    opened = dispute(sandbox, order)
    closed = decide(sandbox, opened, "partial", lost_amount=3000)
    for told in news:
        open_(opened) if told == "opened" else close(closed)
    assert (figures(order), disputed(order), Dispute.objects.count()) == (("63.00", "0.00", "0.00"), "30.00", 1)


def test_a_decision_that_is_not_the_one_that_stands_is_refused(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    opened = dispute(sandbox, order)
    closed = decide(sandbox, opened, "won")
    close(closed)
    for other in ({"status": "lost", "lost_amount": 10000}, {"status": "partial", "lost_amount": 5}, {"status": "won", "lost_amount": 5}):
        with pytest.raises(NotBookable):
            close(closed | other)
    with pytest.raises(NotBookable):
        close(closed | {"amount": 9999})


def test_a_decision_that_names_another_order_or_charge_moves_no_dispute(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, order: PaymentOrder
) -> None:
    other = pay(open_payment("100.00")).orders.get()
    opened, others = dispute(sandbox, order), dispute(sandbox, other)
    open_(opened)
    closed, others_closed = decide(sandbox, opened, "lost"), decide(sandbox, others, "won")
    elsewhere = {name: others[name] for name in ("reference", "charge", "key")}
    with pytest.raises(NotBookable, match=r"is about"):
        close(closed | elsewhere)
    with pytest.raises(NotBookable, match=r"is about"):
        open_(opened | elsewhere)
    assert (Dispute.objects.get().order_id, Dispute.objects.get().status) == (order.pk, "open")
    close(closed)
    close(others_closed)
    assert (disputed(order), disputed(other)) == ("100.00", "0.00")


@pytest.mark.parametrize(
    "changed",
    [{"reference": "ord_nobody"}, {"currency": "USD"}, {"amount": 10001}, {"status": "partial", "lost_amount": 10000}],
    ids=["no order", "currency", "more than the order", "no part"],
)
def test_what_is_not_about_our_order_is_not_booked(sandbox: SandboxCompany, order: PaymentOrder, changed: dict[str, Any]) -> None:
    opened = dispute(sandbox, order)
    with pytest.raises(NotBookable):
        close(opened | {"status": "lost", "lost_amount": 10000} | changed)
    assert not Dispute.objects.exists()
    open_(opened)


def test_webhooks_of_a_dispute_are_applied_in_the_wrong_order_too(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    order = pay(open_payment("100.00"), DISPUTED_THEN_LOST).orders.get()
    oracle.wait_for("dispute.lost", count=1)
    for delivery in reversed(webhooks_about(sandbox, order, count=3)):
        assert post(delivery) == 200
        assert apply() == {"applied"}
    assert (figures(order), Dispute.objects.get().status) == (("0.00", "0.00", "0.00"), "lost")


def test_bug_42_a_dispute_of_a_charge_that_we_do_not_know_of_yet_is_looked_at_again(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("100.00")
    charge_and_keep_the_answer(event)
    order = event.orders.get()
    dispute(sandbox, order)
    [_charge, opened] = webhooks_about(sandbox, order, count=2)
    assert post(opened) == 200
    begun = timezone.now()
    assert apply() == {"parked"}
    execute_until_settled()
    assert inbox.apply_received(now=begun + timedelta(seconds=5)) == 0, "not before its time"
    assert inbox.apply_received(now=timezone.now() + timedelta(seconds=6)) == 1
    assert (apply(), figures(order)) == ({"applied"}, ("0.00", "-10.00", "100.00"))


# --- The watch ------------------------------------------------------------------------------------------------------


def test_a_lost_webhook_loses_no_dispute(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    opened = dispute(sandbox, order)
    assert [dispute_watch.watch(now=timezone.now()) for _time in range(2)] == [1, 0]
    assert Dispute.objects.get().status == "open"
    decide(sandbox, opened, "won")
    assert [dispute_watch.watch(now=timezone.now()) for _time in range(2)] == [1, 0]
    assert (Dispute.objects.get().status, figures(order)) == ("won", ("90.00", "0.00", "0.00"))


def test_a_dispute_that_cannot_be_recorded_yet_is_asked_for_again(open_payment: Open, sandbox: SandboxCompany) -> None:
    event = open_payment("100.00")
    charge_and_keep_the_answer(event)
    opened = dispute_of(dispute(sandbox, event.orders.get()))
    assert dispute_watch.watch(now=timezone.now()) == 0
    assert DisputeWatch.objects.get().asked_until == opened.updated_at
    execute_until_settled()
    assert dispute_watch.watch(now=timezone.now() + timedelta(days=3)) == 1


def test_a_dispute_that_contradicts_our_books_is_parked_for_a_person(
    sandbox: SandboxCompany, order: PaymentOrder, use_psp: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    psp = sandbox_psp(sandbox)
    notice = replace(dispute_of(dispute(sandbox, order)), amount=eur("120.00"))
    monkeypatch.setattr(psp, "disputes_since", lambda _moment: [notice])
    use_psp(psp)
    assert [dispute_watch.watch(now=timezone.now()) for _time in range(2)] == [0, 0]
    [(kind, status, reason)] = webhooks.apply()
    assert (kind, status, "120.00" in reason) == ("dispute.opened", "parked", True)
    monkeypatch.undo()
    use_psp(sandbox_psp(sandbox))
    assert dispute_watch.watch(now=timezone.now()) == 1


def test_a_psp_that_is_away_is_asked_for_the_same_time_later(
    sandbox: SandboxCompany, order: PaymentOrder, use_psp: Callable[..., Any]
) -> None:
    dispute_watch.watch(now=timezone.now())
    before = DisputeWatch.objects.get().asked_until
    dispute(sandbox, order)
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:1"))
    assert dispute_watch.watch(now=timezone.now() + timedelta(days=9)) == 0
    assert DisputeWatch.objects.get().asked_until == before
    use_psp(sandbox_psp(sandbox))
    assert dispute_watch.watch(now=timezone.now() + timedelta(days=9)) == 1


def test_one_dispute_that_cannot_be_read_hides_no_other(
    sandbox: SandboxCompany,
    order: PaymentOrder,
    use_psp: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispute(sandbox, order)
    psp = sandbox_psp(sandbox)
    ask = psp._line.ask

    def with_strangers(path: str, parameters: dict[str, str] | None = None) -> Any:
        page = ask(path, parameters)
        strangers = [{"id": "dp_stranger", "amount": 0, "currency": "EUR"}, "no dispute at all", None]
        return page | {"data": [*strangers, *page["data"]]}

    monkeypatch.setattr(psp._line, "ask", with_strangers)
    use_psp(psp)
    assert dispute_watch.watch(now=timezone.now()) == 1
    assert Dispute.objects.get().order_id == order.pk
    assert [record.levelname for record in caplog.records if "dp_stranger" in record.getMessage()] == ["ERROR"]


# --- Beside refunds -------------------------------------------------------------------------------------------------


def test_bug_38_what_was_refunded_before_is_not_held_again_and_the_platform_bears_it(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    refund(order, "30.00")
    opened = dispute(sandbox, order)
    assert open_(opened).held == eur("70.00")
    assert (figures(order), disputed(order)) == (("0.00", "-7.00", "70.00"), "70.00")
    close(decide(sandbox, opened, "lost"))
    assert (figures(order), balance(chart.dispute_losses())) == (("0.00", "0.00", "0.00"), eur("30.00"))
    assert balance(chart.fee_revenue()) == zero("EUR")


def test_bug_38_while_a_dispute_is_open_nothing_is_refunded_or_cancelled(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    opened = dispute(sandbox, order, amount=1000)
    open_(opened)
    with pytest.raises(NotRefundable, match="disputed"):
        refunds.request_refund(order.pk, amount=eur("1.00"), reason="", now=timezone.now())
    with pytest.raises(NotCancellable, match="disputed"):
        cancellations.cancel_order(order.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())
    close(decide(sandbox, opened, "won"))
    refund(order, "100.00")
    assert figures(order) == ("0.00", "0.00", "0.00")


def test_a_dispute_of_what_is_refunded_in_full_holds_nothing_of_the_seller(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    refund(order, "100.00")
    opened = dispute(sandbox, order)
    assert (open_(opened).wallet_entry_id, figures(order)) == (None, ("0.00", "0.00", "0.00"))
    close(decide(sandbox, opened, "lost"))
    assert (figures(order), balance(chart.dispute_losses())) == (("0.00", "0.00", "0.00"), eur("100.00"))


def test_bug_38_refunds_and_a_dispute_at_the_same_moment_take_no_money_twice(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    notice = dispute_of(dispute(sandbox, order, amount=8000))

    def ask() -> object:
        return refunds.request_refund(order.pk, amount=eur("30.00"), reason="", now=timezone.now())

    answers = all_at_once(ask, lambda: disputes.open_dispute(notice, psp="sandbox"), ask)
    assert {type(error) for error in errors_in(answers)} <= {NotRefundable}
    order.refresh_from_db()
    assert order.refunded + order.disputed <= order.amount
    assert Dispute.objects.get().held == min(eur("80.00"), order.amount - order.refunded)


@pytest.mark.parametrize("part", ["100.00", "40.00"])
def test_a_refund_that_is_refused_because_of_the_dispute_leaves_the_loss_with_the_seller(
    sandbox: SandboxCompany, order: PaymentOrder, part: str
) -> None:
    refunds.request_refund(order.pk, amount=eur(part), reason="", now=timezone.now())
    opened = dispute(sandbox, order)
    assert open_(opened).held == eur("100.00") - eur(part)
    execute_refunds(now=timezone.now())
    assert (Refund.objects.get().status, Refund.objects.get().failure_code) == ("FAILED", "rejected_request")
    closed = close(decide(sandbox, opened, "lost"))
    assert (figures(order), disputed(order), closed.held) == (("0.00", "0.00", "0.00"), "100.00", eur("100.00"))
    assert (balance(chart.dispute_losses()), balance(chart.fee_revenue())) == (zero("EUR"), zero("EUR"))
    with pytest.raises(NotRefundable, match=r"0\.00 EUR can still be refunded"):
        refunds.request_refund(order.pk, amount=None, reason="again", now=timezone.now())


@pytest.mark.parametrize(
    ("outcome", "lost", "seller", "fees"),
    [
        ("won", None, ("90.00", "0.00", "0.00"), "10.00"),
        ("lost", None, ("0.00", "0.00", "0.00"), "0.00"),
        ("partial", 2500, ("67.50", "0.00", "0.00"), "7.50"),
    ],
)
def test_bug_39_a_refund_that_comes_back_while_the_dispute_is_open_leaves_the_loss_with_the_seller(
    open_payment: Open, pay: Open, sandbox: SandboxCompany, oracle: Oracle, outcome: str, lost: int | None, seller: Figures, fees: str
) -> None:
    order = pay(open_payment("100.00"), SUCCEEDS_THEN_FAILS).orders.get()
    refund(order, "100.00")
    opened = dispute(sandbox, order)
    assert open_(opened).held == zero("EUR")
    oracle.wait_for("refund.failed", count=1)
    settlement.reverse_refund(Refund.objects.get().pk, code="refund_failed", at=timezone.now())
    close(decide(sandbox, opened, outcome, **({"lost_amount": lost} if lost else {})))
    pending, available, reserved = seller
    freed = eur(pending) + eur(available)
    wallet = Wallet.objects.get(seller=order.seller_id, currency="EUR")
    assert (wallet.pending + wallet.available, wallet.reserved) == (freed, eur(reserved))
    assert (balance(chart.dispute_losses()), balance(chart.fee_revenue())) == (zero("EUR"), eur(fees))


@pytest.mark.parametrize(
    ("policy", "parts", "outcome", "lost", "seller", "left"),
    [
        ("pro_rata", ["100.00"], "lost", None, "0.00", "0.00"),
        ("pro_rata", ["60.00", "40.00"], "lost", None, "0.00", "0.00"),
        ("pro_rata", ["60.00", "40.00"], "partial", 7000, "27.00", "30.00"),
        ("keep", ["30.00", "30.00"], "lost", None, "-10.00", "0.00"),
        ("full", ["100.00"], "partial", 2500, "75.00", "75.00"),
    ],
)
def test_bug_39_a_refund_that_comes_back_after_the_dispute_was_lost_leaves_the_loss_with_the_seller_too(
    sandbox: SandboxCompany,
    order: PaymentOrder,
    oracle: Oracle,
    policy: str,
    parts: list[str],
    outcome: str,
    lost: int | None,
    seller: str,
    left: str,
) -> None:
    Shop.objects.update(refund_fee_policy=policy)
    for part in parts:
        refund(order, part)
    opened = dispute(sandbox, order)
    open_(opened)
    closed = close(decide(sandbox, opened, outcome, **({"lost_amount": lost} if lost else {})))
    assert balance(chart.dispute_losses()) == closed.lost - closed.held > zero("EUR")
    for given_back in Refund.objects.order_by("id"):
        settlement.reverse_refund(given_back.pk, code="refund_failed", at=timezone.now())
        given_back.refresh_from_db()
        oracle.explain(given_back.psp_reference)  # the PSP knows nothing of its coming back
        assert invariants.violations() == []
    wallet = Wallet.objects.get(seller=order.seller_id, currency="EUR")
    assert (wallet.pending + wallet.available, balance(chart.dispute_losses())) == (eur(seller), zero("EUR"))
    closed.refresh_from_db()
    order.refresh_from_db()
    assert (order.left, order.disputed) == (eur(left), closed.lost)
    assert balance(chart.fee_revenue()) == order.fee - closed.fee_returned
    told = list(OutboxMessage.objects.filter(about=closed.public_id).order_by("sequence"))
    assert told[-1].payload["fee_returned"]["amount"] == f"{closed.fee_returned.amount:.2f}"
    assert len(told) == closed.told > 2


def test_what_comes_back_of_a_part_takes_over_no_more_of_the_loss_than_came_back(
    sandbox: SandboxCompany, order: PaymentOrder, oracle: Oracle
) -> None:
    refund(order, "30.00")
    refund(order, "20.00")
    opened = dispute(sandbox, order)
    open_(opened)
    close(decide(sandbox, opened, "lost"))
    first = Refund.objects.order_by("id")[0]
    settlement.reverse_refund(first.pk, code="refund_failed", at=timezone.now())
    oracle.explain(first.psp_reference)  # the PSP knows nothing of its coming back
    assert (figures(order), balance(chart.dispute_losses())) == (("0.00", "0.00", "0.00"), eur("20.00"))
    with pytest.raises(NotRefundable, match=r"0\.00 EUR can still be refunded"):
        refunds.request_refund(order.pk, amount=None, reason="again", now=timezone.now())


def test_a_lost_dispute_stays_open_while_a_refund_of_the_same_money_may_still_fail(sandbox: SandboxCompany, order: PaymentOrder) -> None:
    refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    opened = dispute(sandbox, order)
    closed = decide(sandbox, opened, "lost")
    assert close(closed).status == "open"
    assert dispute_watch.watch(now=timezone.now()) == 0
    execute_refunds(now=timezone.now())
    assert dispute_watch.watch(now=timezone.now() + timedelta(days=90)) == 1
    assert (Dispute.objects.get().status, figures(order)) == ("lost", ("0.00", "0.00", "0.00"))
    assert balance(chart.dispute_losses()) == zero("EUR")


def test_the_webhook_of_a_decision_that_hangs_on_a_refund_waits_for_it_as_long_as_it_takes(
    sandbox: SandboxCompany, order: PaymentOrder
) -> None:
    refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    opened = dispute(sandbox, order)
    decide(sandbox, opened, "lost")
    for delivery in webhooks_about(sandbox, order, count=3):
        post(delivery)
    assert apply() == {"applied", "parked"}
    for day in range(1, 30):
        assert inbox.apply_received(now=timezone.now() + timedelta(days=2 * day)) == 1, "it is looked at again, a month later too"
    execute_refunds(now=timezone.now())
    inbox.apply_received(now=timezone.now() + timedelta(days=90))
    assert (apply(), Dispute.objects.get().status) == ({"applied"}, "lost")


@pytest.mark.parametrize(
    ("amount", "outcome", "lost", "losses"),
    [
        ("100.00", "lost", 10000, "100.00"),
        ("60.00", "lost", 10000, "60.00"),
        ("60.00", "partial", 2500, "0.00"),
        ("60.00", "won", 0, "0.00"),
    ],
)
def test_a_refund_that_was_given_up_and_succeeds_after_the_dispute_is_booked_and_what_went_twice_the_platform_bears(
    sandbox: SandboxCompany, order: PaymentOrder, oracle: Oracle, amount: str, outcome: str, lost: int, losses: str
) -> None:
    given_up(sandbox, order, amount)
    opened = dispute(sandbox, order)
    open_(opened)
    [news] = webhooks.deliveries(sandbox, oracle, "refund.succeeded", count=1)
    post(news)
    assert apply() == {"parked"}, "who bears it hangs on the dispute"
    close(decide(sandbox, opened, outcome, **({"lost_amount": lost} if outcome == "partial" else {})))
    inbox.apply_received(now=timezone.now() + timedelta(days=1))
    assert apply() == {"applied"}
    kept = Refund.objects.get()
    assert (kept.status, kept.borne, balance(chart.dispute_losses())) == ("SUCCESS", eur(losses), eur(losses))
    order.refresh_from_db()
    assert order.refunded == eur(amount) - eur(losses)
    wallet = Wallet.objects.get(seller=order.seller_id, currency="EUR")
    kept_of_it = order.amount - order.refunded - order.disputed
    assert (wallet.pending + wallet.available + balance(chart.fee_revenue()), wallet.reserved) == (kept_of_it, zero("EUR"))
    settlement.reverse_refund(kept.pk, code="account_closed", at=timezone.now())
    oracle.explain(kept.psp_reference)  # the PSP knows nothing of its coming back
    assert (balance(chart.dispute_losses()), figures(order)[2]) == (zero("EUR"), "0.00")


def given_up(sandbox: SandboxCompany, order: PaymentOrder, amount: str) -> None:
    """Have a refund executed whose answer is lost, and a person who gives it up."""
    sandbox.fault(operation="refund", kind="execute_then_500", times=1)
    asked = refunds.request_refund(order.pk, amount=eur(amount), reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    with transaction.atomic():
        dead_letters.bury(order.pk, refund_id=asked.pk, reason=dead_letters.UNKNOWN_TOO_LONG, detail="")
    rescue.fail(DeadLetter.objects.get(decided_at=None).pk, actor="staff:ada", note="the buyer was paid in cash", now=timezone.now())


# --- Charges that came too late -------------------------------------------------------------------------------------


def test_a_disputed_charge_that_came_too_late_holds_nothing_of_the_seller(
    open_payment: Open, sandbox: SandboxCompany, order: PaymentOrder
) -> None:
    event = open_payment("100.00")
    [capture] = came_too_late(event)
    expiry.expire_checkouts(now=event.expires_at)
    late.settle([capture])
    execute_refunds(now=timezone.now())
    opened = dispute(sandbox, event.orders.get())
    assert open_(opened).held == zero("EUR")
    close(decide(sandbox, opened, "lost"))
    assert balance(chart.dispute_losses()) == eur("100.00"), "the buyer has it twice"
    assert figures(order) == ("90.00", "0.00", "0.00")


@pytest.mark.parametrize(
    ("outcome", "terms", "owed", "letters"),
    [("lost", {}, "0.00", 0), ("partial", {"lost_amount": 4000}, "60.00", 1), ("won", {}, "100.00", 1)],
)
def test_what_a_dispute_takes_of_a_charge_that_came_too_late_is_owed_to_the_buyer_no_more(
    open_payment: Open, sandbox: SandboxCompany, outcome: str, terms: dict[str, Any], owed: str, letters: int
) -> None:
    event = open_payment("100.00")
    [capture] = came_too_late(event)
    expiry.expire_checkouts(now=event.expires_at)
    late.settle([capture])
    opened = dispute(sandbox, event.orders.get())
    open_(opened)
    if outcome == "lost":
        closed = decide(sandbox, opened, outcome)
        assert close(closed).status == "open", "its refund is under way, and may fail"
        execute_refunds(now=timezone.now())
    else:
        execute_refunds(now=timezone.now())
        closed = decide(sandbox, opened, outcome, **terms)
    assert Refund.objects.get().status == "FAILED"
    assert DeadLetter.objects.get().reason == "late_charge_not_given_back"
    close(closed)
    assert (balance(chart.owed_to_buyers()), balance(chart.dispute_losses())) == (eur(owed), zero("EUR"))
    waiting = dead_letters.waiting()
    assert waiting.count() == letters
    if not letters:
        with pytest.raises(AlreadyDecided):
            rescue.redrive(DeadLetter.objects.get().pk, actor="staff:ada", note="again", now=timezone.now())
        with pytest.raises(late.NothingOwed):
            late.refund_of(LateCharge.objects.get())
    else:
        rescue.redrive(waiting.get().pk, actor="staff:ada", note="the rest of it", now=timezone.now())
        execute_refunds(now=timezone.now())
        assert [(each.status, each.amount) for each in Refund.objects.order_by("id")] == [("FAILED", eur("100.00")), ("SUCCESS", eur(owed))]
        assert balance(chart.owed_to_buyers()) == zero("EUR")


@pytest.mark.parametrize(("outcome", "terms", "owed", "letters"), [("lost", {}, "0.00", 0), ("partial", {"lost_amount": 4000}, "60.00", 1)])
def test_the_refund_of_a_late_charge_that_comes_back_after_the_dispute_was_lost_leaves_nothing_of_the_loss_with_the_platform(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, outcome: str, terms: dict[str, Any], owed: str, letters: int
) -> None:
    event = open_payment("100.00")
    [capture] = came_too_late(event)
    expiry.expire_checkouts(now=event.expires_at)
    late.settle([capture])
    execute_refunds(now=timezone.now())
    opened = dispute(sandbox, event.orders.get())
    open_(opened)
    closed = close(decide(sandbox, opened, outcome, **terms))
    assert balance(chart.dispute_losses()) == closed.lost
    given_back = Refund.objects.get()
    settlement.reverse_refund(given_back.pk, code="refund_failed", at=timezone.now())
    oracle.explain(given_back.psp_reference)  # the PSP knows nothing of its coming back
    assert (balance(chart.owed_to_buyers()), balance(chart.dispute_losses())) == (eur(owed), zero("EUR"))
    assert (LateCharge.objects.get().taken_back, dead_letters.waiting().count()) == (closed.lost, letters)
    for letter in dead_letters.waiting():
        rescue.redrive(letter.pk, actor="staff:ada", note="the rest of it", now=timezone.now())
        assert Refund.objects.latest("id").amount == eur(owed)


def test_a_dispute_from_before_charges_were_kept_is_named_as_the_psp_said(open_payment: Open, pay: Open, sandbox: SandboxCompany) -> None:
    """Nothing is held of an order that was refunded in full, and another charge came too late: only the webhook knows which is disputed."""
    event = open_payment("100.00")
    captures = came_too_late(event)
    order = pay(event).orders.get()
    late.settle(captures)
    refund(order, "100.00")
    opened = sandbox.client.post("/v1/disputes", json={"charge": queries_of_payments.charge_of(order)}).raise_for_status().json()
    body = json.dumps({"data": {"object": opened}})
    inbox.store("sandbox", Notice("evt_opened", "dispute.opened", "", None), body=body)
    assert apply() == {"applied"}
    Dispute.objects.update(charge="")
    migration = importlib.import_module("payments.migrations.0008_disputes_of_a_charge")
    with connection.cursor() as cursor:
        cursor.execute(migration.NAME_THE_CHARGES)
    assert (Dispute.objects.get().charge, Dispute.objects.get().held) == (opened["charge"], zero("EUR"))
    assert close(decide(sandbox, opened, "won")).status == "won"


def test_both_charges_of_one_order_are_disputed_and_each_dispute_is_kept_and_decided_by_itself(
    open_payment: Open, pay: Open, sandbox: SandboxCompany
) -> None:
    event = open_payment("100.00")
    [capture] = came_too_late(event)
    order = pay(event).orders.get()
    late.settle([capture])
    own = queries_of_payments.charge_of(order)
    of_own, of_late = (
        sandbox.client.post("/v1/disputes", json={"charge": charge}).raise_for_status().json() for charge in (own, capture.psp_reference)
    )
    assert dispute_watch.watch(now=timezone.now()) == 2
    assert {(each.charge, each.held) for each in order.disputes.all()} == {(own, eur("100.00")), (capture.psp_reference, zero("EUR"))}
    execute_refunds(now=timezone.now())
    decide(sandbox, of_late, "lost")
    assert dispute_watch.watch(now=timezone.now()) == 1
    assert balance(chart.owed_to_buyers()) == zero("EUR")
    with pytest.raises(NotRefundable, match="disputed"):
        refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    decide(sandbox, of_own, "won")
    assert dispute_watch.watch(now=timezone.now()) == 1
    refund(order, "100.00")
    assert (figures(order), balance(chart.dispute_losses())) == (("0.00", "0.00", "0.00"), zero("EUR"))


def test_the_dispute_of_a_charge_that_came_too_late_keeps_nobody_from_refunding_the_order(
    open_payment: Open, pay: Open, sandbox: SandboxCompany
) -> None:
    event = open_payment("100.00")
    [capture] = came_too_late(event)
    order = pay(event).orders.get()
    late.settle([capture])
    open_(sandbox.client.post("/v1/disputes", json={"charge": capture.psp_reference}).raise_for_status().json())
    refund(order, "100.00")
    assert figures(order) == ("0.00", "0.00", "0.00")


def test_a_dispute_that_waits_is_asked_for_until_it_can_be_recorded_however_long_it_takes(
    open_payment: Open, sandbox: SandboxCompany, caplog: pytest.LogCaptureFixture
) -> None:
    event = open_payment("100.00")
    charge_and_keep_the_answer(event)
    dispute(sandbox, event.orders.get())
    now = timezone.now()
    assert [dispute_watch.watch(now=now + timedelta(days=day)) for day in range(0, 120, 10)] == [0] * 12
    assert {record.levelname for record in caplog.records if "waits" in record.getMessage()} == {"WARNING", "ERROR"}
    execute_until_settled()
    assert dispute_watch.watch(now=now + timedelta(days=120)) == 1


def came_too_late(event: PaymentEvent) -> list[Capture]:
    """Charge at the PSP, lose the answer, and give the order up; return what the PSP did."""
    captures = captures_of(charge_and_keep_the_answer(event))
    settlement.fail([Failure(each.order_id, each.attempt_id, each.psp_key, "", "gave_up", "") for each in captures])
    return captures
