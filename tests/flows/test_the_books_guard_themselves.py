"""What Postgres itself refuses, whoever asks and however: the second witness of every rule of the books."""

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from ledger import chart, journal
from ledger.currencies import MINOR_UNITS
from ledger.journal import ReferenceConflict
from ledger.models import Account, JournalEntry, Posting
from ledger.statements import as_document
from tests.factories import FEES, NOON, RECEIVABLE, draft, eur

APPEND_ONLY = (
    "ledger_account",
    "ledger_journalentry",
    "ledger_posting",
    "ledger_balancesnapshot",
    "wallet_walletentry",
    "wallet_outboxmessage",
)
ENTRY = """
WITH entry AS (
    INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', %s, '', now()) RETURNING id
)
INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
SELECT entry.id, leg.line, account.id, leg.amount, leg.currency
FROM entry, json_to_recordset(%s) AS leg (line int, code text, amount numeric, currency text, account_currency text)
LEFT JOIN ledger_account AS account ON account.code = leg.code AND account.currency = coalesce(leg.account_currency, leg.currency)
"""
Leg = tuple[str, str, str]


@pytest.fixture(autouse=True)
def accounts(db: None) -> None:
    """Open two accounts in four currencies of different size."""
    with transaction.atomic():
        for currency in ("EUR", "JPY", "KWD", "CLF"):
            journal.open_accounts([RECEIVABLE, FEES], currency=currency)


def insert(*legs: Leg, reference: str = "raw", account_currency: str | None = None) -> None:
    """Write an entry and its postings by one raw statement, as whoever has the database's password could."""
    rows = [
        {"line": line, "code": code, "amount": amount, "currency": currency, "account_currency": account_currency}
        for line, (code, amount, currency) in enumerate(legs, start=1)
    ]
    with transaction.atomic():
        run(ENTRY, reference, as_document(rows))


