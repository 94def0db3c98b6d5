"""The sandbox's front page: what a person sees there and may do, and that nobody else's page may do it."""

import pytest

from tests.contract.sandbox.conftest import Buyer, Clock
from tests.fixtures_services import SandboxCompany


@pytest.mark.parametrize(
    ("address", "form"),
    [("/faults", {"kind": "refuse_500"}), ("/clock", {"step": "day"}), ("/disputes", {"charge": "ch_1"})],
)
def test_a_foreign_page_can_do_nothing(clock: Clock, sandbox: SandboxCompany, address: str, form: dict[str, str]) -> None:
    answer = sandbox.client.post(address, data=form, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
    assert sandbox.client.get("/v1/faults").json() == {"data": []}
    assert sandbox.client.get("/v1/clock").json()["offset_s"] == 0


def test_a_person_switches_a_fault_on_and_off(sandbox: SandboxCompany) -> None:
    sandbox.client.post("/faults", data={"kind": "reset_before", "operation": "refund", "times": "10"})
    [switch] = sandbox.client.get("/v1/faults").json()["data"]
    assert (switch["kind"], switch["operation"], switch["times"]) == ("reset_before", "refund", 10)
    assert "reset_before</strong> on refund" in sandbox.client.get("/").text
    sandbox.client.post("/faults", data={"off": str(switch["id"])})
    assert sandbox.client.get("/v1/faults").json() == {"data": []}


def test_a_person_moves_the_clock_and_puts_it_back(clock: Clock, sandbox: SandboxCompany) -> None:
    for step in ("hour", "day", "three_days"):
        sandbox.client.post("/clock", data={"step": step})
    assert sandbox.client.get("/v1/clock").json()["offset_s"] == (1 + 24 + 72) * 3600
    assert "4 days, 1:00:00 ahead of real time" in sandbox.client.get("/").text
    sandbox.client.post("/clock", data={"step": ""})
    assert sandbox.client.get("/v1/clock").json()["offset_s"] == 0


def test_a_person_opens_and_closes_a_dispute(buyer: Buyer, sandbox: SandboxCompany) -> None:
    by_id, by_reference = buyer.charged(), buyer.charged()
    for named in (by_id["id"], by_reference["reference"]):
        assert sandbox.client.post("/disputes", data={"charge": named}).status_code == 303
    listed = sandbox.client.get("/").text
    assert by_id["reference"] in listed
    opened = [row["object_id"] for row in sandbox.journal(reference=by_id["reference"], type="dispute.opened")]
    sandbox.client.post("/disputes", data={"dispute": opened[0], "outcome": "lost"})
    assert sandbox.client.get(f"/v1/disputes/{opened[0]}").json()["status"] == "lost"


def test_what_cannot_be_disputed_is_said_on_a_page(sandbox: SandboxCompany) -> None:
    answer = sandbox.client.post("/disputes", data={"charge": "nobody"})
    assert answer.status_code == 404
    assert "No charge with this reference succeeded." in answer.text


def test_a_person_ends_an_outage(outage: object, sandbox: SandboxCompany) -> None:
    sandbox.client.put("/v1/outage", json={"kind": "error_500"})
    assert "Outage" in sandbox.client.get("/").text
    sandbox.client.post("/faults", data={"end_outage": "1"})
    assert sandbox.client.get("/v1/outage").json()["kind"] is None
