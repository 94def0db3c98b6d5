"""Payout runs: everybody of a shop whose period is over is paid out by ONE transaction, which writes what a request would write for each.

Set-based from end to end: the payouts are inserted by one SELECT (choice.py), and their entries, movements and messages are made from those
rows, so that a run of a hundred thousand sellers takes no more memory here than one of ten.  A period is run once: the unique row of the run
decides, whoever fires and however often.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Min

from ledger import chart, journal
from ledger import queries as books
from ledger.errors import DomainError
from ledger.ids import new_id_in_sql
from ledger.models import JournalEntry
from ledger.queries import TrialBalanceLine
from payouts import calendars, choice, conversions, requests, stops, terms
from payouts.calendars import Calendar, Period
from payouts.choice import Difference, PassedOver, Which
from payouts.models import Payout, PayoutRun, PayoutSchedule, new_run_id
from payouts.providers.registry import UnknownProvider
from payouts.states import Interval
from wallet import balances, notifications
from wallet.models import Shop, WalletEntry

logger = logging.getLogger(__name__)

BY_CALENDAR = "calendar"  # who made a run that nobody asked for
PATIENCE = (
    "SELECT set_config('statement_timeout', '80s', true), set_config('lock_timeout', '60s', true)"  # a task has 90 s (config/celery.py)
)


class PeriodNotOver(DomainError):
    code = "period_not_over"


class RunIncomplete(RuntimeError):
    """A payout of a run would have been left without its entry, its movement or its message.  Nothing was written."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run would do now, found by doing it: nothing of it was kept.  `differences` are the largest, to the run before."""

    run: PayoutRun
    before: PayoutRun | None
    differences: list[Difference]
    passed_over: list[PassedOver]
    trial_balance: list[TrialBalanceLine]


AGAINST_REPLACEMENT = "ORDER BY account.id FOR SHARE OF account"

# What requests.under_way says of a chosen seller.
UNDER_WAY = """
    SELECT coalesce(sum(lately.amount), 0) FROM payouts_payout AS lately
    WHERE lately.seller_id = chosen.seller_id AND lately.currency = %(currency)s
      AND (lately.status IN ('WAITING', 'EXECUTING') OR lately.created_at >= %(midnight)s AND lately.status = 'SUCCESS')
"""

# The wallets are locked by id and read as they are then, and then the accounts, against being replaced; one that was replaced while the
# wallets were waited for is not paid to.  All that is decided about a payout is decided here.
MAKE = f"""
WITH seen AS MATERIALIZED ({choice.LOCKED_WALLETS}), held AS MATERIALIZED (
    SELECT account.id FROM payouts_bankaccount AS account
    WHERE account.seller_id IN (SELECT seller_id FROM seen) AND account.currency = %(currency)s AND account.replaced_at IS NULL
    {AGAINST_REPLACEMENT}
), considered AS MATERIALIZED ({choice.CONSIDERED}), chosen AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY seller_id) AS number FROM considered
    WHERE why_not IS NULL AND bank_account_id IN (SELECT id FROM held)
), run AS (
    INSERT INTO payouts_payoutrun (public_id, shop_id, currency, interval, calendar, period, ends_at, status, total, count, made_by,
        decided_by, decided_at, reason, created_at)
    SELECT %(run)s, %(shop)s, %(currency)s, %(interval)s, %(calendar)s, %(period)s, %(ends_at)s, status, total, count, %(made_by)s,
           '', CASE WHEN status = 'APPROVED' THEN %(now)s END, '', %(now)s
    FROM (SELECT count, total, CASE WHEN total > %(limit)s::numeric THEN 'WAITING' ELSE 'APPROVED' END AS status
          FROM (SELECT count(*) AS count, coalesce(sum(amount), 0) AS total FROM chosen) AS summed) AS decided
    RETURNING id, status
), made AS (
    INSERT INTO payouts_payout (public_id, shop_id, seller_id, bank_account_id, run_id, cause, amount, currency, status, requested_by,
        provider, next_attempt_at, journal_entry_id, wallet_entry_id, told, created_at)
    SELECT {new_id_in_sql("po")}, %(shop)s, seller_id, bank_account_id, run_id, %(cause)s, amount, %(currency)s, status, %(made_by)s,
           provider, CASE WHEN status = 'EXECUTING' THEN %(now)s + number * %(spread)s END,
           {journal.NEXT_ID}, {balances.NEXT_ID}, 1, %(now)s
    FROM (SELECT chosen.*, run.id AS run_id,
                 CASE WHEN run.status = 'WAITING' OR approval_limit IS NOT NULL AND approval_limit < amount + ({UNDER_WAY}) THEN 'WAITING'
                      ELSE 'EXECUTING' END AS status
          FROM chosen, run ORDER BY number) AS payout
)
SELECT id FROM run
"""  # noqa: S608 (constants)

