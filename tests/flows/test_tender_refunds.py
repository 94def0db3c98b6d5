"""Money of an order that gift cards or a wallet paid in part goes back: the card's part first, then theirs, each to where it came from."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from djmoney.money import Money

from ledger import chart, queries
from payments import cancellations, confirmation, executor, expiry, late, refunds, rescue, settlement
from payments.confirmation import Confirmed
from payments.models import Cancellation, ChosenTender, DeadLetter, LateCharge, PaymentEvent, PaymentOrder, PspAttempt, Refund, Tender
from payments.psp.protocol import Voided
from payments.refunds import NotRefundable, To
from payments.rescue import NotToRescue
from tests.factories import FEES, RECEIVABLE, eur, stored_value_of
from tests.fixtures_money import (
    Oracle,
    all_at_once,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    errors_in,
    execute_refunds,
    execute_until_settled,
    sandbox_psp,
    statuses,
)
from tests.fixtures_services import SandboxCompany
from tests.flows.test_admin_dead_letters import browser_of, deed
from tests.flows.test_dead_letters import bury
from tests.flows.test_late_charges import given_up
from tests.flows.test_tenders import choose
from wallet.models import Seller, Shop, StoredValue, StoredValueEntry, Wallet

Open = Callable[..., PaymentEvent]

SUCCEEDS_THEN_FAILS = "4000000000005126"  # what is refunded to it
NOTHING = eur("0.00")


@pytest.fixture
def gift(shop: Shop) -> StoredValue:
    return stored_value_of(shop, "30.00")


@pytest.fixture
def order(gift: StoredValue, open_payment: Open, pay: Open) -> PaymentOrder:
    """Give a paid order of 100.00, our fee 10.00: 30.00 from a gift card, 70.00 from the buyer's card."""
    return pay(choose(open_payment("100.00"), gift)).orders.get()


def ask(order: PaymentOrder, amount: str | None, *, to: To = To.CHARGE) -> Refund:
    wanted = None if amount is None else eur(amount)
    return refunds.request_refund(order.pk, amount=wanted, reason="broken", now=timezone.now(), to=to)


def give_back(order: PaymentOrder, amount: str | None, *, to: To = To.CHARGE) -> Refund:
    refund = ask(order, amount, to=to)
    execute_refunds(now=timezone.now())
    refund.refresh_from_db()
    return refund


def split(refund: Refund) -> tuple[str, str]:
    """Return what the PSP gives back, and what goes to gift cards and the wallet."""
    return f"{refund.charged_back.amount:.2f}", f"{refund.tendered.amount:.2f}"


def left_of(value: StoredValue) -> Money:
    value.refresh_from_db()
    return value.balance


def test_two_presses_in_the_admin_are_one_refund_also_where_the_first_gave_all_back_that_tenders_paid(
    order: PaymentOrder, oracle: Oracle
) -> None:
    browser = browser_of(User.objects.create_superuser("finance"))
    said = {"note": "broken", "part": "30.00", "fee_policy": "", "to": To.STORED_VALUE.value, "once": "admin:one"}
    answers = [browser.post(deed(order, "refund"), said) for _press in range(2)]
    assert [answer.status_code for answer in answers] == [302, 302]
    assert split(Refund.objects.get()) == ("0.00", "30.00")
    execute_refunds(now=timezone.now())
    assert oracle.rows("refund.succeeded") == []


def balance(account: str) -> Money:
    return queries.balance_of(account, currency="EUR")


def come_back(refund: Refund, oracle: Oracle) -> None:
    """Let the money that a refund gave back come back to us; the PSP knows nothing of it."""
    refund.refresh_from_db()
    assert settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    oracle.explain(refund.psp_reference)


def refunded_at_psp(oracle: Oracle) -> list[int]:
    return [row["amount"] for row in oracle.rows("refund.succeeded")]


# --- In parts --------------------------------------------------------------------------------------------------------


def test_the_card_gets_its_part_first_and_the_gift_card_the_rest(order: PaymentOrder, gift: StoredValue, oracle: Oracle) -> None:
    given = [give_back(order, part) for part in ("50.00", "30.00", "20.00")]
    assert [split(refund) for refund in given] == [("50.00", "0.00"), ("20.00", "10.00"), ("0.00", "20.00")]
    assert {refund.status for refund in given} == {"SUCCESS"}
    assert refunded_at_psp(oracle) == [5000, 2000], "of the last one the PSP has nothing to give"
    assert not PspAttempt.objects.filter(refund=given[2]).exists()
    assert (left_of(gift), balance(RECEIVABLE), balance(FEES)) == (eur("30.00"), NOTHING, NOTHING)
    assert Wallet.objects.get(seller=order.seller_id).pending == NOTHING
    with pytest.raises(NotRefundable, match="nothing of it is left"):
        ask(order, "0.01")


