"""The line's connections: what came with one answer is never read as the answer to the next call."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from payments.psp.protocol import Charged, ChargeRequest, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable
from payments.psp.sandbox import SandboxPsp
from tests.factories import eur

Answer = Callable[[dict[str, Any]], bytes]
TERMS = {"amount": 100, "currency": "EUR", "created_at": "2026-11-02T12:00:00Z"}


class Company:
    """A PSP of sockets: it executes each request, and sends the answer that is next on its list; after the last one, the plain truth."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.connections = 0
        self.answers: list[Answer] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                talk, _address = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(talk,), daemon=True).start()

    def _talk(self, talk: socket.socket) -> None:
        with talk, suppress(OSError), talk.makefile("rb") as heard:
            while request := heard.readline():
                headers = dict(line.lower().split(b": ", 1) for line in iter(heard.readline, b"\r\n"))
                assert request.startswith(b"POST")
                asked = json.loads(heard.read(int(headers[b"content-length"])))
                self.executed.append(asked["reference"])
                talk.sendall((self.answers.pop(0) if self.answers else charged)(asked))


def whole(status: int, body: Any) -> bytes:
    sent = json.dumps(body).encode()
    return b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(sent), sent)


def charged(asked: dict[str, Any]) -> bytes:
    name = asked["reference"]
    return whole(200, TERMS | {"id": f"ch_{name}", "key": name, "reference": name, "status": "succeeded"})


def refusing(status: int) -> Answer:
    return lambda _asked: whole(status, {"error": {"code": "bad", "message": "no"}})


def twice(answer: Answer) -> Answer:
    return lambda asked: answer(asked) * 2


@pytest.fixture
def company() -> Iterator[Company]:
    company = Company()
    yield company
    company.close()


@pytest.fixture
def psp(company: Company) -> Iterator[SandboxPsp]:
    psp = SandboxPsp(url=company.url, api_key="sk", account="acct", webhook_secrets=[])
    yield psp
    psp.close()


def order(name: str) -> ChargeRequest:
    return ChargeRequest(key=name, payment_token="tok", amount=eur("1.00"), reference=name)


def test_one_connection_carries_many_charges(company: Company, psp: SandboxPsp) -> None:
    assert [type(psp.charge(order(name))) for name in ("a", "b", "c")] == [Charged] * 3
    assert (company.connections, company.executed) == (1, ["a", "b", "c"])


@pytest.mark.parametrize(("status", "error"), [(400, PspRejectedRequest), (401, PspUnavailable), (429, PspUnavailable)])
def test_f_16_a_refusal_that_comes_twice_is_not_the_next_charges(
    company: Company, psp: SandboxPsp, status: int, error: type[Exception]
) -> None:
    company.answers = [twice(refusing(status))]
    with pytest.raises(error):
        psp.charge(order("a"))
    assert isinstance(psp.charge(order("b")), Charged)
    assert (company.connections, company.executed) == (2, ["a", "b"])


def test_f_16_a_success_that_comes_twice_is_not_the_next_charges(company: Company, psp: SandboxPsp) -> None:
    company.answers = [twice(charged)]
    assert isinstance(psp.charge(order("a")), Charged)
    with pytest.raises(PspOutcomeUnknown, match="before the question"):
        psp.charge(order("b"))
    assert isinstance(psp.charge(order("b")), Charged), "on another connection"
    assert company.connections == 2


def test_f_16_a_success_with_a_refusal_behind_it_is_nobodys_refusal(company: Company, psp: SandboxPsp) -> None:
    company.answers = [lambda asked: charged(asked) + refusing(400)(asked)]
    assert isinstance(psp.charge(order("a")), Charged)
    with pytest.raises(PspOutcomeUnknown, match="before the question"):
        psp.charge(order("b"))


def test_f_16_an_answer_about_another_key_decides_nothing(company: Company, psp: SandboxPsp) -> None:
    company.answers = [lambda asked: charged(asked | {"reference": "somebody"})]
    with pytest.raises(PspOutcomeUnknown, match="another amount, key or payment"):
        psp.charge(order("a"))
