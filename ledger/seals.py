"""Seals: a chain of hashes over the books, so that whoever edits them behind the guards' back cannot do it unseen.

Entries are sealed in batches, in the order of their ids, once no lower id can still be committed.  Each entry's digest is kept, so that a
finding names the entry; a seal's hash covers the digests of its batch and the hash of the seal before it.  The head of the chain goes to
the log at each sealing: whoever keeps it elsewhere can also prove that nothing was cut off the end.  Called by beat; locks nothing.
"""

import logging
import re
from dataclasses import dataclass
from time import monotonic, sleep

from django.db import connection, transaction

from ledger.models import LedgerSeal

logger = logging.getLogger(__name__)

LARGEST_BATCH = 1000
PATIENCE_S = 5.0
PAUSE_S = 0.01
MOST_FINDINGS = 100


class NoHead(ValueError):
    """A text is not the head of a chain."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, to be kept where the database's superuser does not reach: written `12:9f86d0...`."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not as it was sealed: in which seal, which entries (first and last), and what is wrong with them."""

    seal: int
    first_entry_id: int
    last_entry_id: int
    what: str

    def __str__(self) -> str:
        last = f" to je_{self.last_entry_id}" if self.last_entry_id != self.first_entry_id else ""
        return f"seal {self.seal}, je_{self.first_entry_id}{last}: {self.what}"


# A writer takes its lock on the table before it draws an id, and keeps it until it has committed: once the writers of this moment have
# ended, every id up to the highest one that was visible is committed, or will never come.
HIGHEST = "SELECT coalesce(max(id), 0) FROM ledger_journalentry"
WRITERS = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'ledger_journalentry'::regclass AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
"""

# What is hashed of an entry: everything, as JSON, so that no text can pass for two columns; moments as seconds, whatever the session's zone.
DIGESTS = """
SELECT entry.id AS entry_id, sha256(convert_to(json_build_array(
    entry.id, entry.kind, entry.reference, entry.memo, extract(epoch FROM entry.effective_at), extract(epoch FROM entry.booked_at),
    (SELECT json_agg(json_build_array(posting.line, account.code, account.currency, posting.amount, posting.currency) ORDER BY posting.line)
     FROM ledger_posting AS posting LEFT JOIN ledger_account AS account ON account.id = posting.account_id
     WHERE posting.entry_id = entry.id)
)::text || coalesce(extract(epoch FROM entry.occurred_at)::text, ''), 'UTF8')) AS digest
FROM ledger_journalentry AS entry
"""

# What is hashed of a seal: its own words, the hash before it, and the digests of its batch in order.
SEAL_HASH = """
encode(sha256(convert_to(json_build_array({number}, {before}, {first}, {last}, {entries}, extract(epoch FROM {at}))::text, 'UTF8')
    || batch.digests), 'hex')
"""
MADE = SEAL_HASH.format(
    number="head.number + 1", before="head.hash", first="batch.first", last="batch.last", entries="batch.entries", at="now()"
)
STANDING = SEAL_HASH.format(
    number="seal.number",
    before="seal.previous_hash",
    first="seal.first_entry_id",
    last="seal.last_entry_id",
    entries="seal.entries",
    at="seal.created_at",
)

SEAL = f"""
WITH head AS (
    SELECT coalesce(max(number), 0) AS number, coalesce(max(last_entry_id), 0) AS last,
           coalesce((SELECT hash FROM ledger_ledgerseal ORDER BY number DESC LIMIT 1), '') AS hash
    FROM ledger_ledgerseal
), chosen AS (
    {DIGESTS} WHERE entry.id > (SELECT last FROM head) AND entry.id <= %(horizon)s ORDER BY entry.id LIMIT %(limit)s
), kept AS (
    INSERT INTO ledger_entrydigest (entry_id, digest) SELECT entry_id, digest FROM chosen ORDER BY entry_id RETURNING entry_id, digest
), batch AS (
    SELECT min(entry_id) AS first, max(entry_id) AS last, count(*) AS entries, string_agg(digest, '' ORDER BY entry_id) AS digests FROM kept
)
INSERT INTO ledger_ledgerseal (number, first_entry_id, last_entry_id, entries, previous_hash, hash, created_at)
SELECT head.number + 1, batch.first, batch.last, batch.entries, head.hash, {MADE}, now()
FROM head, batch WHERE batch.entries > 0
RETURNING number, hash, last_entry_id, entries
"""  # noqa: S608 (constants of this module)

# Entries that are not what their digest says.  %(after)s lets a quick look begin near the end.
TAMPERED = f"""
SELECT coalesce((SELECT min(number) FROM ledger_ledgerseal AS seal WHERE seal.last_entry_id >= coalesce(kept.entry_id, standing.entry_id)), 0),
       coalesce(kept.entry_id, standing.entry_id),
       CASE WHEN standing.entry_id IS NULL THEN 'the entry is gone'
            WHEN kept.entry_id IS NULL THEN 'the entry was added after its time had been sealed'
            ELSE 'the entry or one of its postings was changed' END