# Nothing of it is kept, so that nobody has to wait for it.
REHEARSE = MAKE.replace(choice.LOCKED_WALLETS, choice.WALLETS).replace(AGAINST_REPLACEMENT, "")

# What payout_entries.py says of one payout: `made`, `taken` and news.py's message, of all payouts of a run.
ENTRIES = """
SELECT journal_entry_id AS id, %(entry_kind)s AS kind, public_id AS reference, '' AS memo, %(now)s::timestamptz AS effective_at,
       'seller_available:' || seller_id AS debit, %(in_transit)s AS credit, amount, currency
FROM payouts_payout WHERE run_id = %(run)s
"""

MOVEMENTS = """
SELECT wallet_entry_id AS id, seller_id, journal_entry_id, %(movement_kind)s AS kind, public_id AS source, -amount AS available, currency
FROM payouts_payout WHERE run_id = %(run)s
"""

NEWS = """
SELECT payout.shop_id, 'payout.created' AS topic, payout.public_id AS about, told AS sequence, jsonb_build_object(
    'id', payout.public_id, 'object', 'payout', 'seller', seller.public_id, 'reference', nullif(payout.reference, ''), 'cause', cause,
    'status', status, 'amount', jsonb_build_object('amount', round(amount, %(places)s)::text, 'currency', currency),
    'failure_code', NULL, 'failure_message', NULL) AS payload
FROM payouts_payout AS payout JOIN wallet_seller AS seller ON seller.id = payout.seller_id WHERE run_id = %(run)s ORDER BY payout.id
"""


def convert_and_run(which: Which, *, now: datetime, made_by: str) -> tuple[PayoutRun, bool]:
    """Convert what sellers who are paid out in this currency have in others (conversions.py), and then pay out as `run` does.

    Conversions commit before the run, by themselves: if no run comes of it, the money is in the other wallet.  Raises as `run` does.
    """
    period_over(which, now=now)
    if stops.active() is None and run_of(which) is None:
        conversions.convert_due(which, now=now)
    return run(which, now=now, made_by=made_by)


@transaction.atomic(durable=True)
def run(which: Which, *, now: datetime, made_by: str) -> tuple[PayoutRun, bool]:
    """Pay out everybody whom `choice` chooses; return the run, and whether it is new: a period that was run answers with its run.

    Above the approval limit of the shop's schedule the run and its payouts wait for another person (requests.decide_run), their money taken
    off the balances all the same.  A run that pays nobody is kept, too: its period is done.  Locks the shop, the wallets by id, then the
    bank accounts by id against being replaced.
    Raises UnknownPeriod, PeriodNotOver, UnknownProvider, and PayoutsPaused for a new run while payouts are stopped.
    """
    return write(which, now=now, made_by=made_by)


