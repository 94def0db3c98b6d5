"""OpenAPI 3.1 from what each operation declares: nothing is written twice, so that nothing can differ from what is served.

`document()` is the whole description; /v1/openapi.json serves it and /docs renders it.
"""

import functools
import re
import threading
from typing import Any

from django.conf import settings
from django.utils import translation
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import OpenApiParameter

from config.api.errors import MEDIA_TYPE, PROBLEMS
from config.api.idempotency import KEY_PATTERN
from ledger.currencies import MINOR_UNITS
from ledger.endpoint import Endpoint, Operation
from ledger.wire import ListOf

VERSION = "2026-11-01"
TAGS = {
    "payments": "What a buyer pays once, for one or more sellers.",
    "orders": "One seller's part of a payment.",
    "refunds": "Money that goes back to the buyer.",
    "cancellations": "Orders that shall not be paid after all.",
    "disputes": "Money that a buyer's bank took back.",
    "late_charges": "Charges that came too late to be booked on their order, and go back.",
    "sellers": "Who gets the money.",
    "payouts": "Money on its way from sellers' available balances to their banks.",
    "invoices": "Invoices and credit notes over the platform's fees.",
    "wallet": "What each seller is owed, and each movement of it.",
    "conversions": "Money of a seller that became money in another currency.",
    "rates": "What a currency costs in another one, as the platform converts.",
    "gift_cards": "Money on a card that buyers pay with, bought before or given to them.",
    "buyers": "Money that buyers have topped up, to pay with later.",
    "events": "Everything that happened, for those who follow.",
    "webhook_endpoints": "Addresses of yours that are told what happens: docs/webhooks.md says how to receive and verify.",
    "ledger": "The books of the whole installation: for keys of the operator's own finance back end alone.",
    "settlement_files": "What PSPs settled and banks booked, in their own files: for keys of the operator's own finance back end alone.",
}
DESCRIPTION = """The REST API of Onebook, the payment system of a marketplace.

Every amount is a string of decimal digits with its currency; every POST that moves money takes an `Idempotency-Key`; every error is a
problem of RFC 9457 with a stable `code`; unknown fields and parameters are refused."""
CURRENCY = {"type": "string", "description": "A currency in use, by its three letters of ISO 4217.", "enum": sorted(MINOR_UNITS)}
MONEY = {
    "type": "object",
    "description": "An amount of money. The digits are a string, kept to the currency's minor unit: never a JSON number, never rounded.",
    "properties": {
        "amount": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "maxLength": 33},
        "currency": {"$ref": "#/components/schemas/Currency"},
    },
    "required": ["amount", "currency"],
    "additionalProperties": False,
    "examples": [{"amount": "19.99", "currency": "USD"}],
}
COMPLAINT = {
    "field": {"type": "string", "description": "The input at fault, such as payment_orders[1].amount.currency"},
    "code": {"type": "string", "enum": sorted(PROBLEMS)},
    "detail": {"type": "string", "description": "What is wrong, and what to do"},
}
PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        **COMPLAINT,
        "errors": {
            "type": "array",
            "description": "All that is wrong, where it is more than one thing",
            "items": {"type": "object", "properties": COMPLAINT, "required": ["field", "code", "detail"]},
        },
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
SETTINGS = {
    "TITLE": "Onebook API",
    "VERSION": VERSION,
    "DESCRIPTION": DESCRIPTION,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v1",
    "PREPROCESSING_HOOKS": ["config.api.schema.only_endpoints"],
    "POSTPROCESSING_HOOKS": [],
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "APPEND_COMPONENTS": {"schemas": {"Currency": CURRENCY, "Money": MONEY, "Problem": PROBLEM}},
    "TAGS": [{"name": name, "description": description} for name, description in TAGS.items()],
}
PATH_PARAMETERS = {
    "payment": ("^pay_[0-9a-f]{32}$", "The payment's id"),
    "order": ("^ord_[0-9a-f]{32}$", "The payment order's id"),
    "refund": ("^re_[0-9a-f]{32}$", "The refund's id"),
    "cancellation": ("^can_[0-9a-f]{32}$", "The cancellation's id"),
    "dispute": ("^dsp_[0-9a-f]{32}$", "The dispute's id"),
    "late_charge": ("^late_[0-9a-f]{32}$", "The late charge's id"),
    "payout": ("^po_[0-9a-f]{32}$", "The payout's id"),
    "conversion": ("^cnv_[0-9a-f]{32}$", "The conversion's id"),
    "seller": ("^sel_[0-9a-f]{32}$", "The seller's id"),
    "gift_card": ("^gc_[0-9a-f]{32}$", "The gift card's id"),
    "buyer": ("^.{1,120}$", "Your own id of the buyer, percent-encoded"),
    "currency": ("^[A-Z]{3}$", "The currency, by its three letters of ISO 4217"),
    "period": ("^[0-9]{4}-[0-9]{2}$", "The month, such as 2026-10"),
    "invoice": ("^((INV|CN)-[0-9]{4}-[0-9]{6,9}|inv_[0-9a-f]{32})$", "The invoice's number or id"),
    "event": ("^evt_[0-9a-f]{32}$", "The event's id"),
    "endpoint": ("^we_[0-9a-f]{32}$", "The webhook endpoint's id"),
    "entry": ("^je_[0-9]{1,18}$", "The journal entry's id"),
    "settlement_file": ("^sf_[0-9a-f]{32}$", "The file's id"),
    "account": ("^[a-z_]{1,40}(:[A-Za-z0-9_-]{1,60})?$", "The account's code, such as fee_revenue or psp_receivable:sandbox"),
}
ONE_AT_A_TIME = threading.Lock()  # drf-spectacular patches its settings while it works
KEY_PARAMETER = (
    "A new key for each request, 1 to 255 printable ASCII characters: the same key and body take effect once at this address "
    "(kept for 30 days)."
)