FROM (SELECT * FROM ledger_entrydigest WHERE entry_id > %(after)s) AS kept
FULL JOIN (
    {DIGESTS} WHERE entry.id > %(after)s AND entry.id <= (SELECT coalesce(max(last_entry_id), 0) FROM ledger_ledgerseal)
) AS standing ON standing.entry_id = kept.entry_id
WHERE standing.digest IS DISTINCT FROM kept.digest
ORDER BY 2 LIMIT %(limit)s
"""  # noqa: S608 (constants of this module)

# Seals that are not what the digests and the seal before them say.
BROKEN = f"""
WITH seal AS (
    SELECT *, lag(number, 1, 0) OVER chain AS number_before, lag(hash, 1, '') OVER chain AS hash_before,
           lag(last_entry_id, 1, 0::bigint) OVER chain AS last_before
    FROM ledger_ledgerseal WINDOW chain AS (ORDER BY number)
)
SELECT seal.number, least(seal.last_before + 1, seal.first_entry_id), seal.last_entry_id,
       CASE WHEN seal.number <> seal.number_before + 1 THEN 'the seal before it is missing'
            WHEN seal.previous_hash <> seal.hash_before THEN 'the chain is broken: the seal before it is another one'
            ELSE 'the seal does not fit the digests of its entries' END
FROM seal LEFT JOIN LATERAL (
    SELECT min(entry_id) AS first, max(entry_id) AS last, count(*) AS entries, string_agg(digest, '' ORDER BY entry_id) AS digests
    FROM ledger_entrydigest AS digest WHERE digest.entry_id > seal.last_before AND digest.entry_id <= seal.last_entry_id
) AS batch ON true
WHERE seal.number <> seal.number_before + 1 OR seal.previous_hash <> seal.hash_before
   OR (seal.first_entry_id, seal.last_entry_id, seal.entries) IS DISTINCT FROM (batch.first, batch.last, batch.entries)
   OR seal.hash IS DISTINCT FROM {STANDING}
ORDER BY seal.number LIMIT %(limit)s
"""  # noqa: S608 (constants of this module)

LEFT_OVER = """
SELECT (SELECT coalesce(max(number), 0) FROM ledger_ledgerseal), min(entry_id), max(entry_id) FROM ledger_entrydigest
WHERE entry_id > (SELECT coalesce(max(last_entry_id), 0) FROM ledger_ledgerseal)
"""


def seal(*, wait_s: float = PATIENCE_S, batch: int = LARGEST_BATCH, longest_s: float = 45) -> int:
    """Seal what can be sealed, batch by batch, each committed by itself; return how many entries that were.

    Waits for the writers of this moment to end, and takes no lock that one of them could wait for.  Seals nothing when they do not end
    within `wait_s`; the next call will.
    """
    horizon, sealed, until = certain_until(wait_s=wait_s), 0, monotonic() + longest_s
    while horizon is not None and (entries := seal_batch(horizon=horizon, batch=batch)):
        sealed += entries
        if monotonic() > until:
            break
    return sealed


@transaction.atomic(durable=True)
def seal_batch(*, horizon: int, batch: int) -> int:
    """Seal the next entries up to `horizon`; return how many.  Sealers at once wait for one another."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('ledger.seals'))")
        cursor.execute(SEAL, {"horizon": horizon, "limit": batch})
        row = cursor.fetchone()
    if row is None:
        return 0
    number, digest, last_entry_id, entries = row
    transaction.on_commit(
        lambda: logger.info("seal %s: %s entries, through je_%s", Head(number, digest), entries, last_entry_id), robust=True
    )
    return int(entries)


