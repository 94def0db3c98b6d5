"""The whole path of a payment on one page: from the checkout to our bank's statement and the seller's bank, found by whatever id one has."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from djmoney.money import Money

from payments import confirmation, disputes, intake, refunds, releases, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.psp.protocol import DisputeNotice
from payments.settlement import Capture
from payouts import requests
from payouts import settlement as payouts
from payouts.models import Payout
from reconciliation import (
    bank_matching,
    bank_recognition,
    causes,
    ingestion,
    invariants,
    matching,
    path_awaited,
    path_places,
    path_search,
    path_steps,
    payment_path,
)
from reconciliation.models import Mismatch, SettlementBatch
from tests.bank_statements import mt940
from tests.factories import basket, eur, new_bank_account, new_sellers, new_shop, stored_value_of
from tests.flows.test_admin import page_of, words
from tests.flows.test_bank_matching import settled
from tests.flows.test_matching import sell_by
from tests.settlement_files import batch_of

pytestmark = pytest.mark.django_db
DAY = "2037-11-20"
MORNING = datetime(2037, 11, 22, 6, tzinfo=UTC)


def sold(count: int) -> list[PaymentOrder]:
    """Sell a basket of so many sellers, 20.00 EUR each, our fee a tenth."""
    sellers = new_sellers(new_shop(), *(f"Seller {number}" for number in range(1, count + 1)))
    event, _is_new = intake.open_event(sellers[0].shop, basket(sellers, *["20.00"] * count), now=timezone.now())
    orders = confirmation.confirm(
        event.pk, Confirmed("cs_1", "tok_1", event.amount, "visa", "4242", "card", "debit", "DE"), now=timezone.now()
    )
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    settlement.settle(
        [
            Capture(one.order_id, one.pk, one.psp_key, f"ch_{one.pk}", order.amount, timezone.now())
            for order, one in zip(orders, attempts, strict=True)
        ]
    )
    return list(PaymentOrder.objects.filter(event=event).order_by("pk"))


def deliver(orders: list[PaymentOrder]) -> None:
    now = timezone.now()
    for order in orders:
        releases.deliver(order.pk, at=now, actor="api:shop", now=now)
    assert releases.release_due(now=now) == len(orders)


def give_back(order: PaymentOrder, amount: str) -> Refund:
    refund = refunds.request_refund(order.pk, amount=eur(amount), reason="Damaged", now=timezone.now())
    settlement.settle_refund(refund.pk, psp_reference=f"re_{refund.pk}", refunded_at=timezone.now())
    return refund


def dispute(order: PaymentOrder) -> None:
    now, charge = timezone.now(), order.attempts.get().psp_reference
    terms = "open", order.amount, eur("15.00"), eur("0.00"), "fraudulent", now, now + timedelta(days=9), now
    disputes.open_dispute(DisputeNotice(f"dp_{order.pk}", order.public_id, order.public_id, charge, *terms), psp="sandbox")


def pay_out(order: PaymentOrder) -> Payout:
    """Pay out all that the seller has available."""
    new_bank_account(order.seller)
    payout = requests.request_payout(order.seller, amount=None, currency="EUR", now=timezone.now(), requested_by="user:ada")
    payouts.settle_payout(payout.pk, provider_reference="po_bank", paid_at=timezone.now())
    return payout


def settle(orders: list[PaymentOrder], *, gross: str = "20.00") -> SettlementBatch:
    """Have the PSP's file of these charges compared with our books."""
    lines = [("charge", order.attempts.get().psp_reference, order.public_id, gross, "0.30") for order in orders]
    file, _is_new = ingestion.receive(io.BytesIO(batch_of(*lines, day=DAY)), "sb.csv", source="sandbox", received_by="folder", now=MORNING)
    assert ingestion.stage(file.pk, now=MORNING).error == ""
    assert matching.match_waiting(now=MORNING) == 1
    return SettlementBatch.objects.get(file=file)


