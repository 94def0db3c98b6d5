"""Webhooks are signed, come again until they are taken, and can be lost, doubled and late."""

import hashlib
import hmac

import pytest

from tests.contract.sandbox.conftest import Buyer, deliveries_of, told_about
from tests.fixtures_services import SandboxCompany


def test_a_charge_is_told_with_a_signature_over_time_and_body(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged()
    [event] = told_about(sandbox, charge["id"])
    assert event["type"] == "charge.succeeded"
    assert event["account"] == sandbox.account
    assert event["api_version"] == "2026-10-01"
    assert event["data"]["object"] == charge
    for headers, body in list(sandbox.letterbox.deliveries):
        names = {name.lower(): value for name, value in headers.items()}
        signed = dict(part.split("=", 1) for part in names["sandbox-signature"].split(","))
        message = f"{signed['t']}.".encode() + body
        expected = hmac.new(sandbox.webhook_secret.encode(), message, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signed["v1"], expected)


def test_a_webhook_never_carries_a_payment_token(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session()
    buyer.enter(session, "4242424242424242")
    [event] = told_about(sandbox, session["id"])
    assert event["type"] == "session.completed"
    assert event["data"]["object"]["payment_token"] is None


def test_a_doubled_webhook_is_the_same_event_twice(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged("4000000000009060")
    first, second = told_about(sandbox, charge["id"], times=2)
    assert first["id"] == second["id"]


@pytest.mark.parametrize("how", ["by card", "by switch"])
def test_a_lost_webhook_is_never_due(buyer: Buyer, sandbox: SandboxCompany, how: str) -> None:
    if how == "by switch":
        sandbox.fault(operation="webhook", kind="webhook_lost")
    charge = buyer.charged("4242424242424242" if how == "by switch" else "4000000000009052")
    [delivery] = deliveries_of(sandbox, charge["id"])
    assert (delivery["next_attempt_at"], delivery["delivered_at"], delivery["attempts"]) == (None, None, 0)


def test_a_late_webhook_waits(buyer: Buyer, sandbox: SandboxCompany) -> None:
    token = buyer.token()
    sandbox.fault(operation="webhook", kind="webhook_late", delay_s=3600)
    [delivery] = deliveries_of(sandbox, buyer.charge(token).json()["id"])
    assert delivery["attempts"] == 0
    assert delivery["next_attempt_at"] > delivery["created_at"]


def test_a_webhook_that_is_refused_comes_again(buyer: Buyer, sandbox: SandboxCompany) -> None:
    sandbox.letterbox.forward_to = f"{sandbox.url}/v1/nowhere"  # answers 404
    charge = buyer.charged()
    told_about(sandbox, charge["id"], times=2)
    sandbox.letterbox.forward_to = None
    told_about(sandbox, charge["id"], times=3)
    tries = [row for row in sandbox.journal(reference=charge["id"]) if row["type"].startswith("webhook.")]
    assert "webhook.refused" in {row["type"] for row in tries}


def test_a_pending_charge_ripens_and_is_told(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged("4000000000009110")
    assert charge["status"] == "pending"
    types = [event["type"] for event in told_about(sandbox, charge["id"], times=2)]
    assert sorted(types) == ["charge.pending", "charge.succeeded"]
    assert sandbox.client.get(f"/v1/charges/{charge['id']}").json()["status"] == "succeeded"


def test_a_refund_that_fails_later_may_be_refunded_again(buyer: Buyer, sandbox: SandboxCompany) -> None:
    charge = buyer.charged("4000000000005126", amount=10_00)
    refund = buyer.refund(charge, amount=10_00).json()
    assert refund["status"] == "succeeded"
    types = [event["type"] for event in told_about(sandbox, refund["id"], times=2)]
    assert sorted(types) == ["refund.failed", "refund.succeeded"]
    assert buyer.refund(charge, amount=10_00).status_code == 201
