"""Deliveries over REST: said once, and what is refused is refused by name."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ledger import clock
from payments import releases
from tests.contract.api.conftest import Caller, caller_of

Paid = dict[str, Any]


def test_an_order_is_delivered_and_becomes_available(api: Caller, paid: Paid) -> None:
    before = api.get(f"/v1/orders/{paid['id']}").json()["delivery"]
    assert (before["status"], before["delivered_at"], before["available_at"]) == ("undelivered", None, None)
    assert before["available_on"] is not None
    answer = api.post(f"/v1/orders/{paid['id']}/deliver", {})
    delivery = answer.json()["delivery"]
    assert (answer.status_code, delivery["status"], delivery["available_on"]) == (200, "delivered", delivery["delivered_at"])
    releases.release_due(now=clock.now())
    read = api.get(f"/v1/orders/{paid['id']}").json()["delivery"]
    assert (read["status"], read["delivered_at"], read["available_on"]) == ("available", delivery["delivered_at"], None)
    assert read["available_at"] is not None
    assert api.get(f"/v1/payments/{paid['payment']}").json()["payment_orders"][0]["delivery"] == read
    told = [event["data"] for event in api.get("/v1/events").json()["data"] if event["type"].endswith(("delivered", "released"))]
    assert [(each["released_at"] is None, each["delivered_at"] is None) for each in told] == [(True, False), (False, False)]


def test_a_delivery_that_is_told_twice_is_one(api: Caller, paid: Paid) -> None:
    first = api.post(f"/v1/orders/{paid['id']}/deliver", {}, key="delivered-1").json()
    assert api.post(f"/v1/orders/{paid['id']}/deliver", {}, key="delivered-1").json() == first
    assert api.post(f"/v1/orders/{paid['id']}/deliver", {}, key="delivered-2").json()["delivery"] == first["delivery"]


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ((timezone.now() + timedelta(days=2)).isoformat(), "wrong_delivery_time"),
        ("2001-01-01T00:00:00Z", "wrong_delivery_time"),
        ("2026-11-24T08:12:45", "wrong_type"),
        ("２０２６-11-21T08:12:45Z", "wrong_type"),
        ("2026-02-30T08:12:45Z", "wrong_type"),
        ("9999-12-31T23:59:59-12:00", "out_of_range"),
        (7, "wrong_type"),
    ],
    ids=["ahead", "before the payment", "without its zone", "wide digits", "no day", "the end of time", "a number"],
)
def test_a_delivery_at_an_impossible_time_is_refused(api: Caller, paid: Paid, moment: object, code: str) -> None:
    answer = api.post(f"/v1/orders/{paid['id']}/deliver", {"delivered_at": moment})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "delivered_at")
    assert api.get(f"/v1/orders/{paid['id']}").json()["delivery"]["status"] == "undelivered"


def test_what_is_not_paid_cancelled_or_not_the_callers_cannot_be_delivered(api: Caller, stranger: Caller, paid: Paid) -> None:
    unpaid = api.get(f"/v1/payments/{paid['payment']}").json()["payment_orders"][1]["id"]
    for said in ("is not paid", "is cancelled and was never paid"):
        answer = api.post(f"/v1/orders/{unpaid}/deliver", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_deliverable")
        assert said in answer.json()["detail"]
        api.post(f"/v1/orders/{unpaid}/cancel", {})
    assert stranger.post(f"/v1/orders/{paid['id']}/deliver", {}).status_code == 404
    assert caller_of(api.shop, "payments:read").post(f"/v1/orders/{paid['id']}/deliver", {}).status_code == 403
