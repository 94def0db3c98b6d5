"""The nursery's side of the programme: asks tests/crash/dying_worker.py, a process of its own, to fork one process for each step.

The step's process dies by SIGKILL when it comes to its point, without a word to anybody; what is left of it is what Postgres and the PSP
know.  A step that survives says with what HTTP status, and how many passages of the point were still to come.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.fixtures_money import environment_of_a_child
from tests.fixtures_services import ROOT
from tests.programmes import steps
from tests.programmes.points import POINTS, Point
from tests.programmes.trap import Killed

DYING_WORKER = Path(__file__).parents[1] / "crash" / "dying_worker.py"


@dataclass
class Nursery:
    """Takes each step in a forked process; `passed` are the points that were passed."""

    process: subprocess.Popen[str]
    point: Point | None = None
    passages_left: int = 0
    passed: set[Point] = field(default_factory=set)

    def arm(self, point: Point, *, passage: int) -> None:
        self.point, self.passages_left = point, passage

    def disarm(self) -> None:
        self.point = None

    def run(self, name: str, terms: Mapping[str, Any]) -> int | None:
        """Take the step; raises Killed when its process was ended by SIGKILL.  Whoever need not fear death is not forked."""
        if self.point is None:
            return steps.take(name, terms)
        wish = {"step": name, "terms": terms, "point": POINTS.index(self.point), "passage": self.passages_left}
        ended = self.ask(wish)
        self.passed |= {POINTS[number] for number in ended.get("passed", [])}
        if ended["signal"] == signal.SIGKILL:
            self.passed.add(self.point)
            self.point = None
            raise Killed
        if ended["signal"] or ended["error"]:
            raise AssertionError(f"the process of {name} ended by itself: {ended}")
        self.passages_left = ended["passages_left"]
        status: int | None = ended["status"]
        return status

    def ask(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        said, heard = self.process.stdin, self.process.stdout
        if said is None or heard is None:
            raise AssertionError("the nursery has no ears")
        said.write(json.dumps(wish) + "\n")
        said.flush()
        return dict(json.loads(heard.readline() or '{"signal": 0, "error": "the nursery is gone"}'))


@contextmanager
def a_nursery() -> Iterator[Nursery]:
    """Keep a nursery on this process's database, sandbox and test clock."""
    environment = environment_of_a_child() | {
        "PYTHONPATH": str(ROOT),
        "TEST_CLOCK_FILE": settings.TEST_CLOCK_FILE,
        "API_RATE": "1000000/sec",
    }
    environment |= {name: os.environ[name] for name in os.environ if name.startswith("PSP_SANDBOX_")}
    command = [sys.executable, str(DYING_WORKER)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()
