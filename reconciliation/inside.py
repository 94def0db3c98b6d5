"""The look inside: each night, and whenever somebody asks, all invariants and the figures of both sides, in one state of the database.

Wallets against books, orders against entries, what each PSP took for us against what we have booked, payouts, outbox and inbox.  Where
figures about money do not agree, payouts stop (payouts/stops.py) until a person has looked at it, a later look agrees, and somebody lifts
that.  What could not be found out - a PSP that does not answer, a check that takes too long - stops nobody: the watch is red for it.

Nothing that is under way looks like drift: all of our own figures are read in one state, and a PSP's are those of an hour and of two hours
ago, of which only a difference counts that stands at both, and is more than the calls of which we do not know the outcome.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Min
from django.db.models.functions import Coalesce

from ledger import chart, seek
from ledger.approvals import ReasonMissing
from ledger.models import Account, JournalEntry, Posting
from ledger.money import text
from payments.models import PspEvent
from payments.psp.protocol import PspError
from payments.psp.registry import UnknownPsp, psp_named
from payouts import stops
from payouts.models import PayoutStop
from reconciliation import watch
from reconciliation.alone import alone_at
from reconciliation.expected import OF_THE_PSP
from reconciliation.models import InsideLook, InvariantRun
from wallet.models import OutboxMessage

logger = logging.getLogger(__name__)

# Of which invariants a violation means that figures about money do not agree, or that the books were changed.
MONEY = frozenset({f"INV-{number:02}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 18, 21)})
TIMEOUT_S = watch.TIMEOUT_S[InvariantRun.Scope.FULL]
AT_REST = (timedelta(hours=2), timedelta(hours=1))  # ago: what was under way then has come to its end
A_DAY = timedelta(days=1)
WANTED_FOR = timedelta(hours=1)
BY_THE_WATCH = "watch"
LONGEST_REASON = 2000
AT_FIRST = 1000  # entries: more than are booked at once


class Check(StrEnum):
    """What is compared with what."""

    BOOKS = "books"
    WALLETS = "wallets"
    ORDERS = "orders"
    PAYOUTS = "payouts"
    PSP = "psp"
    SETTLED = "settled"
    OUTBOX = "outbox"
    INBOX = "inbox"


class State(StrEnum):
    """Whether both sides agree.  `OPEN`: they need not, and the difference is what is still to come; `STUCK`: it should have come by now."""

    AGREES = "agrees"
    DIFFERS = "differs"
    OPEN = "open"
    STUCK = "stuck"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both sides: amounts of a currency, or (without one) how many.  `ours` is what the rows say, `theirs` what they must equal."""

    check: Check
    about: str
    currency: str
    ours: Decimal | None
    theirs: Decimal | None
    state: State

    def __str__(self) -> str:
        return " ".join(filter(None, (self.check, self.about, self.currency, f"{self.ours} against {self.theirs}")))


