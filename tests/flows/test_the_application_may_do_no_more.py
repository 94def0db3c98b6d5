"""Least privilege: what the role that the application runs as can and cannot do, tried on a connection of its own."""

from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from config import devservices
from config.devservices import APP, Endpoints
from ledger import journal, seals
from reconciliation import queues
from tests.factories import FEES, RECEIVABLE, draft

APPEND_ONLY = (
    "ledger_account",
    "ledger_journalentry",
    "ledger_posting",
    "ledger_balancesnapshot",
    "ledger_ledgerseal",
    "ledger_entrydigest",
    "ledger_approvaltransition",
    "wallet_walletentry",
    "wallet_outboxmessage",
    "reconciliation_sourcechunk",
)
Line = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def app(real_db: None, endpoints: Endpoints) -> Iterator[Line]:
    """Connect to this test's database as the application does in the demo and in production."""
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="EUR")
        journal.post([draft("standing")])
    call_command("grant_app_role", APP, verbosity=0)
    url = endpoints.database_url(devservices.APP, str(connection.settings_dict["NAME"]))
    with psycopg.connect(url, autocommit=True) as line:
        yield line


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE {} SET {column} = {column}", "DELETE FROM {}", "TRUNCATE {}"])
def test_pg_11_the_application_cannot_change_what_only_grows(app: Line, table: str, verb: str) -> None:
    column = {"ledger_posting": "line", "ledger_ledgerseal": "hash", "ledger_entrydigest": "digest"}.get(table, "id")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(verb.format(table, column=column))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "DROP TABLE ledger_posting",
        "ALTER TABLE ledger_posting DISABLE TRIGGER ALL",
        "DROP TRIGGER books_are_append_only ON ledger_posting",
        "ALTER TABLE ledger_posting DROP CONSTRAINT posting_moves_money",
        "CREATE OR REPLACE FUNCTION rows_are_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DO $$ BEGIN LOCK TABLE ledger_journalentry IN SHARE MODE; END $$",
        "SET session_replication_role = replica",
        "TRUNCATE payments_paymentorder CASCADE",
        "DELETE FROM django_migrations",
        "DELETE FROM payments_paymentevent",
        "DELETE FROM payments_paymentorder",
        "DELETE FROM payments_pspattempt",
        "DELETE FROM payments_pspevent",
        "DELETE FROM payments_refund",
        "DELETE FROM reconciliation_sourcefile",
        "DELETE FROM ledger_approval",
        "DELETE FROM wallet_wallet",
        "DELETE FROM wallet_seller",
        "COPY ledger_posting TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_sec_30_the_application_can_neither_unguard_the_books_nor_reach_beyond_them(app: Line, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)


def test_the_application_can_post_and_read_and_take_its_snapshots(app: Line) -> None:
    [(entry_id,)] = app.execute(
        """
        WITH entry AS (
            INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', 'by the app', '', now()) RETURNING id
        ), posting AS (
            INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
            SELECT entry.id, row_number() OVER (ORDER BY account.id), account.id,
                   CASE WHEN code = 'fee_revenue' THEN -5 ELSE 5 END, 'EUR'
            FROM entry, ledger_account AS account
        )
        SELECT id FROM entry
        """
    ).fetchall()
    [(horizon,)] = app.execute("SELECT ledger_quiet_horizon()").fetchall()
    assert horizon == entry_id


def test_the_application_can_seal_what_it_posted_and_keep_and_forget_what_the_watch_found(app: Line) -> None:
    app.execute(seals.WRITERS)
    [(number, _hash, _last_entry_id, entries)] = app.execute(seals.SEAL, {"horizon": 2**60, "limit": 10}).fetchall()
    assert (number, entries) == (1, 1)
    app.execute("INSERT INTO reconciliation_invariantrun VALUES (DEFAULT, 'quick', now(), 1, 1, '[]', '')")
    assert app.execute("DELETE FROM reconciliation_invariantrun").rowcount == 1
    for _twice in range(2):
        app.execute(queues.BEAT, ["money"])
    assert seals.verify() == []


def test_the_guards_hold_for_the_application_too(app: Line) -> None:
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        app.execute("INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', 'alone', '', now())")
