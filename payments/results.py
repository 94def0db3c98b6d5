"""The signed result that a buyer carries back to the shop: four parameters on the shop's own return address.

    onebook_payment     the payment's id, pay_...
    onebook_status      open, pending, paid, partly_paid, failed, cancelled or expired
    onebook_at          when this was so, in whole seconds since 1970 (UTC)
    onebook_signature   HMAC-SHA256 of "<payment>.<status>.<at>" under the shop's signing secret, 64 hexadecimal digits

A shop shows its page by it and ships nothing by it: a buyer may come back before a pending payment is decided, or never.  What decides
is the shop's webhook, or `GET /v1/payments/{id}`.

>>> address = signed_address("https://shop.example/thanks?order=7", Result("pay_1", "paid", 1_800_000_000), secret="s3cret")
>>> address.partition("&")[0]
'https://shop.example/thanks?order=7'
>>> verify(dict(parse_qsl(urlsplit(address).query)), secret="s3cret", now=datetime.fromtimestamp(1_800_000_060, UTC)).status
'paid'
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime  # noqa: F401 - UTC: the example above
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ledger.errors import DomainError

PREFIX = "onebook_"
TOLERANCE_S = 24 * 3600  # a page with the link on it may stand open for long; what it says is dated


class ResultRefused(DomainError):
    code = "result_refused"


@dataclass(frozen=True, slots=True)
class Result:
    """How a payment stood at a moment (`at`: whole seconds since 1970, UTC)."""

    payment: str
    status: str
    at: int


def sign(result: Result, *, secret: str) -> str:
    """Return the signature of the result: 64 hexadecimal digits."""
    signed = f"{result.payment}.{result.status}.{result.at}"
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def signed_address(return_url: str, result: Result, *, secret: str) -> str:
    """Return the shop's address with the result and its signature added; what stood in its query and fragment before stays."""
    parts = urlsplit(return_url)
    standing = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not name.startswith(PREFIX)]
    added = {"payment": result.payment, "status": result.status, "at": str(result.at), "signature": sign(result, secret=secret)}
    query = urlencode([*standing, *((PREFIX + name, value) for name, value in added.items())])
    return urlunsplit(parts._replace(query=query))


def verify(parameters: Mapping[str, str], *, secret: str, now: datetime) -> Result:
    """Return the result that the parameters of a return address carry.

    Raises ResultRefused when one is missing, when the signature is not ours, or when it is more than a day old (or as far ahead).
    """
    given = {name: parameters.get(PREFIX + name, "") for name in ("payment", "status", "at", "signature")}
    if not (all(given.values()) and given["at"].isascii() and given["at"].isdigit() and len(given["at"]) <= 12):
        raise ResultRefused("The address carries no complete result. Ask for the payment itself: GET /v1/payments/{id}.")
    result = Result(given["payment"], given["status"], int(given["at"]))
    if not hmac.compare_digest(sign(result, secret=secret).encode(), given["signature"].encode()):
        raise ResultRefused("The signature does not fit the result. Do not believe it.")
    if abs(now.timestamp() - result.at) > TOLERANCE_S:
        raise ResultRefused("The result is more than a day old. Ask for the payment itself: GET /v1/payments/{id}.")
    return result
