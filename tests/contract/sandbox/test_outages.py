"""The whole company away, and addresses where no request ever begins: F-01, F-02, F-03, F-25."""

import socket
import ssl
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, exchange
from tests.fixtures_services import SandboxCompany

Outage = Callable[..., None]
MONEY = [
    ("GET", "/v1/charges?key=k"),
    ("GET", "/v1/refunds?key=k"),
    ("POST", "/v1/charges/void"),
    ("GET", "/v1/disputes"),
    ("GET", "/hosted/cs_1"),
]
CONTROL = ["/v1/journal", "/v1/faults", "/v1/clock", "/v1/outage", "/healthz", "/"]


@pytest.fixture
def addresses(sandbox: SandboxCompany) -> dict[str, Any]:
    return dict(sandbox.client.get("/v1/broken_addresses").json())


def failure_at(address: str) -> BaseException:
    with httpx.Client(timeout=0.5, trust_env=False) as client, pytest.raises(httpx.TransportError) as failed:
        client.get(address)
    return failed.value


def test_f_01_a_closed_port_refuses(addresses: dict[str, Any]) -> None:
    assert isinstance(failure_at(addresses["F-01"]), httpx.ConnectError)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", httpx.URL(addresses["F-01"]).port or 0), timeout=5)


def test_f_02_a_full_listener_never_connects(addresses: dict[str, Any]) -> None:
    for _ in range(3):
        assert isinstance(failure_at(addresses["F-02"]), httpx.ConnectTimeout)


def test_f_03_a_server_without_tls_fails_the_handshake(addresses: dict[str, Any]) -> None:
    failed = failure_at(addresses["F-03"])
    assert isinstance(failed, httpx.ConnectError)
    assert "SSL" in str(failed)
    assert issubclass(ssl.SSLError, OSError)


def test_f_25_a_name_that_does_not_exist_is_not_found(addresses: dict[str, Any]) -> None:
    assert isinstance(failure_at(addresses["F-25"]), httpx.ConnectError)


@pytest.mark.parametrize(("method", "path"), MONEY)
def test_while_the_company_refuses_every_line_is_reset(outage: Outage, sandbox: SandboxCompany, method: str, path: str) -> None:
    outage("refused")
    seen = exchange(sandbox, method, path)
    assert (seen.was_reset, seen.received) == (True, b"")


@pytest.mark.parametrize(("method", "path"), MONEY)
def test_while_the_company_errs_everything_is_500(outage: Outage, sandbox: SandboxCompany, method: str, path: str) -> None:
    outage("error_500")
    assert exchange(sandbox, method, path).status == 500


def test_while_the_company_is_silent_callers_wait_in_vain(buyer: Buyer, outage: Outage, sandbox: SandboxCompany) -> None:
    token, key = buyer.token(), uuid.uuid4().hex
    outage("silent")
    with httpx.Client(base_url=sandbox.url, headers=sandbox.client.headers, timeout=0.3) as impatient:
        for _ in range(10):  # more than there are threads
            with pytest.raises(httpx.ReadTimeout):
                Buyer(impatient).charge(token, key=key)
    assert sandbox.journal(key=key) == []


@pytest.mark.parametrize("kind", ["refused", "silent", "error_500"])
def test_control_calls_keep_answering_and_nothing_is_executed(buyer: Buyer, outage: Outage, sandbox: SandboxCompany, kind: str) -> None:
    outage(kind)
    for path in CONTROL:
        assert sandbox.client.get(path).status_code == 200, path
    assert sandbox.client.get("/v1/outage").json() == {"kind": kind, "until": None}


def test_an_outage_ends_by_the_clock_or_by_hand(buyer: Buyer, clock: Clock, outage: Outage, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    outage("error_500", seconds=3600)
    assert buyer.charge(token).status_code == 500
    clock.advance(hours=1)
    assert buyer.charge(token).status_code == 201
    outage("error_500")
    clock.advance(days=30)
    assert buyer.charge(token).status_code == 500
    sandbox.client.delete("/v1/outage")
    assert buyer.charge(token).status_code == 201


@pytest.mark.parametrize("wrong", [{}, {"kind": "holiday"}, {"kind": "silent", "seconds": -1}])
def test_an_outage_that_makes_no_sense_is_refused(sandbox: SandboxCompany, wrong: dict[str, Any]) -> None:
    assert sandbox.client.put("/v1/outage", json=wrong).status_code == 400
    assert sandbox.client.get("/v1/outage").json()["kind"] is None