def on_our_bank(batch: SettlementBatch, *payouts: Payout) -> None:
    """Have our bank's statement compared, on which the batch came and the payouts went."""
    lines = [(f"{batch.paid_out:.2f}", "B1", "", f"Sandbox {batch.name}")]
    lines += [(f"-{payout.amount.amount:.2f}", f"P{payout.pk}", payout.public_id, "Payout") for payout in payouts]
    body = mt940(*lines, opening="1000.00")
    file, _is_new = ingestion.receive(io.BytesIO(body), "day.sta", source="sandbox_bank", received_by="folder", now=MORNING)
    assert ingestion.stage(file.pk, now=MORNING).error == ""
    assert bank_matching.match_waiting(now=MORNING) == 1


def travelled(count: int = 4) -> PaymentEvent:
    """Let a basket go all the way: the first order is paid out, of the second 5.00 went back, the third is disputed, the rest is pending."""
    orders = sold(count)
    deliver(orders[:2])
    payout = pay_out(orders[0])
    give_back(orders[1], "5.00")
    dispute(orders[2])
    on_our_bank(settle(orders), payout)
    return PaymentEvent.objects.select_related("shop", "buyer").get(pk=orders[0].event_id)


@pytest.fixture(autouse=True)
def the_books_hold() -> Any:
    yield
    assert invariants.violations() == []


@pytest.fixture
def staff() -> Client:
    return browser_of(User.objects.create_superuser("finance"))


def browser_of(user: User) -> Client:
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def places(found: Any) -> list[str]:
    return [f"{place.amount.amount:.2f} {place.words}" for place in found]


def test_what_a_gift_card_paid_and_got_back_is_on_the_path_and_no_file_is_awaited_for_it(staff: Client) -> None:
    """Of 100.00, 30.00 are a gift card's; 80.00 go back: 70.00 that were charged, and 10.00 to the gift card."""
    [seller] = new_sellers(new_shop(), "Ada")
    order = sell_by(stored_value_of(seller.shop, "30.00"), seller, "100.00")
    refund = give_back(order, "80.00")
    path = payment_path.path_of(order.event)
    [where] = path_places.whereabouts(path)
    assert places(where.paid) == [
        "20.00 paid with gift cards or the buyer's wallet", "70.00 given back to the buyer", "10.00 given back to gift cards or the buyer's wallet"
    ]  # fmt: skip
    assert where.state == "Paid, and given back in part"
    assert "Held on a gift card" in [step.what for step in path_steps.steps_of(path)]
    assert sum(place.amount for place in where.owed) == eur("18.00")
    there = words(staff.get(page_of(order)).content)
    assert "aid with gift cards and the wallet" in there
    assert "Taken" in there, "the tender is among the rows of the order"
    to_card = refunds.request_refund(order.pk, amount=eur("20.00"), reason="", now=timezone.now())
    said = [each.what for each in path_awaited.awaited(payment_path.path_of(order.event), now=timezone.now())]
    assert any("20.00" in what and "gift cards" in what for what in said)
    settlement.settle_refund(to_card.pk, psp_reference="", refunded_at=timezone.now())
    said = [each.what for each in path_awaited.awaited(payment_path.path_of(order.event), now=timezone.now())]
    assert sum("refund's line" in what for what in said) == 1, f"of {refund.public_id} alone"


def test_where_the_money_is_comes_to_each_orders_amount_and_to_what_its_wallet_moved() -> None:
    event = travelled()
    path = payment_path.path_of(event)
    paid_out, refunded, disputed, pending = path_places.whereabouts(path)
    assert [each.state for each in (paid_out, refunded, disputed, pending)] == [
        "Paid", "Paid, and given back in part", "Paid, and disputed", "Paid"
    ]  # fmt: skip
    on_the_bank = "on our bank account since Nov\N{NO-BREAK SPACE}21,\N{NO-BREAK SPACE}2037".replace("\N{NO-BREAK SPACE}", " ")
    assert places(paid_out.paid) == [f"20.00 {on_the_bank}"]
    assert places(paid_out.owed) == ["18.00 paid out, and on our bank's statement"]
    assert places(refunded.paid) == [f"15.00 {on_the_bank}", "5.00 given back to the buyer"]
    assert places(refunded.owed) == ["13.50 available to the seller"]
    assert places(disputed.paid) == ["20.00 taken back by the buyer's bank, not decided yet"]
    assert places(pending.owed)[0].startswith("18.00 pending, until ")
    for each in (paid_out, refunded, disputed, pending):
        assert sum(place.amount for place in each.paid) == each.order.amount
        moved = sum((movement.net for movement in path.movements[each.order.pk]), Money(0, "EUR"))
        assert sum((place.amount for place in each.owed), Money(0, "EUR")) == moved


