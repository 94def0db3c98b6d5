"""Cursor pages: newest first by id, stable while rows are added, and no page costs more than the first.

`{"object": "list", "data": [...], "has_more": true, "next_cursor": "..."}`; the cursor says only where the next page begins.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.wire import refusal


class CursorPages(BasePagination):
    """One page of a queryset, for an Endpoint whose query is a PageQuery."""

    next_cursor: str | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit, cursor = view.query["limit"], view.query.get("cursor")
        if cursor:
            queryset = queryset.filter(pk__lt=position(cursor))
        rows = list(queryset.order_by("-pk")[: limit + 1])
        if len(rows) > limit:
            self.next_cursor = cursor_after(rows[limit - 1].pk)
        return rows[:limit]

    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        more = self.next_cursor is not None
        return Response({"object": "list", "data": data, "has_more": more, "next_cursor": self.next_cursor})


def cursor_after(key: int) -> str:
    return base64.urlsafe_b64encode(f"after:{key}".encode()).decode().rstrip("=")


def position(cursor: str) -> int:
    """Return the key that a page ended with.  Raises ValidationError for a cursor that is not ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    word, _colon, digits = text.partition(":")
    if word != "after" or not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise ValidationError({"cursor": refusal("This cursor is not one of ours. Begin again without it.", "invalid_cursor")})
    return int(digits)
