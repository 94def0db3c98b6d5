"""Webhook endpoints over REST: addresses of the caller's own shop that are told what happens, and what was sent to them.

Adding an endpoint and changing its secret take no Idempotency-Key: the answer holds a secret, and answers under a key are kept.  A URL is
unique in its shop instead.
"""

from datetime import timedelta

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from ledger.wire import PageQuery
from wallet.api import message_of, shop_of
from wallet.models import WebhookDelivery, WebhookEndpoint
from wallet.notifications import endpoints
from wallet.webhook_serializers import (
    ChangedEndpointSerializer,
    DeliveriesQuery,
    DeliverySerializer,
    EndpointSerializer,
    EndpointWithSecretSerializer,
    NewEndpointSerializer,
    PingSerializer,
    ResendSerializer,
    ResentSerializer,
    RotationSerializer,
)

READ, WRITE = "webhooks:read", "webhooks:write"


class NoSuchEndpoint(DomainError):
    code = "unknown_webhook_endpoint"


class Endpoints(Endpoint):
    @operation(READ, answers={200: EndpointSerializer}, query=PageQuery)
    def get(self, request: Request) -> Response:
        """List webhook endpoints"""
        return self.answer_page(WebhookEndpoint.objects.filter(shop=shop_of(request)))

    @operation(WRITE, body=NewEndpointSerializer, answers={201: EndpointWithSecretSerializer})
    def post(self, request: Request) -> Response:
        """Add a webhook endpoint

        The answer holds the secret that signs each message: keep it, it is not shown again.  A shop has 16 endpoints at most, each with a
        URL of its own.
        """
        endpoint, secret = endpoints.open_endpoint(shop_of(request), **self.read(request))
        return self.answer(with_secret(endpoint, secret), status=201)


def with_secret(endpoint: WebhookEndpoint, secret: str) -> WebhookEndpoint:
    endpoint.__dict__["secret"] = secret
    return endpoint


class OfEndpoint(Endpoint):
    """An address at or below one endpoint of the caller's shop."""

    def locate(self, request: Request, *, endpoint: str) -> None:  # type: ignore[override]
        self.endpoint = endpoint_of(request, endpoint)


def endpoint_of(request: Request, public_id: str) -> WebhookEndpoint:
    """Return an endpoint of the caller's shop.  Raises Http404."""
    endpoint = WebhookEndpoint.objects.select_related("shop").filter(shop=shop_of(request), public_id=public_id).first()
    if endpoint is None:
        raise Http404
    return endpoint


class OneEndpoint(OfEndpoint):
    @operation(READ, answers={200: EndpointSerializer})
    def get(self, request: Request, endpoint: str) -> Response:
        """Read a webhook endpoint"""
        return self.answer(self.endpoint)

    @operation(WRITE, body=ChangedEndpointSerializer, answers={200: EndpointSerializer})
    def post(self, request: Request, endpoint: str) -> Response:
        """Change a webhook endpoint

        What is left out stays as it is.  A disabled endpoint gets no new events, and what was under way waits; enabling it sends that at
        once.  What happened while it was disabled is in `GET /v1/events`.
        """
        return self.answer(endpoints.change(self.endpoint, self.read(request), now=clock.now()))


class RotateSecret(OfEndpoint):
    @operation(WRITE, body=RotationSerializer, answers={200: EndpointWithSecretSerializer})
    def post(self, request: Request, endpoint: str) -> Response:
        """Change a webhook endpoint's secret

        For 24 hours, or as long as you say, each message has two signatures, one with each secret: no message is missed meanwhile.
        """
        hours = self.read(request)["old_secret_valid_for_h"]
        secret = endpoints.rotate(self.endpoint, old_valid_for=timedelta(hours=hours), now=clock.now())
        return self.answer(with_secret(self.endpoint, secret))


class Deliveries(OfEndpoint):
    @operation(READ, query=DeliveriesQuery, answers={200: DeliverySerializer})
    def get(self, request: Request, endpoint: str) -> Response:
        """List a webhook endpoint's deliveries

        Newest first, each with every try.  Those that arrived are kept for 30 days.
        """
        found = WebhookDelivery.objects.filter(endpoint=self.endpoint).select_related("message", "endpoint").prefetch_related("attempts")
        if "status" in self.query:
            found = found.filter(status=self.query["status"])
        return self.answer_page(found)


class Ping(OfEndpoint):
    @operation(WRITE, body=PingSerializer, answers={201: DeliverySerializer})
    def post(self, request: Request, endpoint: str) -> Response:
        """Test a webhook endpoint

        Sends an event of the type `ping` to this endpoint alone, whatever its topics.
        """
        self.read(request)
        return self.answer(endpoints.ping(self.endpoint, now=clock.now()), status=201)


class Resend(Endpoint):
    def locate(self, request: Request, *, event: str) -> None:  # type: ignore[override]
        self.message = message_of(request, event)

    @operation(WRITE, body=ResendSerializer, answers={200: ResentSerializer})
    def post(self, request: Request, event: str) -> Response:
        """Send an event again

        To the endpoint that is named, even if it never had the event; or to all that it went to.  A disabled endpoint gets it once it is
        enabled.  It is the same event, with the same `webhook-id`.
        """
        wanted = self.read(request).get("endpoint")
        if wanted is None:
            deliveries = endpoints.resend(self.message, now=clock.now())
        else:
            endpoint = WebhookEndpoint.objects.filter(shop=shop_of(request), public_id=wanted).first()
            if endpoint is None:
                raise NoSuchEndpoint(f"There is no webhook endpoint {wanted!r} in this shop.", field="endpoint")
            deliveries = endpoints.resend_to(endpoint, self.message, now=clock.now())
        return self.answer({"event": event, "deliveries": deliveries})
