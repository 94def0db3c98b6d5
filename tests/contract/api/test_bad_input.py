"""Every wrong request is refused with a status, a code and the field, stores nothing, and leaves its Idempotency-Key free."""

import copy
import json
from typing import Any

import pytest

from tests.contract.api.conftest import stored

DELETE = object()
THIRTY_PAIRS = {f"k{number}": "v" for number in range(51)}

# where, what, code, field (None: where it was put)
WRONG_FIELDS: list[tuple[str, Any, str, str | None]] = [
    ("checkout_id", DELETE, "required", None),
    ("checkout_id", "", "blank", None),
    ("checkout_id", None, "null", None),
    ("checkout_id", 7, "wrong_type", None),
    ("checkout_id", ["a"], "wrong_type", None),
    ("checkout_id", "x" * 121, "too_long", None),
    ("checkout_id", "a\x00b", "forbidden_character", None),
    ("checkout_id", "a\x1bb", "forbidden_character", None),
    ("checkout_id", "a\x85b", "forbidden_character", None),
    ("checkout_id", "a\u202eb", "forbidden_character", None),
    ("checkout_id", "a\u2066b", "forbidden_character", None),
    ("checkout_id", "a\ud800b", "forbidden_character", None),
    ("buyer", DELETE, "required", None),
    ("buyer", "grace", "wrong_type", None),
    ("buyer.reference", DELETE, "required", None),
    ("buyer.name", "\u202egrace", "forbidden_character", None),
    ("buyer.email", "grace", "not_an_email", None),
    ("buyer.phone", "1", "unknown_field", None),
    ("buyer.country", "QQ", "unknown_country", None),
    ("buyer.country", "at", "unknown_country", None),
    ("buyer.country", "AUT", "unknown_country", None),
    ("buyer.country", "Österreich", "unknown_country", None),
    ("buyer.country", "", "blank", None),
    ("buyer.country", 40, "wrong_type", None),
    ("is_payment_done", True, "unknown_field", None),
    ("status", "paid", "unknown_field", None),
    ("payment_orders", DELETE, "required", None),
    ("payment_orders", {}, "wrong_type", None),
    ("payment_orders", [], "empty", None),
    ("payment_orders[0]", "x", "wrong_type", None),
    ("payment_orders[0].seller", DELETE, "required", None),
    ("payment_orders[0].seller", "sel_nobody", "unknown_seller", None),
    ("payment_orders[0].fee", {"amount": "0.00", "currency": "EUR"}, "unknown_field", None),
    ("payment_orders[0].seller_id", 1, "unknown_field", None),
    ("payment_orders[0].amount", DELETE, "required", None),
    ("payment_orders[0].amount", "24.90", "wrong_type", None),
    ("payment_orders[0].amount", 24.90, "wrong_type", None),
    ("payment_orders[0].amount.scale", 2, "unknown_field", None),
    ("payment_orders[0].amount.amount", DELETE, "required", None),
    ("payment_orders[0].amount.amount", 24.90, "must_be_a_string", None),
    ("payment_orders[0].amount.amount", 24, "must_be_a_string", None),
    ("payment_orders[0].amount.amount", None, "must_be_a_string", None),
    ("payment_orders[0].amount.amount", "0", "amount_not_positive", None),
    ("payment_orders[0].amount.amount", "0.00", "amount_not_positive", None),
    ("payment_orders[0].amount.amount", "-1.00", "amount_not_positive", None),
    ("payment_orders[0].amount.amount", "24.901", "finer_than_minor_unit", None),
    ("payment_orders[0].amount.amount", "1000000000000", "amount_too_large", None),
    ("payment_orders[0].amount.amount", str(2**63), "amount_too_large", None),
    ("payment_orders[0].amount.amount", "9" * 40, "not_an_amount", None),
    ("payment_orders[0].amount.amount", "NaN", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "Infinity", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "1e5", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "1,00", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "1_000", "not_an_amount", None),
    ("payment_orders[0].amount.amount", " 1.00", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "+1.00", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "1.", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "\uff11\uff12", "not_an_amount", None),
    ("payment_orders[0].amount.amount", "\u0661\u0662", "not_an_amount", None),
    ("payment_orders[0].amount.currency", DELETE, "required", None),
    ("payment_orders[0].amount.currency", "XXX", "unknown_currency", None),
    ("payment_orders[0].amount.currency", "eur", "unknown_currency", None),
    ("payment_orders[0].amount.currency", 978, "must_be_a_string", None),
    ("payment_orders[1].amount.currency", "USD", "mixed_currencies", None),
    ("payment_orders[1].reference", "order-1a", "order_reference_used", "payment_orders[0].reference"),
    ("payment_orders[0].description", "x" * 201, "too_long", None),
    ("payment_orders[0].category", "", "blank", None),
    ("payment_orders[0].category", "x" * 61, "too_long", None),
    ("payment_orders[0].items", {}, "wrong_type", None),
    ("payment_orders[0].items[0].name", "", "blank", None),
    ("payment_orders[0].items[0].quantity", 0, "too_small", None),
    ("payment_orders[0].items[0].quantity", 1.5, "wrong_type", None),
    ("payment_orders[0].items[0].quantity", "1", "wrong_type", None),
    ("payment_orders[0].items[0].quantity", True, "wrong_type", None),
    ("payment_orders[0].items[0].quantity", 10**400, "too_large", None),
    ("payment_orders[0].items[0].amount.currency", "USD", "mixed_currencies", None),
    ("payment_orders[0].items[0].price", "1", "unknown_field", None),
    ("return_url", "https://evil.example/thanks", "return_url_not_allowed", None),
    ("return_url", "https://shop.example.evil.example/", "return_url_not_allowed", None),
    ("return_url", "https://shop.example@evil.example/", "return_url_not_allowed", None),
    ("return_url", "https://shop.example\\@evil.example/", "return_url_not_allowed", None),
    ("return_url", "https:/shop.example/", "return_url_not_allowed", None),
    ("return_url", "//shop.example/", "return_url_not_allowed", None),
    ("return_url", "http://shop.example/", "return_url_not_allowed", None),
    ("return_url", "javascript:alert(1)", "return_url_not_allowed", None),
    ("return_url", "https://[", "return_url_not_allowed", None),
    ("locale", "german", "not_a_locale", None),
    ("locale", "de_DE", "not_a_locale", None),
    ("locale", "../de", "not_a_locale", None),
    ("metadata", [], "wrong_type", None),
    ("metadata", THIRTY_PAIRS, "too_many", None),
    ("metadata.a", 7, "wrong_type", None),
    ("metadata.a", {"b": "c"}, "wrong_type", None),
    ("metadata.a", "x" * 501, "too_long", None),
    ("metadata." + "k" * 41, "v", "metadata_name", "metadata"),
    ("metadata.a", "\u202e", "forbidden_character", None),
]


