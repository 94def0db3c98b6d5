"""Files on real commits: two who bring or read the same one, one whose process is killed, and the sandbox's own over HTTP."""

import io
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone

from ledger.models import JournalEntry
from payments.models import PaymentEvent, PaymentOrder
from reconciliation import ingestion, invariants, matching, sandbox_files, staging
from reconciliation.models import BankStatement, ExpectedFee, LineMatch, Mismatch, SettlementBatch, SourceChunk, SourceFile, StagedLine
from tests.fixtures_money import all_at_once, errors_in
from tests.fixtures_services import SandboxCompany
from tests.settlement_files import settlement_file

NOW = timezone.now()


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


def receive(body: bytes) -> tuple[SourceFile, bool]:
    return ingestion.receive(io.BytesIO(body), "sb.csv", source="sandbox", received_by="shell:ada", now=NOW)


@pytest.mark.race
def test_of_three_who_bring_read_and_compare_the_same_file_at_once_one_does(real_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CHUNK", 50)
    body = settlement_file(500)
    brought = all_at_once(*[partial(receive, body)] * 3)
    assert errors_in(brought) == []
    assert sorted(is_new for _file, is_new in brought) == [False, False, True]  # type: ignore[misc]
    file = SourceFile.objects.get()
    assert SourceChunk.objects.count() == 1
    assert errors_in(all_at_once(*[partial(ingestion.stage, file.pk, now=NOW)] * 3)) == []
    file.refresh_from_db()
    assert (file.status, file.staged) == ("STAGED", 501)
    assert list(StagedLine.objects.order_by("number").values_list("number", flat=True)) == list(range(1, 502))
    assert errors_in(all_at_once(*[partial(matching.match_waiting, now=NOW)] * 3)) == []
    batch = SettlementBatch.objects.get()
    assert (LineMatch.objects.count(), Mismatch.objects.count(), batch.suspended) == (1, 500, Decimal("4850.00"))
    assert JournalEntry.objects.get().pk == batch.journal_entry_id
    assert invariants.violations() == []


def test_what_the_sandbox_settled_and_booked_is_fetched_once(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], sandbox: SandboxCompany
) -> None:
    paid = pay(open_payment("10.00", "20.00"))
    sandbox.client.post("/control/end_day").raise_for_status()
    sandbox.client.post("/control/end_day").raise_for_status()
    fetched = sandbox_files.fetch(now=NOW)
    assert {file.source for file in fetched} == {"sandbox", "sandbox_bank"}
    assert [file.error for file in fetched if file.error] == []
    while ingestion.stage_waiting(now=NOW):
        pass
    assert not SourceFile.objects.exclude(status="STAGED").exists()
    assert BankStatement.objects.exclude(closing=None).exists()
    assert matching.match_waiting(now=NOW) > 0
    assert {order.settled_at is not None for order in paid.orders.all()} == {True}
    assert not Mismatch.objects.filter(subject__in=[order.public_id for order in paid.orders.all()]).exists()
    assert sandbox_files.fetch(now=NOW + timedelta(minutes=1)) == []


def test_every_fault_that_the_sandbox_plants_is_found_and_called_by_its_name(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], sandbox: SandboxCompany
) -> None:
    def end_a_day() -> None:
        sandbox.client.post("/control/end_day").raise_for_status()

    ExpectedFee.objects.create(psp="sandbox", currency="EUR", basis_points=140, fixed=Decimal("0.25"))
    planted = ("", "line_extra", "line_doubled", "line_amount", "line_fee", "line_currency", "line_late", "line_missing")
    orders = dict(zip(planted, pay(open_payment(*["10.00"] * len(planted))).orders.order_by("pk"), strict=True))
    for kind in planted[1:]:
        sandbox.fault(operation="settlement", kind=kind, reference=orders[kind].public_id)
    end_a_day()
    end_a_day()
    sandbox_files.fetch(now=NOW)
    while ingestion.stage_waiting(now=NOW):
        pass
    matching.match_waiting(now=NOW)
    ids = {order.public_id: kind for kind, order in orders.items()}
    about_ours = Mismatch.objects.filter(subject__in=ids).values_list("subject", "kind")
    assert {(ids[subject], kind) for subject, kind in about_ours} == {
        ("line_doubled", "duplicate"),
        ("line_amount", "amount"),
        ("line_fee", "fee"),
        ("line_currency", "currency"),
    }
    batch = LineMatch.objects.get(order=orders[""]).batch
    [invented] = Mismatch.objects.filter(batch=batch, kind="missing_here")
    assert (invented.found, invented.suspended) == (Decimal("10.00"), Decimal("9.61"))
    unsettled = PaymentOrder.objects.filter(settled_at=None).values_list("public_id", flat=True)
    assert {ids[order] for order in unsettled} == {"line_amount", "line_currency", "line_missing"}
