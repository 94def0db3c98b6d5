"""What a PSP says it paid us, and what our books call paid, is missed once the bank's statements should have it and have not."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from payments.models import PaymentEvent
from payouts import file_answers, files
from payouts import settlement as payouts
from payouts.models import Payout
from reconciliation import (
    bank_matching,
    bank_recognition,
    ingestion,
    invariants,
    matching,
    not_at_the_bank,
    resolution,
    sandbox_files,
    tolerances,
)
from reconciliation.models import Mismatch, SettlementBatch, ToleranceRule
from tests.bank_statements import mt940
from tests.fixtures_services import SandboxCompany
from tests.flows.test_bank_lines_of_several import filed
from tests.flows.test_bank_matching import NOW, booked_by, ordered, staged
from tests.flows.test_payout_files import answer, of
from tests.settlement_files import batch_of

FRIDAY = "2037-11-20"  # so three bank days after are Wednesday, November 25
STATEMENT = mt940(("1.00", "BK0", "", "Somebody"), day="371118")


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.fixture
def rolled_back(db: None) -> Iterator[None]:
    """End a test, before it is rolled back, with every invariant holding, and suspense at what open mismatches are over."""
    yield
    assert invariants.violations() == []


def settled_on(day: str, amount: str = "98.35", *, psp: str = "sandbox") -> SettlementBatch:
    name = f"sb-{day.replace('-', '')}-eur"
    file = staged(batch_of(("fee", f"fee_{name}", "", "0.00", f"-{amount}"), batch=name, day=day), source=psp)
    matching.match_waiting(now=NOW)
    return SettlementBatch.objects.get(file=file)


def paid_on(day: str) -> Payout:
    payout = ordered()
    payouts.settle_payout(payout.pk, provider_reference="po_bank", paid_at=datetime.fromisoformat(f"{day}T12:00:00+00:00"))
    return payout


def through(day: str, *lines: tuple[str, str, str, str], number: int = 2, opening: str = "1.00") -> None:
    """Have a day's statement compared: with one line that nobody knows, and with these."""
    booked_by(mt940(("1.00", f"BK{day}", "", "Somebody"), *lines, day=day, number=number, opening=opening))


def missed() -> list[tuple[str, str, Decimal | None, str]]:
    found = Mismatch.objects.filter(line=None, bank_line=None).order_by("pk")
    return [(one.kind, one.subject, one.expected, one.psp) for one in found]


def test_a_batch_and_a_payout_are_missed_after_three_bank_days_and_come_late_when_their_lines_do(rolled_back: None) -> None:
    batch, payout = settled_on(FRIDAY), paid_on(FRIDAY)
    assert not_at_the_bank.find(now=NOW) == 0, "there is no statement"
    booked_by(STATEMENT)
    through("371124")
    assert not_at_the_bank.find(now=NOW) == 0, "Tuesday is the second bank day"
    through("371125", number=3, opening="2.00")
    assert [not_at_the_bank.find(now=NOW) for _twice in range(2)] == [2, 0]
    assert missed() == [
        ("missing_at_bank", batch.public_id, Decimal("98.35"), "sandbox"),
        ("missing_at_bank", payout.public_id, Decimal(-30), "sandbox"),
    ]
    assert Mismatch.objects.get(subject=batch.public_id).batch == batch
    proposal = resolution.propose(Mismatch.objects.get(subject=payout.public_id).pk, "", "We asked the bank", actor="staff:ada", now=NOW)
    through("371126", ("98.35", "BK1", "", batch.name), ("-30.00", "BK2", payout.public_id, ""), number=4, opening="3.00")
    proposal.refresh_from_db()
    assert ([(kind, subject) for kind, subject, *_rest in missed()], proposal.status) == (
        [("late", batch.public_id), ("late", payout.public_id)], "WITHDRAWN",
    )  # fmt: skip
    assert not_at_the_bank.find(now=NOW) == 0


def test_what_came_with_another_amount_or_before_our_first_statement_is_not_missed(rolled_back: None) -> None:
    settled_on("2037-11-17", "5.00")
    wrong, late = settled_on(FRIDAY), settled_on("2037-11-19", "7.00")
    booked_by(STATEMENT)
    through("371123", ("98.34", "BK1", "", wrong.name))
    through("371125", number=3, opening="100.34")
    assert (not_at_the_bank.find(now=NOW), missed()[0][:2]) == (1, ("missing_at_bank", late.public_id))
    through("371126", ("6.99", "BK2", "", late.name), number=4, opening="101.34")
    assert missed()[0][0] == "late", "what is wrong with its line is a mismatch of its own"


