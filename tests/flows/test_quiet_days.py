"""A PSP or bank that writes no file about a day without movements is not asked for one; whatever our books know of must be in a file all the same."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from ledger.models import JournalEntry
from payments.models import PaymentEvent
from reconciliation import bank_matching, expected, ingestion, matching, sandbox_files, today
from reconciliation.models import BankStatement, ExpectedFile, SettlementBatch
from tests.fixtures_services import SandboxCompany

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


def test_the_file_after_a_weekend_tells_of_the_weekend_too() -> None:
    rule, monday = ExpectedFile(has_weekends=False), date(2026, 11, 23)
    assert [expected.first_of(rule, monday + number * A_DAY).day for number in range(3)] == [21, 24, 25]
    rule.has_weekends = True
    assert expected.first_of(rule, monday) == monday
