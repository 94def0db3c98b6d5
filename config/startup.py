"""What must be true of Postgres before a process of ours starts: in production it may not forget what it acknowledged.

The settings that need no database are checked in settings.py.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

DURABLE = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "remote_write", "remote_apply")}
GUARDS = frozenset(
    {
        ("ledger_posting", "postings_must_balance"),
        ("ledger_journalentry", "entry_must_have_postings"),
        ("ledger_account", "books_are_append_only"),
        ("ledger_journalentry", "books_are_append_only"),
        ("ledger_posting", "books_are_append_only"),
        ("ledger_balancesnapshot", "books_are_append_only"),
        ("ledger_ledgerseal", "seals_are_append_only"),
        ("ledger_entrydigest", "seals_are_append_only"),
        ("wallet_walletentry", "entries_are_append_only"),
        ("wallet_outboxmessage", "messages_are_append_only"),
        ("wallet_storedvalueentry", "stored_value_entries_are_append_only"),
        ("wallet_exchangerate", "exchange_rates_are_append_only"),
        ("wallet_conversion", "conversions_are_append_only"),
        ("wallet_deliveryattempt", "attempts_are_never_changed"),
        ("payouts_bankaccount", "bank_account_is_fixed"),
        ("reconciliation_sourcefile", "source_file_is_fixed"),
        ("reconciliation_sourcechunk", "originals_are_append_only"),
        ("reconciliation_linematch", "matches_are_append_only"),
        ("ledger_journalentry", "entry_must_lie_in_an_open_month"),
        ("ledger_approval", "approval_waits_first"),
        ("ledger_approval", "approval_is_fixed"),
        ("ledger_approval", "approval_has_changed"),
        ("ledger_approval", "approval_stays"),
        ("ledger_approvaltransition", "approval_transitions_are_append_only"),
        ("auth_user", "login_keeps_its_name"),
        ("auth_user", "login_is_made_or_deleted"),
        ("auth_user", "login_has_changed"),
        ("auth_user_groups", "role_is_given_or_taken"),
        ("auth_user_user_permissions", "right_is_given_or_taken"),
        ("reconciliation_rightstransition", "rights_transitions_are_append_only"),
        ("ledger_closedmonth", "month_must_be_the_next"),
        ("ledger_closedmonth", "closed_months_are_append_only"),
        ("ledger_closedtotal", "closed_totals_are_append_only"),
        ("reconciliation_monthclose", "month_close_is_fixed"),
        ("reconciliation_closeevidence", "evidence_is_append_only"),
        ("payments_paymentorder", "order_is_final"),
        ("payments_paymentorder", "order_keeps_its_tenders"),
        ("payments_tender", "tender_is_fixed"),
        ("payments_paymentorder", "status_has_changed"),
        ("payments_paymentevent", "status_has_changed"),
        ("payments_refund", "status_has_changed"),
        ("payments_cancellation", "status_has_changed"),
        ("payments_dispute", "status_has_changed"),
        ("payments_transition", "transitions_are_append_only"),
    }
)


class UnsafePostgres(ImproperlyConfigured):
    """The database could lose money: the message says which setting, and what it must be."""


def refuse_unsafe() -> None:
    """Raise UnsafePostgres if a durability setting is off or a guard of the books is missing or disabled.  Production only."""
    if settings.PRODUCTION:
        with connection.cursor() as cursor:
            for name, accepted in DURABLE.items():
                cursor.execute("SELECT current_setting(%s)", [name])
                [value] = cursor.fetchone()
                if value not in accepted:
                    raise UnsafePostgres(f"Postgres has {name} = {value}. Set it to {accepted[0]}: money would be lost in a crash.")
            cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A') AND NOT tgisinternal")
            missing = [f"{name} on {table}" for table, name in sorted(GUARDS - set(cursor.fetchall()))]
            if missing:
                raise UnsafePostgres(f"The books are not guarded: {', '.join(missing)} missing or disabled. Run the migrations.")
        connection.close()
