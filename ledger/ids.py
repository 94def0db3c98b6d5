"""Public ids: a typed prefix and a UUIDv7, so that an id says what it names, sorts by time and cannot be guessed (74 random bits)."""

import uuid_utils


def new_id(prefix: str) -> str:
    """Make a new public id, such as `ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d`."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def new_id_in_sql(prefix: str) -> str:
    """Return the SQL expression that makes such an id, for rows that are made by Postgres: the milliseconds, and 74 random bits."""
    milliseconds = "lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')"
    return f"'{prefix}_' || {milliseconds} || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14)"
