"""The chain of hashes over the books: what is sealed when, and that no edit behind the guards' back stays unseen."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error, connection, connections, transaction

from ledger import journal, seals
from ledger.models import EntryDigest, JournalEntry, LedgerSeal
from tests.factories import FEES, RECEIVABLE, draft
from tests.fixtures_services import admin_url

ENTRIES, BATCH = 60, 8
SEED = 1709


@pytest.fixture
def books(real_db: None) -> list[int]:
    """Give sealed books: sixty entries in batches of eight."""
    ids = posted(ENTRIES)
    assert seals.seal(batch=BATCH) == ENTRIES
    return ids


def posted(count: int, *, prefix: str = "entry") -> list[int]:
    with transaction.atomic():
        journal.open_accounts([RECEIVABLE, FEES], currency="EUR")
        return sorted(journal.post([draft(f"{prefix}-{number}") for number in range(count)]))


@contextmanager
def tampered(*statements: str) -> Iterator[None]:
    """Do it as a superuser with the guards off, and undo it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount > 0, "the tampering must change something"
        yield
        transaction.set_rollback(True)


# --- Sealing --------------------------------------------------------------------------------------------------------


def test_every_entry_is_sealed_once_and_in_order(books: list[int]) -> None:
    assert list(EntryDigest.objects.order_by("entry_id").values_list("entry_id", flat=True)) == books
    chain = list(LedgerSeal.objects.order_by("number"))
    assert [link.number for link in chain] == list(range(1, 9))
    assert [link.entries for link in chain] == [8] * 7 + [4]
    assert [link.previous_hash for link in chain] == ["", *(link.hash for link in chain[:-1])]
    assert seals.verify(anchor=seals.head()) == []


def test_the_next_sealing_goes_on_where_the_last_one_ended(books: list[int]) -> None:
    anchor = seals.head()
    assert seals.seal() == 0
    later = posted(3, prefix="later")
    assert seals.seal() == 3
    newest = LedgerSeal.objects.latest("number")
    assert (newest.number, newest.first_entry_id, newest.last_entry_id) == (9, later[0], later[-1])
    assert seals.verify(anchor=anchor) == []


def test_the_head_goes_to_the_log_as_the_command_reads_it(books: list[int], caplog: pytest.LogCaptureFixture) -> None:
    posted(1, prefix="later")
    with caplog.at_level("INFO", logger="ledger.seals"):
        seals.seal()
    [said] = [record.getMessage() for record in caplog.records]
    anchored = said.removeprefix("seal ").split(": ")[0]
    assert seals.parse_head(anchored) == seals.head()
    call_command("verify_seals", "--head", anchored, verbosity=0)


def test_an_entry_that_is_not_yet_committed_is_waited_for_and_no_writer_waits(books: list[int]) -> None:
    with psycopg.connect(admin_url(str(connection.settings_dict["NAME"]))) as slow:
        slow.execute(by_hand("slow"))
        higher = posted(1, prefix="higher")
        assert seals.seal(wait_s=0.05) == 0, "a lower id may still be committed"
        sealing = threading.Thread(target=seal_on_a_line_of_its_own)
        sealing.start()
        [posted(1, prefix=f"meanwhile-{number}") for number in range(20)]
        slow.commit()
        sealing.join()
    seals.seal()
    [slow_id] = JournalEntry.objects.filter(reference="slow").values_list("pk", flat=True)
    assert slow_id < higher[0]
    assert EntryDigest.objects.count() == JournalEntry.objects.count()
    assert seals.verify() == []


def test_sealers_at_once_make_one_chain(books: list[int]) -> None:
    posted(200, prefix="more")
    sealers = [threading.Thread(target=seal_on_a_line_of_its_own) for _ in range(4)]
    for sealer in sealers:
        sealer.start()
    for sealer in sealers:
        sealer.join()
    assert EntryDigest.objects.count() == ENTRIES + 200
    assert seals.verify() == []


def seal_on_a_line_of_its_own() -> None:
    seals.seal(batch=BATCH)
    connections.close_all()


def by_hand(reference: str) -> str:
    return f"""
        WITH entry AS (
            INSERT INTO ledger_journalentry (kind, reference, memo, effective_at) VALUES ('manual', '{reference}', '', now()) RETURNING id
        )
        INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
        SELECT entry.id, row_number() OVER (ORDER BY account.id), account.id, CASE WHEN code = '{FEES}' THEN -5 ELSE 5 END, 'EUR'
        FROM entry, ledger_account AS account
    """


