"""The Idempotency-Key: same key and body, one effect and the same answer; anything else is told apart."""

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from config.api import schema
from config.api.idempotency import fingerprint_of
from ledger.money import exact
from payments import intake
from payments.models import PaymentEvent
from tests.contract.api.conftest import Caller, caller_of, stored
from tests.factories import make_available, new_bank_account
from wallet import idempotency
from wallet.models import IdempotencyRecord, Seller, Shop

MONEY_POSTS = [
    "/v1/payments",
    "/v1/payments/event",
    "/v1/payments/{payment}/cancel",
    "/v1/orders/{order}",
    "/v1/orders/{order}/refunds",
    "/v1/orders/{order}/cancel",
    "/v1/orders/{order}/stop_retries",
    "/v1/orders/{order}/deliver",
    "/v1/payouts",
    "/v1/payouts/{payout}/cancel",
    "/v1/wallet",
    "/v1/wallet/{seller}/conversions",
    "/v1/ledger",
    "/v1/gift_cards",
    "/v1/buyers/{buyer}/wallet/top_ups",
]


NO_MONEY = ("/v1/gift_cards/", "/v1/sellers", "/v1/webhook_endpoints", "/v1/events", "/v1/settlement_files")


def test_every_post_that_moves_money_is_listed() -> None:
    posts = {path: methods["post"].get("parameters", []) for path, methods in schema.document()["paths"].items() if "post" in methods}
    needs_key = {path for path, given in posts.items() if any(p["name"] == "Idempotency-Key" and p.get("required") for p in given)}
    assert needs_key == set(MONEY_POSTS) == {path for path in posts if not path.startswith(NO_MONEY)}


@pytest.mark.parametrize("path", MONEY_POSTS)
@pytest.mark.parametrize("key", [None, " ", "x" * 256, "caf\xe9", "a\tb"])
def test_a_money_post_without_a_fit_key_is_refused(api: Caller, basket: dict[str, Any], ada: Seller, path: str, key: str | None) -> None:
    payment = api.post("/v1/payments", basket).json()
    new_bank_account(ada)
    make_available(ada, exact("5.00", "EUR"))
    payout = api.post("/v1/payouts", {"seller": ada.public_id, "currency": "EUR"}).json()
    before = stored()
    ids = {"payment": payment["id"], "order": payment["payment_orders"][0]["id"], "payout": payout["id"], "seller": ada.public_id}
    ids |= {"buyer": "customer-7"}
    answer = api.post(path.format(**ids), {}, key=key)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "invalid_idempotency_key", "Idempotency-Key")
    assert "Idempotency-Key" in answer.json()["detail"]
    assert stored() == before


