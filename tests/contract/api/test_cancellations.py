"""Cancellations over REST: one order or a whole payment, whatever its state, and each only once."""

from typing import Any

import pytest
from django.utils import timezone

from payments import confirmation
from payments.models import Cancellation, DueOrder, PaymentOrder, Refund, Transition
from tests.contract.api.conftest import Caller, pay, stored

Opened = dict[str, Any]


@pytest.fixture
def opened(api: Caller, basket: dict[str, Any]) -> Opened:
    payment: Opened = api.post("/v1/payments", basket).json()
    return payment


def confirm(order_id: str) -> None:
    """Let the order be charged: it is in the executor's queue now."""
    order = PaymentOrder.objects.get(public_id=order_id)
    confirmation.confirm_order(order.pk, payment_token="tok_1", once="wish-1", now=timezone.now())


def test_an_order_that_was_never_charged_is_called_off_at_once(api: Caller, opened: Opened) -> None:
    order = opened["payment_orders"][0]
    answer = api.post(f"/v1/orders/{order['id']}/cancel", {"reason": "Sold out"})
    cancellation = answer.json()
    assert answer.status_code == 200
    assert cancellation["id"].startswith("can_")
    assert (cancellation["object"], cancellation["order"], cancellation["payment"]) == ("cancellation", order["id"], opened["id"])
    assert (cancellation["status"], cancellation["outcome"], cancellation["reason"]) == ("SUCCESS", "cancelled", "Sold out")
    assert cancellation["finished_at"] is not None
    assert api.get(f"/v1/cancellations/{cancellation['id']}").json() == cancellation
    read = api.get(f"/v1/orders/{order['id']}").json()
    assert (read["status"], read["cancellation"]) == ("CANCELLED", cancellation)
    [change] = Transition.objects.filter(kind="order", after="CANCELLED")
    assert (change.actor[:4], change.reason) == ("api:", "Sold out")


def test_an_order_that_is_being_charged_is_voided_and_its_end_is_read_later(api: Caller, opened: Opened) -> None:
    order = opened["payment_orders"][0]
    confirm(order["id"])
    DueOrder.objects.update(tries=1, maybe_sent=True)
    answer = api.post(f"/v1/orders/{order['id']}/cancel", {})
    assert (answer.status_code, answer.json()["status"], answer.json()["outcome"]) == (202, "EXECUTING", None)
    assert DueOrder.objects.get().to_be_voided


def test_a_paid_order_is_refunded_in_full_with_its_fee(api: Caller, paid: dict[str, Any]) -> None:
    answer = api.post(f"/v1/orders/{paid['id']}/cancel", {"reason": "Sold out"})
    cancellation = answer.json()
    assert (answer.status_code, cancellation["status"]) == (202, "EXECUTING")
    refund = api.get(f"/v1/refunds/{cancellation['refund']}").json()
    assert (refund["cause"], refund["fee_policy"]) == ("cancellation", "full")
    assert (refund["amount"], refund["fee"]) == ({"amount": "24.90", "currency": "EUR"}, {"amount": "2.49", "currency": "EUR"})


@pytest.mark.parametrize("key", ["the same", "another"])
def test_an_order_is_cancelled_once_however_often_it_is_asked_for(api: Caller, paid: dict[str, Any], key: str) -> None:
    path = f"/v1/orders/{paid['id']}/cancel"
    first = api.post(path, {}, key="the same")
    again = api.post(path, {}, key=key)
    assert again.json() == first.json()
    assert (Cancellation.objects.count(), Refund.objects.count()) == (1, 1)


