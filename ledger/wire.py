"""How things look on the wire: the strict serializers that every app's REST API is made of, and the fields they share.

Nothing is guessed and nothing is ignored: a field that nobody asked for, a number where a string belongs, or a character that a reader
cannot see is refused, and the refusal names the field.  Money is `{"amount": "19.99", "currency": "USD"}`, never a JSON number.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.core.validators import EmailValidator
from django.utils.dateparse import parse_datetime
from djmoney.money import Money
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from ledger import money
from ledger.errors import DomainError

# Controls (C0, DEL, C1), the signs that reorder text behind the reader's back, and halves of a character (Unicode: UAX 9).
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, tzinfo=UTC)
MOST_ON_A_PAGE = 100
SHOWN = 20  # of the fields that nobody asked for


def forbidden_in(text: str) -> str:
    """Return the first forbidden character of the text, as U+202E; empty if there is none."""
    found = FORBIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def refusal(detail: str, code: str) -> list[ErrorDetail]:
    return [ErrorDetail(detail, code=code)]


class PlainText(serializers.CharField):
    """A line of text: a JSON string, without control characters and without signs that reorder what a reader sees."""

    default_error_messages = {
        "invalid": "This must be a string.",
        "forbidden_character": "This holds {character}, a character that cannot be seen. Take it out.",
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if character := forbidden_in(data):
            self.fail("forbidden_character", character=character)
        if not self.allow_blank and not any(sign.isprintable() and not sign.isspace() for sign in data):
            self.fail("blank")
        return super().to_internal_value(data)


class EmailText(PlainText):
    """An e-mail address."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)
        self.validators.append(EmailValidator(message="This is not an e-mail address.", code="not_an_email"))


