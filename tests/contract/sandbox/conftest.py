"""What these tests need beyond the running sandbox: a buyer with a card, his bank, a raw line, and a look into the database."""

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.contract.sandbox.days import Days
from tests.fixtures_services import SandboxCompany, admin_url

PATIENCE_S = 15


@dataclass(frozen=True)
class Buyer:
    """Somebody who confirms totals with test cards, and the shop's server that charges them."""

    http: httpx.Client

    def session(self, *, amount: int = 100_00, nonce: str = "", **terms: Any) -> dict[str, Any]:
        """Open a session of 100.00 EUR, unless said otherwise."""
        wanted = {
            "nonce": nonce or uuid.uuid4().hex,
            "amount": amount,
            "currency": "EUR",
            "parent_origin": "http://127.0.0.1:8000",
            "return_url": "http://127.0.0.1:8000/checkout/return",
            "locale": "en",
            "description": "A basket",
            **terms,
        }
        answer = self.http.post("/v1/sessions", json=wanted)
        answer.raise_for_status()
        return dict(answer.json())

    def show(self, session: dict[str, Any]) -> dict[str, Any]:
        return dict(self.http.get(f"/v1/sessions/{session['id']}").json())

    def enter(self, session: dict[str, Any], number: str, *, expiry: str = "12 / 34", cvc: str = "123") -> httpx.Response:
        """Send the card form as the iframe does."""
        entered = {"number": number, "expiry": expiry, "cvc": cvc}
        return self.http.post(session["fields_url"], data=entered)

    def token(self, number: str = "4242424242424242", *, amount: int = 100_00) -> str:
        """Confirm a total with a card and return the payment token."""
        session = self.session(amount=amount)
        self.enter(session, number)
        token = self.show(session)["payment_token"]
        assert token, "the session is not complete"
        return str(token)

    def charge(self, token: str, *, amount: int = 10_00, key: str = "", **terms: Any) -> httpx.Response:
        wanted = {"token": token, "amount": amount, "currency": "EUR", "reference": f"ord_{uuid.uuid4().hex}", **terms}
        return self.http.post("/v1/charges", json=wanted, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def charged(self, number: str = "4242424242424242", *, amount: int = 10_00) -> dict[str, Any]:
        return dict(self.charge(self.token(number), amount=amount).json())

    def refund(self, charge: dict[str, Any], *, amount: int, key: str = "") -> httpx.Response:
        wanted = {"charge": charge["id"], "amount": amount, "currency": "EUR", "reference": f"ref_{uuid.uuid4().hex}"}
        return self.http.post("/v1/refunds", json=wanted, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def void(self, charge_key: str, *, key: str = "") -> httpx.Response:
        return self.http.post("/v1/charges/void", json={"key": charge_key}, headers={"Idempotency-Key": key or f"void:{charge_key}"})

    def find(self, key: str) -> list[dict[str, Any]]:
        """Look up the charges that were made under a key."""
        return list(self.http.get("/v1/charges", params={"key": key}).json()["data"])

    def now_is(self, charge: dict[str, Any]) -> dict[str, Any]:
        """Ask how a charge is now."""
        return dict(self.http.get(f"/v1/charges/{charge['id']}").json())

    def dispute(self, charge: dict[str, Any], /, **terms: Any) -> httpx.Response:
        """Let the buyer's bank take the charge back."""
        return self.http.post("/v1/disputes", json={"charge": charge["id"], **terms})

    def decide(self, dispute: dict[str, Any], outcome: str, **terms: Any) -> httpx.Response:
        return self.http.post(f"/v1/disputes/{dispute['id']}/close", json={"outcome": outcome, **terms})


@dataclass(frozen=True)
class Exchange:
    """What a raw line brought: every byte, and whether it ended with a reset."""

    received: bytes
    was_reset: bool

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1])

    @property
    def head(self) -> str:
        return self.received.partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


