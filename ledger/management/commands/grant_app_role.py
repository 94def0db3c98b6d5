"""`manage.py grant_app_role ROLE`: what the role that the application runs as may do.  Run as the owner, after every `migrate`.

Least privilege: the books can be read and added to, never changed; the rest can be read and written; nothing can be created or dropped.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction
from psycopg import sql

APPEND_ONLY = (
    "ledger_account",
    "ledger_journalentry",
    "ledger_posting",
    "ledger_balancesnapshot",
    "wallet_walletentry",
    "wallet_outboxmessage",
)
STATEMENTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
)


class Command(BaseCommand):
    help = "Grant the application's database role what it needs and no more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role")

    @transaction.atomic
    def handle(self, *args: Any, role: str, **options: Any) -> None:
        with connection.cursor() as cursor:
            for statement in STATEMENTS:
                cursor.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
            for table in APPEND_ONLY:
                revoke = "REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}"
                cursor.execute(sql.SQL(revoke).format(table=sql.Identifier(table), role=sql.Identifier(role)))
        self.stdout.write(f"{role} may read and write, and only add to: {', '.join(APPEND_ONLY)}.")
