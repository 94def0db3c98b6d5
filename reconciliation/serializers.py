"""Files of PSPs and banks on the wire."""

from typing import Any

from rest_framework import serializers

from ledger.wire import Choice, ObjectName, PageQuery, PlainText, StrictSerializer, TextOrNull
from reconciliation.models import SourceFile

SETTLEMENT_FILE: dict[str, Any] = {
    "id": "sf_0199f4b7c2a17d3e8f5a6b7c8d9e0f1a",
    "object": "settlement_file",
    "source": "sandbox",
    "kind": "settlement",
    "format": "sandbox_settlement",
    "name": "sb-20261120-eur.csv",
    "size": 48213,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "status": "STAGED",
    "records": 412,
    "error": None,
    "error_line": None,
    "currencies": ["EUR"],
    "last_day": "2026-11-20",
    "received_at": "2026-11-21T05:12:45.301Z",
    "staged_at": "2026-11-21T05:12:46.017Z",
}


class SettlementFileSerializer(StrictSerializer):
    """A file of a PSP or a bank, and how far it was read."""

    example = SETTLEMENT_FILE

    id = serializers.CharField(source="public_id")
    object = ObjectName("settlement_file")
    source = serializers.CharField(help_text="The PSP or the bank")  # type: ignore[assignment]
    kind = TextOrNull(help_text="`settlement` or `statement`; null where the format is none that we read")
    format = TextOrNull(help_text="The format that it was taken for")
    name = serializers.CharField(help_text="As it was given")
    size = serializers.IntegerField(help_text="In bytes, as it was given")
    sha256 = serializers.CharField()
    status = serializers.ChoiceField(SourceFile.Status.choices, help_text="Its lines count once it is `STAGED`: read to its end")
    records = serializers.IntegerField(source="staged", help_text="How many of its records are staged")
    error = TextOrNull(help_text="Why it was refused")
    error_line = serializers.IntegerField(allow_null=True, help_text="Where it was refused")
    currencies = serializers.ListField(child=serializers.CharField())
    last_day = serializers.DateField(allow_null=True, help_text="The last day that its lines are about")
    received_at = serializers.DateTimeField()
    staged_at = serializers.DateTimeField(allow_null=True)


class SettlementFilesQuery(PageQuery):
    status = Choice(choices=SourceFile.Status.choices, required=False)
    source = PlainText(required=False, max_length=32, help_text="The PSP or the bank")  # type: ignore[assignment]


class NewSettlementFileQuery(StrictSerializer):
    source = PlainText(max_length=32, help_text="The PSP or the bank that it is of")  # type: ignore[assignment]
    name = PlainText(max_length=200, help_text="What it is called; it is only shown")
