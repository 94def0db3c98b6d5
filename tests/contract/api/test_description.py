"""What we say about the API is what we serve: OpenAPI, examples, the table of errors, the list of addresses."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

import ledger
import payments
import payouts
import reconciliation
import wallet
from config.api import schema
from config.api.errors import PROBLEMS
from ledger.endpoint import Endpoint, Operation
from ledger.errors import DomainError

# Every address that is not an operation of the API, by how it begins.
OTHER_ADDRESSES = (
    "admin/",
    "brand/",
    "checkout/",
    "demo/",
    "seller/",
    "webhooks/",
    "docs",
    "healthz",
    "readyz",
    "metrics",
    "v1/openapi.json",
)
NO_ADDRESS = "v1/"  # the pattern that answers 404 to everything else


def addresses(patterns: Any, begin: str = "") -> Iterator[str]:
    for pattern in patterns:
        here = begin + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here


def in_openapis_words(address: str) -> str:
    begin, *rest = address.split("<")
    return "/" + begin + "".join("{" + part.partition(":")[2].replace(">", "}") for part in rest)


def test_every_address_is_described_or_declared() -> None:
    others = [
        found for found in addresses(get_resolver().url_patterns) if not found.startswith("v1/") or found in (NO_ADDRESS, "v1/openapi.json")
    ]
    unlisted = [address for address in others if not address.startswith(OTHER_ADDRESSES) and address != NO_ADDRESS]
    assert unlisted == []
    api = {in_openapis_words(found) for found in addresses(get_resolver().url_patterns) if found.startswith("v1/")}
    assert api - {"/v1/", "/v1/openapi.json"} == set(schema.document()["paths"])


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation) for path, methods in schema.document()["paths"].items() for method, operation in methods.items()
    ]


OPERATIONS = pytest.mark.parametrize("operation", [operation for _, operation in operations()], ids=[name for name, _ in operations()])


def validate(example: Any, expected: dict[str, Any]) -> None:
    whole = expected | {"components": schema.document()["components"]}
    jsonschema.Draft202012Validator(whole).validate(example)


@OPERATIONS
def test_examples_are_what_the_description_says(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    if body := operation.get("requestBody"):
        assert body["required"]
        if "application/json" in body["content"]:  # and not a file as it is
            content = body["content"]["application/json"]
            validate(content["example"], content["schema"])
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            content = answer["content"]["application/json"]
            validate(content["example"], content["schema"])


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_request_examples_pass_their_serializers() -> None:
    bodies = {operation.body for view in all_of(Endpoint) for operation in declared_by(view) if operation.body}
    assert len(bodies) >= 5
    for body in bodies:
        serializer = body(data=body.example)
        assert serializer.is_valid(), (body, serializer.errors)


def declared_by(view: type[Endpoint]) -> list[Operation]:
    return [operation for method in ("get", "post", "put") if (operation := getattr(getattr(view, method, None), "operation", None))]


def all_of(kind: type[Any]) -> list[type[Any]]:
    found: list[type[Any]] = []
    for below in kind.__subclasses__():
        found += [below, *all_of(below)]
    return found


def test_every_domain_error_has_a_status() -> None:
    for app in (ledger, wallet, payments, payouts, reconciliation):
        for module in pkgutil.walk_packages(app.__path__, f"{app.__name__}."):
            if ".migrations" not in module.name and "payments.sandbox" not in module.name:
                importlib.import_module(module.name)
    without = [kind.__name__ for kind in all_of(DomainError) if kind.code not in PROBLEMS]
    assert without == []
    assert all(400 <= status < 600 and meaning.endswith(".") for status, meaning in PROBLEMS.values())


def test_the_description_is_openapi_3_1_and_open_to_everyone() -> None:
    answer = Client().get("/v1/openapi.json")
    document = answer.json()
    assert answer.status_code == 200
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["api_key"] | {"description": ""} == {
        "type": "http",
        "scheme": "bearer",
        "description": "",
    }
    assert all(operation["security"] == [{"api_key": []}] for _, operation in operations())


def test_every_operation_describes_its_problems() -> None:
    for name, operation in operations():
        assert {"400", "401", "403", "429"} <= set(operation["responses"])
        if name.startswith("post"):
            assert {"409", "413", "415"} <= set(operation["responses"])
            assert "422" in operation["responses"] or "application/json" not in operation["requestBody"]["content"]


@pytest.mark.django_db
def test_health_needs_nothing_and_readiness_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"], ready.json()["checks"]["migrations"]) == (200, "ok", "ok")
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
    degraded = client.get("/readyz")
    assert (degraded.status_code, degraded.json()["status"], degraded.json()["checks"]["redis"]) == (200, "degraded", "failed")


@pytest.mark.django_db
def test_readiness_fails_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.api.health.connection", Dead())
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed")


class Dead:
    """A database that does not answer."""

    def cursor(self) -> Any:
        raise OperationalError("no route to host")