@extend_schema_field({"type": "string", "maxLength": 12, "pattern": "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"})
class LocaleField(PlainText):
    """A language tag of BCP 47: language, script, region.  The page falls back to English for a language that it does not speak."""

    default_error_messages = {"not_a_locale": "This is not a language tag. Send one such as en, de-AT or zh-Hant-TW."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not re.fullmatch("[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", text):
            self.fail("not_a_locale")
        return text


@extend_schema_field({"$ref": "#/components/schemas/Currency"})
class CurrencyField(PlainText):
    """A currency in use, by its three letters of ISO 4217."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            money.minor_units(text)
        except DomainError as error:
            raise ValidationError(error.detail, code=error.code) from error
        return text


class WholeNumber(serializers.IntegerField):
    """A JSON number without a fraction; neither a string nor a boolean."""

    default_error_messages = {"invalid": "This must be a whole number."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class Choice(serializers.ChoiceField):
    """One of a few words."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise ValidationError(f"This must be one of: {', '.join(map(str, self.choices))}.", code="invalid_choice")
        return data


class Moment(serializers.DateTimeField):
    """A moment in ISO 8601 with its zone."""

    default_error_messages = {
        "invalid": "This must be a moment with its zone, such as 2026-11-21T09:30:00Z. In an address, write + as %2B.",
        "out_of_range": "This moment must lie between 1970 and 2999.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment = parse_datetime(value) if isinstance(value, str) and value.isascii() and len(value) <= 40 else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("invalid")
        if not EARLIEST <= moment <= LATEST:
            self.fail("out_of_range")
        return moment


@extend_schema_field({"$ref": "#/components/schemas/Money"})
class MoneyField(serializers.Field[Money, Any, dict[str, str], Any]):
    """Money: an amount in decimal digits, in a string, and its currency; kept to the currency's minor unit, never rounded."""

    default_error_messages = {"invalid": 'This must be an object such as {{"amount": "19.99", "currency": "USD"}}.'}

    def to_internal_value(self, data: Any) -> Money:
        if not isinstance(data, Mapping):
            self.fail("invalid")
        errors = unknown_fields(data, known=("amount", "currency"))
        for name in ("amount", "currency"):
            if name not in data:
                errors[name] = refusal("This field is required.", "required")
            elif not isinstance(data[name], str):
                errors[name] = refusal("Send a string, such as '19.99': a JSON number may lose digits on its way.", "must_be_a_string")
        if errors:
            raise ValidationError(errors)
        try:
            return money.exact(data["amount"], data["currency"])
        except DomainError as error:
            raise ValidationError({error.field: refusal(error.detail, error.code)}) from error

    def to_representation(self, value: Money) -> dict[str, str]:
        return {"amount": money.text(value), "currency": value.currency.code}


class PositiveMoneyField(MoneyField):
    """Money, and more than none of it."""

    def to_internal_value(self, data: Any) -> Money:
        amount = super().to_internal_value(data)
        if amount.amount <= 0:
            raise ValidationError({"amount": refusal("An amount must be more than zero.", "amount_not_positive")})
        return amount


class Metadata(serializers.DictField):
    """The caller's own notes: up to 50 strings of 500 characters, each under a name of up to 40."""

    child = PlainText(max_length=500, allow_blank=True, trim_whitespace=False)
    default_error_messages = {"too_many": "Metadata holds 50 entries at most.", "not_a_dict": "This must be a JSON object, in braces."}

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if isinstance(data, Mapping):
            if len(data) > 50:
                self.fail("too_many")
            wrong = [name for name in data if not 1 <= len(name) <= 40 or forbidden_in(name)]
            if wrong:
                raise ValidationError("A name in metadata has 1 to 40 visible characters.", code="metadata_name")
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses, by name, every field it does not know.  `example` is shown in the documentation, which is tested.

    `if_empty` is said to whoever sends no body at all.
    """

    example: ClassVar[Any] = None
    if_empty: ClassVar[str] = "Send a JSON object; {} if there is nothing to say."
    default_error_messages = {"invalid": "This must be a JSON object, in braces."}

    def to_internal_value(self, data: Any) -> Any:
        unknown = unknown_fields(data, known=self.fields) if isinstance(data, Mapping) else {}
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            known = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
            raise ValidationError({**known, **unknown}) from error
        if unknown:
            raise ValidationError(unknown)
        return value


class ListOf(serializers.ListSerializer[Any]):
    """A list of objects, and how many of them it may hold."""

    default_error_messages = {"not_a_list": "This must be a list."}

    def __init__(self, child: StrictSerializer, *, most: int, least: int = 0, **options: Any) -> None:
        limits: Any = {"allow_empty": least == 0, "max_length": most}
        super().__init__(child=child, **limits, **options)
        self.least, self.most = least, most


def unknown_fields(data: Mapping[str, Any], *, known: Iterable[str]) -> dict[str, Any]:
    """Return a refusal for each field that is not known (the first twenty, and their first 60 letters)."""
    unknown = [name for name in data if name not in set(known)][:SHOWN]
    return {name[:60]: refusal("There is no such field here.", "unknown_field") for name in unknown}


class ObjectName(serializers.Field[Any, Any, str, Any]):
    """What kind of object this is: the same word each time."""

    def __init__(self, name: str) -> None:
        super().__init__(source="*", read_only=True)
        self.name = name
        set_override(self, "field", {"type": "string", "const": name})  # its schema, in the words of OpenAPI

    def to_representation(self, value: Any) -> str:
        return self.name


class TextOrNull(serializers.CharField):
    """Text that is null on the wire where there is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_representation(self, value: Any) -> str | None:  # type: ignore[override]
        return super().to_representation(value) or None


# Query parameters: what arrives are strings.


class Digits(serializers.IntegerField):
    """A whole number in decimal digits."""

    default_error_messages = {"invalid": "This must be a whole number."}

    def to_internal_value(self, data: Any) -> int:
        if not (isinstance(data, str) and data.isascii() and data.isdigit() and len(data) <= 9):
            self.fail("invalid")
        return int(data)


class Flag(serializers.BooleanField):
    """`true` or `false`."""

    def to_internal_value(self, data: Any) -> bool:
        if data not in ("true", "false"):
            raise ValidationError("This must be true or false.", code="invalid")
        return bool(data == "true")


class Yes(serializers.BooleanField):
    """A JSON true or false; neither a string nor a number."""

    default_error_messages = {"invalid": "This must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return data


class NoParameters(StrictSerializer):
    """No query parameters at all."""


class PageQuery(StrictSerializer):
    """Which page of a list: what its predecessor gave as `next_cursor`, and how many rows."""

    limit = Digits(required=False, default=20, min_value=1, max_value=MOST_ON_A_PAGE, help_text="How many at most")
    cursor = PlainText(required=False, max_length=200, help_text="The `next_cursor` of the page before; none for the first page")
