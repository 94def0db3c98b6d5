"""F-04 to F-17 on a raw line: what comes is exactly as broken as the fault says, and what was executed is what it says."""

import json
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.sandbox.conftest import Buyer, Exchange, eventually, exchange
from tests.fixtures_services import SandboxCompany

Call = Callable[[], Exchange]
OPERATIONS = ("charge", "refund", "find", "session", "void", "dispute")


def is_reset(seen: Exchange) -> bool:
    return seen.was_reset and seen.received == b""


def is_silence(seen: Exchange) -> bool:
    return not seen.was_reset and seen.received == b""


def is_500(seen: Exchange) -> bool:
    return seen.status == 500 and json.loads(seen.body)["error"]["code"] == "internal_error"


def is_throttled(seen: Exchange) -> bool:
    return seen.status == 429 and "retry-after" not in seen.head


def is_in_flight(seen: Exchange) -> bool:
    return seen.status == 409 and json.loads(seen.body)["error"]["code"] == "key_in_flight"


def is_no_json(seen: Exchange) -> bool:
    try:
        json.loads(seen.body)
    except ValueError:
        return seen.status in (200, 201) and f"content-length: {len(seen.body)}\r" in seen.head + "\r"
    return False


def is_cut(seen: Exchange) -> bool:
    [length] = [int(line[15:]) for line in seen.head.split("\r\n") if line.startswith("content-length:")]
    return seen.status in (200, 201) and 0 < len(seen.body) < length


def is_web_page(seen: Exchange) -> bool:
    return seen.status == 200 and "content-type: text/html" in seen.head and b"<h1>" in seen.body


def is_doubled(seen: Exchange) -> bool:
    half = len(seen.received) // 2
    return half > 0 and seen.received[:half] == seen.received[half:]


BROKEN: list[tuple[str, str, Callable[[Exchange], bool], bool]] = [
    ("F-04", "reset_before", is_reset, False),
    ("F-05", "execute_then_reset", is_reset, True),
    ("F-06", "execute_then_silence", is_silence, True),
    ("F-07", "execute_then_500", is_500, True),
    ("F-08", "refuse_500", is_500, False),
    ("F-09", "throttle", is_throttled, False),
    ("F-10", "in_flight", is_in_flight, False),
    ("F-11", "malformed_json", is_no_json, True),
    ("F-12", "cut_body", is_cut, True),
    ("F-13", "html_200", is_web_page, True),
    ("F-16", "duplicate_response", is_doubled, True),
]
FAULTS = [pytest.param(kind, looks, executes, id=f"{number}-{kind}") for number, kind, looks, executes in BROKEN]


@pytest.mark.parametrize(("kind", "looks", "executes"), FAULTS)
def test_f_04_to_f_16_a_charge_is_executed_or_not_whatever_is_answered(
    buyer: Buyer, sandbox: SandboxCompany, kind: str, looks: Callable[[Exchange], bool], executes: bool
) -> None:
    key = uuid.uuid4().hex
    terms = {"token": buyer.token(), "amount": 10_00, "currency": "EUR", "reference": "ord_1"}
    sandbox.fault(operation="charge", kind=kind, times=1, delay_s=0.05)
    assert looks(seen := exchange(sandbox, "POST", "/v1/charges", key=key, body=terms)), seen
    assert [row["type"] for row in sandbox.journal(key=key)] == ["charge.succeeded"] * executes
    healed = exchange(sandbox, "POST", "/v1/charges", key=key, body=terms)
    assert healed.status == 201
    assert ("idempotent-replayed" in healed.head) == executes
    assert [row["type"] for row in sandbox.journal(key=key)] == ["charge.succeeded"]


@pytest.mark.parametrize(("kind", "looks", "executes"), FAULTS)
def test_f_04_to_f_16_a_refund_is_executed_or_not_whatever_is_answered(
    buyer: Buyer, sandbox: SandboxCompany, kind: str, looks: Callable[[Exchange], bool], executes: bool
) -> None:
    key = uuid.uuid4().hex
    terms = {"charge": buyer.charged()["id"], "amount": 1_00, "currency": "EUR", "reference": "ref_1"}
    sandbox.fault(operation="refund", kind=kind, times=1, delay_s=0.05)
    assert looks(seen := exchange(sandbox, "POST", "/v1/refunds", key=key, body=terms)), seen
    assert [row["type"] for row in sandbox.journal(key=key)] == ["refund.succeeded"] * executes


@pytest.mark.parametrize(("kind", "looks", "executes"), FAULTS)
def test_f_04_to_f_16_a_void_is_executed_or_not_whatever_is_answered(
    buyer: Buyer, sandbox: SandboxCompany, kind: str, looks: Callable[[Exchange], bool], executes: bool
) -> None:
    charge = buyer.charged()
    sandbox.fault(operation="void", kind=kind, times=1, delay_s=0.05)
    assert looks(seen := exchange(sandbox, "POST", "/v1/charges/void", key=uuid.uuid4().hex, body={"key": charge["key"]})), seen
    assert buyer.now_is(charge)["status"] == ("voided" if executes else "succeeded")


