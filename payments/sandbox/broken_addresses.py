"""Addresses at which no request ever begins: F-01 refused, F-02 no connection, F-03 no TLS, F-25 no such name.

The sockets behind them are held by this process, from the first time somebody asks until it ends.
"""

import contextlib
import socket
from functools import cache

HOST = "127.0.0.1"
ENOUGH_TO_FILL = 4


@cache
def addresses(own_port: int) -> dict[str, str]:
    """Return the addresses by the number of their fault; `own_port` is where we speak HTTP, and so no TLS."""
    return {
        "F-01": f"http://{HOST}:{_port_of(_closed())}",
        "F-02": f"http://{HOST}:{_port_of(_full())}",
        "F-03": f"https://{HOST}:{own_port}",
        "F-25": "http://psp.invalid",  # RFC 6761: this name never resolves
    }


_held: list[socket.socket] = []


def _bound() -> socket.socket:
    bound = socket.socket()
    bound.bind((HOST, 0))
    _held.append(bound)
    return bound


def _closed() -> socket.socket:
    """A port that is taken and does not listen: nobody else can open it, and connecting is refused."""
    return _bound()


def _full() -> socket.socket:
    """A listener that accepts nobody and whose queue is full: connecting takes for ever."""
    listener = _bound()
    listener.listen(0)
    for _ in range(ENOUGH_TO_FILL):
        waiting = socket.socket()
        waiting.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            waiting.connect(listener.getsockname())
        _held.append(waiting)
    return listener


def _port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])
