"""A card is declined, a part of the basket fails: the checkout stays open, and every later try has a key of its own."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from ledger.ids import new_id
from ledger.models import JournalEntry
from payments import confirmation, executor
from payments.confirmation import AmountChanged, CheckoutExpired, Confirmed, NothingToPay, TooManyTries
from payments.models import DueOrder, PaymentEvent, PspAttempt
from tests.factories import eur
from tests.fixtures_money import (
    DECLINED,
    VISA,
    Oracle,
    card_given,
    confirm_card,
    execute_until_settled,
    session_for,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from wallet.models import OutboxMessage

Open = Callable[..., PaymentEvent]
PREPAID = "5105105105105100"


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("4000000000000002", "card_declined"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000000069", "expired_card"),
        ("4100000000000019", "fraudulent"),
        ("4000000000000119", "processing_error"),
    ],
)
def test_a_declined_card_fails_the_orders_says_why_and_books_nothing(
    open_payment: Open, pay: Open, oracle: Oracle, card: str, code: str
) -> None:
    event = pay(open_payment("10.00", "20.00"), card)
    assert statuses(event) == ["FAILED", "FAILED"]
    assert set(event.orders.values_list("failure_code", flat=True)) == {code}
    assert (event.status, event.is_payment_done) == ("open", False)
    assert set(OutboxMessage.objects.values_list("topic", flat=True)) == {"payment_order.failed"}
    assert not JournalEntry.objects.exists()
    assert oracle.charged() == []


def test_another_card_pays_what_the_first_could_not_and_what_is_told_of_it_is_kept(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    pay(event, DECLINED)
    assert (event.card_brand, event.card_funding, event.card_country) == ("visa", "credit", "US")
    pay(event, PREPAID)
    told = (event.method, event.card_brand, event.card_funding, event.card_country, event.card_last4)
    assert told == ("card", "mastercard", "prepaid", "NL", "5100")
    assert (statuses(event), event.status) == (["SUCCESS", "SUCCESS"], "paid")
    assert set(event.orders.values_list("failure_code", flat=True)) == {""}
    ids = list(event.orders.order_by("id").values_list("public_id", flat=True))
    attempts = list(PspAttempt.objects.order_by("number", "order").values_list("psp_key", "status"))
    assert attempts == [(order, "DECLINED") for order in ids] + [(f"{order}:2", "SUCCEEDED") for order in ids]
    assert oracle.charged() == sorted(ids)


def pay_order_by_order(event: PaymentEvent, *cards: str) -> None:
    """Pay each order with a card of its own, as a shop may that has the payment details itself."""
    for order, card in zip(event.orders.order_by("id"), cards, strict=True):
        session = session_for(order.amount, card, nonce=f"{order.public_id}:{event.confirmations}")
        confirmation.confirm_order(order.pk, payment_token=session.payment_token, once=new_id("wish"), now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    event.refresh_from_db()


def test_one_sellers_failure_does_not_undo_anothers_sale(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    pay_order_by_order(event, VISA, DECLINED, VISA)
    assert statuses(event) == ["SUCCESS", "FAILED", "SUCCESS"]
    assert (event.status, event.is_payment_done) == ("partly_paid", False)
    assert len(oracle.charged()) == 2


def test_the_rest_of_a_partly_paid_basket_is_paid_for_the_rest(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    pay_order_by_order(event, VISA, DECLINED, DECLINED)
    assert card_given(event, tab="look").amount == eur("50.00")
    pay(event)
    assert (event.status, event.is_payment_done) == ("paid", True)
    assert len(oracle.charged()) == len(set(oracle.charged())) == 3


def test_confirming_one_order_twice_charges_it_once(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    [order] = event.orders.all()
    for nonce in ("one", "two"):
        token = session_for(order.amount, VISA, nonce=f"{order.public_id}:{nonce}").payment_token
        confirmation.confirm_order(order.pk, payment_token=token, once=new_id("wish"), now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert oracle.charged() == [order.public_id]


def test_a_wish_never_starts_an_order_again_however_many_came_after_it(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    order = event.orders.get()

    def wish(once: str, card: str) -> list[str]:
        token = session_for(order.amount, card, nonce=f"{order.public_id}:{once}:{card[-4:]}").payment_token
        confirmation.confirm_order(order.pk, payment_token=token, once=once, now=timezone.now())
        executor.execute_due_orders(now=timezone.now())
        return statuses(event)

    assert [wish(once, DECLINED) for once in ("first", "second", "third")] == [["FAILED"]] * 3
    assert [wish(once, VISA) for once in ("first", "second", "third")] == [["FAILED"]] * 3
    assert PspAttempt.objects.count() == 3
    assert wish("fourth", VISA) == ["SUCCESS"]
    assert oracle.charged() == [order.public_id]


def test_a_session_that_was_confirmed_before_the_last_one_starts_nothing(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    earlier = card_given(event, DECLINED)
    assert len(confirmation.confirm(event.pk, earlier, now=timezone.now())) == 2
    executor.execute_due_orders(now=timezone.now())
    pay(event, DECLINED)
    assert confirmation.confirm(event.pk, earlier, now=timezone.now()) == []
    assert (statuses(event), DueOrder.objects.count()) == (["FAILED", "FAILED"], 0)
    assert statuses(pay(event)) == ["SUCCESS", "SUCCESS"]


def test_one_order_that_the_psp_does_not_answer_for_keeps_no_other_waiting(
    open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    stuck = event.orders.order_by("id")[1]
    sandbox.fault(operation="charge", kind="refuse_500", reference=stuck.public_id)
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    event.refresh_from_db()
    assert (statuses(event), event.status) == (["SUCCESS", "EXECUTING", "SUCCESS"], "partly_paid")
    sandbox.clear_faults()
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"] * 3


def test_a_confirmation_for_another_sum_than_is_left_is_refused(open_payment: Open) -> None:
    event = open_payment("10.00", "20.00")
    session = session_for(eur("29.99"), VISA, nonce=event.public_id)
    with pytest.raises(AmountChanged):
        confirmation.confirm(event.pk, Confirmed(session.id, session.payment_token, session.amount), now=timezone.now())
    assert statuses(event) == ["NOT_STARTED", "NOT_STARTED"]


def test_bug_01_a_second_tab_pays_nothing_twice(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    first, second = card_given(event, tab="a"), card_given(event, tab="b")
    assert len(confirmation.confirm(event.pk, first, now=timezone.now())) == 1
    assert confirmation.confirm(event.pk, second, now=timezone.now()) == []
    executor.execute_due_orders(now=timezone.now())
    with pytest.raises(NothingToPay):
        confirmation.confirm(event.pk, second, now=timezone.now())
    assert len(oracle.charged()) == 1


def test_the_same_session_is_never_confirmed_for_a_second_try(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    declined = card_given(event, DECLINED)
    confirmation.confirm(event.pk, declined, now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert confirmation.confirm(event.pk, declined, now=timezone.now()) == []
    assert len(oracle.rows("charge.failed")) == 1


def test_sec_25_a_checkout_is_tried_ten_times_and_no_more(open_payment: Open, pay: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    for _try in range(10):
        pay(event, DECLINED)
    with pytest.raises(TooManyTries):
        pay(event, VISA)
    assert len(oracle.rows("charge.failed")) == 10


def test_a_paid_checkout_has_nothing_to_pay_and_a_late_one_cannot_be_paid(open_payment: Open, pay: Open) -> None:
    late = open_payment("10.00")
    confirmed = card_given(late)
    with pytest.raises(CheckoutExpired):
        confirmation.confirm(late.pk, confirmed, now=late.expires_at)
    confirmation.confirm(late.pk, confirmed, now=late.expires_at - timedelta(microseconds=1))
    executor.execute_due_orders(now=late.expires_at)
    with pytest.raises(NothingToPay):
        confirmation.confirm(late.pk, Confirmed("cs_other", "tok", eur("10.00")), now=timezone.now())
