"""What a month must fulfil before it is closed: each check says whether it holds, in words, and names the rows that keep the month open.

Only reads.  The same checks stand on the page of the month, are asked of whoever prepares its close, and once more in the transaction that
closes it, there with every invariant looked at anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger import approvals, periods, queries, seek
from ledger.models import Approval, JournalEntry, LedgerSeal
from ledger.money import text
from payments.models import PspAttempt
from payments.states import AttemptStatus, OrderStatus, PspOperation, RefundStatus
from payouts import queries as payout_queries
from payouts.models import PaymentFile, Payout, PayoutAttempt, PayoutRun
from payouts.states import AttemptStatus as BankAttemptStatus
from payouts.states import FileStatus, PayoutStatus, RunStatus
from reconciliation import expected, watch
from reconciliation.models import BankStatement, InvariantRun, Mismatch, Proposal, SettlementBatch, SourceFile
from wallet import months
from wallet.models import Seller, WalletEntry

SHOWN = 20  # rows of one check: enough to begin with
A_DAY = timedelta(days=1)
NOT_ANSWERED = (AttemptStatus.SENDING, AttemptStatus.UNKNOWN)
NOT_ANSWERED_BY_THE_BANK = (BankAttemptStatus.SENDING, BankAttemptStatus.UNKNOWN)

# Of the month itself: fees that nobody has invoiced.
NOT_INVOICED = """
SELECT DISTINCT wallet.seller_id, wallet.currency
FROM wallet_walletentry AS entry JOIN wallet_wallet AS wallet ON wallet.id = entry.wallet_id
WHERE entry.id >= %(first_id)s AND entry.id < %(end_id)s AND entry.created_at >= %(since)s AND entry.created_at < %(until)s AND entry.fee <> 0
  AND NOT EXISTS (SELECT FROM wallet_feeinvoice AS issued WHERE issued.corrects_id IS NULL AND issued.period = %(period)s
                  AND (issued.seller_id, issued.currency) = (wallet.seller_id, wallet.currency))
