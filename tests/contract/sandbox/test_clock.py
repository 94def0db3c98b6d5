"""The test clock: everything that has a time in the sandbox goes by it, and a restart keeps it."""

import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from config import devservices
from config.supervisor import Child, http, stop_together, wait_until_ready
from tests.contract.sandbox.conftest import Buyer, Clock, eventually
from tests.fixtures_services import ROOT, SandboxCompany, admin_url

A_MOMENT = timedelta(seconds=60)


def test_the_clock_is_real_time_until_somebody_moves_it(clock: Clock) -> None:
    assert abs(clock.now() - datetime.now(UTC)) < A_MOMENT
    assert clock.advance(days=3)["offset_s"] == 3 * 86400
    assert clock.advance(days=-1)["offset_s"] == 2 * 86400
    assert abs(clock.now() - datetime.now(UTC) - timedelta(days=2)) < A_MOMENT
    clock.reset()
    assert abs(clock.now() - datetime.now(UTC)) < A_MOMENT


def test_the_clock_can_be_put_before_real_time(clock: Clock, sandbox: SandboxCompany) -> None:
    shown = sandbox.client.put("/v1/clock", json={"offset_s": -600}).json()
    assert shown["offset_s"] == -600
    assert clock.now() < datetime.now(UTC) - timedelta(seconds=500)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "offset_s"),
        ({"offset_s": 1, "advance_s": 1}, "offset_s"),
        ({"offset_s": 10**9}, "offset_s"),
        ({"advance_s": "1"}, "advance_s"),
        ({"advance_s": 1e18}, "advance_s"),
        ({"days": 1}, "days"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(clock: Clock, sandbox: SandboxCompany, wrong: dict[str, object], field: str) -> None:
    answer = sandbox.client.put("/v1/clock", json=wrong)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert sandbox.client.get("/v1/clock").json()["offset_s"] == 0


def test_charges_journal_and_webhook_signatures_go_by_the_clock(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    clock.advance(days=30)
    begun = clock.now()
    charge = buyer.charged()
    [row] = sandbox.journal(object_id=charge["id"])
    assert datetime.fromisoformat(charge["created_at"]) >= begun
    assert datetime.fromisoformat(row["at"]) >= begun

    def signed_at() -> list[int]:
        headers = [{name.lower(): value for name, value in head.items()} for head, body in sandbox.letterbox.deliveries]
        return [int(head["sandbox-signature"].split(",")[0].removeprefix("t=")) for head in headers]

    assert min(eventually(signed_at, "a webhook")) >= int(begun.timestamp())


def test_a_session_expires_by_the_clock(buyer: Buyer, clock: Clock) -> None:
    session = buyer.session()
    clock.advance(hours=25)
    assert buyer.show(session)["status"] == "expired"
    clock.reset()
    assert buyer.show(session)["status"] == "open"


def test_a_late_webhook_comes_when_the_clock_says_so(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    sandbox.fault(operation="webhook", kind="webhook_late", delay_s=3 * 86400)
    charge = buyer.charge(token).json()
    assert not _arrived(sandbox, charge["id"])
    clock.advance(days=3, seconds=1)
    eventually(lambda: _arrived(sandbox, charge["id"]), "the late webhook")


def _arrived(sandbox: SandboxCompany, object_id: str) -> bool:
    return any(object_id.encode() in body for _, body in list(sandbox.letterbox.deliveries))


def test_a_restart_keeps_the_clock(clock: Clock, sandbox: SandboxCompany, worker_name: str, tmp_path: Path) -> None:
    clock.advance(days=7)
    port = devservices.free_port()
    environment = os.environ | {
        "SANDBOX_DATABASE_URL": admin_url(f"onebook_sandbox_{worker_name}"),
        "SANDBOX_SECRET_KEY": secrets.token_hex(16),
        "SANDBOX_API_KEY": sandbox.api_key,
        "SANDBOX_WEBHOOK_SECRET": sandbox.webhook_secret,
        "SANDBOX_WEBHOOK_URL": "",
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "-m", "payments.sandbox", "serve", "--port", str(port)]
    child = Child("another sandbox", command=command, log=tmp_path / "sandbox.log", env=environment, cwd=ROOT)
    child.when(http(f"http://127.0.0.1:{port}/healthz")).start()
    try:
        wait_until_ready([child])
        shown = httpx.get(f"http://127.0.0.1:{port}/v1/clock", headers=sandbox.client.headers).json()
    finally:
        stop_together([child])
    assert shown["offset_s"] == 7 * 86400
