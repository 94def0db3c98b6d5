"""The description as people read it: operations by group, each with its parameters, fields, a request that can be pasted, and the answer.

Everything comes from `schema.document()`.  /docs renders it on the server, so that it needs no script and no foreign host.
"""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from config.api import schema
from config.api.errors import PROBLEMS

TOKEN = re.compile(
    r"""(?P<key>&quot;[^&\n]*?&quot;(?=:))|(?P<string>&quot;.*?&quot;)|(?P<word>\b(?:true|false|null)\b|-?\b\d+(?:\.\d+)?\b)"""
)
CODE = re.compile(r"`([^`]+)`")
NAMED = {"Money": "money", "Currency": "currency"}  # explained once, and not taken apart
EXAMPLE_IDS = {
    "payment": "pay_0199f3c4a7d17b3c8a1e5d6f7a8b9c0d",
    "order": "ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d",
    "refund": "re_0199f3d17c457e0c9a4b3f2e1d0c9b8a",
    "cancellation": "can_0199f3d4e1b27f6a8c9d0e1f2a3b4c5d",
    "dispute": "dsp_0199f4a01c2d7e3f8a4b5c6d7e8f9a0b",
    "late_charge": "late_0199f3d2a9c17d41b6e5c4d3b2a19f80",
    "payout": "po_0199f3d9e2a47c55b1c0d3e4f5a6b7c8",
    "conversion": "cnv_0199f3e1c4b57d20a1b2c3d4e5f60718",
    "seller": "sel_0199f3c2b1e07a44b6f2c9d81e3a5b70",
    "gift_card": "gc_0199f3c4a7d97b3c8a1e5d6f7a8b9c0d",
    "buyer": "customer-77",
    "period": "2026-10",
    "invoice": "INV-2026-000001",
    "currency": "EUR",
    "event": "evt_0199f3c4b2c17d0f9c33e1a2b4d5f607",
    "endpoint": "we_0199f3c1a0b27c5e8d14f6a7b8c9d0e1",
    "entry": "je_4711",
    "settlement_file": "sf_0199f4b7c2a17d3e8f5a6b7c8d9e0f1a",
    "account": "fee_revenue",
}
EXAMPLE_QUERIES = {
    "balance_of_account": "?currency=EUR",
    "statement_of_account": "?currency=EUR&since=2026-11-01T00:00:00Z&until=2026-12-01T00:00:00Z",
    "read_statement": "?currency=EUR",
    "read_what_can_be_paid_out": "?currency=EUR",
    "list_all_fee_invoices": "?period=2026-10",
    "list_wallets": "?seller=" + EXAMPLE_IDS["seller"],
    "follow_events": "?after=evt_0199f3c4b2c17d0f9c33e1a2b4d5f607",
    "read_exchange_rate": "?base=USD&quote=EUR",
    "ask_what_conversion_would_bring": "?amount=100.00&currency=USD&to=EUR",
    "list_payments": "?checkout_id=basket-1001",
    "send_settlement_file": "?source=sandbox&name=sb-20261120-eur.csv",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A field or a parameter: `depth` says how far inside it stands, `kind` what it is in a few words."""

    name: str
    depth: int
    kind: str
    is_required: bool
    meaning: SafeString


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of success: its status in words, an example, and its fields."""

    status: str
    example: SafeString
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation."""

    id: str
    method: str
    path: str
    title: str
    paragraphs: list[SafeString]
    scope: str
    parameters: list[Row]
    body: list[Row]
    request: str
    replies: list[Reply]
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations around one kind of thing."""

    name: str
    meaning: str
    calls: list[Call]


@functools.cache
def groups() -> list[Group]:
    """Return the whole reference, made once per process."""
    calls: dict[str, list[Call]] = {name: [] for name in schema.TAGS}
    for path, methods in schema.document()["paths"].items():
        for method, operation in methods.items():
            if not path.endswith("/event"):  # the other name of /v1/payments
                calls[operation["tags"][0]].append(call(method.upper(), path, operation))
    return [Group(name, meaning, calls[name]) for name, meaning in schema.TAGS.items()]


def errors() -> list[tuple[int, str, list[tuple[str, str]]]]:
    """Return the table of errors: status, its phrase, and each code with its meaning."""
    statuses = sorted({status for status, _meaning in PROBLEMS.values()})
    return [
        (status, HTTPStatus(status).phrase, [(code, meaning) for code, (at, meaning) in PROBLEMS.items() if at == status])
        for status in statuses
    ]


def call(method: str, path: str, operation: dict[str, Any]) -> Call:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Call(
        id=operation["operationId"],
        method=method,
        path=path,
        title=operation["summary"],
        paragraphs=[written(text) for text in operation["description"].split("\n\n") if not text.startswith("Needs the scope")],
        scope=operation["x-scope"],
        parameters=[parameter(each) for each in operation.get("parameters", [])],
        body=list(rows(content.get("schema", {}))),
        request=curl(method, path, operation, body=content.get("example")),
        replies=[reply(status, each) for status, each in operation["responses"].items() if status.startswith("2")],
        problems=[f"{status} {HTTPStatus(int(status)).phrase}" for status in operation["responses"] if not status.startswith("2")],
    )


def parameter(each: dict[str, Any]) -> Row:
    place = {"query": "", "path": ", in the path", "header": ", a header"}[each["in"]]
    return Row(each["name"], 0, kind_of(each["schema"]) + place, each.get("required", False), written(each.get("description", "")))


def reply(status: str, each: dict[str, Any]) -> Reply:
    content = each["content"]["application/json"]
    return Reply(f"{status} {HTTPStatus(int(status)).phrase}", coloured(pretty(content["example"])), list(rows(content["schema"])))


def rows(part: dict[str, Any], depth: int = 0) -> Iterator[Row]:
    """Yield the fields of an object, and below each the fields of what it holds."""
    whole = resolved(part)
    for name, inner in whole.get("properties", {}).items():
        yield Row(name, depth, kind_of(inner), name in whole.get("required", []), written(inner.get("description", "")))
        below = inner.get("items", inner)
        if name_of(below) not in NAMED:
            yield from rows(below, depth + 1)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    name = name_of(part)
    found: dict[str, Any] = schema.document()["components"]["schemas"][name] if name else part
    return found


def name_of(part: dict[str, Any]) -> str:
    [reference] = [each["$ref"] for each in (part, *part.get("allOf", [])) if "$ref" in each] or [""]
    return str(reference).rpartition("/")[2]


def kind_of(part: dict[str, Any]) -> str:
    """Say in a few words what a value is: "string, at most 120", "one of debit, credit", "list of objects"."""
    if name_of(part):
        return NAMED.get(name_of(part), "object")
    if "oneOf" in part:  # the second one is the empty string
        return kind_of(part["oneOf"][0])
    if part.get("type") == "array":
        return f"list of {kind_of(part['items'])}s" + (f", at most {part['maxItems']}" if "maxItems" in part else "")
    if "enum" in part:
        return "one of " + ", ".join(str(word) for word in part["enum"])
    if "const" in part:
        return f'"{part["const"]}"'
    types = part.get("type", "any")
    words = [
        {"date-time": "moment", "email": "e-mail address"}.get(
            part.get("format", ""), " or ".join([types] if isinstance(types, str) else types)
        )
    ]
    if "minimum" in part and "maximum" in part:
        words.append(f"{part['minimum']} to {part['maximum']:,}")
    if "maxLength" in part:
        words.append(f"at most {part['maxLength']:,}")
    if part.get("default"):
        words.append(f"{part['default']} if left out")
    return ", ".join(words)


def curl(method: str, path: str, operation: dict[str, Any], *, body: Any) -> str:
    """Return the request as a command that can be pasted into a shell, where $KEY is the API key."""
    address = settings.PUBLIC_URL + path.format(**EXAMPLE_IDS) + EXAMPLE_QUERIES.get(operation["operationId"], "")
    verb = "-X PUT " if method == "PUT" else ""
    lines = [f"curl '{address}'" if "?" in address else f"curl {verb}{address}", '-H "Authorization: Bearer $KEY"']
    if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", [])):
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if body is not None:
        quoted = pretty(body).replace("'", "'\\''").replace("\n", "\n  ")
        lines += ["-H 'Content-Type: application/json'", f"-d '{quoted}'"]
    elif "requestBody" in operation:
        lines += ["-H 'Content-Type: application/octet-stream'", "--data-binary @sb-20261120-eur.csv"]
    return " \\\n  ".join(lines)


def pretty(value: Any) -> str:
    """Return JSON as a person would write it: what fits on a line stays on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) <= 64 or not isinstance(value, (dict, list)) or not value:
        return flat
    inner = (
        [f"{json.dumps(name)}: {pretty(each)}" for name, each in value.items()]
        if isinstance(value, dict)
        else [pretty(each) for each in value]
    )
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    body = ",\n".join(inner).replace("\n", "\n  ")
    return f"{opening}\n  {body}\n{closing}"


def coloured(code: str) -> SafeString:
    """Return JSON as HTML with its keys, strings and other values told apart."""

    def span(found: re.Match[str]) -> str:
        return f'<span class="{found.lastgroup}">{found[0]}</span>'

    return mark_safe(TOKEN.sub(span, escape(code)))  # noqa: S308  (escaped first)


def written(text: str) -> SafeString:
    """Return a sentence as HTML, with `code` in it."""
    return mark_safe(CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308  (escaped first)
