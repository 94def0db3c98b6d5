"""Fault switches: how the sandbox misbehaves on request.

A switch belongs to an operation and may be narrowed to a card, to a reference, to a number of times or to a rate. The
switches live in the memory of the one process that serves, so a restart switches them all off. Test cards carry a fault
of their own; a switch goes before the card's. Which kinds there are says fault_kinds.py; what a fault does to an answer
is carried out in misbehaviour.py and transport.py, what it does to the course of a charge in courses.py, what it does to a
webhook in deliveries.py, and what it does to the lines of a file in planting.py.
"""

import itertools
import logging
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from payments.sandbox.fault_kinds import KINDS, TOLD, Kind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """What goes wrong. Which kinds look at `delay_s` says fault_kinds.py; `retry_after_s` counts for throttle."""

    kind: Kind
    delay_s: float = 0.0
    retry_after_s: int | None = None

    @property
    def concerns_webhooks(self) -> bool:
        return KINDS[self.kind].operations == TOLD


@dataclass(frozen=True)
class Switch:
    """A fault that was switched on. `card` is the last four digits; `times` counts down to zero; `rate` is 0 to 1.

    With a `seed` the same calls are struck each time; without one, chance decides.
    """

    id: int
    operation: str
    fault: Fault
    card: str | None = None
    reference: str | None = None
    times: int | None = None
    rate: float | None = None
    seed: int | None = None
    fired: int = 0
    chance: random.Random = field(default_factory=random.Random, compare=False, repr=False)

    @property
    def place(self) -> tuple[str, str, str | None, str | None]:
        """Two switches in the same place are one: the later replaces the earlier."""
        return self.operation, self.fault.kind, self.card, self.reference

    def as_wire(self) -> dict[str, object]:
        return {
            "id": self.id,
            "operation": self.operation,
            "kind": self.fault.kind,
            "delay_s": self.fault.delay_s,
            "retry_after_s": self.fault.retry_after_s,
            "card": self.card,
            "reference": self.reference,
            "times": self.times,
            "rate": self.rate,
            "seed": self.seed,
            "fired": self.fired,
        }


class Switchboard:
    """All switches of this process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._switches: tuple[Switch, ...] = ()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)

    def switch_on(
        self,
        operation: str,
        fault: Fault,
        *,
        card: str | None,
        reference: str | None,
        times: int | None,
        rate: float | None,
        seed: int | None = None,
    ) -> Switch:
        """Add a switch, or replace the one in the same place."""
        chance = random.Random(seed)  # noqa: S311 - chance, not a secret
        with self._lock:
            switch = Switch(next(self._ids), operation, fault, card, reference, times, rate, seed, chance=chance)
            self._switches = (*(old for old in self._switches if old.place != switch.place), switch)
            return switch

    def switch_off(self, switch_id: int) -> None:
        with self._lock:
            self._switches = tuple(switch for switch in self._switches if switch.id != switch_id)

    def switch_all_off(self) -> None:
        with self._lock:
            self._switches = ()

    def all(self) -> tuple[Switch, ...]:
        return self._switches

    def concerns(self, operation: str) -> bool:
        """Tell whether any switch is for this operation."""
        return any(switch.operation == operation for switch in self._switches)

    def fire(self, operation: str, *, card: str | None, references: Sequence[str]) -> Fault | None:
        """Return the fault that strikes this call, counting it, or None. The first switch that matches strikes."""
        if not self._switches:
            return None
        with self._lock:
            for switch in self._switches:
                if not _matches(switch, operation, card=card, references=references):
                    continue
                times = None if switch.times is None else switch.times - 1
                fired = replace(switch, times=times, fired=switch.fired + 1)
                self._switches = tuple(fired if other is switch else other for other in self._switches)
                logger.debug("fault %s strikes %s %s", switch.fault.kind, operation, references)
                return switch.fault
        return None


def _matches(switch: Switch, operation: str, *, card: str | None, references: Sequence[str]) -> bool:
    return (
        switch.operation == operation
        and switch.times != 0
        and (switch.card is None or switch.card == card)
        and (switch.reference is None or switch.reference in references)
        and (switch.rate is None or switch.chance.random() < switch.rate)
    )


switchboard = Switchboard()
