"""The demo's story: what a visitor finds there was bought, delivered and paid out the usual way, and is told once."""

from datetime import timedelta

from django.core.management import call_command
from django.utils import timezone

from ledger.models import JournalEntry
from payouts import executor, queries, seller_home, views
from payouts.models import BankAccount, Payout
from payouts.states import PayoutStatus
from tests.fixtures_money import Oracle, execute_until_settled
from tests.fixtures_services import SandboxCompany
from wallet.models import Seller, SellerHold, Wallet

THREE_DAYS = timedelta(hours=72)


def tell_the_story() -> None:
    call_command("demo_data")
    call_command("demo_payouts")


def what_stands() -> list[int]:
    return [model.objects.count() for model in (JournalEntry, Payout, BankAccount, SellerHold)]


def statuses() -> dict[str, str]:
    return dict(Payout.objects.values_list("seller__reference", "status"))


def test_the_demo_shows_every_way_a_payout_goes_and_safely_begins_again(books_hold: None, oracle: Oracle, sandbox: SandboxCompany) -> None:
    tell_the_story()
    ada, cleo, emi = (Seller.objects.get(reference=name) for name in ("ada", "cleo", "emi"))
    assert statuses() == {"ada": "SUCCESS", "bolt": "EXECUTING", "cleo": "FAILED", "dune": "WAITING"}
    wallet = Wallet.objects.get(seller=ada, currency="EUR")
    assert wallet.pending.amount > 0
    assert wallet.available.amount > 0
    assert "did not arrive" in seller_home.part(cleo, now=timezone.now()).tasks[0].title
    held_back = queries.payable(emi, "JPY", now=timezone.now()).why_not
    assert isinstance(held_back, queries.SellerOnHold)
    assert BankAccount.objects.get(verified_at=None).seller == emi

    stood = what_stands()
    tell_the_story()
    assert what_stands() == stood

    sandbox.client.put("/v1/clock", json={"offset_s": THREE_DAYS.total_seconds()}).raise_for_status()
    oracle.wait_for("payout.paid", count=2)
    while executor.execute_due_payouts(now=timezone.now() + THREE_DAYS):
        pass
    assert statuses()["bolt"] == PayoutStatus.SUCCESS
    made, sent, paid = sorted(views.steps(Payout.objects.get(seller__reference="bolt")), key=lambda step: step.at)
    assert (made.what, sent.what, paid.what) == ("Made by the calendar", "Sent to the bank", "Paid to your bank")
    assert paid.at - sent.at >= THREE_DAYS
    execute_until_settled()
