"""The PSP's webhooks in tests: the very deliveries of the sandbox, or forgeries; posted as the PSP posts them, and applied as the worker does."""

import hashlib
import hmac
import json
import time
from typing import Any

from django.test import Client
from django.utils import timezone

from payments import inbox
from payments.models import PaymentEvent, PaymentOrder, PspEvent
from tests.fixtures_money import Oracle
from tests.fixtures_services import Delivery, SandboxCompany

ADDRESS = "/webhooks/psp/sandbox"


def post(delivery: Delivery, *, to: str = ADDRESS) -> int:
    headers, body = delivery
    answer = Client().post(to, body, content_type="application/json", headers={"Sandbox-Signature": headers.get("Sandbox-Signature", "")})
    return answer.status_code


def apply() -> list[tuple[str, str, str]]:
    """Apply what the inbox holds; return all events as (type, status, reason)."""
    while inbox.apply_received(now=timezone.now()):
        pass
    return list(PspEvent.objects.order_by("id").values_list("type", "status", "reason"))


def deliveries(sandbox: SandboxCompany, oracle: Oracle, *types: str, count: int) -> list[Delivery]:
    """Wait for so many webhooks of this test's charges; return them by order and type."""
    happened = oracle.wait_for(*types, count=count)
    known = {row["object_id"] for row in happened}
    until = time.monotonic() + 15
    found: dict[tuple[str, str], Delivery] = {}
    while len(found) < count:
        assert time.monotonic() < until, f"{count} webhooks were awaited, {len(found)} came"
        sandbox.letterbox.wait(0.02)
        oracle.rows()
        for headers, body in list(sandbox.letterbox.deliveries):
            event = json.loads(body)
            if event["data"]["object"]["id"] in known and event["type"] in types:
                found[event["data"]["object"]["reference"], event["id"]] = (headers, body)
    return [found[place] for place in sorted(found)]


def webhooks_about(sandbox: SandboxCompany, order: PaymentOrder, *, count: int) -> list[Delivery]:
    """Wait for so many events about the order's charge, its disputes included; return them as they happened."""
    until = time.monotonic() + 15
    found: dict[str, tuple[str, Delivery]] = {}
    while len(found) < count:
        assert time.monotonic() < until, f"{count} webhooks were awaited, {len(found)} came"
        sandbox.letterbox.wait(0.02)
        for headers, body in list(sandbox.letterbox.deliveries):
            event = json.loads(body)
            if event["data"]["object"].get("reference") == order.public_id:
                found[event["id"]] = (event["created_at"], (headers, body))
    return [delivery for _at, delivery in sorted(found.values(), key=lambda one: one[0])]


def signed(sandbox: SandboxCompany, event: dict[str, Any], *, secret: str | None = None, at: float | None = None) -> Delivery:
    """Sign an event as the PSP would; another secret or time makes it a forgery."""
    body = json.dumps(event).encode()
    moment = int(time.time() if at is None else at)
    digest = hmac.new((secret or sandbox.webhook_secret).encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return {"Sandbox-Signature": f"t={moment},v1={digest}"}, body


def event_about(event: PaymentEvent, **terms: Any) -> dict[str, Any]:
    """Say that the event's one order was charged, unless the terms say otherwise."""
    order = event.orders.get()
    units, _places = divmod(int(order.amount.amount * 100), 1)
    charge: dict[str, Any] = {
        "id": "ch_forged",
        "key": order.public_id,
        "reference": order.public_id,
        "status": "succeeded",
        "amount": units,
        "currency": "EUR",
        "created_at": "2026-11-02T12:00:00Z",
    }
    said = {
        "id": "evt_forged",
        "type": "charge.succeeded",
        "account": "acct_onebook",
        "data": {"object": charge | terms.pop("charge", {})},
    }
    return said | terms
