"""Endpoints of a shop: opened, changed, switched off and on; their secrets; and what is sent to them by hand.

Called by the REST API, the admin, and by `delivery`, which switches off what is gone or has failed for days.  Locks, where both are needed:
deliveries by id, then endpoints by id.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from ledger.errors import DomainError
from wallet import notifications
from wallet.models import OutboxMessage, Shop, WebhookDelivery, WebhookEndpoint, WebhookSecret
from wallet.notifications import PING, addresses, signatures, vocabulary

logger = logging.getLogger(__name__)

MOST_OF_A_SHOP = 16
MOST_TOPICS = 50
OLD_SECRET_VALID_FOR = timedelta(hours=24)
Reason = WebhookEndpoint.DisabledReason
PENDING = WebhookDelivery.Status.PENDING


class TooManyEndpoints(DomainError):
    code = "too_many_webhook_endpoints"


class EndpointExists(DomainError):
    code = "webhook_endpoint_exists"


class NotATopic(DomainError):
    code = "not_a_topic"


class EndpointDisabled(DomainError):
    code = "webhook_endpoint_disabled"


class SentNowhere(DomainError):
    code = "event_sent_nowhere"


def open_endpoint(shop: Shop, *, url: str, description: str = "", topics: Sequence[str] = ()) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint and return it with its secret, which is not shown again.

    The address is looked up before anything is stored.  Raises UrlRefused, NotATopic, EndpointExists, TooManyEndpoints.
    """
    require_topics(topics)
    addresses.checked(url)
    with transaction.atomic():
        Shop.objects.select_for_update(no_key=True).get(pk=shop.pk)
        require_room(shop, url)
        endpoint = WebhookEndpoint.objects.create(shop=shop, url=url, description=description, topics=list(topics))
        return endpoint, new_secret(endpoint)


def change(endpoint: WebhookEndpoint, terms: Mapping[str, Any], *, now: datetime) -> WebhookEndpoint:
    """Change url, description, topics or is_enabled to what the terms say; what they leave out stays.  Raises as `open_endpoint` does."""
    if "topics" in terms:
        require_topics(terms["topics"])
    if terms.get("url", endpoint.url) != endpoint.url:
        addresses.checked(terms["url"])
    with transaction.atomic():
        if terms.get("url", endpoint.url) != endpoint.url:
            Shop.objects.select_for_update(no_key=True).get(pk=endpoint.shop_id)
            require_new(endpoint.shop, terms["url"])
        plain = {name: terms[name] for name in ("url", "description", "topics") if name in terms}
        if plain:
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**plain)
        if terms.get("is_enabled") is True:
            enable(endpoint.pk, now=now)
        if terms.get("is_enabled") is False:
            disable(endpoint.pk, reason=Reason.SWITCHED_OFF, now=now)
    endpoint.refresh_from_db()
    return endpoint


def require_room(shop: Shop, url: str) -> None:
    require_new(shop, url)
    if WebhookEndpoint.objects.filter(shop=shop).count() >= MOST_OF_A_SHOP:
        raise TooManyEndpoints(f"A shop has {MOST_OF_A_SHOP} webhook endpoints at most. Change one that is there.")


def require_new(shop: Shop, url: str) -> None:
    standing = WebhookEndpoint.objects.filter(shop=shop, url=url).first()
    if standing is not None:
        raise EndpointExists(f"{standing.public_id} has this URL already. Change that one, or give another URL.", field="url")


def require_topics(topics: Sequence[str]) -> None:
    for place, topic in enumerate(topics):
        if not vocabulary.is_known(topic):
            known = ", ".join(vocabulary.TOPICS)
            said = f"{topic[:60]!r} is no topic. Send one of {known}; or payment_order.*, say, for all that begin so."
            raise NotATopic(said, field=f"topics[{place}]")


# Switching off and on


def disable(endpoint_id: int, *, reason: Reason, now: datetime) -> bool:
    """Switch the endpoint off and publish that it is; return False if it was off.  Runs inside the caller's transaction."""
    endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint_id)
    if not endpoint.is_enabled:
        return False
    endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason = False, now, reason
    endpoint.sequence += 1
    endpoint.save(update_fields=["is_enabled", "disabled_at", "disabled_reason", "sequence"])
    notifications.publish([news(endpoint, "webhook_endpoint.disabled")])
    if reason != Reason.SWITCHED_OFF:
        logger.error("webhook endpoint %s is disabled: %s", endpoint.public_id, reason.label)
    return True