def run(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def posted(reference: str = "standing") -> int:
    with transaction.atomic():
        [entry_id] = journal.post([draft(reference)])
    return entry_id


def refused(*, because: str | None = None) -> Any:
    return pytest.raises(IntegrityError, match=because)


def test_a_balanced_entry_is_accepted() -> None:
    insert((RECEIVABLE, "5.00", "EUR"), (FEES, "-5.00", "EUR"))
    assert Posting.objects.count() == 2


@pytest.mark.parametrize(
    ("legs", "because"),
    [
        ([(RECEIVABLE, "5.00", "EUR"), (FEES, "-4.99", "EUR")], "does not balance"),
        ([(RECEIVABLE, "5.00", "EUR"), (FEES, "5.00", "EUR")], "does not balance"),
        ([(RECEIVABLE, "5.00", "EUR")], "does not balance"),
        ([(RECEIVABLE, "5.00", "EUR"), (FEES, "-5", "JPY")], "does not balance"),
        ([(RECEIVABLE, "5", "EUR"), (FEES, "-5", "EUR"), (RECEIVABLE, "1", "JPY")], "does not balance"),
        ([], "one statement"),
        ([("nobody", "5.00", "EUR"), (FEES, "-5.00", "EUR")], "null value|no account"),
        ([(RECEIVABLE, "5.00", "USD"), (FEES, "-5.00", "USD")], "null value|no account"),
        ([(RECEIVABLE, "0.00", "EUR"), (FEES, "0.00", "EUR")], "posting_moves_money"),
        ([(RECEIVABLE, "5.001", "EUR"), (FEES, "-5.001", "EUR")], "posting_is_in_minor_units"),
        ([(RECEIVABLE, "5.5", "JPY"), (FEES, "-5.5", "JPY")], "posting_is_in_minor_units"),
        ([(RECEIVABLE, "5.0001", "KWD"), (FEES, "-5.0001", "KWD")], "posting_is_in_minor_units"),
    ],
    ids=[
        "unbalanced",
        "same side twice",
        "one leg",
        "two currencies",
        "a second currency's single leg",
        "no legs",
        "unknown account",
        "currency without account",
        "no money",
        "finer than a cent",
        "finer than a yen",
        "finer than a fils",
    ],
)
def test_pg_12_an_entry_that_is_none_is_refused(legs: list[Leg], because: str) -> None:
    with refused(because=because):
        insert(*legs)
    assert not JournalEntry.objects.exists()


def test_an_account_of_another_currency_takes_no_posting() -> None:
    with refused(because="no account"):
        insert((RECEIVABLE, "5", "JPY"), (FEES, "-5", "JPY"), account_currency="EUR")


def test_amounts_as_fine_as_their_currency_are_accepted() -> None:
    for amount, currency in (("5.01", "EUR"), ("5", "JPY"), ("5.001", "KWD"), ("5.0001", "CLF")):
        insert((RECEIVABLE, amount, currency), (FEES, f"-{amount}", currency), reference=currency)
    assert Posting.objects.count() == 8


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e400"])
def test_bug_18_postgres_counts_no_amount_that_is_no_number(amount: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        insert((RECEIVABLE, amount, "EUR"), (FEES, "-5", "EUR"))


TWO_ENTRIES = """
WITH entry AS (
    INSERT INTO ledger_journalentry (kind, reference, memo, effective_at)
    VALUES ('manual', 'a', '', now()), ('manual', 'b', '', now()) RETURNING id, reference
)
INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
SELECT entry.id, leg.line, account.id, leg.amount, 'EUR'
FROM (VALUES ('a', 1, %s, 5.00), ('a', 2, %s, -4.00), ('b', 1, %s, -1.00 * 5 + 4.00), ('b', 2, %s, 0.50), ('b', 3, %s, -0.50))
     AS leg (reference, line, code, amount)
JOIN entry USING (reference) JOIN ledger_account AS account ON account.code = leg.code AND account.currency = 'EUR'
"""


def test_two_entries_that_balance_only_together_are_refused() -> None:
    with refused(because="does not balance"), transaction.atomic():
        run(TWO_ENTRIES, RECEIVABLE, FEES, RECEIVABLE, FEES, FEES)


def test_an_entry_opened_by_itself_is_refused() -> None:
    with refused(because="one statement"), transaction.atomic():
        JournalEntry.objects.create(kind="manual", reference="alone", effective_at=NOON)


def late_postings(entry_id: int) -> list[Posting]:
    accounts = Account.objects.filter(currency="EUR").in_bulk(field_name="id")
    [first, second] = sorted(accounts)
    return [
        Posting(entry_id=entry_id, line=8, account_id=first, amount=eur("5.00")),
        Posting(entry_id=entry_id, line=9, account_id=second, amount=eur("-5.00")),
    ]


def test_a_balanced_posting_added_later_in_the_same_transaction_is_refused() -> None:
    with refused(because="stands already"), transaction.atomic():
        [entry_id] = journal.post([draft("a")])
        Posting.objects.bulk_create(late_postings(entry_id))


def test_pg_12_a_savepoint_hides_nothing() -> None:
    with refused(because="stands already"), transaction.atomic():
        with transaction.atomic():
            [entry_id] = journal.post([draft("a")])
        with transaction.atomic():
            Posting.objects.bulk_create(late_postings(entry_id))


def test_an_entry_inside_a_savepoint_is_accepted_and_vanishes_with_it() -> None:
    with transaction.atomic():
        journal.post([draft("kept")])
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            journal.post([draft("undone")])
            raise ZeroDivisionError
    assert list(JournalEntry.objects.values_list("reference", flat=True)) == ["kept"]


def test_postings_of_an_entry_that_does_not_exist_are_refused() -> None:
    with refused(because="does not exist"), transaction.atomic():
        Posting.objects.bulk_create(late_postings(4_000_000_000))


def test_a_posting_to_an_account_id_that_does_not_exist_is_refused() -> None:
    statement = """
    WITH entry AS (INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', 'x', '', now()) RETURNING id)
    INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
    SELECT id, line, 77777777, amount, 'EUR' FROM entry, (VALUES (1, 5.00), (2, -5.00)) AS leg (line, amount)
    """
    with refused(because="no account"), transaction.atomic():
        run(statement)


def test_a_currency_that_is_none_has_no_account() -> None:
    with refused(because="account_has_a_known_currency"), transaction.atomic():
        Account.objects.create(code=FEES, currency="XXX")


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "verb",
    [
        "UPDATE {table} SET id = id",
        "DELETE FROM {table}",
        "DELETE FROM {table} WHERE false",
        "TRUNCATE {table} CASCADE",
    ],
)
def test_pg_11_what_only_grows_is_never_changed_not_even_where_there_is_nothing(table: str, verb: str) -> None:
    statement = verb.format(table=table).replace("SET id = id", "SET line = line" if table == "ledger_posting" else "SET id = id")
    with refused(because="append-only"), transaction.atomic():
        run(statement)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_pg_14_the_guards_are_there_and_switched_on(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled = 'O' AND (tgtype & 58) = 58",
            [table],
        )
        assert cursor.fetchone() == (1,), "one trigger BEFORE UPDATE, DELETE and TRUNCATE"


def test_the_same_reference_with_the_same_legs_answers_with_its_entry() -> None:
    assert posted("a") == posted("a")
    assert Posting.objects.count() == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "6.00"},
        {"kind": "sale"},
        {"debits": [(FEES, eur("5.00"))], "credits": [(RECEIVABLE, eur("5.00"))]},
        {"credits": [(FEES, eur("4.00")), (RECEIVABLE, eur("1.00"))]},
    ],
    ids=["amount", "kind", "sides", "legs"],
)
def test_bug_28_the_same_reference_with_anything_changed_is_refused(changed: dict[str, Any]) -> None:
    posted("a")
    with pytest.raises(ReferenceConflict), transaction.atomic():
        journal.post([draft("a", **changed)])


def test_a_reference_that_comes_twice_in_one_batch_is_refused() -> None:
    with pytest.raises(ReferenceConflict), transaction.atomic():
        journal.post([draft("a"), draft("b"), draft("a")])


def test_some_of_a_batch_may_stand_already() -> None:
    first = posted("b")
    with transaction.atomic():
        ids = journal.post([draft("a"), draft("b"), draft("c")])
    assert ids[1] == first
    assert list(JournalEntry.objects.in_bulk(ids)) == sorted(ids)


def test_one_bad_entry_refuses_its_whole_batch() -> None:
    nobody = draft("bad", debits=[(chart.seller_pending(424242), eur("5.00"))])
    with refused(), transaction.atomic():
        journal.post([draft("good"), nobody])
    assert not JournalEntry.objects.exists()


def test_pg_03_a_refused_entry_leaves_the_outer_work_standing() -> None:
    with transaction.atomic():
        posted("before")
        with refused(), transaction.atomic():
            journal.post([draft("bad", debits=[(chart.seller_pending(424242), eur("5.00"))])])
        journal.post([draft("after")])
    assert set(JournalEntry.objects.values_list("reference", flat=True)) == {"before", "after"}


@pytest.mark.parametrize("currency", sorted(MINOR_UNITS))
def test_bug_53_python_and_postgres_agree_on_every_currencys_decimals(currency: str) -> None:
    places = MINOR_UNITS[currency]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT money_is_exact(%s::numeric, %s), money_is_exact(%s::numeric, %s)",
            [f"1e-{places}", currency, f"1e-{places + 1}", currency],
        )
        assert cursor.fetchone() == (True, False)