@pytest.mark.parametrize(
    ("parts", "to"),
    [(("70.00", "25.00", "5.00"), To.CHARGE), (("5.00", "25.00", "70.00"), To.STORED_VALUE), (("25.00", "5.00", "70.00"), To.CHARGE)],
)
def test_parts_in_any_order_give_all_of_it_back(
    order: PaymentOrder, gift: StoredValue, parts: tuple[str, ...], to: To, oracle: Oracle
) -> None:
    given = [ask(order, part, to=to) for part in parts]
    tendered = min(eur(parts[0]), eur("30.00")) if to == To.STORED_VALUE else NOTHING
    assert given[0].tendered == tendered
    execute_refunds(now=timezone.now())
    assert set(Refund.objects.values_list("status", flat=True)) == {"SUCCESS"}
    assert (sum(refunded_at_psp(oracle)), left_of(gift)) == (7000, eur("30.00"))
    assert (balance(FEES), Wallet.objects.get(seller=order.seller_id).pending) == (NOTHING, NOTHING)


def test_two_gift_cards_and_a_wallet_over_three_sellers_get_back_what_each_paid(
    shop: Shop, open_payment: Open, pay: Open, sellers: list[Seller], oracle: Oracle
) -> None:
    event = open_payment("24.90", "89.00", "14.50")
    values = [stored_value_of(shop, "10.00"), stored_value_of(shop, "25.05"), stored_value_of(shop, "40.00", buyer=event.buyer)]
    pay(choose(event, *values))
    assert [left_of(value) for value in values] == [NOTHING] * 3
    orders = list(event.orders.order_by("id"))
    first = give_back(orders[1], "80.00")
    assert first.tendered == eur("80.00") - orders[1].charge
    tenders = [part.tender for part in first.tender_refunds.select_related("tender__value").order_by("pk")]
    assert tenders[0].value.kind == "wallet", "what was paid last goes back first"
    for order in orders:
        ask(order, None)
    execute_refunds(now=timezone.now())
    assert [f"{left_of(value).amount:.2f}" for value in values] == ["10.00", "25.05", "40.00"]
    assert sum(refunded_at_psp(oracle)) == 12840 - 7505
    assert [wallet.pending for wallet in Wallet.objects.all()] == [NOTHING] * 3