def document() -> dict[str, Any]:
    """Return the whole API as OpenAPI 3.1, made once per process."""
    with ONE_AT_A_TIME:
        return generated()


@functools.cache
def generated() -> dict[str, Any]:
    servers = {"SERVERS": [{"url": settings.PUBLIC_URL}]}
    with translation.override("en"), patched_settings(SETTINGS | servers):
        generator: Any = SchemaGenerator
        description: dict[str, Any] = without_marks(generator().get_schema(request=None, public=True))
        return description


def without_marks(part: Any) -> Any:
    """Take out the marks by which drf-spectacular would tell enumerations apart."""
    if isinstance(part, dict):
        return {name: without_marks(inner) for name, inner in part.items() if name != "x-spec-enum-id"}
    return [without_marks(inner) for inner in part] if isinstance(part, list) else part


def only_endpoints(endpoints: list[Any]) -> list[Any]:
    """Keep the addresses that declare operations: drf-spectacular's PREPROCESSING_HOOKS."""
    return [
        endpoint
        for endpoint in endpoints
        if isinstance(getattr(endpoint[3], "cls", None), type) and issubclass(endpoint[3].cls, Endpoint) and operation_at(endpoint)
    ]


def operation_at(endpoint: Any) -> Operation | None:
    _path, _regex, method, view = endpoint
    return getattr(getattr(view.cls, method.lower(), None), "operation", None)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The API key, for the description."""

    target_class = "config.api.authentication.ApiKeyAuthentication"
    name = "api_key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API key of your shop's back end: `ob_test_...` or `ob_live_...`."}


class ApiSchema(AutoSchema):
    """Describes an Endpoint from its operations."""

    @property
    def declared(self) -> Operation:
        method: Any = getattr(self.view, self.method.lower())
        return method.operation  # type: ignore[no-any-return]

    @property
    def takes_key(self) -> str:
        return getattr(self.view, "idempotency_key", "") if self.method in ("POST", "PUT") else ""

    def get_operation(self, *args: Any) -> Any:
        operation: Any = super().get_operation(*args)
        operation["x-scope"] = self.declared.scope
        if "requestBody" in operation and self.declared.body:
            operation["requestBody"]["required"] = True
            operation["requestBody"]["content"]["application/json"]["example"] = self.declared.body.example
        if self.declared.takes_file:
            file = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
            operation["requestBody"] = {"required": True, "content": {"application/octet-stream": file}}
        operation["responses"] |= self.problems()
        return operation

    def get_operation_id(self) -> str:
        words = [word for word in re.findall("[a-z]+", self.get_summary().lower()) if word not in ("a", "an", "the", "s")]
        return "_".join([*words, *(["event"] if self.path.endswith("/event") else [])])

    def get_summary(self) -> str:
        return self.doc().partition("\n\n")[0].strip()

    def get_description(self) -> str:  # type: ignore[override]
        _summary, _gap, rest = self.doc().partition("\n\n")
        return f"{' '.join(rest.split())}\n\nNeeds the scope `{self.declared.scope}`.".strip()

    def doc(self) -> str:
        return super().get_description()

    def get_request_serializer(self) -> Any:
        return self.declared.body

    def get_response_serializers(self) -> Any:
        return {str(status): self.rendered(serializer) for status, serializer in self.declared.answers.items()}

    def rendered(self, serializer: Any) -> dict[str, Any]:
        reference: dict[str, Any] = self.resolve_serializer(serializer, "response").ref
        if not self.is_page:
            return reference
        cursor = "Ask for the next page with this cursor" if self.declared.is_list else "The last event: send it as `after`"
        return {
            "type": "object",
            "properties": {
                "object": {"type": "string", "const": "list"},
                "data": {"type": "array", "items": reference},
                "has_more": {"type": "boolean"},
                "next_cursor": {"type": ["string", "null"], "description": cursor},
            },
            "required": ["object", "data", "has_more", "next_cursor"],
        }

    @property
    def is_page(self) -> bool:
        return "limit" in self.declared.query().fields

    def _get_response_for_code(self, serializer: Any, status_code: str, *args: Any, **kwargs: Any) -> Any:
        response = super()._get_response_for_code(serializer, status_code, *args, **kwargs)  # type: ignore[no-untyped-call]
        kind = self.declared.answers[int(status_code)]
        example = kind.example
        if self.is_page:
            last = example["id"] if not self.declared.is_list else None
            example = {"object": "list", "data": [example], "has_more": False, "next_cursor": last}
        response["content"]["application/json"]["example"] = example
        for media in () if self.is_page else getattr(kind, "other_media", ()):
            response["content"][media] = {"schema": {"type": "string"}}
        response["description"] = kind.__doc__ or ""
        return response

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False  # `rendered` has made the list already

    def get_override_parameters(self) -> list[Any]:
        key = OpenApiParameter(
            "Idempotency-Key",
            {"type": "string", "maxLength": 255, "pattern": f"^{KEY_PATTERN}$"},
            OpenApiParameter.HEADER,
            required=self.takes_key == "required",
            description=KEY_PARAMETER,
        )
        replayed = OpenApiParameter(
            "Idempotent-Replayed",
            str,
            OpenApiParameter.HEADER,
            response=[200, 201, 202],
            description="`true` where this is the answer that the key got before",
        )
        query = [self.declared.query] if self.declared.query().fields else []
        return [*query, *([key, replayed] if self.takes_key else [])]

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "in": "path",
                "name": name,
                "required": True,
                "description": PATH_PARAMETERS[name][1],
                "schema": {"type": "string", "pattern": PATH_PARAMETERS[name][0]},
            }
            for name in variables
        ]

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "request":
            schema["additionalProperties"] = False
        for name, field in serializer.fields.items():
            if isinstance(field, ListOf):
                schema["properties"][name] |= {"minItems": field.least, "maxItems": field.most}
        return schema

    def problems(self) -> dict[str, Any]:
        """Return the refusals that this operation knows, by status."""
        statuses = {
            400: "The request is wrong",
            401: "No API key, or a wrong one",
            403: "The key lacks the scope",
            429: "Too many requests",
        }
        if "{" in self.path or {"seller", "order", "payment"} & set(self.declared.query().fields):
            statuses[404] = "There is no such thing in your shop"
        if self.declared.body:
            statuses |= {
                409: "It conflicts with what stands, or is being worked on",
                413: "The body is larger than one megabyte",
                415: "The body is not application/json",
                422: "The Idempotency-Key was used for another request",
            }
        if self.declared.takes_file:
            statuses |= {409: "The same file is there, as another one's", 413: "The file is too large", 415: "The body is a form"}
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        return {str(status): {"description": description, "content": content} for status, description in sorted(statuses.items())}
