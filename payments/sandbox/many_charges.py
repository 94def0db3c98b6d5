"""Many charges at once, for benchmarks and programmes: read from a list or invented, for the journal or straight for a file.

A list is CSV with the columns id, key, reference, currency and amount (minor units), so that whoever has orders of his own can
have them charged. All of a currency are charged to one session; nobody is told of them.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, TextIO

from django.conf import settings
from django.db import connection, transaction

from payments.sandbox.amounts import digits_of
from payments.sandbox.settlement_files import Line

COLUMNS = ["id", "key", "reference", "currency", "amount"]
MAKE_ROOM = """
    CREATE TEMPORARY TABLE many (nr bigserial, id text, key text, reference text, currency text, amount bigint) ON COMMIT DROP
"""
COPY = "COPY many (id, key, reference, currency, amount) FROM STDIN"
CHARGE = """
    WITH payers AS (
        INSERT INTO sandbox_session (id, nonce, amount, currency, charged, parent_origin, return_url, locale, description, status, token,
                                     card, card_brand, card_funding, card_country, card_last4, card_fingerprint, created_at, expires_at)
        SELECT 'cs_' || made.id, made.id, total, currency, total, 'http://127.0.0.1', 'http://127.0.0.1/', 'en', 'Many charges', 'complete',
               'tok_' || made.id, 'visa_us_4242', 'visa', 'credit', 'US', '4242', 'fp_many', %(at)s, %(expires_at)s
        FROM (SELECT md5(currency || min(id)) AS id, currency, sum(amount) AS total FROM many GROUP BY currency) AS made
        RETURNING id, currency
    ), charges AS (
        INSERT INTO sandbox_charge (id, key, session_id, reference, amount, currency, status, metadata, created_at, matures_to, succeeded_at,
                                    refunded, lost)
        SELECT many.id, key, payers.id, reference, amount, currency, 'succeeded', '{}', %(at)s, '', %(at)s, 0, 0
        FROM many JOIN payers USING (currency)
    )
    INSERT INTO sandbox_journal (at, type, key, object_id, reference, amount, currency, account)
    SELECT %(at)s, 'charge.succeeded', key, id, reference, amount, currency, %(account)s FROM many ORDER BY nr
"""


class Wanted(NamedTuple):
    """One charge that is to be there. `amount` in minor units."""

    id: str
    key: str
    reference: str
    currency: str
    amount: int


def listed(table: TextIO) -> Iterator[Wanted]:
    """Yield the charges of a list. Raises ValueError when its columns are others, or an amount is no whole number."""
    rows = csv.reader(table)
    if next(rows, None) != COLUMNS:
        raise ValueError(f"The columns must be {', '.join(COLUMNS)}.")
    for id, key, reference, currency, amount in rows:
        yield Wanted(id, key, reference, currency, int(amount))


def invented(count: int, *, currency: str) -> Iterator[Wanted]:
    """Yield so many charges, the same each time: of 10.00 to 109.99, if the currency has two digits."""
    for number in range(1, count + 1):
        order = f"ord_{number:032x}"
        yield Wanted(f"ch_{number:032x}", order, order, currency, 1000 + number * 7919 % 10_000)


@transaction.atomic(durable=True)
def charge(wanted: Iterable[Wanted], *, at: datetime) -> int:
    """Let the charges have succeeded at this moment; return how many rows the journal got."""
    with connection.cursor() as cursor:
        cursor.execute(MAKE_ROOM)
        with cursor.copy(COPY) as copy:
            for one in wanted:
                copy.write_row(one)
        cursor.execute("ANALYZE many")
        terms = {"at": at, "expires_at": at + timedelta(days=1), "account": settings.SANDBOX_ACCOUNT}
        cursor.execute(CHARGE, terms)
        made = cursor.rowcount
        cursor.execute("ANALYZE sandbox_session, sandbox_charge, sandbox_journal")
    return int(made)


def settled(wanted: Iterable[Wanted], *, at: datetime) -> Iterator[Line]:
    """Yield the lines that the charges have in a settlement file."""
    for one in wanted:
        fixed = settings.SANDBOX_FEE_FIXED.scaleb(digits_of(one.currency))
        fee = int((one.amount * settings.SANDBOX_FEE_RATE + fixed).quantize(Decimal(1), ROUND_HALF_UP))
        yield Line("charge", one.id, one.id, one.key, one.reference, one.reference, "visa", one.amount, fee, at)
