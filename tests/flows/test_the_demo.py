"""The demo's story: what a visitor finds there was bought, delivered and paid out the usual way, and is told once."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F

from ledger import approvals, clock
from ledger.models import Approval, JournalEntry
from payments import executor as payments_executor
from payments.models import DueOrder, PaymentOrder
from payouts import executor, queries, seller_home, views
from payouts.models import BankAccount, Payout
from payouts.states import PayoutStatus
from reconciliation.management.commands import demo_finance
from reconciliation.models import Mismatch, Proposal
from reconciliation.roles import Role
from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from wallet.models import Seller, SellerHold, Wallet

THREE_DAYS = timedelta(hours=72)


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.fixture
def test_clock(sandbox: SandboxCompany, settings: Any, tmp_path: Path) -> None:
    """Move both sides to a day that is a few days after the last one that the sandbox has closed."""
    settings.TEST_CLOCK_FILE = str(tmp_path / "clock")
    sandbox.client.post("/control/end_day").raise_for_status()
    demo_finance.put_clock(timedelta(seconds=sandbox.client.get("/v1/clock").json()["offset_s"], days=4))


def tell_the_story() -> None:
    call_command("demo_finance")
    call_command("demo_data")
    call_command("demo_payouts")


def what_stands() -> list[int]:
    return [model.objects.count() for model in (JournalEntry, Payout, BankAccount, SellerHold, Mismatch, Approval, User)]


def statuses() -> dict[str, str]:
    return dict(Payout.objects.values_list("seller__reference", "status"))


def require_something_for_finance_to_do() -> None:
    """Find three days that were sold and compared, faults of several kinds, and a proposal and an approval that wait for the checker."""
    assert User.objects.get(username="checker").groups.get().name == Role.CHECKER
    ours = set(PaymentOrder.objects.values_list("public_id", flat=True))
    open_ones = Mismatch.objects.filter(resolved_at=None)
    assert sorted(kind for kind, about in open_ones.values_list("kind", "subject") if about in ours) == ["amount", "duplicate", "fee"]
    assert {bool(line.bank_line_id) for line in open_ones.filter(kind="missing_here", subject="")} == {True, False}
    assert Proposal.objects.get(status=Proposal.Status.WAITING).made_by == "staff:maker"
    assert approvals.waiting().get().made_by == "staff:maker"
    assert PaymentOrder.objects.exclude(settled_at=None).values("created_at__date").distinct().count() == len(demo_finance.DAYS)
    assert not PaymentOrder.objects.filter(settled_at__lt=F("created_at")).exists()


@pytest.mark.usefixtures("test_clock")
def test_the_demo_has_work_for_finance_and_every_way_a_payout_goes_and_safely_begins_again(books_hold: None, oracle: Oracle) -> None:
    tell_the_story()
    require_something_for_finance_to_do()
    ada, cleo, emi = (Seller.objects.get(reference=name) for name in ("ada", "cleo", "emi"))
    assert statuses() == {"ada": "SUCCESS", "bolt": "EXECUTING", "cleo": "FAILED", "dune": "WAITING"}
    wallet = Wallet.objects.get(seller=ada, currency="EUR")
    assert wallet.pending.amount > 0
    assert wallet.available.amount > 0
    assert "did not arrive" in seller_home.part(cleo, now=clock.now()).tasks[0].title
    held_back = queries.payable(emi, "JPY", now=clock.now()).why_not
    assert isinstance(held_back, queries.SellerOnHold)
    assert BankAccount.objects.get(verified_at=None).seller == emi

    stood = what_stands()
    tell_the_story()
    assert what_stands() == stood

    call_command("advance_clock", "72h")
    oracle.wait_for("payout.paid", count=2)
    while executor.execute_due_payouts(now=clock.now()):
        pass
    assert statuses()["bolt"] == PayoutStatus.SUCCESS
    made, sent, paid = sorted(views.steps(Payout.objects.get(seller__reference="bolt")), key=lambda step: step.at)
    assert (made.what, sent.what, paid.what) == ("Made by the calendar", "Sent to the bank", "Paid to your bank")
    assert paid.at - sent.at >= THREE_DAYS
    while DueOrder.objects.exists():  # the charge that the buyer's bank was thinking about
        assert payments_executor.execute_due_orders(now=clock.now())