@transaction.atomic(durable=True)
def rehearse(which: Which, *, now: datetime, made_by: str) -> Rehearsal:
    """Write the payouts and entries that `run` would write, look at what came of them, and undo them.  Raises as `run` does.

    Locks the shop, so that no run is made meanwhile, and no wallet: whoever sells or is refunded waits for no rehearsal.
    """
    period = begin(which, now=now)
    passed_over = choice.passed_over(which, now=now)
    made = run_of(which) or draft(which, period, now=now, made_by=made_by)
    rehearsed = Rehearsal(made, choice.run_before(made), choice.differences(made), passed_over, books.trial_balance())
    transaction.set_rollback(True)
    return rehearsed


def draft(which: Which, period: Period, *, now: datetime, made_by: str) -> PayoutRun:
    """Write the run, its payouts and their entries, and move nothing: for a rehearsal, which undoes it."""
    of_run = choose(REHEARSE, which, period, now=now, made_by=made_by)
    journal.post_from(ENTRIES, of_run)
    return PayoutRun.objects.get(pk=of_run["run"])


def begin(which: Which, *, now: datetime) -> Period:
    """Lock the shop for as long as a run may take, and return the period.  Raises UnknownPeriod, PeriodNotOver."""
    period = period_over(which, now=now)
    with connection.cursor() as cursor:
        cursor.execute(PATIENCE)
    Shop.objects.select_for_update(no_key=True).get(pk=which.shop_id)  # two that fire at once: the second finds the run of the first
    return period


def write(which: Which, *, now: datetime, made_by: str) -> tuple[PayoutRun, bool]:
    period = begin(which, now=now)
    standing = run_of(which)
    if standing:
        return standing, False
    stops.require_none()
    return make(which, period, now=now, made_by=made_by), True


def period_over(which: Which, *, now: datetime) -> Period:
    """Return the period.  Raises UnknownPeriod, PeriodNotOver."""
    period = calendars.period_named(which.calendar, which.period)
    if period.ends_at > now:
        said = f"The period {period.name} is over at {period.ends_at:%Y-%m-%d %H:%M} UTC. Run it then, or rehearse an earlier one."
        raise PeriodNotOver(said, field="period")
    return period


def run_of(which: Which) -> PayoutRun | None:
    """Return the run of this period, if there was one."""
    calendar = which.calendar
    same = PayoutRun.objects.filter(shop=which.shop_id, currency=which.currency, interval=calendar.interval, calendar=calendar.key)
    return same.filter(period=which.period).first()


def make(which: Which, period: Period, *, now: datetime, made_by: str) -> PayoutRun:
    """Write the run: payouts, entries, movements and messages, a fixed number of statements for any number of sellers."""
    of_run = choose(MAKE, which, period, now=now, made_by=made_by)
    made = PayoutRun.objects.get(pk=of_run["run"])
    written = {
        journal.post_from(ENTRIES, of_run),
        balances.change_from(MOVEMENTS, of_run),
        notifications.publish_from(NEWS, of_run),
    }
    if written != {made.count}:
        raise RunIncomplete(f"{made.public_id} has {made.count} payouts, and {sorted(written)} entries, movements and messages")
    return made


def choose(statement: str, which: Which, period: Period, *, now: datetime, made_by: str) -> dict[str, Any]:
    """Write the run and its payouts; return what ENTRIES, MOVEMENTS and NEWS ask for.  Raises UnknownProvider."""
    of_house = choice.agreed_for_all(which.shop_id, settings.HOUSE_CURRENCY)
    agreed = terms.limited(choice.agreed_for_all(which.shop_id, which.currency), of_house, now=now)
    asked = choice.parameters(which, agreed, now=now) | {
        "run": new_run_id(),
        "calendar": which.calendar.key,
        "period": period.name,
        "ends_at": period.ends_at,
        "made_by": made_by,
        "limit": agreed.approval_limit.amount if agreed.approval_limit is not None else None,
        "cause": Payout.Cause.RUN.value,
        "spread": requests.SPREAD,
        "midnight": requests.midnight_before(now),
    }
    journal.open_accounts([chart.payouts_in_transit(), chart.operating_bank()], currency=which.currency)
    journal.will_draw_ids()
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        [run_id] = cursor.fetchone()
    if Payout.objects.filter(run=run_id, provider="").exists():
        raise UnknownProvider("Nobody is configured who would pay out. Set DEFAULT_PAYOUT_PROVIDER.")
    return {
        "run": run_id,
        "now": now,
        "in_transit": chart.payouts_in_transit(),
        "entry_kind": JournalEntry.Kind.PAYOUT.value,
        "movement_kind": WalletEntry.Kind.PAYOUT.value,
        "places": asked["places"],
    }


