"""Opening, listing and reading payments and their orders."""

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments.models import DueOrder, PaymentEvent
from wallet.models import Seller

EUR_90 = {"amount": "24.90", "currency": "EUR"}
NOTHING_HAPPENED: dict[str, Any] = {"attempts": [], "refunds": [], "disputes": [], "cancellation": None}


def test_a_payment_is_opened_with_an_order_for_each_seller(api: Any, basket: dict[str, Any]) -> None:
    answer = api.post("/v1/payments", basket)
    payment = answer.json()
    assert answer.status_code == 201
    assert answer["Content-Type"] == "application/json"
    assert answer["Request-Id"].startswith("req_")
    assert payment["id"].startswith("pay_")
    assert payment["object"] == "payment"
    assert (payment["status"], payment["is_payment_done"]) == ("open", False)
    assert payment["amount"] == {"amount": "113.90", "currency": "EUR"}
    assert payment["buyer"]["reference"] == "customer-1"
    assert payment["checkout_url"].startswith("http://127.0.0.1:8000/checkout/")
    assert payment["return_url"] == "https://shop.example/thanks"
    assert payment["metadata"] == {"campaign": "autumn"}
    ada, bolt = payment["payment_orders"]
    assert ada["id"].startswith("ord_")
    assert ada["payment"] == payment["id"]
    assert ada["seller"] == {"id": basket["payment_orders"][0]["seller"], "name": "Ada's Books"}
    assert (ada["amount"], ada["fee"], ada["net"]) == (
        {"amount": "24.90", "currency": "EUR"},
        {"amount": "2.49", "currency": "EUR"},
        {"amount": "22.41", "currency": "EUR"},
    )
    assert ada["items"] == basket["payment_orders"][0]["items"]
    assert (ada["status"], ada["failure_code"], ada["wallet_updated"], ada["ledger_updated"]) == ("NOT_STARTED", None, False, False)
    assert bolt["refunded"] == {"amount": "0.00", "currency": "EUR"}


def test_the_same_address_answers_under_its_other_name(api: Any, basket: dict[str, Any]) -> None:
    assert api.post("/v1/payments/event", basket).status_code == 201


def test_the_least_that_a_payment_needs(api: Any, ada: Seller) -> None:
    least = {
        "checkout_id": "c",
        "buyer": {"reference": "b"},
        "payment_orders": [{"seller": ada.public_id, "amount": {"amount": "1", "currency": "JPY"}}],
    }
    answer = api.post("/v1/payments", least)
    assert answer.status_code == 201
    assert answer.json()["amount"] == {"amount": "1", "currency": "JPY"}
    assert answer.json()["payment_orders"][0]["reference"] is None
    assert answer.json()["payment_orders"][0]["category"] is None


def test_the_same_terms_again_are_the_same_payment(api: Any, basket: dict[str, Any]) -> None:
    first, second = api.post("/v1/payments", basket), api.post("/v1/payments", basket)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_other_terms_under_the_same_checkout_id_are_refused_by_name(api: Any, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket)
    basket["payment_orders"][1]["amount"]["amount"] = "1.00"
    answer = api.post("/v1/payments", basket)
    assert (answer.status_code, answer.json()["code"]) == (409, "checkout_conflict")
    assert answer.json()["field"] == "payment_orders[1].amount"


def test_the_buyers_country_is_kept_and_one_of_the_terms_and_the_name_on_the_statement_is_told(api: Any, basket: dict[str, Any]) -> None:
    opened = api.post("/v1/payments", basket).json()
    assert (opened["buyer"]["country"], opened["statement_name"]) == ("AT", "NORTHWIND")
    assert api.get(f"/v1/payments/{opened['id']}").json()["buyer"] == opened["buyer"]
    for other in ({"country": "JP"}, {}):
        basket["buyer"] = {"reference": "customer-1", **other}
        answer = api.post("/v1/payments", basket)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "checkout_conflict", "buyer.country")


def test_a_category_is_kept_and_is_one_of_the_terms(api: Any, basket: dict[str, Any]) -> None:
    basket["payment_orders"][1]["category"] = "bikes"
    opened = api.post("/v1/payments", basket).json()
    assert [order["category"] for order in opened["payment_orders"]] == [None, "bikes"]
    basket["payment_orders"][1]["category"] = "Bikes"
    answer = api.post("/v1/payments", basket)
    assert (answer.status_code, answer.json()["field"]) == (409, "payment_orders[1].category")


