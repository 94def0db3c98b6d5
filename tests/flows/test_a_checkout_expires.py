"""A checkout's time is up: what nobody paid has failed, what is being paid is waited for."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from ledger.ids import new_id
from ledger.statements import execute
from payments import confirmation, executor, expiry, news
from payments.confirmation import CheckoutExpired, Confirmed
from payments.models import OpenCheckout, PaymentEvent
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
from wallet import notifications
from wallet.models import OutboxMessage

Open = Callable[..., PaymentEvent]


def afterwards() -> datetime:
    return timezone.now() + timedelta(days=2)


def test_nothing_expires_before_its_time(open_payment: Open) -> None:
    event = open_payment("10.00")
    assert expiry.expire_checkouts(now=event.expires_at - timedelta(microseconds=1)) == 0
    assert expiry.expire_checkouts(now=event.expires_at) == 1


def test_a_checkout_nobody_paid_expires_once_and_says_so_once(open_payment: Open) -> None:
    event = open_payment("10.00", "20.00")
    assert [expiry.expire_checkouts(now=afterwards()) for _time in range(2)] == [1, 0]
    event.refresh_from_db()
    assert (statuses(event), event.status, event.is_payment_done) == (["FAILED", "FAILED"], "expired", True)
    assert set(event.orders.values_list("failure_code", flat=True)) == {"checkout_expired"}
    assert list(OutboxMessage.objects.values_list("topic", flat=True)) == ["payment.expired"]
    assert not OpenCheckout.objects.exists()


def test_bug_59_an_expired_checkout_is_not_paid_any_more(open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("10.00")
    confirmed = card_given(event)
    expiry.expire_checkouts(now=afterwards())
    for moment in (timezone.now(), afterwards()):
        with pytest.raises(CheckoutExpired):
            confirmation.confirm(event.pk, confirmed, now=moment)
    [order] = event.orders.all()
    with pytest.raises(CheckoutExpired):
        confirmation.confirm_order(order.pk, payment_token=confirmed.payment_token, once=new_id("wish"), now=timezone.now())
    assert oracle.charged() == []


def test_what_failed_stays_failed_with_its_own_reason(open_payment: Open, pay: Open) -> None:
    event = pay(open_payment("10.00"), DECLINED)
    expiry.expire_checkouts(now=afterwards())
    event.refresh_from_db()
    assert (event.status, event.is_payment_done) == ("failed", True)
    assert event.orders.get().failure_code == "card_declined"


def test_what_was_paid_stays_paid_and_the_rest_has_expired(open_payment: Open) -> None:
    event = open_payment("10.00", "20.00")
    first = event.orders.order_by("id")[0]
    token = session_for(first.amount, VISA, nonce=first.public_id).payment_token
    confirmation.confirm_order(first.pk, payment_token=token, once=new_id("wish"), now=timezone.now())
    execute_until_settled()
    expiry.expire_checkouts(now=afterwards())
    event.refresh_from_db()
    assert (statuses(event), event.status, event.is_payment_done) == (["SUCCESS", "FAILED"], "partly_paid", True)


def test_a_paid_checkout_has_left_the_list(open_payment: Open, pay: Open) -> None:
    pay(open_payment("10.00"))
    assert expiry.expire_checkouts(now=afterwards()) == 0


def test_bug_59_what_executes_is_waited_for_however_late_it_is(open_payment: Open, sandbox: SandboxCompany, oracle: Oracle) -> None:
    event = open_payment("10.00", "20.00")
    sandbox.fault(operation="charge", kind="execute_then_500")
    confirm_card(event)
    executor.execute_due_orders(now=timezone.now())
    sandbox.clear_faults()
    assert expiry.expire_checkouts(now=afterwards()) == 0
    execute_until_settled()
    event.refresh_from_db()
    assert (event.status, len(oracle.charged())) == ("paid", 2)
    assert expiry.expire_checkouts(now=afterwards()) == 0


def test_the_sweep_looks_again_once_it_holds_the_checkout(open_payment: Open) -> None:
    """A confirmation may commit between the sweep's first look and its lock: what executes by then is left alone."""
    confirmed, idle = open_payment("10.00"), open_payment("20.00")
    confirm_card(confirmed)
    with transaction.atomic():
        ended = execute(expiry.EXPIRE, [{"event_id": event.pk} for event in (confirmed, idle)])
        notifications.publish([news.payment_news(*row) for row in ended])
    assert [public_id for _shop, public_id, *_rest in ended] == [idle.public_id]
    execute_until_settled()
    confirmed.refresh_from_db()
    assert confirmed.status == "paid"


def test_a_checkout_that_was_paid_between_the_first_look_and_the_lock_is_left_as_it_is(open_payment: Open, pay: Open) -> None:
    paid = pay(open_payment("10.00"))
    told = paid.told
    with transaction.atomic():
        assert execute(expiry.EXPIRE, [{"event_id": paid.pk}]) == []
    paid.refresh_from_db()
    assert (paid.status, paid.told) == ("paid", told)


def test_more_checkouts_than_one_sweep_takes_expire_in_the_next(open_payment: Open) -> None:
    for _event in range(205):
        open_payment("1.00")
    assert [expiry.expire_checkouts(now=afterwards()) for _sweep in range(3)] == [200, 5, 0]


def test_an_unpaid_session_of_an_expired_checkout_cannot_be_confirmed_for_something_else(open_payment: Open) -> None:
    event = open_payment("10.00")
    expiry.expire_checkouts(now=afterwards())
    with pytest.raises(CheckoutExpired):
        confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", eur("0.01")), now=timezone.now())