def enable(endpoint_id: int, *, now: datetime) -> None:
    """Switch the endpoint on: what waits for it is due at once, as if it had never been tried.  Runs inside the caller's transaction."""
    make_due(WebhookDelivery.objects.filter(endpoint=endpoint_id, endpoint__is_enabled=False, status=PENDING), now=now)
    WebhookEndpoint.objects.filter(pk=endpoint_id, is_enabled=False).update(
        is_enabled=True, disabled_at=None, disabled_reason="", failing_since=None
    )


def make_due(deliveries: QuerySet[WebhookDelivery], *, now: datetime) -> list[int]:
    """Begin a new series of tries of the deliveries, but for those that are being sent at this moment; return their ids."""
    free = deliveries.filter(Q(claimed_until=None) | Q(claimed_until__lte=now))
    ids = list(free.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    WebhookDelivery.objects.filter(pk__in=ids).update(
        status=PENDING, next_attempt_at=now, claimed_until=None, earlier_tries=F("tries"), tried_since=None, delivered_at=None
    )
    return ids


def news(endpoint: WebhookEndpoint, topic: str) -> notifications.Message:
    """Say how the endpoint stands; not its address, which may hold a secret that the shop's other endpoints must not learn."""
    payload = {
        "id": endpoint.public_id,
        "object": "webhook_endpoint",
        "is_enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason or None,
    }
    return notifications.Message(endpoint.shop_id, topic, endpoint.public_id, payload, sequence=endpoint.sequence)


# Secrets


def new_secret(endpoint: WebhookEndpoint) -> str:
    return WebhookSecret.objects.create(endpoint=endpoint, secret=signatures.new_secret()).secret


@transaction.atomic
def rotate(endpoint: WebhookEndpoint, *, old_valid_for: timedelta = OLD_SECRET_VALID_FOR, now: datetime) -> str:
    """Give the endpoint a new secret and return it; the one before signs too until its time is up, any older one no more."""
    WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    WebhookSecret.objects.filter(endpoint=endpoint, expires_at__isnull=False).delete()
    WebhookSecret.objects.filter(endpoint=endpoint).update(expires_at=now + old_valid_for)
    return new_secret(endpoint)


def secrets_of(endpoint_ids: Sequence[int], *, now: datetime) -> dict[int, list[str]]:
    """Return the valid secrets of each endpoint, the newest first."""
    valid = WebhookSecret.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), endpoint__in=endpoint_ids)
    found: dict[int, list[str]] = {endpoint_id: [] for endpoint_id in endpoint_ids}
    for endpoint_id, secret in valid.order_by("-pk").values_list("endpoint_id", "secret"):
        found[endpoint_id].append(secret)
    return found


# By hand


@transaction.atomic
def ping(endpoint: WebhookEndpoint, *, now: datetime) -> WebhookDelivery:
    """Send a `ping` to this endpoint alone.  Raises EndpointDisabled."""
    locked = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    if not locked.is_enabled:
        raise EndpointDisabled(f"{locked.public_id} is disabled. Enable it first.")
    locked.sequence += 1
    locked.save(update_fields=["sequence"])
    message = news(locked, PING)
    notifications.publish([message])
    kept = OutboxMessage.objects.get(public_id=message.public_id)
    return WebhookDelivery.objects.create(message=kept, endpoint=locked, next_attempt_at=now)


@transaction.atomic
def resend(message: OutboxMessage, *, now: datetime) -> list[WebhookDelivery]:
    """Send the message again to every endpoint that it went to; return its deliveries.  Raises SentNowhere."""
    make_due(message.deliveries.all(), now=now)
    found = list(message.deliveries.order_by("pk"))
    if not found:
        raise SentNowhere(f"{message.public_id} went to no endpoint. Name one that shall have it.", field="endpoint")
    return found


@transaction.atomic
def resend_to(endpoint: WebhookEndpoint, message: OutboxMessage, *, now: datetime) -> list[WebhookDelivery]:
    """Send the message, again or for the first time, to that endpoint; return its delivery."""
    delivery, is_new = WebhookDelivery.objects.get_or_create(message=message, endpoint=endpoint, defaults={"next_attempt_at": now})
    if not is_new:
        make_due(WebhookDelivery.objects.filter(pk=delivery.pk), now=now)
        delivery.refresh_from_db()
    return [delivery]
