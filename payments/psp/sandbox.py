"""The adapter of the sandbox PSP: HTTP, timeouts, and the mapping of its answers.  The sandbox is a foreign company; only this file speaks to it.

Amounts go as minor units by ISO 4217 (the sandbox has no deviations).  What could have been executed is never called failed: a 5xx, a
silence or a garbled answer is PspOutcomeUnknown.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from djmoney.money import Money

from ledger import line
from ledger.answers import LONGEST_ID, UNREADABLE, Signature, count_of, id_of, moment_of, only_one_of, reason_of
from ledger.line import Line, plain
from ledger.money import from_minor, to_minor
from payments.psp import emvco
from payments.psp.protocol import (
    Capability,
    Charged,
    ChargeRequest,
    Declined,
    DisputeNotice,
    Instalment,
    Notice,
    Pending,
    PspOutcomeUnknown,
    PspRejectedRequest,
    RefundRequest,
    Result,
    SavedCardNotice,
    Session,
    SessionRequest,
    Voided,
    WebhookRefused,
)

logger = logging.getLogger(__name__)

LONGEST_PAGE = 1000
METHOD, FUNDING, COUNTRY = re.compile("[a-z0-9_]{1,20}"), re.compile("credit|debit|prepaid"), re.compile("[A-Z]{2}")
CODE, TOKEN = re.compile("[a-z0-9_]{1,40}"), re.compile("[A-Za-z0-9_-]{1,100}")
STATUSES = frozenset({"open", "requires_action", "in_review", "complete", "failed", "expired"})
MOST_INSTALMENTS = 60
QR_CURRENCIES = frozenset("EUR USD GBP CHF SEK JPY CNY HKD SGD THB MYR IDR VND PHP INR KRW BRL".split())
PAY_LATER = {"EUR": (35, 1500), "USD": (35, 1500), "GBP": (30, 1200), "SEK": (350, 15000), "NOK": (350, 15000), "DKK": (250, 10000)}
METHODS: Mapping[str, Capability] = {
    "card": Capability(),
    "digital_wallet": Capability(),
    "qr": Capability(currencies=QR_CURRENCIES, largest=dict.fromkeys(QR_CURRENCIES, Decimal(9_999_999_999))),
    "pay_later": Capability(
        currencies=frozenset(PAY_LATER),
        countries=frozenset("AT BE DE DK ES FI FR GB IE IT NL NO SE US".split()),
        smallest={currency: Decimal(least) for currency, (least, _most) in PAY_LATER.items()},
        largest={currency: Decimal(most) for currency, (_least, most) in PAY_LATER.items()},
    ),
}


class SandboxPsp:
    """The sandbox, behind its address, our account with it and the secrets that we share."""

    name = "sandbox"
    methods = METHODS

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
            "method": request.method,
            "customer": request.buyer,
            "country": request.country,
            "save_card": request.save_card,
            "saved_card": request.saved_card,
        }
        asked = {name: body[name] for name in ("nonce", "amount", "currency", "method")}
        return session_of(self._line.send("/v1/sessions", body), expected=asked)

    def session(self, session_id: str) -> Session:
        return session_of(self._line.ask(f"/v1/sessions/{session_id}"), expected={"id": session_id})

    def forget_card(self, token: str) -> None:
        if not TOKEN.fullmatch(token):
            raise PspRejectedRequest("this is no token of a card")
        answer = self._line.remove(f"/v1/cards/{token}")
        if not isinstance(answer, dict) or answer.get("token") != token or answer.get("deleted") is not True:
            raise PspOutcomeUnknown("the PSP's answer is not about this card", answered=True)

    def charge(self, request: ChargeRequest) -> Result:
        body = {"token": request.payment_token, **wire(request.amount), "reference": request.reference}
        if request.statement_name:
            body["statement_descriptor"] = request.statement_name
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


def session_of(data: Any, *, expected: Mapping[str, Any]) -> Session:
    """Read a session, and refuse to believe one that is not the one we asked for, or whose parts are about another amount."""
    try:
        if any(data[name] != value for name, value in expected.items()):
            raise PspOutcomeUnknown("the PSP's answer is about another session", answered=True)
        if data["status"] not in STATUSES:
            raise PspOutcomeUnknown(f"the PSP says that the session is {plain(data['status'])[:40]}", answered=True)
        card, amount = data.get("card") or {}, from_minor(data["amount"], data["currency"])
        return Session(
            id=data["id"],
            nonce=data["nonce"],
            status=data["status"],
            amount=amount,
            fields_url=data["fields_url"] or "",
            hosted_url=data["hosted_url"],
            payment_token=data["payment_token"] or "",
            card_brand=plain(card.get("brand") or "")[:20],
            card_last4=plain(card.get("last4") or "")[:4],
            method=told(data.get("method"), METHOD),
            card_funding=told(card.get("funding"), FUNDING),
            card_country=told(card.get("country"), COUNTRY),
            expires_at=moment_of(data["expires_at"]) if data.get("expires_at") else None,
            code_text=code_of(data.get("code_text"), amount),
            failure_code=told((data.get("failure") or {}).get("code"), CODE),
            saved_card=saved_card_of(data.get("saved_card")),
            schedule=schedule_of(data.get("schedule") or [], amount),
        )
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the PSP's answer is not a session") from error


def code_of(text: Any, amount: Money) -> str:
    """Read what a QR code says.  Raises PspOutcomeUnknown for one that asks for another amount, or for none."""
    if text is None:
        return ""
    if not isinstance(text, str) or not emvco.is_code_for(amount, text):
        raise PspOutcomeUnknown("the PSP's QR code is not about this amount", answered=True)
    return text


def saved_card_of(data: Any) -> SavedCardNotice | None:
    """Read what is told of a card that the PSP keeps.  Raises what UNREADABLE names."""
    if data is None:
        return None
    token, brand, last4 = data["token"], plain(data["brand"])[:20], plain(data["last4"])[:4]
    month, year = count_of(data["exp_month"]), count_of(data["exp_year"])
    if not TOKEN.fullmatch(token) or month > 12 or year > 9999:
        raise ValueError("not a card that is kept")
    return SavedCardNotice(token, brand, last4, month, year, told(data.get("funding"), FUNDING))


def schedule_of(data: Any, amount: Money) -> list[Instalment]:
    """Read the instalments of pay later.  Raises PspOutcomeUnknown if they are not the amount, and what UNREADABLE names."""
    currency = amount.currency.code
    read = [
        Instalment(date.fromisoformat(each["due_date"]), from_minor(count_of(each["amount"]), currency)) for each in data[:MOST_INSTALMENTS]
    ]
    if len(data) > MOST_INSTALMENTS or (read and sum(each.amount.amount for each in read) != amount.amount):
        raise PspOutcomeUnknown("the PSP's instalments are not the amount", answered=True)
    return read


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
