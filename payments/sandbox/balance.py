"""The balance: what happened to the merchant's money between two moments, whether or not it was paid out to its bank account since.

Summed from the journal, before the fees of charges, which are kept back when a day is settled.
"""

from datetime import datetime

from django.db import connection

SIGNS = {
    "charge.succeeded": 1,
    "charge.voided": -1,
    "refund.succeeded": -1,
    "refund.failed": 1,
    "dispute.opened": -1,
    "dispute.fee": -1,
    "dispute.returned": 1,
}
TAKEN = """
    SELECT currency, sum(sign * amount)::bigint FROM sandbox_journal AS fact
    JOIN unnest(%(types)s::text[], %(signs)s::int[]) AS becomes (type, sign) ON becomes.type = fact.type
    WHERE at >= %(since)s AND at < %(until)s
      AND (fact.type <> 'refund.failed'  -- one that had succeeded: the money came back
           OR EXISTS (SELECT FROM sandbox_journal AS before
                      WHERE before.type = 'refund.succeeded' AND before.object_id = fact.object_id AND before.seq < fact.seq))
    GROUP BY currency ORDER BY currency
"""


def taken(*, since: datetime, until: datetime) -> list[tuple[str, int]]:
    """Return, by currency, what was taken for the merchant from `since` on and before `until`, less what was given back; in minor units."""
    with connection.cursor() as cursor:
        cursor.execute(TAKEN, {"types": list(SIGNS), "signs": list(SIGNS.values()), "since": since, "until": until})
        return list(cursor.fetchall())