def put(body: Any, where: str, what: Any) -> Any:
    """Return a copy of the body with something else at that path."""
    changed = copy.deepcopy(body)
    *way, last = where.replace("[", ".[").split(".")
    place = changed
    for step in way:
        place = place[int(step[1:-1])] if step.startswith("[") else place[step]
    name: Any = int(last[1:-1]) if last.startswith("[") else last
    if what is DELETE:
        del place[name]
    else:
        place[name] = what
    return changed


@pytest.mark.parametrize(("where", "what", "code", "field"), WRONG_FIELDS)
def test_a_wrong_field_is_refused_by_name(api: Any, basket: Any, where: str, what: Any, code: str, field: str | None) -> None:
    before = stored()
    answer = api.post("/v1/payments", put(basket, where, what), key="mended-later")
    problem = answer.json()
    expected_status = 409 if code == "order_reference_used" else 400
    assert (answer.status_code, problem["code"], problem["field"]) == (expected_status, code, field or where)
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer["Request-Id"]
    assert problem["type"].endswith(f"/docs#error-{code}")
    assert stored() == before
    assert api.post("/v1/payments", basket, key="mended-later").status_code == 201


@pytest.mark.parametrize(
    ("where", "what", "said"),
    [
        ("buyer", "grace", "This must be a JSON object, in braces."),
        ("payment_orders[0]", ["x"], "This must be a JSON object, in braces."),
        ("payment_orders", {}, "This must be a list."),
        ("metadata", [], "This must be a JSON object, in braces."),
        ("payment_orders[0].amount.amount", "9" * 40, "An amount has 32 characters at most, and this has 40."),
        ("payment_orders[0].amount.amount", "1" + "0" * 12, "the largest amount, which is 999999999999 EUR."),
    ],
)
def test_a_refusal_is_in_plain_words(api: Any, basket: Any, where: str, what: Any, said: str) -> None:
    assert api.post("/v1/payments", put(basket, where, what)).json()["detail"].endswith(said)


