"""F-23 and F-24: webhooks that are false, old, foreign, too many, out of order; and the true event arrives all the same."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.sandbox.conftest import Buyer, Clock, deliveries_of, eventually, told_about
from tests.fixtures_services import SandboxCompany


@dataclass(frozen=True)
class Letter:
    """One webhook as it lay in the letterbox."""

    event: dict[str, Any]
    signed_at: int
    is_genuine: bool
    size: int


def letters_about(sandbox: SandboxCompany, object_id: str, *, count: int) -> list[Letter]:
    """Wait for so many webhooks about an object, and open them."""
    told_about(sandbox, object_id, times=count)
    letters = [_opened(sandbox, *delivery) for delivery in list(sandbox.letterbox.deliveries)]
    return [letter for letter in letters if letter.event["data"]["object"]["id"] == object_id]


def _opened(sandbox: SandboxCompany, headers: dict[str, str], body: bytes) -> Letter:
    header = {name.lower(): value for name, value in headers.items()}["sandbox-signature"]
    signed = dict(part.split("=", 1) for part in header.split(","))
    message = f"{signed['t']}.".encode() + body
    expected = hmac.new(sandbox.webhook_secret.encode(), message, hashlib.sha256).hexdigest()
    return Letter(json.loads(body), int(signed["t"]), hmac.compare_digest(expected, signed["v1"]), len(body))


def charged_with(buyer: Buyer, sandbox: SandboxCompany, kind: str, **terms: Any) -> dict[str, Any]:
    """Charge while the fault is switched on for the one event about the charge."""
    token = buyer.token()
    sandbox.fault(operation="webhook", kind=kind, times=1, **terms)
    return dict(buyer.charge(token).json())


@pytest.mark.parametrize("kind", ["webhook_forged", "webhook_wrong_key"])
def test_f_23_a_false_signature_comes_once_and_the_true_one_as_well(buyer: Buyer, sandbox: SandboxCompany, kind: str) -> None:
    charge = charged_with(buyer, sandbox, kind)
    letters = letters_about(sandbox, charge["id"], count=2)
    assert sorted(letter.is_genuine for letter in letters) == [False, True]
    assert len({letter.event["id"] for letter in letters}) == 1


def test_f_23_an_old_timestamp_comes_once_and_the_true_one_as_well(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    charge = charged_with(buyer, sandbox, "webhook_old_timestamp")
    ages = sorted(round(clock.now().timestamp()) - letter.signed_at for letter in letters_about(sandbox, charge["id"], count=2))
    assert ages[0] < 60
    assert 600 <= ages[1] < 660
    assert all(letter.is_genuine for letter in letters_about(sandbox, charge["id"], count=2))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("webhook_wrong_account", "account", "acct_somebody_else"),
        ("webhook_unknown_type", "type", "charge.teleported"),
        ("webhook_unknown_version", "api_version", "2099-01-01"),
    ],
)
def test_f_23_a_strange_event_comes_beside_the_true_one(buyer: Buyer, sandbox: SandboxCompany, kind: str, field: str, value: str) -> None:
    charge = charged_with(buyer, sandbox, kind)
    letters = letters_about(sandbox, charge["id"], count=2)
    [strange], [true] = ([letter for letter in letters if (letter.event[field] == value) is is_strange] for is_strange in (True, False))
    assert strange.is_genuine
    assert strange.event["id"] != true.event["id"]
    assert (true.event["type"], true.event["account"], true.event["api_version"]) == ("charge.succeeded", sandbox.account, "2026-10-01")


def test_f_23_a_huge_event_comes_beside_the_true_one(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = charged_with(buyer, sandbox, "webhook_huge")
    small, huge = sorted(letter.size for letter in letters_about(sandbox, charge["id"], count=2))
    assert small < 10_000
    assert huge > 5_000_000


@pytest.mark.parametrize(
    "kind", ["webhook_forged", "webhook_old_timestamp", "webhook_wrong_account", "webhook_unknown_version", "webhook_huge"]
)
def test_f_23_a_false_event_is_tried_once_and_the_true_one_until_it_is_taken(buyer: Buyer, sandbox: SandboxCompany, kind: str) -> None:
    sandbox.letterbox.forward_to = f"{sandbox.url}/v1/nowhere"  # answers 404
    charge = charged_with(buyer, sandbox, kind)
    false, true = deliveries_of(sandbox, charge["id"])
    assert (false["fault"], true["fault"]) == (kind, None)

    def tries() -> tuple[int, int]:
        false, true = deliveries_of(sandbox, charge["id"])
        return false["attempts"], true["attempts"]

    eventually(lambda: tries()[1] >= 2, "a second try of the true event")
    sandbox.letterbox.forward_to = None
    eventually(lambda: deliveries_of(sandbox, charge["id"])[1]["delivered_at"], "the true event arrives")
    false = deliveries_of(sandbox, charge["id"])[0]
    assert (false["attempts"], false["next_attempt_at"], false["delivered_at"]) == (1, None, None)


def test_f_23_an_event_may_come_ten_times(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = charged_with(buyer, sandbox, "webhook_ten_times")
    letters = letters_about(sandbox, charge["id"], count=10)
    assert len(letters) == 10
    assert len({letter.event["id"] for letter in letters}) == 1


def test_f_23_an_event_may_come_after_the_next_one(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    token = buyer.token("4000000000009110")
    sandbox.fault(operation="webhook", kind="webhook_reordered", times=1)
    charge = buyer.charge(token).json()
    letters = letters_about(sandbox, charge["id"], count=2)
    assert [letter.event["type"] for letter in letters] == ["charge.succeeded", "charge.pending"]


def test_f_23_an_event_that_no_other_follows_comes_after_five_seconds(buyer: Buyer, clock: Clock, sandbox: SandboxCompany) -> None:
    charge = charged_with(buyer, sandbox, "webhook_reordered")
    [held] = deliveries_of(sandbox, charge["id"])
    assert (held["attempts"], held["fault"]) == (0, "webhook_reordered")
    clock.advance(seconds=5)
    [letter] = letters_about(sandbox, charge["id"], count=1)
    assert letter.event["type"] == "charge.succeeded"


@pytest.mark.parametrize("skew_s", [-600, 600])
def test_f_24_the_clock_of_a_signature_may_be_wrong_until_the_next_try(
    buyer: Buyer, clock: Clock, sandbox: SandboxCompany, skew_s: int
) -> None:
    sandbox.letterbox.forward_to = f"{sandbox.url}/v1/nowhere"  # answers 404, so there is a next try
    charge = charged_with(buyer, sandbox, "clock_skew", delay_s=skew_s)
    first, second, *_ = letters_about(sandbox, charge["id"], count=2)
    assert abs(first.signed_at - skew_s - clock.now().timestamp()) < 60
    assert abs(second.signed_at - clock.now().timestamp()) < 60
    assert first.is_genuine
    assert second.is_genuine


def test_f_24_only_a_clock_goes_backwards(sandbox: SandboxCompany) -> None:
    for wrong in ({"kind": "webhook_late", "delay_s": -1}, {"kind": "clock_skew", "delay_s": -8 * 86400}):
        answer = sandbox.client.put("/v1/faults", json={"operation": "webhook", **wrong})
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "delay_s")
