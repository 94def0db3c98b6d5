"""Webhook endpoints over REST: added, changed, tested, rotated; deliveries seen and sent again; secrets shown once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from tests.contract.api.conftest import Caller, stored
from tests.receivers import answer, receiver
from wallet import notifications
from wallet.models import IdempotencyRecord, OutboxMessage, Shop, WebhookDelivery, WebhookEndpoint, WebhookSecret
from wallet.notifications import Message, delivery, endpoints, relay, vocabulary

URL = "http://127.0.0.1:9/webhooks"
PATH = "/v1/webhook_endpoints"


def added(api: Caller, url: str = URL, **terms: Any) -> Any:
    response = api.post(PATH, {"url": url} | terms)
    assert response.status_code == 201, response.json()
    return response.json()


def published(shop: Shop, topic: str = "payment.paid") -> str:
    message = Message(shop.pk, topic, "pay_1", {"status": "paid"}, sequence=1)
    with transaction.atomic():
        notifications.publish([message])
    return message.public_id


def refusal(response: Any) -> tuple[int, str, str]:
    problem = response.json()
    return response.status_code, problem["code"], problem.get("field", "")


def test_an_endpoint_is_added_read_listed_and_changed(api: Caller) -> None:
    made = added(api, description="Order service", topics=["payment.paid", "payment_order.*"])
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (made["object"], made["url"], made["is_enabled"], made["disabled_reason"]) == ("webhook_endpoint", URL, True, None)
    assert api.get(f"{PATH}/{made['id']}").json() == made
    assert api.get(PATH).json()["data"] == [made]
    changed = api.post(f"{PATH}/{made['id']}", {"description": "", "topics": []}).json()
    assert changed == made | {"description": None, "topics": []}
    off = api.post(f"{PATH}/{made['id']}", {"is_enabled": False}).json()
    assert (off["is_enabled"], off["disabled_reason"], off["disabled_at"] is None) == (False, "switched_off", False)
    assert [event["type"] for event in api.get("/v1/events").json()["data"]] == ["webhook_endpoint.disabled"]
    assert api.post(f"{PATH}/{made['id']}", {"is_enabled": True}).json() == changed


def test_a_secret_is_in_the_answer_that_makes_it_and_nowhere_else(api: Caller) -> None:
    made = added(api)
    rotated = api.post(f"{PATH}/{made['id']}/rotate_secret", {}).json()
    assert rotated["secret"] != made["secret"]
    seen = [api.get(PATH), api.get(f"{PATH}/{made['id']}"), api.post(f"{PATH}/{made['id']}", {"description": "x"})]
    assert all("whsec_" not in response.content.decode() for response in seen)
    assert not IdempotencyRecord.objects.exists()  # answers under a key are kept, so these two take none
    assert set(WebhookSecret.objects.values_list("secret", flat=True)) == {made["secret"], rotated["secret"]}


@pytest.mark.parametrize(("hours", "valid"), [(0, 1), (1, 2), (None, 2)])
def test_the_old_secret_stays_valid_for_as_long_as_the_caller_says(api: Caller, hours: int | None, valid: int) -> None:
    made = added(api)
    api.post(f"{PATH}/{made['id']}/rotate_secret", {} if hours is None else {"old_secret_valid_for_h": hours})
    endpoint = WebhookEndpoint.objects.get()
    assert len(endpoints.secrets_of([endpoint.pk], now=timezone.now())[endpoint.pk]) == valid
    assert len(endpoints.secrets_of([endpoint.pk], now=timezone.now() + timedelta(hours=25))[endpoint.pk]) == 1


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "required", "url"),
        ({"url": 7}, "wrong_type", "url"),
        ({"url": "ftp://shop.example/"}, "webhook_url_refused", "url"),
        ({"url": "https://user:secret@shop.example/"}, "webhook_url_refused", "url"),
        ({"url": "https://intranet/"}, "webhook_url_refused", "url"),
        ({"url": "https://no-such-host.invalid/"}, "webhook_url_refused", "url"),
        ({"url": "https://shop.example/" + "x" * 2000}, "too_long", "url"),
        ({"url": URL, "topics": ["*"]}, "not_a_topic", "topics[0]"),
        ({"url": URL, "topics": ["payment.paid", "payment.*.x"]}, "not_a_topic", "topics[1]"),
        ({"url": URL, "topics": ["Payment"]}, "not_a_topic", "topics[0]"),
        ({"url": URL, "topics": ["refund.*", "nope"]}, "not_a_topic", "topics[1]"),
        ({"url": URL, "topics": ["pay.*"]}, "not_a_topic", "topics[0]"),
        ({"url": URL, "topics": ["payment.paid.*"]}, "not_a_topic", "topics[0]"),
        ({"url": URL, "topics": ["ping"]}, "not_a_topic", "topics[0]"),
        ({"url": URL, "topics": "payment.paid"}, "wrong_type", "topics"),
        ({"url": URL, "topics": ["a"] * 51}, "too_long", "topics"),
        ({"url": URL, "is_enabled": True}, "unknown_field", "is_enabled"),
    ],
)
def test_what_is_wrong_is_refused_and_named(api: Caller, body: dict[str, Any], code: str, field: str) -> None:
    assert refusal(api.post(PATH, body)) == (400, code, field)
    assert not WebhookEndpoint.objects.exists()


def test_a_refused_topic_is_told_which_there_are(api: Caller) -> None:
    detail = api.post(PATH, {"url": URL, "topics": ["nope"]}).json()["detail"]
    assert all(topic in detail for topic in vocabulary.TOPICS)
    for topic in vocabulary.TOPICS:
        kind, _dot, _what = topic.partition(".")
        endpoints.require_topics([topic, f"{kind}.*"])


def test_sec_18_in_production_an_inner_address_is_refused_when_it_is_added_and_when_it_is_changed(api: Caller, settings: Any) -> None:
    made = added(api)
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    for url in ("http://127.0.0.1:9100/", "https://127.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/"):
        assert refusal(api.post(PATH, {"url": url})) == (400, "webhook_url_refused", "url")
        assert refusal(api.post(f"{PATH}/{made['id']}", {"url": url})) == (400, "webhook_url_refused", "url")
    assert WebhookEndpoint.objects.get().url == URL


@pytest.mark.parametrize(
    ("below", "body", "field"),
    [
        ("", {"is_enabled": "yes"}, "is_enabled"),
        ("/rotate_secret", {"old_secret_valid_for_h": "24"}, "old_secret_valid_for_h"),
        ("/rotate_secret", {"old_secret_valid_for_h": 169}, "old_secret_valid_for_h"),
        ("/test", {"to": "me"}, "to"),
    ],
)
def test_what_is_wrong_below_an_endpoint_is_refused_and_named(api: Caller, below: str, body: dict[str, Any], field: str) -> None:
    made = added(api)
    answered = api.post(f"{PATH}/{made['id']}{below}", body)
    assert (answered.status_code, answered.json()["field"]) == (400, field)


def test_a_url_is_used_once_in_a_shop_and_a_shop_has_sixteen_endpoints(api: Caller, stranger: Caller) -> None:
    made = added(api)
    assert refusal(api.post(PATH, {"url": URL})) == (409, "webhook_endpoint_exists", "url")
    for number in range(2, 17):
        added(api, f"{URL}/{number}")
    assert refusal(api.post(PATH, {"url": f"{URL}/17"})) == (409, "too_many_webhook_endpoints", "")
    assert refusal(api.post(f"{PATH}/{made['id']}", {"url": f"{URL}/2"})) == (409, "webhook_endpoint_exists", "url")
    assert api.post(f"{PATH}/{made['id']}", {"url": URL}).status_code == 200
    added(stranger)  # another shop may have the same


def test_deliveries_are_listed_with_every_try_and_filtered(api: Caller, shop: Shop) -> None:
    made = added(api)
    event = published(shop)
    WebhookDelivery.objects.create(
        message=OutboxMessage.objects.get(), endpoint=WebhookEndpoint.objects.get(), next_attempt_at=timezone.now()
    ).attempts.create(number=1, at=timezone.now(), duration_ms=12, status=500)
    [found] = api.get(f"{PATH}/{made['id']}/deliveries").json()["data"]
    assert (found["event"], found["type"], found["endpoint"], found["status"]) == (event, "payment.paid", made["id"], "pending")
    [attempt] = found["attempts"]
    assert (attempt["number"], attempt["duration_ms"], attempt["status"], attempt["error"]) == (1, 12, 500, None)
    assert api.get(f"{PATH}/{made['id']}/deliveries", status="delivered").json()["data"] == []
    assert api.get(f"{PATH}/{made['id']}/deliveries", status="late").json()["code"] == "invalid_choice"


def test_an_event_is_read_by_its_id(api: Caller, stranger: Caller, shop: Shop) -> None:
    event = published(shop)
    assert api.get(f"/v1/events/{event}").json() == api.get("/v1/events").json()["data"][0]
    assert api.get(f"/v1/events/{event}").json()["sequence"] == 1
    assert stranger.get(f"/v1/events/{event}").status_code == 404


def test_an_event_is_sent_again_to_whom_the_caller_says(api: Caller, stranger: Caller, shop: Shop) -> None:
    event = published(shop)
    assert refusal(api.post(f"/v1/events/{event}/resend", {})) == (409, "event_sent_nowhere", "endpoint")
    made, others = added(api), added(stranger)
    assert refusal(api.post(f"/v1/events/{event}/resend", {"endpoint": others["id"]})) == (400, "unknown_webhook_endpoint", "endpoint")
    first = api.post(f"/v1/events/{event}/resend", {"endpoint": made["id"]}).json()
    assert [(each["endpoint"], each["status"]) for each in first["deliveries"]] == [(made["id"], "pending")]
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None, tries=17)
    again = api.post(f"/v1/events/{event}/resend", {}).json()
    assert [(each["endpoint"], each["status"], each["tries"]) for each in again["deliveries"]] == [(made["id"], "pending", 17)]
    before = stored()
    assert stranger.post(f"/v1/events/{event}/resend", {}).status_code == 404
    assert stored() == before


def test_a_disabled_endpoint_cannot_be_tested(api: Caller) -> None:
    made = added(api)
    api.post(f"{PATH}/{made['id']}", {"is_enabled": False})
    assert refusal(api.post(f"{PATH}/{made['id']}/test", {})) == (409, "webhook_endpoint_disabled", "")


def test_a_test_arrives(real_db: None) -> None:
    shop = Shop.objects.create(name="Northwind")
    with receiver(answer(200)) as there:
        endpoint, secret = endpoints.open_endpoint(shop, url=there.url())
        pinged = endpoints.ping(endpoint, now=timezone.now())
        relay.fan_out(now=timezone.now())
        delivery.send_due(clock=timezone.now)
        [received] = there.received
        assert received.event["id"] == pinged.message.public_id
        assert received.is_signed_with(secret)
