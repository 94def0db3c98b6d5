"""Faults do what their names say: what was executed stands in the journal, whatever was answered."""

import uuid

import httpx
import pytest

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany


def test_execute_then_500_executes(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    sandbox.fault(operation="charge", kind="execute_then_500", times=1)
    assert buyer.charge(token, key=key, reference="ord_1").status_code == 500
    assert len(sandbox.journal(key=key)) == 1
    again = buyer.charge(token, key=key, reference="ord_1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert len(sandbox.journal(key=key)) == 1


def test_refuse_500_does_not_execute_and_leaves_the_key_free(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    sandbox.fault(operation="charge", kind="refuse_500", times=1)
    assert buyer.charge(token, key=key, reference="ord_1").status_code == 500
    assert sandbox.journal(key=key) == []
    assert buyer.charge(token, key=key, reference="ord_1").status_code == 201


def test_execute_then_silence_executes_and_closes_without_a_word(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    sandbox.fault(operation="charge", kind="execute_then_silence", delay_s=0.3, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        buyer.charge(token, key=key)
    assert [row["type"] for row in sandbox.journal(key=key)] == ["charge.succeeded"]
    assert sandbox.client.get("/v1/charges", params={"key": key}).json()["data"][0]["status"] == "succeeded"


def test_a_slow_answer_outlasts_the_callers_patience_but_the_charge_stands(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    sandbox.fault(operation="charge", kind="slow", delay_s=5, times=1)
    impatient = httpx.Client(base_url=sandbox.url, headers=sandbox.client.headers, timeout=0.3)
    with impatient, pytest.raises(httpx.ReadTimeout):
        Buyer(impatient).charge(token, key=key)
    assert len(sandbox.journal(key=key)) == 1


def test_a_slow_answer_comes_after_its_delay(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    sandbox.fault(operation="charge", kind="slow", delay_s=0.4, times=1)
    answer = buyer.charge(token)
    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.4


def test_a_fault_strikes_only_where_it_was_switched_on(buyer: Buyer, sandbox: SandboxCompany) -> None:
    visa, mastercard = buyer.token(), buyer.token("5555555555554444")
    sandbox.fault(operation="charge", kind="refuse_500", card="4444")
    sandbox.fault(operation="refund", kind="refuse_500", reference="nobody")
    assert buyer.charge(visa).status_code == 201
    assert buyer.charge(mastercard).status_code == 500
    sandbox.clear_faults()
    assert buyer.charge(mastercard).status_code == 201


def test_a_rate_of_zero_never_strikes_and_of_one_always(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    sandbox.fault(operation="charge", kind="refuse_500", rate=0)
    assert buyer.charge(token).status_code == 201
    sandbox.fault(operation="charge", kind="refuse_500", rate=1)
    assert buyer.charge(token).status_code == 500


def test_looking_up_a_charge_can_fail_too(buyer: Buyer, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    buyer.charge(buyer.token(), key=key)
    sandbox.fault(operation="find", kind="refuse_500", times=1)
    statuses = [sandbox.client.get("/v1/charges", params={"key": key}).status_code for _ in range(2)]
    assert statuses == [500, 200]


@pytest.mark.parametrize(("number", "status", "rows"), [("4000000000009037", 500, 1), ("4000000000009045", 500, 0)])
def test_faults_have_cards_of_their_own(buyer: Buyer, sandbox: SandboxCompany, number: str, status: int, rows: int) -> None:
    key = uuid.uuid4().hex
    assert buyer.charge(buyer.token(number), key=key).status_code == status
    assert len(sandbox.journal(key=key)) == rows


def test_the_answer_to_a_faulty_card_heals_when_it_is_asked_for_again(buyer: Buyer) -> None:
    token, key = buyer.token("4000000000009037"), uuid.uuid4().hex
    answers = [buyer.charge(token, key=key, reference="ord_1").status_code for _ in range(2)]
    assert answers == [500, 201]


def test_a_switch_that_makes_no_sense_is_refused(sandbox: SandboxCompany) -> None:
    for wrong in (
        {"operation": "charge", "kind": "webhook_lost"},
        {"operation": "charge", "kind": "explode"},
        {"operation": "charge", "kind": "slow", "rate": 2},
        {"operation": "charge", "kind": "slow", "colour": "red"},
    ):
        assert sandbox.client.put("/v1/faults", json=wrong).status_code == 400, wrong
