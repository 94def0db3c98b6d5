"""Public ids: a typed prefix and a UUIDv7, so that an id says what it names, sorts by time and cannot be guessed (74 random bits)."""

import uuid_utils


def new_id(prefix: str) -> str:
    """Make a new public id, such as `ord_0199f3c4a7d27b3c8a1e5d6f7a8b9c0d`."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