def exchange(sandbox: SandboxCompany, method: str, path: str, *, key: str = "", body: Any = None) -> Exchange:
    """Send one request over a socket of its own, and read until the other side ends it."""
    server = urlsplit(sandbox.url)
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {server.netloc}", f"Authorization: Bearer {sandbox.api_key}", "Connection: close"]
    lines += [f"Idempotency-Key: {key}"] * bool(key) + [f"Content-Length: {len(content)}", "", ""]
    received = b""
    with socket.create_connection((server.hostname, server.port), timeout=15) as line:
        line.sendall("\r\n".join(lines).encode() + content)
        try:
            while chunk := line.recv(65536):
                received += chunk
        except ConnectionResetError:
            return Exchange(received, was_reset=True)
    return Exchange(received, was_reset=False)


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Ask until it holds, a quarter of a minute at most; return what it then is."""
    step = threading.Event()
    for _ in range(PATIENCE_S * 20):
        if found := holds():
            return found
        step.wait(0.05)
    raise AssertionError(f"in {PATIENCE_S} seconds it did not happen: {what}")


def told_about(sandbox: SandboxCompany, object_id: str, *, times: int = 1) -> list[dict[str, Any]]:
    """Wait until the letterbox holds so many events about an object."""

    def found() -> list[dict[str, Any]] | None:
        events = [json.loads(body) for _, body in list(sandbox.letterbox.deliveries)]
        about = [event for event in events if event["data"]["object"]["id"] == object_id]
        return about if len(about) >= times else None

    return list(eventually(found, f"{times} events about {object_id}"))


def deliveries_of(sandbox: SandboxCompany, object_id: str) -> list[dict[str, Any]]:
    return list(sandbox.client.get("/v1/deliveries", params={"object": object_id}).json()["data"])


@dataclass(frozen=True)
class Clock:
    """The sandbox's test clock."""

    http: httpx.Client

    def advance(self, **duration: float) -> dict[str, Any]:
        """Move the clock on by `hours=23, minutes=59`."""
        seconds = timedelta(**duration).total_seconds()
        answer = self.http.put("/v1/clock", json={"advance_s": seconds})
        answer.raise_for_status()
        return dict(answer.json())

    def now(self) -> datetime:
        return datetime.fromisoformat(self.http.get("/v1/clock").json()["now"])

    def reset(self) -> None:
        self.http.delete("/v1/clock").raise_for_status()


@pytest.fixture
def clock(sandbox: SandboxCompany) -> Iterator[Clock]:
    """Give the sandbox's clock, which tells real time again after the test."""
    clock = Clock(sandbox.client)
    yield clock
    clock.reset()


@pytest.fixture
def days(sandbox: SandboxCompany, buyer: Buyer, clock: Clock) -> Days:
    """Give the sandbox's days, at the beginning of a new one, with nothing carried over that earlier tests left lacking."""
    assert buyer.charge(buyer.token(amount=100_000_00), amount=100_000_00).status_code == 201
    days = Days(sandbox.client)
    days.begin()
    return days


@pytest.fixture
def outage(sandbox: SandboxCompany) -> Iterator[Callable[..., None]]:
    """Let the sandbox be away: `outage("silent")`. It is back after the test."""

    def begin(kind: str, **terms: Any) -> None:
        sandbox.client.put("/v1/outage", json={"kind": kind, **terms}).raise_for_status()

    yield begin
    sandbox.client.delete("/v1/outage").raise_for_status()


@pytest.fixture
def buyer(sandbox: SandboxCompany) -> Buyer:
    return Buyer(sandbox.client)


@pytest.fixture
def sandbox_database(sandbox: SandboxCompany, worker_name: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Give the sandbox's database as its administrator sees it; what a test does there is rolled back."""
    if "ONEBOOK_SERVICES" not in os.environ:
        pytest.skip("the database server is not ours to look into")
    with psycopg.connect(admin_url(f"onebook_sandbox_{worker_name}")) as connection:
        yield connection
        connection.rollback()
