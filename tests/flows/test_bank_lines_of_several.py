"""Bank lines that are several things of ours, and batches that come in several lines: found by name, then by sum, and never guessed."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ledger import chart, queries
from payouts import file_answers, files, pain001
from payouts.models import PaymentFile, Payout
from reconciliation import bank_recognition, invariants
from reconciliation.models import BankLineMatch, ComparedStatement, Mismatch, SettlementBatch
from tests.bank_statements import mt940
from tests.flows.test_bank_matching import NOW, booked_by, found, in_transit, legs, ordered, settled
from tests.flows.test_payout_files import answer, of


@pytest.fixture(autouse=True)
def rolled_back(db: None) -> Iterator[None]:
    """End a test, before it is rolled back, with every invariant holding, and suspense at what open mismatches are over."""
    yield
    assert invariants.violations() == []


@pytest.fixture
def payouts() -> list[Payout]:
    return [ordered(amount, provider=files.PROVIDER) for amount in ("10.01", "10.02", "10.03")]


def filed() -> PaymentFile:
    """Have a file made of all payouts that wait for one, and taken to the bank."""
    file = files.make("EUR", execute_on=NOW.date(), made_by="staff:ada", now=NOW)
    files.approve(file.pk, actor="staff:ben", reason="compared with the list", now=NOW)
    return files.fetch(file.pk, actor="staff:ben", now=NOW)


def standing() -> tuple[str, str]:
    """Return what is on its way to our bank, and what is in suspense."""
    return f"{in_transit():.2f}", f"{queries.balance_of(chart.suspense(), currency='EUR').amount:.2f}"


def shares(compared: ComparedStatement) -> list[tuple[str, str]]:
    """Return what the lines of a statement are, and how much of a line that is; empty: all of it."""
    matches = BankLineMatch.objects.filter(line__statement=compared.statement).order_by("line", "pk")
    return [(match.kind, "" if match.amount is None else f"{match.amount:.2f}") for match in matches]


# --- One debit for the payouts of a file ------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["{file.message_id}", "Sammler KREF+{batch}", "Bulk payment {batch}."])
def test_a_file_that_the_bank_booked_in_one_sum_is_each_of_its_payouts(payouts: list[Payout], said: str) -> None:
    file = filed()
    text = said.format(file=file, batch=pain001.batch_id(file.message_id, 1))
    compared = booked_by(mt940(("-30.06", "BK1", "", text), ("-30.06", "BK2", "", text)))
    assert set(BankLineMatch.objects.values_list("payout", "amount")) == {(payout.pk, -payout.amount.amount) for payout in payouts}
    assert (compared.matched, found()) == (1, [("duplicate", file.public_id, "-30.06")])
    assert legs(compared) == {"operating_bank": "-30.06", "suspense": "30.06"}


def test_a_debit_without_a_name_is_the_one_file_of_that_sum_and_of_two_such_files_neither(payouts: list[Payout]) -> None:
    first = filed()
    assert booked_by(mt940(("-30.06", "BK1", "", "Collective order"))).matched == 1
    more = []
    for _twice in range(2):
        for amount in ("4.00", "6.00"):
            ordered(amount, provider=files.PROVIDER)
        more.append(filed())
    compared = booked_by(mt940(("-10.00", "BK2", "", "Collective order"), ("-30.06", "BK3", "", ""), day="371122", number=2))
    assert (compared.mismatched, {file.count for file in (first, *more)}) == (2, {3, 2})
    ambiguous, unknown = Mismatch.objects.order_by("bank_line")
    assert (ambiguous.kind, ambiguous.could_be.splitlines()) == ("missing_here", [file.public_id for file in more])
    assert (unknown.kind, unknown.could_be) == ("missing_here", "")


def test_a_file_of_another_sum_is_explained_once_the_bank_says_which_payouts_it_refused(payouts: list[Payout]) -> None:
    file = filed()
    compared = booked_by(mt940(("-20.03", "BK1", "", file.message_id)))
    [mismatch] = Mismatch.objects.all()
    assert (mismatch.kind, mismatch.subject, mismatch.expected) == ("amount", file.public_id, Decimal("-30.06"))
    assert standing() == ("0.00", "-20.03")
    assert bank_recognition.resolve_known(now=NOW) == 0
    said = [of(payouts[0], "ACSC"), of(payouts[1], "ACSC"), of(payouts[2], "RJCT", "AC04")]
    file_answers.apply([answer(file, *said)], actor="staff:ben", now=NOW)
    bank = queries.balance_of(chart.operating_bank(), currency="EUR").amount
    assert [bank_recognition.resolve_known(now=NOW) for _twice in range(2)] == [1, 0]
    mismatch.refresh_from_db()
    assert (mismatch.kind, mismatch.resolved_at is not None, standing()) == ("late", True, ("0.00", "0.00"))
    moved = queries.balance_of(chart.operating_bank(), currency="EUR").amount - bank
    assert moved == Decimal("20.03"), "our books had taken it off already"
    assert shares(compared) == [("payout", "-10.01"), ("payout", "-10.02")]


# --- One credit for several batches -----------------------------------------------------------------------------------


def test_a_credit_that_names_several_batches_is_all_of_them() -> None:
    first, second = settled("98.35", name="sb-20371119-eur"), settled("1.65", name="sb-20371120-eur")
    twice = [("100.00", name, "", "sb-20371119-eur+sb-20371120-eur, and nothing else") for name in ("BK1", "BK2")]
    compared = booked_by(mt940(*twice))
    arrived = BankLineMatch.objects.order_by("batch").values_list("batch", "amount")
    assert list(arrived) == [(first.pk, Decimal("98.35")), (second.pk, Decimal("1.65"))]
    assert (compared.paid_in, [kind for kind, *_rest in found()]) == (Decimal(100), ["duplicate"])
    assert standing() == ("0.00", "100.00")


def test_a_credit_that_names_its_psp_alone_is_the_batches_of_just_its_sum_if_no_others_have_it() -> None:
    batches = [settled(amount, name=f"sb-2037111{day}-eur") for day, amount in enumerate(("40.00", "30.00", "25.00", "10.00"), start=1)]
    compared = booked_by(mt940(("65.00", "BK1", "", "SANDBOX PAYMENTS"), ("7.00", "BK2", "", "Sandbox"), ("35.00", "BK3", "", "Somebody")))
    assert (compared.paid_in, standing()) == (Decimal(0), ("105.00", "107.00")), "65 is 40 + 25, and 30 + 25 + 10"
    ids = [batch.public_id for batch in batches]
    could_be = [mismatch.could_be.splitlines() for mismatch in Mismatch.objects.order_by("bank_line")]
    assert could_be == [[f"{ids[0]} {ids[2]}", f"{ids[1]} {ids[2]} {ids[3]}"], [], []]
    sure = booked_by(mt940(("70.00", "BK4", "", "Sandbox Payments"), opening="107.00", day="371122", number=2))
    assert (shares(sure), standing()) == ([("settlement", "40.00"), ("settlement", "30.00")], ("35.00", "107.00"))
    assert bank_recognition.resolve_known(now=NOW) == 0, "65 has no sum any more"
    single = booked_by(mt940(("25.00", "BK5", "", "Sandbox Payments"), opening="177.00", day="371123", number=3))
    assert (shares(single), standing()) == ([("settlement", "")], ("10.00", "107.00"))


def test_two_credits_that_want_the_same_batch_both_wait_for_a_person() -> None:
    settled("40.00")
    compared = booked_by(mt940(("40.00", "BK1", "", "Sandbox"), ("40.00", "BK2", "", "Sandbox")))
    assert (compared.mismatched, standing()) == (2, ("40.00", "80.00"))
    assert {mismatch.could_be for mismatch in Mismatch.objects.all()} == {SettlementBatch.objects.get().public_id}


# --- One batch in several credits -------------------------------------------------------------------------------------


def test_a_batch_that_comes_in_parts_has_arrived_with_the_last_of_them() -> None:
    batch = settled("98.35")
    compared = booked_by(mt940(("50.00", "BK1", "", f"{batch.name} part 1 of 2"), ("48.35", "BK2", "", f"{batch.name} part 2 of 2")))
    assert (shares(compared), standing()) == ([("instalment", "")] * 2, ("0.00", "0.00"))
    again = booked_by(mt940(("50.00", "BK3", "", batch.name), opening="98.35", day="371122", number=2))
    assert (again.mismatched, found()) == (1, [("duplicate", batch.public_id, "50.00")])


def test_a_batch_whose_parts_come_in_two_statements_is_explained_by_the_second() -> None:
    batch = settled("98.35")
    first = booked_by(mt940(("50.00", "BK1", "", batch.name)))
    assert (found(), standing()) == ([("amount", batch.public_id, "50.00")], ("98.35", "50.00"))
    booked_by(mt940(("48.35", "BK2", "", batch.name), opening="50.00", day="371122", number=2))
    assert bank_recognition.resolve_known(now=NOW) == 2
    assert (shares(first), standing()) == ([("instalment", "")], ("0.00", "0.00"))
    assert {mismatch.kind for mismatch in Mismatch.objects.all()} == {"late"}