def test_what_was_refunded_already_cannot_be_cancelled(api: Caller, paid: dict[str, Any]) -> None:
    api.post(f"/v1/orders/{paid['id']}/refunds", {})
    before = stored()
    answer = api.post(f"/v1/orders/{paid['id']}/cancel", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
    assert "nothing of it is left to give back" in answer.json()["detail"]
    assert stored() == before


def test_a_payment_is_cancelled_order_by_order(api: Caller, opened: Opened) -> None:
    first, second = opened["payment_orders"]
    pay(first["id"])
    answer = api.post(f"/v1/payments/{opened['id']}/cancel", {"reason": "Fraud"})
    made = answer.json()
    assert (answer.status_code, made["object"], made["has_more"], made["next_cursor"]) == (202, "list", False, None)
    assert [(each["order"], each["status"], each["outcome"]) for each in made["data"]] == [
        (first["id"], "EXECUTING", None),
        (second["id"], "SUCCESS", "cancelled"),
    ]


def test_a_payment_that_was_never_charged_is_cancelled_as_a_whole(api: Caller, opened: Opened) -> None:
    answer = api.post(f"/v1/payments/{opened['id']}/cancel", {})
    assert (answer.status_code, [each["outcome"] for each in answer.json()["data"]]) == (200, ["cancelled", "cancelled"])
    payment = api.get(f"/v1/payments/{opened['id']}").json()
    assert (payment["status"], payment["is_payment_done"]) == ("cancelled", True)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"reason": "x" * 201}, "too_long", "reason"),
        ({"reason": 7}, "wrong_type", "reason"),
        ({"reason": "a\u202eb"}, "forbidden_character", "reason"),
        ({"amount": {"amount": "1.00", "currency": "EUR"}}, "unknown_field", "amount"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/orders/{order}/cancel", "/v1/payments/{payment}/cancel"])
def test_a_wrong_wish_is_refused_by_name(api: Caller, opened: Opened, path: str, body: dict[str, Any], code: str, field: str) -> None:
    before = stored()
    answer = api.post(path.format(order=opened["payment_orders"][0]["id"], payment=opened["id"]), body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert stored() == before


def test_sec_another_shops_things_are_not_found(stranger: Caller, api: Caller, opened: Opened) -> None:
    order = opened["payment_orders"][0]["id"]
    cancellation = api.post(f"/v1/orders/{order}/cancel", {}).json()["id"]
    before = stored()
    for path in (f"/v1/orders/{order}/cancel", f"/v1/payments/{opened['id']}/cancel"):
        assert stranger.post(path, {}).status_code == 404
    assert stranger.get(f"/v1/cancellations/{cancellation}").status_code == 404
    assert stored() == before


# --- Ending the retries ---------------------------------------------------------------------------------------------


def test_retries_of_what_was_never_sent_end_at_once(api: Caller, opened: Opened) -> None:
    order = opened["payment_orders"][0]
    confirm(order["id"])
    answer = api.post(f"/v1/orders/{order['id']}/stop_retries", {"reason": "She paid in cash"})
    assert (answer.status_code, answer.json()["outcome"], answer.json()["reason"]) == (200, "cancelled", "She paid in cash")
    assert api.get(f"/v1/orders/{order['id']}").json()["status"] == "CANCELLED"
    assert not DueOrder.objects.exists()


def test_retries_of_what_may_have_been_sent_end_with_a_void(api: Caller, opened: Opened) -> None:
    order = opened["payment_orders"][0]
    confirm(order["id"])
    DueOrder.objects.update(tries=3, maybe_sent=True, next_attempt_at=None)
    answer = api.post(f"/v1/orders/{order['id']}/stop_retries", {})
    assert (answer.status_code, answer.json()["status"]) == (202, "EXECUTING")
    due = DueOrder.objects.get()
    assert (due.to_be_voided, due.next_attempt_at is None) == (True, False)


@pytest.mark.parametrize(("state", "why"), [("NOT_STARTED", "it was never charged"), ("SUCCESS", "it is paid")])
def test_an_order_that_is_not_being_charged_has_no_retries_to_end(api: Caller, opened: Opened, state: str, why: str) -> None:
    order = opened["payment_orders"][0]
    if state == "SUCCESS":
        pay(order["id"])
    before = stored()
    answer = api.post(f"/v1/orders/{order['id']}/stop_retries", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_to_rescue")
    assert f"{state}: {why}" in answer.json()["detail"]
    assert stored() == before
