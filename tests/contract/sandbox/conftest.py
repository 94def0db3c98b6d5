"""What these tests need beyond the running sandbox: a buyer with a card, and a look into the sandbox's own database."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures_services import SandboxCompany, admin_url


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
