"""What a fault does to a call: refuse it before anything is executed, or spoil the answer to what was executed."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import uuid_utils
from django.http import HttpResponse

from payments.sandbox import idempotency, transport, wire
from payments.sandbox.errors import NoAnswer, Refusal
from payments.sandbox.fault_kinds import Kind
from payments.sandbox.faults import Fault
from payments.sandbox.transport import Manner

Body = dict[str, Any]
WEB_PAGE = b"<!doctype html><title>Maintenance</title><h1>We will be right back</h1>"


def before(fault: Fault | None, *, key: str = "") -> None:
    """Raise Refusal or NoAnswer when the fault says that nothing is executed; forget the key when it says so."""
    if fault is None:
        return
    if fault.kind == "reset_before":
        raise NoAnswer
    if fault.kind == "refuse_500":
        raise Refusal(500, "internal_error", "Something went wrong on our side. Nothing was executed.")
    if fault.kind == "throttle":
        raise Refusal(429, "too_many_requests", "Too many requests. Slow down.", retry_after_s=fault.retry_after_s)
    if fault.kind == "in_flight":
        raise Refusal(409, "key_in_flight", "A call with this idempotency key is still running. Ask again.")
    if fault.kind == "prune_keys":
        idempotency.forget(key)


def after(response: HttpResponse, fault: Fault | None, *, key: str = "") -> HttpResponse:
    """Return the answer as the fault leaves it; what was executed stays executed."""
    if fault is None:
        return response
    if fault.kind == "prune_keys":
        idempotency.forget(key)
    elif fault.kind in MANNERS:
        return transport.mark(response, Manner(MANNERS[fault.kind], fault.delay_s))
    elif fault.kind in SPOILERS:
        return SPOILERS[fault.kind](response)
    return response


def _broken(response: HttpResponse) -> HttpResponse:
    return wire.answer(Refusal(500, "internal_error", "Something went wrong on our side.").as_wire(), status=500)


def _malformed(response: HttpResponse) -> HttpResponse:
    return wire.raw_answer(response.content[:-1] + b',"', status=response.status_code)


def _web_page(response: HttpResponse) -> HttpResponse:
    return HttpResponse(WEB_PAGE, content_type="text/html", headers={"Content-Length": str(len(WEB_PAGE))})


def _lying(lie: Callable[[Body], Body]) -> Callable[[HttpResponse], HttpResponse]:
    """Return what tells the lie about every object in a good answer; errors are left alone."""

    def spoil(response: HttpResponse) -> HttpResponse:
        body = orjson.loads(response.content)
        if "error" in body:
            return response
        if isinstance(body.get("data"), list):
            body["data"] = [lie(told) for told in body["data"]]
        elif isinstance(body.get("charge"), dict):
            body["charge"] = lie(body["charge"])
        else:
            body = lie(body)
        return wire.answer(body, status=response.status_code)

    return spoil


def _other_amount(told: Body) -> Body:
    return told | {"amount": told["amount"] + 1} if "amount" in told else told


def _other_currency(told: Body) -> Body:
    return told | {"currency": "CHF" if told["currency"] == "USD" else "USD"} if "currency" in told else told


def _other_payment(told: Body) -> Body:
    """Tell of somebody else's: the id, the key and the reference that a stranger could have."""
    stranger = uuid_utils.uuid7().hex
    prefix = str(told.get("id", "")).partition("_")[0]
    others = {"id": f"{prefix}_{stranger}", "key": stranger, "nonce": stranger, "reference": f"ord_{stranger}"}
    return told | {name: value for name, value in others.items() if name in told}


MANNERS: Mapping[Kind, transport.MannerKind] = {
    "slow": "late",
    "execute_then_silence": "silent",
    "execute_then_reset": "reset",
    "cut_body": "cut",
    "duplicate_response": "doubled",
    "drip": "dripping",
}
SPOILERS: Mapping[Kind, Callable[[HttpResponse], HttpResponse]] = {
    "execute_then_500": _broken,
    "malformed_json": _malformed,
    "html_200": _web_page,
    "other_amount": _lying(_other_amount),
    "other_currency": _lying(_other_currency),
    "other_payment": _lying(_other_payment),
}