# Each answers with: what it is about, the currency, and the figures of both sides.
MONEY_FIGURES = {
    Check.BOOKS: """
        SELECT '', currency, coalesce(sum(amount) FILTER (WHERE amount > 0), 0), coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)
        FROM ledger_posting GROUP BY currency ORDER BY 2
    """,
    Check.WALLETS: """
        SELECT name, currency, sum(ours), sum(theirs) FROM (
            SELECT name, currency, amount AS ours, 0 AS theirs FROM wallet_wallet,
                LATERAL (VALUES ('seller_pending', pending), ('seller_available', available), ('seller_reserved', reserved)) AS f (name, amount)
            UNION ALL
            SELECT split_part(account.code, ':', 1), account.currency, 0, -posting.amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE account.code LIKE 'seller\\_%'
            UNION ALL
            SELECT CASE kind WHEN 'gift_card' THEN 'gift_cards' ELSE 'buyer_wallet' END, currency, balance, 0 FROM wallet_storedvalue
            UNION ALL
            SELECT split_part(account.code, ':', 1), account.currency, 0, -posting.amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE account.code = 'gift_cards' OR account.code LIKE 'buyer\\_wallet:%'
        ) AS side GROUP BY 1, 2 ORDER BY 1, 2
    """,
    Check.ORDERS: """
        SELECT kind, currency, sum(ours), sum(theirs) FROM (
            SELECT CASE WHEN fills_id IS NULL THEN 'sale' ELSE 'stored_value' END AS kind, currency, amount AS ours, 0 AS theirs
            FROM payments_paymentorder WHERE status = 'SUCCESS'
            UNION ALL SELECT 'late_charge', currency, amount, 0 FROM payments_latecharge
            UNION ALL SELECT 'refund', currency, amount, 0 FROM payments_refund WHERE journal_entry_id IS NOT NULL
            UNION ALL SELECT 'refund_reversal', currency, amount, 0 FROM payments_refund WHERE reversal_entry_id IS NOT NULL
            UNION ALL
            SELECT entry.kind, posting.currency, 0, posting.amount
            FROM ledger_journalentry AS entry JOIN ledger_posting AS posting ON posting.entry_id = entry.id AND posting.amount > 0
            WHERE entry.kind IN ('sale', 'stored_value', 'late_charge', 'refund', 'refund_reversal')
        ) AS side GROUP BY 1, 2 ORDER BY 1, 2
    """,
    Check.PAYOUTS: """
        SELECT '', currency, sum(ours), sum(theirs) FROM (
            SELECT currency, amount AS ours, 0 AS theirs FROM payouts_payout WHERE status IN ('WAITING', 'EXECUTING')
            UNION ALL
            SELECT account.currency, 0, -posting.amount
            FROM ledger_posting AS posting JOIN ledger_account AS account ON account.id = posting.account_id
            WHERE account.code = 'payouts_in_transit'
        ) AS side GROUP BY 2 ORDER BY 2
    """,
}

# What PSPs charged buyers, and what of it their files have settled.
SETTLED = """
    SELECT psp, currency, coalesce(sum(amount - tendered) FILTER (WHERE settled_at IS NOT NULL), 0), sum(amount - tendered)
    FROM payments_paymentorder WHERE status = 'SUCCESS' AND amount > tendered GROUP BY 1, 2 ORDER BY 1, 2
"""

# What was written since, and how many of that were passed on; what has been left alone for an hour.
OUTBOX = """
    SELECT count(*) FILTER (WHERE id <= position.at), count(*),
           count(*) FILTER (WHERE id > position.at AND created_at < now() - interval '1 hour'
                            AND EXISTS (SELECT FROM wallet_webhookendpoint WHERE is_enabled))
           + (SELECT count(*) FROM wallet_webhookdelivery WHERE next_attempt_at < now() - interval '1 hour')
    FROM wallet_outboxmessage, (SELECT coalesce(max(message_id), 0) AS at FROM wallet_relayposition WHERE name = 'webhooks') AS position
    WHERE id >= %(first_id)s AND created_at >= %(since)s
"""
INBOX = """
    SELECT count(*) FILTER (WHERE status <> 'received'), count(*),
           count(*) FILTER (WHERE status = 'received' AND reason = '' AND received_at < now() - interval '1 hour')
    FROM payments_pspevent WHERE id >= %(first_id)s AND received_at >= %(since)s
"""

# It counts when it happened, as the PSP counts it, also where its month was closed by then and our books have it later.
BOOKED = """
    SELECT posting.currency, coalesce(sum(posting.amount) FILTER (WHERE happened_at < %(earlier)s), 0), sum(posting.amount)
    FROM ledger_account AS account
    JOIN ledger_posting AS posting ON posting.account_id = account.id
    JOIN ledger_journalentry AS entry ON entry.id = posting.entry_id
    CROSS JOIN LATERAL (SELECT coalesce(entry.occurred_at, entry.effective_at) AS happened_at) AS moment
    WHERE account.code = %(code)s AND entry.kind = ANY(%(kinds)s) AND happened_at >= %(since)s AND happened_at < %(later)s
    GROUP BY posting.currency
"""

