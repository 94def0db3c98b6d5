"""A buyer's bank takes the card's part of an order back, never what a gift card paid; and the money of a card that bought a gift card."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.utils import timezone
from djmoney.money import Money

from ledger import chart
from payments import disputes, refunds, settlement
from payments.intake import NewOrder
from payments.models import PaymentEvent, PaymentOrder, Refund
from payments.psp.sandbox import dispute_of
from payments.refunds import NotRefundable
from payments.settlement import NotBookable
from tests.factories import RECEIVABLE, eur, stored_value_of
from tests.fixtures_money import Oracle, all_at_once, errors_in, execute_refunds, pay_with_card
from tests.fixtures_services import SandboxCompany
from tests.flows.test_disputes import balance, close, decide, dispute, figures, open_
from tests.flows.test_tender_refunds import NOTHING, come_back, give_back, left_of
from tests.flows.test_tenders import choose, spend
from wallet import stored_value
from wallet.models import Shop, StoredValue

Open = Callable[..., PaymentEvent]


@pytest.fixture
def gift(shop: Shop) -> StoredValue:
    return stored_value_of(shop, "30.00")


@pytest.fixture
def order(gift: StoredValue, open_payment: Open) -> PaymentOrder:
    """Give a paid order of 100.00, our fee 10.00: 30.00 from a gift card, 70.00 from the buyer's card."""
    return pay_with_card(choose(open_payment("100.00"), gift)).orders.get()


# --- Of an order that a gift card paid in part -------------------------------------------------------------------------


def test_a_dispute_holds_what_was_charged_and_the_gift_cards_part_stays_with_the_seller(
    order: PaymentOrder, sandbox: SandboxCompany
) -> None:
    opened = dispute(sandbox, order)
    assert opened["amount"] == 7000
    assert open_(opened).held == eur("70.00")
    assert figures(order) == ("20.00", "0.00", "70.00")
    close(decide(sandbox, opened, "lost"))
    assert figures(order) == ("27.00", "0.00", "0.00"), "30.00 that the gift card paid, less our fee on it"
    order.refresh_from_db()
    assert (order.left, order.charge_left) == (eur("30.00"), NOTHING)


