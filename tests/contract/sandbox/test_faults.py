"""Faults do what their names say: what was executed stands in the journal, whatever was answered."""

import uuid

import httpx
import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, told_about
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


@pytest.mark.parametrize("operation", ["charge", "refund"])
def test_f_18_some_things_stay_pending_for_ever(buyer: Buyer, clock: Clock, sandbox: SandboxCompany, operation: str) -> None:
    sandbox.fault(operation=operation, kind="pending_forever", times=1)
    charge = buyer.charged()
    made = charge if operation == "charge" else buyer.refund(charge, amount=1_00).json()
    assert made["status"] == "pending"
    clock.advance(days=60)
    told_about(sandbox, buyer.charged("4000000000009110")["id"])
    clock.advance(days=1)
    last = buyer.charged("4000000000009110")
    clock.advance(minutes=1)
    told_about(sandbox, last["id"], times=2)  # what was to ripen has ripened
    assert sandbox.client.get(f"/v1/{operation}s/{made['id']}").json()["status"] == "pending"


@pytest.mark.parametrize("operation", ["charge", "refund"])
def test_f_19_some_things_succeed_after_three_days(buyer: Buyer, clock: Clock, sandbox: SandboxCompany, operation: str) -> None:
    sandbox.fault(operation=operation, kind="pending_72h", times=1)
    charge = buyer.charged()
    made = charge if operation == "charge" else buyer.refund(charge, amount=1_00).json()
    clock.advance(hours=71, minutes=58)
    last = buyer.charged("4000000000009110")
    clock.advance(minutes=1)
    told_about(sandbox, last["id"], times=2)
    assert sandbox.client.get(f"/v1/{operation}s/{made['id']}").json()["status"] == "pending"
    clock.advance(minutes=2)
    told_about(sandbox, made["id"], times=2)
    assert [row["type"] for row in sandbox.journal(object_id=made["id"])] == [f"{operation}.pending", f"{operation}.succeeded"]


@pytest.mark.parametrize("operation", ["charge", "find"])
def test_f_20_a_status_may_lag_behind_what_was_executed(buyer: Buyer, clock: Clock, sandbox: SandboxCompany, operation: str) -> None:
    sandbox.fault(operation=operation, kind="status_lags")
    charge = buyer.charged()
    assert len(sandbox.journal(key=charge["key"])) == 1
    assert buyer.find(charge["key"]) == []
    clock.advance(seconds=31)
    assert buyer.find(charge["key"]) == [charge]


@pytest.mark.parametrize("operation", ["charge", "refund"])
@pytest.mark.parametrize(("kind", "executed"), [("stored_500", 1), ("refuse_stored_500", 0)])
def test_f_22_a_stored_500_is_replayed_and_only_looking_it_up_heals(
    buyer: Buyer, sandbox: SandboxCompany, operation: str, kind: str, executed: int
) -> None:
    token, charge, key = buyer.token(), buyer.charged(), uuid.uuid4().hex
    terms: dict[str, object] = {"amount": 1_00, "currency": "EUR", "reference": "r_1"}
    terms |= {"token": token} if operation == "charge" else {"charge": charge["id"]}
    sandbox.fault(operation=operation, kind=kind, times=1)
    answers = [sandbox.client.post(f"/v1/{operation}s", json=terms, headers={"Idempotency-Key": key}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 500]
    assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, True, True]
    found = sandbox.client.get(f"/v1/{operation}s", params={"key": key}).json()["data"]
    assert [made["status"] for made in found] == ["succeeded"] * executed
    assert len(sandbox.journal(key=key)) == executed


def test_f_22_what_a_stored_500_hides_can_be_voided(buyer: Buyer, sandbox: SandboxCompany) -> None:
    for kind, status in (("stored_500", "voided"), ("refuse_stored_500", None)):
        token, key = buyer.token(), uuid.uuid4().hex
        sandbox.fault(operation="charge", kind=kind, times=1)
        buyer.charge(token, key=key, reference="ord_1")
        charge = buyer.void(key).json()["charge"]
        assert (charge["status"] if charge else None) == status
        assert buyer.charge(token, key=key, reference="ord_1").json()["error"]["code"] == "key_voided"


def test_every_kind_tells_its_number_what_it_does_and_where(sandbox: SandboxCompany) -> None:
    kinds = sandbox.client.get("/v1/faults/kinds").json()["data"]
    assert {f"F-{number:02}" for number in range(4, 25)} <= {kind["id"] for kind in kinds}
    assert all(kind["what"] and kind["operations"] for kind in kinds)


def test_every_kind_can_be_switched_on_where_it_says_and_nowhere_else(sandbox: SandboxCompany) -> None:
    operations = {"charge", "refund", "payout", "find", "session", "void", "dispute", "webhook"}
    for kind in sandbox.client.get("/v1/faults/kinds").json()["data"]:
        for operation in operations:
            wanted = {"operation": operation, "kind": kind["kind"], "reference": "nobody"}
            expected = 200 if operation in kind["operations"] else 400
            assert sandbox.client.put("/v1/faults", json=wanted).status_code == expected, wanted


@pytest.mark.parametrize(
    ("number", "kind"),
    [("F-04", "reset_before"), ("F-07", "execute_then_500"), ("F-14", "other_amount"), ("F-20", "status_lags"), ("F-22", "stored_500")],
)
def test_a_kind_may_be_called_by_its_number(sandbox: SandboxCompany, number: str, kind: str) -> None:
    assert sandbox.client.put("/v1/faults", json={"operation": "charge", "kind": number}).json()["kind"] == kind


@pytest.mark.parametrize("number", ["F-01", "F-02", "F-03", "F-25"])
def test_what_happens_before_any_request_is_no_switch_but_an_address(sandbox: SandboxCompany, number: str) -> None:
    answer = sandbox.client.put("/v1/faults", json={"operation": "charge", "kind": number})
    assert answer.status_code == 400
    assert "/v1/broken_addresses" in answer.json()["error"]["message"]
