"""The line to a PSP or bank: one HTTP call with every timeout set, and the meaning of every way in which it can go wrong.

What was never sent is PspUnavailable, and so is what the PSP does not let us send; what it read and refused is PspRejectedRequest;
whatever else is no plain answer is PspOutcomeUnknown, since it may hide an execution.  An answer that drips is given up after ANSWER_S,
all its bytes counted together.

An answer that the PSP sends twice must never be taken for that of the next call.  A refusal names no key, so no connection outlives one;
an answer that was there before its question is none; and what says that it happened is compared with what was asked (the adapter).
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx
from django.db import connection

logger = logging.getLogger(__name__)

ANSWER_S = 15
LARGEST_ANSWER = 10_000_000
LONGEST_RETRY_AFTER_S = 3600
EXECUTED_NOTHING = frozenset({400, 404})  # the PSP read the request and refused it; any other answer may hide a charge
NOT_LET_IN = frozenset({401, 403})  # it is about us, not about the payment: a key of ours is wrong, or may not do this
DECLINED, CONFLICT, TOO_MANY_REQUESTS = 402, 409, 429
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

MAY_BE_AN_ACCOUNT = re.compile(
    r"""\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b  # an IBAN in capitals, grouped anyhow; in small letters, in one piece or by fours
    | (?i:\b[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|[ -][A-Z0-9]{4}(?:[ -](?=[A-Z]{0,3}\d)[A-Z0-9]{4}){1,6}(?:[ -]\d[A-Z0-9]{0,2})?)\b)
    | (?<![a-z0-9_])\d(?:[ ]?\d){7,}(?![a-z0-9_])  # 8 digits and more that are no part of an id of ours""",
    re.VERBOSE,
)

_deadline: ContextVar[float] = ContextVar("deadline")


class PspError(Exception):
    """An accident on the way to or at the PSP.  `code` is stable and is kept on the attempt; `answered` says that the PSP is there."""

    code = "psp_error"
    answered = False


class PspUnavailable(PspError):
    """Nothing was sent, or the PSP says that it executed nothing: retry later, with the same key.

    `retry_after_s` is how long the PSP asks us to wait, if it does.
    """

    code = "psp_unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PspOutcomeUnknown(PspError):
    """It may have happened: ask the PSP for our key before doing anything else.

    It may have `answered`, but so that it is open what happened.
    """

    code = "outcome_unknown"

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


class PspRejectedRequest(PspError):
    """The PSP understood and refused the request itself: nothing happened, and trying again changes nothing."""

    code = "rejected_request"
    answered = True


class Line:
    """The connections to one PSP at its address, with the headers that say who we are."""

    def __init__(self, url: str, *, headers: dict[str, str], read_timeout_s: float, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._client = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(read_timeout_s, connect=1, write=5, pool=5),
            transport=_Transport(httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=30)),
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Look something up; return the JSON of the answer.  On a connection that is closed afterwards."""
        return self._call("GET", path, headers={"Connection": "close"}, params=parameters or {})

    def send(self, path: str, body: dict[str, Any], *, key: str = "") -> Any:
        """Send something to be executed, under our key; return the JSON that says what happened."""
        return self._call("POST", path, headers={"Idempotency-Key": key} if key else {}, json=body)

    def remove(self, path: str) -> Any:
        """Let something at the PSP be no more; return the JSON that says so."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        if connection.in_atomic_block:
            raise RuntimeError("a PSP is never called inside a database transaction")
        _deadline.set(time.monotonic() + self._answer_s)
        try:
            with self._client.stream(method, path, **options) as response:
                stream: _Stream = response.extensions["network_stream"]
                if not stream.was_read_since_written:
                    raise PspOutcomeUnknown("the PSP's answer was there before the question", answered=True)
                stream.is_done_with = not response.is_success
                return meaning_of(response, whole(response))
        except NOTHING_SENT as error:
            raise PspUnavailable(f"the PSP cannot be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise PspOutcomeUnknown(f"no answer from the PSP: {type(error).__name__}") from error


def whole(response: httpx.Response) -> bytes:
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > LARGEST_ANSWER:
            raise PspOutcomeUnknown("the PSP's answer has no end")
    return bytes(body)


def meaning_of(response: httpx.Response, body: bytes) -> Any:
    """Return the JSON of an answer that says what happened.  Raises the PspErrors."""
    if response.is_success or response.status_code == DECLINED:
        try:
            return json.loads(body)
        except ValueError as error:
            raise PspOutcomeUnknown("the PSP's answer is not JSON") from error
    if response.status_code == TOO_MANY_REQUESTS:
        raise PspUnavailable("the PSP asks us to slow down", retry_after_s=retry_after_s(response))
    if response.status_code in NOT_LET_IN:
        logger.error("the PSP does not let us in, and nothing is executed: %s, %s", response.status_code, reason_of(body))
        raise PspUnavailable(f"the PSP does not let us in: {response.status_code}, {reason_of(body)}")
    if response.status_code in EXECUTED_NOTHING:
        raise PspRejectedRequest(f"the PSP refused the request with {response.status_code}: {reason_of(body)}")
    if response.status_code == CONFLICT:
        raise PspOutcomeUnknown(f"the PSP is at it already: {reason_of(body)}", answered=True)
    raise PspOutcomeUnknown(f"the PSP answered {response.status_code}")


def retry_after_s(response: httpx.Response) -> int:
    """Return for how long the PSP asks us to wait, in seconds: nothing if it does not say, an hour at most."""
    said = response.headers.get("Retry-After", "")
    return min(int(said[:9]), LONGEST_RETRY_AFTER_S) if said.isascii() and said.isdigit() else 0


def reason_of(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return without_numbers(plain(f"{error['code']}: {error['message']}"))[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def without_numbers(text: str) -> str:
    """Return the text with what may be the number of an account or a card masked to its last four characters: banks like to repeat it."""
    return MAY_BE_AN_ACCOUNT.sub(lambda found: f"•••• {found[0][-4:]}" if len(re.findall(r"\d", found[0])) >= 8 else found[0], text)


def plain(given: Any) -> str:
    """Return the text without what cannot be stored or shown: control characters, NUL, lone surrogates."""
    return "".join(character for character in str(given) if character.isprintable())


# --- The deadline: httpx times each read by itself, so that an answer of one byte per second would never be late ------
# --- The bytes: what came with the last answer waits in httpcore's buffer, where only a look at the reads can tell its age


class _Transport(httpx.HTTPTransport):
    """httpx's own transport, on connections that know the deadline of the call, and when they may not be used again."""

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__(trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self.was_read_since_written = False
        self.is_done_with = False  # no other call is made on it

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = _deadline.get() - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the whole answer took too long")
        self.was_read_since_written = True
        return self._stream.read(max_bytes, left_s if timeout is None else min(timeout, left_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.was_read_since_written = False
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Say what the connection is; one that nobody may use again looks as if the PSP had closed it, so that the pool lets it go."""
        return (info == "is_readable" and self.is_done_with) or self._stream.get_extra_info(info)
