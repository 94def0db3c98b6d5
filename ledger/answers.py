"""What a PSP or a bank answers and tells, read so that it can be believed and kept: whose message it is, ids, amounts, moments, reasons.

What cannot be kept as it is raises one of UNREADABLE, or PspOutcomeUnknown where something may have happened.  For the adapters.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.line import PspOutcomeUnknown, plain
from ledger.money import UnknownCurrency

LONGEST_ID, LONGEST_TEXT = 255, 500
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, UnknownCurrency)
TOLERANCE_S = 300
SHORTEST_SECRET = 16


class WebhookRefused(Exception):
    """The message is not from whom it should be, is too old, or is about another account."""


class Signature:
    """A signature over the time and the body of a message, `t=<seconds>,v1=<HMAC-SHA-256>`, with any of the secrets that we share.

    A secret that could be guessed is none.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

    def require(self, body: bytes, header: str, *, now: datetime) -> None:
        """Raise WebhookRefused unless the header signs this body, not longer than five minutes ago."""
        parts = dict(part.partition("=")[::2] for part in header.split(","))
        moment, given = parts.get("t", ""), parts.get("v1", "")
        if not moment.isascii() or not moment.isdigit() or abs(now.timestamp() - int(moment[:12])) > TOLERANCE_S:
            raise WebhookRefused("the signature has no time, or one more than five minutes away")
        signed = moment.encode() + b"." + body
        expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in self._secrets]
        if not sum(hmac.compare_digest(one.encode(), given.encode()) for one in expected):  # a sum: each secret is compared
            raise WebhookRefused("the signature does not match")


def only_one_of(found: Any) -> Any:
    """Return the one object of a list that was looked up by our key; None if there is none.  Raises PspOutcomeUnknown."""
    try:
        [*objects] = found["data"]
    except (KeyError, TypeError) as error:
        raise PspOutcomeUnknown("the answer is not a list") from error
    if len(objects) > 1:
        raise PspOutcomeUnknown("the answer has more than one object for one key", answered=True)
    return objects[0] if objects else None


def is_id(given: Any) -> bool:
    return isinstance(given, str) and 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable()


def id_of(data: Any) -> str:
    given: str = data["id"]
    if not is_id(given):
        raise ValueError("not an id")
    return given


def count_of(given: Any) -> int:
    """Return the amount, in minor units: more than none."""
    if type(given) is not int or not 0 < given < 10**16:
        raise ValueError("not a count of minor units")
    return given


def moment_of(given: Any) -> datetime:
    moment = datetime.fromisoformat(given)
    if moment.tzinfo is None or not 2000 <= moment.year < 2100:
        raise ValueError("not a moment")
    return moment


def reason_of(data: Any) -> tuple[str, str]:
    """Return the code and the words of a failure."""
    failure = data.get("failure") or {}
    return plain(failure.get("code") or "declined")[:LONGEST_ID], plain(failure.get("message") or "")[:LONGEST_TEXT]
