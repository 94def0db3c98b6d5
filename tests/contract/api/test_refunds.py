"""Refunds and late charges over REST: one wish is one refund, for ever, and what cannot be given back is refused by name."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger.models import JournalEntry
from ledger.money import exact
from payments import disputes, settlement
from payments.models import LateCharge, PaymentOrder, PspAttempt, Refund
from payments.psp.protocol import DisputeNotice
from tests.contract.api.conftest import Caller, pay, stored
from wallet import idempotency
from wallet.models import ApiKey

Paid = dict[str, Any]


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


def settle(refund_id: str) -> None:
    settlement.settle_refund(Refund.objects.get(public_id=refund_id).pk, psp_reference="re_at_psp", refunded_at=timezone.now())


def settle_all() -> None:
    for refund in Refund.objects.filter(status="EXECUTING"):
        settle(refund.public_id)


def dispute(order_id: str, amount: str) -> None:
    """Let the buyer's bank take so much of the order back."""
    order, now = PaymentOrder.objects.get(public_id=order_id), timezone.now()
    charge = PspAttempt.objects.get(order=order, operation="charge").psp_reference
    nothing = exact("0", "EUR")
    notice = DisputeNotice(
        "dp_1", order_id, order_id, charge, "open", exact(amount, "EUR"), nothing, nothing, "fraudulent", now, now, now + timedelta(days=7)
    )
    disputes.open_dispute(notice, psp="sandbox")


def test_sec_29_what_a_key_may_not_give_back_alone_is_refused_however_it_is_asked_for(api: Caller, paid: Paid, settings: Any) -> None:
    settings.API_REFUND_LIMITS = {"EUR": Decimal(10), "USD": Decimal(0)}
    refunds, cancel = f"/v1/orders/{paid['id']}/refunds", f"/v1/orders/{paid['id']}/cancel"
    assert api.post(refunds, {"amount": eur("6.00")}).status_code == 201
    tries = [(refunds, {"amount": eur("4.01")}), (refunds, {}), (cancel, {}), (f"/v1/payments/{paid['payment']}/cancel", {})]
    for address, body in tries:
        answer = api.post(address, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "approval_needed"), address
    assert api.post(refunds, {"amount": eur("4.00")}).status_code == 201
    assert Refund.objects.count() == 2
    settings.API_REFUND_LIMITS = {}
    settle_all()
    cancelled = api.post(cancel, {}).json()["id"]
    settings.API_REFUND_LIMITS = {"EUR": Decimal(10)}
    assert api.post(cancel, {}).json()["id"] == cancelled, "what is cancelled already is no new wish"


# --- Asking for one -------------------------------------------------------------------------------------------------


def test_a_refund_says_what_goes_to_gift_cards_and_the_wallet_and_may_go_there_first(api: Caller, paid: Paid) -> None:
    refunds = f"/v1/orders/{paid['id']}/refunds"
    plain = api.post(refunds, {"amount": eur("1.00")}).json()
    assert (plain["amount"], plain["to_stored_value"]) == (eur("1.00"), eur("0.00"))
    first = api.post(refunds, {"amount": eur("1.00"), "refund_to": "stored_value"}).json()
    assert first["to_stored_value"] == eur("0.00"), "none of it was paid by a gift card"
    wrong = api.post(refunds, {"amount": eur("1.00"), "refund_to": "cash"})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "refund_to")


def test_a_part_of_an_order_is_refunded(api: Caller, paid: Paid) -> None:
    answer = api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("10.00"), "reason": "Damaged", "reference": "return-1"})
    refund = answer.json()
    assert answer.status_code == 201
    assert refund["id"].startswith("re_")
    assert (refund["object"], refund["order"], refund["payment"]) == ("refund", paid["id"], paid["payment"])
    assert (refund["amount"], refund["fee"], refund["net"]) == (eur("10.00"), eur("1.00"), eur("9.00"))
    assert (refund["status"], refund["cause"], refund["fee_policy"]) == ("EXECUTING", "requested", "pro_rata")
    assert (refund["reason"], refund["reference"], refund["failure_code"]) == ("Damaged", "return-1", None)
    assert (refund["came_back"], refund["late_charge"]) == (False, None)
    assert api.get(f"/v1/refunds/{refund['id']}").json() == refund
    order = api.get(f"/v1/orders/{paid['id']}").json()
    assert (order["refunded"], order["refunds"]) == (eur("10.00"), [refund])
    assert api.get(f"/v1/payments/{paid['payment']}").json()["payment_orders"][0]["refunds"] == [refund]