def test_what_the_gift_card_paid_can_be_given_back_after_a_lost_dispute(
    order: PaymentOrder, gift: StoredValue, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    close(decide(sandbox, dispute(sandbox, order), "lost"))
    refund = give_back(order, None)
    assert (refund.amount, refund.tendered, refund.status, left_of(gift)) == (eur("30.00"), eur("30.00"), "SUCCESS", eur("30.00"))
    assert (figures(order), balance(chart.fee_revenue())) == (("0.00", "0.00", "0.00"), NOTHING)
    assert oracle.rows("refund.succeeded") == []


def test_a_won_dispute_leaves_everything_as_it_was(order: PaymentOrder, gift: StoredValue, sandbox: SandboxCompany) -> None:
    opened = dispute(sandbox, order)
    open_(opened)
    with pytest.raises(NotRefundable, match="disputed"):
        refunds.request_refund(order.pk, amount=None, reason="", now=timezone.now())
    close(decide(sandbox, opened, "won"))
    assert figures(order) == ("90.00", "0.00", "0.00")
    assert (give_back(order, None).status, left_of(gift)) == ("SUCCESS", eur("30.00"))


def test_a_dispute_over_more_than_was_charged_is_refused(order: PaymentOrder, sandbox: SandboxCompany) -> None:
    opened = dispute(sandbox, order)
    with pytest.raises(NotBookable, match=r"is over .*70"):
        disputes.open_dispute(replace(dispute_of(opened), amount=eur("70.01")), psp="sandbox")
    open_(opened)


def test_what_was_refunded_of_the_charge_is_lost_twice_by_the_platform_until_the_refund_comes_back(
    order: PaymentOrder, gift: StoredValue, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    """Of 70.00 charged, 70.00 went back with 20.00 of the gift card; then the bank takes 70.00; then the refund comes back."""
    refund = give_back(order, "90.00")
    close(decide(sandbox, dispute(sandbox, order), "lost"))
    assert balance(chart.dispute_losses()) == eur("70.00")
    come_back(refund, oracle)
    order.refresh_from_db()
    assert (balance(chart.dispute_losses()), left_of(gift), order.left) == (NOTHING, NOTHING, eur("30.00"))
    assert figures(order) == ("27.00", "0.00", "0.00")


def test_a_refund_and_a_dispute_at_once_leave_one_order_of_things(order: PaymentOrder, gift: StoredValue, sandbox: SandboxCompany) -> None:
    opened = dispute(sandbox, order, amount=5000)
    answers = all_at_once(
        lambda: open_(opened),
        lambda: refunds.request_refund(order.pk, amount=eur("60.00"), reason="", now=timezone.now()),
    )
    assert [type(error) for error in errors_in(answers)] in ([], [NotRefundable])
    execute_refunds(now=timezone.now())
    close(decide(sandbox, opened, "won"))
    order.refresh_from_db()
    assert order.left in (eur("40.00"), eur("100.00"))


# --- Of a charge that bought a gift card, or filled a wallet ------------------------------------------------------------


@pytest.fixture
def bought(shop: Shop, open_payment: Open) -> PaymentOrder:
    """Give the paid order by which a gift card of 50.00 was bought."""
    value = stored_value_of(shop, "1.00")
    return pay_with_card(open_payment(orders=[NewOrder("", eur("50.00"), fills=value)])).orders.get()


def card_of(order: PaymentOrder) -> StoredValue:
    assert order.fills is not None
    order.fills.refresh_from_db()
    return order.fills


def losses() -> Money:
    return balance(chart.dispute_losses())


def test_a_gift_card_that_goes_back_is_held_taken_and_restored_if_the_refund_comes_back(bought: PaymentOrder, oracle: Oracle) -> None:
    refund = refunds.request_refund(bought.pk, amount=eur("20.00"), reason="", now=timezone.now())
    assert (card_of(bought).balance, card_of(bought).held) == (eur("51.00"), eur("20.00"))
    execute_refunds(now=timezone.now())
    assert (card_of(bought).balance, card_of(bought).held) == (eur("31.00"), NOTHING)
    assert (balance(RECEIVABLE), balance(chart.gift_cards())) == (eur("30.00"), eur("31.00"))
    come_back(refund, oracle)
    bought.refresh_from_db()
    assert (card_of(bought).balance, bought.refunded, balance(RECEIVABLE)) == (eur("51.00"), NOTHING, eur("50.00"))


def test_a_refund_of_a_gift_card_that_fails_lets_go_what_it_held(bought: PaymentOrder) -> None:
    refund = refunds.request_refund(bought.pk, amount=None, reason="", now=timezone.now())
    assert card_of(bought).free == eur("1.00")
    settlement.fail_refund(refund.pk, psp_reference="", code="refused")
    assert (card_of(bought).free, card_of(bought).held) == (eur("51.00"), NOTHING)


def test_what_is_spent_of_a_gift_card_does_not_go_back_to_who_bought_it(bought: PaymentOrder, open_payment: Open) -> None:
    spend(open_payment, card_of(bought), "39.00")
    with pytest.raises(NotRefundable, match=r"filled, 12\.00 EUR are left") as refusal:
        refunds.request_refund(bought.pk, amount=eur("12.01"), reason="", now=timezone.now())
    assert refusal.value.field == "amount"
    bought.refresh_from_db()
    assert bought.refunded == NOTHING


def test_a_refund_of_a_gift_card_that_was_given_up_and_succeeds_takes_what_is_there_and_the_platform_bears_the_rest(
    bought: PaymentOrder, open_payment: Open
) -> None:
    refund = refunds.request_refund(bought.pk, amount=None, reason="", now=timezone.now())
    settlement.fail_refund(refund.pk, psp_reference="", code="given_up")
    spend(open_payment, card_of(bought), "41.00")
    settlement.settle_refund(refund.pk, psp_reference="re_late", refunded_at=timezone.now())
    refund.refresh_from_db()
    assert (card_of(bought).balance, refund.borne, losses()) == (NOTHING, eur("40.00"), eur("40.00"))
    settlement.reverse_refund(refund.pk, code="never_happened", at=timezone.now())  # as the PSP's journal has it
    assert (card_of(bought).balance, losses()) == (eur("10.00"), NOTHING)


def test_a_gift_card_is_frozen_while_its_purchase_is_disputed_and_thaws_when_that_is_won(
    bought: PaymentOrder, open_payment: Open, sandbox: SandboxCompany
) -> None:
    opened = dispute(sandbox, bought)
    kept = open_(opened)
    assert (kept.held, kept.wallet_entry, card_of(bought).frozen_because) == (NOTHING, None, kept.public_id)
    assert stored_value.usable(card_of(bought), currency="EUR", now=timezone.now()) == NOTHING
    close(decide(sandbox, opened, "won"))
    assert (card_of(bought).frozen_at, card_of(bought).balance, losses()) == (None, eur("51.00"), NOTHING)


@pytest.mark.parametrize(("spent", "left", "lost"), [("0.50", "0.50", "0.00"), ("31.00", "0.00", "30.00")])
def test_a_lost_dispute_takes_out_of_the_gift_card_what_is_there_and_the_platform_bears_the_rest(
    bought: PaymentOrder, open_payment: Open, sandbox: SandboxCompany, spent: str, left: str, lost: str
) -> None:
    spend(open_payment, card_of(bought), spent)
    close(decide(sandbox, dispute(sandbox, bought), "lost"))
    assert (card_of(bought).balance, losses()) == (eur(left), eur(lost))
    assert (card_of(bought).frozen_at is None) == (lost == "0.00"), "what was spent of somebody else's money stays frozen"
    with pytest.raises(NotRefundable, match="lost"):
        refunds.request_refund(bought.pk, amount=eur("0.01"), reason="", now=timezone.now())


def test_a_gift_card_that_went_back_and_is_disputed_too_is_lost_once_when_the_refund_comes_back(
    bought: PaymentOrder, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    refund = give_back(bought, "50.00")
    close(decide(sandbox, dispute(sandbox, bought), "lost"))
    assert (card_of(bought).balance, losses()) == (eur("1.00"), eur("50.00"))
    come_back(refund, oracle)
    assert (card_of(bought).balance, losses(), Refund.objects.get().status) == (eur("1.00"), NOTHING, "FAILED")
