"""Gift cards: sold and granted, found by a code that is shown once, spent, and expired; wrong codes end soon."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from ledger.approvals import ApprovalNeeded
from payments import confirmation, executor, intake
from payments.confirmation import Confirmed
from payments.intake import CheckoutConflict, NewOrder, NewPayment, TakesNoStoredValue
from payments.models import ChosenTender, PaymentEvent, PaymentOrder
from tests.factories import eur, new_shop
from tests.fixtures_money import DECLINED, all_at_once, confirm_card, errors_in, pay_with_card, statuses
from wallet import gift_card_codes, gift_card_expiry, gift_card_tries, gift_cards, stored_value
from wallet.gift_card_tries import TooManyCodesTried, Who
from wallet.gift_cards import NewGiftCard, Sale
from wallet.models import CodeTries, DueExpiry, GiftCard, OutboxMessage, Seller, Shop, StoredValueEntry, Wallet

Open = Callable[..., PaymentEvent]
ROSA = Who(checkout="pay_1", buyer="rosa", address="203.0.113.7")
WRONG = "0000-0000-0000-0000-0000"


def granted(shop: Shop, amount: str = "50.00", *, now: datetime | None = None, **terms: Any) -> GiftCard:
    wanted = NewGiftCard(eur(amount), **terms)
    card, _is_new = gift_cards.grant(shop, wanted, reason="a broken vase", by="anna", now=now or timezone.now())
    return card


def sale_of(amount: str = "50.00", *, checkout_id: str = "card-1", **terms: Any) -> NewPayment:
    """Ask for a checkout that sells a gift card."""
    fills = Sale(NewGiftCard(eur(amount), **terms), now=timezone.now())
    return NewPayment(checkout_id=checkout_id, buyer_reference="rosa", orders=[NewOrder("", eur(amount), fills=fills)])


def sold(shop: Shop, amount: str = "50.00", **terms: Any) -> tuple[PaymentEvent, GiftCard]:
    event, _is_new = intake.open_event(shop, sale_of(amount, **terms), now=timezone.now())
    return event, GiftCard.objects.get(value__bought_by__event=event)


def code_of(card: GiftCard) -> str:
    return gift_cards.make_code(card.pk, now=timezone.now())


def find(shop: Shop, code: str, *, who: Who = ROSA, now: datetime | None = None, currency: str = "EUR") -> GiftCard:
    return gift_cards.find_by_code(shop, code, currency=currency, who=who, now=now or timezone.now())


def choose(event: PaymentEvent, card: GiftCard) -> None:
    ChosenTender.objects.create(event=event, value=card.value)


def pay_with_cards_alone(event: PaymentEvent, *, now: datetime | None = None) -> list[PaymentOrder]:
    confirmed = Confirmed(f"stored:{event.public_id}", "", eur("0.00"))
    return confirmation.confirm(event.pk, confirmed, now=now or timezone.now())


def balance_of(code: str) -> Money:
    return queries.balance_of(code, currency="EUR")


def left_on(card: GiftCard) -> tuple[Money, Money]:
    card.value.refresh_from_db()
    return card.value.balance, card.value.held


def movements(card: GiftCard) -> list[tuple[str, Money]]:
    return [(each.kind, each.amount) for each in StoredValueEntry.objects.filter(value=card.value).order_by("pk")]


# --- Issued ---------------------------------------------------------------------------------------------------------


def test_a_granted_card_is_worth_its_amount_at_our_expense(shop: Shop) -> None:
    expense, owed = balance_of(chart.gift_card_grants()), balance_of(chart.gift_cards())
    card = granted(shop)
    assert left_on(card) == (eur("50.00"), eur("0.00"))
    assert movements(card) == [("granted", eur("50.00"))]
    assert balance_of(chart.gift_card_grants()) - expense == balance_of(chart.gift_cards()) - owed == eur("50.00")
    assert card.value.expires_at is not None and card.value.expires_at - card.created_at > timedelta(days=settings.GIFT_CARD_DAYS - 1)
    [told] = OutboxMessage.objects.filter(about=card.public_id)
    assert (told.topic, told.sequence) == ("gift_card.issued", 1)


@pytest.mark.parametrize(("own", "of_shop", "days"), [(30, 10, 30), (None, 10, 10), (None, None, 1095), (0, 10, None), (None, 0, None)])
def test_a_card_is_valid_as_it_says_itself_else_its_shop_else_the_house(own: int | None, of_shop: int | None, days: int | None) -> None:
    now = timezone.now()
    expires_at = gift_cards.expiry_of(Shop(gift_card_days=of_shop), NewGiftCard(eur("5.00"), valid_days=own), now=now)
    assert expires_at == (now + timedelta(days=days) if days else None)


def test_a_grant_asked_for_twice_is_one_card_and_other_terms_are_a_conflict(shop: Shop) -> None:
    asked = partial(gift_cards.grant, shop, reason="a vase", by="anna", now=timezone.now())
    (card, is_new), (again, again_new) = (asked(NewGiftCard(eur("5.00"), once="key-1")) for _time in range(2))
    assert (card, is_new, again_new) == (again, True, False)
    assert movements(card) == [("granted", eur("5.00"))]
    with pytest.raises(gift_cards.GiftCardConflict) as refused:
        asked(NewGiftCard(eur("6.00"), once="key-1"))
    assert refused.value.field == "amount"


@pytest.mark.race
def test_eight_equal_grants_at_once_make_one_card(shop: Shop) -> None:
    asked = partial(gift_cards.grant, shop, reason="a vase", by="anna", now=timezone.now())
    answers = all_at_once(*[partial(asked, NewGiftCard(eur("5.00"), reference="vase-1"))] * 8)
    assert errors_in(answers) == []
    assert sorted(is_new for _card, is_new in answers) == [False] * 7 + [True]  # type: ignore[misc]
    assert GiftCard.objects.filter(shop=shop).count() == 1


@pytest.mark.race
def test_of_many_cards_at_once_no_more_are_given_away_than_one_may_and_none_that_is_asked_for_twice_is_refused(shop: Shop) -> None:
    give = partial(gift_cards.grant, shop, reason="a vase", by="staff:ada", now=timezone.now(), limits={"EUR": Decimal(20)})
    answers = all_at_once(*[partial(give, NewGiftCard(eur("5.00"), reference=f"vase-{number // 2}")) for number in range(12)])
    assert {type(error) for error in errors_in(answers)} == {ApprovalNeeded}
    assert (GiftCard.objects.count(), len(errors_in(answers)), balance_of(chart.gift_cards())) == (4, 4, eur("20.00"))


def test_a_sold_card_has_value_once_it_is_paid_and_no_seller_gets_anything(shop: Shop) -> None:
    event, card = sold(shop)
    assert left_on(card) == (eur("0.00"), eur("0.00"))
    with pytest.raises(gift_cards.GiftCardEmpty):
        code_of(card)
    pay_with_card(event)
    assert left_on(card) == (eur("50.00"), eur("0.00"))
    assert movements(card) == [("bought", eur("50.00"))]
    [order] = event.orders.all()
    assert (order.fee, order.net, order.seller.is_house, order.seller.name) == (eur("0.00"), eur("50.00"), True, shop.name)
    assert order.description == "Gift card"
    assert not Wallet.objects.filter(seller=order.seller).exists()
    assert find(shop, code_of(card)) == card


def test_a_sale_of_a_card_opened_twice_is_one_payment_and_one_card(shop: Shop) -> None:
    (event, is_new), (again, again_new) = (intake.open_event(shop, sale_of(), now=timezone.now()) for _time in range(2))
    assert (event, is_new, again_new) == (again, True, False)
    assert GiftCard.objects.filter(shop=shop).count() == 1
    with pytest.raises(CheckoutConflict):
        intake.open_event(shop, sale_of("60.00"), now=timezone.now())


@pytest.mark.race
def test_eight_equal_sales_at_once_make_one_payment_and_one_card(shop: Shop) -> None:
    answers = all_at_once(*[partial(intake.open_event, shop, sale_of(reference="gift-1"), now=timezone.now())] * 8)
    assert errors_in(answers) == []
    assert GiftCard.objects.filter(shop=shop).count() == Seller.objects.filter(shop=shop, is_house=True).count() == 1


def test_goods_and_a_gift_card_are_paid_together(shop: Shop, sellers: list[Seller]) -> None:
    orders = [NewOrder(sellers[0].public_id, eur("20.00")), *sale_of("30.00").orders]
    event, _is_new = intake.open_event(shop, NewPayment("both-1", "rosa", orders), now=timezone.now())
    pay_with_card(event)
    assert statuses(event) == ["SUCCESS", "SUCCESS"]
    assert left_on(GiftCard.objects.get(shop=shop))[0] == eur("30.00")
    assert Wallet.objects.get(seller__shop=shop).pending == eur("18.00")


def test_a_gift_card_buys_no_gift_card(shop: Shop) -> None:
    event, _card = sold(shop)
    with pytest.raises(TakesNoStoredValue):
        intake.require_takes_stored_value(event)


def test_a_declined_sale_leaves_an_empty_card(shop: Shop) -> None:
    event, card = sold(shop)
    pay_with_card(event, DECLINED)
    assert statuses(event) == ["FAILED"]
    assert left_on(card)[0] == eur("0.00")


# --- Codes ----------------------------------------------------------------------------------------------------------


def test_sec_the_code_is_kept_nowhere_and_a_new_one_ends_the_old(shop: Shop) -> None:
    card = granted(shop)
    first, second = code_of(card), code_of(card)
    card.refresh_from_db()
    assert card.code_last4 == second[-4:]
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(card)::text FROM wallet_giftcard AS card WHERE id = %s", [card.pk])
        [kept] = cursor.fetchone()
    assert second not in kept and gift_card_codes.normalised(second) not in kept
    assert find(shop, second) == card
    with pytest.raises(gift_cards.UnknownGiftCard):
        find(shop, first)


def test_a_code_is_found_however_it_is_typed_and_only_in_its_shop(shop: Shop) -> None:
    card = granted(shop)
    code = code_of(card)
    for typed in (code.lower(), code.replace("-", " "), code.replace("-", ""), f"  {code.replace('0', 'O').replace('1', 'l')}\n"):
        assert find(shop, typed) == card
    other = new_shop("Elsewhere")
    with pytest.raises(gift_cards.UnknownGiftCard):
        find(other, code)


@pytest.mark.parametrize("typed", ["", "-", "wrong", WRONG, "x" * 100_000, "\u0000", "７", "ÅÄÖ" * 10])
def test_strange_codes_are_unknown(shop: Shop, typed: str) -> None:
    with pytest.raises(gift_cards.UnknownGiftCard) as refused:
        find(shop, typed)
    assert refused.value.detail == "There is no gift card with this code. Check it and try again."


def test_a_card_that_cannot_be_used_says_why(shop: Shop, open_payment: Open) -> None:
    now = timezone.now()
    card = granted(shop, now=now, valid_days=30)
    code = code_of(card)
    with pytest.raises(gift_cards.GiftCardOfAnotherCurrency, match="in EUR, and you pay in USD"):
        find(shop, code, currency="USD")
    with pytest.raises(gift_cards.GiftCardExpired, match=f"expired on {now + timedelta(days=30):%Y-%m-%d}"):
        find(shop, code, now=now + timedelta(days=30, minutes=1))
    stored_value.freeze(card.value_id, because="looked into", now=now)
    with pytest.raises(gift_cards.GiftCardFrozen):
        find(shop, code)
    stored_value.thaw(card.value_id, because="looked into")
    event = open_payment("50.00")
    choose(event, card)
    pay_with_cards_alone(event)
    with pytest.raises(gift_cards.GiftCardEmpty):
        find(shop, code)
    assert CodeTries.objects.filter(tries__gt=0).count() == 0, "a right code does not count as a wrong one, whatever is on its card"


def test_sec_after_twenty_wrong_codes_the_right_one_is_refused_too_until_the_hour_is_over(shop: Shop) -> None:
    card, now = granted(shop), timezone.now()
    code = code_of(card)
    for _time in range(20):
        with pytest.raises(gift_cards.UnknownGiftCard):
            find(shop, WRONG, now=now)
    for typed in (WRONG, code):
        with pytest.raises(TooManyCodesTried, match="Try again after") as refused:
            find(shop, typed, now=now + timedelta(minutes=1))
    assert refused.value.until == now + gift_card_tries.WINDOW
    assert refused.value.wait == 59 * 60
    assert find(shop, code, who=Who(checkout="pay_2", buyer="anna"), now=now) == card
    assert find(shop, code, now=now + gift_card_tries.WINDOW) == card


@pytest.mark.race
def test_sec_of_thirty_wrong_codes_at_once_twenty_are_looked_up(shop: Shop) -> None:
    answers = all_at_once(*[partial(find, shop, WRONG, who=Who(checkout="pay_3"))] * 30)
    kinds = [type(answer) for answer in answers]
    assert (kinds.count(gift_cards.UnknownGiftCard), kinds.count(TooManyCodesTried)) == (20, 10)


def test_counts_that_are_over_are_forgotten(shop: Shop) -> None:
    now = timezone.now()
    with pytest.raises(gift_cards.UnknownGiftCard):
        find(shop, WRONG, now=now)
    assert gift_card_tries.purge(now=now) == 0
    assert gift_card_tries.purge(now=now + gift_card_tries.WINDOW) == 3


# --- Spent ----------------------------------------------------------------------------------------------------------


def test_a_card_pays_a_whole_basket_without_any_psp(shop: Shop, open_payment: Open) -> None:
    card = granted(shop, "100.00")
    event = open_payment("24.90", "35.10")
    choose(event, card)
    pay_with_cards_alone(event)
    assert statuses(event) == ["SUCCESS", "SUCCESS"]
    assert left_on(card) == (eur("40.00"), eur("0.00"))


# --- Expired --------------------------------------------------------------------------------------------------------


def test_what_is_left_when_a_card_ends_is_breakage_once(shop: Shop) -> None:
    now = timezone.now()
    revenue = balance_of(chart.breakage_revenue())
    card, kept = granted(shop, "30.00", valid_days=30), granted(shop, valid_days=0)
    assert kept.value.expires_at is None
    for _time in range(2):
        gift_card_expiry.expire_due(now=now + timedelta(days=31))
    assert movements(card) == [("granted", eur("30.00")), ("expired", eur("-30.00"))]
    assert balance_of(chart.breakage_revenue()) - revenue == eur("30.00")
    assert left_on(kept)[0] == eur("50.00")
    card.refresh_from_db()
    assert card.expired_at == now + timedelta(days=31)
    assert list(OutboxMessage.objects.filter(about=card.public_id).order_by("id").values_list("topic", "sequence")) == [
        ("gift_card.issued", 1),
        ("gift_card.expired", 2),
    ]
    assert not DueExpiry.objects.filter(value=card.value).exists()


def test_what_is_held_when_a_card_ends_is_looked_at_again(shop: Shop, open_payment: Open) -> None:
    now = timezone.now()
    card = granted(shop, "30.00", valid_days=1)
    event = open_payment("50.00")
    choose(event, card)
    confirm_card(event, DECLINED)
    gift_card_expiry.expire_due(now=now + timedelta(days=2))
    assert left_on(card) == (eur("30.00"), eur("30.00"))
    executor.execute_due_orders(now=timezone.now())
    assert left_on(card) == (eur("30.00"), eur("0.00"))
    gift_card_expiry.expire_due(now=now + timedelta(days=2, minutes=30))
    assert left_on(card)[0] == eur("30.00"), "it is looked at again after an hour"
    gift_card_expiry.expire_due(now=now + timedelta(days=2, hours=2))
    assert left_on(card) == (eur("0.00"), eur("0.00"))


def test_a_card_that_was_given_more_time_expires_then_and_each_part_once(shop: Shop) -> None:
    now = timezone.now()
    card = granted(shop, valid_days=1)
    later = now + timedelta(days=90)
    with transaction.atomic():
        stored_value.lock([card.value_id])
        stored_value.prolong([card.value_id], until=later)
    gift_card_expiry.expire_due(now=now + timedelta(days=2))
    assert left_on(card)[0] == eur("50.00")
    assert DueExpiry.objects.get(value=card.value).due_at == later
    for _time in range(2):
        gift_card_expiry.expire_due(now=later)
    assert movements(card) == [("granted", eur("50.00")), ("expired", eur("-50.00"))]


def test_what_is_frozen_does_not_expire(shop: Shop) -> None:
    now = timezone.now()
    card = granted(shop, valid_days=1)
    stored_value.freeze(card.value_id, because="dsp_1", now=now)
    gift_card_expiry.expire_due(now=now + timedelta(days=2))
    assert left_on(card)[0] == eur("50.00")
    stored_value.thaw(card.value_id, because="dsp_1")
    gift_card_expiry.expire_due(now=now + timedelta(days=3))
    assert left_on(card)[0] == eur("0.00")


@pytest.mark.race
def test_a_card_that_expires_while_it_is_spent_is_either_spent_or_expired(shop: Shop, open_payment: Open) -> None:
    now = timezone.now()
    cards = [granted(shop, valid_days=1) for _card in range(4)]
    events = [open_payment("50.00") for _card in cards]
    for card, event in zip(cards, events, strict=True):
        choose(event, card)
    end = now + timedelta(days=1, hours=1)
    PaymentEvent.objects.filter(pk__in=[event.pk for event in events]).update(expires_at=end + timedelta(days=1))
    spend = [partial(pay_with_cards_alone, event, now=now) for event in events]
    all_at_once(*spend, *[partial(gift_card_expiry.expire_due, now=end)] * 2)
    for card in cards:
        [_granted, (kind, amount)] = movements(card)
        assert (kind in ("spent", "expired"), amount) == (True, eur("-50.00"))
        assert left_on(card) == (eur("0.00"), eur("0.00"))
