"""The adapter of the sandbox's bank: HTTP, timeouts, and the mapping of its answers.  The sandbox is a foreign company; as a bank, only this
file speaks to it.

Amounts go as minor units by ISO 4217.  What could have been executed is never called failed: a 5xx, a silence, a garbled answer or one about
something else is PspOutcomeUnknown.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ledger import line
from ledger.answers import LONGEST_ID, UNREADABLE, Signature, count_of, id_of, is_id, moment_of, only_one_of, reason_of
from ledger.line import Line, PspOutcomeUnknown, plain
from ledger.money import from_minor, to_minor
from payouts.providers.protocol import (
    Account,
    PaidOut,
    PayoutFailed,
    PayoutPending,
    PayoutRequest,
    PayoutReturned,
    PayoutTerms,
    Result,
    ReturnNotice,
    Ring,
    WebhookRefused,
)

logger = logging.getLogger(__name__)

LONGEST_PAGE = 1000


class SandboxBank:
    """The sandbox as a bank, behind its address, our account with it and the secrets that we share."""

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
        self._account = account
        self._signature = Signature(webhook_secrets)
        self._line = Line(url, headers={"Authorization": f"Bearer {api_key}"}, read_timeout_s=read_timeout_s, answer_s=answer_s)

    def close(self) -> None:
        """Let the connections go."""
        self._line.close()

    def pay_out(self, request: PayoutRequest) -> Result:
        body = {
            "amount": to_minor(request.amount),
            "currency": request.amount.currency.code,
            "reference": request.reference,
            "holder": request.holder,
            "account": account_on_the_wire(request.account),
            "statement_text": request.statement_text,
        }
        return result_of(self._line.send("/v1/payouts", body, key=request.key), request)

    def find_payout(self, terms: PayoutTerms) -> Result | None:
        found = only_one_of(self._line.ask("/v1/payouts", {"key": terms.key}))
        return result_of(found, terms) if found is not None else None

    def returned_since(self, moment: datetime) -> list[ReturnNotice]:
        seen: dict[tuple[str, str], datetime] = {}
        notices: dict[str, ReturnNotice] = {}
        is_more = True
        while is_more:
            page = self._line.ask("/v1/payouts", {"updated_since": moment.isoformat(), "limit": str(LONGEST_PAGE)})
            try:
                rows, is_more = [row for row in page["data"] if isinstance(row, dict)], page["has_more"] is True
                changes = {(id_of(row), plain(row["status"])): moment_of(row["updated_at"]) for row in rows}
            except UNREADABLE as error:
                raise PspOutcomeUnknown("the bank's answer is not a list of payouts") from error
            known = len(seen)
            seen |= changes
            notices |= {notice.key: notice for row in rows if (notice := notice_of(row))}
            moment = max(changes.values(), default=moment)
            if is_more and len(seen) == known:
                raise PspOutcomeUnknown("the bank says that there are more payouts, and gives none", answered=True)
        return sorted(notices.values(), key=lambda notice: notice.returned.at)

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Ring:
        self._signature.require(body, headers.get("Sandbox-Signature", ""), now=now)
        try:
            event = json.loads(body)
            kind, account, key = event["type"], event["account"], event["data"]["object"]["key"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise WebhookRefused("the body is not an event about a payout") from error
        if account != self._account:
            raise WebhookRefused("the event is about another account")
        if not isinstance(kind, str) or not kind.startswith("payout.") or not is_id(key):
            raise WebhookRefused("the event is not about a payout")
        return Ring(key, came_back=kind == "payout.returned")


def account_on_the_wire(account: Account) -> dict[str, str]:
    if account.iban:
        return {"iban": account.iban}
    return {"country": account.country, "account_number": account.account_number, "bank_code": account.bank_code}


def result_of(data: Any, terms: PayoutTerms) -> Result:
    """Read a payout, and refuse to believe one that is not ours: another key, amount, currency or reference is PspOutcomeUnknown."""
    result = outcome_of(data)
    expected = {
        "key": terms.key,
        "reference": terms.reference,
        "amount": to_minor(terms.amount),
        "currency": terms.amount.currency.code,
    }
    if result is None or any(data.get(name) != value for name, value in expected.items()):
        raise PspOutcomeUnknown("the bank's answer is about another amount, key or payout", answered=True)
    return result


def outcome_of(data: Any) -> Result | None:
    """Read what became of a payout; None for a status that we do not know.

    Raises PspOutcomeUnknown for what cannot be kept as it is: an id that is none, a moment that cannot be.
    """
    try:
        match data["status"]:
            case "paid":
                return PaidOut(id_of(data), moment_of(data["updated_at"]))
            case "pending":
                return PayoutPending(id_of(data))
            case "failed":
                return PayoutFailed(id_of(data), *reason_of(data))
            case "returned":
                return PayoutReturned(id_of(data), *reason_of(data), moment_of(data["updated_at"]))
            case _:
                return None
    except UNREADABLE as error:
        raise PspOutcomeUnknown("the bank's answer is not a payout") from error


def notice_of(data: dict[str, Any]) -> ReturnNotice | None:
    """Read a payout that came back; None for any other.  One that cannot be read is logged, and keeps nobody from reading the others."""
    try:
        returned = outcome_of(data)
        if not isinstance(returned, PayoutReturned):
            return None
        return ReturnNotice(plain(data["key"])[:LONGEST_ID], from_minor(count_of(data["amount"]), data["currency"]), returned)
    except (*UNREADABLE, PspOutcomeUnknown) as error:
        logger.error("a payout of the bank (%s) is left out: %s", plain(data.get("id"))[:LONGEST_ID], error)
        return None