def test_what_a_wallet_paid_alone_goes_back_without_a_psp(shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("24.90")
    wallet = stored_value_of(shop, "50.00", buyer=event.buyer)
    confirmation.confirm(choose(event, wallet).pk, Confirmed("stored", "", NOTHING), now=timezone.now())
    order = event.orders.get()
    assert order.status == "SUCCESS"
    assert [give_back(order, part).status for part in ("4.90", "20.00")] == ["SUCCESS"] * 2
    assert (left_of(wallet), balance(chart.buyer_wallet(event.buyer_id)), balance(FEES)) == (eur("50.00"), eur("50.00"), NOTHING)
    assert oracle.rows("charge.succeeded", "refund.succeeded") == []


def test_an_expired_gift_card_that_gets_money_back_is_good_for_a_while(order: PaymentOrder, gift: StoredValue) -> None:
    StoredValue.objects.filter(pk=gift.pk).update(expires_at=timezone.now() - timedelta(days=1))
    give_back(order, None)
    gift.refresh_from_db()
    days = settings.GIFT_CARD_REFUND_DAYS
    assert gift.expires_at is not None
    assert timedelta(days=days - 1) < gift.expires_at - timezone.now() <= timedelta(days=days)


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_a_refund_that_fails_at_the_psp_gives_nothing_to_the_gift_card(order: PaymentOrder, gift: StoredValue) -> None:
    refund = ask(order, "90.00")
    assert settlement.fail_refund(refund.pk, psp_reference="", code="refused")
    order.refresh_from_db()
    assert (left_of(gift), order.refunded, order.tendered_back) == (NOTHING, NOTHING, NOTHING)
    again = give_back(order, None)
    assert (split(again), left_of(gift)) == (("70.00", "30.00"), eur("30.00"))


def test_bug_39_a_refund_that_comes_back_takes_from_the_gift_card_again_what_it_gave(
    gift: StoredValue, open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    order = pay(choose(open_payment("100.00"), gift), SUCCEEDS_THEN_FAILS).orders.get()
    refund = give_back(order, "90.00")
    assert (split(refund), left_of(gift)) == (("70.00", "20.00"), eur("20.00"))
    oracle.wait_for("refund.failed", count=1)
    assert settlement.reverse_refund(refund.pk, code="refund_failed", at=timezone.now())
    order.refresh_from_db()
    assert (left_of(gift), order.left, order.tendered_back) == (NOTHING, eur("100.00"), NOTHING)
    assert (balance(RECEIVABLE), balance(FEES)) == (eur("70.00"), eur("10.00"))
    assert Wallet.objects.get(seller=order.seller_id).pending == eur("90.00")


def test_bug_39_what_is_spent_of_a_refund_that_comes_back_stays_given_and_is_never_given_twice(
    order: PaymentOrder, gift: StoredValue, open_payment: Open, oracle: Oracle
) -> None:
    """The card's 70.00 came back; of the 20.00 that the gift card had got, 15.00 are spent, and only 5.00 can be taken from it again."""
    refund = give_back(order, "90.00")
    next_event = open_payment("15.00")
    confirmation.confirm(choose(next_event, gift).pk, Confirmed("stored", "", NOTHING), now=timezone.now())
    come_back(refund, oracle)
    order.refresh_from_db()
    assert (left_of(gift), order.left, balance(chart.dispute_losses())) == (NOTHING, eur("85.00"), NOTHING)
    kept = order.refunds.get(status="SUCCESS")
    assert (split(kept), kept.fee) == (("0.00", "15.00"), eur("1.50"))
    assert split(ask(order, None)) == ("70.00", "15.00"), "what is left of the gift card's 30.00, not what is spent once more"
    moved = [f"{entry.amount.amount:.2f}" for entry in StoredValueEntry.objects.filter(value=gift).exclude(kind="granted").order_by("pk")]
    assert moved == ["-30.00", "20.00", "-15.00", "15.00", "-20.00"]


@pytest.mark.parametrize("meanwhile", ["", "10.00", "100.00"])
def test_of_a_refund_that_succeeds_after_it_was_given_up_the_psps_part_alone_counts(
    order: PaymentOrder, gift: StoredValue, oracle: Oracle, meanwhile: str
) -> None:
    refund = ask(order, "90.00")
    settlement.fail_refund(refund.pk, psp_reference="", code="given_up")
    if meanwhile:
        other = ask(order, meanwhile)
        settlement.settle_refund(other.pk, psp_reference="re_other", refunded_at=timezone.now())
    settlement.settle_refund(refund.pk, psp_reference="re_late", refunded_at=timezone.now())
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (split(refund), refund.status, refund.tender_refunds.count()) == (("70.00", "0.00"), "SUCCESS", 0)
    charged_back_twice = min(eur(meanwhile or "0.00"), eur("70.00"))
    assert (refund.borne, order.charge_left) == (charged_back_twice, NOTHING)
    assert left_of(gift) == (eur("30.00") if meanwhile == "100.00" else NOTHING)
    for each in Refund.objects.filter(status="SUCCESS"):
        settlement.reverse_refund(each.pk, code="never_happened", at=timezone.now())  # as the PSP's journal has it
    assert left_of(gift) == NOTHING


def test_a_person_who_gives_a_charge_up_lets_the_gift_card_go_and_its_late_success_goes_back_to_the_buyer(
    gift: StoredValue, open_payment: Open, pay: Open, oracle: Oracle
) -> None:
    """The order was left to a person while the PSP had taken 70.00 of it; then the buyer pays all of it another way."""
    event = choose(open_payment("100.00"), gift)
    [taken] = charge_and_keep_the_answer(event)
    order = event.orders.get()
    rescue.fail(bury(order).pk, actor="user:1:ada", note="nobody knows", now=timezone.now())
    gift.refresh_from_db()
    assert (gift.balance, gift.held, Tender.objects.get().status) == (eur("30.00"), NOTHING, "RELEASED")
    assert "not decided yet" in late.settle(captures_of([taken]))[order.public_id], "the buyer may still pay it"
    ChosenTender.objects.all().delete()
    pay(event)
    assert late.settle(captures_of([taken])) == {}
    execute_refunds(now=timezone.now())
    charge = LateCharge.objects.get()
    assert (charge.amount, charge.refund.status, left_of(gift)) == (eur("70.00"), "SUCCESS", eur("30.00"))


def test_an_order_whose_gift_card_was_let_go_is_not_charged_again_for_more_than_the_buyer_confirmed(
    gift: StoredValue, open_payment: Open, sandbox: SandboxCompany
) -> None:
    event = choose(open_payment("100.00"), gift)
    confirm_card(event)
    sandbox.fault(operation="charge", kind="throttle")
    for minutes in range(0, 60, 3):
        executor.execute_due_orders(now=timezone.now() + timedelta(minutes=minutes))
    letter = DeadLetter.objects.get()
    gift.refresh_from_db()
    assert (statuses(event), letter.reason, gift.held) == (["FAILED"], "tries_exhausted", NOTHING)
    sandbox.clear_faults()
    with pytest.raises(NotToRescue, match="let go"):
        rescue.redrive(letter.pk, actor="user:1:ada", note="again", now=timezone.now())


def test_a_late_charge_of_a_checkout_that_is_over_goes_back_and_the_gift_card_is_whole(
    gift: StoredValue, open_payment: Open, oracle: Oracle
) -> None:
    event = choose(open_payment("100.00"), gift)
    [capture] = given_up(event)
    assert "not decided yet" in late.settle([capture])[capture.psp_key], "70.00 do not pay the order without the gift card"
    expiry.expire_checkouts(now=event.expires_at)
    assert late.settle([capture]) == {}
    execute_refunds(now=timezone.now())
    assert (LateCharge.objects.get().refund.status, left_of(gift), refunded_at_psp(oracle)) == ("SUCCESS", eur("30.00"), [7000])


# --- Cancellations ---------------------------------------------------------------------------------------------------


def cancel(order: PaymentOrder) -> Cancellation:
    return cancellations.cancel_order(order.pk, reason="changed my mind", once="", requested_by="buyer", now=timezone.now())


def test_a_paid_order_is_cancelled_with_all_that_its_tenders_paid(order: PaymentOrder, gift: StoredValue, oracle: Oracle) -> None:
    give_back(order, "10.00", to=To.STORED_VALUE)
    cancellation = cancel(order)
    execute_refunds(now=timezone.now())
    cancellations.follow(now=timezone.now())
    cancellation.refresh_from_db()
    order.refresh_from_db()
    assert (cancellation.outcome, order.left, left_of(gift)) == ("refunded", NOTHING, eur("30.00"))
    assert refunded_at_psp(oracle) == [7000]


def test_an_order_that_is_voided_lets_its_gift_card_go(gift: StoredValue, open_payment: Open, oracle: Oracle) -> None:
    event = choose(open_payment("100.00"), gift)
    charge_and_keep_the_answer(event)
    cancel(event.orders.get())
    execute_until_settled()
    order = event.orders.get()
    gift.refresh_from_db()
    assert (order.status, order.tendered, gift.balance, gift.held) == ("CANCELLED", NOTHING, eur("30.00"), NOTHING)


def test_a_void_of_the_charge_is_the_refund_of_what_the_gift_card_paid_too(
    gift: StoredValue, open_payment: Open, sandbox: SandboxCompany
) -> None:
    event = choose(open_payment("100.00"), gift)
    answered = charge_and_keep_the_answer(event)
    order = event.orders.get()
    executor.hand_over(answered, now=timezone.now())
    give_back(order, "12.00", to=To.STORED_VALUE)
    assert isinstance(sandbox_psp(sandbox).void(answered[0][0].request), Voided)
    cancellations.voided(order.pk, psp_key=order.public_id, now=timezone.now())
    order.refresh_from_db()
    assert (order.status, order.left, left_of(gift)) == ("SUCCESS", NOTHING, eur("30.00"))
    assert balance(RECEIVABLE) == NOTHING


# --- At once ---------------------------------------------------------------------------------------------------------


def test_two_who_refund_the_same_order_at_once_give_back_what_was_paid_and_no_more(
    order: PaymentOrder, gift: StoredValue, oracle: Oracle
) -> None:
    answers = all_at_once(*[lambda: ask(order, "60.00")] * 4)
    assert len(errors_in(answers)) == 3
    all_at_once(*[lambda: execute_refunds(now=timezone.now())] * 3)
    give_back(order, None)
    assert (sum(refunded_at_psp(oracle)), left_of(gift)) == (7000, eur("30.00"))
