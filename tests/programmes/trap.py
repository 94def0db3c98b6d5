"""The trap: wraps every place of points.py, and lets the process die at one of them, at its n-th passage.

What is wrapped is put back when the programme ends; product code has no part in it.  Level 1 dies by `Killed`: the connection to Postgres is
dropped at the socket, so that Postgres undoes what was not committed, and from then on nothing of ours runs: no statement, no connection, no
call to a PSP, whatever a `finally` or an `except` would like to mend.  Level 2 dies by SIGKILL.
"""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NoReturn
from unittest.mock import patch

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from ledger.line import Line
from tests.programmes.points import Point, When


class Killed(BaseException):
    """The process is dead at this point.  Not an Exception: nobody may catch it but the programme."""


class PlaceIsGone(Exception):
    """A point names what the code no longer has: points.py must follow."""


def die_at_once() -> NoReturn:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives SIGKILL")


@dataclass
class Trap:
    """Waits at one point for its n-th passage; counts what passes at all of them."""

    strike: Callable[[], NoReturn] | None = None  # level 1 if nothing else is said
    point: Point | None = None
    passages_left: int = 0
    is_dead: bool = False
    passed: Counter[Point] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: threading.local = field(default_factory=threading.local)
    _line: Any = None

    def arm(self, point: Point, *, passage: int) -> None:
        """Let the process die when it comes to the point for the n-th time; the connection of this thread is what it loses."""
        self.point, self.passages_left, self._line = point, passage, connection.connection

    def disarm(self) -> None:
        self.point = None

    @property
    def is_armed(self) -> bool:
        return self.point is not None

    def resurrect(self) -> None:
        """Begin a new process: nothing is left of the dead one but what is committed."""
        self.is_dead = False
        connection.close()

    def pass_by(self, points: Sequence[Point]) -> None:
        """Somebody comes to these points, which are one place."""
        self.require_life()
        for point in points:
            if not point.within or point.within in self.running:
                with self._lock:
                    self.passed[point] += 1
                    if point is self.point:
                        self.passages_left -= 1
                        if self.passages_left == 0:
                            self.point = None
                            self.die()

    def require_life(self) -> None:
        """Raise Killed again in whatever a dead process would like to do."""
        if self.is_dead:
            self.drop_the_line()

    def die(self) -> NoReturn:
        if self.strike is not None:
            self.strike()
        self.is_dead = True
        line = connection.connection or self._line
        if line is not None and not line.closed:
            with socket.socket(fileno=os.dup(line.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        self.drop_the_line()

    def drop_the_line(self) -> NoReturn:
        """Let Django, too, know that this connection is gone, so that nobody tries to end its transaction in order."""
        if threading.current_thread() is threading.main_thread():
            connection.close()
        raise Killed

    @property
    def running(self) -> list[str]:
        """The wrapped functions that this thread is in."""
        if not hasattr(self._running, "places"):
            self._running.places = []
        places: list[str] = self._running.places
        return places


@contextmanager
def installed(trap: Trap, points: Sequence[Point]) -> Iterator[None]:
    """Wrap every place of the points, and put back what was there.  Raises PlaceIsGone."""
    places = dict.fromkeys([point.place for point in points] + [point.within for point in points if point.within])
    with ExitStack() as stack:
        stack.enter_context(patch.object(BaseDatabaseWrapper, "_commit", _commit(trap, points)))
        for name in ("cursor", "connect"):
            stack.enter_context(patch.object(BaseDatabaseWrapper, name, _only_alive(trap, getattr(BaseDatabaseWrapper, name))))
        stack.enter_context(patch.object(Line, "_call", _only_alive(trap, Line._call)))
        for place in places:
            owner, name, real = found(place)
            here = [point for point in points if point.place == place]
            if isinstance(real, str):
                stack.enter_context(patch.object(owner, "execute", _statement(trap, real, getattr(owner, "execute"), here)))  # noqa: B009
            else:
                stack.enter_context(patch.object(owner, name, _function(trap, place, real, here)))
        yield


def found(place: str) -> tuple[Any, str, Any]:
    """Return what holds the place, its name there, and what stands there: a function, or a statement's text."""
    *holders, name = place.split(".")
    for length in range(len(holders), 0, -1):
        try:
            owner: Any = import_module(".".join(holders[:length]))
        except ModuleNotFoundError:
            continue
        try:
            for attribute in holders[length:]:
                owner = getattr(owner, attribute)
            return owner, name, getattr(owner, name)
        except AttributeError:
            break
    raise PlaceIsGone(f"{place} is not there any more: points.py must name where that is done now")


def _function(trap: Trap, place: str, real: Callable[..., Any], points: Sequence[Point]) -> Callable[..., Any]:
    before = [point for point in points if point.when is When.BEFORE]
    after = [point for point in points if point.when is When.AFTER]

    def passing(*arguments: Any, **named: Any) -> Any:
        trap.pass_by(before)
        trap.running.append(place)
        try:
            answer = real(*arguments, **named)
        finally:
            trap.running.pop()
        trap.pass_by(after)
        return answer

    return passing


def _statement(trap: Trap, text: str, execute: Callable[..., Any], points: Sequence[Point]) -> Callable[..., Any]:
    before = [point for point in points if point.when is When.BEFORE]
    after = [point for point in points if point.when is When.AFTER]

    def executing(statement: str, *tables: Any) -> Any:
        if statement is not text:
            return execute(statement, *tables)
        trap.pass_by(before)
        rows = execute(statement, *tables)
        trap.pass_by(after)
        return rows

    return executing


def _commit(trap: Trap, points: Sequence[Point]) -> Callable[[BaseDatabaseWrapper], None]:
    real: Callable[[BaseDatabaseWrapper], None] = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]
    unsent = [point for point in points if point.when is When.COMMIT_UNSENT]
    unheard = [point for point in points if point.when is When.COMMIT_UNHEARD]

    def committing(self: BaseDatabaseWrapper) -> None:
        running = set(trap.running)
        trap.pass_by([point for point in unsent if point.place in running])
        real(self)
        trap.pass_by([point for point in unheard if point.place in running])

    return committing


def _only_alive(trap: Trap, real: Callable[..., Any]) -> Callable[..., Any]:
    def alive(*arguments: Any, **named: Any) -> Any:
        trap.require_life()
        return real(*arguments, **named)

    return alive
