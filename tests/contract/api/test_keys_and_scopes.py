"""Who may ask: keys, scopes, shops, rates."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.settings import api_settings

from config.api import schema
from tests.contract.api.conftest import Caller, caller_of, stored
from wallet import api_keys
from wallet.models import ApiKey, Seller, Shop
from wallet.notifications import endpoints

# Every operation: method, path (with {ids} filled from a real basket), the scope it needs.
OPERATIONS = [
    ("get", "/v1/payments", "payments:read"),
    ("post", "/v1/payments", "payments:write"),
    ("get", "/v1/payments/event", "payments:read"),
    ("post", "/v1/payments/event", "payments:write"),
    ("get", "/v1/payments/{payment}", "payments:read"),
    ("get", "/v1/orders/{order}", "payments:read"),
    ("post", "/v1/orders/{order}", "payments:write"),
    ("get", "/v1/orders/{order}/refunds", "payments:read"),
    ("post", "/v1/orders/{order}/refunds", "payments:write"),
    ("post", "/v1/orders/{order}/cancel", "payments:write"),
    ("post", "/v1/orders/{order}/stop_retries", "payments:write"),
    ("post", "/v1/orders/{order}/deliver", "payments:write"),
    ("post", "/v1/payments/{payment}/cancel", "payments:write"),
    ("get", "/v1/refunds", "payments:read"),
    ("get", "/v1/refunds/{refund}", "payments:read"),
    ("get", "/v1/cancellations/{cancellation}", "payments:read"),
    ("get", "/v1/disputes", "payments:read"),
    ("get", "/v1/disputes/{dispute}", "payments:read"),
    ("get", "/v1/late_charges", "payments:read"),
    ("get", "/v1/late_charges/{late_charge}", "payments:read"),
    ("get", "/v1/sellers", "wallet:read"),
    ("post", "/v1/sellers", "wallet:write"),
    ("get", "/v1/sellers/{seller}", "wallet:read"),
    ("get", "/v1/sellers/{seller}/bank_accounts", "payouts:read"),
    ("get", "/v1/sellers/{seller}/bank_accounts/EUR", "payouts:read"),
    ("put", "/v1/sellers/{seller}/bank_accounts/EUR", "payouts:write"),
    ("get", "/v1/sellers/{seller}/statements", "wallet:read"),
    ("get", "/v1/sellers/{seller}/statements/{period}", "wallet:read"),
    ("get", "/v1/sellers/{seller}/invoices", "wallet:read"),
    ("get", "/v1/invoices", "wallet:read"),
    ("get", "/v1/invoices/{invoice}", "wallet:read"),
    ("get", "/v1/sellers/{seller}/payable", "payouts:read"),
    ("get", "/v1/payouts", "payouts:read"),
    ("post", "/v1/payouts", "payouts:write"),
    ("get", "/v1/payouts/{payout}", "payouts:read"),
    ("post", "/v1/payouts/{payout}/cancel", "payouts:write"),
    ("get", "/v1/payouts/{payout}/entries", "payouts:read"),
    ("get", "/v1/wallet", "wallet:read"),
    ("post", "/v1/wallet", "wallet:write"),
    ("get", "/v1/wallet/{seller}/entries", "wallet:read"),
    ("get", "/v1/wallet/{seller}/conversions", "wallet:read"),
    ("post", "/v1/wallet/{seller}/conversions", "wallet:write"),
    ("get", "/v1/wallet/{seller}/conversions/quote", "wallet:read"),
    ("get", "/v1/conversions/{conversion}", "wallet:read"),
    ("get", "/v1/rates", "wallet:read"),
    ("get", "/v1/gift_cards", "gift_cards:read"),
    ("post", "/v1/gift_cards", "gift_cards:write"),
    ("get", "/v1/gift_cards/{gift_card}", "gift_cards:read"),
    ("get", "/v1/gift_cards/{gift_card}/entries", "gift_cards:read"),
    ("post", "/v1/gift_cards/{gift_card}/code", "gift_cards:write"),
    ("post", "/v1/gift_cards/balance", "gift_cards:read"),
    ("get", "/v1/buyers/{buyer}/wallet", "buyers:read"),
    ("get", "/v1/buyers/{buyer}/wallet/entries", "buyers:read"),
    ("post", "/v1/buyers/{buyer}/wallet/top_ups", "buyers:write"),
    ("get", "/v1/events", "payments:read"),
    ("get", "/v1/events/{event}", "payments:read"),
    ("post", "/v1/events/{event}/resend", "webhooks:write"),
    ("get", "/v1/webhook_endpoints", "webhooks:read"),
    ("post", "/v1/webhook_endpoints", "webhooks:write"),
    ("get", "/v1/webhook_endpoints/{endpoint}", "webhooks:read"),
    ("post", "/v1/webhook_endpoints/{endpoint}", "webhooks:write"),
    ("post", "/v1/webhook_endpoints/{endpoint}/rotate_secret", "webhooks:write"),
    ("get", "/v1/webhook_endpoints/{endpoint}/deliveries", "webhooks:read"),
    ("post", "/v1/webhook_endpoints/{endpoint}/test", "webhooks:write"),
    ("get", "/v1/ledger", "ledger:read"),
    ("post", "/v1/ledger", "ledger:write"),
    ("get", "/v1/ledger/accounts", "ledger:read"),
    ("get", "/v1/ledger/accounts/fee_revenue/balance", "ledger:read"),
    ("get", "/v1/ledger/accounts/fee_revenue/statement", "ledger:read"),
    ("get", "/v1/ledger/entries", "ledger:read"),
    ("get", "/v1/ledger/entries/{entry}", "ledger:read"),
    ("get", "/v1/settlement_files", "files:read"),
    ("post", "/v1/settlement_files", "files:write"),
    ("get", "/v1/settlement_files/{settlement_file}", "files:read"),
]

NOBODYS = {name: f"{prefix}_{'0' * 32}" for name, prefix in
           [("refund", "re"), ("cancellation", "can"), ("dispute", "dsp"), ("late_charge", "late"), ("payout", "po"), ("conversion", "cnv"), ("invoice", "inv"), ("settlement_file", "sf"), ("gift_card", "gc")]} | {"period": "2026-10", "buyer": "customer-7"}  # fmt: skip


@pytest.fixture
def ids(api: Caller, basket: dict[str, Any], ada: Seller) -> dict[str, str]:
    payment = api.post("/v1/payments", basket).json()
    endpoint, _secret = endpoints.open_endpoint(api.shop, url="http://127.0.0.1:9/webhooks")
    return {
        "payment": payment["id"],
        "order": payment["payment_orders"][0]["id"],
        **NOBODYS,
        "seller": ada.public_id,
        "entry": "je_1",
        "endpoint": endpoint.public_id,
        "event": endpoints.ping(endpoint, now=timezone.now()).message.public_id,
    }


def asked(caller: Caller, method: str, path: str) -> Any:
    """Send the request, with an empty body where there must be one."""
    if method == "get":
        return caller.get(path)
    return caller.put(path, {}) if method == "put" else caller.post(path, {})


def test_the_matrix_names_every_operation() -> None:
    from_the_code = {
        (method, path, operation["x-scope"])
        for path, methods in schema.document()["paths"].items()
        for method, operation in methods.items()
    }
    assert {
        (method, path.replace("fee_revenue", "{account}").replace("EUR", "{currency}"), scope) for method, path, scope in OPERATIONS
    } == from_the_code


@pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
def test_without_the_scope_an_operation_is_forbidden_and_names_it(
    api: Caller, ids: dict[str, str], shop: Shop, method: str, path: str, scope: str
) -> None:
    others = [name for name in ApiKey.Scope.values if name != scope]
    limited, before = caller_of(shop, *others), stored()
    answer = asked(limited, method, path.format(**ids))
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert scope in answer.json()["detail"]
    assert stored() == before


@pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
def test_with_only_its_scope_an_operation_is_allowed(ids: dict[str, str], shop: Shop, method: str, path: str, scope: str) -> None:
    just = caller_of(shop, scope)
    answer = asked(just, method, path.format(**ids))
    assert answer.status_code in (200, 201, 202, 400, 404, 409)


@pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer ob_test_wrong", "Basic YTpi", "Bearer \xff\xfe", "ob_test_x"])
def test_without_a_key_nobody_is_let_in(db: None, method: str, path: str, scope: str, header: str) -> None:
    names = {"payment": "pay", "order": "ord", "seller": "sel", "endpoint": "we", "event": "evt"}
    ids = {name: f"{prefix}_{'0' * 32}" for name, prefix in names.items()} | NOBODYS | {"entry": "je_1"}
    headers = {"Authorization": header} if header else {}
    answer = getattr(Client(), method)(path.format(**ids), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] in ("api_key_missing", "api_key_invalid")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_an_address_that_is_none_is_not_told_to_strangers(db: None) -> None:
    assert Client().get("/v1/nothing").status_code == 401


def test_a_revoked_key_is_let_in_no_more(api: Caller) -> None:
    key = api_keys.find(api.token)
    assert key is not None
    api_keys.revoke(key, now=timezone.now())
    answer = api.get("/v1/payments")
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_revoked")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/payments/{payment}",
        "/v1/orders/{order}",
        "/v1/sellers/{seller}",
        "/v1/sellers/{seller}/bank_accounts",
        "/v1/sellers/{seller}/bank_accounts/EUR",
        "/v1/sellers/{seller}/payable",
        "/v1/wallet/{seller}/entries",
        "/v1/wallet/{seller}/conversions",
        "/v1/wallet?seller={seller}",
        "/v1/events/{event}",
        "/v1/webhook_endpoints/{endpoint}",
        "/v1/webhook_endpoints/{endpoint}/deliveries",
    ],
)
def test_another_shops_things_are_not_found(stranger: Caller, ids: dict[str, str], path: str) -> None:
    answer = stranger.get(path.format(**ids))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_another_shops_order_cannot_be_executed(stranger: Caller, ids: dict[str, str]) -> None:
    before = stored()
    answer = stranger.post(f"/v1/orders/{ids['order']}", b"not even JSON", key=None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert stored() == before


def test_another_shops_seller_can_neither_be_paid_nor_get_a_wallet(stranger: Caller, basket: dict[str, Any], ada: Seller) -> None:
    before = stored()
    del basket["return_url"]
    assert stranger.post("/v1/payments", basket).json()["code"] == "unknown_seller"
    assert stranger.post("/v1/wallet", {"seller": ada.public_id, "currency": "EUR"}).json()["code"] == "unknown_seller"
    assert stored() == before


def test_lists_hold_the_callers_own_things_only(stranger: Caller, ids: dict[str, str]) -> None:
    for path in ("/v1/payments", "/v1/sellers", "/v1/wallet", "/v1/events", "/v1/webhook_endpoints"):
        assert stranger.get(path).json()["data"] == []


def test_a_key_is_256_random_bits_and_kept_as_its_hash_alone(shop: Shop) -> None:
    key, token = api_keys.issue(shop, name="k", scopes=["payments:read"], mode="test")
    assert token.startswith("ob_test_")
    assert len(token) == len("ob_test_") + 43
    assert token.startswith(key.prefix)
    assert token not in str(ApiKey.objects.filter(pk=key.pk).values())
    assert api_keys.find(token) == key


def test_a_key_of_no_or_unknown_scopes_is_not_made(shop: Shop) -> None:
    for scopes in ([], ["payments:read", "everything"]):
        with pytest.raises(api_keys.UnknownScope):
            api_keys.issue(shop, name="k", scopes=scopes, mode="test")


def test_the_last_use_is_noted_once_a_minute(api: Caller) -> None:
    def last_use() -> Any:
        api.get("/v1/payments")
        return ApiKey.objects.get().last_used_at

    first = last_use()
    assert last_use() == first
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    assert last_use() >= first


def test_a_key_that_asks_too_often_is_told_to_wait(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", {"key": "2/hour"})
    answers = [api.get("/v1/payments") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].json()["code"] == "throttled"
    assert 1 <= int(answers[2]["Retry-After"]) <= 3600
    assert int(answers[0]["RateLimit-Limit"]) == 2
