"""An outage of the whole company: every call of money or session, and every page of a buyer, is struck until it is over.

Control calls (journal, faults, clock, outage, healthz) keep answering. The outage lives in the memory of the one process
that serves. `refused` resets the connection once the request is read, because one port serves all: an address that
refuses to connect at all is offered by broken_addresses.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Literal, get_args

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from payments.sandbox import clock, transport, wire
from payments.sandbox.errors import Refusal
from payments.sandbox.transport import Manner

Kind = Literal["refused", "silent", "error_500"]
KINDS = get_args(Kind)
LONGEST_SILENCE_S = 600.0
View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Outage:
    """`until` is a moment of the test clock; None means until somebody ends it."""

    kind: Kind
    until: datetime | None

    def as_wire(self) -> dict[str, object]:
        return {"kind": self.kind, "until": wire.moment(self.until) if self.until else None}


class _Board:
    """The outage of this process, if there is one."""

    current: Outage | None = None


_board = _Board()


def begin(kind: Kind, *, seconds: float) -> Outage:
    """Be away for so many seconds of the test clock; 0 means until `end`."""
    _board.current = Outage(kind, clock.now() + timedelta(seconds=seconds) if seconds else None)
    return _board.current


def end() -> None:
    _board.current = None


def current() -> Outage | None:
    """Return the outage that lasts, or None."""
    outage = _board.current
    is_over = outage is not None and outage.until is not None and outage.until <= clock.now()
    return None if is_over else outage


def hits(view: View) -> View:
    """Return the view as it is while the company is there, and struck while it is away."""

    @wraps(view)
    def guarded(request: HttpRequest, **names: str) -> HttpResponseBase:
        outage = current()
        return _struck(outage) if outage else view(request, **names)

    return guarded


def _struck(outage: Outage) -> HttpResponse:
    match outage.kind:
        case "refused":
            return transport.unanswered(Manner("reset"))
        case "silent":
            return transport.unanswered(Manner("silent", LONGEST_SILENCE_S))
        case "error_500":
            return wire.answer(Refusal(500, "internal_error", "Something went wrong on our side.").as_wire(), status=500)