def certain_until(*, wait_s: float) -> int | None:
    """Return an id up to which every entry is committed or will never come; None if the writers of now do not end in time."""
    with connection.cursor() as cursor:
        cursor.execute(HIGHEST)
        [highest] = cursor.fetchone()
        cursor.execute(WRITERS)
        waited_for, until = set(cursor.fetchall()), monotonic() + wait_s
        while waited_for and monotonic() < until:
            sleep(PAUSE_S)
            cursor.execute(WRITERS)
            waited_for &= set(cursor.fetchall())
    return None if waited_for else int(highest)


def head() -> Head | None:
    """Return the end of the chain; None while nothing is sealed."""
    newest = LedgerSeal.objects.order_by("-number").first()
    return Head(newest.number, newest.hash) if newest else None


def parse_head(text: str) -> Head:
    """Read an anchored head, `12:9f86d0...`.  Raises NoHead."""
    found = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", text.strip())
    if not found:
        raise NoHead("A head is the number of a seal, a colon and its hash of 64 hexadecimal digits, as the log has it.")
    return Head(int(found[1]), found[2])


def verify(*, anchor: Head | None = None) -> list[Finding]:
    """Hash the books again and return what is not as it was sealed, at most a hundred findings of each kind.

    Finds an edit, a deletion, an entry put in between, a change of order, a missing seal; and, with an anchored head, a chain that was cut
    off before it or written anew.
    """
    return [*changed_entries(after=0), *broken_chain(), *(strayed_from(anchor) if anchor else [])]


def verify_newest(*, entries: int) -> list[Finding]:
    """Look at the whole chain, and hash only the newest so many entries again: what `verify` finds, but older edits of entries."""
    newest = LedgerSeal.objects.order_by("-number").first()
    return [*changed_entries(after=max(newest.last_entry_id - entries, 0) if newest else 0), *broken_chain()]


def changed_entries(*, after: int) -> list[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(TAMPERED, {"after": after, "limit": MOST_FINDINGS})
        return [Finding(number, entry_id, entry_id, what) for number, entry_id, what in cursor.fetchall()]


def broken_chain() -> list[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(BROKEN, {"limit": MOST_FINDINGS})
        findings = [Finding(*row) for row in cursor.fetchall()]
        cursor.execute(LEFT_OVER)
        number, first, last = cursor.fetchone()
    return findings if first is None else [*findings, Finding(number + 1, first, last, "the seal of these entries is missing")]


def strayed_from(anchor: Head) -> list[Finding]:
    """Say whether the anchored head is still a seal of this chain.  Reads one row."""
    standing = LedgerSeal.objects.filter(number=anchor.number).first()
    if standing is None:
        newest = LedgerSeal.objects.order_by("-number").first()
        number, through = (newest.number, newest.last_entry_id) if newest else (0, 0)
        return [Finding(anchor.number, through + 1, through + 1, f"the chain was cut off: it ends with seal {number}")]
    if standing.hash != anchor.hash:
        what = "the chain was written anew: this is not the seal that was anchored"
        return [Finding(anchor.number, standing.first_entry_id, standing.last_entry_id, what)]
    return []
