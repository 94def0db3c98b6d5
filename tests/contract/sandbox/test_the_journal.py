"""The journal only grows, is read without gaps, and the database behind it never saw a card number."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany
from tests.programmes.house import Journal

Database = psycopg.Connection[tuple[Any, ...]]

CARD_NUMBERS = ("4242424242424242", "5555555555554444", "4000002760003184", "4000000000000002", "4539578763621486")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE sandbox_journal SET amount = 1", "DELETE FROM sandbox_journal", "TRUNCATE sandbox_journal"],
)
def test_postgres_refuses_to_change_the_journal(buyer: Buyer, sandbox_database: Database, statement: str) -> None:
    buyer.charged()
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        sandbox_database.execute(statement)


def test_the_journal_tells_all_of_a_charge(buyer: Buyer, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    charge = buyer.charge(buyer.token(), key=key, amount=12_34, reference="ord_77").json()
    [row] = sandbox.journal(key=key)
    told = {name: row[name] for name in ("type", "object_id", "reference", "amount", "currency", "account")}
    assert told == {
        "type": "charge.succeeded",
        "object_id": charge["id"],
        "reference": "ord_77",
        "amount": 12_34,
        "currency": "EUR",
        "account": sandbox.account,
    }


def test_the_journal_is_read_page_by_page(buyer: Buyer, sandbox: SandboxCompany) -> None:
    buyer.charged()
    buyer.charged()
    first = sandbox.client.get("/v1/journal", params={"limit": 1}).json()
    assert len(first["data"]) == 1
    assert first["has_more"]
    second = sandbox.client.get("/v1/journal", params={"limit": 1, "after": first["data"][0]["seq"]}).json()
    assert second["data"][0]["seq"] > first["data"][0]["seq"]


@pytest.mark.race
def test_a_reader_that_follows_the_journal_misses_no_row(buyer: Buyer, sandbox: SandboxCompany) -> None:
    tokens = [buyer.token() for _ in range(8)]
    seen: list[int] = []
    start = max(row["seq"] for row in sandbox.journal())
    with ThreadPoolExecutor(8) as pool:
        charges = [pool.submit(buyer.charge, token, amount=1) for token in tokens * 20]
        while not all(charge.done() for charge in charges):
            after = seen[-1] if seen else start
            page = sandbox.client.get("/v1/journal", params={"after": after, "limit": 1000}).json()["data"]
            seen += [row["seq"] for row in page]
    last = seen[-1]
    assert [row["seq"] for row in sandbox.journal() if start < row["seq"] <= last] == seen


def test_no_table_holds_a_card_number(buyer: Buyer, sandbox_database: Database) -> None:
    """What others left in this sandbox is theirs: a row more than before is a leak."""
    before = _rows_with_a_card_number(sandbox_database)
    for number in CARD_NUMBERS[:-1]:
        buyer.enter(buyer.session(description="scan"), number)
        buyer.enter(buyer.session(save_card=True, customer="buy_scanned"), number)
    buyer.enter(buyer.session(), CARD_NUMBERS[-1])
    buyer.charged()
    assert _rows_with_a_card_number(sandbox_database) == before


def test_what_becomes_of_somebody_elses_refund_is_his(buyer: Buyer, sandbox: SandboxCompany) -> None:
    """The testers' own test: a programme that moves the clock lets an older refund arrive, and must not take it for its own."""
    older = buyer.refund(buyer.charged("4000000000007726"), amount=1_00).json()
    assert older["status"] == "pending"
    journal = Journal(sandbox)
    journal.begin()
    mine = buyer.charged()
    sandbox.client.put("/v1/clock", json={"advance_s": 3600}).raise_for_status()
    while not sandbox.journal(object_id=older["id"], type="refund.succeeded"):
        pass
    journal.read_on()
    read = {row["object_id"] for row in journal.rows}
    assert (mine["id"] in read, older["id"] in read) == (True, False)


def _rows_with_a_card_number(database: Database) -> dict[str, int]:
    """How many rows of each table hold one of the numbers in any column, be it written with spaces or dashes."""
    tables = database.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").fetchall()
    assert len(tables) > 10
    query = "SELECT count(*) FROM {table} AS one WHERE regexp_replace(one::text, '[ -]', '', 'g') ~ %s"
    counted = {name: database.execute(sql.SQL(query).format(table=sql.Identifier(name)), ["|".join(CARD_NUMBERS)]) for (name,) in tables}
    return {name: rows for name, found in counted.items() for (rows,) in found.fetchall()}