def test_every_step_from_the_checkout_to_the_bank_is_on_the_line_with_its_postings_and_what_is_awaited_has_its_day() -> None:
    path = payment_path.path_of(travelled())
    steps = path_steps.steps_of(path)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert "visa debit DE •••• 4242" in [step.detail for step in steps]
    told = {step.what for step in steps}
    assert told >= {
        "Opened", "Confirmed by the buyer", "Sent to the PSP", "Succeeded", "Booked: Sale", "Wallet moved: Sale", "Delivered",
        "Booked: Delivered: now available", "Wallet moved: Delivered: now available", "Booked: Payout", "Booked: Payout arrived",
        "Refund asked for", "Booked: Refund", "Disputed", "Booked: Dispute opened", "In the PSP's settlement file",
        "Booked: Settlement batch of a PSP", "On our bank's statement: Paid by a PSP", "On our bank's statement: Paid to a seller",
        "Booked: Bank statement", "Message to the shop",
    }  # fmt: skip
    for step in steps:
        if step.what.startswith("Booked"):
            assert step.legs, step.detail
            assert sum(leg.amount.amount for leg in step.legs) == 0
    [line] = [group for group in path_steps.together(steps) if group.what == "In the PSP's settlement file"]
    assert line.orders == 4
    coming = {each.what: each for each in path_awaited.awaited(path, now=timezone.now())}
    assert "The shop's evidence, and then the decision of the buyer's bank" in coming
    assert [order.seller.name for order in coming["It becomes available to the seller"].orders] == ["Seller 4"]
    assert [order.seller.name for order in coming["The seller's next payout"].orders] == ["Seller 2"]
    assert coming["The seller's next payout"].when is not None
    assert not any("bank statement" in what for what in coming)


def test_what_has_not_come_is_awaited_from_the_opening_on() -> None:
    sellers = new_sellers(new_shop(), "Ada")
    event, _is_new = intake.open_event(sellers[0].shop, basket(sellers, "20.00"), now=timezone.now())
    path = payment_path.path_of(event)
    [where], [coming] = path_places.whereabouts(path), path_awaited.awaited(path, now=timezone.now())
    assert (where.state, where.paid, where.owed) == ("Not paid yet", [], [])
    assert (coming.what, coming.when) == ("The buyer pays, or the checkout expires", event.expires_at)
    orders = sold(1)
    path = payment_path.path_of(orders[0].event)
    assert [each.what for each in path_awaited.awaited(path, now=timezone.now())] == [
        "Its line in the PSP's settlement file; after that day it counts as missing",
        "It becomes available to the seller",
    ]
    batch = settle(orders)
    path = payment_path.path_of(orders[0].event)
    assert places(path_places.whereabouts(path)[0].paid) == [f"20.00 settled by the PSP in {batch.name}, on its way to our bank account"]
    assert f"The bank statement that shows the PSP's payment of {batch.name}" in {
        each.what for each in path_awaited.awaited(path, now=timezone.now())
    }


def test_a_mismatch_and_a_payout_that_came_back_stand_on_the_path() -> None:
    orders = sold(2)
    settle(orders[:1], gross="19.00")
    deliver(orders[1:])
    payout = pay_out(orders[1])
    payouts.return_payout(payout.pk, provider_reference="po_bank", code="AC04", message="", returned_at=timezone.now())
    again = requests.request_payout(orders[1].seller, amount=eur("18.00"), currency="EUR", now=timezone.now(), requested_by="user:ada")
    path = payment_path.path_of(orders[0].event)
    differs, returned = path_places.whereabouts(path)
    assert places(differs.paid) == ["20.00 with the PSP (sandbox) or not: Another amount"]
    assert places(returned.owed) == ["18.00 on its way to the seller's bank"]
    assert set(path.payouts) == {payout.pk, again.pk}
    told = [step.what for step in path_steps.steps_of(path)]
    assert {"Mismatch: Another amount", "Booked: Payout that came back"} <= set(told)
    mismatch = Mismatch.objects.get()
    awaited = {each.what: each.when for each in path_awaited.awaited(path, now=timezone.now())}
    assert awaited[f"Two people explain the mismatch {mismatch.public_id}"] == causes.due_on(mismatch)