@pytest.mark.parametrize(("kind", "looks", "executes"), [fault for fault in FAULTS if fault.values[0] != "in_flight"])
@pytest.mark.parametrize("operation", ["find", "session", "dispute"])
def test_f_04_to_f_16_looking_something_up_breaks_as_well(
    buyer: Buyer, sandbox: SandboxCompany, operation: str, kind: str, looks: Callable[[Exchange], bool], executes: bool
) -> None:
    paths = {
        "find": f"/v1/charges?key={buyer.charged()['key']}",
        "session": f"/v1/sessions/{buyer.session()['id']}",
        "dispute": "/v1/disputes?limit=1",
    }
    path = paths[operation]
    sandbox.fault(operation=operation, kind=kind, times=1, delay_s=0.05)
    assert looks(seen := exchange(sandbox, "GET", path)), seen
    assert exchange(sandbox, "GET", path).status == 200


def test_f_09_throttling_may_say_when_to_come_again(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    sandbox.fault(operation="charge", kind="throttle", retry_after_s=7, times=1)
    answer = buyer.charge(token)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("kind", "lies_about"),
    [
        pytest.param("other_amount", {"amount"}, id="F-14-other_amount"),
        pytest.param("other_currency", {"currency"}, id="F-14-other_currency"),
        pytest.param("other_payment", {"id", "key", "reference", "nonce"}, id="F-15-other_payment"),
    ],
)
def test_f_14_and_f_15_the_answer_lies_about_what_was_executed_and_about_nothing_else(
    buyer: Buyer, sandbox: SandboxCompany, operation: str, kind: str, lies_about: set[str]
) -> None:
    ask = asking(buyer, sandbox, operation)
    sandbox.fault(operation=operation, kind=kind, times=1)
    lie, truth = ask(), ask()
    assert {name for name in truth if lie[name] != truth[name]} == lies_about & set(truth)


def asking(buyer: Buyer, sandbox: SandboxCompany, operation: str) -> Callable[[], dict[str, Any]]:
    """Return what asks for the same thing again and again: by the same key, or by looking it up."""
    charge, key = buyer.charged(), uuid.uuid4().hex
    refund = {"charge": charge["id"], "amount": 1_00, "currency": "EUR", "reference": "ref_1"}
    payment = {"token": buyer.token(), "amount": 1_00, "currency": "EUR", "reference": "ord_1"}
    session, headers = buyer.session(), {"Idempotency-Key": key}
    post, get = sandbox.client.post, sandbox.client.get
    dispute = buyer.dispute(buyer.charged()).json()
    asks: dict[str, Callable[[], dict[str, Any]]] = {
        "charge": lambda: post("/v1/charges", json=payment, headers=headers).json(),
        "refund": lambda: post("/v1/refunds", json=refund, headers=headers).json(),
        "find": lambda: buyer.find(charge["key"])[0],
        "session": lambda: buyer.show(session),
        "void": lambda: buyer.void(charge["key"]).json()["charge"],
        "dispute": lambda: get(f"/v1/disputes/{dispute['id']}").json(),
    }
    return asks[operation]


def test_f_17_the_answer_drips(buyer: Buyer, sandbox: SandboxCompany) -> None:
    key = uuid.uuid4().hex
    terms = {"token": buyer.token(), "amount": 10_00, "currency": "EUR", "reference": "ord_1"}
    sandbox.fault(operation="charge", kind="drip", times=1, delay_s=0.001)
    begun = time.monotonic()
    seen = exchange(sandbox, "POST", "/v1/charges", key=key, body=terms)
    assert time.monotonic() - begun >= 0.001 * (len(seen.received) - 1)
    assert json.loads(seen.body)["key"] == key
    assert len(sandbox.journal(key=key)) == 1


def test_f_17_drips_at_a_byte_a_second_unless_said_otherwise(sandbox: SandboxCompany) -> None:
    shown = sandbox.client.put("/v1/faults", json={"operation": "charge", "kind": "F-17"}).json()
    assert (shown["kind"], shown["delay_s"]) == ("drip", 1)


def test_f_16_after_a_doubled_answer_the_line_is_dead_for_a_while(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session()
    sandbox.fault(operation="session", kind="duplicate_response", times=1, delay_s=0.4)
    begun = time.monotonic()
    assert is_doubled(exchange(sandbox, "GET", f"/v1/sessions/{session['id']}"))
    assert time.monotonic() - begun >= 0.4


def test_f_16_who_uses_the_line_again_may_take_the_second_copy_for_an_answer(buyer: Buyer, sandbox: SandboxCompany) -> None:
    one, other = buyer.session(), buyer.session()
    sandbox.fault(operation="session", kind="duplicate_response", times=1, delay_s=10)
    with httpx.Client(base_url=sandbox.url, headers=sandbox.client.headers, timeout=15) as trusting:
        answers = [trusting.get(f"/v1/sessions/{session['id']}").json()["id"] for session in (one, other)]
    assert answers == [one["id"], one["id"]]


def asking_without_waiting(sandbox: SandboxCompany, path: str) -> socket.socket:
    server = urlsplit(sandbox.url)
    line = socket.create_connection((server.hostname, server.port), timeout=15)
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.netloc}\r\nAuthorization: Bearer {sandbox.api_key}\r\n\r\n".encode())
    return line


def test_many_broken_answers_at_once_hold_no_thread(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token, session = buyer.token(), buyer.session()
    sandbox.fault(operation="session", kind="execute_then_silence", delay_s=30)
    lines = [asking_without_waiting(sandbox, f"/v1/sessions/{session['id']}") for _ in range(40)]  # five times as many as there are threads
    eventually(lambda: sandbox.client.get("/v1/faults").json()["data"][0]["fired"] == len(lines), "all of them wait")
    assert buyer.charge(token).status_code == 201
    for line in lines:
        line.close()
