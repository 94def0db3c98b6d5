"""The payment page over HTTP: what each state says, what a press of the button does, and what the PSP's silence does not do."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ledger.ids import new_id
from payments import cancellations, confirmation, executor, expiry, results
from payments.confirmation import MOST_CONFIRMATIONS
from payments.management import buyer
from payments.models import DueOrder, OpenCheckout, PaymentEvent, PaymentOrder
from payments.psp.protocol import Psp
from tests.fixtures_money import DECLINED, VISA, Oracle, pay_with_card, sandbox_psp, session_for, statuses
from tests.fixtures_services import SandboxCompany
from wallet.models import Shop

Open = Callable[..., PaymentEvent]
JSON = {"Accept": "application/json"}
NO_BREAK = "\u00a0"
SOLD_OUT = "4000000000009995"


def address(event: PaymentEvent, name: str = "") -> str:
    return reverse(f"checkout-{name}" if name else "checkout", args=[event.token])


def text_of(response: Any) -> str:
    """The words of the page's body, with single blanks."""
    body = response.content.decode().partition("<body")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace(NO_BREAK, " ").split())


def title_of(response: Any) -> str:
    found = re.search("<title>(.*?)</title>", response.content.decode())
    return found[1].replace(NO_BREAK, " ") if found else ""


def press(client: Client, event: PaymentEvent, name: str = "complete") -> Any:
    """Send what the page's script sends, and return the answer."""
    return client.post(address(event, name), shown_session(event) if name == "complete" else {}, headers=JSON)


def shown_session(event: PaymentEvent) -> dict[str, str]:
    """The session that the page shows, as its form names it."""
    return {"session": kept(event).psp_session}


def give_card(client: Client, event: PaymentEvent, number: str = VISA) -> None:
    """Open the session as the page's script does, and fill in the PSP's form."""
    session = press(client, event, "session").json()
    buyer.give_card(session["hosted_url"], number=number)


def kept(event: PaymentEvent) -> PaymentEvent:
    event.refresh_from_db()
    return event


# --- What the page says ---------------------------------------------------------------------------------------------


def test_the_page_says_what_is_bought_from_whom_for_how_much(client: Client, open_payment: Open) -> None:
    page = client.get(address(open_payment("24.90", "89.00", "14.50")))
    said = text_of(page)
    assert title_of(page) == "Pay 128.40 EUR – Northwind"
    for words in ("Your basket from 3 sellers", "Ada 24.90 EUR", "Bolt 89.00 EUR", "Total 128.40 EUR", "no fee is added", "Pay with"):
        assert words in said


@pytest.mark.parametrize(("currency", "amount", "shown"), [("JPY", "4500", "4,500 JPY"), ("KWD", "1.5", "1.500 KWD")])
def test_amounts_have_the_decimals_of_their_currency(client: Client, open_payment: Open, currency: str, amount: str, shown: str) -> None:
    assert title_of(client.get(address(open_payment(amount, currency=currency)))) == f"Pay {shown} – Northwind"


def test_the_page_speaks_the_payments_language_until_another_is_chosen(client: Client, open_payment: Open) -> None:
    event = open_payment("1000.00", locale="de-DE")
    german = client.get(address(event))
    assert (german["Content-Language"], title_of(german)) == ("de", "1.000,00 EUR bezahlen – Northwind")
    assert title_of(client.get(address(event), {"lang": "en"})) == "Pay 1,000.00 EUR – Northwind"
    assert title_of(client.get(address(event))) == "Pay 1,000.00 EUR – Northwind"
    assert client.get(address(event), {"lang": "xx"}).status_code == 200


def test_only_the_psps_origin_may_be_framed_and_nothing_is_kept(client: Client, open_payment: Open, sandbox: SandboxCompany) -> None:
    page = client.get(address(open_payment()))
    policy = dict(part.split(" ", 1) for part in page["Content-Security-Policy"].split("; "))
    assert policy["frame-src"] == sandbox.url
    assert policy["form-action"] == f"'self' {sandbox.url}"
    assert (policy["default-src"], policy["script-src"], policy["style-src"], policy["connect-src"]) == (
        "'none'",
        "'self'",
        "'self'",
        "'self'",
    )
    assert (page["Cache-Control"], page["Referrer-Policy"]) == ("no-store", "same-origin")
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page.content.decode())


def test_a_page_that_takes_no_card_frames_nobody(client: Client, open_payment: Open) -> None:
    page = client.get(address(pay_with_card(open_payment())))
    assert "frame-src" not in page["Content-Security-Policy"]
    assert "form-action 'self';" in page["Content-Security-Policy"] + ";"


