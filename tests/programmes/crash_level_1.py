"""Crash programme, level 1: thousands of deaths inside this process, at points and passages that a seed draws.

Each case tells a story (flows.py), dies at its point, heals, and is judged by the PSP's journal.  In half of the cases whoever carries on
may die, too, at another point of the same story.  Deaths are what is counted: a case whose point was not passed so often as the seed wished
has none.  The whole house is judged now and then and at the end.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from payments.models import DueOrder, PspEvent, Refund
from payments.states import RefundStatus
from payouts.models import Payout
from payouts.states import PayoutStatus
from tests.programmes import (
    flow_approvals,
    flow_close,
    flow_conversions,
    flow_files,
    flow_reports,
    flow_stored_value,
    points,
    steps,
    verdicts,
)
from tests.programmes.flows import FLOWS, Case, Processes, Refused
from tests.programmes.house import House, standing_house
from tests.programmes.points import Point
from tests.programmes.trap import Killed, Trap, installed
from tests.programmes.verdicts import Verdicts

HOUSE_IS_JUDGED_EVERY = 200
QUIET_ROUNDS = 40
STORIES = {
    **FLOWS,
    "files": flow_files.files,
    "report": flow_reports.report,
    "close": flow_close.close,
    "approval": flow_approvals.approval,
    "tender": flow_stored_value.tender,
    "purchase": flow_stored_value.purchase,
    "breakage": flow_stored_value.breakage,
    "convert": flow_conversions.convert,
    "exchange": flow_conversions.exchange,
}
MORE_VERDICTS = {
    "files": flow_files.verdict,
    "report": flow_reports.verdict,
    "close": flow_close.verdict,
    "approval": flow_approvals.verdict,
    "tender": flow_stored_value.verdict_on_tenders,
    "purchase": flow_stored_value.verdict_on_purchases,
    "breakage": flow_stored_value.verdict_on_breakage,
    "convert": flow_conversions.verdict,
    "exchange": flow_conversions.verdict,
}
ONLY_LETTERS_TELL = ("refund.failed", "dispute.opened", "dispute.closed")
PASSAGES = (1, 1, 1, 2, 3)  # at which time a point is passed the process dies
DIES_AGAIN = 0.5
MOST_CASES_PER_INJECTION = 4  # a point that is passed once only is drawn for its third passage, too

Say = Callable[[str], None]


class Swallowed(AssertionError):
    """Somebody caught the death of the process and went on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played: so many injections from this case on, at these points."""

    injections: int
    seed: str
    first: int = 0
    stride: int = 1  # every so-manieth case is this process's, the others are played by others
    point: str = ""
    only_case: bool = False

    @property
    def points(self) -> Sequence[Point]:
        return points.named(self.point)

    def again(self, number: int, *, level: int) -> str:
        """Return the command that plays one case again."""
        return f"./run crash --level {level} --n 1 --seed {self.seed}:{number}{self._at}"

    def all_again(self, *, level: int) -> str:
        """Return the command that plays this process's cases again, whoever else played."""
        if self.only_case:
            return self.again(self.first, level=level)
        injections = self.injections * self.stride
        return f"./run crash --level {level} --n {injections} --seed {self.seed} --processes {self.stride}{self._at}"

    @property
    def _at(self) -> str:
        return f" --point {self.point}" if self.point else ""


@dataclass
class Score:
    """What was played, and what was found."""

    injected: int = 0
    cases: int = 0
    verdicts: Verdicts = field(default_factory=Verdicts)
    failures: list[str] = field(default_factory=list)
    drawn: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)

    @property
    def never_passed(self) -> list[str]:
        """Return the points that were drawn, and that nobody came to."""
        return sorted(self.drawn - self.passed)

    def add(self, other: "Score") -> None:
        """Add what another process has found."""
        self.injected += other.injected
        self.cases += other.cases
        self.verdicts.add(other.verdicts)
        self.failures += other.failures
        self.drawn |= other.drawn
        self.passed |= other.passed

    @property
    def is_clean(self) -> bool:
        return not (self.failures or self.never_passed) and self.verdicts.are_clean

    def __str__(self) -> str:
        return f"injected {self.injected} {self.verdicts.count()}"


@dataclass
class InThisProcess:
    """A process is a function call; its death is Killed, and what it leaves is a connection that Postgres has lost."""

    trap: Trap

    def arm(self, point: Point, *, passage: int) -> None:
        connection.ensure_connection()  # the trap cuts it, whichever thread dies
        self.trap.arm(point, passage=passage)

    def disarm(self) -> None:
        self.trap.disarm()

    def run(self, name: str, terms: Mapping[str, Any]) -> int | None:
        try:
            status = steps.take(name, terms)
        except Exception as error:
            if not self.trap.is_dead:
                raise
            self.trap.resurrect()  # one thread of the process died, and another saw its connection go before it was told
            raise Killed from error
        except Killed:
            self.trap.resurrect()
            raise
        if self.trap.is_dead:
            self.trap.resurrect()
            raise Swallowed(f"{name} answers {status} after its death")
        return status


