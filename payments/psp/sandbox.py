"""The adapter of the sandbox PSP: HTTP, timeouts, and the mapping of its answers.  The sandbox is a foreign company; only this file speaks to it.

Amounts go as minor units by ISO 4217 (the sandbox has no deviations).  What could have been executed is never called failed: a 5xx, a
silence or a garbled answer is PspOutcomeUnknown.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from djmoney.money import Money

from ledger import line
from ledger.answers import LONGEST_ID, UNREADABLE, Signature, count_of, id_of, moment_of, only_one_of, reason_of
from ledger.line import Line, plain
from ledger.money import from_minor, to_minor
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Declined,
    DisputeNotice,
    Notice,
    Pending,
    PspOutcomeUnknown,
    RefundRequest,
    Result,
    Session,
    SessionRequest,
    Voided,
    WebhookRefused,
)

logger = logging.getLogger(__name__)

LONGEST_PAGE = 1000
METHOD, FUNDING, COUNTRY = re.compile("[a-z0-9_]{1,20}"), re.compile("credit|debit|prepaid"), re.compile("[A-Z]{2}")


class SandboxPsp:
    """The sandbox, behind its address, our account with it and the secrets that we share."""

    name = "sandbox"

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        account: str,
        webhook_secrets: list[str],
        read_timeout_s: float = 10,
        answer_s: float = line.ANSWER_S,
    ) -> None:
        self.origin = url
        self._account = account
        self._signature = Signature(webhook_secrets)
        self._line = Line(url, headers={"Authorization": f"Bearer {api_key}"}, read_timeout_s=read_timeout_s, answer_s=answer_s)

    def close(self) -> None:
        """Let the connections go."""
        self._line.close()

    def open_session(self, request: SessionRequest) -> Session:
        body = {
            "nonce": request.nonce,
            **wire(request.amount),
            "parent_origin": request.parent_origin,
            "return_url": request.return_url,
            "locale": request.locale,
            "description": request.description,
        }
        return session_of(self._line.send("/v1/sessions", body), expected={"nonce": request.nonce})

    def session(self, session_id: str) -> Session:
        return session_of(self._line.ask(f"/v1/sessions/{session_id}"), expected={"id": session_id})

    def charge(self, request: ChargeRequest) -> Result:
        body = {"token": request.payment_token, **wire(request.amount), "reference": request.reference}
        return result_of(self._line.send("/v1/charges", body, key=request.key), request)

    def find_charge(self, request: ChargeRequest) -> Result | None:
        return self._find("/v1/charges", request)

    def void(self, request: ChargeRequest) -> Voided | Charged | Declined:
        answer = self._line.send("/v1/charges/void", {"key": request.key}, key=f"void:{request.key}")
        try:
            key, status, charge = answer["key"], answer["status"], answer["charge"]
        except UNREADABLE as error:
            raise PspOutcomeUnknown("the PSP's answer is not a void") from error
        if key != request.key:
            raise PspOutcomeUnknown("the PSP's answer is about another key", answered=True)
        if status == "voided":
            return Voided()
        result = result_of(charge, request)
        if status != "not_voidable" or isinstance(result, Pending):
            raise PspOutcomeUnknown(f"the PSP says that the void is {plain(status)[:40]}", answered=True)
        return result

    def refund(self, request: RefundRequest) -> Result:
        body = {"charge": request.charge, **wire(request.amount), "reference": request.reference}
        return result_of(self._line.send("/v1/refunds", body, key=request.key), request)

    def find_refund(self, request: RefundRequest) -> Result | None:
        return self._find("/v1/refunds", request)

    def disputes_since(self, moment: datetime) -> list[DisputeNotice]:
        notices: dict[tuple[str, str], DisputeNotice] = {}
        is_more = True
        while is_more:
            page = self._line.ask("/v1/disputes", {"updated_since": moment.isoformat(), "limit": str(LONGEST_PAGE)})
            try:
                read, is_more = readable(page["data"]), page["has_more"] is True
            except (KeyError, TypeError) as error:
                raise PspOutcomeUnknown("the PSP's answer is not a list") from error
            known = len(notices)
            notices |= {(one.psp_reference, one.status): one for one in read}
            moment = max((one.updated_at for one in read), default=moment)
            if is_more and len(notices) == known:
                raise PspOutcomeUnknown("the PSP says that there are more disputes, and gives none", answered=True)
        return sorted(notices.values(), key=lambda one: one.updated_at)

    def taken(self, *, since: datetime, until: datetime) -> list[Money]:
        answer = self._line.ask("/v1/balance", {"since": since.isoformat(), "until": until.isoformat()})
        try:
            return [from_minor(balance_of(each["amount"]), each["currency"]) for each in answer["data"]]
        except UNREADABLE as error:
            raise PspOutcomeUnknown("the PSP's answer is not a balance") from error

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        self._signature.require(body, headers.get("Sandbox-Signature", ""), now=now)
        try:
            event = json.loads(body)
            event_id, kind, account, obj = event["id"], event["type"], event["account"], event["data"]["object"]
            key = obj.get("key", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WebhookRefused("the body is not an event") from error
        if not all(isinstance(word, str) for word in (event_id, kind, key)):
            raise WebhookRefused("the body is not an event")
        if account != self._account:
            raise WebhookRefused("the event is about another account")
        return Notice(event_id, kind, key, outcome_of(obj) if kind.startswith("charge.") else None)

    def _find(self, path: str, request: ChargeRequest | RefundRequest) -> Result | None:
        found = only_one_of(self._line.ask(path, {"key": request.key}))
        return result_of(found, request) if found is not None else None


def wire(amount: Money) -> dict[str, Any]:
    return {"amount": to_minor(amount), "currency": amount.currency.code}


def session_of(data: Any, *, expected: Mapping[str, str]) -> Session:
    """Read a session, and refuse to believe one that is not the one we asked for."""
    try:
        if any(data[name] != value for name, value in expected.items()):
            raise PspOutcomeUnknown("the PSP's answer is about another session", answered=True)
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
            method=told(data.get("method"), METHOD),
            card_funding=told(card.get("funding"), FUNDING),
            card_country=told(card.get("country"), COUNTRY),
        )
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a session") from error


def told(given: Any, known: re.Pattern[str]) -> str:
    """Return the word if it is one that can be; figures are grouped by it, so that half of a word would be another one."""
    return given if isinstance(given, str) and known.fullmatch(given) else ""


def result_of(data: Any, request: ChargeRequest | RefundRequest) -> Result:
    """Read a charge or refund, and refuse to believe one that is not ours: another key, amount, currency or reference is PspOutcomeUnknown."""
    result = outcome_of(data)
    expected = {"key": request.key, "reference": request.reference, **wire(request.amount)}
    if result is None or any(data.get(name) != value for name, value in expected.items()):
        raise PspOutcomeUnknown("the PSP's answer is about another amount, key or payment", answered=True)
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
                return Declined(id_of(data), *reason_of(data))
            case "voided":
                return Declined(id_of(data), "voided", "")
            case _:
                return None
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a charge") from error


def dispute_of(data: Any) -> DisputeNotice:
    """Read a dispute.  Raises PspOutcomeUnknown for what cannot be kept as it is."""
    try:
        currency, due = data["currency"], data.get("evidence_due_by")
        return DisputeNotice(
            psp_reference=id_of(data),
            key=plain(data["key"])[:LONGEST_ID],
            reference=plain(data["reference"])[:LONGEST_ID],
            charge=plain(data["charge"])[:LONGEST_ID],
            status=plain(data["status"])[:LONGEST_ID],
            amount=from_minor(count_of(data["amount"]), currency),
            fee=from_minor(none_or_count_of(data["fee"]), currency),
            lost=from_minor(none_or_count_of(data["lost_amount"]), currency),
            reason=plain(data.get("reason") or "")[:LONGEST_ID],
            opened_at=moment_of(data["created_at"]),
            updated_at=moment_of(data["updated_at"]),
            evidence_due_at=moment_of(due) if due else None,
        )
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a dispute") from error


def readable(page: Any) -> list[DisputeNotice]:
    """Read the disputes of one page; one that cannot be read is logged, and keeps nobody from reading the others."""
    if not isinstance(page, list):
        raise TypeError("not a list")
    read = []
    for one in page:
        try:
            read.append(dispute_of(one))
        except PspOutcomeUnknown as error:
            name = one.get("id") if isinstance(one, dict) else None
            logger.error("a dispute of the PSP (%s) is left out: %s", plain(name)[:LONGEST_ID], error)
    return read


def balance_of(given: Any) -> int:
    """Read minor units that may be below zero.  Raises TypeError for what is no whole number."""
    if type(given) is not int:
        raise TypeError("not a whole number")
    return given


def none_or_count_of(given: Any) -> int:
    return 0 if given is None or (type(given) is int and given == 0) else count_of(given)