def test_no_field_of_ours_asks_for_a_card(client: Client, open_payment: Open) -> None:
    page = client.get(address(open_payment())).content.decode()
    ours = {"csrfmiddlewaretoken", "way", "method", "code"}  # the way to pay, and a gift card's code
    assert set(re.findall(r'<input[^>]*name="(\w+)"', page)) == ours


def test_names_are_text_and_never_markup(client: Client, open_payment: Open) -> None:
    items = [{"name": "<script>alert(1)</script>", "quantity": 2, "amount": {"amount": "x", "currency": "EUR"}}]
    event = open_payment("5.00")
    event.orders.update(items=items, description="<b>x</b>")
    page = client.get(address(event)).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("token", ["nosuch", "x" * 300])
def test_an_unknown_link_has_a_page_of_its_own(client: Client, books_hold: None, token: str) -> None:
    page = client.get(reverse("checkout", args=[token]))
    assert page.status_code == 404
    assert "We do not know this payment link" in text_of(page)
    assert client.post(reverse("checkout-complete", args=[token]), headers=JSON).json() == {"code": "unknown_checkout"}


def test_the_page_costs_a_fixed_number_of_queries(client: Client, open_payment: Open) -> None:
    few, many = open_payment("1.00"), open_payment(*["1.00"] * 60)
    counts = []
    for event in (few, many):
        with CaptureQueriesContext(connection) as queries:
            client.get(address(event))
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 5


# --- Paying ---------------------------------------------------------------------------------------------------------


