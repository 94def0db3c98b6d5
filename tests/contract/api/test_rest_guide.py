"""The guide to the REST API (docs/rest.md): every command in it is one that is served, and can be pasted in the order in which it stands."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.conf import settings
from django.urls import resolve

from config.api.routes import NoSuchAddress
from ledger.endpoint import operation_of

GUIDE = (Path(settings.BASE_DIR) / "docs" / "rest.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
ID = {"FERN": "sel", "GALE": "sel", "PAYMENT": "pay", "ORDER": "ord", "PAYOUT": "po"}
WORDS = {"API": "/v1", "MONTH": "2026-10", "TOKEN": "tok_1"}
WRONG_ON_PURPOSE = "wrong-1"


@dataclass
class Call:
    """One command of the guide, as a shell would read it."""

    address: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.address} {self.headers.get('Idempotency-Key', '')}".strip()


def commands() -> Iterator[str]:
    """Yield each command, over as many lines as its quotes hold together."""
    for block in BLOCKS:
        command = ""
        for line in block.splitlines():
            command += f"{line}\n"
            if command.partition(" #")[0].count("'") % 2 == 0:
                yield command
                command = ""


def calls() -> Iterator[Call]:
    for command in commands():
        if command.startswith("ask"):
            yield read(filled_in(command))


def filled_in(command: str) -> str:
    """Put ids where the guide has variables and dots."""
    known = WORDS | {name: f"{prefix}_{'0' * 32}" for name, prefix in ID.items()}
    named = re.sub(r"\$([A-Z_]+)", lambda found: known[found[1]], command)
    return re.sub(r"\b([a-z]+)_\.\.\.", lambda found: f"{found[1]}_{'0' * 32}", named)


def read(command: str) -> Call:
    call, words = Call(), iter(shlex.split(command, comments=True)[1:])
    for word in words:
        match word:
            case "-X":
                call.method = next(words)
            case "-H":
                name, _colon, value = next(words).partition(": ")
                call.headers[name] = value
            case "-d":
                call.body, call.method = next(words), call.method if call.method != "GET" else "POST"
            case "-o":
                next(words)
            case _:
                call.address = word
    return call


@pytest.mark.parametrize("call", list(calls()), ids=str)
def test_a_command_of_the_guide_is_one_that_is_served(call: Call) -> None:
    address = urlsplit(call.address)
    view = resolve(address.path).func.cls  # type: ignore[attr-defined]
    operation = operation_of(view, call.method)
    assert view.__name__ != NoSuchAddress.__name__ and operation is not None
    asked = operation.query(data=dict(parse_qsl(address.query)))
    assert asked.is_valid(), asked.errors
    assert (call.body is None) == (operation.body is None)
    if getattr(view, "idempotency_key", "") == "required" and call.method in ("POST", "PUT"):
        assert call.headers["Idempotency-Key"]
    if operation.body is not None and call.body is not None:
        sent = operation.body(data=json.loads(call.body))
        assert sent.is_valid() is (call.headers.get("Idempotency-Key") != WRONG_ON_PURPOSE), sent.errors


def test_the_guide_names_what_it_uses_before_and_uses_a_key_once() -> None:
    known = {"HOME"}
    for command in commands():
        exported = set(re.findall(r"([A-Z_]+)=", command)) if command.startswith("export") else set()
        later = re.findall(r"^alias .*", command)  # read when the alias is used
        assert set(re.findall(r"\$([A-Z_]+)", command)) <= known | exported or later, command
        assert not exported & {"API", "KEY", "FINANCE_KEY"} & known, command
        known |= exported
    keys = [call.headers["Idempotency-Key"] for call in calls() if "Idempotency-Key" in call.headers]
    assert len(keys) == len(set(keys)) > 10
