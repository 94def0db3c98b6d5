"""Gift cards and the buyer's wallet pay first, the PSP is charged the rest: held, taken with the order, or whole again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from ledger.models import JournalEntry, Posting
from payments import cancellations, confirmation, executor, settlement
from payments.confirmation import AmountChanged, Confirmed
from payments.models import ChosenTender, DueOrder, PaymentEvent, PspAttempt, Tender
from payments.states import OrderStatus
from tests.factories import RECEIVABLE, eur, stored_value_of
from tests.fixtures_money import (
    DECLINED,
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_refunds,
    statuses,
)
from wallet.models import Seller, Shop, StoredValue, Wallet

Open = Callable[..., PaymentEvent]


def choose(event: PaymentEvent, *values: StoredValue) -> PaymentEvent:
    ChosenTender.objects.bulk_create(ChosenTender(event=event, value=value) for value in values)
    return event


def by_value_alone(event: PaymentEvent) -> Confirmed:
    event.refresh_from_db()
    return Confirmed(f"stored:{event.public_id}:{event.confirmations + 1}", "", eur("0"))


def spend(open_payment: Open, value: StoredValue, amount: str) -> None:
    """Pay a basket of so much with the stored value alone."""
    event = choose(open_payment(amount), value)
    confirmation.confirm(event.pk, by_value_alone(event), now=timezone.now())


def left_of(value: StoredValue) -> tuple[Money, Money]:
    value.refresh_from_db()
    return value.balance, value.held


def test_a_gift_card_pays_first_and_the_card_the_rest(shop: Shop, open_payment: Open, pay: Open, oracle: Oracle) -> None:
    gift = stored_value_of(shop, "30.00")
    event = pay(choose(open_payment("24.90", "89.00", "14.50"), gift))
    assert statuses(event) == ["SUCCESS"] * 3
    assert left_of(gift) == (eur("0"), eur("0"))
    assert sum(row["amount"] for row in oracle.rows("charge.succeeded")) == 9840
    assert queries.balance_of(RECEIVABLE, currency="EUR") == eur("98.40")
    assert queries.balance_of(chart.gift_cards(), currency="EUR") == eur("0")
    assert sum((order.tendered for order in event.orders.all()), start=eur("0")) == eur("30.00")
    assert sum((wallet.pending for wallet in Wallet.objects.all()), start=eur("0")) == eur("115.56")


def test_what_stored_value_pays_whole_is_settled_in_the_confirmation_itself(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("24.90", "89.00")
    gift, wallet = stored_value_of(shop, "100.00"), stored_value_of(shop, "50.00", buyer=event.buyer)
    started = confirmation.confirm(choose(event, wallet, gift).pk, by_value_alone(event), now=timezone.now())
    event.refresh_from_db()
    assert (len(started), event.status, event.is_payment_done) == (2, "paid", True)
    assert (left_of(gift)[0], left_of(wallet)[0]) == (eur("0"), eur("36.10"))
    assert not oracle.rows("charge.succeeded")
    assert not DueOrder.objects.exists()
    assert not PspAttempt.objects.exists()
    assert all(order.settled_at for order in event.orders.all()), "no file of a PSP will ever tell of it"


def test_the_same_wish_pays_once(shop: Shop, open_payment: Open) -> None:
    gift = stored_value_of(shop, "30.00")
    event = choose(open_payment("10.00"), gift)
    wish = by_value_alone(event)
    answers = all_at_once(*[lambda: confirmation.confirm(event.pk, wish, now=timezone.now())] * 6)
    assert errors_in(answers) == []
    assert left_of(gift) == (eur("20.00"), eur("0"))
    assert JournalEntry.objects.filter(kind="sale").count() == 1


def test_a_gift_card_is_whole_again_when_the_card_is_declined_and_pays_the_next_try(
    shop: Shop, open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    gift = stored_value_of(shop, "30.00")
    event = choose(open_payment("24.90", "89.00"), gift)
    confirm_card(event, DECLINED)
    assert left_of(gift) == (eur("30.00"), eur("30.00"))
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["FAILED", "FAILED"]
    assert left_of(gift) == (eur("30.00"), eur("0"))
    assert set(Tender.objects.values_list("status", flat=True)) == {"RELEASED"}
    event = pay(event)
    assert statuses(event) == ["SUCCESS", "SUCCESS"]
    assert left_of(gift) == (eur("0"), eur("0"))
    assert sum(row["amount"] for row in oracle.rows("charge.succeeded")) == 8390


def test_one_gift_card_chosen_in_two_checkouts_at_once_is_spent_once(shop: Shop, open_payment: Open) -> None:
    gift = stored_value_of(shop, "30.00")
    events = [choose(open_payment("30.00"), gift) for _checkout in range(4)]
    wishes = [by_value_alone(event) for event in events]
    answers = all_at_once(
        *[
            lambda event=event, wish=wish: confirmation.confirm(event.pk, wish, now=timezone.now())
            for event, wish in zip(events, wishes, strict=True)
        ]
    )
    refused = [answer for answer in answers if isinstance(answer, AmountChanged)]
    assert (len(refused), len(errors_in(answers))) == (3, 3)
    assert left_of(gift) == (eur("0"), eur("0"))
    assert list(gift.entries.order_by("pk").values_list("kind", flat=True)) == ["granted", "spent"]
    assert JournalEntry.objects.filter(kind="sale").count() == 1


@pytest.mark.parametrize("state", ["frozen", "expired"])
def test_what_is_frozen_or_expired_meanwhile_is_not_spent_and_nothing_is_charged(
    shop: Shop, open_payment: Open, state: str, oracle: Oracle
) -> None:
    gift = stored_value_of(shop, "30.00")
    event = choose(open_payment("24.90"), gift)
    now = timezone.now()
    over: dict[str, dict[str, Any]] = {"frozen": {"frozen_at": now, "frozen_because": "test"}, "expired": {"expires_at": now}}
    StoredValue.objects.filter(pk=gift.pk).update(**over[state])
    with pytest.raises(AmountChanged):
        confirmation.confirm(event.pk, by_value_alone(event), now=timezone.now() + timedelta(seconds=1))
    assert statuses(event) == ["NOT_STARTED"]
    assert not oracle.rows("charge.succeeded")


def test_an_order_cancelled_while_its_charge_is_under_way_lets_the_gift_card_go(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    gift = stored_value_of(shop, "30.00")
    event = choose(open_payment("50.00"), gift)
    charge_and_keep_the_answer(event)
    [order] = event.orders.all()
    cancellations.cancel_order(order.pk, reason="test", once="", requested_by="test", now=timezone.now())
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=5))
    execute_refunds(now=timezone.now() + timedelta(minutes=6))
    order.refresh_from_db()
    assert order.status in (OrderStatus.CANCELLED, OrderStatus.SUCCESS)
    assert left_of(gift) == (eur("30.00"), eur("0"))
    taken = sum(row["amount"] for row in oracle.rows("charge.succeeded"))
    assert taken == sum(row["amount"] for row in oracle.rows("charge.voided", "refund.succeeded"))


def test_a_charge_of_another_amount_than_the_rest_is_never_booked_as_it(shop: Shop, open_payment: Open) -> None:
    """The gift card was let go: what a charge of before took is not the whole order any more, and goes back to the buyer."""
    gift = stored_value_of(shop, "30.00")
    event = choose(open_payment("50.00"), gift)
    answered = charge_and_keep_the_answer(event)
    [capture] = captures_of(answered)
    assert capture.amount == eur("20.00")
    [order] = event.orders.all()
    assert settlement.settle([capture])[0].id == order.pk
    assert settlement.settle([capture]) == []
    order.refresh_from_db()
    assert (order.status, order.tendered, order.charge) == ("SUCCESS", eur("30.00"), eur("20.00"))


def test_postgres_lets_nobody_spend_more_than_there_is(shop: Shop) -> None:
    gift = stored_value_of(shop, "30.00")
    for held, balance in (("30.01", "30.00"), ("10.00", "9.99")):
        with pytest.raises(DatabaseError):
            StoredValue.objects.filter(pk=gift.pk).update(held=eur(held), balance=eur(balance))


def test_the_wallet_is_charged_for_whom_it_belongs_to(open_payment: Open, pay: Open, shop: Shop, sellers: list[Seller]) -> None:
    event = open_payment("12.00")
    wallet = stored_value_of(shop, "5.00", buyer=event.buyer)
    pay(choose(event, wallet))
    assert queries.balance_of(chart.buyer_wallet(event.buyer_id), currency="EUR") == eur("0")
    of_the_sale = Posting.objects.filter(entry__kind="sale").select_related("account")
    postings = {posting.account.code: posting.amount for posting in of_the_sale}
    assert postings[RECEIVABLE] == eur("7.00")
    assert postings[chart.buyer_wallet(event.buyer_id)] == eur("5.00")