def statement(*lines: tuple[str, str, str], opening: str, day: str) -> None:
    """Have a statement of our bank of these credits compared: amount, the bank's reference, and what the PSP wrote."""
    credits = [(amount, reference, "", text) for amount, reference, text in lines]
    body = mt940(*credits, opening=opening, day=day)
    file, _is_new = ingestion.receive(io.BytesIO(body), f"{day}.sta", source="sandbox_bank", received_by="folder", now=MORNING)
    assert ingestion.stage(file.pk, now=MORNING).error == ""
    assert bank_matching.match_waiting(now=MORNING) == 1


def on_the_bank_line(event: PaymentEvent) -> list[str]:
    """Return the time line's bank lines, each by its first words: how much of it, and the day."""
    steps = path_steps.steps_of(payment_path.path_of(event))
    return [step.detail.partition(";")[0].replace("\N{NO-BREAK SPACE}", " ") for step in steps if step.what.startswith("On our bank's")]


def test_a_batch_that_comes_in_two_parts_is_on_our_bank_with_the_later_of_them_and_both_are_on_the_line() -> None:
    orders = sold(2)
    batch = settle(orders)
    assert batch.paid_out == Decimal("39.40")
    statement(("19.40", "B2", batch.name), opening="20.00", day="371122")
    path = payment_path.path_of(orders[0].event)
    assert f"The bank statement that shows the PSP's payment of {batch.name}" in {
        each.what for each in path_awaited.awaited(path, now=timezone.now())
    }
    statement(("20.00", "B1", batch.name), opening="0.00", day="371121")
    assert bank_recognition.resolve_known(now=MORNING) == 2
    path = payment_path.path_of(orders[0].event)
    [there, _other] = path_places.whereabouts(path)
    assert [place.words.replace("\N{NO-BREAK SPACE}", " ") for place in there.paid] == ["on our bank account since Nov 22, 2037"]
    assert sorted(on_the_bank_line(orders[0].event)) == ["19.40 EUR on Nov 22, 2037", "20.00 EUR on Nov 21, 2037"]


def test_of_a_credit_that_pays_several_batches_the_path_shows_the_share_of_its_own() -> None:
    orders = sold(1)
    batch, other = settle(orders), settled("1.65", name="sb-20371119-eur")
    statement((f"{batch.paid_out + other.paid_out:.2f}", "B1", f"{batch.name}+{other.name}"), opening="0.00", day="371121")
    path = payment_path.path_of(orders[0].event)
    assert path_places.whereabouts(path)[0].paid[0].words.startswith("on our bank account since")
    assert on_the_bank_line(orders[0].event) == ["19.70 EUR of 21.35 EUR on Nov 21, 2037"]


def test_the_mismatches_of_a_payment_are_found_by_an_index() -> None:
    found = Mismatch.objects.filter(subject__in=["ord_1", "re_1", "sb_1"])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # of a table without rows, reading all of it is the cheapest
    assert "mismatch_by_subject" in found.explain()


def test_the_path_costs_the_same_for_one_seller_and_for_twenty() -> None:
    few, many = travelled(3), travelled_again(20)
    counted = []
    for event in (few, many):
        with CaptureQueriesContext(connection) as asked:
            path = payment_path.path_of(event)
            path_places.whereabouts(path)
            path_steps.together(path_steps.steps_of(path))
            path_awaited.awaited(path, now=timezone.now())
        counted.append(len(asked))
    assert counted[0] == counted[1]
    assert counted[0] <= 28