def play(house: House, plan: Plan, *, say: Say = print) -> Score:
    """Play the cases of the plan one after the other; return the score."""
    trap = Trap()
    with installed(trap, points.POINTS):
        score = play_with(house, plan, processes=InThisProcess(trap), level=1, say=say)
    score.passed = score.drawn if plan.only_case else {str(point) for point in trap.passed}
    return score


def play_with(house: House, plan: Plan, *, processes: Processes, level: int, say: Say) -> Score:
    score, started = Score(), time.monotonic()
    number = plan.first
    while score.injected < plan.injections and score.cases < plan.injections * MOST_CASES_PER_INJECTION + 10:
        case = draw(house, processes, plan, number)
        judge(case, score=score, command=plan.again(number, level=level), say=say)
        number += plan.stride
        if score.cases % HOUSE_IS_JUDGED_EVERY == 0:
            judge_house(house, score, command=plan.all_again(level=level), say=say)
            say(f"{score} in {score.cases} cases, {time.monotonic() - started:.0f} s")
        if plan.only_case:
            break
    judge_house(house, score, command=plan.all_again(level=level), say=say)
    return score


def draw(house: House, processes: Processes, plan: Plan, number: int) -> Case:
    """Return the case of this number: its point goes round through all points, everything else is drawn by the seed."""
    chance = random.Random(f"{plan.seed}:{number}")
    point, passage = plan.points[number % len(plan.points)], chance.choice(PASSAGES)
    after_it = [each for each in plan.points if each.flow == point.flow]
    again_at = chance.choice(after_it) if chance.random() < DIES_AGAIN else None
    return Case(house, processes, number, chance, point, passage, again_at)


def judge(case: Case, *, score: Score, command: str, say: Say) -> None:
    """Play one case with its trap set, heal, and compare."""
    score.cases += 1
    score.drawn.add(str(case.point))
    try:
        STORIES[case.point.flow](case)
        waiting = case.heal()
        case.processes.disarm()
        found = verdicts.on_case(case)
        if case.point.flow in MORE_VERDICTS:
            found.add(MORE_VERDICTS[case.point.flow](case))
        found.stuck += [f"{reference} still waits" for reference in waiting if not any(reference in known for known in found.stuck)]
    except (Refused, Swallowed, TimeoutError) as error:
        found = Verdicts(stuck=[str(error)])
    except Exception as error:  # noqa: BLE001 - a step that fails by itself is a finding, too, and must be played again
        found = Verdicts(stuck=[f"{type(error).__name__}: {error}"])
    finally:
        case.processes.disarm()
    score.injected += case.deaths
    if not found.are_clean:
        score.verdicts.add(found)
        for sentence in found.sentences():
            score.failures.append(sentence)
            say(f"FAILED case {case.number} ({case.point}, passage {case.passage}, {case.deaths} deaths): {sentence}\n  again: {command}")


def judge_house(house: House, score: Score, *, command: str, say: Say) -> None:
    """Let everything come to rest, bring the letters that nobody has read, and judge the whole."""
    rest(house)
    found = verdicts.on_house(house)
    score.verdicts.add(found)
    for sentence in found.sentences():
        score.failures.append(sentence)
        say(f"FAILED the house after {score.cases} cases: {sentence}\n  again: {command}")


def rest(house: House) -> None:
    """Sweep with a clock that jumps until the PSP has nothing pending and we have nothing due; deliver what only a letter can tell."""
    for _round in range(QUIET_ROUNDS):
        for letter in house.all_letters():
            if body_of(letter)["type"] in ONLY_LETTERS_TELL:
                steps.receive(letter.decode(), house.signed(letter))
        for sweep in steps.SWEEPS:
            steps.take(sweep, {})
        house.journal.read_on()
        pending = [reference for reference in list(house.journal.by_reference) if house.journal.is_pending(reference)]
        if not pending and not due():
            return
        house.advance(600 if pending else 3700)


def body_of(letter: bytes) -> dict[str, Any]:
    return dict(json.loads(letter))


def due() -> bool:
    """Tell whether anything waits for a worker."""
    return (
        DueOrder.objects.filter(next_attempt_at__isnull=False).exists()
        or Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__isnull=False).exists()
        or Payout.objects.filter(status=PayoutStatus.EXECUTING, next_attempt_at__isnull=False).exists()
        or PspEvent.objects.filter(status=PspEvent.Status.RECEIVED).exists()
    )


def run(plan: Plan, *, say: Say) -> Score:
    """Play on a house of its own, for the command line."""
    with standing_house() as house:
        return play(house, plan, say=say)
