"""Every way to pay on the hosted page: approved at the PSP and confirmed by us, whoever hears of it first; what comes too late takes no money."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments import choices, executor, expiry, saved_cards, sessions
from payments.intake import NewOrder
from payments.management import buyer
from payments.models import CheckoutSession, ChosenTender, OpenCheckout, PaymentEvent, SavedCard
from payments.psp import registry
from payments.psp.protocol import Psp
from payments.states import SessionStatus
from tests import webhooks
from tests.factories import eur, new_shop, stored_value_of
from tests.fixtures_money import DECLINED, VISA, Oracle, all_at_once, errors_in, sandbox_psp, session_for, statuses
from tests.fixtures_services import Delivery, SandboxCompany
from wallet import gift_cards
from wallet.buyer_wallets import TopUp
from wallet.gift_card_tries import MOST
from wallet.gift_cards import NewGiftCard
from wallet.models import Shop, StoredValue

Open = Callable[..., PaymentEvent]
JSON = {"Accept": "application/json"}
ASKS = "4000002760003184"
APPROVED_THERE = ["digital_wallet", "qr", "pay_later"]
LATER = timedelta(minutes=1)


def address(event: PaymentEvent, name: str = "") -> str:
    return reverse(f"checkout-{name}" if name else "checkout", args=[event.token])


def press(client: Client, event: PaymentEvent, name: str, **form: str) -> Any:
    """Send what the page's script sends, and return the answer."""
    return client.post(address(event, name), form, headers=JSON)


def opened(client: Client, event: PaymentEvent, method: str, **form: str) -> dict[str, Any]:
    answer = press(client, event, "session", method=method, **form)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


def shown(client: Client, event: PaymentEvent) -> Any:
    """What the page's templates are given."""
    return client.get(address(event)).context


def settle() -> None:
    """Run the executor when all is due that was confirmed in these tests' minutes."""
    executor.execute_due_orders(now=timezone.now() + timedelta(minutes=10))


def kept(event: PaymentEvent) -> PaymentEvent:
    event.refresh_from_db()
    return event


def session_states(event: PaymentEvent) -> list[tuple[str, str]]:
    return list(CheckoutSession.objects.filter(event=event).order_by("pk").values_list("method", "status"))


def left_of(value: StoredValue) -> tuple[Any, Any]:
    value.refresh_from_db()
    return value.balance, value.held


def webhook_of(sandbox: SandboxCompany, session: str, kind: str) -> Delivery:
    """Wait for the sandbox's webhook about a session."""
    until = time.monotonic() + 15
    while True:
        for headers, body in list(sandbox.letterbox.deliveries):
            said = json.loads(body)
            if (said["type"], said["data"]["object"]["id"]) == (kind, session):
                return headers, body
        assert time.monotonic() < until, f"no {kind} of {session} came"
        sandbox.letterbox.wait(0.02)


# --- Approved at the PSP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", APPROVED_THERE)
def test_an_approval_pays_by_the_webhook_alone_though_the_page_was_closed(
    client: Client, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle, method: str
) -> None:
    event = open_payment()
    session = opened(client, event, method)
    buyer.approve(session["hosted_url"])
    delivery = webhook_of(sandbox, session["session"], "session.completed")
    for _twice in range(2):
        assert webhooks.post(delivery) == 200
        webhooks.apply()
        sessions.look(now=timezone.now())
    settle()
    assert kept(event).status == "paid"
    assert (event.confirmations, event.method) == (1, method)
    assert session_states(event) == [(method, "confirmed")]
    assert len(oracle.charged()) == 3
    assert shown(client, event)["state"] == "paid"


@pytest.mark.parametrize("method", APPROVED_THERE)
def test_an_approval_pays_by_the_sweep_alone_when_its_webhook_is_lost(
    client: Client, open_payment: Open, oracle: Oracle, method: str
) -> None:
    event, begun = open_payment(), timezone.now()
    buyer.approve(opened(client, event, method)["hosted_url"])
    assert sessions.look(now=begun + sessions.SOONEST) == 0, "nobody is asked before it is due"
    assert sessions.look(now=timezone.now() + LATER) == 1
    settle()
    assert kept(event).status == "paid"
    assert sessions.look(now=timezone.now() + timedelta(days=1)) == 0
    assert len(oracle.charged()) == 3