# What the PSP may have taken, and given back, of which we do not know it yet: calls whose outcome we ask for, in steps of up to a day.
UNDER_WAY = """
    SELECT currency, coalesce(sum(amount) FILTER (WHERE amount > 0), 0), coalesce(-sum(amount) FILTER (WHERE amount < 0), 0) FROM (
        SELECT payment.currency, payment.amount - payment.tendered AS amount FROM payments_paymentorder AS payment
        WHERE payment.status = 'EXECUTING' AND EXISTS (
            SELECT FROM payments_pspattempt AS attempt WHERE attempt.order_id = payment.id AND attempt.operation = 'charge'
               AND attempt.psp = %(psp)s AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING'))
        UNION ALL
        SELECT refund.currency, refund.tendered - refund.amount FROM payments_refund AS refund
        WHERE refund.status = 'EXECUTING' AND EXISTS (
            SELECT FROM payments_pspattempt AS attempt WHERE attempt.order_id = refund.order_id AND attempt.refund_id = refund.id
               AND attempt.psp = %(psp)s AND attempt.status IN ('SENDING', 'UNKNOWN', 'PENDING'))
        UNION ALL
        SELECT payment.currency, coalesce(attempt.asked_for, payment.amount) FROM payments_pspattempt AS attempt
        JOIN payments_paymentorder AS payment ON payment.id = attempt.order_id
        WHERE attempt.ask_again_at IS NOT NULL AND attempt.operation = 'charge' AND attempt.psp = %(psp)s
    ) AS call GROUP BY currency
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a PSP says that it took for us from `since` on, by currency: before the earlier of two moments, and before the later."""

    psp: str
    since: datetime
    earlier: datetime
    later: datetime
    taken: dict[str, tuple[Decimal, Decimal]] | None  # None: it cannot tell, or cannot be asked


# --- Asked for, and made ----------------------------------------------------------------------------------------------


def ask(*, asked_by: str, reason: str, now: datetime) -> InsideLook:
    """Write down that somebody wants the house looked into, or (`asked_by` empty) that a night has come.  Raises ReasonMissing."""
    if asked_by and not reason.strip():
        raise ReasonMissing("Say why: the look is kept with its reason.", field="note")
    return InsideLook.objects.create(asked_by=asked_by, reason=reason.strip(), asked_at=now)


def is_wanted(*, now: datetime) -> bool:
    """Return whether a look was asked for within the hour and is not made yet: one that cannot be made is not tried for ever."""
    return InsideLook.objects.filter(ended_at=None, asked_at__gt=now - WANTED_FOR).exists()


def look(*, now: datetime, at: datetime) -> InsideLook | None:
    """Make one look for all that are asked for; stop payouts if figures about money do not agree.  Return the newest of them.

    `now` is the machine's own time, `at` the time of business, by which PSPs are asked.  None: nobody asked, or somebody is at it already.
    A look that dies is made again.
    """
    with alone_at("reconciliation.inside") as is_mine:
        wanted = list(InsideLook.objects.filter(ended_at=None).order_by("pk").values_list("pk", flat=True)) if is_mine else []
        if not wanted:
            return None
        told = ask_psps(at=at)
        figures: list[Figure] = []
        run = watch.run_full(now=now, beside=lambda: figures.extend(figures_of(told, now=now)))
        drift = drift_of(run.violations, figures)
        with transaction.atomic():
            found = {"ended_at": now, "figures": [as_kept(figure) for figure in figures], "drift": drift, "run": run}
            InsideLook.objects.filter(pk__in=wanted).update(**found)
            stop_for(drift, now=now)
        return InsideLook.objects.get(pk=wanted[-1])


def look_quickly(*, now: datetime) -> InvariantRun:
    """Check the invariants that are quick to check; stop payouts if one over money does not hold."""
    run = watch.run_quick(now=now)
    stop_for(drift_of(run.violations, ()), now=now)
    return run


def drift_of(violations: Iterable[dict[str, Any]], figures: Iterable[Figure]) -> list[str]:
    """Return what of it is about money and does not agree, in one line each.  What is not known is none of it."""
    broken = [
        f"{violation['invariant']}: {violation['rows'][0]}"
        for violation in violations
        if violation["invariant"].split()[0] in MONEY and not str(violation["rows"][0]).startswith(watch.NOT_KNOWN)
    ]
    return [*broken, *(str(figure) for figure in figures if figure.state is State.DIFFERS)]