def test_what_is_missed_has_come_too_when_a_line_that_could_be_either_can_only_be_this_one(rolled_back: None) -> None:
    first, second = settled_on("2037-11-18", "40.00"), settled_on("2037-11-19", "40.00")
    booked_by(STATEMENT)
    through("371124", ("40.00", "BK1", "", "Sandbox Payments"))
    assert (not_at_the_bank.find(now=NOW), bank_recognition.resolve_known(now=NOW)) == (2, 0)
    through("371125", ("40.00", "BK2", "", first.name), number=3, opening="42.00")
    assert bank_recognition.resolve_known(now=NOW) == 1
    assert [(kind, subject) for kind, subject, *_rest in missed()] == [("late", first.public_id), ("late", second.public_id)]


def test_a_payout_that_our_books_have_back_is_missed_if_the_bank_shows_that_it_left_and_not_that_it_came_back(rolled_back: None) -> None:
    payout = paid_on(FRIDAY)
    returned_at = datetime(2037, 11, 20, 13, tzinfo=UTC)
    payouts.return_payout(payout.pk, provider_reference="po_bank", code="account_closed", returned_at=returned_at)
    booked_by(STATEMENT)
    through("371125", ("-30.00", "BK1", payout.public_id, ""))
    assert (not_at_the_bank.find(now=NOW), missed()) == (1, [("missing_at_bank", payout.public_id, Decimal(30), "sandbox")])
    through("371126", ("30.00", "BK2", payout.public_id, "Returned"), number=3, opening="-28.00")
    assert missed()[0][0] == "late"


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_payout_that_failed_although_the_bank_shows_that_it_left_is_missed_until_it_comes_back(
    rolled_back: None, comes_back: bool
) -> None:
    payout, _other = ordered("10.01", provider=files.PROVIDER), ordered("10.02", provider=files.PROVIDER)
    file = filed()
    booked_by(STATEMENT)
    through("371123", ("-20.03", "BK1", "", file.message_id))
    file_answers.apply([answer(file, of(payout, "RJCT", "AC04"))], actor="staff:ben", now=NOW)
    returned = [("10.01", "BK2", payout.public_id, "Rejected")] if comes_back else []
    through("371126", *returned, number=3, opening="-18.03")
    assert not_at_the_bank.find(now=NOW) == (0 if comes_back else 1)
    assert missed() == ([] if comes_back else [("missing_at_bank", payout.public_id, Decimal("10.01"), files.PROVIDER)])
    assert not Mismatch.objects.filter(bank_line__isnull=False, subject=payout.public_id).exists()


def test_a_psp_may_be_given_other_days_and_a_second_account_is_waited_for_unless_it_is_quiet(rolled_back: None) -> None:
    terms = {"currency": "EUR", "amount": Decimal(0), "valid_from": date(2037, 11, 1)}
    rule = ToleranceRule(psp="sandbox", days=1, **terms)
    tolerances.make(rule, made_by="staff:ada", actor="staff:bea", reason="By contract", now=NOW)
    batch, payout = settled_on(FRIDAY), paid_on(FRIDAY)
    booked_by(STATEMENT)
    through("371123")
    assert (not_at_the_bank.find(now=NOW), missed()[0][1]) == (1, batch.public_id)
    booked_by(mt940(("2.00", "OT1", "", "Somebody"), day="371112").replace(b"AT341904300234573299", b"AT021904300234573200"))
    through("371125", number=3, opening="2.00")
    assert not_at_the_bank.find(now=NOW) == 0, "the other account has statements through November 12"
    through("371127", number=4, opening="3.00")
    assert (not_at_the_bank.find(now=NOW), missed()[1][1]) == (1, payout.public_id)


def test_a_payment_that_the_bank_lost_is_found_by_the_statements_after_it(
    open_payment: Callable[..., PaymentEvent], pay: Callable[..., PaymentEvent], sandbox: SandboxCompany, settings: Any
) -> None:
    settings.BANK_DAYS_TO_ARRIVE = 0
    days = []
    for amount in ("10.00", "20.00", "30.00", ""):
        if amount:
            pay(open_payment(amount))
        days.append(sandbox.client.post("/control/end_day").raise_for_status().json()["day"])
        lost = f"sb-{days[min(1, len(days) - 1)].replace('-', '')}-eur"
        sandbox.fault(operation="statement", kind="line_missing", reference=lost if len(days) > 1 else "none")
    now = timezone.now()
    sandbox_files.fetch(now=now)
    while ingestion.stage_waiting(now=now):
        pass
    matching.match_waiting(now=now)
    bank_matching.match_waiting(now=now)
    not_at_the_bank.find(now=now)
    missing = Mismatch.objects.filter(kind="missing_at_bank", batch__isnull=False)
    assert [one.batch.name for one in missing if one.batch] == [lost]
