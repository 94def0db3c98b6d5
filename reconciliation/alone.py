"""One process at a thing at a time, without a transaction: an advisory lock of Postgres, which ends with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

TAKE_IT = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
LET_IT_GO = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


@contextmanager
def alone_at(what: str) -> Iterator[bool]:
    """Say whether nobody else is at it, and keep others from it until the end, or until this process or its connection dies.

    `what` names the thing among all of the house.  Nobody waits.
    """
    with connection.cursor() as cursor:
        cursor.execute(TAKE_IT, [what])
        [is_mine] = cursor.fetchone()
    try:
        yield is_mine
    finally:
        if is_mine:
            with connection.cursor() as cursor:
                cursor.execute(LET_IT_GO, [what])
