"""Answers that do not travel as HTTP wants: late, never, reset, cut, twice or byte by byte, without a thread waiting.

The server's end of the connection is swapped for a socket pair: the server writes its answer into the pair and goes on
to the next request, while one thread keeps the real connection and does with the answer what its manner says. So a
hundred slow answers cost a hundred sockets and no worker.
"""

import contextlib
import heapq
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.http import HttpResponse

TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 1 << 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
MannerKind = Literal["late", "silent", "reset", "cut", "doubled", "dripping"]


@dataclass(frozen=True)
class Manner:
    """How an answer travels. `delay_s`: how late; for doubled, how long the line stays; for dripping, between bytes."""

    kind: MannerKind
    delay_s: float = 0.0


def mark(response: HttpResponse, manner: Manner) -> HttpResponse:
    """Note on the response how it is to travel; wsgi.py carries it out."""
    response.manner = manner  # type: ignore[attr-defined]
    return response


def marked(response: object) -> Manner | None:
    return getattr(response, "manner", None)


def unanswered(manner: Manner) -> HttpResponse:
    """Return a response of which nothing will be read."""
    return mark(HttpResponse(status=500), manner)


@dataclass(frozen=True)
class Held:
    """A client's connection that was taken over, and the other end of what the server now writes into."""

    client: socket.socket
    behind: socket.socket
    manner: Manner

    def close(self) -> None:
        self.behind.close()
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)
        self.client.close()

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.client.close()
        self.behind.close()

    def send(self, data: bytes) -> None:
        self.client.settimeout(TIMEOUT_S)
        self.client.sendall(data)


class Keeper:
    """Holds connections and ends them in their manner. Its thread starts with the first one."""

    def __init__(self) -> None:
        self._steps: list[tuple[float, int, Held, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._started = False

    def take_over(self, connection: socket.socket, manner: Manner) -> None:
        """Take over the client's connection; the server goes on with a stand-in under the same file number."""
        client = connection.dup()
        stand_in, behind = socket.socketpair()
        os.dup2(stand_in.fileno(), connection.fileno(), inheritable=False)
        stand_in.close()
        held = Held(client, behind, manner)
        delay_s = manner.delay_s if manner.kind in ("late", "silent") else 0.0
        self._later(delay_s, held, lambda: self._end(held))

    def _later(self, delay_s: float, held: Held, step: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._steps, (time.monotonic() + delay_s, next(self._order), held, step))
            if not self._started:
                threading.Thread(target=self._run, name="held-answers", daemon=True).start()
                self._started = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._steps or self._steps[0][0] > time.monotonic():
                    wait_s = self._steps[0][0] - time.monotonic() if self._steps else None
                    self._changed.wait(wait_s)
                _, _, held, step = heapq.heappop(self._steps)
            try:
                step()
            except OSError:  # the client has gone
                held.close()

    def _end(self, held: Held) -> None:
        match held.manner.kind:
            case "silent":
                held.close()
            case "late":
                held.send(_closing(_answer_behind(held.behind)))
                held.close()
            case "reset":
                _answer_behind(held.behind)
                held.reset()
            case "cut":
                held.send(_first_half(_answer_behind(held.behind)))
                held.close()
            case "doubled":
                held.send(2 * _answer_behind(held.behind))
                self._later(held.manner.delay_s, held, held.close)
            case "dripping":
                self._drip(held, _closing(_answer_behind(held.behind)))

    def _drip(self, held: Held, answer: bytes) -> None:
        held.send(answer[:1])
        if len(answer) > 1:
            self._later(held.manner.delay_s, held, lambda: self._drip(held, answer[1:]))
        else:
            held.close()


def _answer_behind(behind: socket.socket) -> bytes:
    """Return the whole answer, waiting for the server to write it."""
    behind.settimeout(TIMEOUT_S)
    answer = b""
    with contextlib.suppress(TimeoutError):
        while not _is_whole(answer) and len(answer) < MAX_ANSWER_BYTES and (chunk := behind.recv(65536)):
            answer += chunk
    return answer


def _is_whole(answer: bytes) -> bool:
    """Tell whether head and body are there; every answer of the sandbox tells its length."""
    head, end_of_head, body = answer.partition(b"\r\n\r\n")
    if not end_of_head:
        return False
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0])


def _first_half(answer: bytes) -> bytes:
    head, end_of_head, body = answer.partition(b"\r\n\r\n")
    return head + end_of_head + body[: len(body) // 2]


def _closing(answer: bytes) -> bytes:
    """Return the answer saying that the connection closes after it."""
    return answer.replace(b"Connection: keep-alive", b"Connection: close", 1)


keeper = Keeper()
