"""JSON, strictly: one megabyte at most, UTF-8, no key twice, no NaN, no depth that nobody needs, no character that nobody can see."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from email.message import Message
from typing import Any, NoReturn

from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser

from ledger.wire import forbidden_in, refusal

LARGEST_BODY = 1024 * 1024
READ_ANYWAY = 16 * 1024 * 1024  # of a body that is too large: whoever is still sending would not hear the answer
DEEPEST = 32


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "body_too_large"
    default_detail = "A request body is one megabyte at most. Send less, or several requests."


class FieldPath(str):
    """The whole path of a field, and not only its name: payment_orders[1].reference."""

    __slots__ = ()


def strange_text(path: str, detail: str) -> ValidationError:
    complaint: Any = {FieldPath(path): refusal(detail, "forbidden_character")}
    return ValidationError(complaint)


class StrictJSONParser(BaseParser):
    """Reads `application/json`.  Raises ParseError, ValidationError naming the field, BodyTooLarge, UnsupportedMediaType."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        require_utf8(media_type or self.media_type)
        text = read_text(stream, length=declared_length(parser_context or {}))
        try:
            body = json.loads(text, object_pairs_hook=unique, parse_constant=no_such_number, parse_float=Decimal)
        except RecursionError:
            refuse_depth()
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {describe(error)}.", code="not_json") from error
        refuse_strange_text(body, path="", depth=1)
        return body


def declared_length(context: Mapping[str, Any]) -> int:
    request = context.get("request")
    return int(request.META.get("CONTENT_LENGTH") or 0) if request else 0


def require_utf8(media_type: str) -> None:
    header = Message()
    header["Content-Type"] = media_type
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type, detail="JSON is sent in UTF-8. Take the charset out of Content-Type.")


def read_text(stream: Any, *, length: int) -> str:
    if length > LARGEST_BODY:
        left = min(length, READ_ANYWAY)
        while left > 0 and (chunk := stream.read(min(left, 65536))):
            left -= len(chunk)
        raise BodyTooLarge
    try:
        return bytes(stream.read(LARGEST_BODY + 1)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError("The body is not UTF-8.", code="not_json") from error


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    thing = dict(pairs)
    if len(thing) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        shown = "a key" if forbidden_in(twice) else twice[:60]
        raise ValidationError({shown: refusal("This key comes twice in one object.", "duplicate_key")})
    return thing


def no_such_number(name: str) -> NoReturn:
    raise ParseError(f"The body is not JSON: {name} is no number.", code="not_json")


def describe(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno} column {error.colno}"
    return "it holds a number of too many digits"


def refuse_depth() -> NoReturn:
    raise ParseError(f"The body is nested deeper than {DEEPEST} levels.", code="too_deep")


def refuse_strange_text(value: Any, *, path: str, depth: int) -> None:
    """Raise for the first string, key or value, that holds a forbidden character, and for too much depth."""
    if depth > DEEPEST:
        refuse_depth()
    if isinstance(value, str) and (character := forbidden_in(value)):
        raise strange_text(path, f"This holds {character}, a character that cannot be seen. Take it out.")
    if isinstance(value, dict):
        for name, inner in value.items():
            if character := forbidden_in(name):
                raise strange_text(path, f"A key in here holds {character}, a character that cannot be seen. Take it out.")
            refuse_strange_text(inner, path=below(path, name), depth=depth + 1)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_strange_text(inner, path=f"{path}[{index}]", depth=depth + 1)


def below(path: str, name: str) -> str:
    """Return the path of a key: `a.b`, or `a["b c"]` where the key is no plain word."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
        return f"{path}.{name}" if path else name
    return f"{path}[{json.dumps(name[:60])}]"
