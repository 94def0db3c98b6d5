"""Sellers, wallets and their entries, and the feed of events."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from ledger.money import exact
from payments.models import PaymentOrder
from tests.contract.api.conftest import Caller, pay, stored
from wallet import feed, notifications
from wallet.models import OutboxMessage, Seller, Shop
from wallet.notifications import Message


def test_a_seller_is_added_once_per_reference(api: Caller) -> None:
    first = api.post("/v1/sellers", {"name": "Ada", "reference": "ada"})
    again = api.post("/v1/sellers", {"name": "Ada", "reference": "ada"})
    other = api.post("/v1/sellers", {"name": "Eve", "reference": "ada"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json() == again.json() == api.get(f"/v1/sellers/{first.json()['id']}").json()
    assert (other.json()["code"], other.json()["field"]) == ("seller_reference_used", "reference")
    assert api.get("/v1/sellers", reference="ada").json()["data"] == [first.json()]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "required", "name"),
        ({"name": " "}, "blank", "name"),
        ({"name": "x" * 121}, "too_long", "name"),
        ({"name": "Ada", "shop": 1}, "unknown_field", "shop"),
        ({"name": "Ada", "reference": None}, "null", "reference"),
        ({"name": "Ada\u202e"}, "forbidden_character", "name"),
    ],
)
def test_a_wrong_seller_is_refused(api: Caller, body: Any, code: str, field: str) -> None:
    before = stored()
    answer = api.post("/v1/sellers", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert stored() == before


def test_a_wallet_is_opened_once_per_currency(api: Caller, ada: Seller) -> None:
    first = api.post("/v1/wallet", {"seller": ada.public_id, "currency": "JPY"})
    again = api.post("/v1/wallet", {"seller": ada.public_id, "currency": "JPY"})
    assert (first.status_code, again.status_code) == (201, 200)
    nothing = {"amount": "0", "currency": "JPY"}
    assert (
        first.json()
        == again.json()
        == {
            "object": "wallet",
            "seller": {"id": ada.public_id, "name": "Ada's Books"},
            "currency": "JPY",
            "pending": nothing,
            "available": nothing,
            "reserved": nothing,
        }
    )


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"currency": "XXX"}, "unknown_currency", "currency"),
        ({"currency": 5}, "wrong_type", "currency"),
        ({"seller": "sel_nobody"}, "unknown_seller", "seller"),
        ({"pending": {"amount": "1.00", "currency": "EUR"}}, "unknown_field", "pending"),
    ],
)
def test_a_wrong_wallet_is_refused(api: Caller, ada: Seller, change: Any, code: str, field: str) -> None:
    before = stored()
    answer = api.post("/v1/wallet", {"seller": ada.public_id, "currency": "EUR"} | change)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert stored() == before


def test_a_sale_shows_in_order_wallet_entries_and_events(api: Caller, basket: dict[str, Any], ada: Seller, bolt: Seller) -> None:
    payment = api.post("/v1/payments", basket).json()
    order = payment["payment_orders"][0]
    pay(order["id"])
    read = api.get(f"/v1/orders/{order['id']}").json()
    assert (read["status"], read["wallet_updated"], read["ledger_updated"]) == ("SUCCESS", True, True)
    assert read["attempts"][0] | {"created_at": "", "finished_at": ""} == {
        "number": 1,
        "operation": "charge",
        "refund": None,
        "status": "SUCCEEDED",
        "psp": "sandbox",
        "psp_reference": read["attempts"][0]["psp_reference"],
        "error_code": None,
        "error_message": None,
        "created_at": "",
        "finished_at": "",
    }
    [wallet] = api.get("/v1/wallet", seller=ada.public_id).json()["data"]
    assert wallet["pending"] == order["net"]
    [entry] = api.get(f"/v1/wallet/{ada.public_id}/entries", currency="EUR", kind="sale").json()["data"]
    assert (entry["gross"], entry["fee"], entry["net"]) == (order["amount"], order["fee"], order["net"])
    assert (entry["source"], entry["pending"], entry["available"]["amount"]) == (order["id"], order["net"], "0.00")
    assert api.get(f"/v1/wallet/{ada.public_id}/entries", currency="USD").json()["data"] == []
    assert api.get(f"/v1/wallet/{bolt.public_id}/entries").json()["data"] == []
    booked = api.get(f"/v1/ledger/entries/{entry['journal_entry']}").json()
    assert booked["reference"] == order["id"]
    assert [(leg["side"], leg["amount"]["amount"]) for leg in booked["postings"]] == [
        ("debit", "24.90"),
        ("credit", "22.41"),
        ("credit", "2.49"),
    ]
    [event] = api.get("/v1/events").json()["data"]
    assert (event["type"], event["about"], event["data"]["status"]) == ("payment_order.succeeded", order["id"], "SUCCESS")
    assert len(api.get("/v1/wallet").json()["data"]) == 2
    assert api.post(f"/v1/orders/{order['id']}", {"payment_token": "tok_2"}).status_code == 200


def publish(shop: Shop, *topics: str) -> list[str]:
    messages = [Message(shop.pk, topic, "pay_1", {"n": topic}) for topic in topics]
    with transaction.atomic():
        notifications.publish(messages)
    return [message.public_id for message in messages]


def test_events_are_followed_from_the_last_one_known(api: Caller, shop: Shop) -> None:
    ids = publish(shop, "a", "b", "c", "d", "e")
    first = api.get("/v1/events", limit=2).json()
    assert [event["type"] for event in first["data"]] == ["a", "b"]
    assert (first["has_more"], first["next_cursor"]) == (True, ids[1])
    rest = api.get("/v1/events", after=first["next_cursor"]).json()
    assert [event["type"] for event in rest["data"]] == ["c", "d", "e"]
    assert (rest["has_more"], rest["next_cursor"]) == (False, ids[4])
    none = api.get("/v1/events", after=ids[4]).json()
    assert (none["data"], none["has_more"], none["next_cursor"]) == ([], False, ids[4])


def test_another_shops_event_is_unknown(stranger: Caller, shop: Shop) -> None:
    [event] = publish(shop, "a")
    answer = stranger.get("/v1/events", after=event)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_event")


@pytest.mark.race
def test_an_event_that_is_committed_late_is_not_left_out(real_db: None) -> None:
    shop = Shop.objects.create(name="Northwind")
    has_drawn_its_id, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                notifications.publish([Message(shop.pk, "first", "pay_1", {})])
                has_drawn_its_id.set()
                may_commit.wait(timeout=10)
        finally:
            connection.close()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert has_drawn_its_id.wait(timeout=10)
    publish(shop, "second")
    assert OutboxMessage.objects.count() == 1  # the second is there, the first is not yet

    def followed() -> list[str]:
        return [message.topic for message in feed.messages_after(shop, after="", limit=10, now=timezone.now())]

    assert followed() == []
    may_commit.set()
    writer.join()
    assert followed() == ["first", "second"]


def test_amounts_of_the_largest_size_keep_every_digit(api: Caller, ada: Seller) -> None:
    order = {"seller": ada.public_id, "amount": {"amount": "99999999999.9999", "currency": "CLF"}}
    body = {"checkout_id": "c", "buyer": {"reference": "b"}, "payment_orders": [order]}
    assert api.post("/v1/payments", body).json()["amount"] == order["amount"]
    assert exact("99999999999.9999", "CLF") == PaymentOrder.objects.get().amount