def travelled_again(count: int) -> PaymentEvent:
    """Let another basket go as far as our bank, with a refund, a dispute, a delivery and a payout."""
    orders = sold(count)
    deliver(orders[: count // 2])
    for order in orders[:3]:
        pay_out(order)
    give_back(orders[1], "5.00")
    dispute(orders[-1])
    return PaymentEvent.objects.select_related("shop", "buyer").get(pk=orders[0].event_id)


def test_a_payment_is_found_by_whatever_id_one_has() -> None:
    event = travelled()
    order = event.orders.order_by("pk")[1]
    PaymentOrder.objects.filter(pk=order.pk).update(reference="web-4711")
    attempt, refund = order.attempts.get(operation="charge"), Refund.objects.get()
    third = event.orders.order_by("pk")[2]
    terms = [
        event.public_id, event.checkout_id, order.public_id, f"{order.public_id}:release", "web-4711", attempt.psp_reference,
        refund.public_id, refund.psp_reference, f"je_{refund.journal_entry_id}", f"wen_{refund.wallet_entry_id}",
        third.disputes.get().public_id, third.disputes.get().psp_reference, Payout.objects.get().public_id, SettlementBatch.objects.get().public_id,
    ]  # fmt: skip
    other = sold(1)[0].event
    for term in terms:
        assert [found.pk for found in path_search.payments_called(term)] == [event.pk], term
    assert [found.pk for found in path_search.payments_called(other.public_id)] == [other.pk]
    for nothing in ("", "ord_", "je_99999999999999999999", "nobody", "x" * 200, "a\0b", "mm_1", "%"):
        assert list(path_search.payments_called(nothing)) == [], nothing


def test_the_box_leads_to_the_page_and_the_page_to_every_row(staff: Client) -> None:
    event = travelled()
    orders = list(event.orders.order_by("pk"))
    address = reverse("payment_path", args=[event.public_id])
    assert staff.get(reverse("payment_find"), {"q": f" {event.checkout_id} "})["Location"] == address
    found = staff.get(reverse("payment_find"), {"q": orders[1].public_id})
    assert found["Location"] == f"{address}?order={orders[1].public_id}"
    assert "No payment is known by" in words(staff.get(reverse("payment_find"), {"q": "nobody"}).content)
    page = staff.get(address)
    said = words(page.content)
    assert f"{event.shop.name}" in said
    assert "rosa" in said
    assert "Partly paid: 4 of 4" not in said
    rows: tuple[Any, ...] = (
        orders[0],
        Refund.objects.get(),
        Payout.objects.get(),
        orders[0].journal_entry,
        orders[0].wallet_entry,
        SettlementBatch.objects.get().journal_entry,
    )
    for row in rows:
        assert page_of(row) in page.content.decode(), row
    one = words(staff.get(address, {"order": orders[0].public_id}).content)
    assert "Only what concerns the order" in one
    assert "Refund asked for" in said
    assert "Refund asked for" not in one
    with_a_way: tuple[Any, ...] = (event, *orders[:1], Refund.objects.get(), Payout.objects.get(), orders[0].journal_entry)
    for where in with_a_way:
        shown = staff.get(page_of(where))
        assert reverse("payment_find") in shown.content.decode(), where
    assert staff.get(reverse("payment_path", args=["pay_unknown"])).status_code == 404


def test_nobody_sees_a_path_who_may_not_look_at_payments_nor_steps_of_what_they_may_not_see() -> None:
    event = travelled()
    address = reverse("payment_path", args=[event.public_id])
    assert Client().get(address).status_code == 302
    user = User.objects.create_user("mia", is_staff=True)
    assert browser_of(user).get(address).status_code == 403
    assert browser_of(user).get(reverse("payment_find"), {"q": event.public_id}).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_paymentevent", "view_paymentorder"]))
    page = browser_of(User.objects.get(pk=user.pk)).get(address)
    assert page.status_code == 200
    assert "steps are left out" in words(page.content)
    for hidden in ("ledger/journalentry", "payouts/payout", "wallet/walletentry", "reconciliation/stagedline"):
        assert f"/admin/{hidden}/" not in page.content.decode()
    assert browser_of(User.objects.get(pk=user.pk)).post(address).status_code == 405