@pytest.mark.parametrize("table", ["ledger_ledgerseal", "ledger_entrydigest"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_seals_can_only_be_added(books: list[int], table: str, verb: str) -> None:
    column = "hash" if table == "ledger_ledgerseal" else "digest"
    with pytest.raises(Error, match="append-only"), connection.cursor() as cursor:
        cursor.execute(verb.format(table, column, column))


def test_the_session_s_settings_do_not_change_a_digest(books: list[int]) -> None:
    with connection.cursor() as cursor:
        try:
            for setting in ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'ISO, DMY'", "extra_float_digits = 0"):
                cursor.execute(f"SET {setting}")
            assert seals.verify() == []
        finally:
            cursor.execute("RESET ALL")


# --- Tampering ------------------------------------------------------------------------------------------------------


def tamperings(entry: int, other: int) -> dict[str, list[str]]:
    """Return what somebody might do to an entry, or to two of them."""
    return {
        "edit an amount": [f"UPDATE ledger_posting SET amount = amount * 2 WHERE entry_id = {entry}"],
        "edit one cent": [f"UPDATE ledger_posting SET amount = amount + 0.01 WHERE entry_id = {entry} AND line = 1"],
        "edit a memo": [f"UPDATE ledger_journalentry SET memo = memo || ' ' WHERE id = {entry}"],
        "edit a date": [f"UPDATE ledger_journalentry SET effective_at = effective_at + interval '1 microsecond' WHERE id = {entry}"],
        "edit the booking time": [f"UPDATE ledger_journalentry SET booked_at = booked_at - interval '1 day' WHERE id = {entry}"],
        "edit a reference": [f"UPDATE ledger_journalentry SET reference = 'another' WHERE id = {entry}"],
        "edit a kind": [f"UPDATE ledger_journalentry SET kind = 'refund' WHERE id = {entry}"],
        "edit a currency": [f"UPDATE ledger_posting SET currency = 'USD' WHERE entry_id = {entry}"],
        "swap the sides": [f"UPDATE ledger_posting SET amount = -amount WHERE entry_id = {entry}"],
        "move to another account": [f"UPDATE ledger_posting SET account_id = account_id + 1 WHERE entry_id = {entry} AND line = 1"],
        "delete an entry": [
            f"DELETE FROM ledger_posting WHERE entry_id = {entry}",
            f"DELETE FROM ledger_journalentry WHERE id = {entry}",
        ],
        "delete an entry and its digest": [
            f"DELETE FROM ledger_posting WHERE entry_id = {entry}",
            f"DELETE FROM ledger_journalentry WHERE id = {entry}",
            f"DELETE FROM ledger_entrydigest WHERE entry_id = {entry}",
        ],
        "delete the postings": [f"DELETE FROM ledger_posting WHERE entry_id = {entry}"],
        "reorder two entries": [
            f"UPDATE ledger_journalentry SET id = CASE id WHEN {entry} THEN -{other} ELSE -{entry} END WHERE id IN ({entry}, {other})",
            f"UPDATE ledger_journalentry SET id = -id WHERE id IN (-{entry}, -{other})",
        ],
        "reorder two entries with their digests": [
            f"UPDATE ledger_journalentry SET id = CASE id WHEN {entry} THEN -{other} ELSE -{entry} END WHERE id IN ({entry}, {other})",
            f"UPDATE ledger_journalentry SET id = -id WHERE id IN (-{entry}, -{other})",
            f"UPDATE ledger_entrydigest SET entry_id = CASE entry_id WHEN {entry} THEN -{other} ELSE -{entry} END"
            f" WHERE entry_id IN ({entry}, {other})",
            f"UPDATE ledger_entrydigest SET entry_id = -entry_id WHERE entry_id IN (-{entry}, -{other})",
        ],
        "edit an entry and hash it again": [
            f"UPDATE ledger_journalentry SET memo = 'another' WHERE id = {entry}",
            f"UPDATE ledger_entrydigest SET digest = fresh.digest FROM ({seals.DIGESTS}) AS fresh"
            f" WHERE fresh.entry_id = ledger_entrydigest.entry_id AND fresh.entry_id = {entry}",
        ],
        "truncate the tail": cut_off(entry),
        "delete a seal": [f"DELETE FROM ledger_ledgerseal WHERE {entry} BETWEEN first_entry_id AND last_entry_id"],
        "edit a seal": [f"UPDATE ledger_ledgerseal SET entries = entries - 1 WHERE {entry} BETWEEN first_entry_id AND last_entry_id"],
    }


def cut_off(entry: int) -> list[str]:
    """Cut the books off before the batch of an entry, with everything that says so."""
    begin = f"(SELECT first_entry_id FROM ledger_ledgerseal WHERE {entry} BETWEEN first_entry_id AND last_entry_id)"
    return [
        f"DELETE FROM ledger_posting WHERE entry_id >= {begin}",
        f"DELETE FROM ledger_journalentry WHERE id >= {begin}",
        f"DELETE FROM ledger_entrydigest WHERE entry_id >= {begin}",
        f"DELETE FROM ledger_ledgerseal WHERE last_entry_id >= {entry}",
    ]


def test_sec_31_inv_17_a_hundred_random_tamperings_are_all_found(books: list[int]) -> None:
    chance, anchor = random.Random(SEED), seals.head()
    for number in range(100):
        entry, other = chance.sample(books, 2)
        kinds = tamperings(entry, other)
        what = list(kinds)[number % len(kinds)]
        with tampered(*kinds[what]):
            findings = seals.verify(anchor=anchor)
            assert findings, f"{what} (entry {entry}, {other}) was not found"
            named = [finding for finding in findings if finding.first_entry_id <= entry <= finding.last_entry_id]
            assert named or what == "truncate the tail", f"{what} (entry {entry}, {other}) is not named by {findings}"
    assert seals.verify(anchor=anchor) == []


def test_an_entry_put_into_a_hole_of_the_sealed_ids_is_found(books: list[int]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('ledger_journalentry', 'id'))")  # a rolled back posting leaves such a hole
        [hole] = cursor.fetchone()
    posted(2, prefix="later")
    seals.seal()
    insertion = f"INSERT INTO ledger_journalentry (id, kind, reference, memo, effective_at) VALUES ({hole}, 'manual', 'put in', '', now())"
    with tampered(insertion):
        [finding] = seals.verify()
    assert (finding.first_entry_id, finding.what) == (hole, "the entry was added after its time had been sealed")


def test_a_renamed_account_is_found(books: list[int]) -> None:
    with tampered("UPDATE ledger_account SET code = 'suspense' WHERE code = 'fee_revenue'"):
        assert len(seals.verify()) == ENTRIES


def test_pg_14_a_chain_that_was_cut_off_is_found_by_its_anchored_head_alone(books: list[int]) -> None:
    anchor = seals.head()
    with tampered(*cut_off(books[40])):
        assert seals.verify() == [], "what is left is a chain of its own"
        with pytest.raises(CommandError, match="cut off: it ends with seal 5"):
            call_command("verify_seals", "--head", str(anchor), verbosity=0)


def test_pg_14_books_that_were_written_anew_are_found_by_their_anchored_head_alone(books: list[int]) -> None:
    anchor = seals.head()
    anew = [
        "UPDATE ledger_posting SET amount = amount * 2",
        "DELETE FROM ledger_entrydigest",
        "DELETE FROM ledger_ledgerseal",
    ]
    with tampered(*anew):
        with connection.cursor() as cursor:
            for _ in range(8):
                cursor.execute(seals.SEAL, {"horizon": books[-1], "limit": BATCH})
        assert seals.verify() == [], "whoever may do everything can write a chain that fits"
        [finding] = seals.verify(anchor=anchor)
    assert "written anew" in finding.what


@pytest.mark.parametrize("head", ["7", "7:abc", "0:" + "a" * 64, "x:" + "a" * 64, "1:" + "G" * 64])
def test_what_is_no_head_is_refused(real_db: None, head: str) -> None:
    with pytest.raises(CommandError, match="A head is the number of a seal"):
        call_command("verify_seals", "--head", head, verbosity=0)


def test_the_newest_entries_alone_can_be_hashed_again_and_the_whole_chain_is_looked_at(books: list[int]) -> None:
    with tampered(f"UPDATE ledger_journalentry SET memo = 'another' WHERE id = {books[-2]}"):
        assert [finding.first_entry_id for finding in seals.verify_newest(entries=10)] == [books[-2]]
    with tampered(f"DELETE FROM ledger_entrydigest WHERE entry_id = {books[0]}"):
        assert seals.verify_newest(entries=10)
