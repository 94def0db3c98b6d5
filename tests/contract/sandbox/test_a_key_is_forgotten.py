"""F-21: what was answered under a key is forgotten after 24 hours, and then the same key executes again, for all to see."""

import uuid

from tests.contract.sandbox.conftest import Buyer, Clock
from tests.fixtures_services import SandboxCompany


def test_f_21_a_key_is_remembered_for_a_day(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    first = buyer.charge(token, key=key, reference="ord_1")
    clock.advance(hours=23, minutes=59)
    again = buyer.charge(token, key=key, reference="ord_1")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert len(sandbox.journal(key=key)) == 1


def test_f_21_after_a_day_the_same_key_charges_again_and_both_are_found(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    first = buyer.charge(token, key=key, reference="ord_1").json()
    clock.advance(hours=24)
    second = buyer.charge(token, key=key, reference="ord_1").json()
    assert first["id"] != second["id"]
    assert [row["object_id"] for row in sandbox.journal(key=key)] == [first["id"], second["id"]]
    assert buyer.find(key) == [first, second]


def test_f_21_after_a_day_even_other_terms_are_taken(buyer: Buyer, clock: Clock) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    buyer.charge(token, key=key, amount=1_00)
    clock.advance(hours=24)
    assert buyer.charge(token, key=key, amount=2_00).status_code == 201


def test_f_21_a_refund_key_is_forgotten_too(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    charge, key = buyer.charged(amount=10_00), uuid.uuid4().hex
    wanted = {"charge": charge["id"], "amount": 4_00, "currency": "EUR", "reference": "ref_1"}
    refund = [sandbox.client.post("/v1/refunds", json=wanted, headers={"Idempotency-Key": key}).json()]
    clock.advance(hours=24)
    refund += [sandbox.client.post("/v1/refunds", json=wanted, headers={"Idempotency-Key": key}).json()]
    assert len({made["id"] for made in refund}) == 2
    assert sandbox.client.get("/v1/refunds", params={"key": key}).json() == {"data": refund}


def test_f_21_keys_can_be_forgotten_at_once(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    buyer.charge(token, key=key, reference="ord_1")
    sandbox.fault(operation="charge", kind="prune_keys", reference=key, times=1)
    assert "Idempotent-Replayed" not in buyer.charge(token, key=key, reference="ord_1").headers
    assert len(sandbox.journal(key=key, type="charge.succeeded")) == 2
