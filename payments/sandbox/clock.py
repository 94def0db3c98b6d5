"""The test clock: every moment of the sandbox is the real time plus an offset, which may be moved and never moves itself.

The offset is one row of the database, so a restart keeps it, and is remembered in the memory of the one process that
serves. Only how long an answer is held back on the line (transport.py) is real time.
"""

import threading
from datetime import UTC, datetime, timedelta

from payments.sandbox import doorbell
from payments.sandbox.errors import Refusal
from payments.sandbox.models import ClockOffset

LARGEST_OFFSET_S = 10 * 366 * 24 * 3600
THE_ROW = 1


class _Offset:
    """How far the clock is from real time: read once, written through."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: float | None = None

    def seconds(self) -> float:
        known = self._known
        if known is None:
            with self._lock:
                known = self._read()
        return known

    def set(self, seconds: float) -> None:
        with self._lock:
            self._write(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._write(self._read() + seconds)

    def _read(self) -> float:
        if self._known is None:
            row = ClockOffset.objects.filter(id=THE_ROW).first()
            self._known = row.offset_s if row else 0.0
        return self._known

    def _write(self, seconds: float) -> None:
        if not abs(seconds) <= LARGEST_OFFSET_S:
            raise Refusal(400, "clock_too_far", "The clock stays within ten years of real time.", field="offset_s")
        ClockOffset.objects.update_or_create(id=THE_ROW, defaults={"offset_s": seconds})
        self._known = seconds


_offset = _Offset()


def now() -> datetime:
    """Return the sandbox's time."""
    return datetime.now(UTC) + timedelta(seconds=_offset.seconds())


def offset_s() -> float:
    """Return how many seconds the sandbox's time is ahead of real time."""
    return _offset.seconds()


def set_offset(seconds: float) -> None:
    """Put the clock so many seconds ahead of real time, or behind it; raises Refusal clock_too_far."""
    _offset.set(seconds)
    doorbell.ring()


def advance(seconds: float) -> None:
    """Move the clock on from where it is, or back; raises Refusal clock_too_far."""
    _offset.advance(seconds)
    doorbell.ring()
