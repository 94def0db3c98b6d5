"""Answers that come late or never, without a thread waiting for them.

The server's end of the connection is swapped for a socket pair: the server writes its answer into the pair and goes on
to the next request, while one clock thread keeps the real connection and passes the answer on when its time has come,
or closes it without a word. So a hundred slow answers cost a hundred sockets and no worker.
"""

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from dataclasses import dataclass

from django.http import HttpResponse

SEND_TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Lateness:
    """How late an answer is, and whether it is given at all."""

    delay_s: float
    silent: bool


def mark(response: HttpResponse, lateness: Lateness) -> HttpResponse:
    """Note on the response that it is to be late; wsgi.py carries it out."""
    response.lateness = lateness  # type: ignore[attr-defined]
    return response


def marked(response: object) -> Lateness | None:
    return getattr(response, "lateness", None)


class Clock:
    """Holds connections back until their time. Its thread starts with the first one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, socket.socket, socket.socket, bool]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._started = False

    def hold_back(self, connection: socket.socket, lateness: Lateness) -> None:
        """Take over the client's connection; the server goes on with a stand-in under the same file number."""
        client = connection.dup()
        stand_in, behind = socket.socketpair()
        os.dup2(stand_in.fileno(), connection.fileno(), inheritable=False)
        stand_in.close()
        due = time.monotonic() + lateness.delay_s
        with self._changed:
            heapq.heappush(self._waiting, (due, next(self._order), client, behind, lateness.silent))
            if not self._started:
                threading.Thread(target=self._run, name="late-answers", daemon=True).start()
                self._started = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > time.monotonic():
                    wait_s = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(wait_s)
                _, _, client, behind, silent = heapq.heappop(self._waiting)
            with client, behind, contextlib.suppress(OSError):
                if not silent:
                    client.settimeout(SEND_TIMEOUT_S)
                    client.sendall(_answer_behind(behind))
                client.shutdown(socket.SHUT_RDWR)


def _answer_behind(behind: socket.socket) -> bytes:
    """Return what the server wrote, saying that the connection closes after it."""
    behind.setblocking(False)
    answer = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := behind.recv(65536):
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES:
                break
    return answer.replace(b"Connection: keep-alive", b"Connection: close", 1)


clock = Clock()
