"""A void lets a charge's key have taken nothing, now and for ever, whoever comes first: the charge or the void."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, told_about
from tests.fixtures_services import SandboxCompany


def test_a_key_that_was_never_used_never_executes_any_more(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    assert buyer.void(key).json() == {"object": "void", "key": key, "status": "voided", "charge": None}
    for _ in range(2):
        answer = buyer.charge(token, key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_voided")
        clock.advance(days=2)
    sandbox.fault(operation="charge", kind="prune_keys")
    assert buyer.charge(token, key=key).json()["error"]["code"] == "key_voided"
    assert sandbox.journal(key=key) == []


def test_a_charge_of_today_is_taken_back_and_the_session_may_be_charged_again(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(amount=10_00), uuid.uuid4().hex
    charge = buyer.charge(token, key=key, amount=10_00).json()
    voided = buyer.void(key).json()
    assert (voided["status"], voided["charge"]) == ("voided", {**charge, "status": "voided"})
    assert [(row["type"], row["amount"]) for row in sandbox.journal(key=key)] == [("charge.succeeded", 10_00), ("charge.voided", 10_00)]
    events = told_about(sandbox, charge["id"], times=2)
    assert {event["type"] for event in events} == {"charge.succeeded", "charge.voided"}
    assert buyer.charge(token, amount=10_00).status_code == 201


def test_a_voided_key_does_not_answer_that_it_charged(buyer: Buyer) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    buyer.charge(token, key=key, reference="ord_1")
    buyer.void(key)
    assert buyer.charge(token, key=key, reference="ord_1").json()["error"]["code"] == "key_voided"


def test_a_pending_charge_is_taken_back_before_it_took_anything(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    charge = buyer.charge(buyer.token("4000000000009110"), key=key).json()
    assert buyer.void(key).json()["charge"]["status"] == "voided"
    assert [(row["type"], row["amount"]) for row in sandbox.journal(key=key)] == [("charge.pending", 10_00), ("charge.voided", 0)]
    clock.advance(hours=1)
    other = buyer.charged("4000000000009110")  # once this one has ripened, the first would have, too
    told_about(sandbox, other["id"], times=1)
    clock.advance(hours=1)
    told_about(sandbox, other["id"], times=2)
    assert buyer.now_is(charge)["status"] == "voided"


def test_a_failed_charge_counts_as_voided_and_goes_on_telling_of_its_failure(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token("4000000000000002"), uuid.uuid4().hex
    declined = buyer.charge(token, key=key, reference="ord_1")
    voided = buyer.void(key).json()
    assert (voided["status"], voided["charge"]["status"]) == ("voided", "failed")
    assert buyer.charge(token, key=key, reference="ord_1").content == declined.content
    assert [row["type"] for row in sandbox.journal(key=key)] == ["charge.failed"]


def test_a_charge_of_yesterday_stays(buyer: Buyer, clock: Clock) -> None:
    key = uuid.uuid4().hex
    charge = buyer.charge(buyer.token(), key=key).json()
    clock.advance(hours=24, seconds=1)
    voided = buyer.void(key).json()
    assert (voided["status"], voided["charge"]) == ("not_voidable", charge)


def test_a_refunded_or_disputed_charge_stays(buyer: Buyer) -> None:
    refunded, disputed = uuid.uuid4().hex, uuid.uuid4().hex
    buyer.refund(buyer.charge(buyer.token(), key=refunded).json(), amount=1)
    dispute = buyer.dispute(buyer.charge(buyer.token(), key=disputed).json()).json()
    buyer.decide(dispute, "won")
    for key in (refunded, disputed):
        assert buyer.void(key).json()["status"] == "not_voidable"


@pytest.mark.parametrize("card", ["4242424242424242", "4000000000009110", "4000000000000002"])
def test_the_same_void_again_gets_the_same_answer(buyer: Buyer, sandbox: SandboxCompany, card: str) -> None:
    key = uuid.uuid4().hex
    buyer.charge(buyer.token(card), key=key)
    first, second = buyer.void(key), buyer.void(key)
    assert first.content == second.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert buyer.void(key, key=uuid.uuid4().hex).json() == first.json()
    assert len(sandbox.journal(key=key, type="charge.voided")) == (card != "4000000000000002")


def test_a_voided_charge_cannot_be_refunded_or_disputed(buyer: Buyer) -> None:
    key = uuid.uuid4().hex
    charge = buyer.charge(buyer.token(), key=key).json()
    buyer.void(key)
    for answer in (buyer.refund(charge, amount=1), buyer.dispute(charge)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "charge_not_succeeded")


def test_bug_30_a_void_needs_a_key_of_its_own(sandbox: SandboxCompany) -> None:
    answer = sandbox.client.post("/v1/charges/void", json={"key": "k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "idempotency_key_missing")


def test_two_charges_under_one_forgotten_key_are_both_taken_back(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    sandbox.fault(operation="charge", kind="prune_keys", times=2)
    for _ in range(2):
        buyer.charge(token, key=key, reference="ord_1")
    assert buyer.void(key).json()["status"] == "voided"
    assert len(sandbox.journal(key=key, type="charge.voided")) == 2


def test_the_key_of_a_refund_is_not_buried(buyer: Buyer) -> None:
    charge, key = buyer.charged(), uuid.uuid4().hex
    refund = buyer.refund(charge, amount=1_00, key=key)
    answer = buyer.void(key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "key_reused")
    assert refund.status_code == 201
    assert buyer.now_is(charge)["refunded"] == 1_00


@pytest.mark.race
def test_a_charge_and_a_void_at_once_end_with_nothing_taken_once_the_void_was_answered(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token = buyer.token(amount=1000_00)
    keys = [uuid.uuid4().hex for _ in range(40)]

    def voided(key: str) -> None:
        while buyer.void(key).status_code == 409:
            """A charge is running under this key: ask again."""

    with ThreadPoolExecutor(8) as pool:
        for key in keys:
            pool.submit(buyer.charge, token, key=key)
            pool.submit(voided, key)
    for key in keys:
        taken = {row["type"]: row["amount"] for row in sandbox.journal(key=key)}
        assert taken.get("charge.succeeded", 0) == taken.get("charge.voided", 0), key
        assert buyer.void(key).json()["status"] == "voided"
    assert buyer.charge(token, amount=1000_00).status_code == 201
