"""A PSP or bank that writes no file about a day without movements is not asked for one; whatever our books know of must be in a file all the same."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from ledger import chart, journal, periods
from ledger.models import ClosedMonth, JournalEntry
from payments.models import PaymentEvent
from payouts import files
from payouts.models import PayoutSchedule
from reconciliation import bank_matching, expected, ingestion, matching, sandbox_files, today
from reconciliation.models import BankStatement, ExpectedFile, SettlementBatch
from tests.factories import FEES, draft, eur, new_sellers, new_shop
from tests.fixtures_services import SandboxCompany
from tests.flows.test_payout_files import answer, apply, fetched, make, of, payout_to
from wallet import months

A_DAY = timedelta(days=1)
Open = Callable[..., PaymentEvent]
Pay = Callable[..., PaymentEvent]


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.fixture
def sold(sandbox: SandboxCompany, open_payment: Open, pay: Pay) -> PaymentEvent:
    return pay(open_payment("24.90"))


def day_of(event: PaymentEvent) -> date:
    """Return the day of the sale; files about it and all days after it are expected, but for quiet ones."""
    day = JournalEntry.objects.get(reference=event.orders.get().public_id).effective_at.date()
    for source, kind in (("sandbox", "settlement"), ("sandbox_bank", "statement")):
        ExpectedFile.objects.create(source=source, kind=kind, currency="EUR", due_at=time(8), since=day, has_quiet_days=False)
    return day


def missing(day: date, *, days_after: int) -> list[tuple[str, int]]:
    """Return what is missing so many days after the sale, each with how many days after it."""
    now = datetime.combine(day + days_after * A_DAY, time(10), tzinfo=UTC)
    return [(each.expected.source, (each.day - day).days) for each in expected.missing(now=now)]


def take_in(settings: Any, **sources: str) -> None:
    settings.FILE_SOURCES = sources
    now = datetime.now(UTC) + 9 * A_DAY
    sandbox_files.fetch(now=now)
    ingestion.stage_waiting(now=now)
    matching.match_waiting(now=now)
    bank_matching.match_waiting(now=now)


def test_no_file_is_missed_of_quiet_days_and_each_that_is_truly_missing_is(
    sold: PaymentEvent, sandbox: SandboxCompany, settings: Any
) -> None:
    day = day_of(sold)
    for _closed in range(2):  # the day of the sale, and the day on which the bank books it
        sandbox.client.post("/control/end_day").raise_for_status()
    assert missing(day, days_after=1) == missing(day, days_after=4) == [("sandbox", 0)]
    take_in(settings, sandbox="settlement")
    assert SettlementBatch.objects.get().paid_out > 0
    assert missing(day, days_after=1) == []
    assert missing(day, days_after=2) == [("sandbox_bank", 1)]
    assert missing(day, days_after=4) == [("sandbox_bank", 1), ("sandbox_bank", 2), ("sandbox_bank", 3)], "it may stand on any of them"
    take_in(settings, sandbox="settlement", sandbox_bank="statement")
    assert BankStatement.objects.get().closed_on == day + A_DAY
    assert missing(day, days_after=4) == []
    shown = today.files(now=datetime.combine(day + 4 * A_DAY, time(10), tzinfo=UTC))
    assert [str(tile.shown) for tile in shown.tiles[:2]] == ["quiet", "quiet"]
    ExpectedFile.objects.update(has_quiet_days=True)
    assert missing(day, days_after=3) == [("sandbox_bank", 0), ("sandbox", 1), ("sandbox", 2), ("sandbox_bank", 2)]


def test_a_sale_that_is_booked_after_its_month_was_closed_is_missed_on_the_day_on_which_it_happened(real_db: None) -> None:
    """Its webhook was lost, say: that day was quiet until then, and the first day of the open month is no less so for it."""
    month = months.of(timezone.now()).previous.first_day
    opened = periods.end_of(month)
    days = [opened.date() + number * A_DAY for number in (-2, -1, 0)]
    rule = ExpectedFile(source="sandbox", kind="settlement", currency="EUR", zone="UTC", has_quiet_days=False)
    owed = chart.psp_receivable("sandbox")
    with transaction.atomic():
        journal.open_accounts([owed, FEES], currency="EUR")
    ClosedMonth.objects.create(month=month)
    sale = draft("late", effective_at=opened - 1.5 * A_DAY, debits=[(owed, eur("5.00"))], credits=[(FEES, eur("5.00"))])
    assert expected.told_of(rule, days) == []
    with transaction.atomic():
        journal.post([dataclasses.replace(sale, kind=JournalEntry.Kind.SALE)])
    assert JournalEntry.objects.get(reference="late").effective_at == opened
    assert expected.told_of(rule, days) == days[:1]


@pytest.mark.django_db
def test_a_statement_is_missed_while_it_alone_can_tell_of_a_payment_file() -> None:
    shop = new_shop()
    PayoutSchedule.objects.create(shop=shop, provider=files.PROVIDER, minimum=eur("0.00"), keep_back=eur("0.00"))
    [seller] = new_sellers(shop, "Ada")
    payout, file = payout_to(seller, "10.01"), make()
    days = [file.execute_on + number * A_DAY for number in range(-1, 10)]
    rule = ExpectedFile(source="bank", kind="statement", currency="EUR", zone="UTC", has_quiet_days=False)
    assert expected.told_of(rule, days) == [], "it is not at the bank yet"
    fetched(file)
    assert expected.told_of(rule, days) == days[1:9], "it may stand on the statement of any day of a week"
    apply(answer(file, of(payout, "RJCT", "AC04")))
    assert expected.told_of(rule, days) == []


def test_the_file_after_a_weekend_tells_of_the_weekend_too() -> None:
    rule, monday = ExpectedFile(has_weekends=False), date(2026, 11, 23)
    assert [expected.first_of(rule, monday + number * A_DAY).day for number in range(3)] == [21, 24, 25]
    rule.has_weekends = True
    assert expected.first_of(rule, monday) == monday
