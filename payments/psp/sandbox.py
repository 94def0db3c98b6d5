"""The adapter of the sandbox PSP: HTTP, timeouts, and the mapping of its answers.  The sandbox is a foreign company; only this file speaks to it.

Amounts go as minor units by ISO 4217 (the sandbox has no deviations).  What could have been executed is never called failed: a 5xx, a
silence or a garbled answer is PspOutcomeUnknown.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
from django.db import connection
from djmoney.money import Money

from ledger.money import UnknownCurrency, from_minor, to_minor
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Declined,
    Notice,
    Pending,
    PspOutcomeUnknown,
    PspRejectedRequest,
    PspUnavailable,
    RefundRequest,
    Result,
    Session,
    SessionRequest,
    WebhookRefused,
)

EXECUTED_NOTHING = frozenset({400, 401, 403, 404})  # the PSP read the request and refused it; any other answer may hide a charge
LONGEST_ID, LONGEST_TEXT = 255, 500
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, UnknownCurrency)
TOO_MANY_REQUESTS, DECLINED = 429, 402
TOLERANCE_S = 300
SHORTEST_SECRET = 16


class SandboxPsp:
    """The sandbox, behind its address, our account with it and the secrets that we share."""

    name = "sandbox"

    def __init__(self, *, url: str, api_key: str, account: str, webhook_secrets: list[str], read_timeout_s: float = 10) -> None:
        self.origin = url
        self._account = account
        self._webhook_secrets = [secret for secret in webhook_secrets if len(secret) >= SHORTEST_SECRET]
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(read_timeout_s, connect=1, write=5, pool=5),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=30),
            trust_env=False,
        )

    def open_session(self, request: SessionRequest) -> Session:
        body = {
            "nonce": request.nonce,
            **wire(request.amount),
            "parent_origin": request.parent_origin,
            "return_url": request.return_url,
            "locale": request.locale,
            "description": request.description,
        }
        return session_of(self._call("POST", "/v1/sessions", json=body))

    def session(self, session_id: str) -> Session:
        return session_of(self._call("GET", f"/v1/sessions/{session_id}"))

    def charge(self, request: ChargeRequest) -> Result:
        body = {"token": request.payment_token, **wire(request.amount), "reference": request.reference}
        return result_of(self._call("POST", "/v1/charges", key=request.key, json=body), request)

    def find_charge(self, request: ChargeRequest) -> Result | None:
        return self._find("/v1/charges", request)

    def refund(self, request: RefundRequest) -> Result:
        body = {"charge": request.charge, **wire(request.amount), "reference": request.reference}
        return result_of(self._call("POST", "/v1/refunds", key=request.key, json=body), request)

    def find_refund(self, request: RefundRequest) -> Result | None:
        return self._find("/v1/refunds", request)

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        self._require_signature(body, headers.get("Sandbox-Signature", ""), now=now)
        try:
            event = json.loads(body)
            event_id, kind, account, obj = event["id"], event["type"], event["account"], event["data"]["object"]
            key = obj.get("key", "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WebhookRefused("the body is not an event") from error
        if not all(isinstance(word, str) for word in (event_id, kind, key)):
            raise WebhookRefused("the body is not an event")
        if account != self._account:
            raise WebhookRefused("the event is about another account")
        return Notice(event_id, kind, key, outcome_of(obj) if kind.startswith("charge.") else None)

    def _find(self, path: str, request: ChargeRequest | RefundRequest) -> Result | None:
        found = self._call("GET", path, params={"key": request.key})
        try:
            [*objects] = found["data"]
        except (KeyError, TypeError) as error:
            raise PspOutcomeUnknown("the PSP's answer is not a list") from error
        if len(objects) > 1:
            raise PspOutcomeUnknown("the PSP answered with more than one object for one key")
        return result_of(objects[0], request) if objects else None

    def _require_signature(self, body: bytes, header: str, *, now: datetime) -> None:
        parts = dict(part.partition("=")[::2] for part in header.split(","))
        moment, given = parts.get("t", ""), parts.get("v1", "")
        if not moment.isascii() or not moment.isdigit() or abs(now.timestamp() - int(moment[:12])) > TOLERANCE_S:
            raise WebhookRefused("the signature has no time, or one more than five minutes away")
        signed = moment.encode() + b"." + body
        expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in self._webhook_secrets]
        if not sum(hmac.compare_digest(one.encode(), given.encode()) for one in expected):  # a sum: each secret is compared
            raise WebhookRefused("the signature does not match")

    def _call(self, method: str, path: str, *, key: str = "", **options: Any) -> Any:
        """Send one request; return the JSON that says what happened.  Raises the PspErrors."""
        if connection.in_atomic_block:
            raise RuntimeError("a PSP is never called inside a database transaction")
        try:
            response = self._client.request(method, path, headers={"Idempotency-Key": key} if key else {}, **options)
        except NOTHING_SENT as error:
            raise PspUnavailable(f"the PSP cannot be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise PspOutcomeUnknown(f"no answer from the PSP: {type(error).__name__}") from error
        if response.status_code == TOO_MANY_REQUESTS:
            raise PspUnavailable("the PSP asks us to slow down")
        if response.is_success or response.status_code == DECLINED:
            return json_of(response)
        if response.status_code in EXECUTED_NOTHING:
            raise PspRejectedRequest(f"the PSP refused the request with {response.status_code}: {reason_of(response)}")
        raise PspOutcomeUnknown(f"the PSP answered {response.status_code}")


def wire(amount: Money) -> dict[str, Any]:
    return {"amount": to_minor(amount), "currency": amount.currency.code}


def json_of(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise PspOutcomeUnknown("the PSP's answer is not JSON") from error


def reason_of(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return plain(f"{error['code']}: {error['message']}")[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def session_of(data: Any) -> Session:
    try:
        card = data.get("card") or {}
        return Session(
            id=data["id"],
            nonce=data["nonce"],
            status=data["status"],
            amount=from_minor(data["amount"], data["currency"]),
            fields_url=data["fields_url"],
            hosted_url=data["hosted_url"],
            payment_token=data["payment_token"] or "",
            card_brand=plain(card.get("brand") or "")[:20],
            card_last4=plain(card.get("last4") or "")[:4],
        )
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a session") from error


def result_of(data: Any, request: ChargeRequest | RefundRequest) -> Result:
    """Read a charge or refund, and refuse to believe one that is not ours: another key, amount, currency or reference is PspOutcomeUnknown."""
    result = outcome_of(data)
    expected = {"key": request.key, "reference": request.reference, **wire(request.amount)}
    if result is None or any(data.get(name) != value for name, value in expected.items()):
        raise PspOutcomeUnknown("the PSP's answer is about another amount, key or payment")
    return result


def outcome_of(data: Any) -> Result | None:
    """Read what became of a charge or refund; None for a status that we do not know.

    Raises PspOutcomeUnknown for what cannot be kept as it is: an id that is none, an amount that is no count, a moment that cannot be.
    """
    try:
        match data["status"]:
            case "succeeded":
                return Charged(id_of(data), from_minor(count_of(data["amount"]), data["currency"]), moment_of(data["created_at"]))
            case "pending":
                return Pending(id_of(data))
            case "failed":
                failure = data.get("failure") or {}
                code, message = plain(failure.get("code") or "declined"), plain(failure.get("message") or "")
                return Declined(id_of(data), code[:LONGEST_ID], message[:LONGEST_TEXT])
            case _:
                return None
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a charge") from error


def id_of(data: Any) -> str:
    given = data["id"]
    if not (isinstance(given, str) and 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable()):
        raise ValueError("not an id")
    return given


def count_of(given: Any) -> int:
    if type(given) is not int or not 0 < given < 10**16:
        raise ValueError("not a count of minor units")
    return given


def moment_of(given: Any) -> datetime:
    moment = datetime.fromisoformat(given)
    if moment.tzinfo is None or not 2000 <= moment.year < 2100:
        raise ValueError("not a moment")
    return moment


def plain(given: Any) -> str:
    """Return the text without what cannot be stored or shown: control characters, NUL, lone surrogates."""
    return "".join(character for character in str(given) if character.isprintable())
