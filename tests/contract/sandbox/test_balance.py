"""The balance: what the PSP took for the merchant between two moments, less what it gave back, whether or not it was paid out since."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany


def balance(sandbox: SandboxCompany, **moments: str) -> Any:
    return sandbox.client.get("/v1/balance", params=moments).json()


def test_what_was_taken_less_what_was_given_back_counts_in_its_own_time(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged(amount=50_00)
    [taken] = sandbox.journal(object_id=charge["id"])
    refund = buyer.refund(charge, amount=20_00).json()
    [given] = sandbox.journal(object_id=refund["id"], type="refund.succeeded")
    later = (datetime.fromisoformat(given["at"]) + timedelta(seconds=1)).isoformat()
    assert balance(sandbox, since=taken["at"], until=later) == {"data": [{"currency": "EUR", "amount": 30_00}]}
    assert balance(sandbox, since=taken["at"], until=given["at"]) == {"data": [{"currency": "EUR", "amount": 50_00}]}
    assert balance(sandbox, since=later, until=later) == {"data": []}


def test_a_balance_without_its_moments_is_refused(sandbox: SandboxCompany) -> None:
    refused = balance(sandbox, since=datetime.now(UTC).isoformat())
    assert (refused["error"]["code"], refused["error"]["field"]) == ("invalid_field", "until")