ORDER BY 1, 2 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that keeps a month open, in words, and where it stands (a row of a table that has a page), if it does."""

    words: str
    model: type[models.Model] | None = None
    pk: int | None = None

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: whether it does, and what was found.  `to_do` says what to do about the rows."""

    name: str
    title: Any
    holds: bool
    found: str
    to_do: Any = ""
    rows: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The days that are closed with a month: its own, and before the first close all before it, too.  The first moment counts, the last not."""

    month: date
    since: datetime
    until: datetime

    @property
    def first_day(self) -> date:
        return self.since.date()

    @property
    def last_day(self) -> date:
        return self.until.date() - A_DAY


def span_of(month: date) -> Span:
    """Return what is closed with the month that begins on that day."""
    before = periods.closed_until() or periods.begin_of(min(month, periods.first_month() or month))
    return Span(month, before, periods.end_of(month))


def checks(span: Span, *, now: datetime) -> list[Check]:
    """Look at everything but the invariants, of which the latest nightly look is told.  Reads the database as it is."""
    return [*(check(span, now) for check in CHECKS), invariants_at_the_last_look(now)]


def is_the_next(span: Span, now: datetime) -> Check:
    following = periods.next_month()
    row = None
    if not periods.is_over(span.month):
        row = Row(gettext("The month is not over yet."))
    elif following and following != span.month:
        row = Row(gettext("The next month to close is %(month)s.") % {"month": f"{following:%Y-%m}"})
    found = "" if following else gettext("It is the first one: all before it is closed with it.")
    return Check(
        "order", _("It is over, and the next to close"), row is None, found, _("Months are closed in order."), [row] if row else []
    )


def files_are_here(span: Span, now: datetime) -> Check:
    missing = list(expected.missing_between(span.first_day, span.last_day))
    unread = SourceFile.objects.filter(status=SourceFile.Status.RECEIVED).order_by("pk")
    rows = [
        *(Row(gettext("%(file)s of %(day)s") % {"file": each.expected, "day": each.day}) for each in missing),
        *(Row(gettext("%(name)s is not read yet") % {"name": each.name}, SourceFile, each.pk) for each in unread[:SHOWN]),
    ]
    here = SourceFile.objects.filter(status=SourceFile.Status.STAGED, last_day__gte=span.first_day, last_day__lte=span.last_day).count()
    found = ngettext("%(count)s file is read.", "%(count)s files are read.", here) % {"count": here}
    to_do = _("Ask the PSP or the bank for the file, and upload it. What is expected of whom stands under Expected files.")
    return told("files", _("Every expected file is here and read"), rows, found, to_do)


def files_are_compared(span: Span, now: datetime) -> Check:
    batches = SettlementBatch.objects.filter(Q(closed_at=None) | Q(closed_at__lt=span.until)).filter(
        Q(matched_at=None) | Q(orders_settled_at=None)
    )
    statements = BankStatement.objects.filter(file__status=SourceFile.Status.STAGED, has_balances=True, compared=None).filter(
        Q(closed_on=None) | Q(closed_on__lte=span.last_day)
    )
    to_open = SourceFile.objects.filter(
        status=SourceFile.Status.STAGED, kind=SourceFile.Kind.SETTLEMENT, staged__gt=0, batches=None, last_day__lte=span.last_day
    ).exclude(format__in=settings.FILE_FORMATS_ONLY_READ)
    rows = [
        *(Row(str(batch), SettlementBatch, batch.pk) for batch in batches.order_by("pk")[:SHOWN]),
        *(Row(str(statement), BankStatement, statement.pk) for statement in statements.order_by("pk")[:SHOWN]),
        *(Row(file.name, SourceFile, file.pk) for file in to_open.order_by("pk")[:SHOWN]),
    ]
    to_do = _("They are compared within minutes. If one is not, the log says why.")
    return told("compared", _("Every settlement batch and bank statement is compared"), rows, "", to_do)


def mismatches_are_explained(span: Span, now: datetime) -> Check:
    """Mismatches of the month and before that are older than settings allow may be over so much together, in each currency."""
    mismatches = Mismatch.objects.annotate(about=Coalesce("batch__closed_at", "found_at"), said_on=F("bank_line__statement__closed_on"))
    of_the_month = mismatches.filter(Q(said_on=None, about__lt=span.until) | Q(said_on__lte=span.last_day))
    old = of_the_month.filter(resolved_at=None, found_at__lt=now - timedelta(days=settings.CLOSE_MISMATCH_DAYS)).order_by("pk")
    over: dict[str, Decimal] = {}
    for mismatch in old.only("currency", "suspended", "expected", "found").iterator(chunk_size=2000):
        over[mismatch.currency] = over.get(mismatch.currency, Decimal(0)) + value_of(mismatch)
    too_much = [currency for currency, value in over.items() if value > settings.CLOSE_MISMATCH_LIMITS.get(currency, Decimal(0))]
    rows = [
        Row(f"{each.get_kind_display()} {text(Money(value_of(each), each.currency))} {each.currency}", Mismatch, each.pk)
        for each in old.filter(currency__in=too_much)[:SHOWN]
    ]
    sums = ", ".join(f"{text(Money(value, currency))} {currency}" for currency, value in sorted(over.items()))
    days = ngettext(
        "Open for more than %(count)s day: %(sums)s.", "Open for more than %(count)s days: %(sums)s.", settings.CLOSE_MISMATCH_DAYS
    )
    found = days % {"count": settings.CLOSE_MISMATCH_DAYS, "sums": sums or gettext("nothing")}
    title = _("Mismatches and suspense are within their limits")
    return told("mismatches", title, rows, found, _("Resolve them: each is proposed by one person and approved by another."))


def value_of(mismatch: Mismatch) -> Decimal:
    """Return what the mismatch is over: what it has in suspense, or else what is missing."""
    return abs(mismatch.suspended or mismatch.expected or mismatch.found or Decimal(0))


def nothing_waits_for_approval(span: Span, now: datetime) -> Check:
    """What finance proposed is decided, whenever it was; payouts of later do not keep the month open."""
    proposals = Proposal.objects.filter(status=Proposal.Status.WAITING).order_by("pk")
    payouts = payout_queries.waiting_for_approval().filter(created_at__lt=span.until)
    files = PaymentFile.objects.filter(status=FileStatus.MADE, created_at__lt=span.until).order_by("pk")
    runs = PayoutRun.objects.filter(status=RunStatus.WAITING, created_at__lt=span.until).order_by("pk")
    rows = [
        *(Row(f"{each.public_id} {each.memo}", Approval, each.pk) for each in approvals.waiting()[:SHOWN]),
        *(Row(str(each), Mismatch, each.mismatch_id) for each in proposals[:SHOWN]),
        *(Row(each.public_id, Payout, each.pk) for each in payouts[:SHOWN]),
        *(Row(str(each), PayoutRun, each.pk) for each in runs[:SHOWN]),
        *(Row(each.public_id, PaymentFile, each.pk) for each in files[:SHOWN]),
    ]
    return told("approvals", _("Nothing waits for approval"), rows, "", _("Approve or reject it."))


def outcomes_are_known(span: Span, now: datetime) -> Check:
    """Calls that moved money and were not answered for a day, of orders, refunds and payouts that still wait for the answer."""
    before = min(now - A_DAY, span.until)
    waited_for = (
        Q(operation=PspOperation.CHARGE, order__status=OrderStatus.EXECUTING)
        | Q(refund__status=RefundStatus.EXECUTING)
        | Q(ask_again_at__isnull=False)
    )
    calls = PspAttempt.objects.filter(waited_for, status__in=NOT_ANSWERED, created_at__lt=before).order_by("pk")
    to_banks = PayoutAttempt.objects.filter(
        status__in=NOT_ANSWERED_BY_THE_BANK, created_at__lt=before, payout__status=PayoutStatus.EXECUTING
    ).order_by("pk")
    rows = [
        *(Row(str(each), PspAttempt, each.pk) for each in calls[:SHOWN]),
        *(Row(str(each), Payout, each.payout_id) for each in to_banks[:SHOWN]),
    ]
    to_do = _("The machine goes on asking. Ask the PSP or the bank yourself, and decide what waits for a person.")
    return told("outcomes", _("No outcome has been unknown for more than a day"), rows, "", to_do)


def fees_are_invoiced(span: Span, now: datetime) -> Check:
    month = months.Month(span.month.year, span.month.month)
    asked: dict[str, Any] = {
        "first_id": seek.first_id_since(WalletEntry, "created_at", month.since),
        "end_id": seek.first_id_after(WalletEntry, "created_at", month.until),
        "since": month.since,
        "until": month.until,
        "period": str(month),
        "limit": SHOWN,
    }
    with connection.cursor() as cursor:
        cursor.execute(NOT_INVOICED, asked)
        left = cursor.fetchall()
    names = dict(Seller.objects.filter(pk__in=[seller_id for seller_id, _currency in left]).values_list("pk", "name"))
    rows = [Row(f"{names[seller_id]} {currency}", Seller, seller_id) for seller_id, currency in left]
    to_do = _("They are invoiced each night. To do it now: issue_fee_invoices on the command line.")
    return told("invoices", _("The fees of the month are invoiced"), rows, "", to_do)


def entries_are_sealed(span: Span, now: datetime) -> Check:
    last = LedgerSeal.objects.order_by("-number").first()
    unsealed = JournalEntry.objects.filter(pk__gt=last.last_entry_id if last else 0, effective_at__lt=span.until).order_by("pk")
    rows = [Row(each.public_id, JournalEntry, each.pk) for each in unsealed[:SHOWN]]
    found = gettext("The last seal is %(number)s.") % {"number": last.number} if last else ""
    return told("seals", _("Every entry of the month is sealed"), rows, found, _("Entries are sealed each minute. Look again in a moment."))


def books_balance(span: Span, now: datetime) -> Check:
    sides: dict[str, Money] = {}
    for line in queries.trial_balance(as_of=span.until):
        difference = line.debits - line.credits
        sides[difference.currency.code] = difference + sides.get(difference.currency.code, Money(0, difference.currency))
    rows = [Row(f"{text(difference)} {currency}") for currency, difference in sides.items() if difference.amount]
    return told(
        "balance",
        _("The trial balance balances"),
        rows,
        gettext("In %s.") % ", ".join(sides),
        _("Nothing may be booked any more: call the engineers."),
    )


def invariants_at_the_last_look(now: datetime) -> Check:
    _quick, run = watch.latest_runs()
    if run is None or run.started_at < now - watch.TOO_OLD[InvariantRun.Scope.FULL]:
        rows = [Row(gettext("Nobody has looked at all of them for more than a day."))]
    else:
        rows = [Row(violation["invariant"], InvariantRun, run.pk) for violation in run.violations]
    found = gettext("By the last look at all of them. They are looked at once more as the month is closed.")
    return told(INVARIANTS, INVARIANTS_HOLD, rows, found, LOOK_AT_THEM)


def invariants_now(names: Sequence[str], *, timeout_s: int) -> Check:
    """Look at the invariants in the state of the transaction that is open, each for so long at most, and at the anchor of the seals."""
    broken = watch.broken_here(names, timeout_s=timeout_s)
    found = ngettext("%(count)s was looked at.", "%(count)s were looked at.", len(names)) % {"count": len(names)}
    return told(INVARIANTS, INVARIANTS_HOLD, [Row(str(each)) for each in broken], found, LOOK_AT_THEM)


def told(name: str, title: Any, rows: Sequence[Row], found: str, to_do: Any) -> Check:
    """Return the check: it holds if there is no row."""
    return Check(name, title, not rows, found, to_do, rows)


INVARIANTS = "invariants"
INVARIANTS_HOLD = _("All invariants hold")
LOOK_AT_THEM = _("Look at the run: it says which rows break what.")

CHECKS: tuple[Callable[[Span, datetime], Check], ...] = (
    is_the_next,
    files_are_here,
    files_are_compared,
    mismatches_are_explained,
    nothing_waits_for_approval,
    outcomes_are_known,
    fees_are_invoiced,
    entries_are_sealed,
    books_balance,
)