def test_one_press_pays_everybody_and_the_page_becomes_the_receipt(client: Client, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment()
    give_card(client, event)
    answer = press(client, event)
    assert answer.json() == {"url": address(event)}
    assert title_of(client.get(address(event))) == "Confirming your payment – Northwind"
    assert client.get(address(event, "status")).json()["state"] == "waiting"
    executor.execute_due_orders(now=timezone.now())
    page = client.get(address(event))
    said = text_of(page)
    assert title_of(page) == "Paid – Northwind"
    for words in (
        "Paid. Thank you.",
        "128.40 EUR",
        "Visa credit ending 4242",
        "3 charges from NORTHWIND, one for each seller",
        event.checkout_id,
    ):
        assert words in said
    assert len(oracle.charged()) == 3


def test_a_second_press_starts_nothing(client: Client, open_payment: Open) -> None:
    event = open_payment()
    give_card(client, event)
    answers = [press(client, event).status_code for _press in range(3)]
    assert answers == [200, 200, 200]
    assert kept(event).confirmations == 1
    assert DueOrder.objects.count() == 3
    executor.execute_due_orders(now=timezone.now())


def test_without_javascript_the_form_leads_to_the_psp_and_back(client: Client, open_payment: Open, sandbox: SandboxCompany) -> None:
    event = open_payment()
    away = client.post(address(event, "hosted"))
    assert (away.status_code, away["Location"].startswith(sandbox.url)) == (303, True)
    back = buyer.give_card(away["Location"], number=VISA)
    assert urlsplit(back).path == address(event, "return")
    asked = client.get(urlsplit(back).path)
    assert "Visa credit ending 4242 is ready" in text_of(asked)
    assert statuses(event) == ["NOT_STARTED"] * 3
    pressed = client.post(address(event, "complete"), {"session": asked.context["ready_session"]})
    assert (pressed.status_code, pressed["Location"]) == (303, address(event))
    assert statuses(event) == ["EXECUTING"] * 3
    executor.execute_due_orders(now=timezone.now())


def test_the_browsers_word_alone_pays_nothing(client: Client, open_payment: Open) -> None:
    event = open_payment()
    assert press(client, event).status_code == 200  # no session: the page as it stands
    press(client, event, "session")
    refused = press(client, event)
    assert (refused.status_code, refused.json()["code"]) == (409, "card_not_confirmed")
    assert "You were not charged." in refused.json()["text"]
    assert "The card is not confirmed yet." in text_of(client.post(address(event, "complete"), shown_session(event)))
    assert statuses(event) == ["NOT_STARTED"] * 3


def test_coming_back_and_asking_change_nothing(client: Client, open_payment: Open) -> None:
    event = open_payment()
    give_card(client, event)
    for name in ("", "return", "status"):
        assert client.get(address(event, name)).status_code == 200
        assert client.post(address(event, name)).status_code == 405
    assert statuses(event) == ["NOT_STARTED"] * 3
    assert kept(event).confirmations == 0


def test_a_press_from_another_site_is_refused(open_payment: Open) -> None:
    event = open_payment()
    stranger = Client(enforce_csrf_checks=True)
    for name in ("complete", "session", "hosted"):
        assert stranger.post(address(event, name)).status_code == 403
    assert "This page was open for too long" in text_of(stranger.post(address(event, "complete")))
    assert kept(event).psp_session == ""


def test_both_tabs_get_the_same_session(client: Client, open_payment: Open) -> None:
    event = open_payment()
    sessions = [press(client, event, "session").json()["fields_url"] for _tab in range(2)]
    assert sessions[0] == sessions[1]


def test_a_card_that_is_ready_is_offered_again_after_a_reload(client: Client, open_payment: Open) -> None:
    event = open_payment()
    give_card(client, event)
    again = press(client, event, "session").json()
    assert (again["status"], again["card"]) == ("complete", "Visa credit ending 4242")
    assert client.post(address(event, "hosted"))["Location"] == f"{address(event, 'return')}?method=card"


def test_a_dead_doorbell_is_not_the_buyers_concern(client: Client, open_payment: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celery.app.task.Task.apply_async", broken)
    event = open_payment()
    give_card(client, event)
    assert press(client, event).status_code == 200
    assert statuses(event) == ["EXECUTING"] * 3
    executor.execute_due_orders(now=timezone.now())


def broken(*_args: object, **_options: object) -> None:
    raise ConnectionRefusedError("nobody is at the door")


# --- When it does not go well ---------------------------------------------------------------------------------------


def test_a_decline_says_why_and_offers_the_form_again(client: Client, open_payment: Open) -> None:
    event = pay_with_card(open_payment(), SOLD_OUT)
    page = client.get(address(event))
    said = text_of(page)
    assert title_of(page) == "Not paid – Northwind"
    assert "there is not enough money on it. You were not charged. Try another card." in said
    assert "Pay 128.40 EUR" in said
    give_card(client, event)
    press(client, event)
    executor.execute_due_orders(now=timezone.now())
    assert kept(event).status == "paid"


def test_a_payment_in_part_says_whose_part_failed_and_asks_for_the_rest_only(client: Client, open_payment: Open) -> None:
    event = open_payment("24.90", "89.00", "14.50")
    for order, card in zip(event.orders.order_by("id"), (VISA, DECLINED, VISA), strict=True):
        pay_alone(order, card)
    assert statuses(event) == ["SUCCESS", "FAILED", "SUCCESS"]
    page = client.get(address(event))
    said = text_of(page)
    assert title_of(page) == "Partly paid – Northwind"
    assert "39.40 EUR is paid, 89.00 EUR is not." in said
    assert "Bolt : you were not charged for it. Your bank declined the card." in said
    assert "Pay 89.00 EUR" in said
    give_card(client, event)
    press(client, event)
    executor.execute_due_orders(now=timezone.now())
    assert kept(event).status == "paid"


def pay_alone(order: PaymentOrder, card: str) -> None:
    """Pay one order with a card of its own, as a shop may by REST."""
    session = session_for(order.amount, card, nonce=order.public_id)
    confirmation.confirm_order(order.pk, payment_token=session.payment_token, once=new_id("wish"), now=timezone.now())
    executor.execute_due_orders(now=timezone.now())


def test_a_psp_that_cannot_be_reached_gives_a_kind_page_and_charges_nothing(
    client: Client, open_payment: Open, sandbox: SandboxCompany, use_psp: Callable[[Psp], Psp]
) -> None:
    event, ready = open_payment(), open_payment()
    give_card(client, ready)
    use_psp(sandbox_psp(sandbox, url="http://127.0.0.1:9"))
    assert client.get(address(event)).status_code == 200
    session = press(client, event, "session")
    assert (session.status_code, session.json()["title"]) == (503, "The card form cannot be loaded at the moment.")
    assert "You were not charged." in text_of(client.post(address(event, "hosted")))
    for response in (client.get(address(ready, "return")), client.post(address(ready, "complete"), shown_session(ready))):
        assert response.status_code == 503
        assert "You were not charged." in text_of(response)
    assert statuses(ready) == ["NOT_STARTED"] * 3


def test_a_psp_that_is_not_configured_gives_a_kind_page(client: Client, open_payment: Open) -> None:
    event = open_payment()
    PaymentEvent.objects.filter(pk=event.pk).update(psp="gone")
    page = client.get(address(event))
    assert page.status_code == 200
    assert "The card form cannot be loaded at the moment." in text_of(page)
    assert press(client, event, "session").status_code == 503


@pytest.mark.parametrize("kind", ["refuse_500", "execute_then_500"])
def test_a_psp_that_stumbles_is_asked_again_for_the_same_session(
    client: Client, open_payment: Open, sandbox: SandboxCompany, kind: str
) -> None:
    event = open_payment()
    sandbox.fault(operation="session", kind=kind, times=1)
    assert press(client, event, "session").status_code == 503
    assert press(client, event, "session").json()["status"] == "open"


def test_an_expired_checkout_says_so_and_takes_no_card(client: Client, open_payment: Open) -> None:
    event = open_payment()
    give_card(client, event)
    past = timezone.now() - timedelta(seconds=1)
    PaymentEvent.objects.filter(pk=event.pk).update(expires_at=past)
    OpenCheckout.objects.filter(pk=event.pk).update(expires_at=past)
    page = client.get(address(event))
    assert title_of(page) == "Expired – Northwind"
    assert "You were not charged." in text_of(page)
    assert press(client, event).json() == {"code": "checkout_expired"}
    expiry.expire_checkouts(now=timezone.now())
    assert title_of(client.get(address(event))) == "Expired – Northwind"
    assert press(client, event, "session").json() == {"code": "checkout_expired"}


def test_what_is_approved_elsewhere_is_followed_without_a_script_too(client: Client, open_payment: Open) -> None:
    event = open_payment()
    assert client.post(address(event, "session"), {"method": "digital_wallet"}, headers=JSON).status_code == 200
    by_itself = '<noscript><meta http-equiv="refresh" content="4"></noscript>'
    assert by_itself not in client.get(address(event)).content.decode(), "while the buyer chooses, nothing is loaded under their hands"
    event.sessions.update(status="complete")
    page = client.get(address(event)).content.decode()
    assert by_itself in page and "This page follows by itself." in page


def test_too_many_tries_lead_back_to_the_shop(client: Client, open_payment: Open) -> None:
    event = pay_with_card(open_payment(return_url="https://shop.example/cart"), DECLINED)
    PaymentEvent.objects.filter(pk=event.pk).update(confirmations=MOST_CONFIRMATIONS)
    said = text_of(client.get(address(event)))
    assert "It was tried too often here." in said
    assert "Back to Northwind" in said


def test_a_cancelled_part_is_not_asked_for(client: Client, open_payment: Open) -> None:
    event = open_payment("24.90", "89.00", "14.50")
    press(client, event, "session")
    second = event.orders.order_by("id")[1]
    cancellations.cancel_order(second.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())
    page = client.get(address(event))
    assert title_of(page) == "Pay 39.40 EUR – Northwind"
    assert "Cancelled, not charged" in text_of(page)
    give_card(client, event)
    press(client, event)
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["SUCCESS", "CANCELLED", "SUCCESS"]
    assert title_of(client.get(address(event))) == "Paid – Northwind"


def test_a_cancelled_payment_says_so(client: Client, open_payment: Open) -> None:
    event = open_payment()
    cancellations.cancel_event(event.pk, reason="", once="", requested_by="staff:ada", now=timezone.now())
    assert title_of(client.get(address(event))) == "Cancelled – Northwind"
    assert press(client, event, "session").json() == {"code": "nothing_to_pay"}


# --- The way back ---------------------------------------------------------------------------------------------------


def test_the_way_back_carries_a_result_that_the_shop_can_verify(client: Client, open_payment: Open, shop: Shop) -> None:
    event = open_payment(return_url="https://shop.example/thanks?order=7")
    for status, act in (("open", lambda: None), ("paid", lambda: pay_with_card(event))):
        act()
        page = client.get(address(event)).content.decode()
        link = re.search(r'href="(https://shop\.example/[^"]+)"', page)
        assert link is not None
        parameters = dict(parse_qsl(urlsplit(link[1].replace("&amp;", "&")).query))
        result = results.verify(parameters, secret=shop.signing_secret, now=timezone.now())
        assert (result.payment, result.status, parameters["order"]) == (event.public_id, status, "7")


def test_a_shop_without_an_address_has_no_way_back(client: Client, open_payment: Open) -> None:
    said = text_of(client.get(address(pay_with_card(open_payment()))))
    assert "Back to" not in said
    assert "You can close this page." in said