@pytest.mark.parametrize("body", [[], "text", 7])
def test_a_body_that_is_no_object_is_refused_in_plain_words(api: Any, body: Any) -> None:
    problem = api.post("/v1/payments", body).json()
    assert (problem["code"], problem["detail"]) == ("wrong_type", "This must be a JSON object, in braces.")


@pytest.mark.parametrize("path", ["/v1/payments", "/v1/sellers", "/v1/webhook_endpoints"])
def test_an_empty_body_is_refused_wherever_one_is_asked_for(api: Any, path: str) -> None:
    answer = api.post(path, b"")
    assert (answer.status_code, answer.json()["code"]) == (400, "required")


def test_a_thousand_and_one_orders_are_refused(api: Any, basket: Any) -> None:
    basket["payment_orders"] = basket["payment_orders"][1:] * 1001
    answer = api.post("/v1/payments", basket)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "too_long", "payment_orders")


def test_a_sum_that_is_too_large_is_refused(api: Any, basket: Any) -> None:
    del basket["payment_orders"][0]["items"]
    for order in basket["payment_orders"]:
        order["amount"]["amount"] = "999999999999.99"
    answer = api.post("/v1/payments", basket)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "amount_too_large", "payment_orders")


def test_an_order_reference_of_another_checkout_is_refused(api: Any, basket: Any) -> None:
    api.post("/v1/payments", basket)
    answer = api.post("/v1/payments", basket | {"checkout_id": "basket-2"})
    assert (answer.status_code, answer.json()["code"]) == (409, "order_reference_used")
    assert answer.json()["field"] == "payment_orders[0].reference"


def test_all_that_is_wrong_is_said_at_once(api: Any, basket: Any) -> None:
    wrong = put(put(put(basket, "checkout_id", ""), "payment_orders[1].amount.amount", 5), "surprise", 1)
    problem = api.post("/v1/payments", wrong).json()
    found = {error["field"]: error["code"] for error in problem["errors"]}
    assert found == {"checkout_id": "blank", "payment_orders[1].amount.amount": "must_be_a_string", "surprise": "unknown_field"}


