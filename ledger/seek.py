"""Seek: where in a table that only grows does a moment stand?  Ids rise with time there, so that no index on the time is needed.

A row's time is when its statement began, its id is drawn a little later: neighbours may stand in the other order.  So an answer is a place to
begin reading, `SLACK` on the safe side, and whoever asks still compares the times of the rows.  Rows that are written with a time of long
ago, as an import of old data might, would not be found: nothing in the house writes such rows.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models

SLACK = timedelta(minutes=10)  # longer than any transaction lives (config/settings.py ends them after 30 s)

HALVE = """
WITH RECURSIVE halving (low, high) AS (
    SELECT 0::bigint, (SELECT coalesce(max(id), 0)::bigint + 1 FROM {table})
    UNION ALL
    SELECT CASE WHEN probe.is_early THEN probe.id + 1 ELSE low END, CASE WHEN probe.is_early THEN high ELSE (low + high) / 2 END
    FROM halving LEFT JOIN LATERAL (
        SELECT id, {column} < %s AS is_early FROM {table} WHERE id >= (low + high) / 2 AND id < high ORDER BY id LIMIT 1
    ) AS probe ON true
    WHERE low < high
)
SELECT low FROM halving WHERE low >= high
"""


def first_id_since(model: type[models.Model], column: str, moment: datetime) -> int:
    """Return an id that every row written at the moment or later reaches.  One statement, some twenty probes of the primary key."""
    return position(model, column, moment - SLACK)


def first_id_after(model: type[models.Model], column: str, moment: datetime) -> int:
    """Return an id that every row written before the moment stays below."""
    return position(model, column, moment + SLACK)


def position(model: type[models.Model], column: str, moment: datetime) -> int:
    quote = connection.ops.quote_name
    statement = HALVE.format(table=quote(model._meta.db_table), column=quote(column))  # names of ours; what is asked is a parameter
    with connection.cursor() as cursor:
        cursor.execute(statement, [moment])
        row: tuple[Any, ...] = cursor.fetchone()
    return int(row[0])
