"""Who changes a status, and why: named by the transaction, written down by Postgres (a trigger keeps every transition)."""

from django.db import connection

from ledger.statements import require_transaction

NAME = "SELECT set_config('onebook.actor', %s, true), set_config('onebook.reason', %s, true)"


def by(actor: str, *, reason: str) -> None:
    """Say who does what this transaction does from now on, and why.  Without it, it is the machine."""
    require_transaction("transitions.by")
    with connection.cursor() as cursor:
        cursor.execute(NAME, [actor, reason[:500]])


def is_same_person(actor: str, other: str) -> bool:
    """Is it the same login, be it as staff or as a seller's person (`staff:ada`, `user:ada`)?"""
    return (actor.partition(":")[2] or actor) == (other.partition(":")[2] or other)
