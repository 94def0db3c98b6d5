"""Disputes: the bank withdraws the money and a fee, and brings back what was not lost, never the fee."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, eventually, told_about
from tests.fixtures_services import SandboxCompany


def journal_of(sandbox: SandboxCompany, dispute: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["type"], row["amount"]) for row in sandbox.journal(object_id=dispute["id"])]


def test_opening_withdraws_the_amount_and_the_fee(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged(amount=10_00)
    answer = buyer.dispute(charge)
    dispute = answer.json()
    assert answer.status_code == 201
    told = {name: dispute[name] for name in ("object", "charge", "key", "reference", "status", "amount", "currency", "fee", "reason")}
    assert told == {
        "object": "dispute",
        "charge": charge["id"],
        "key": charge["key"],
        "reference": charge["reference"],
        "status": "open",
        "amount": 10_00,
        "currency": "EUR",
        "fee": 15_00,
        "reason": "fraudulent",
    }
    opened, due = (datetime.fromisoformat(dispute[name]) for name in ("created_at", "evidence_due_by"))
    assert due - opened == timedelta(days=7)
    assert journal_of(sandbox, dispute) == [("dispute.opened", 10_00), ("dispute.fee", 15_00)]
    assert {(row["key"], row["reference"]) for row in sandbox.journal(object_id=dispute["id"])} == {(charge["key"], charge["reference"])}
    [event] = told_about(sandbox, dispute["id"])
    assert (event["type"], event["data"]["object"]) == ("dispute.opened", dispute)
    assert sandbox.client.get(f"/v1/disputes/{dispute['id']}").json() == dispute


@pytest.mark.parametrize(
    ("outcome", "terms", "lost", "rows"),
    [
        ("won", {}, 0, [("dispute.won", 0), ("dispute.returned", 8_00)]),
        ("lost", {}, 8_00, [("dispute.lost", 8_00)]),
        ("partial", {"lost_amount": 3_00}, 3_00, [("dispute.partial", 3_00), ("dispute.returned", 5_00)]),
    ],
)
def test_closing_returns_what_was_not_lost(
    buyer: Buyer, sandbox: SandboxCompany, outcome: str, terms: dict[str, int], lost: int, rows: list[tuple[str, int]]
) -> None:
    dispute = buyer.dispute(buyer.charged(amount=10_00), amount=8_00, reason="product_not_received", fee=0).json()
    closed = buyer.decide(dispute, outcome, **terms).json()
    assert (closed["status"], closed["lost_amount"]) == (outcome, lost)
    assert closed["updated_at"] > dispute["updated_at"]
    assert journal_of(sandbox, dispute) == [("dispute.opened", 8_00), *rows]
    events = {event["type"]: event["data"]["object"] for event in told_about(sandbox, dispute["id"], times=2)}
    assert events == {"dispute.opened": dispute, "dispute.closed": closed}


def test_a_dispute_is_closed_once(buyer: Buyer, sandbox: SandboxCompany) -> None:
    dispute = buyer.dispute(buyer.charged()).json()
    buyer.decide(dispute, "won")
    again = buyer.decide(dispute, "lost")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "dispute_closed")
    assert journal_of(sandbox, dispute)[2:] == [("dispute.won", 0), ("dispute.returned", 10_00)]


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        ({"outcome": "partial"}, "lost_amount"),
        ({"outcome": "partial", "lost_amount": 10_00}, "lost_amount"),
        ({"outcome": "partial", "lost_amount": 0}, "lost_amount"),
        ({"outcome": "won", "lost_amount": 1}, "lost_amount"),
        ({"outcome": "drawn"}, "outcome"),
        ({}, "outcome"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(buyer: Buyer, sandbox: SandboxCompany, decision: dict[str, Any], field: str) -> None:
    dispute = buyer.dispute(buyer.charged(amount=10_00)).json()
    answer = sandbox.client.post(f"/v1/disputes/{dispute['id']}/close", json=decision)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert sandbox.client.get(f"/v1/disputes/{dispute['id']}").json() == dispute


def test_a_charge_has_one_open_dispute_and_never_loses_more_than_it_took(buyer: Buyer) -> None:
    charge = buyer.charged(amount=10_00)
    first = buyer.dispute(charge, amount=6_00).json()
    assert buyer.dispute(charge, amount=1_00).json()["error"]["code"] == "charge_disputed"
    buyer.decide(first, "lost")
    over = buyer.dispute(charge, amount=4_01)
    assert (over.json()["error"]["code"], over.json()["error"]["field"]) == ("dispute_exceeds_charge", "amount")
    assert buyer.dispute(charge).json()["amount"] == 4_00


def test_a_bank_may_dispute_what_was_refunded(buyer: Buyer) -> None:
    charge = buyer.charged(amount=10_00)
    buyer.refund(charge, amount=10_00)
    assert buyer.dispute(charge).json()["amount"] == 10_00


def test_nothing_is_refunded_while_a_dispute_is_open_and_nothing_that_was_lost(buyer: Buyer) -> None:
    charge = buyer.charged(amount=10_00)
    dispute = buyer.dispute(charge, amount=6_00).json()
    assert buyer.refund(charge, amount=1_00).json()["error"]["code"] == "charge_disputed"
    buyer.decide(dispute, "partial", lost_amount=5_00)
    assert buyer.refund(charge, amount=5_01).json()["error"]["code"] == "refund_exceeds_charge"
    assert buyer.refund(charge, amount=5_00).status_code == 201


@pytest.mark.race
def test_a_refund_and_a_dispute_at_once_never_let_a_refund_into_an_open_dispute(buyer: Buyer, sandbox: SandboxCompany) -> None:
    for _ in range(10):
        charge = buyer.charged(amount=10_00)
        with ThreadPoolExecutor(2) as pool:
            refund, dispute = pool.submit(buyer.refund, charge, amount=10_00), pool.submit(buyer.dispute, charge)
        assert dispute.result().status_code == 201
        assert refund.result().status_code in (201, 400)
        if refund.result().status_code == 201:
            [given, *_] = sandbox.journal(object_id=refund.result().json()["id"])
            [taken, *_] = sandbox.journal(object_id=dispute.result().json()["id"])
            assert given["seq"] < taken["seq"]


@pytest.mark.race
def test_ten_banks_at_once_open_one_dispute(buyer: Buyer) -> None:
    charge = buyer.charged()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: buyer.dispute(charge).status_code, range(10)))
    assert sorted(answers) == [201] + [400] * 9


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"amount": 10_01}, 400, "dispute_exceeds_charge"),
        ({"amount": 0}, 400, "invalid_field"),
        ({"currency": "USD"}, 400, "currency_mismatch"),
        ({"charge": "ch_nobody"}, 404, "unknown_charge"),
        ({"charge": None, "reference": "nobody"}, 404, "unknown_charge"),
        ({"charge": None}, 400, "missing_field"),
        ({"reference": "both"}, 400, "missing_field"),
        ({"fee": -1}, 400, "invalid_field"),
        ({"reason": "Because!"}, 400, "invalid_field"),
    ],
)
def test_a_dispute_that_makes_no_sense_is_refused(buyer: Buyer, terms: dict[str, Any], status: int, code: str) -> None:
    answer = buyer.dispute(buyer.charged(amount=10_00), **terms)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_charge_can_be_disputed_by_its_reference(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged()
    assert sandbox.client.post("/v1/disputes", json={"reference": charge["reference"]}).json()["charge"] == charge["id"]


def test_a_failed_charge_cannot_be_disputed(buyer: Buyer) -> None:
    assert buyer.dispute(buyer.charged("4000000000000002")).json()["error"]["code"] == "charge_not_succeeded"


def test_disputes_are_listed_by_their_last_change(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    clock.advance(days=365)  # later than those of all other tests
    first, second = (buyer.dispute(buyer.charged()).json() for _ in range(2))
    first = buyer.decide(first, "won").json()

    def listed(**query: Any) -> dict[str, Any]:
        return dict(sandbox.client.get("/v1/disputes", params=query).json())

    assert listed(updated_since=second["updated_at"]) == {"data": [second, first], "has_more": False}
    assert listed(updated_since=second["updated_at"], limit=1) == {"data": [second], "has_more": True}
    assert listed(updated_since=first["updated_at"]) == {"data": [first], "has_more": False}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"updated_since": "yesterday"}, "updated_since"),
        ({"updated_since": "2026-11-01T08:00:00"}, "updated_since"),
        ({"limit": 1001}, "limit"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(sandbox: SandboxCompany, query: dict[str, Any], field: str) -> None:
    answer = sandbox.client.get("/v1/disputes", params=query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("card", "reason", "ends"),
    [
        ("4000000000000259", "fraudulent", "open"),
        ("4000000000002685", "product_not_received", "open"),
        ("4000000000009136", "fraudulent", "won"),
        ("4000000000009144", "fraudulent", "lost"),
    ],
)
def test_cards_are_disputed_by_themselves(buyer: Buyer, clock: Clock, sandbox: SandboxCompany, card: str, reason: str, ends: str) -> None:
    begun = clock.now()
    charge = buyer.charged(card)
    assert charge["status"] == "succeeded"
    clock.advance(minutes=1)

    def disputed() -> dict[str, Any] | None:
        found = sandbox.client.get("/v1/disputes", params={"updated_since": begun.isoformat()}).json()["data"]
        return next((one for one in found if one["charge"] == charge["id"]), None)

    dispute = eventually(disputed, "a dispute")
    assert (dispute["reason"], dispute["amount"]) == (reason, charge["amount"])
    clock.advance(minutes=1)
    eventually(lambda: (disputed() or {})["status"] == ends, f"the dispute is {ends}")


def test_a_refund_may_be_pending_and_then_fail(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    charge = buyer.charged("4000000000009151", amount=10_00)
    refund = buyer.refund(charge, amount=10_00).json()
    assert refund["status"] == "pending"
    clock.advance(minutes=1)
    told_about(sandbox, refund["id"], times=2)
    assert [row["type"] for row in sandbox.journal(object_id=refund["id"])] == ["refund.pending", "refund.failed"]
    assert buyer.refund(charge, amount=10_00).status_code == 201
