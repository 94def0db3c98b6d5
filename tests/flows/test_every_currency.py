"""Every currency of ISO 4217 through the whole house: asked for, charged, refunded by one minor unit, released, paid out and settled by file.

One basket of each currency, of the largest amount that there is, at a sandbox of our own; in batches, and by several workers.  What the PSP counts, what
our books hold, what its files say and what the bank pays out is one amount, to the minor unit.  What bank statements say of each currency
is in tests/contract/test_every_currency_on_every_wire.py.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.utils import timezone

from ledger import chart
from ledger.currencies import MINOR_UNITS, WITHDRAWN
from ledger.money import from_minor, text, to_minor
from ledger.queries import trial_balance
from payments import confirmation, refunds, releases
from payments.confirmation import Confirmed
from payments.models import PaymentEvent, PaymentOrder, Refund
from payments.psp.protocol import Session
from payouts import executor as pay_outs
from payouts import requests
from payouts.models import Payout
from reconciliation import ingestion, matching, sandbox_files
from reconciliation.models import Mismatch, SettlementBatch
from tests.factories import new_bank_account
from tests.fixtures_money import VISA, Oracle, all_at_once, errors_in, execute_refunds, execute_until_settled, session_for
from tests.fixtures_services import SandboxCompany
from wallet.models import Seller, Wallet

IN_USE = sorted(MINOR_UNITS.keys() - WITHDRAWN.keys())
# In minor units of each: the largest price that there can be, our tenth of it, and what is left of the rest when one unit went back.
PRICE = {code: 10 ** (12 + MINOR_UNITS[code]) - 1 for code in IN_USE}
FEE = {code: 10 ** (11 + MINOR_UNITS[code]) for code in IN_USE}
BACK = dict.fromkeys(IN_USE, 1)
LEFT = {code: PRICE[code] - FEE[code] - 1 for code in IN_USE}
AT_ONCE = 4


@pytest.fixture
def sandbox(own_sandbox: SandboxCompany) -> SandboxCompany:
    return own_sandbox


@pytest.mark.slow
def test_bug_52_every_currency_is_charged_refunded_released_paid_out_and_settled_to_its_minor_unit(
    open_payment: Callable[..., PaymentEvent], sellers: list[Seller], oracle: Oracle, sandbox: SandboxCompany, settings: Any
) -> None:
    settings.FILE_SOURCES = {"sandbox": settings.FILE_SOURCES["sandbox"]}
    orders = pay([open_payment(text(from_minor(PRICE[code], code)), currency=code, sellers=sellers[:1]) for code in IN_USE])
    assert {order.status for order in orders} == {"SUCCESS"}
    assert {order.fee.currency.code: to_minor(order.fee) for order in orders} == FEE
    assert counted(oracle, "charge.succeeded") == PRICE

    give_back_one_unit(orders)
    assert counted(oracle, "refund.succeeded") == BACK

    release(orders)
    assert figures("available") == LEFT

    pay_out(sellers[0])
    assert counted(oracle, "payout.paid") == LEFT
    assert figures("available") == dict.fromkeys(IN_USE, 0)

    assert sorted(settled_by_file(sandbox)) == IN_USE
    assert not list(Mismatch.objects.values_list("kind", "subject"))
    owed = [line.balance for line in trial_balance() if line.kind == chart.kind_of(chart.psp_receivable("sandbox"))]
    assert [to_minor(balance) for balance in owed] == [0] * len(IN_USE), "the PSP has paid all that it took"


def pay(events: list[PaymentEvent]) -> list[PaymentOrder]:
    """Let a buyer give a card for each, some at once, confirm all, and let the worker charge them; return the orders, by currency."""

    def give_card(event: PaymentEvent) -> Session:
        return session_for(event.amount, VISA, nonce=f"{event.public_id}:1")

    with ThreadPoolExecutor(AT_ONCE) as buyers:
        sessions = list(buyers.map(give_card, events))
    for event, session in zip(events, sessions, strict=True):
        confirmation.confirm(event.pk, Confirmed.by(session), now=timezone.now())
    execute_until_settled()
    return sorted(PaymentOrder.objects.filter(event__in=events), key=lambda order: order.amount.currency.code)


def give_back_one_unit(orders: list[PaymentOrder]) -> None:
    for order in orders:
        refunds.request_refund(order.pk, amount=from_minor(1, order.amount.currency.code), reason="", now=timezone.now())
    assert not errors_in(all_at_once(*[lambda: execute_refunds(now=timezone.now())] * AT_ONCE))
    assert Refund.objects.filter(order__in=orders, status="SUCCESS").count() == len(orders)


def release(orders: list[PaymentOrder]) -> None:
    now = timezone.now()
    for order in orders:
        releases.deliver(order.pk, at=now, actor="api:test", now=now)
    releases.release_due(now=now)


def pay_out(seller: Seller) -> None:
    """Pay out all that is available in each currency, to an account of the seller's in that currency."""
    for code in IN_USE:
        new_bank_account(seller, currency=code)
        requests.request_payout(seller, currency=code, now=timezone.now(), requested_by="user:ada")

    def work() -> None:
        while pay_outs.execute_due_payouts(now=timezone.now()):
            pass

    assert not errors_in(all_at_once(*[work] * AT_ONCE))
    assert Payout.objects.filter(seller=seller, status="SUCCESS").count() == len(IN_USE)


def settled_by_file(sandbox: SandboxCompany) -> list[str]:
    """End the PSP's day, receive its files and compare them with our books; return their currencies."""
    sandbox.client.post("/control/end_day").raise_for_status()
    now = timezone.now()
    sandbox_files.fetch(now=now)
    while ingestion.stage_waiting(now=now):
        pass
    matching.match_waiting(now=now)
    return list(SettlementBatch.objects.filter(journal_entry__isnull=False).values_list("currency", flat=True))


def counted(oracle: Oracle, kind: str) -> dict[str, int]:
    return {row["currency"]: row["amount"] for row in oracle.wait_for(kind, count=len(IN_USE))}


def figures(which: str) -> dict[str, int]:
    return {code: to_minor(getattr(Wallet.objects.get(currency=code), which)) for code in IN_USE}
