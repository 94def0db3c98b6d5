"""The sandbox dedupes by idempotency key alone, so that our double charges would become visible."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany


def test_the_same_key_twice_is_one_journal_row_and_the_same_answer(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    first = buyer.charge(token, key=key, reference="ord_1")
    second = buyer.charge(token, key=key, reference="ord_1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.journal(key=key)) == 1


def test_two_keys_are_two_charges_even_when_all_else_is_equal(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, reference = buyer.token(), f"ord_{uuid.uuid4().hex}"
    buyer.charge(token, reference=reference)
    buyer.charge(token, reference=reference)
    assert len(sandbox.journal(reference=reference, type="charge.succeeded")) == 2


@pytest.mark.race
def test_fifty_calls_at_once_with_one_key_charge_once(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: buyer.charge(token, key=key, reference="ord_1"), range(50)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    in_flight = [answer.json()["error"]["code"] for answer in answers if answer.status_code == 409]
    assert set(in_flight) <= {"key_in_flight"}
    assert len(sandbox.journal(key=key)) == 1


def test_a_key_with_other_terms_is_refused_and_nothing_is_charged(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    buyer.charge(token, key=key, amount=10_00)
    other = buyer.charge(token, key=key, amount=11_00)
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "key_reused"
    assert [row["amount"] for row in sandbox.journal(key=key)] == [10_00]


def test_the_name_on_the_statement_is_kept_told_and_one_of_the_terms(buyer: Buyer) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    for wrong in ("ABCD", "x" * 23, "12345", "A<BOOK", "A>BOOK", "A\\BOOK", "O'NEILL", 'A"BOOK', "A*BOOK", "CAFÉ AB", 7):
        refused = buyer.charge(token, key=key, reference="ord_1", statement_descriptor=wrong)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "statement_descriptor"), wrong
    made = buyer.charge(token, key=key, reference="ord_1", statement_descriptor="FISH & CHIPS").json()
    assert made["statement_descriptor"] == buyer.now_is(made)["statement_descriptor"] == "FISH & CHIPS"
    other = buyer.charge(token, key=key, reference="ord_1", statement_descriptor="FISH AND CHIPS")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")
    assert buyer.charged()["statement_descriptor"] is None


def test_a_charge_key_cannot_refund(buyer: Buyer) -> None:
    key = uuid.uuid4().hex
    charge = buyer.charge(buyer.token(), key=key).json()
    assert buyer.refund(charge, amount=1_00, key=key).json()["error"]["code"] == "key_reused"


def test_a_refused_request_leaves_its_key_free(buyer: Buyer) -> None:
    token, key = buyer.token(amount=50_00), uuid.uuid4().hex
    assert buyer.charge(token, key=key, amount=50_01).status_code == 400
    assert buyer.charge(token, key=key, amount=50_00).status_code == 201


def test_a_decline_is_replayed_as_a_decline(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token("4000000000000002"), uuid.uuid4().hex
    answers = [buyer.charge(token, key=key, reference="ord_1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [402, 402]
    assert answers[0].content == answers[1].content
    assert [row["type"] for row in sandbox.journal(key=key)] == ["charge.failed"]


def test_a_charge_is_found_by_its_key(buyer: Buyer, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    assert sandbox.client.get("/v1/charges", params={"key": key}).json() == {"data": []}
    made = buyer.charge(buyer.token(), key=key).json()
    assert sandbox.client.get("/v1/charges", params={"key": key}).json() == {"data": [made]}
    assert sandbox.client.get(f"/v1/charges/{made['id']}").json() == made


def test_money_does_not_move_without_a_key(sandbox: SandboxCompany) -> None:
    answer = sandbox.client.post("/v1/charges", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "idempotency_key_missing")