WRONG_BODIES = [
    (b"", 400, "required"),
    (b"{", 400, "not_json"),
    (b"checkout_id=1", 400, "not_json"),
    (b"\xff\xfe", 400, "not_json"),
    (b"\xef\xbb\xbf{}", 400, "not_json"),
    (b'{"a": NaN}', 400, "not_json"),
    (b'{"a": Infinity}', 400, "not_json"),
    (b'{"a": 1' + b"0" * 5000 + b"}", 400, "not_json"),
    (b"[]", 400, "wrong_type"),
    (b'"x"', 400, "wrong_type"),
    (b"null", 400, "null"),
    (b"7", 400, "wrong_type"),
    (b'{"checkout_id": "a", "checkout_id": "b"}', 400, "duplicate_key"),
    (b'{"buyer": {"name": "a", "name": "a"}}', 400, "duplicate_key"),
    (b'{"\\u202e": 1}', 400, "forbidden_character"),
    (b'{"\\ud800": 1, "\\ud800": 1}', 400, "duplicate_key"),
    (b"[" * 40 + b"]" * 40, 400, "too_deep"),
    (b"[" * 200_000, 400, "too_deep"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "too_deep"),
    (b'{"a": "' + b"x" * (5 * 1024 * 1024) + b'"}', 413, "body_too_large"),
    (b" " * (1024 * 1024 + 1), 413, "body_too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), WRONG_BODIES, ids=range(len(WRONG_BODIES)))
def test_a_wrong_body_is_refused(api: Any, ada: Any, body: bytes, status: int, code: str) -> None:
    before = stored()
    answer = api.post("/v1/payments", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert stored() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/xml",
        "x",
    ],
)
def test_a_body_of_another_type_is_refused(api: Any, basket: Any, content_type: str) -> None:
    answer = api.post("/v1/payments", json.dumps(basket).encode(), content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_charset_of_utf8_is_no_other_type(api: Any, basket: Any) -> None:
    assert api.post("/v1/payments", basket, content_type="application/json; charset=UTF-8").status_code == 201


WRONG_QUERIES = [
    ("/v1/payments", {"colour": "red"}, "unknown_field", "colour"),
    ("/v1/payments", {"status": "PAID"}, "invalid_choice", "status"),
    ("/v1/payments", {"is_payment_done": "1"}, "wrong_type", "is_payment_done"),
    ("/v1/payments", {"limit": "0"}, "too_small", "limit"),
    ("/v1/payments", {"limit": "101"}, "too_large", "limit"),
    ("/v1/payments", {"limit": "-1"}, "wrong_type", "limit"),
    ("/v1/payments", {"limit": "\u0661"}, "wrong_type", "limit"),
    ("/v1/payments", {"limit": "1" * 5000}, "wrong_type", "limit"),
    ("/v1/payments", {"cursor": "nonsense"}, "invalid_cursor", "cursor"),
    ("/v1/payments", {"cursor": "YWZ0ZXI6LTE"}, "invalid_cursor", "cursor"),
    ("/v1/payments", {"checkout_id": "a\x00b"}, "forbidden_character", "checkout_id"),
    ("/v1/payments", {"checkout_id": "a\u202eb"}, "forbidden_character", "checkout_id"),
    ("/v1/payments", {"created_since": "yesterday"}, "wrong_type", "created_since"),
    ("/v1/payments", {"created_since": "2026-11-21"}, "wrong_type", "created_since"),
    ("/v1/payments", {"created_since": "2026-11-21T10:00:00"}, "wrong_type", "created_since"),
    ("/v1/payments", {"created_since": "2026-02-30T10:00:00Z"}, "wrong_type", "created_since"),
    ("/v1/payments", {"created_since": "0001-01-01T00:00:00+14:00"}, "out_of_range", "created_since"),
    ("/v1/payments", {"checkout_id": ["a", "b"]}, "given_twice", "checkout_id"),
    ("/v1/sellers", {"name": "Ada"}, "unknown_field", "name"),
    ("/v1/wallet", {"currency": "XXX"}, "unknown_currency", "currency"),
    ("/v1/events", {"cursor": "x"}, "unknown_field", "cursor"),
    ("/v1/events", {"after": "evt_nothing"}, "unknown_event", "after"),
    ("/v1/ledger", {"as_of": "now"}, "wrong_type", "as_of"),
    ("/v1/ledger/accounts", {"kind": "cash"}, "invalid_choice", "kind"),
    ("/v1/ledger/entries", {"kind": "gift"}, "invalid_choice", "kind"),
]


@pytest.mark.parametrize(("path", "query", "code", "field"), WRONG_QUERIES)
def test_a_wrong_parameter_is_refused_by_name(api: Any, path: str, query: dict[str, Any], code: str, field: str) -> None:
    answer = api.get(path, **query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/v1/payments/",
        "/v1/payments/7",
        "/v1/payments/pay_%00",
        "/v1/payments/pay_" + "0" * 32,
        "/v1/orders/ord_" + "0" * 32,
        "/v1/sellers/sel_" + "0" * 32,
        "/v1/wallet/sel_" + "0" * 32 + "/entries",
        "/v1/ledger/entries/je_999999999999999999",
        "/v1/ledger/accounts/cash/balance",
    ],
)
def test_what_is_not_there_is_not_found(api: Any, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_a_method_that_an_address_does_not_know_is_refused(api: Any, method: str) -> None:
    answer = getattr(api.client, method)("/v1/payments", headers=api.headers())
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_another_representation_is_refused(api: Any) -> None:
    answer = api.client.get("/v1/payments", headers=api.headers() | {"Accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_problems_are_in_english_whatever_the_reader_prefers(api: Any, basket: Any) -> None:
    answer = api.post("/v1/payments", put(basket, "checkout_id", DELETE), **{"Accept-Language": "de"})
    assert answer.json()["detail"] == "This field is required."


def test_a_body_in_chunks_is_asked_for_its_length(api: Any) -> None:
    answer = api.client.generic("POST", "/v1/sellers", b"", headers=api.headers() | {"Transfer-Encoding": "chunked"})
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_head_answers_as_get_does_without_a_body(api: Any) -> None:
    answer = api.client.head("/v1/payments", headers=api.headers())
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.client.head("/v1/payments").status_code == 401
