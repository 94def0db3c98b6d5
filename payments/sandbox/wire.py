"""Reading requests and writing answers: JSON in, JSON out, nothing unknown accepted.

A request is described by a mapping of field names to Field; whatever else the body carries is refused by name. Moments
are written in UTC with a Z.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.http import HttpRequest, HttpResponse

from payments.sandbox.errors import Refusal

MAX_AMOUNT = 10**16 - 1  # 999,999,999,999.9999 of a currency with four decimals
DESCRIPTOR = re.compile("(?=.*[A-Za-z])[ -~]{5,22}")
FORBIDDEN_IN_A_DESCRIPTOR = frozenset("<>\\'\"*")
ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """One field of a request. `read` returns the value or raises ValueError saying what it must be."""

    read: Callable[[Any], Any]
    default: Any = ...

    @property
    def is_required(self) -> bool:
        return self.default is ...


def answer(body: object, *, status: int = 200) -> HttpResponse:
    return raw_answer(orjson.dumps(body), status=status)


def raw_answer(body: bytes, *, status: int) -> HttpResponse:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Length": str(len(body))}
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)


def read(request: HttpRequest, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the values of a JSON body; raises Refusal naming the first field that is missing, unknown or wrong."""
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        raise Refusal(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_json", "The body must be a JSON object.")
    for name in body:
        if name not in fields:
            raise Refusal(400, "unknown_field", f"There is no field {name[:100]!r} here.", field=name[:100])
    return {name: _value(body, name, field) for name, field in fields.items()}


def _value(body: dict[str, Any], name: str, field: Field) -> Any:
    value = body.get(name)
    if value is None:
        if field.is_required:
            raise Refusal(400, "missing_field", f"{name} is missing.", field=name)
        return field.default
    try:
        return field.read(value)
    except ValueError as wrong:
        raise Refusal(400, "invalid_field", f"{name} must be {wrong}.", field=name) from None


def text(*, at_least: int = 1, at_most: int = 255, pattern: str = "") -> Callable[[Any], str]:
    def read_text(value: Any) -> str:
        if not isinstance(value, str) or not at_least <= len(value) <= at_most or "\x00" in value:
            raise ValueError(f"a text of {at_least} to {at_most} characters")
        if pattern and not re.fullmatch(pattern, value):
            raise ValueError(f"of the form {pattern}")
        return value

    return read_text


def descriptor(value: Any) -> str:
    """Read how a statement names a shop, by Stripe's rule: 5 to 22 characters of ASCII, a letter among them, and some signs not."""
    if not isinstance(value, str) or not DESCRIPTOR.fullmatch(value) or FORBIDDEN_IN_A_DESCRIPTOR & set(value):
        raise ValueError("5 to 22 characters of ASCII with a letter among them, and without < > \\ ' \" *")
    return value


def name(value: Any) -> str:
    """Read somebody's name; blanks around it do not count."""
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= 140 or not value.strip().isprintable():
        raise ValueError("a name of 1 to 140 characters")
    return value.strip()


def amount(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_AMOUNT:
        raise ValueError("a whole number of minor units above zero")
    return value


def whole_number(value: Any) -> int:
    if type(value) is not int or not 0 < value < 10**6:
        raise ValueError("a whole number above zero")
    return value


def share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return float(value)


def seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 7 * 24 * 3600:
        raise ValueError("a number of seconds, at most a week")
    return float(value)


def offset(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= 10**9:
        raise ValueError("a number of seconds; below zero is back")
    return float(value)


def retry_after(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 7 * 24 * 3600:
        raise ValueError("a whole number of seconds, at most a week")
    return value


def money_or_nothing(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_AMOUNT:
        raise ValueError("a whole number of minor units, zero or more")
    return value


def yes_or_no(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    def read_choice(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return read_choice


def labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > 50 or not all(isinstance(label, str) for label in value.values()):
        raise ValueError("an object of at most 50 texts")
    if "\x00" in "".join([*value, *value.values()]):
        raise ValueError("free of NUL characters")
    return value


def origin(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 255 or not ORIGIN.fullmatch(value):
        raise ValueError("an origin such as https://shop.example")
    return value.lower()


def url(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000 or not value.isprintable() or " " in value:
        raise ValueError("a web address")
    if not ORIGIN.fullmatch(origin_of(value)):
        raise ValueError("a web address such as https://shop.example/return")
    return value


def origin_of(address: str) -> str:
    """Return scheme, host and port of a web address; "" when it cannot be read."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()


def moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