def test_the_same_request_again_gets_the_same_answer_byte_for_byte(api: Caller, basket: dict[str, Any]) -> None:
    first, again = (api.post("/v1/payments", basket, key="k") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert again["Content-Type"] == first["Content-Type"] == "application/json"
    assert PaymentEvent.objects.count() == 1


def test_a_body_written_differently_is_the_same_body(api: Caller) -> None:
    first = api.post("/v1/sellers", b'{"name": "Ada", "reference": "a"}', key="k")
    again = api.post("/v1/sellers", b'{ "reference":"\\u0061",\n"name":"Ada" }', key="k")
    assert again["Idempotent-Replayed"] == "true"
    assert again.content == first.content


def test_another_body_under_the_same_key_is_refused(api: Caller, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket, key="k")
    before = stored()
    answer = api.post("/v1/payments", basket | {"checkout_id": "basket-2"}, key="k")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert stored() == before


def test_a_number_and_a_string_are_not_the_same_body() -> None:
    def fingerprint(data: Any) -> str:
        request: Any = SimpleNamespace(method="POST", path="/v1/x", data=data)
        return fingerprint_of(request)

    prints = {fingerprint(data) for data in ({"a": 1}, {"a": "1"}, {"a": True}, {"a": None}, {}, {"b": 1}, [{"a": 1}])}
    assert len(prints) == 7


def test_keys_of_other_shops_and_other_routes_are_independent(api: Caller, ada: Seller, basket: dict[str, Any]) -> None:
    other_shop = Shop.objects.create(name="Southwind")
    assert api.post("/v1/sellers", {"name": "X"}, key="k").status_code == 201
    assert api.post("/v1/wallet", {"seller": ada.public_id, "currency": "EUR"}, key="k").status_code == 201
    assert api.post("/v1/payments", basket, key="k").status_code == 201
    assert "Idempotent-Replayed" not in caller_of(other_shop).post("/v1/sellers", {"name": "X"}, key="k")
    assert Seller.objects.filter(name="X").count() == 2


def test_a_seller_may_be_added_without_a_key(api: Caller) -> None:
    assert api.post("/v1/sellers", {"name": "Ada"}, key=None).status_code == 201


def test_a_request_in_flight_is_told_to_come_again(api: Caller, shop: Shop, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket, key="k")
    IdempotencyRecord.objects.update(status=None, body=None, claimed_until=timezone.now() + timedelta(seconds=30))
    answer = api.post("/v1/payments", basket, key="k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_flight")
    assert int(answer["Retry-After"]) >= 1


def test_a_request_whose_worker_died_is_taken_over_after_its_lease(api: Caller, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket, key="k")
    IdempotencyRecord.objects.update(status=None, body=None, claimed_until=timezone.now() - timedelta(seconds=1))
    assert api.post("/v1/payments", basket | {"checkout_id": "other"}, key="k").status_code == 422
    answer = api.post("/v1/payments", basket, key="k")
    assert answer.status_code == 200  # the checkout stands: the work had been done
    assert "Idempotent-Replayed" not in answer
    assert PaymentEvent.objects.count() == 1
    assert IdempotencyRecord.objects.get().status == 200


def test_whoever_lost_the_lease_keeps_no_answer(shop: Shop) -> None:
    asked = idempotency.Request(shop, "POST /v1/x", "k", "f" * 64)
    now = timezone.now()
    slow = idempotency.claim(asked, now=now)
    taken_over = idempotency.claim(asked, now=now + timedelta(seconds=61))
    assert isinstance(slow, idempotency.Claim)
    assert isinstance(taken_over, idempotency.Claim)
    idempotency.finish(slow, idempotency.Answer(201, "slow"))
    idempotency.release(slow)
    assert IdempotencyRecord.objects.get().status is None
    idempotency.finish(taken_over, idempotency.Answer(201, "second"))
    assert idempotency.claim(asked, now=now) == idempotency.Answer(201, "second")


@pytest.mark.parametrize("failure", [OperationalError("gone"), ValueError("a mistake of ours"), SystemExit()])
def test_an_accident_leaves_the_key_free(
    api: Caller, basket: dict[str, Any], monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(intake, "open_event", fail)
        if isinstance(failure, SystemExit):
            with pytest.raises(SystemExit):
                api.post("/v1/payments", basket, key="k")
        else:
            answer = api.post("/v1/payments", basket, key="k")
            assert answer.status_code in (500, 503)
            assert answer["Content-Type"] == "application/problem+json"
            assert "mistake of ours" not in answer.content.decode()
            assert "Traceback" not in answer.content.decode()
    assert not IdempotencyRecord.objects.exists()
    assert api.post("/v1/payments", basket, key="k").status_code == 201


def test_answers_are_replayed_for_thirty_days_and_money_is_moved_once_for_ever(api: Caller, basket: dict[str, Any]) -> None:
    api.post("/v1/payments", basket, key="k")
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(days=29))
    assert idempotency.purge(now=timezone.now()) == 0
    assert api.post("/v1/payments", basket, key="k")["Idempotent-Replayed"] == "true"
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(days=31))
    answer = api.post("/v1/payments", basket, key="k")
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer
    assert PaymentEvent.objects.count() == 1
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert idempotency.purge(now=timezone.now()) == 1


# --- Several at once, with real commits -----------------------------------------------------------------------------


def at_once(count: int, ask: Any) -> list[Any]:
    """Run `ask(n)` in as many threads, all let go at the same moment; return what they got."""
    barrier, got = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        try:
            barrier.wait()
            got[number] = ask(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.fixture
def committed_basket(real_db: None) -> tuple[Shop, dict[str, Any]]:
    shop = Shop.objects.create(name="Northwind")
    seller = Seller.objects.create(shop=shop, name="Ada")
    order = {"seller": seller.public_id, "amount": {"amount": "10.00", "currency": "EUR"}}
    return shop, {"checkout_id": "c", "buyer": {"reference": "b"}, "payment_orders": [order]}


@pytest.mark.race
def test_of_thirty_identical_requests_one_takes_effect(committed_basket: tuple[Shop, dict[str, Any]]) -> None:
    shop, basket = committed_basket
    token = caller_of(shop).token
    answers = at_once(30, lambda _: Caller(shop, token).post("/v1/payments", basket, key="k"))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 409}
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in made) == 1
    assert PaymentEvent.objects.count() == 1


@pytest.mark.race
def test_of_thirty_bodies_under_one_key_one_takes_effect(committed_basket: tuple[Shop, dict[str, Any]]) -> None:
    shop, basket = committed_basket
    token = caller_of(shop).token
    answers = at_once(30, lambda number: Caller(shop, token).post("/v1/payments", basket | {"checkout_id": f"c{number}"}, key="k"))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [422] * 29
    assert PaymentEvent.objects.count() == 1


@pytest.mark.race
def test_of_thirty_keys_for_one_checkout_one_takes_effect(committed_basket: tuple[Shop, dict[str, Any]]) -> None:
    shop, basket = committed_basket
    token = caller_of(shop).token
    answers = at_once(30, lambda number: Caller(shop, token).post("/v1/payments", basket, key=f"k{number}"))
    assert sorted(answer.status_code for answer in answers) == [200] * 29 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert PaymentEvent.objects.count() == 1
