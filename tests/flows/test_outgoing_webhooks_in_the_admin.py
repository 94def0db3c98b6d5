"""Webhook endpoints and their deliveries in the admin: how they stand, what was tried, and what staff may do by hand."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.utils import timezone

from tests.factories import new_shop
from tests.flows.test_admin import listed, page_of, staff, words
from wallet import notifications
from wallet.models import DeliveryAttempt, OutboxMessage, Shop, WebhookDelivery, WebhookEndpoint, WebhookSecret
from wallet.notifications import Message, endpoints

__all__ = ["staff"]
pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:9/webhooks"


@pytest.fixture
def shop() -> Shop:
    return new_shop()


def delivery_of(shop: Shop, endpoint: WebhookEndpoint, topic: str) -> WebhookDelivery:
    """Leave a failed delivery behind, with the two tries it had."""
    message = Message(shop.pk, topic, "pay_1", {})
    with transaction.atomic():
        notifications.publish([message])
    kept = OutboxMessage.objects.get(public_id=message.public_id)
    delivery = WebhookDelivery.objects.create(message=kept, endpoint=endpoint, status="failed", tries=2, last_status=503)
    for number, status in ((1, 500), (2, 503)):
        DeliveryAttempt.objects.create(delivery=delivery, number=number, at=timezone.now(), duration_ms=41, status=status)
    return delivery


def act(browser: Client, row: Any, action: str) -> Any:
    return browser.post(listed(type(row)), {"action": action, "_selected_action": [row.pk]}, follow=True)


def shown_secret(answer: Any) -> str:
    [secret] = re.findall(r'value="(whsec_[^"]+)"', answer.content.decode())
    return str(secret)


def test_a_new_endpoints_secret_is_shown_once(staff: Client, shop: Shop) -> None:
    terms = {"shop": shop.pk, "url": URL, "description": "Orders", "topics": "payment.paid\npayment_order.*"}
    made = staff.post("/admin/wallet/webhookendpoint/add/", terms)
    secret = shown_secret(made)
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.shop, endpoint.url, endpoint.topics) == (shop, URL, ["payment.paid", "payment_order.*"])
    assert WebhookSecret.objects.get().secret == secret
    assert "no-store" in made.headers["Cache-Control"]
    for path in (listed(WebhookEndpoint), page_of(endpoint), "/admin/"):
        assert "whsec_" not in staff.get(path).content.decode()
    assert secret not in str(made.cookies)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"url": "ftp://shop.example/"}, "A webhook goes to an https:// address."),
        ({"topics": "Payment"}, "is no topic"),
        ({"url": f"{URL}/taken"}, "has this URL already"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(staff: Client, shop: Shop, terms: dict[str, str], said: str) -> None:
    endpoints.open_endpoint(shop, url=f"{URL}/taken")
    answer = staff.post("/admin/wallet/webhookendpoint/add/", {"shop": shop.pk, "url": URL, "description": "", "topics": ""} | terms)
    assert said in words(answer.content)
    assert WebhookEndpoint.objects.count() == 1


def test_sec_18_in_production_staff_cannot_add_an_inner_address_either(staff: Client, shop: Shop, settings: Any) -> None:
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    answer = staff.post("/admin/wallet/webhookendpoint/add/", {"shop": shop.pk, "url": "https://169.254.169.254/", "topics": ""})
    assert "not public" in words(answer.content)
    assert not WebhookEndpoint.objects.exists()


def test_an_endpoint_is_disabled_enabled_pinged_and_gets_a_new_secret_from_the_list(staff: Client, shop: Shop) -> None:
    endpoint, old = endpoints.open_endpoint(shop, url=URL)
    act(staff, endpoint, "disable")
    assert "disabled" in words(staff.get(listed(WebhookEndpoint)).content)
    assert "Switched off by hand" in words(staff.get(page_of(endpoint)).content)
    assert "is disabled. Enable it first." in words(act(staff, endpoint, "ping").content)
    act(staff, endpoint, "enable")
    act(staff, endpoint, "ping")
    assert list(WebhookDelivery.objects.values_list("message__topic", "status")) == [("ping", "pending")]
    new = shown_secret(act(staff, endpoint, "rotate"))
    assert endpoints.secrets_of([endpoint.pk], now=timezone.now()) == {endpoint.pk: [new, old]}
    said = list(endpoint_log())
    assert said == ["Disabled", "Enabled", "Secret changed"]


def endpoint_log() -> list[str]:
    entries = User.objects.get(username="finance").logentry_set.order_by("pk")
    return [entry.get_change_message() for entry in entries]


def test_deliveries_are_found_by_status_endpoint_and_topic_and_show_every_try(staff: Client, shop: Shop) -> None:
    endpoint, _secret = endpoints.open_endpoint(shop, url=URL)
    other, _secret = endpoints.open_endpoint(shop, url=f"{URL}/other")
    paid, refunded = delivery_of(shop, endpoint, "payment.paid"), delivery_of(shop, other, "refund.failed")

    def found(query: str) -> set[str]:
        return set(re.findall(r">(whd_\d+)<", staff.get(f"{listed(WebhookDelivery)}?{query}").content.decode()))

    both = {paid.public_id, refunded.public_id}
    assert found("status=failed") == both
    assert found("status=delivered") == set()
    assert found(f"endpoint__id__exact={endpoint.pk}") == found("q=payment.paid") == found(f"q={endpoint.public_id}") == {paid.public_id}
    assert found(f"q={refunded.message.public_id}") == found(f"q={refunded.public_id}") == {refunded.public_id}
    page = words(staff.get(page_of(paid)).content)
    assert re.search(r"1 .{10,40} 41 500", page)
    assert re.search(r"2 .{10,40} 41 503", page)


def test_a_delivery_to_a_disabled_endpoint_says_what_it_waits_for(staff: Client, shop: Shop) -> None:
    endpoint, _secret = endpoints.open_endpoint(shop, url=URL)
    delivery = delivery_of(shop, endpoint, "payment.paid")
    WebhookDelivery.objects.filter(pk=delivery.pk).update(status="pending", next_attempt_at=timezone.now())
    assert "Waits: the endpoint is disabled" not in words(staff.get(page_of(delivery)).content)
    act(staff, endpoint, "disable")
    for path in (page_of(delivery), listed(WebhookDelivery)):
        seen = words(staff.get(path).content)
        assert "Waits: the endpoint is disabled" in seen
        assert "when the endpoint is enabled" in seen
    assert f'href="{listed(WebhookDelivery)}?q={endpoint.public_id}"' in staff.get(page_of(endpoint)).content.decode()


def test_a_failed_delivery_is_sent_again_from_the_list(staff: Client, shop: Shop) -> None:
    endpoint, _secret = endpoints.open_endpoint(shop, url=URL)
    delivery = delivery_of(shop, endpoint, "payment.paid")
    assert "1 delivery is due again." in words(act(staff, delivery, "send_again").content)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.next_attempt_at is None) == ("pending", False)


def test_who_may_only_look_can_do_nothing_by_hand(shop: Shop) -> None:
    endpoint, _secret = endpoints.open_endpoint(shop, url=URL)
    delivery = delivery_of(shop, endpoint, "payment.paid")
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__in=("view_webhookendpoint", "view_webhookdelivery")))
    cache.clear()
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(looker)
    for row, action in ((endpoint, "disable"), (endpoint, "rotate"), (endpoint, "ping"), (delivery, "send_again")):
        answer = act(browser, row, action)
        assert "whsec_" not in answer.content.decode()
    assert browser.post("/admin/wallet/webhookendpoint/add/", {"shop": shop.pk, "url": f"{URL}/2"}).status_code == 403
    endpoint.refresh_from_db()
    delivery.refresh_from_db()
    assert (endpoint.is_enabled, delivery.status, WebhookSecret.objects.count(), WebhookEndpoint.objects.count()) == (True, "failed", 1, 1)
