"""The cases of month close: one person prepares it, another closes it, and somebody dies on the way; it is closed once, and keeps what it came to.

Months can be closed once, one after the other, and only when they are over: each case has one of its own, in a past of which nobody else knows.
"""

from datetime import date, timedelta
from decimal import Decimal

from django.db import transaction
from djmoney.money import Money

from ledger import chart, journal, money, periods
from ledger.models import ClosedMonth, ClosedTotal, JournalEntry, Posting
from reconciliation.models import CloseEvidence, MonthClose
from tests.factories import draft
from tests.programmes.flow_files import judge_count
from tests.programmes.flows import MOST_TRIES, Case, Refused
from tests.programmes.verdicts import Verdicts

FIRST = date(1000, 1, 1)  # from then on there are months enough for every case
BANK, FEES = chart.operating_bank(), chart.fee_revenue()


def close(case: Case) -> None:
    """Something is booked in a month, which is prepared and closed; what is heard of afterwards is booked in the next, which another case closes."""
    month = case.month = periods.next_month() or FIRST
    units = case.chance.randint(1, 50_000)
    post(case, "in-time", units)
    case.booked = from_minor(units) + booked_late_before(month)
    for _try in range(MOST_TRIES):
        case.step("prepare_close", month=month.isoformat())
        if MonthClose.objects.filter(month=month).exists():
            break
    prepared = MonthClose.objects.filter(month=month).first()
    if prepared is None:
        raise Refused(f"case {case.number}: the close of {month:%Y-%m} cannot be prepared")
    for _try in range(MOST_TRIES):
        case.step("close_month", prepared=prepared.pk)
        if MonthClose.objects.filter(pk=prepared.pk, status=MonthClose.Status.CLOSED).exists():
            break
    post(case, "late", units + 1)


def post(case: Case, when: str, units: int) -> None:
    """Book so many cents in the month of the case."""
    amount = Money(from_minor(units), "EUR")
    at = periods.begin_of(month_of(case)) + timedelta(days=3)
    with transaction.atomic():
        journal.open_accounts([BANK, FEES], currency="EUR")
        journal.post([draft(reference(month_of(case), when), effective_at=at, debits=[(BANK, amount)], credits=[(FEES, amount)])])


def from_minor(units: int) -> Decimal:
    return Decimal(money.from_minor(units, "EUR").amount)


def booked_late_before(month: date) -> Decimal:
    """Return what the case before this one booked once its own month was closed."""
    late = Posting.objects.filter(entry__reference=reference(month - timedelta(days=1), "late"), account__code=BANK)
    return sum((leg.amount.amount for leg in late), Decimal(0))


def reference(month: date, when: str) -> str:
    return f"closing-{month:%Y-%m}-{when}"


def month_of(case: Case) -> date:
    if case.month is None:
        raise Refused(f"case {case.number} has no month")
    return case.month


# --- The verdict ----------------------------------------------------------------------------------------------------


def verdict(case: Case) -> Verdicts:
    """Compare what the month is closed with, and what it keeps, with what was booked in it before."""
    month, found = month_of(case), Verdicts()
    judge_count(found, f"closed months of {month:%Y-%m}", ClosedMonth.objects.filter(month=month).count(), 1)
    judge_count(found, f"closes of {month:%Y-%m}", MonthClose.objects.filter(month=month, status=MonthClose.Status.CLOSED).count(), 1)
    judge_count(found, f"evidence of {month:%Y-%m}", CloseEvidence.objects.filter(close__month=month).count(), 1)
    kept = set(ClosedTotal.objects.filter(month=month).values_list("kind", "debits", "credits"))
    if kept != {(BANK, case.booked, 0), (FEES, 0, case.booked)}:
        found.lost.append(f"{month:%Y-%m} keeps {sorted(kept)}, and {case.booked} was booked")
    late = JournalEntry.objects.get(reference=reference(month, "late"))
    if late.effective_at < periods.end_of(month) or late.happened_at >= periods.end_of(month):
        found.lost.append(f"{late.reference} happened on {late.happened_at}, and is effective on {late.effective_at}")
    return found