def test_without_an_amount_all_that_is_left_goes_back(api: Caller, paid: Paid) -> None:
    api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("4.90")})
    rest = api.post(f"/v1/orders/{paid['id']}/refunds", {}).json()
    assert rest["amount"] == eur("20.00")
    assert api.get(f"/v1/orders/{paid['id']}").json()["refunded"] == eur("24.90")


def test_an_empty_body_refunds_nothing(api: Caller, paid: Paid) -> None:
    before = stored()
    answer = api.post(f"/v1/orders/{paid['id']}/refunds", b"", key="empty")
    assert (answer.status_code, answer.json()["code"]) == (400, "required")
    assert answer.json()["detail"] == "Send a JSON object; {} gives back all that is left."
    assert stored() == before
    assert api.post(f"/v1/orders/{paid['id']}/refunds", {}, key="empty").status_code == 201


@pytest.mark.parametrize(("policy", "fee"), [("pro_rata", "1.00"), ("full", "2.49"), ("keep", "0.00")])
def test_what_is_given_back_of_the_fee_is_the_callers_choice(api: Caller, paid: Paid, policy: str, fee: str) -> None:
    refund = api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("10.00"), "fee_policy": policy}).json()
    assert (refund["fee_policy"], refund["fee"]) == (policy, eur(fee))


def test_a_refund_ends_as_the_psp_says(api: Caller, paid: Paid) -> None:
    refund = api.post(f"/v1/orders/{paid['id']}/refunds", {}).json()
    settle(refund["id"])
    read = api.get(f"/v1/refunds/{refund['id']}").json()
    assert read == refund | {"status": "SUCCESS"}
    assert [event["type"] for event in api.get("/v1/events").json()["data"]][-1] == "refund.succeeded"


def test_the_record_says_who_asked(api: Caller, paid: Paid) -> None:
    api.post(f"/v1/orders/{paid['id']}/refunds", {})
    assert Refund.objects.get().requested_by == f"api:{ApiKey.objects.get().prefix}"


# --- Once -----------------------------------------------------------------------------------------------------------


def test_the_same_key_is_one_refund_even_when_its_answer_was_forgotten(api: Caller, paid: Paid) -> None:
    path, body = f"/v1/orders/{paid['id']}/refunds", {"amount": eur("10.00")}
    first, again = api.post(path, body, key="k"), api.post(path, body, key="k")
    assert (first.content, again["Idempotent-Replayed"]) == (again.content, "true")
    idempotency.purge(now=timezone.now() + timedelta(days=31))
    later = api.post(path, body, key="k")
    assert (first.status_code, later.status_code, later.json()) == (201, 200, first.json())
    assert "Idempotent-Replayed" not in later
    assert Refund.objects.count() == 1


def test_the_same_reference_is_one_refund_under_whatever_key(api: Caller, paid: Paid) -> None:
    path, body = f"/v1/orders/{paid['id']}/refunds", {"amount": eur("10.00"), "reference": "return-1"}
    first, again = api.post(path, body), api.post(path, body)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert api.get(f"/v1/orders/{paid['id']}").json()["refunded"] == eur("10.00")


@pytest.mark.parametrize(
    ("name", "value"), [("amount", eur("9.00")), ("fee_policy", "keep"), ("reason", "Lost"), ("refund_to", "stored_value")]
)
def test_other_terms_under_the_same_reference_are_refused_by_name(api: Caller, paid: Paid, name: str, value: Any) -> None:
    path, body = f"/v1/orders/{paid['id']}/refunds", {"amount": eur("10.00"), "reference": "return-1", "reason": "Damaged"}
    api.post(path, body)
    answer = api.post(path, body | {name: value})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "refund_conflict", name)
    assert Refund.objects.count() == 1


# --- What is refused ------------------------------------------------------------------------------------------------

