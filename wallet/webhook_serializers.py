"""What webhook endpoints and their deliveries look like on the wire.  A secret is in the answers that make one, and in no other."""

from typing import Any, ClassVar

from rest_framework import serializers

from ledger.wire import Choice, ListOf, ObjectName, PageQuery, PlainText, StrictSerializer, TextOrNull, WholeNumber, Yes
from wallet.models import WebhookDelivery, WebhookEndpoint
from wallet.notifications import addresses, endpoints

LONGEST_TOPIC = 170
ENDPOINT = "we_0199f3c1a0b27c5e8d14f6a7b8c9d0e1"
EVENT = "evt_0199f3c4b2c17d0f9c33e1a2b4d5f607"
EXAMPLE: dict[str, Any] = {
    "id": ENDPOINT,
    "object": "webhook_endpoint",
    "url": "https://shop.example/webhooks/onebook",
    "description": "Order service",
    "topics": ["payment.paid", "payment_order.*"],
    "is_enabled": True,
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": "2026-11-01T08:00:00Z",
}
EXAMPLE_DELIVERY: dict[str, Any] = {
    "id": "whd_812",
    "object": "webhook_delivery",
    "event": EVENT,
    "type": "payment.paid",
    "endpoint": ENDPOINT,
    "status": "delivered",
    "tries": 2,
    "next_attempt_at": None,
    "delivered_at": "2026-11-21T09:31:16.020Z",
    "attempts": [
        {"number": 1, "at": "2026-11-21T09:31:10.9Z", "duration_ms": 10004, "status": None, "error": "no whole answer within 10 s"},
        {"number": 2, "at": "2026-11-21T09:31:15.9Z", "duration_ms": 84, "status": 204, "error": None},
    ],
}


class TopicsField(serializers.ListField):
    """Which events are sent: whole types, or the beginning of types with a star."""

    child = PlainText(max_length=LONGEST_TOPIC)
    default_error_messages = {"not_a_list": "This must be a list of topics."}

    def __init__(self, **options: Any) -> None:
        said = "Which events are sent: types such as payment.paid, or payment_order.* for all that begin so; none for all"
        super().__init__(max_length=endpoints.MOST_TOPICS, help_text=said, **options)


class EndpointSerializer(StrictSerializer):
    """An address of the shop that is told what happens."""

    example = EXAMPLE

    id = serializers.CharField(source="public_id")
    object = ObjectName("webhook_endpoint")
    url = serializers.CharField()
    description = TextOrNull()
    topics = serializers.ListField(child=serializers.CharField(), help_text="Which events are sent; none means all")
    is_enabled = serializers.BooleanField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_reason = serializers.SerializerMethodField(help_text="switched_off, gone or failing")
    failing_since = serializers.DateTimeField(allow_null=True, help_text="Since when nothing has arrived, if the last try failed")
    created_at = serializers.DateTimeField()

    def get_disabled_reason(self, endpoint: WebhookEndpoint) -> str | None:
        return endpoint.disabled_reason or None


class EndpointWithSecretSerializer(EndpointSerializer):
    """The endpoint with its new secret, which is shown in this answer alone."""

    example = EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}

    secret = serializers.CharField(help_text="Signs each message. It is not shown again")


class NewEndpointSerializer(StrictSerializer):
    """A webhook endpoint to add."""

    example = {"url": EXAMPLE["url"], "description": "Order service", "topics": EXAMPLE["topics"]}

    url = PlainText(max_length=addresses.LONGEST_URL, help_text="https, on the public internet, port 443, 8443 or from 1024 on")
    description = PlainText(max_length=200, required=False, default="", help_text="For you")
    topics = TopicsField(required=False, default=list)


class ChangedEndpointSerializer(StrictSerializer):
    """What shall change of a webhook endpoint; what is left out stays."""

    example = {"topics": ["payment_order.*"], "is_enabled": True}

    url = PlainText(max_length=addresses.LONGEST_URL, required=False, help_text="https, on the public internet")
    description = PlainText(max_length=200, required=False, allow_blank=True, help_text="For you")
    topics = TopicsField(required=False)
    is_enabled = Yes(required=False, help_text="Enabling sends at once what has been waiting")


class RotationSerializer(StrictSerializer):
    """How long the secret before the new one still signs too."""

    example = {"old_secret_valid_for_h": 24}

    old_secret_valid_for_h = WholeNumber(
        min_value=0, max_value=168, required=False, default=24, help_text="Hours for which messages are signed with both secrets"
    )


class PingSerializer(StrictSerializer):
    """A ping takes nothing: send an empty object."""

    example: ClassVar[Any] = {}


class ResendSerializer(StrictSerializer):
    """To which endpoint the event is sent."""

    example = {"endpoint": ENDPOINT}

    endpoint = PlainText(max_length=60, required=False, help_text="A webhook endpoint's id; without it, all that the event went to")


class DeliveryAttemptSerializer(StrictSerializer):
    """One try, and how it ended."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="What the endpoint answered, if it did")
    error = TextOrNull(help_text="What went wrong")


class DeliverySerializer(StrictSerializer):
    """One event on its way to one endpoint, with every try so far."""

    example = EXAMPLE_DELIVERY

    id = serializers.CharField(source="public_id")
    object = ObjectName("webhook_delivery")
    event = serializers.CharField(source="message.public_id", help_text="The event's id, sent as webhook-id")
    type = serializers.CharField(source="message.topic")
    endpoint = serializers.CharField(source="endpoint.public_id")
    status = serializers.ChoiceField(WebhookDelivery.Status.choices)
    tries = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    attempts = ListOf(DeliveryAttemptSerializer(), most=1000)


class ResentSerializer(StrictSerializer):
    """The deliveries that are due again."""

    example = {
        "object": "resend",
        "event": EVENT,
        "deliveries": [EXAMPLE_DELIVERY | {"status": "pending", "next_attempt_at": "2026-11-21T10:02:00Z", "delivered_at": None}],
    }

    object = ObjectName("resend")
    event = serializers.CharField()
    deliveries = ListOf(DeliverySerializer(), most=endpoints.MOST_OF_A_SHOP)


class DeliveriesQuery(PageQuery):
    status = Choice(WebhookDelivery.Status.values, required=False)
