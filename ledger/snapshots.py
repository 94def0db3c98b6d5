"""Balance snapshots: they keep the reading of a system account short, which has no balance row that payments would fight over.

A snapshot may only cover entries that are all committed, and ids commit out of order.  So `take` asks for one quiet moment: a SHARE lock
on the entries waits for the writers under way and reads the highest id; from then on no entry below it can appear.  Called by beat.
"""

from django.db import OperationalError, connection, transaction

SUMS = """
INSERT INTO ledger_balancesnapshot (account_id, through_entry_id, balance)
SELECT moved.account_id, %(through)s, moved.amount + coalesce(
    (SELECT balance FROM ledger_balancesnapshot AS earlier WHERE earlier.account_id = moved.account_id
     ORDER BY through_entry_id DESC LIMIT 1), 0)
FROM (
    SELECT account_id, sum(amount) AS amount FROM ledger_posting
    WHERE entry_id <= %(through)s AND entry_id > coalesce((SELECT max(through_entry_id) FROM ledger_balancesnapshot), 0)
    GROUP BY account_id
) AS moved
ON CONFLICT (account_id, through_entry_id) DO NOTHING
"""


def take(*, wait_ms: int = 500) -> int:
    """Snapshot the balance of each account that moved since the last time; return how many were written.

    Holds a SHARE lock on the entries while it reads one number; writers queue for that moment only.  Gives up (and returns 0) when the
    moment does not come within `wait_ms`.
    """
    try:
        through = quiet_horizon(wait_ms=wait_ms)
    except OperationalError:
        return 0
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('ledger.snapshots'))")
        cursor.execute(SUMS, {"through": through})
        return int(cursor.rowcount)


def quiet_horizon(*, wait_ms: int) -> int:
    """Return the id of an entry below which every entry is committed.  Raises OperationalError when writers do not pause in time."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])
        cursor.execute("SELECT ledger_quiet_horizon()")
        return int(cursor.fetchone()[0])
