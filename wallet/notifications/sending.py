"""One POST to a stranger: to the addresses that were checked and no others, within ten seconds whatever he does, and no redirects.

`connect_tcp` connects to a checked address while the request keeps its name, so that Host, SNI and the certificate are the name's.  Every
read and write shares one deadline: an answer that drips byte by byte is cut off.  Of the answer's body 64 kB are read, and none is kept.
"""

import functools
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore

from ledger.errors import DomainError
from wallet.notifications import addresses
from wallet.notifications.addresses import Resolver, Target

DEADLINE_S = 10
CONNECT_S = 3
LARGEST_ANSWER = 64 * 1024
LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: the status that came back, or None and what went wrong, in a few words that hold nothing of the answer."""

    status: int | None
    error: str
    duration_ms: int

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class AnswerTooLarge(Exception):
    """More than LARGEST_ANSWER came back."""


def post(url: str, body: bytes, *, headers: Mapping[str, str], resolver: Resolver | None = None) -> Answer:
    """Check the URL again, and send the body there.  Whatever goes wrong is an answer; nothing is raised."""
    begin = time.monotonic()
    status, error = None, ""
    try:
        target = addresses.checked(url, resolver=resolver or addresses.look_up)
        status = exchange(target, body, headers, deadline=begin + DEADLINE_S)
    except DomainError as refusal:
        error = refusal.detail
    except AnswerTooLarge:
        error = f"the answer is larger than {LARGEST_ANSWER // 1024} kB"
    except httpcore.TimeoutException:
        error = f"no whole answer within {DEADLINE_S} s"
    except Exception as accident:  # noqa: BLE001 - a stranger's server may do anything, and his next delivery is due all the same
        error = f"{type(accident).__name__}: {accident}"
    if status is not None and 300 <= status < 400:
        error = "redirects are not followed"
    return Answer(status, error[:LONGEST_ERROR], int((time.monotonic() - begin) * 1000))


def exchange(target: Target, body: bytes, headers: Mapping[str, str], *, deadline: float) -> int:
    """Send the request and return the status of the answer, having read it to its end."""
    line = Line(target, deadline)
    with (
        httpcore.ConnectionPool(ssl_context=trusted(), network_backend=line, max_connections=1, retries=0) as pool,
        pool.stream("POST", target.url, headers=list(headers.items()), content=body) as response,
    ):
        size = 0
        for part in response.iter_stream():
            size += len(part)
            if size > LARGEST_ANSWER:
                raise AnswerTooLarge
        return response.status


@functools.cache
def trusted() -> ssl.SSLContext:
    """Return the usual authorities, read once: certificates and host names are verified."""
    return httpcore.default_ssl_context()


class Line(httpcore.SyncBackend):
    """Connects to the checked addresses, one after the other, whatever name the request has."""

    def __init__(self, target: Target, deadline: float) -> None:
        self._target, self._deadline = target, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        until = min(self._deadline, time.monotonic() + CONNECT_S)
        *others, last = self._target.addresses
        for address in others:
            try:
                return Timed(super().connect_tcp(address, port, left(until), local_address, socket_options), self._deadline)
            except httpcore.ConnectError:
                continue
        return Timed(super().connect_tcp(last, port, left(until), local_address, socket_options), self._deadline)


class Timed(httpcore.NetworkStream):
    """A connection whose every read and write ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Timed(self._stream.start_tls(ssl_context, server_hostname, left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def left(until: float) -> float:
    """Return how many seconds are left.  Raises ReadTimeout if none are."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout("the time is up")
    return seconds