def not_known(look: InsideLook) -> list[str]:
    """Return what the look could not find out, each as a line of drift about it begins."""
    figures = [" ".join(filter(None, (each["check"], each["about"]))) for each in look.figures if each["state"] == State.UNKNOWN]
    violations = look.run.violations if look.run else []
    return figures + [each["invariant"] for each in violations if str(each["rows"][0]).startswith(watch.NOT_KNOWN)]


def stop_for(drift: Sequence[str], *, now: datetime) -> None:
    """Stop payouts if there is drift."""
    if drift:
        reason = "; ".join(drift)[:LONGEST_REASON]
        stop, is_new = stops.place(reason=reason, placed_by=BY_THE_WATCH, now=now)
        if not is_new:
            logger.error("payouts stay stopped, as they are %s: %s", stop, reason)


def latest() -> InsideLook | None:
    """Return the latest look that was made."""
    return InsideLook.objects.filter(ended_at__isnull=False).order_by("-pk").first()


@transaction.atomic
def lift(stop_id: int, *, actor: str, reason: str, now: datetime) -> PayoutStop:
    """Let payouts go on, once a look that was asked for after they were stopped has found that all figures about money agree.

    What was found wrong and cannot be found out any more is not found to agree.  Locks the stop.  Raises LiftRefused: no such look, no
    reason, or it is lifted already.
    """
    stop = PayoutStop.objects.select_for_update(no_key=True).get(pk=stop_id)  # before the looks are read: none comes in between
    looks = list(InsideLook.objects.filter(ended_at__isnull=False, asked_at__gt=stop.placed_at).order_by("-pk"))
    if not looks:
        raise stops.LiftRefused("Have the house looked into first: no look was made since payouts were stopped.")
    quick, _full = watch.latest_runs()
    if looks[0].drift or (quick and drift_of(quick.violations, ())):
        raise stops.LiftRefused(
            "The latest look still finds figures about money that do not agree. Mend them, and have it looked into again."
        )
    found = [*stop.reason.split("; "), *(line for look in looks for line in look.drift)]
    if any(line.startswith(tuple(not_known(looks[0]))) for line in found):
        raise stops.LiftRefused("The latest look could not find out whether what did not agree does now. Have it looked into again.")
    return stops.lift(stop_id, actor=actor, reason=reason, now=now)


# --- The figures ------------------------------------------------------------------------------------------------------


def figures_of(told: Iterable[Told], *, now: datetime) -> list[Figure]:
    """Return the figures of both sides as they stand in the state that the caller reads; what takes too long is not known."""
    since = {"since": now - A_DAY}
    outbox = since | {"first_id": seek.first_id_since(OutboxMessage, "created_at", now - A_DAY)}
    inbox = since | {"first_id": seek.first_id_since(PspEvent, "received_at", now - A_DAY)}
    return [
        *(figure for check, statement in MONEY_FIGURES.items() for figure in compared(check, statement)),
        *(figure for each in told for figure in booked_at(each)),
        *compared(Check.SETTLED, SETTLED, differing=State.OPEN),
        *counted(Check.OUTBOX, OUTBOX, outbox),
        *counted(Check.INBOX, INBOX, inbox),
    ]


def compared(check: Check, statement: str, *, differing: State = State.DIFFERS) -> list[Figure]:
    found = rows_of(statement.replace("%", "%%"), {})
    if found is None:
        return [Figure(check, "", "", None, None, State.UNKNOWN)]
    return [
        Figure(check, about, currency, ours, theirs, State.AGREES if ours == theirs else differing)
        for about, currency, ours, theirs in found
        if ours or theirs
    ]


def counted(check: Check, statement: str, parameters: dict[str, Any]) -> list[Figure]:
    """Return how many of the past day were worked on, of how many; what waits is on its way, unless it has been left alone for an hour."""
    found = rows_of(statement, parameters)
    if found is None:
        return [Figure(check, "", "", None, None, State.UNKNOWN)]
    [(done, written, stuck)] = found
    state = State.STUCK if stuck else State.AGREES if done == written else State.OPEN
    return [Figure(check, "", "", Decimal(done), Decimal(written), state)]


