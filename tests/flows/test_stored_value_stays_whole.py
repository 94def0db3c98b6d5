"""Stored value where two things happen to it: two disputes, a new code, a void, an end that came before its money; nothing is lost or spent twice."""

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction
from django.utils import timezone
from djmoney.money import Money

from ledger import chart
from payments import cancellations, choices, confirmation, executor, intake, late, refunds, settlement, tenders
from payments.intake import NewOrder
from payments.models import PaymentEvent, PaymentOrder
from payments.psp.protocol import Voided
from payments.refunds import NotRefundable
from tests.factories import RECEIVABLE, eur, stored_value_of
from tests.fixtures_money import (
    VISA,
    Oracle,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    execute_refunds,
    pay_with_card,
    sandbox_psp,
    wait_until_somebody_waits,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_buyer_wallets import top_up_of
from tests.flows.test_disputes import balance, close, decide, dispute, open_
from tests.flows.test_gift_cards import code_of, granted, sold
from tests.flows.test_late_charges import given_up
from tests.flows.test_tender_refunds import SUCCEEDS_THEN_FAILS
from tests.flows.test_tenders import by_value_alone, choose, spend
from wallet import gift_card_expiry, stored_value
from wallet.models import DueExpiry, Shop, StoredValue

Open = Callable[..., PaymentEvent]
NOTHING = eur("0.00")
LATER = timedelta(days=2)


def topped_up(shop: Shop, amount: str, *, checkout_id: str, card: str = VISA) -> PaymentOrder:
    event, _is_new = intake.open_event(shop, top_up_of(amount, checkout_id=checkout_id), now=timezone.now())
    return pay_with_card(event, card).orders.get()


def filled_by(order: PaymentOrder) -> StoredValue:
    assert order.fills_id is not None
    return StoredValue.objects.get(pk=order.fills_id)


def usable(value: StoredValue) -> Money:
    value.refresh_from_db()
    return stored_value.usable(value, currency="EUR", now=timezone.now())


# --- Frozen, for more than one reason ----------------------------------------------------------------------------------


def test_a_wallet_with_two_disputed_top_ups_stays_frozen_until_the_last_is_decided(shop: Shop, sandbox: SandboxCompany) -> None:
    first, second = (topped_up(shop, "80.00", checkout_id=f"top-{number}") for number in (1, 2))
    wires = [dispute(sandbox, order) for order in (first, second)]
    for wire in wires:
        open_(wire)
    close(decide(sandbox, wires[0], "won"))
    assert usable(filled_by(first)) == NOTHING, "the other dispute is open"
    close(decide(sandbox, wires[1], "won"))
    assert usable(filled_by(first)) == eur("160.00")


def test_what_staff_froze_and_a_bank_disputes_is_let_go_when_both_let_go(shop: Shop, sandbox: SandboxCompany) -> None:
    order = topped_up(shop, "80.00", checkout_id="top-1")
    wallet = filled_by(order)
    stored_value.freeze(wallet.pk, because="staff:anna: stolen", now=timezone.now())
    wire = dispute(sandbox, order)
    open_(wire)
    stored_value.thaw(wallet.pk, because="staff:anna: stolen")
    assert usable(wallet) == NOTHING, "the dispute is open"
    stored_value.freeze(wallet.pk, because="staff:anna: stolen", now=timezone.now())
    close(decide(sandbox, wire, "won"))
    assert usable(wallet) == NOTHING, "staff have not let it go"
    stored_value.thaw(wallet.pk, because="staff:anna: stolen")
    assert usable(wallet) == eur("80.00")


def test_what_came_to_a_wallet_after_a_lost_dispute_can_be_given_back(shop: Shop, open_payment: Open, sandbox: SandboxCompany) -> None:
    order = topped_up(shop, "80.00", checkout_id="top-1")
    spend(open_payment, filled_by(order), "80.00")
    wire = dispute(sandbox, order)
    open_(wire)
    later = topped_up(shop, "50.00", checkout_id="top-2")
    with pytest.raises(NotRefundable, match="frozen"):
        refunds.request_refund(later.pk, amount=None, reason="", now=timezone.now())
    close(decide(sandbox, wire, "lost"))
    assert (usable(filled_by(order)), balance(chart.dispute_losses())) == (NOTHING, eur("30.00"))
    last = topped_up(shop, "20.00", checkout_id="top-3")
    refund = refunds.request_refund(last.pk, amount=None, reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, filled_by(order).balance, balance(chart.dispute_losses())) == ("SUCCESS", NOTHING, eur("30.00"))


def test_a_lost_dispute_of_a_charge_that_came_too_late_keeps_no_top_up_from_going_back(shop: Shop, sandbox: SandboxCompany) -> None:
    event, _is_new = intake.open_event(shop, top_up_of("80.00"), now=timezone.now())
    captures = given_up(event)
    [order] = pay_with_card(event).orders.all()
    late.settle(captures)
    execute_refunds(now=timezone.now())
    late_one = sandbox.client.post("/v1/disputes", json={"charge": captures[0].psp_reference}).json()
    close(decide(sandbox, late_one, "lost"))
    assert usable(filled_by(order)) == eur("80.00"), "the late charge filled nothing"
    refund = refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    assert (refund.status, filled_by(order).balance) == ("SUCCESS", NOTHING)


# --- A code that was seen by the wrong people --------------------------------------------------------------------------


def test_sec_a_new_code_ends_what_was_chosen_with_the_old_one(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    card, event = granted(shop, "50.00"), open_payment("50.00")
    choices.use_gift_card(event, code_of(card), address="203.0.113.7", now=timezone.now())
    code = code_of(card)
    assert tenders.plan(event, eur("50.00"), now=timezone.now()).rest == eur("50.00")
    with pytest.raises(confirmation.AmountChanged):
        confirmation.confirm(event.pk, by_value_alone(event), now=timezone.now())
    choices.use_gift_card(event, code, address="203.0.113.7", now=timezone.now())
    confirmation.confirm(event.pk, by_value_alone(event), now=timezone.now())
    card.value.refresh_from_db()
    assert card.value.balance == NOTHING


def test_a_card_in_use_may_be_typed_again_when_no_more_fit_and_one_whose_code_is_over_takes_no_place(
    shop: Shop, open_payment: Open
) -> None:
    event = open_payment("50.00")

    def use(code: str) -> None:
        choices.use_gift_card(event, code, address="203.0.113.7", now=timezone.now())

    choose(event, *(stored_value_of(shop, "1.00") for _card in range(choices.MOST_GIFT_CARDS - 1)))
    last, one_more = granted(shop, "1.00"), code_of(granted(shop, "1.00"))
    code = code_of(last)
    for _time in range(2):
        use(code)
    with pytest.raises(choices.TooManyGiftCards):
        use(one_more)
    code_of(last)
    use(one_more)
    assert len(tenders.chosen(event)) == choices.MOST_GIFT_CARDS


# --- The PSP takes back what is spent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("spent", "lost"), [("0.50", "0.00"), ("30.50", "30.00")])
def test_a_void_of_what_bought_stored_value_takes_what_is_there_and_the_platform_bears_the_rest(
    shop: Shop, open_payment: Open, sandbox: SandboxCompany, spent: str, lost: str
) -> None:
    value = stored_value_of(shop, "0.50")
    event = open_payment(orders=[NewOrder("", eur("50.00"), fills=value)])
    answered = charge_and_keep_the_answer(event)
    executor.hand_over(answered, now=timezone.now())
    spend(open_payment, value, spent)
    assert isinstance(sandbox_psp(sandbox).void(answered[0][0].request), Voided)
    [order] = event.orders.all()
    cancellations.voided(order.pk, psp_key=order.public_id, now=timezone.now())
    value.refresh_from_db()
    assert (value.balance, value.held, balance(RECEIVABLE)) == (NOTHING, NOTHING, NOTHING)
    assert balance(chart.dispute_losses()) == eur(lost)
    [refund] = order.refunds.all()
    assert (refund.status, refund.amount, refund.borne) == ("SUCCESS", eur("50.00"), eur(lost))


# --- Money that comes to a card whose time is up -----------------------------------------------------------------------


def test_a_gift_card_that_is_paid_after_its_end_is_good_for_a_while(shop: Shop) -> None:
    event, card = sold(shop, "50.00", valid_days=1)
    answered = charge_and_keep_the_answer(event)
    StoredValue.objects.filter(pk=card.value_id).update(expires_at=timezone.now() - LATER)
    DueExpiry.objects.filter(value=card.value).update(due_at=timezone.now() - LATER)
    gift_card_expiry.expire_due(now=timezone.now())
    executor.hand_over(answered, now=timezone.now())
    assert usable(card.value) == eur("50.00")
    gift_card_expiry.expire_due(now=timezone.now())
    assert usable(card.value) == eur("50.00")
    assert DueExpiry.objects.get(value=card.value).due_at == card.value.expires_at


def test_a_gift_card_whose_refund_comes_back_after_its_end_is_good_for_a_while(shop: Shop, oracle: Oracle) -> None:
    event, card = sold(shop, "50.00", valid_days=1)
    order = pay_with_card(event, SUCCEEDS_THEN_FAILS).orders.get()
    refund = refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    execute_refunds(now=timezone.now())
    later = timezone.now() + LATER
    gift_card_expiry.expire_due(now=later)
    oracle.wait_for("refund.failed", count=1)
    assert settlement.reverse_refund(refund.pk, code="refund_failed", at=later)
    card.value.refresh_from_db()
    assert stored_value.usable(card.value, currency="EUR", now=later) == eur("50.00")
    gift_card_expiry.expire_due(now=later)
    card.value.refresh_from_db()
    assert card.value.balance == eur("50.00")
    assert DueExpiry.objects.filter(value=card.value).exists()


# --- At once -----------------------------------------------------------------------------------------------------------


@pytest.mark.race
def test_pg_08_one_settlement_locks_what_is_spent_and_what_is_filled_in_one_order(shop: Shop, open_payment: Open) -> None:
    """A gift card is filled and a later one spent, by one batch: whoever locks both in their order waits, and never for ever."""
    low, high = stored_value_of(shop, "10.00"), stored_value_of(shop, "10.00")
    events = [choose(open_payment("20.00"), high), open_payment(orders=[NewOrder("", eur("50.00"), fills=low)])]
    captures = [capture for event in events for capture in captures_of(charge_and_keep_the_answer(event))]
    lock_in_order_while(lambda: settlement.settle(captures), low, high)
    assert (usable(low), usable(high)) == (eur("60.00"), NOTHING)


@pytest.mark.race
def test_pg_08_a_cancelled_basket_locks_what_it_lets_go_in_one_order(shop: Shop, open_payment: Open) -> None:
    """The first order is held on the later gift card, the second on both."""
    low, high = stored_value_of(shop, "10.00"), stored_value_of(shop, "30.00")
    event = choose(choose(open_payment("20.00", "40.00"), high), low)
    confirm_card(event)
    cancel = partial(cancellations.cancel_event, event.pk, reason="", once="", requested_by="test", now=timezone.now())
    lock_in_order_while(cancel, low, high)
    assert (usable(low), usable(high)) == (eur("10.00"), eur("30.00"))


def lock_in_order_while(call: Callable[[], object], low: StoredValue, high: StoredValue) -> None:
    """Lock the first value, wait until the call waits for it, and lock the second: nobody who waits for the first may hold it."""

    def run() -> None:
        with closing(connection):
            call()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        stored_value.lock([low.pk])
        thread.start()
        wait_until_somebody_waits()
        StoredValue.objects.select_for_update(no_key=True, nowait=True).get(pk=high.pk)
    thread.join(timeout=30)
    assert not thread.is_alive()