WRONG = [
    ({"amount": eur("0")}, 400, "amount_not_positive", "amount.amount"),
    ({"amount": eur("-0")}, 400, "amount_not_positive", "amount.amount"),
    ({"amount": eur("-1.00")}, 400, "amount_not_positive", "amount.amount"),
    ({"amount": eur("NaN")}, 400, "not_an_amount", "amount.amount"),
    ({"amount": eur("Infinity")}, 400, "not_an_amount", "amount.amount"),
    ({"amount": eur("1e400")}, 400, "not_an_amount", "amount.amount"),
    ({"amount": eur("9" * 30)}, 400, "amount_too_large", "amount.amount"),
    ({"amount": eur("1.001")}, 400, "finer_than_minor_unit", "amount.amount"),
    ({"amount": {"amount": 1, "currency": "EUR"}}, 400, "must_be_a_string", "amount.amount"),
    ({"amount": {"amount": "1.00"}}, 400, "required", "amount.currency"),
    ({"amount": {"amount": "1.00", "currency": "XXX"}}, 400, "unknown_currency", "amount.currency"),
    ({"amount": None}, 400, "null", "amount"),
    ({"amount": "10.00"}, 400, "wrong_type", "amount"),
    ({"amount": {"amount": "10.00", "currency": "USD"}}, 409, "not_refundable", "amount.currency"),
    ({"amount": eur("24.91")}, 409, "not_refundable", "amount"),
    ({"fee_policy": "double"}, 400, "invalid_choice", "fee_policy"),
    ({"fee_policy": ""}, 400, "invalid_choice", "fee_policy"),
    ({"fee_policy": ["keep"]}, 400, "invalid_choice", "fee_policy"),
    ({"reason": "x" * 201}, 400, "too_long", "reason"),
    ({"reason": "a\u202eb"}, 400, "forbidden_character", "reason"),
    ({"reference": ""}, 400, "blank", "reference"),
    ({"reference": "x" * 121}, 400, "too_long", "reference"),
    ({"status": "SUCCESS"}, 400, "unknown_field", "status"),
    ({"order": "ord_1"}, 400, "unknown_field", "order"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), WRONG, ids=[json.dumps(wrong[0])[:40] for wrong in WRONG])
def test_a_wrong_wish_is_refused_by_name_and_its_key_stays_free(
    api: Caller, paid: Paid, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    path, before = f"/v1/orders/{paid['id']}/refunds", stored()
    answer = api.post(path, body, key="mended-later")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert stored() == before
    assert api.post(path, {"amount": eur("24.90")}, key="mended-later").status_code == 201


def test_more_than_is_left_is_refused_and_the_refusal_says_what_is_left(api: Caller, paid: Paid) -> None:
    path = f"/v1/orders/{paid['id']}/refunds"
    api.post(path, {"amount": eur("20.00")})
    answer = api.post(path, {"amount": eur("4.91")})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "not_refundable", "amount")
    assert "4.90 EUR" in answer.json()["detail"]


def test_a_refund_in_another_currency_is_told_which_it_must_be(api: Caller, paid: Paid) -> None:
    problem = api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": {"amount": "5.00", "currency": "USD"}}).json()
    assert problem["detail"] == f"{paid['id']} was paid in EUR, so it is refunded in EUR, not in USD."


@pytest.mark.parametrize(("key", "name"), [("one-wish", "Idempotency-Key"), ("another", "reference")])
def test_a_conflict_says_by_which_name_it_stands_and_how_much_it_is(api: Caller, paid: Paid, key: str, name: str) -> None:
    wish = {"amount": eur("4.90")} | ({"reference": "return-1"} if name == "reference" else {})
    stands = api.post(f"/v1/orders/{paid['id']}/refunds", wish, key="one-wish").json()
    idempotency.purge(now=timezone.now() + timedelta(days=31))
    problem = api.post(f"/v1/orders/{paid['id']}/refunds", wish | {"amount": eur("5.00")}, key=key).json()
    assert problem["code"] == "refund_conflict"
    assert problem["detail"] == f"{stands['id']} was asked for with the same {name}, but another amount: 4.90 EUR."


@pytest.mark.parametrize("earlier", ["none", "of another key"])
def test_another_reference_under_the_same_key_is_refused_by_name(api: Caller, paid: Paid, earlier: str) -> None:
    path, part = f"/v1/orders/{paid['id']}/refunds", {"amount": eur("4.90")}
    if earlier == "of another key":
        api.post(path, part | {"reference": "return-2"})
    stands = api.post(path, part | {"reference": "return-1"}, key="one-wish").json()
    idempotency.purge(now=timezone.now() + timedelta(days=31))
    problem = api.post(path, part | {"reference": "return-2"}, key="one-wish").json()
    assert (problem["code"], problem["field"]) == ("refund_conflict", "reference")
    assert problem["detail"] == f"{stands['id']} was asked for with the same Idempotency-Key, but another reference: return-1."


def test_nothing_is_left_of_what_was_refunded(api: Caller, paid: Paid) -> None:
    path = f"/v1/orders/{paid['id']}/refunds"
    api.post(path, {})
    assert api.post(path, {}).json()["code"] == "not_refundable"