def test_a_webhook_that_comes_while_the_psp_is_asked_is_not_forgotten(
    client: Client, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment()
    session = opened(client, event, "qr")
    now = timezone.now() + LATER
    [claimed] = sessions.claim_due(now=now, limit=10)
    answer = sandbox_psp(sandbox).session(claimed.session)
    buyer.approve(session["hosted_url"])
    webhooks.post(webhook_of(sandbox, session["session"], "session.completed"))
    webhooks.apply()
    sessions.note(claimed, answer, now=now)
    assert answer.status == "open", "the news are newer than the answer"
    assert sessions.look(now=now) == 1
    settle()
    assert kept(event).status == "paid"
    assert len(oracle.charged()) == 3


def test_coming_back_from_the_wallets_page_pays(client: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    away = client.post(address(event, "hosted"), {"method": "digital_wallet"})
    back = buyer.approve(away["Location"])
    assert client.get(back).status_code == 303
    assert statuses(event) == ["EXECUTING"] * 3
    settle()
    assert len(oracle.charged()) == 3


def test_a_person_at_the_provider_may_take_until_the_checkouts_end(
    client: Client, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment()
    session = opened(client, event, "pay_later")
    assert len(session["schedule"]) == 3
    back = buyer.approve(session["hosted_url"], person="rita@referred.example")
    assert client.get(back).status_code == 303
    assert shown(client, event)["method_state"] == "in_review"
    assert client.get(address(event, "status")).json()["method"]["state"] == "in_review"
    waits = []
    for _look in range(3):
        due = CheckoutSession.objects.get(event=event).look_at
        assert due is not None
        sessions.look(now=due)
        waits.append(due)
    assert waits[2] - waits[1] > waits[1] - waits[0], "it is asked for less and less often"
    sandbox.client.put("/v1/clock", json={"advance_s": 120}).raise_for_status()
    assert until_looked_at(event) == "confirmed"
    settle()
    assert kept(event).status == "paid"
    assert len(oracle.charged()) == 3


def until_looked_at(event: PaymentEvent) -> str:
    """Ask again and again, as beat does, until the provider has decided."""
    until = time.monotonic() + 15
    while (row := CheckoutSession.objects.get(event=event)).status == SessionStatus.IN_REVIEW:
        assert time.monotonic() < until, "the provider does not decide"
        assert row.look_at is not None
        sessions.look(now=row.look_at)
    return row.status


@pytest.mark.parametrize(
    ("method", "answer", "says"),
    [
        ("pay_later", {"person": "dan@declined.example"}, "Pay later is not possible for this purchase."),
        ("digital_wallet", {"answer": "cancel"}, "You cancelled Digital wallet."),
        ("qr", {"answer": "decline"}, "You declined on the phone."),
    ],
)
def test_who_is_declined_is_told_so_and_pays_in_another_way(
    client: Client, open_payment: Open, oracle: Oracle, method: str, answer: dict[str, str], says: str
) -> None:
    event = open_payment()
    session = opened(client, event, method)
    buyer.approve(session["hosted_url"], **answer)
    sessions.look(now=timezone.now() + LATER)
    page = shown(client, event)
    assert page["notice"]["title"] == says
    assert "You were not charged." in page["notice"]["text"]
    assert page["failed"]["method"] == method
    assert page["method"].name == ("card" if method == "pay_later" else method), "what the provider declined is not proposed again"
    assert method in [each.name for each in page["methods"] if not each.disabled_reason]
    assert method not in [each.name for each in page["other_methods"]]
    state = client.get(address(event, "status")).json()["method"]
    assert (state["name"], state["state"]) == (method, "failed"), "a page that follows it hears of it"
    assert opened(client, event, method)["session"] != session["session"], "trying again is another session"
    again = shown(client, event)
    assert (again["method"].name, again["notice"]) == (method, None)
    card = opened(client, event, "card")
    buyer.give_card(card["hosted_url"], number=VISA)
    assert press(client, event, "complete", session=card["session"]).status_code == 200
    settle()
    assert kept(event).status == "paid"
    assert len(oracle.charged()) == 3


def test_a_wallet_whose_card_is_declined_charges_nothing_and_the_page_offers_the_others(
    client: Client, open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment()
    buyer.approve(opened(client, event, "digital_wallet")["hosted_url"], card="visa_us_0002")
    sessions.look(now=timezone.now() + LATER)
    settle()
    page = shown(client, event)
    assert (page["state"], page["failed"]["method"], page["to_pay"]) == ("failed", "digital_wallet", "128.40\u00a0EUR")
    assert oracle.charged() == []


# --- QR codes -------------------------------------------------------------------------------------------------------


def test_a_code_that_expired_is_followed_by_a_new_one_and_the_old_one_pays_nothing(
    client: Client, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment()
    first = opened(client, event, "qr")
    picture = client.get(first["qr"]["svg_url"])
    assert picture["Content-Type"] == "image/svg+xml"
    assert b'xmlns="http://www.w3.org/2000/svg"' in picture.content
    assert press(client, event, "qr").json()["svg_url"] == first["qr"]["svg_url"], "a code that is good stays"
    sandbox.client.put("/v1/clock", json={"advance_s": 301}).raise_for_status()
    new = press(client, event, "qr").json()
    assert new["svg_url"] != first["qr"]["svg_url"]
    assert client.get(new["svg_url"]).content != picture.content
    with pytest.raises(ValueError, match="has expired"):
        buyer.approve(first["hosted_url"])
    second = opened(client, event, "qr")
    buyer.approve(second["hosted_url"])
    with pytest.raises(ValueError, match="paid already"):
        buyer.approve(second["hosted_url"])
    sessions.look(now=timezone.now() + LATER)
    settle()
    assert session_states(event) == [("qr", "expired"), ("qr", "confirmed")]
    assert len(oracle.charged()) == 3


def test_a_code_for_another_sum_takes_no_money_and_the_page_says_so(client: Client, shop: Shop, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    code = opened(client, event, "qr")
    press(client, event, "gift-card", code=code_over(shop, "20.00")[0])
    buyer.approve(code["hosted_url"])
    sessions.look(now=timezone.now() + LATER)
    assert session_states(event) == [("qr", "unused")]
    page = shown(client, event)
    assert page["unused"]["text"] == "The amount to pay had changed meanwhile. You were not charged for it."
    assert (page["state"], page["rest"]) == ("pay", "108.40\u00a0EUR")
    assert sessions.look(now=timezone.now() + timedelta(days=1)) == 0
    settle()
    assert statuses(event) == ["NOT_STARTED"] * 3
    assert oracle.charged() == []


def test_an_approval_after_the_checkouts_end_takes_no_money(client: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    buyer.approve(opened(client, event, "qr")["hosted_url"])
    past = timezone.now() - timedelta(seconds=1)
    PaymentEvent.objects.filter(pk=event.pk).update(expires_at=past)
    OpenCheckout.objects.filter(pk=event.pk).update(expires_at=past)
    expiry.expire_checkouts(now=timezone.now())
    sessions.look(now=timezone.now() + LATER)
    assert session_states(event) == [("qr", "unused")]
    page = shown(client, event)
    assert (page["state"], page["unused"]["title"]) == ("expired", "Your approval by QR code was not used.")
    assert oracle.charged() == []


# --- At once --------------------------------------------------------------------------------------------------------


@pytest.mark.race
def test_two_tabs_with_two_ways_to_pay_at_once_charge_each_order_once(client: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    code, card = opened(client, event, "qr"), opened(client, event, "card")
    buyer.approve(code["hosted_url"])
    buyer.give_card(card["hosted_url"], number=VISA)
    later = timezone.now() + LATER

    def sweep() -> int:
        return sessions.look(now=later)

    def click() -> int:
        return int(Client().post(address(event, "complete"), {"session": card["session"]}, headers=JSON).status_code)

    answers = all_at_once(sweep, click, sweep, click)
    assert errors_in(answers) == []
    settle()
    assert kept(event).confirmations == 1
    assert sorted(status for _method, status in session_states(event)) == ["confirmed", "unused"]
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


def test_a_worker_that_dies_over_an_approval_leaves_it_to_the_next(client: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    buyer.approve(opened(client, event, "qr")["hosted_url"])
    now = timezone.now() + LATER
    [claimed] = sessions.claim_due(now=now, limit=10)  # and dies before it asks
    assert sessions.look(now=now) == 0
    [row] = sessions.claim_due(now=now + sessions.LEASE, limit=10)
    sessions.ask(row, now=now + sessions.LEASE)  # and dies before it confirms
    assert statuses(event) == ["NOT_STARTED"] * 3
    assert sessions.look(now=now + 3 * sessions.LEASE) == 1
    settle()
    assert claimed == row
    assert session_states(event) == [("qr", "confirmed")]
    assert len(oracle.charged()) == 3


def test_a_silent_psp_is_asked_again_and_nothing_is_lost(
    client: Client, open_payment: Open, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    event = open_payment()
    buyer.approve(opened(client, event, "qr")["hosted_url"])
    sandbox.fault(operation="session", kind="refuse_500", times=1)
    now = timezone.now() + LATER
    assert sessions.look(now=now) == 1
    assert statuses(event) == ["NOT_STARTED"] * 3
    assert sessions.look(now=now + sessions.LEASE) == 1
    settle()
    assert len(oracle.charged()) == 3


def test_a_session_that_the_psp_does_not_know_holds_up_no_other_and_is_asked_for_no_longer_than_a_day(
    client: Client, open_payment: Open
) -> None:
    lost, event = open_payment(), open_payment()
    for each in (lost, event):
        opened(client, each, "qr")
    CheckoutSession.objects.filter(event=lost).update(session="cs_lost", look_at=timezone.now() - LATER)
    buyer.approve(opened(client, event, "qr")["hosted_url"])
    assert sessions.look(now=timezone.now() + LATER) == 2
    settle()
    assert (kept(event).status, kept(lost).status) == ("paid", "open")
    sessions.look(now=lost.expires_at + sessions.ASKED_AFTER_THE_END + LATER)
    assert not CheckoutSession.objects.filter(look_at__isnull=False).exists()


# --- Gift cards and the wallet --------------------------------------------------------------------------------------


def code_over(shop: Shop, amount: str) -> tuple[str, StoredValue]:
    card, _is_new = gift_cards.grant(shop, NewGiftCard(eur(amount)), reason="a broken vase", by="anna", now=timezone.now())
    return gift_cards.make_code(card.pk, now=timezone.now()), card.value


def test_a_gift_card_is_whole_again_when_the_card_is_declined_and_another_way_pays_the_rest(
    client: Client, shop: Shop, open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment()
    code, value = code_over(shop, "20.00")
    assert client.post(address(event, "gift-card"), {"code": code}).status_code == 303
    [tender] = shown(client, event)["tenders"]
    assert (tender.amount, tender.left_after, tender.label) == ("20.00\u00a0EUR", "", f"Gift card ending {code[-4:]}")
    card = opened(client, event, "card")
    assert card["amount"] == "108.40\u00a0EUR"
    buyer.give_card(card["hosted_url"], number=DECLINED)
    press(client, event, "complete", session=card["session"])
    assert left_of(value) == (eur("20.00"), eur("20.00"))
    settle()
    assert left_of(value) == (eur("20.00"), eur("0"))
    page = shown(client, event)
    assert (page["state"], page["rest"], page["failed"]["method"]) == ("failed", "108.40\u00a0EUR", "card")
    buyer.approve(opened(client, event, "digital_wallet")["hosted_url"])
    sessions.look(now=timezone.now() + LATER)
    settle()
    assert kept(event).status == "paid"
    assert left_of(value) == (eur("0"), eur("0"))
    assert sum(row["amount"] for row in oracle.rows("charge.succeeded")) == 10840
    assert [line.amount for line in shown(client, event)["paid_with"]] == ["20.00\u00a0EUR", "108.40\u00a0EUR"]


def test_a_gift_card_that_is_taken_back_pays_nothing(client: Client, shop: Shop, open_payment: Open) -> None:
    event = open_payment()
    code, _value = code_over(shop, "20.00")
    assert press(client, event, "gift-card", code=code).json() == {"url": address(event)}
    [tender] = shown(client, event)["tenders"]
    press(client, event, "gift-card-remove", tender=str(tender.id))
    page = shown(client, event)
    assert (page["tenders"], page["rest"]) == ([], "128.40\u00a0EUR")


def test_a_code_tried_twenty_times_is_refused_at_the_field_right_or_wrong(client: Client, shop: Shop, open_payment: Open) -> None:
    event = open_payment()
    code, _value = code_over(shop, "20.00")
    wrong = "0000-0000-0000-0000-0000"
    page = client.post(address(event, "gift-card"), {"code": wrong})
    assert page.status_code == 422
    assert page.context["errors"]["gift_card"] == "There is no gift card with this code. Check the code and try again."
    assert page.context["typed"]["gift_card"] == wrong
    answers = [press(client, event, "gift-card", code=wrong).json()["code"] for _try in range(MOST["checkout"])]
    assert answers == ["unknown_gift_card"] * (MOST["checkout"] - 1) + ["too_many_codes_tried"]
    assert client.post(address(event, "gift-card"), {"code": wrong}).status_code == 429
    refused = press(client, event, "gift-card", code=code)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (200, "too_many_codes_tried", "code")
    assert not ChosenTender.objects.filter(event=event).exists()


@pytest.mark.parametrize(
    ("spoilt", "code"), [("expired", "gift_card_expired"), ("empty", "gift_card_empty"), ("foreign", "unknown_gift_card")]
)
def test_a_gift_card_that_is_no_good_says_why(client: Client, shop: Shop, open_payment: Open, spoilt: str, code: str) -> None:
    event = open_payment()
    number, value = code_over(new_shop("Elsewhere") if spoilt == "foreign" else shop, "20.00")
    if spoilt == "expired":
        StoredValue.objects.filter(pk=value.pk).update(expires_at=timezone.now())
    if spoilt == "empty":
        first = open_payment("30.00")
        press(client, first, "gift-card", code=number)
        pay_by_card(client, first)
    refused = press(client, event, "gift-card", code=number)
    assert (refused.status_code, refused.json()["code"]) == (200, code)
    StoredValue.objects.filter(pk=value.pk).update(expires_at=None)


def pay_by_card(client: Client, event: PaymentEvent, number: str = VISA, **form: str) -> dict[str, Any]:
    session = opened(client, event, "card", **form)
    buyer.give_card(session["hosted_url"], number=number)
    press(client, event, "complete", session=session["session"])
    settle()
    return session


def test_a_wallet_is_offered_to_whom_the_shop_vouches_for_and_to_nobody_else(client: Client, shop: Shop, open_payment: Open) -> None:
    stranger, known = open_payment(), open_payment(buyer_signed_in=True)
    stored_value_of(shop, "40.00", buyer=known.buyer)
    assert shown(client, stranger)["wallet"] is None
    assert press(client, stranger, "wallet", use="1").json()["code"] == "wallet_not_offered"
    assert shown(client, known)["wallet"] == {
        "balance": "40.00\u00a0EUR",
        "will_pay": "40.00\u00a0EUR",
        "used": False,
        "is_enough": False,
    }


def test_a_wallet_that_is_too_low_pays_its_part_and_the_card_the_rest(
    client: Client, shop: Shop, open_payment: Open, oracle: Oracle
) -> None:
    event = open_payment(buyer_signed_in=True)
    wallet = stored_value_of(shop, "40.00", buyer=event.buyer)
    press(client, event, "wallet", use="1")
    assert shown(client, event)["rest"] == "88.40\u00a0EUR"
    assert press(client, event, "complete").status_code == 200, "the wallet alone pays nothing"
    assert statuses(event) == ["NOT_STARTED"] * 3
    pay_by_card(client, event)
    assert kept(event).status == "paid"
    assert left_of(wallet) == (eur("0"), eur("0"))
    assert sum(row["amount"] for row in oracle.rows("charge.succeeded")) == 8840


def test_a_wallet_that_is_enough_pays_at_one_press_without_any_psp(
    client: Client, shop: Shop, open_payment: Open, sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp], oracle: Oracle
) -> None:
    event = open_payment(buyer_signed_in=True)
    wallet = stored_value_of(shop, "200.00", buyer=event.buyer)
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:9"))
    assert client.post(address(event, "wallet"), {"use": "1"}).status_code == 303
    page = shown(client, event)
    assert (page["needs_method"], page["pay_label"]) == (False, "Pay 128.40\u00a0EUR")
    clicks = all_at_once(*[lambda: Client().post(address(event, "complete")).status_code] * 4)
    assert clicks == [303] * 4
    assert kept(event).status == "paid"
    assert left_of(wallet) == (eur("71.60"), eur("0"))
    assert oracle.rows("charge.succeeded") == []


def test_a_wallet_spent_elsewhere_meanwhile_pays_nothing_and_the_page_asks_for_the_rest(
    client: Client, shop: Shop, open_payment: Open
) -> None:
    first, second = open_payment("40.00", buyer_signed_in=True), open_payment("40.00", buyer_signed_in=True)
    stored_value_of(shop, "50.00", buyer=first.buyer)
    for event in (first, second):
        press(client, event, "wallet", use="1")
    press(client, first, "complete")
    press(client, second, "complete")
    assert (kept(first).status, kept(second).status) == ("paid", "open")
    assert shown(client, second)["rest"] == "30.00\u00a0EUR"


def test_a_press_that_pays_from_the_wallet_never_charges_a_card_that_lies_ready(
    client: Client, shop: Shop, open_payment: Open, oracle: Oracle
) -> None:
    first, second = open_payment("40.00", buyer_signed_in=True), open_payment("40.00", buyer_signed_in=True)
    stored_value_of(shop, "40.00", buyer=first.buyer)
    card = opened(client, second, "card")
    buyer.give_card(card["hosted_url"], number=VISA)
    for event in (first, second):
        press(client, event, "wallet", use="1")
    press(client, first, "complete")
    assert press(client, second, "complete").status_code == 200, "its page said that the wallet pays"
    settle()
    assert (statuses(first), statuses(second)) == (["SUCCESS"], ["NOT_STARTED"])
    assert oracle.charged() == []
    press(client, second, "complete", session=card["session"])
    settle()
    assert statuses(second) == ["SUCCESS"]


def test_what_buys_stored_value_is_paid_with_money_alone(client: Client, shop: Shop, open_payment: Open) -> None:
    event = open_payment(buyer_signed_in=True, orders=[NewOrder("", eur("50.00"), fills=TopUp("EUR"))])
    stored_value_of(shop, "80.00", buyer=event.buyer)
    page = shown(client, event)
    assert (page["may_use_gift_card"], page["wallet"]) == (False, None)
    for name, form in (("wallet", {"use": "1"}), ("gift-card", {"code": code_over(shop, "20.00")[0]})):
        assert press(client, event, name, **form).json()["code"] == "takes_no_stored_value"
    pay_by_card(client, event)
    assert kept(event).status == "paid"


# --- Saved cards ----------------------------------------------------------------------------------------------------


def test_a_card_is_saved_for_whom_the_shop_vouches_for_used_again_and_deleted(client: Client, open_payment: Open, oracle: Oracle) -> None:
    pay_by_card(client, open_payment("10.00", buyer_signed_in=True), save_card="on")
    event = open_payment("20.00", buyer_signed_in=True)
    [card] = shown(client, event)["saved_cards"]
    assert (card.text, card.expires, card.is_expired) == ("Visa credit ending 4242", "12/34", False)
    session = opened(client, event, "card", saved_card=card.id)
    assert (session["status"], session["card"]) == ("complete", card.text)
    press(client, event, "complete", session=session["session"])
    settle()
    assert kept(event).status == "paid"
    assert len(oracle.charged()) == 2
    third = open_payment("30.00", buyer_signed_in=True)
    assert client.post(address(third, "card-forget"), {"card": card.id}).status_code == 303
    assert shown(client, third)["saved_cards"] == []
    assert SavedCard.objects.get().forgotten_at is not None
    assert press(client, third, "session", method="card", saved_card=card.id).status_code == 409


def test_a_saved_card_asks_its_bank_and_then_for_the_last_press(client: Client, open_payment: Open, oracle: Oracle) -> None:
    pay_by_card(client, open_payment("10.00", buyer_signed_in=True), ASKS, save_card="on")
    event = open_payment("20.00", buyer_signed_in=True)
    [card] = saved_cards.offered_to(event)
    away = client.post(address(event, "hosted"), {"method": "card", "saved_card": card.public_id})
    back = buyer.give_card(away["Location"], number="")
    ready = client.get(back)
    assert ready.context["ready_card"] == "Visa credit ending 3184"
    press(client, event, "complete", session=ready.context["ready_session"])
    settle()
    assert len(oracle.charged()) == 2


def test_a_card_that_the_psp_has_forgotten_asks_for_another_one(client: Client, open_payment: Open) -> None:
    pay_by_card(client, open_payment("10.00", buyer_signed_in=True), save_card="on")
    event = open_payment("20.00", buyer_signed_in=True)
    [card] = saved_cards.offered_to(event)
    registry.psp_named(card.psp).forget_card(card.token)
    refused = press(client, event, "session", method="card", saved_card=card.public_id)
    assert (refused.status_code, refused.json()["text"]) == (422, "You were not charged. Try another card.")
    page = client.post(address(event, "hosted"), {"method": "card", "saved_card": card.public_id})
    assert page.context["notice"]["text"] == "You were not charged. Try another card."


def test_nobody_else_sees_uses_or_saves_a_card(client: Client, open_payment: Open) -> None:
    pay_by_card(client, open_payment("10.00"), save_card="on")
    assert not SavedCard.objects.exists(), "the shop does not vouch for this buyer"
    mine = open_payment("10.00", buyer_signed_in=True)
    pay_by_card(client, mine, save_card="on")
    [card] = saved_cards.offered_to(mine)
    for other in (open_payment("10.00"), open_payment("10.00", buyer_signed_in=True, buyer_reference="ben")):
        assert shown(client, other)["saved_cards"] == []
        assert press(client, other, "session", method="card", saved_card=card.public_id).json()["code"] == "unknown_saved_card"
        press(client, other, "card-forget", card=card.public_id)
    assert list(saved_cards.offered_to(mine)) == [card]


def test_a_card_is_forgotten_by_the_psp_too_once_it_answers_again(
    client: Client, open_payment: Open, sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = open_payment("10.00", buyer_signed_in=True)
    pay_by_card(client, event, save_card="on")
    with monkeypatch.context() as patch:
        patch.setattr("payments.psp.registry.psp_named", lambda _name: sandbox_psp(sandbox, url="http://127.0.0.1:9"))
        press(client, event, "card-forget", card=SavedCard.objects.get().public_id)
    assert shown(client, event)["saved_cards"] == [], "it is offered no more, whatever the PSP says"
    assert SavedCard.objects.get().forgotten_at is None
    assert saved_cards.forget_due(now=timezone.now()) == 0
    assert saved_cards.forget_due(now=timezone.now() + saved_cards.AGAIN_AFTER) == 1
    assert SavedCard.objects.get().forgotten_at is not None


# --- What was chosen is kept ----------------------------------------------------------------------------------------


def test_reload_and_back_show_what_was_chosen(client: Client, open_payment: Open) -> None:
    event = open_payment()
    assert shown(client, event)["method"].name == "card"
    for method in ("qr", "pay_later", "card"):
        assert client.post(address(event, "session"), {"method": method}).status_code == 303
        assert shown(client, event)["method"].name == method
    opened(client, event, "qr")
    state = client.get(address(event, "status")).json()["method"]
    assert (state["name"], state["state"]) == ("qr", "waiting_for_phone")
    assert 0 < state["seconds_left"] <= 300


def test_a_way_that_cannot_pay_this_amount_says_why_and_is_refused(client: Client, open_payment: Open) -> None:
    event = open_payment("20.00")
    reasons = {each.name: each.disabled_reason for each in shown(client, event)["methods"]}
    assert reasons["pay_later"] == "Pay later is possible from 35.00\u00a0EUR on. Choose another way to pay."
    for method in ("pay_later", "wallet", "nosuch"):
        assert press(client, event, "session", method=method).status_code == 409
    assert shown(client, event)["method"].name == "card"
    assert not CheckoutSession.objects.exists()


@pytest.mark.parametrize(("country", "is_offered"), [("AT", True), ("", True), ("JP", False)])
def test_a_way_that_is_not_for_the_buyers_country_is_not_offered_and_refused_in_words(
    client: Client, open_payment: Open, country: str, is_offered: bool
) -> None:
    event = open_payment("100.00", buyer_country=country)
    assert ("pay_later" in {each.name for each in shown(client, event)["methods"]}) == is_offered
    said = {name: client.post(address(event, name), {"method": "pay_later"}) for name in ("session", "hosted")}
    assert [answer.status_code for answer in said.values()] == ([303, 303] if is_offered else [409, 409])
    assert CheckoutSession.objects.exists() == is_offered
    if not is_offered:
        words = {"title": "Pay later is not offered in JP. Choose another way to pay.", "text": "You were not charged."}
        assert [answer.context["notice"] for answer in said.values()] == [words, words]
        assert press(client, event, "session", method="pay_later").json() == {"code": "method_not_possible", **words}
        assert opened(client, event, "card")["status"] == "open"


def test_a_press_from_another_site_chooses_nothing(open_payment: Open) -> None:
    event = open_payment(buyer_signed_in=True)
    stranger = Client(enforce_csrf_checks=True)
    for name in ("gift-card", "gift-card-remove", "wallet", "card-forget", "qr"):
        assert stranger.post(address(event, name)).status_code == 403
        assert stranger.get(address(event, name)).status_code in (404, 405)


def test_a_session_that_we_did_not_open_confirms_nothing(client: Client, open_payment: Open, books_hold: None) -> None:
    event, other = open_payment("10.00"), open_payment("10.00")
    session = opened(client, other, "card")
    buyer.give_card(session["hosted_url"], number=VISA)
    strange = session_for(eur("10.00"), VISA, nonce=f"strange:{event.public_id}")
    for name in (session["session"], strange.id):
        assert press(client, event, "complete", session=name).status_code == 200
    assert statuses(event) == ["NOT_STARTED"]


def test_what_cannot_be_stored_chooses_and_confirms_nothing(client: Client, open_payment: Open) -> None:
    event = open_payment("10.00", buyer_signed_in=True)
    pressed = [
        ("complete", "session"),
        ("session", "method"),
        ("session", "saved_card"),
        ("hosted", "method"),
        ("gift-card", "code"),
        ("gift-card-remove", "tender"),
        ("card-forget", "card"),
        ("qr", "saved_card"),
    ]
    assert {press(client, event, name, **{field: "qr\0"}).status_code for name, field in pressed} <= {200, 303, 409}
    assert client.get(address(event, "return"), {"method": "qr\0"}).status_code == 303
    assert (statuses(event), session_states(event)) == (["NOT_STARTED"], [])


def test_choices_never_hold_anything(shop: Shop, open_payment: Open) -> None:
    event = open_payment("10.00", buyer_signed_in=True)
    wallet = stored_value_of(shop, "40.00", buyer=event.buyer)
    choices.use_wallet(event, wanted=True, now=timezone.now())
    assert left_of(wallet) == (eur("40.00"), eur("0"))
