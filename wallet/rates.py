"""Exchange rates: how they come in, and which one holds.

All are per euro, as the European Central Bank quotes them; what two other currencies are worth in each other follows from both.  Each way in -
a page of the admin, `manage.py load_rates`, the task that fetches - is `load`: all of a file or nothing of it, and the same file again
changes nothing.  By hand a rate comes in by two people only (rates_admin.py).  Nothing is converted at a rate older than
`settings.RATES_MAX_AGE_DAYS`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from ledger.errors import DomainError
from ledger.money import minor_units
from ledger.statements import as_document, execute
from wallet import rates_ecb
from wallet.models import ExchangeRate
from wallet.rates_ecb import EURO

ONE = Decimal(1)
PLACES = Decimal("1E-12")  # of a rate
ROWS_AT_ONCE = 20_000


class RateRefused(DomainError):
    """What a file or a person says of a rate is not taken: the detail says why."""

    code = "rate_refused"


class NoRate(DomainError):
    code = "no_rate"


class StaleRate(DomainError):
    """There is a rate, and it is too old to convert by."""

    code = "stale_rate"


class SameCurrency(DomainError):
    code = "same_currency"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a file: how many of its rates are new, and how many were known; its last day, and the currencies it was not asked for."""

    new: int
    known: int
    newest: date
    left_out: Sequence[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two currencies, and the rates by which one is changed into the other; no rate is needed of the euro."""

    sold: str
    bought: str
    sold_rate: ExchangeRate | None
    bought_rate: ExchangeRate | None

    @property
    def sold_per_euro(self) -> Decimal:
        return self.sold_rate.rate if self.sold_rate else ONE

    @property
    def bought_per_euro(self) -> Decimal:
        return self.bought_rate.rate if self.bought_rate else ONE

    @property
    def rates(self) -> list[ExchangeRate]:
        return [rate for rate in (self.sold_rate, self.bought_rate) if rate]

    @property
    def rate(self) -> Decimal:
        """What one unit of the sold currency is in the other, to twelve decimals: for people, nothing is reckoned with it."""
        with localcontext(prec=50):
            return (self.bought_per_euro / self.sold_per_euro).quantize(PLACES, ROUND_HALF_EVEN)

    @property
    def source(self) -> str:
        """Whose rates they are: ecb, manual, or both."""
        return "+".join(sorted({rate.source for rate in self.rates}))

    @property
    def quoted_on(self) -> date:
        """The day of the older rate."""
        return min(rate.quoted_on for rate in self.rates)


ENTER = """
INSERT INTO wallet_exchangerate (base, quote, rate, source, quoted_on, received_at, received_by, file_sha256, approval)
SELECT 'EUR', quote, rate, 'ecb', quoted_on, received_at, received_by, sha256, ''
FROM json_to_recordset(%s) AS said (quote text, rate numeric, quoted_on date),
     json_to_recordset(%s) AS file (received_at timestamptz, received_by text, sha256 text)
ON CONFLICT (base, quote, quoted_on) WHERE source = 'ecb' DO NOTHING
RETURNING id
"""

CHANGED = """
SELECT said.quote, said.quoted_on, standing.rate, said.rate
FROM json_to_recordset(%s) AS said (quote text, rate numeric, quoted_on date)
JOIN wallet_exchangerate AS standing ON standing.base = 'EUR' AND standing.source = 'ecb'
    AND (standing.quote, standing.quoted_on) = (said.quote, said.quoted_on)
WHERE standing.rate <> said.rate ORDER BY 2, 1 LIMIT 1
"""

# Of those that may be converted by; what lies further back is history.  Besides the one before it, each is held to the newest one that stood
# before the file came: else a file could bring the wrong rate as history, and then others that are like it.
JUMPED = """
SELECT entered.quote, entered.quoted_on, earlier.quoted_on, earlier.rate, entered.rate
FROM wallet_exchangerate AS entered, (VALUES (false), (true)) AS against (stood), LATERAL (
    SELECT quoted_on, rate FROM wallet_exchangerate AS earlier
    WHERE earlier.base = entered.base AND earlier.quote = entered.quote
      AND (earlier.quoted_on, earlier.id) < (entered.quoted_on, entered.id)
      AND (NOT against.stood OR earlier.id < %(first)s)
    ORDER BY quoted_on DESC, id DESC LIMIT 1
) AS earlier
WHERE entered.id >= %(first)s AND entered.file_sha256 = %(sha256)s AND entered.quoted_on >= %(since)s
  AND abs(entered.rate - earlier.rate) * 100 > earlier.rate * %(percent)s
ORDER BY 2, 1, against.stood LIMIT 1
"""

NEWEST = """
SELECT rate.* FROM json_to_recordset(%s) AS wanted (code text), LATERAL (
    SELECT * FROM wallet_exchangerate WHERE base = 'EUR' AND quote = code AND quoted_on <= %s ORDER BY quoted_on DESC, id DESC LIMIT 1
) AS rate
"""

ALL_NEWEST = """
WITH RECURSIVE known AS (
    (SELECT quote FROM wallet_exchangerate WHERE base = 'EUR' ORDER BY quote LIMIT 1)
    UNION ALL
    SELECT (SELECT quote FROM wallet_exchangerate WHERE base = 'EUR' AND quote > known.quote ORDER BY quote LIMIT 1)
    FROM known WHERE quote IS NOT NULL
)
SELECT rate.* FROM known, LATERAL (
    SELECT * FROM wallet_exchangerate WHERE base = 'EUR' AND quote = known.quote AND quoted_on <= %s ORDER BY quoted_on DESC, id DESC LIMIT 1
) AS rate ORDER BY quote
"""


# --- In -------------------------------------------------------------------------------------------------------------


@transaction.atomic(durable=True)
def load(content: bytes, *, by: str, now: datetime) -> Loaded:
    """Take the rates of a file of the European Central Bank, all of them or none; `by` says who brought it.

    Raises UnreadableRates, and RateRefused: for a day that lies ahead, a rate that the bank gave otherwise before, or one that could be
    converted by and is further than `settings.RATES_MAX_CHANGE_PERCENT` from the one before it, or from the newest that stood before the file
    came.  Two people set such a rate by hand, if it is right; then the file is taken.
    """
    file = rates_ecb.read(content)
    newest = max(file.days)
    if newest > today(now):
        raise RateRefused(f"The file has rates of {newest}, and it is {today(now)}. Nothing of it was taken.", field="file")
    rows = [{"quote": code, "rate": rate, "quoted_on": day} for day, of_day in file.days.items() for code, rate in sorted(of_day.items())]
    said = {"received_at": now, "received_by": by, "sha256": hashlib.sha256(content).hexdigest()}
    entered: list[int] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        entered += [rate_id for (rate_id,) in execute(ENTER, some, [said])]
        require_unchanged(some)
    if entered:
        require_no_jump(min(entered), sha256=said["sha256"], now=now)
    return Loaded(len(entered), len(rows) - len(entered), newest, sorted(file.left_out))


def require_unchanged(rows: Sequence[dict[str, Any]]) -> None:
    """Raise RateRefused if the bank has given one of these rates otherwise before."""
    for code, day, stands, said in execute(CHANGED, rows):
        raise RateRefused(
            f"The file says {figures(said)} {code} a euro for {day}, and a file before it said {figures(stands)}. Nothing of it was taken: "
            "a rate of the bank stays. If it is wrong, two people set another one by hand.",
            field="file",
        )


def require_no_jump(first: int, *, sha256: Any, now: datetime) -> None:
    """Raise RateRefused if one of the rates that were just entered, and may be converted by, is too far from the one before it."""
    percent = settings.RATES_MAX_CHANGE_PERCENT
    with connection.cursor() as cursor:
        cursor.execute(JUMPED, {"first": first, "sha256": sha256, "since": oldest_in_use(now), "percent": percent})
        for code, day, day_before, before, said in cursor.fetchall():
            raise RateRefused(
                f"{figures(said)} {code} a euro on {day} is more than {percent} % away from {figures(before)} on {day_before}. Nothing of "
                "the file was taken. If the rate is right, two people set it by hand, and the file is taken then.",
                field="file",
            )


def enter(quote: str, rate: str, *, quoted_on: date, approval: str, by: str, now: datetime) -> ExchangeRate:
    """Set what one euro costs by hand, as two people decided, inside the caller's transaction.

    Raises UnknownCurrency, SameCurrency, UnreadableRates (not a rate), and RateRefused: for a day that lies ahead, is too long ago to
    convert by, or comes before that of a rate that stands.
    """
    minor_units(quote)
    if quote == EURO:
        raise SameCurrency("A euro is one euro. Name another currency.", field="quote")
    if not rates_ecb.RATE.fullmatch(rate) or not Decimal(rate):
        raise RateRefused(f"{rate[:40]!r} is not a rate. Write digits, with twelve decimals at most.", field="rate")
    if not oldest_in_use(now) <= quoted_on <= today(now):
        raise RateRefused(f"A rate of {quoted_on} could not be converted by today, {today(now)}.", field="quoted_on")
    standing = newest([quote], now=now).get(quote)
    if standing is not None and standing.quoted_on > quoted_on:
        raise RateRefused(f"There is a rate of {standing.quoted_on} already, which would still hold.", field="quoted_on")
    said = {"source": ExchangeRate.Source.MANUAL, "quoted_on": quoted_on, "received_at": now, "received_by": by, "approval": approval}
    return ExchangeRate.objects.create(base=EURO, quote=quote, rate=Decimal(rate), **said)


# --- Which one holds ------------------------------------------------------------------------------------------------


def pair(sold: str, bought: str, *, now: datetime) -> Pair:
    """Return the rates by which the one currency is changed into the other now.

    Raises UnknownCurrency, SameCurrency, NoRate, StaleRate; `field` is what a conversion calls the currency: amount, or to.
    """
    for currency in (sold, bought):
        minor_units(currency)
    if sold == bought:
        raise SameCurrency(f"This is {sold} already. Name another currency to change it into.", field="to")
    found = newest([sold, bought], now=now)
    for currency, field in ((sold, "amount"), (bought, "to")):
        if currency != EURO:
            require_fresh(found.get(currency), currency, field=field, now=now)
    return Pair(sold, bought, found.get(sold), found.get(bought))


def require_fresh(rate: ExchangeRate | None, currency: str, *, field: str, now: datetime) -> None:
    if rate is None:
        raise NoRate(f"There is no exchange rate for {currency}. The platform sets one, or nothing is converted.", field=field)
    if is_stale(rate, now=now):
        raise StaleRate(
            f"The last exchange rate for {currency} is of {rate.quoted_on}, {age_in_days(rate, now=now)} days ago. Nothing is converted at a "
            f"rate older than {settings.RATES_MAX_AGE_DAYS} days: try again once there is a new one.",
            field=field,
        )


def newest(currencies: Iterable[str], *, now: datetime) -> dict[str, ExchangeRate]:
    """Return the newest rate of each currency that has one, by currency.  One statement, and no lock."""
    wanted = as_document([{"code": code} for code in sorted(set(currencies) - {EURO})])
    return {rate.quote: rate for rate in ExchangeRate.objects.raw(NEWEST, [wanted, today(now)])}


def all_newest(*, now: datetime) -> list[ExchangeRate]:
    """Return the newest rate of every currency that ever had one, by currency.  One statement, and no lock."""
    return list(ExchangeRate.objects.raw(ALL_NEWEST, [today(now)]))


def is_stale(rate: ExchangeRate, *, now: datetime) -> bool:
    """Is the rate too old to convert by?"""
    return rate.quoted_on < oldest_in_use(now)


def age_in_days(rate: ExchangeRate, *, now: datetime) -> int:
    return (today(now) - rate.quoted_on).days


def oldest_in_use(now: datetime) -> date:
    """Return the day from which on rates may be converted by."""
    return today(now) - timedelta(days=settings.RATES_MAX_AGE_DAYS)


def today(now: datetime) -> date:
    return now.astimezone(UTC).date()


def figures(rate: Decimal) -> str:
    """Return a rate as people write it, without the zeros at its end."""
    return f"{rate.normalize():f}"