def test_what_was_not_paid_cannot_be_refunded(api: Caller, basket: dict[str, Any]) -> None:
    order = api.post("/v1/payments", basket).json()["payment_orders"][0]
    answer = api.post(f"/v1/orders/{order['id']}/refunds", {"amount": eur("1.00")})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_refundable")
    assert "not paid" in answer.json()["detail"]


def test_bug_38_what_is_disputed_cannot_be_refunded_and_the_refusal_says_so(api: Caller, paid: Paid) -> None:
    dispute(paid["id"], "10.00")
    answer = api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("1.00")})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_refundable")
    assert "disputed" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_sec_another_shops_order_is_not_found(stranger: Caller, paid: Paid, method: str) -> None:
    before, path = stored(), f"/v1/orders/{paid['id']}/refunds"
    answer = stranger.get(path) if method == "get" else stranger.post(path, {})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert stored() == before


# --- Reading --------------------------------------------------------------------------------------------------------


def test_refunds_are_listed_newest_first_and_filtered(api: Caller, basket: dict[str, Any], stranger: Caller) -> None:
    orders = api.post("/v1/payments", basket).json()["payment_orders"]
    for order in orders:
        pay(order["id"])
    made = [api.post(f"/v1/orders/{order['id']}/refunds", {"amount": eur("1.00")}).json() for order in (*orders, orders[0])]
    settle(made[0]["id"])

    def found(path: str = "/v1/refunds", **query: str) -> list[str]:
        return [refund["id"] for refund in api.get(path, **query).json()["data"]]

    first, second, third = (refund["id"] for refund in made)
    assert found() == [third, second, first]
    assert found(status="SUCCESS") == [first]
    assert found(status="EXECUTING") == [third, second]
    assert found(order=orders[0]["id"]) == [third, first]
    assert found(payment=orders[0]["payment"]) == [third, second, first]
    assert found(created_since=made[2]["created_at"]) == [third]
    assert found(created_until=made[0]["created_at"]) == []
    assert found(f"/v1/orders/{orders[0]['id']}/refunds", status="SUCCESS") == [first]
    assert found(limit="1") == [third]
    assert stranger.get("/v1/refunds").json()["data"] == []


@pytest.mark.parametrize("path", ["/v1/refunds", "/v1/disputes", "/v1/late_charges"])
def test_a_filter_by_what_is_not_the_callers_is_not_found(api: Caller, stranger: Caller, paid: Paid, path: str) -> None:
    assert api.get(path, order=paid["id"]).status_code == 200
    for query in ({"order": paid["id"]}, {"payment": paid["payment"]}, {"order": "nonsense"}):
        answer = stranger.get(path, **query)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (404, "not_found", *query)


def test_a_page_of_refunds_costs_the_same_however_long(api: Caller, paid: Paid) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            api.get("/v1/refunds", limit=100)
            api.get(f"/v1/orders/{paid['id']}")
        return len(captured)

    api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("1.00")})
    for_one = queries()
    for _more in range(5):
        api.post(f"/v1/orders/{paid['id']}/refunds", {"amount": eur("1.00")})
    assert queries() == for_one


def test_a_late_charge_is_read_with_its_refund(api: Caller, stranger: Caller, paid: Paid) -> None:
    order = PaymentOrder.objects.get(public_id=paid["id"])
    late = LateCharge(order=order, psp="sandbox", psp_key="k", psp_reference="ch_late", charged_at=timezone.now())
    late.amount, late.taken_back, late.journal_entry = order.amount, exact("0", "EUR"), JournalEntry.objects.all()[0]
    late.save()
    refund = Refund(order=order, late_charge=late, cause="late_charge")
    refund.amount, refund.net = order.amount, order.amount
    refund.fee = refund.borne = refund.tendered = exact("0", "EUR")
    refund.save()
    read = api.get(f"/v1/late_charges/{late.public_id}").json()
    assert (read["object"], read["order"], read["amount"]) == ("late_charge", paid["id"], eur("24.90"))
    assert read["refund"] == refund.public_id
    assert api.get(f"/v1/refunds/{refund.public_id}").json()["late_charge"] == late.public_id
    assert api.get("/v1/late_charges").json()["data"] == [read]
    assert stranger.get(f"/v1/late_charges/{late.public_id}").status_code == 404
    assert stranger.get("/v1/late_charges").json()["data"] == []