def booked_at(told: Told) -> list[Figure]:
    """Compare what a PSP took for us with what we have booked.

    A difference counts if it is the same at both moments, and is more than what calls may have moved whose outcome is not known yet.
    """
    if told.taken is None:
        return [Figure(Check.PSP, told.psp, "", None, None, State.UNKNOWN)]
    asked = {"code": chart.psp_receivable(told.psp), "kinds": list(OF_THE_PSP)}
    found = rows_of(BOOKED, asked | {"since": told.since, "earlier": told.earlier, "later": told.later})
    calls = rows_of(UNDER_WAY, {"psp": told.psp})
    if found is None or calls is None:
        return [Figure(Check.PSP, told.psp, "", None, None, State.UNKNOWN)]
    under_way = {currency: (charges, refunds) for currency, charges, refunds in calls}
    booked = {currency: (earlier, later) for currency, earlier, later in found}
    nothing = (Decimal(0), Decimal(0))
    figures = []
    for currency in sorted({*booked, *told.taken}):
        ours, theirs = booked.get(currency, nothing), told.taken.get(currency, nothing)
        then, lately = ours[0] - theirs[0], ours[1] - theirs[1]
        charges, refunds = under_way.get(currency, nothing)
        is_drift = then == lately and not -charges <= lately <= refunds
        state = State.AGREES if not lately else State.DIFFERS if is_drift else State.OPEN
        figures.append(Figure(Check.PSP, told.psp, currency, ours[1], theirs[1], state))
    return figures


def rows_of(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]] | None:
    """Return the rows; None if that took too long."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
    except OperationalError as error:
        logger.warning("a figure of both sides is not known: %s", error)
        return None
    return found


def as_kept(figure: Figure) -> dict[str, Any]:
    """Return the figure as JSON: amounts as text."""
    ours, theirs = (None if side is None else str(side) for side in (figure.ours, figure.theirs))
    return {
        "check": figure.check.value,
        "about": figure.about,
        "currency": figure.currency,
        "ours": ours,
        "theirs": theirs,
        "state": figure.state.value,
    }


# --- What PSPs say ----------------------------------------------------------------------------------------------------


def ask_psps(*, at: datetime) -> list[Told]:
    """Ask each PSP that owes us, or owed us, what it took for us.  No transaction is open meanwhile."""
    codes = Account.objects.filter(code__startswith=chart.psp_receivable("")).order_by("code").values_list("code", flat=True).distinct()
    return [told for code in codes if (told := ask_psp(code.partition(":")[2], at=at))]


def ask_psp(psp: str, *, at: datetime) -> Told | None:
    """Ask one PSP, from the first thing on that we have booked with it; None if that is none, or too new to be at rest."""
    since = first_booked_with(psp)
    earlier, later = (at - ago for ago in AT_REST)
    if since is None or since >= later:
        return None
    try:
        sides = [psp_named(psp).taken(since=since, until=moment) for moment in (earlier, later)]
    except (PspError, UnknownPsp) as error:
        logger.warning("%s cannot be asked what it took for us: %s", psp, error)
        return Told(psp, since, earlier, later, None)
    if None in sides:
        return Told(psp, since, earlier, later, None)
    before, until = ({each.currency.code: Decimal(text(each)) for each in side or ()} for side in sides)
    taken = {currency: (before.get(currency, Decimal(0)), until.get(currency, Decimal(0))) for currency in {*before, *until}}
    return Told(psp, since, earlier, later, taken)


def first_booked_with(psp: str) -> datetime | None:
    """Return when the earliest of the first entries with the PSP happened: those of one batch are not booked in the order of their charges."""
    firsts = [
        entry_id
        for account in Account.objects.filter(code=chart.psp_receivable(psp))
        for entry_id in Posting.objects.filter(account=account).order_by("entry").values_list("entry", flat=True)[:AT_FIRST]
    ]
    found: datetime | None = JournalEntry.objects.filter(pk__in=firsts).aggregate(at=Min(Coalesce("occurred_at", "effective_at")))["at"]
    return found
