"""A bank line that came before our books knew what it is: it stands in suspense until they do, and then resolves itself."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from ledger import chart
from ledger.approvals import AlreadyDecided
from ledger.models import JournalEntry, Posting
from payouts import settlement as payouts
from reconciliation import bank_matching, bank_recognition, invariants, matching, resolution
from reconciliation.models import BankLineMatch, BankStatement, ComparedStatement, Mismatch, SettlementBatch
from tests.bank_statements import mt940
from tests.fixtures_money import all_at_once, errors_in
from tests.flows.test_bank_lines_of_several import standing
from tests.flows.test_bank_matching import BATCH, NOW, booked_by, found, ordered, settled, staged
from tests.settlement_files import batch_of

ADA, BEA = "staff:ada", "staff:bea"


@pytest.fixture
def rolled_back(db: None) -> Iterator[None]:
    """End a test, before it is rolled back, with every invariant holding, and suspense at what open mismatches are over."""
    yield
    assert invariants.violations() == []


def entries() -> list[dict[str, str]]:
    """Return the legs of each entry that resolved a mismatch, the oldest first."""
    legs = Posting.objects.filter(entry__kind=JournalEntry.Kind.RESOLUTION).order_by("entry", "line").select_related("account", "entry")
    by_entry: dict[int, dict[str, str]] = {}
    for leg in legs:
        by_entry.setdefault(leg.entry_id, {})[leg.account.code] = f"{leg.amount.amount:.2f}"
    return list(by_entry.values())


def test_a_payment_that_came_before_its_settlement_file_is_explained_when_the_file_comes(rolled_back: None) -> None:
    compared = booked_by(mt940(("98.35", "BK1", "", BATCH), ("7.00", "BK2", "", "Somebody")))
    early, unknown = Mismatch.objects.order_by("bank_line")
    assert (early.kind, standing()) == ("missing_here", ("0.00", "105.35"))
    proposal = resolution.propose(early.pk, chart.operating_bank(), "I do not know", actor=ADA, now=NOW)
    assert bank_recognition.resolve_known(now=NOW) == 0, "the file has not come"
    batch = settled()
    later = NOW + timedelta(hours=3)
    assert [bank_recognition.resolve_known(now=later) for _twice in range(2)] == [1, 0]
    for row in (early, unknown, proposal):
        row.refresh_from_db()
    assert (early.kind, early.resolved_at, proposal.status, unknown.resolved_at) == ("late", later, "WITHDRAWN", None)
    match = BankLineMatch.objects.get(line__statement=compared.statement)
    assert (match.kind, match.batch, match.amount) == ("settlement", batch, None)
    assert (entries(), standing()) == ([{"suspense": "98.35", "bank_in_transit": "-98.35"}], ("0.00", "7.00"))
    booked_by(mt940(("98.35", "BK3", "", BATCH), opening="105.35", day="371122", number=2))
    assert found()[-1] == ("duplicate", batch.public_id, "98.35")


def test_a_payment_of_two_batches_waits_for_the_second_of_their_files(rolled_back: None) -> None:
    settled("40.00", name="sb-20371119-eur")
    booked_by(mt940(("100.00", "BK1", "", "sb-20371119-eur sb-20371120-eur")))
    assert ([kind for kind, *_rest in found()], bank_recognition.resolve_known(now=NOW)) == (["amount"], 0)
    settled("60.00", name="sb-20371120-eur")
    assert (bank_recognition.resolve_known(now=NOW), standing()) == (1, ("0.00", "0.00"))
    assert set(BankLineMatch.objects.values_list("amount", flat=True)) == {40, 60}


def test_a_payout_that_the_bank_showed_before_we_were_told_that_it_was_paid_and_came_back_is_explained_then(rolled_back: None) -> None:
    payout = ordered()
    booked_by(
        mt940(
            ("-30.00", "BK1", payout.public_id, ""), ("30.00", "BK2", payout.public_id, "Returned"), ("-30.00", "BK3", payout.public_id, "")
        )
    )
    assert (standing(), bank_recognition.resolve_known(now=NOW)) == (("0.00", "-30.00"), 0)
    payouts.settle_payout(payout.pk, provider_reference="po_bank", paid_at=NOW)
    assert bank_recognition.resolve_known(now=NOW) == 1
    assert (entries(), standing()) == ([{"operating_bank": "30.00", "suspense": "-30.00"}], ("0.00", "0.00"))
    payouts.return_payout(payout.pk, provider_reference="po_bank", code="account_closed", returned_at=NOW)
    assert bank_recognition.resolve_known(now=NOW) == 1
    assert (entries()[1:], standing()) == ([{"suspense": "30.00", "operating_bank": "-30.00"}], ("0.00", "-30.00"))
    assert [kind for kind, *_rest in found()] == ["late", "late", "missing_here"], "the third is one too many"


def test_what_people_resolved_meanwhile_stays_as_they_resolved_it(rolled_back: None) -> None:
    booked_by(mt940(("98.35", "BK1", "", BATCH)))
    mismatch = Mismatch.objects.get()
    proposal = resolution.propose(mismatch.pk, chart.owed_to_buyers(), "A buyer paid it in", actor=ADA, now=NOW)
    resolution.approve(proposal.pk, actor=BEA, reason="So it is", now=NOW)
    settled()
    assert (bank_recognition.resolve_known(now=NOW), standing()) == (0, ("98.35", "0.00"))


@pytest.mark.parametrize("said", [BATCH, "Sandbox Payments"])
def test_a_batch_that_people_found_in_a_line_of_another_amount_is_not_paid_once_more_without_them(rolled_back: None, said: str) -> None:
    settled()
    booked_by(mt940(("90.00", "BK1", "", BATCH)))
    proposal = resolution.propose(Mismatch.objects.get().pk, chart.bank_in_transit(), "It is the batch", actor=ADA, now=NOW)
    resolution.approve(proposal.pk, actor=BEA, reason="So it is", now=NOW)
    booked_by(mt940(("98.35", "BK2", "", said), opening="90.00", day="371122", number=2))
    assert (bank_recognition.resolve_known(now=NOW), standing()) == (0, ("8.35", "98.35"))
    assert found()[-1][0] == ("duplicate" if said == BATCH else "missing_here")


@pytest.mark.race
def test_of_two_statements_compared_at_once_that_both_have_a_payment_one_brings_it(real_db: None) -> None:
    batch = settled()
    for number in (1, 2):
        staged(mt940(("98.35", f"BK{number}", "", BATCH), number=number))
    first, second = BankStatement.objects.order_by("pk")
    answers = all_at_once(*(partial(bank_matching.match, one.pk, now=NOW) for one in (first, second, first)))
    assert errors_in(answers) == []
    assert BankLineMatch.objects.filter(batch=batch).count() == 1
    assert (found(), standing()) == ([("duplicate", batch.public_id, "98.35")], ("0.00", "98.35"))
    assert (ComparedStatement.objects.count(), invariants.violations()) == (2, [])


@pytest.mark.race
def test_a_file_a_statement_and_a_person_who_explain_a_line_at_once_explain_it_once(real_db: None) -> None:
    booked_by(mt940(("50.00", "BK1", "", BATCH)))
    mismatch = Mismatch.objects.get()
    proposal = resolution.propose(mismatch.pk, chart.bank_in_transit(), "The first part", actor=ADA, now=NOW)
    staged(batch_of(("fee", "fee_1", "", "0.00", "-98.35"), batch=BATCH), source="sandbox")
    matching.match_waiting(now=NOW)
    staged(mt940(("48.35", "BK2", "", BATCH), opening="50.00", day="371122", number=2))
    statement = BankStatement.objects.latest("pk")
    bank_matching.match(statement.pk, now=NOW)
    answers = all_at_once(
        partial(bank_recognition.resolve, "sandbox_bank", "EUR", now=NOW),
        partial(bank_recognition.resolve, "sandbox_bank", "EUR", now=NOW),
        partial(resolution.approve, proposal.pk, actor=BEA, reason="I saw it too", now=NOW),
    )
    assert {type(error) for error in errors_in(answers)} <= {AlreadyDecided}
    open_ = Mismatch.objects.filter(resolved_at=None)
    assert standing()[1] == f"{sum((one.suspended for one in open_), Decimal(0)):.2f}"
    is_explained = not open_.exists()
    assert BankLineMatch.objects.filter(batch=SettlementBatch.objects.get()).count() == (2 if is_explained else 0)
    assert len(entries()) == (2 if is_explained else 1)
    assert invariants.violations() == []
