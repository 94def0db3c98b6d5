"""Everybody at once, on real commits: each order is charged once, each reference booked once, and nobody waits for ever."""

import dataclasses
import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from ledger import journal
from ledger.ids import new_id
from ledger.models import JournalEntry
from payments import claims, confirmation, disputes, executor, expiry, inbox, intake, refund_executor, refunds, settlement, verdicts
from payments.confirmation import CheckoutExpired
from payments.intake import CheckoutConflict, NewOrder, OrderReferenceUsed
from payments.models import DueOrder, PaymentEvent, PaymentOrder, PspAttempt, PspEvent, Refund
from payments.psp import registry
from payments.psp.protocol import PspOutcomeUnknown
from payments.refunds import NotRefundable
from payments.settlement import Failure
from tests.factories import basket, draft, eur, new_sellers
from tests.fixtures_money import (
    VISA,
    Oracle,
    all_at_once,
    captures_of,
    card_given,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_refunds,
    execute_until_settled,
    session_for,
    statuses,
    wait_until_somebody_waits,
)
from tests.fixtures_services import SandboxCompany
from wallet.models import Seller, Shop, Wallet

Open = Callable[..., PaymentEvent]
pytestmark = pytest.mark.race


def test_a_hundred_clicks_on_one_basket_charge_each_order_once(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    confirmed = card_given(event)

    def click() -> int:
        return len(confirmation.confirm(event.pk, confirmed, now=timezone.now()))

    answers = all_at_once(*[click] * 100)
    assert sorted(answers) == [0] * 99 + [3]  # type: ignore[type-var]
    execute_until_settled()
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


def test_bug_11_many_tabs_each_with_its_own_session_start_one_payment(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    tabs = [card_given(event, tab=f":{number}") for number in range(8)]
    answers = all_at_once(*[partial(confirmation.confirm, event.pk, tab, now=timezone.now()) for tab in tabs])
    assert errors_in(answers) == []
    assert sorted(len(started) for started in answers) == [0] * 7 + [2]  # type: ignore[arg-type]
    execute_until_settled()
    assert len(oracle.charged()) == 2


def test_the_basket_and_one_of_its_orders_confirmed_at_once_charge_each_order_once(open_payment: Open, oracle: Oracle) -> None:
    for _round in range(4):
        event = open_payment("10.00", "20.00")
        order = event.orders.order_by("id")[0]
        whole, part = card_given(event), session_for(order.amount, VISA, nonce=order.public_id)
        all_at_once(
            partial(confirmation.confirm, event.pk, whole, now=timezone.now()),
            partial(confirmation.confirm_order, order.pk, payment_token=part.payment_token, once=new_id("wish"), now=timezone.now()),
        )
        execute_until_settled()
    assert len(oracle.charged()) == len(set(oracle.charged()))
    assert len(oracle.charged()) == PaymentOrder.objects.filter(status="SUCCESS").count()


def test_four_executors_at_fifty_due_orders_charge_each_once(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment(*["1.00"] * 50)
    confirm_card(event)
    answers = all_at_once(*[lambda: executor.execute_due_orders(now=timezone.now(), limit=20)] * 4)
    assert errors_in(answers) == []
    assert sum(answers) == 50  # type: ignore[arg-type]
    assert statuses(event) == ["SUCCESS"] * 50
    assert (PspAttempt.objects.count(), len(oracle.charged())) == (50, 50)


def test_bug_02_executor_webhook_and_poller_settle_the_same_captures_at_once(open_payment: Open) -> None:
    for _round in range(6):
        event = open_payment("10.00", "20.00", "30.00")
        answered = charge_and_keep_the_answer(event)
        captures = captures_of(answered)
        settled = all_at_once(
            partial(executor.hand_over, answered, now=timezone.now()),
            partial(settlement.settle, captures),
            partial(settlement.settle, captures[::-1]),
            *[partial(settlement.settle, [one]) for one in captures],
        )
        assert errors_in(settled) == []
        assert statuses(event) == ["SUCCESS"] * 3
    assert JournalEntry.objects.count() == 18


def test_bug_35_an_inbox_read_by_several_workers_has_each_effect_once(open_payment: Open) -> None:
    event = open_payment(*["1.00"] * 20)
    captures = captures_of(charge_and_keep_the_answer(event))
    bodies = [
        {
            "id": capture.psp_reference,
            "key": capture.psp_key,
            "reference": capture.psp_key,
            "status": "succeeded",
            "amount": 100,
            "currency": "EUR",
            "created_at": capture.charged_at.isoformat(),
        }
        for capture in captures
    ]
    PspEvent.objects.bulk_create(
        PspEvent(
            psp="sandbox",
            event_id=f"evt_{copy}_{body['id']}",
            type="charge.succeeded",
            body={"data": {"object": body}},
            status="received",
        )
        for copy, body in itertools.product(range(3), bodies)
    )
    answers = all_at_once(
        *[lambda: inbox.apply_received(now=timezone.now())] * 4,
        lambda: settlement.settle(captures),
        lambda: len(settlement.settle(captures[::-1])),
    )
    assert errors_in(answers) == []
    assert set(PspEvent.objects.values_list("status", flat=True)) == {"applied"}
    assert JournalEntry.objects.count() == 20


def test_bug_41_success_and_failure_of_one_charge_at_once_leave_one_of_them(open_payment: Open, oracle: Oracle) -> None:
    """The PSP says both, which it never should: whichever is first stands, whole."""
    for _round in range(6):
        event = open_payment("10.00")
        [capture] = captures_of(charge_and_keep_the_answer(event))
        failure = Failure(capture.order_id, capture.attempt_id, capture.psp_key, capture.psp_reference, "card_declined", "")
        answers = all_at_once(partial(settlement.settle, [capture]), partial(settlement.fail, [failure]))
        assert errors_in(answers) == []
        assert sorted(len(done) for done in answers) == [0, 1]  # type: ignore[arg-type]
        if statuses(event) == ["FAILED"]:
            oracle.explain(capture.psp_reference)


@pytest.mark.parametrize("width", [2, 12])
def test_bug_57_settlements_that_cross_wait_for_each_other_and_never_for_ever(
    open_payment: Open, sellers: list[Seller], width: int
) -> None:
    for _round in range(4):
        there, back = (
            captures_of(charge_and_keep_the_answer(open_payment(*["1.00"] * width, sellers=order))) for order in (sellers, sellers[::-1])
        )
        assert (
            errors_in(
                all_at_once(
                    partial(settlement.settle, there),
                    partial(settlement.settle, back[::-1]),
                    partial(settlement.settle, back + there),
                    partial(settlement.settle, (there + back)[::-1]),
                )
            )
            == []
        )
    assert JournalEntry.objects.count() == 4 * 2 * width


def test_bug_57_baskets_of_the_same_dozen_sellers_in_every_order_settle_side_by_side(shop: Shop, open_payment: Open) -> None:
    dozen = new_sellers(shop, *[f"Seller {number}" for number in range(12)])
    for _round in range(5):
        baskets = [
            captures_of(charge_and_keep_the_answer(open_payment(*["1.00"] * 12, sellers=dozen[turn:] + dozen[:turn])))
            for turn in range(0, 12, 2)
        ]
        assert errors_in(all_at_once(*[partial(settlement.settle, captures) for captures in baskets])) == []
    assert {wallet.pending for wallet in Wallet.objects.all()} == {eur("27.00")}


def test_the_last_two_orders_of_a_basket_settled_side_by_side_pay_it(open_payment: Open) -> None:
    """Each settles its own and sees the other still executing, unless one waits: then nobody would say that the basket is paid."""
    for _round in range(10):
        event = open_payment("10.00", "20.00")
        captures = captures_of(charge_and_keep_the_answer(event))
        assert errors_in(all_at_once(*[partial(settlement.settle, [capture]) for capture in captures])) == []
        event.refresh_from_db()
        assert (event.status, event.is_payment_done) == ("paid", True)


def test_putting_back_and_settling_the_same_orders_never_deadlock(open_payment: Open) -> None:
    """A worker that heard nothing gives its orders back while a webhook settles them."""
    for turn in range(6):
        event = open_payment(*["1.00"] * 40)
        answered = charge_and_keep_the_answer(event)
        waiting = [verdicts.wait_for(work, PspOutcomeUnknown(""), now=timezone.now()) for work, _answer in answered]
        captures = captures_of(answered)

        def give_back(waiting: list[dict[str, Any]]) -> None:
            for _time in range(15):
                claims.put_back(waiting)

        assert (
            errors_in(
                all_at_once(
                    partial(give_back, waiting[::-1]),
                    partial(settlement.settle, captures),
                    partial(settlement.settle, captures[::-1]),
                    partial(give_back, waiting),
                )
            )
            == []
        ), f"in round {turn}"
        assert statuses(event) == ["SUCCESS"] * 40


def test_bug_17_thirty_refunds_racing_over_one_order_never_give_back_more_than_was_taken(
    open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    order = pay(open_payment("100.00")).orders.get()

    def refund() -> Refund:
        return refunds.request_refund(order.pk, amount=eur("15.00"), reason="", now=timezone.now())

    answers = all_at_once(*[refund] * 30)
    assert {type(error) for error in errors_in(answers)} == {NotRefundable}
    assert len(errors_in(answers)) == 24
    all_at_once(*[lambda: refund_executor.execute_due_refunds(now=timezone.now())] * 4)
    execute_refunds(now=timezone.now() + timedelta(days=1))
    assert sum(row["amount"] for row in oracle.rows("refund.succeeded")) == 9000
    assert set(Refund.objects.values_list("status", flat=True)) == {"SUCCESS"}


def test_bug_38_refunds_racing_a_dispute_never_take_more_than_was_taken(
    open_payment: Open, pay: Open, oracle: Oracle, sandbox: SandboxCompany
) -> None:
    """Whatever was asked for before the dispute was heard of stays reserved, and the dispute holds the rest; the PSP refuses the refunds."""
    order = pay(open_payment("100.00")).orders.get()
    sandbox.client.post("/v1/disputes", json={"reference": order.public_id}).raise_for_status()
    disputed = registry.psp_named("sandbox").disputes_since(timezone.now() - timedelta(hours=1))
    [notice] = [each for each in disputed if each.reference == order.public_id]

    def refund() -> Refund:
        return refunds.request_refund(order.pk, amount=eur("15.00"), reason="", now=timezone.now())

    answers = all_at_once(*[refund] * 4, *[partial(disputes.open_dispute, notice, psp="sandbox")] * 2, *[refund] * 4)
    assert {type(error) for error in errors_in(answers)} <= {NotRefundable}
    order.refresh_from_db()
    assert order.refunded + order.disputed == eur("100.00")
    execute_refunds(now=timezone.now())
    assert set(Refund.objects.values_list("status", flat=True)) <= {"FAILED"}
    assert oracle.rows("refund.succeeded") == []


def test_one_refund_executed_by_several_workers_is_paid_back_once(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    order = pay(open_payment("10.00")).orders.get()
    for cents in ("1.00", "2.00", "3.00"):
        refund = refunds.request_refund(order.pk, amount=eur(cents), reason="", now=timezone.now())
        claimed = refund_executor.claim_due(now=timezone.now())
        assert claimed is not None
        assert errors_in(all_at_once(*[partial(refund_executor.execute, claimed, now=timezone.now())] * 5)) == []
        refund.refresh_from_db()
        assert refund.status == "SUCCESS"
    assert len(oracle.rows("refund.succeeded")) == 3


def test_a_sale_and_refunds_of_one_seller_at_once_leave_the_wallet_right(open_payment: Open, pay: Open, sellers: list[Seller]) -> None:
    paid = [pay(open_payment("10.00", sellers=sellers[:1])).orders.get() for _order in range(4)]
    for order in paid:
        refunds.request_refund(order.pk, amount=order.amount, reason="", now=timezone.now())
    coming = [captures_of(charge_and_keep_the_answer(open_payment("5.00", sellers=sellers[:1]))) for _order in range(4)]
    calls = [lambda: refund_executor.execute_due_refunds(now=timezone.now())] * 2
    assert errors_in(all_at_once(*calls, *[partial(settlement.settle, captures) for captures in coming])) == []
    execute_refunds(now=timezone.now() + timedelta(days=1))
    assert Wallet.objects.get(seller=sellers[0]).pending == eur("18.00")


def test_bug_05_two_intakes_of_one_checkout_open_it_once(shop: Shop, sellers: list[Seller]) -> None:
    for number in range(6):
        asked = basket(sellers, "10.00", "20.00", checkout_id=f"C-{number}", buyer_reference=f"new-{number}")
        answers = all_at_once(*[partial(intake.open_event, shop, asked, now=timezone.now())] * 6)
        assert errors_in(answers) == []
        assert len({event.pk for event, _is_new in answers}) == 1  # type: ignore[misc]
        assert [is_new for _event, is_new in answers].count(True) == 1  # type: ignore[misc]
    assert PaymentOrder.objects.count() == 12


def test_two_intakes_of_one_checkout_id_with_different_terms_open_one_and_refuse_the_other(shop: Shop, sellers: list[Seller]) -> None:
    for number in range(6):
        asked = basket(sellers, "10.00", checkout_id=f"C-{number}")
        other = dataclasses.replace(asked, orders=[dataclasses.replace(asked.orders[0], amount=eur("11.00"))])
        answers = all_at_once(*[partial(intake.open_event, shop, terms, now=timezone.now()) for terms in (asked, other)])
        assert [type(error) for error in errors_in(answers)] == [CheckoutConflict]
    assert PaymentEvent.objects.count() == 6


def test_pg_08_two_checkouts_with_the_same_order_references_are_not_both_opened(shop: Shop, sellers: list[Seller]) -> None:
    """In opposite orders, so that each waits for the other: Postgres ends one of them, which then hears why."""
    for number in range(8):
        there = [NewOrder(sellers[0].public_id, eur("1.00"), reference=f"{number}-{place}") for place in range(60)]
        asked = [basket(sellers, orders=orders) for orders in (there, there[::-1])]
        answers = all_at_once(*[partial(intake.open_event, shop, one, now=timezone.now()) for one in asked])
        assert [type(error) for error in errors_in(answers)] == [OrderReferenceUsed]
    assert PaymentOrder.objects.count() == 480


def test_pg_08_a_checkout_that_postgres_ended_for_the_sake_of_another_is_opened_after_all(
    shop: Shop, sellers: list[Seller], open_payment: Open
) -> None:
    """The rival holds one reference and wants another, the checkout holds that and wants the first; the rival then gives up.

    On a machine that stands still for a second, Postgres may end the rival instead: then once more.
    """
    rivals = open_payment("1.00").orders.get()

    def meet(first: str, second: str) -> list[Any]:
        stored = threading.Event()

        def take(reference: str) -> None:
            copy = PaymentOrder.objects.get(pk=rivals.pk)
            copy.pk, copy.public_id, copy.reference = None, f"ord_rival_{reference}", reference
            copy.save(force_insert=True)

        def rival() -> None:
            with transaction.atomic():
                take(second)
                stored.set()
                wait_until_somebody_waits()
                take(first)
                transaction.set_rollback(True)

        def checkout() -> bool:
            assert stored.wait(timeout=30)
            orders = [NewOrder(sellers[0].public_id, eur("1.00"), reference=reference) for reference in (first, second)]
            _event, is_new = intake.open_event(shop, basket(sellers, orders=orders), now=timezone.now())
            return is_new

        return all_at_once(rival, checkout)

    for number in range(5):
        rivals_end, is_new = meet(f"{number}-0", f"{number}-1")
        assert is_new is True
        if rivals_end is None:
            break
    assert rivals_end is None


def test_a_new_seller_paid_by_many_at_once_has_one_wallet(shop: Shop, sellers: list[Seller]) -> None:
    answers = all_at_once(
        *[
            partial(intake.open_event, shop, basket(order, "1.00", "2.00", "3.00"), now=timezone.now())
            for order in (sellers, sellers[::-1]) * 4
        ]
    )
    assert errors_in(answers) == []
    assert Wallet.objects.count() == 3


def test_bug_59_a_confirmation_and_the_end_of_time_never_both_win(open_payment: Open, oracle: Oracle) -> None:
    for _round in range(8):
        event = open_payment("10.00", "20.00")
        confirmed = card_given(event)
        answers = all_at_once(
            partial(confirmation.confirm, event.pk, confirmed, now=timezone.now()),
            lambda: expiry.expire_checkouts(now=timezone.now() + timedelta(days=2)),
        )
        assert {type(error) for error in errors_in(answers)} <= {CheckoutExpired}
        event.refresh_from_db()
        assert event.is_payment_done == ("EXECUTING" not in statuses(event))
        execute_until_settled()
        event.refresh_from_db()
        assert (event.status, statuses(event)) in (("paid", ["SUCCESS"] * 2), ("expired", ["FAILED"] * 2))


def test_settling_the_last_order_and_the_end_of_time_never_both_close_the_checkout(open_payment: Open) -> None:
    for _round in range(6):
        event = open_payment("10.00", "20.00")
        captures = captures_of(charge_and_keep_the_answer(event))
        settlement.settle(captures[:1])
        answers = all_at_once(
            partial(settlement.settle, captures),
            *[lambda: expiry.expire_checkouts(now=timezone.now() + timedelta(days=2))] * 2,
        )
        assert errors_in(answers) == []
        event.refresh_from_db()
        assert (event.status, event.is_payment_done) == ("paid", True)
    assert not DueOrder.objects.exists()


def test_bug_28_batches_that_share_references_in_opposite_orders_end_with_one_entry_each(books_hold: None) -> None:
    with transaction.atomic():
        journal.open_accounts(["operating_bank", "psp_fees"], currency="EUR")

    def post(drafts: list[journal.Draft]) -> list[int]:
        with transaction.atomic():
            return journal.post(drafts)

    for turn in range(8):
        debits, credits = [("operating_bank", eur("5.00"))], [("psp_fees", eur("5.00"))]
        drafts = [draft(f"{turn}-{number}", debits=debits, credits=credits) for number in range(40)]
        answers = all_at_once(*[partial(post, order) for order in (drafts, drafts[::-1]) * 3])
        assert errors_in(answers) == []
    assert JournalEntry.objects.count() == 320
