"""One way to talk to Postgres in sets: a table of rows goes in as one JSON document, for `json_to_recordset` to read.

Amounts travel as strings, so that no digit is ever a float.  One document is several times cheaper to bind than one array per column
(docs/performance.md).  Nothing here opens a transaction: money is only ever written inside the caller's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.db import connection


class NeedsTransaction(RuntimeError):
    """Money is only ever written inside the caller's transaction, so that it commits with what it is about."""


def require_transaction(what: str) -> None:
    """Raise NeedsTransaction unless a transaction is open."""
    if not connection.in_atomic_block:
        raise NeedsTransaction(f"{what} writes money and must run inside a transaction")


def as_document(table: Sequence[Any]) -> str:
    """Return the rows (dicts or dataclasses) as one JSON document; whatever JSON does not know becomes its text."""
    return orjson.dumps(table, default=str).decode()


def execute(statement: str, *tables: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Execute the statement with the tables as its parameters; return the rows it returns."""
    require_transaction(statement.split(None, 3)[0])
    with connection.cursor() as cursor:
        cursor.execute(statement, [as_document(table) for table in tables])
        return cursor.fetchall() if cursor.description else []


def execute_from(statement: str, rows: str, parameters: Mapping[str, Any]) -> int:
    """Execute a statement whose rows come from a SELECT (in the place of `{rows}`) with its parameters by name; return what it counts."""
    require_transaction(statement.split(None, 3)[0])
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("{rows}", rows), parameters)
        [count] = cursor.fetchone()
    return int(count)
