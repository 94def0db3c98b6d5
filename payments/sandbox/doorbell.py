"""Tells the sender in this process that something was committed; losing a ring only costs its next look."""

import threading

_rung = threading.Event()


def ring() -> None:
    _rung.set()


def wait(seconds: float) -> None:
    """Return when somebody rings, or after `seconds`."""
    _rung.wait(seconds)
    _rung.clear()