# --- What is due ----------------------------------------------------------------------------------------------------


def run_due(*, now: datetime) -> int:
    """Run every period that is over and was not run yet; return how many were made.  Safe to call at any time, by anyone, and twice.

    Of a calendar it is the latest period alone: what an earlier one left is available still, and paid out with it.  One that cannot be made
    is logged, and tried again next time; it keeps nobody else waiting.  What sellers with a payout currency have in others is converted first.
    While payouts are stopped none is made.
    """
    if stops.active() is not None:
        logger.warning("payouts are stopped: no payout run is made")
        return 0
    made = 0
    for which in due(now=now):
        try:
            if not conversions.convert_some(which, now=now):
                continue  # there is more to convert than one task has time for: the next one goes on, and runs it once nothing is left
            _run, is_new = run(which, now=now, made_by=BY_CALENDAR)
        except (DomainError, DatabaseError, RunIncomplete):
            logger.exception("payout run of shop %s, %s %s %s failed", which.shop_id, which.currency, which.calendar.key, which.period)
        else:
            made += is_new
    return made


def due(*, now: datetime) -> list[Which]:
    """Return the runs that are due: the latest period of each calendar in use that was over after the calendar came into force."""
    found = []
    for shop_id, currency, calendar, since in in_use():
        if calendar.interval != Interval.ON_REQUEST and (period := calendars.last_over(calendar, now)).ends_at > since:
            found.append(Which(shop_id, currency, calendar, period.name))
    columns = ("shop_id", "currency", "interval", "calendar", "period")
    done = set(PayoutRun.objects.filter(period__in={which.period for which in found}).values_list(*columns))
    return [each for each in found if (each.shop_id, each.currency, each.calendar.interval, each.calendar.key, each.period) not in done]


def in_use() -> list[tuple[int, str, Calendar, datetime]]:
    """Return the calendars by which anybody is paid: shop, currency, calendar, and since when it is in force."""
    shops = list(
        Shop.objects.filter(sellers__wallets__isnull=False).values_list("pk", "sellers__wallets__currency", "created_at").distinct()
    )
    for_all = {(row.shop_id, row.minimum.currency.code): row for row in PayoutSchedule.objects.filter(seller=None)}
    found: dict[tuple[int, str, str, str], tuple[int, str, Calendar, datetime]] = {}

    def add(shop_id: int, currency: str, calendar: Calendar, since: datetime) -> None:
        key = (shop_id, currency, calendar.interval, calendar.key)
        found[key] = (shop_id, currency, calendar, min(since, found[key][3]) if key in found else since)

    for shop_id, currency, created_at in shops:
        schedule = for_all.get((shop_id, currency))
        add(shop_id, currency, calendars.of(schedule or Calendar()), schedule.in_force_since if schedule else created_at)
    own = PayoutSchedule.objects.filter(seller__isnull=False)
    columns = ("interval", "weekday", "month_day", "cut_off", "zone", "holidays")
    for shop_id, currency, *calendar, since in (
        own.values_list("shop_id", "currency", *columns).annotate(since=Min("in_force_since")).order_by()
    ):
        add(shop_id, currency, Calendar(*calendar), since)
    return sorted(found.values(), key=lambda each: (each[0], each[1], each[2].interval, each[2].key))