def test_that_the_buyer_is_signed_in_is_said_in_so_many_words_and_is_one_of_the_terms(api: Any, basket: dict[str, Any]) -> None:
    basket["buyer"]["signed_in"] = "yes"
    assert api.post("/v1/payments", basket).json()["field"] == "buyer.signed_in"
    basket["buyer"]["signed_in"] = True
    payment = api.post("/v1/payments", basket).json()
    assert PaymentEvent.objects.get(public_id=payment["id"]).buyer_signed_in
    del basket["buyer"]["signed_in"]
    assert api.post("/v1/payments", basket).json()["field"] == "buyer.signed_in"


def test_a_basket_of_a_thousand_orders_is_opened(api: Any, basket: dict[str, Any], ada: Seller) -> None:
    basket["payment_orders"] = [{"seller": ada.public_id, "amount": EUR_90}] * 1000
    answer = api.post("/v1/payments", basket)
    assert answer.status_code == 201
    assert answer.json()["amount"]["amount"] == "24900.00"
    assert len(answer.json()["payment_orders"]) == 1000


def test_a_payment_is_read_with_all_that_hangs_on_its_orders(api: Any, basket: dict[str, Any]) -> None:
    opened = api.post("/v1/payments", basket).json()
    read = api.get(f"/v1/payments/{opened['id']}").json()
    assert read == opened | {"payment_orders": [order | NOTHING_HAPPENED for order in opened["payment_orders"]]}


def test_payments_are_listed_newest_first_in_pages(api: Any, basket: dict[str, Any], ada: Seller) -> None:
    for number in range(5):
        order = {"seller": ada.public_id, "amount": EUR_90}
        assert api.post("/v1/payments", basket | {"checkout_id": f"c{number}", "payment_orders": [order]}).status_code == 201
    page = api.get("/v1/payments", limit=2).json()
    seen = [payment["checkout_id"] for payment in page["data"]]
    while page["has_more"]:
        page = api.get("/v1/payments", limit=2, cursor=page["next_cursor"]).json()
        seen += [payment["checkout_id"] for payment in page["data"]]
    assert (page["object"], page["next_cursor"]) == ("list", None)
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


def test_payments_are_filtered(api: Any, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket)
    created_at = api.get("/v1/payments").json()["data"][0]["created_at"]

    def count(**query: str) -> int:
        return len(api.get("/v1/payments", **query).json()["data"])

    assert count(checkout_id="basket-1") == 1
    assert count(checkout_id="basket-2") == 0
    assert count(status="open", is_payment_done="false") == 1
    assert count(status="paid") == 0
    assert count(is_payment_done="true") == 0
    assert count(created_since=created_at) == 1
    assert count(created_until=created_at) == 0


def test_a_page_costs_the_same_number_of_queries_however_long_it_is(api: Any, basket: dict[str, Any], ada: Seller, bolt: Seller) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get("/v1/payments", limit=100).status_code == 200
        return len(captured)

    api.post("/v1/payments", basket)
    for_one = queries()
    for number in range(4):
        orders = [{"seller": seller.public_id, "amount": EUR_90} for seller in (ada, bolt, ada)]
        api.post("/v1/payments", basket | {"checkout_id": f"c{number}", "payment_orders": orders})
    assert queries() == for_one


def test_an_order_is_read_and_executed(api: Any, basket: dict[str, Any]) -> None:
    order = api.post("/v1/payments", basket).json()["payment_orders"][0]
    assert api.get(f"/v1/orders/{order['id']}").json() == order | NOTHING_HAPPENED
    answer = api.post(f"/v1/orders/{order['id']}", {"payment_token": "tok_1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "EXECUTING")
    assert DueOrder.objects.get().payment_token == "tok_1"


def test_a_cancelled_order_is_not_executed_and_the_refusal_says_so(api: Any, basket: dict[str, Any]) -> None:
    order = api.post("/v1/payments", basket).json()["payment_orders"][0]
    api.post(f"/v1/orders/{order['id']}/cancel", {})
    answer = api.post(f"/v1/orders/{order['id']}", {"payment_token": "tok_1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "order_cancelled")
    assert not DueOrder.objects.exists()


def test_executing_an_order_that_executes_changes_nothing(api: Any, basket: dict[str, Any]) -> None:
    order = api.post("/v1/payments", basket).json()["payment_orders"][0]
    for token in ("tok_1", "tok_2"):
        assert api.post(f"/v1/orders/{order['id']}", {"payment_token": token}).status_code == 202
    assert DueOrder.objects.get().payment_token == "tok_1"
