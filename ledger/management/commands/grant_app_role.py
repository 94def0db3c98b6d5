"""`manage.py grant_app_role ROLE`: what the role that the application runs as may do.  Run as the owner, after every `migrate`.

Least privilege: the books can be read and added to, never changed; the rest can be read and written, and rows deleted only where that is
the custom (queues, sessions, logins, fee schedules); nothing can be created or dropped.
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
    "ledger_ledgerseal",
    "ledger_entrydigest",
    "ledger_approvaltransition",
    "ledger_closedmonth",
    "ledger_closedtotal",
    "wallet_walletentry",
    "wallet_outboxmessage",
    "wallet_storedvalueentry",
    "wallet_deliveryattempt",
    "wallet_feeinvoice",
    "wallet_feeinvoiceline",
    "wallet_shoplogo",
    "wallet_exchangerate",
    "wallet_conversion",
    "payments_tenderrefund",
    "reconciliation_sourcechunk",
    "reconciliation_linematch",
    "reconciliation_comparedstatement",
    "reconciliation_banklinematch",
    "reconciliation_tolerancechange",
    "reconciliation_mismatchtransition",
    "reconciliation_closeevidence",
    "reconciliation_mismatchnote",
    "reconciliation_mismatchattachment",
    "reconciliation_rightstransition",
)
MAY_DELETE = (
    "reconciliation_invariantrun",
    "reconciliation_stagedline",
    "reconciliation_stagedbankline",
    "reconciliation_bankstatement",
    "reconciliation_expectedfile",
    "reconciliation_expectedfee",
    "payments_dueorder",
    "payments_duerelease",
    "payments_opencheckout",
    "payments_chosentender",
    "payments_tenderrefund",
    "payments_feeschedule",
    "payments_feetier",
    "wallet_releaseterms",
    "wallet_taxrate",
    "wallet_idempotencyrecord",
    "wallet_dueexpiry",
    "wallet_codetries",
    "wallet_seller_users",
    "wallet_secondfactor",
    "wallet_recoverycode",
    "wallet_noticedismissal",
    "wallet_webhookdelivery",
    "wallet_webhooksecret",
    "wallet_deliveryattempt",
    "auth_group",
    "auth_group_permissions",
    "auth_user",
    "auth_user_groups",
    "auth_user_user_permissions",
    "django_admin_log",
    "django_session",
)
STATEMENTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
    "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE ON django_migrations FROM {role}",
)


class Command(BaseCommand):
    help = "Grant the application's database role what it needs and no more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role")

    @transaction.atomic
    def handle(self, *args: Any, role: str, **options: Any) -> None:
        with connection.cursor() as cursor:
            for statement in STATEMENTS:
                database = sql.Identifier(str(connection.settings_dict["NAME"]))
                cursor.execute(sql.SQL(statement).format(role=sql.Identifier(role), database=database))
            for change, tables in (
                ("REVOKE UPDATE ON {table} FROM {role}", APPEND_ONLY),
                ("GRANT DELETE ON {table} TO {role}", MAY_DELETE),
            ):
                for table in tables:
                    cursor.execute(sql.SQL(change).format(table=sql.Identifier(table), role=sql.Identifier(role)))
        self.stdout.write(f"{role} may read and write, and only add to: {', '.join(APPEND_ONLY)}.")
