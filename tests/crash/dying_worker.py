"""Processes that die: a nursery, run as a process of its own, forks one for each line it reads, and ends with its input.

`POINT<tab>FILE`: a worker that takes the tasks, and stops for ever in front of the function of this dotted name (`after:` - behind it); FILE
is created when it stands there, to be killed with -9.  The nursery answers with its process id, and then with how it ended.

`{"step": ..., "terms": ..., "point": ..., "passage": ...}`: one step (tests/programmes/steps.py), whose process kills itself with -9 at the
n-th passage of a point (tests/programmes/points.py).  The nursery answers with one line: the signal that ended it, or what it said.
"""

import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.core.checks.urls import check_url_config

TASKS = {
    "payments.tasks": ("look_at_sessions", "execute_due_orders", "execute_due_refunds", "apply_psp_events"),
    "reconciliation.tasks": ("stage_files",),
}
ENOUGH = 1 << 20


def stop_at(point: str, mark: Path) -> None:
    """Put a wait for ever in front of the function, or behind it."""
    module_name, _dot, name = point.removeprefix("after:").rpartition(".")
    module = import_module(module_name)
    real = getattr(module, name)

    def stop_here(*arguments: Any, **named: Any) -> None:
        if point.startswith("after:"):
            real(*arguments, **named)
        mark.touch()
        signal.pause()

    setattr(module, name, stop_here)


def work(point: str, mark: Path) -> None:
    """Do what the worker's tasks do, once."""
    stop_at(point, mark)
    for module, tasks in TASKS.items():
        for task in tasks:
            getattr(import_module(module), task)()


def stand_still(line: str) -> None:
    """Fork a worker that stops at its point, and say who it is and how it ended."""
    point, _tab, mark = line.partition("\t")
    worker = os.fork()
    if not worker:
        work(point, Path(mark))
        os._exit(0)
    print(worker, flush=True)
    _worker, status = os.waitpid(worker, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)


def take_step(wish: dict[str, Any], ears: int) -> None:
    """Take the step, with its trap set, and write down what came of it."""
    points, steps, trap_of = (import_module(f"tests.programmes.{name}") for name in ("points", "steps", "trap"))
    trap = trap_of.Trap(strike=trap_of.die_at_once)
    with trap_of.installed(trap, points.POINTS):
        if wish["point"] is not None:
            trap.arm(points.POINTS[wish["point"]], passage=wish["passage"])
        said: dict[str, Any] = {"error": "", "status": None}
        try:
            said["status"] = steps.take(wish["step"], wish["terms"])
        except Exception as error:  # noqa: BLE001 - the programme looks at it
            said["error"] = f"{type(error).__name__}: {error}"
        passed = [number for number, point in enumerate(points.POINTS) if trap.passed[point]]
        os.write(ears, json.dumps(said | {"passages_left": trap.passages_left, "passed": passed}).encode())


def die_or_say(line: str) -> None:
    """Fork a process for the step, and say how it ended."""
    mouth, ears = os.pipe()
    child = os.fork()
    if not child:
        take_step(json.loads(line), ears)
        os._exit(0)
    os.close(ears)
    said = b""
    while part := os.read(mouth, ENOUGH):
        said += part
    os.close(mouth)
    _child, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"signal": -code, **json.loads(said or b'{"error": ""}')}), flush=True)


def main() -> None:
    django.setup()
    import_module("config.celery")  # on whose broker views ring; Celery's own would be looked for, for six seconds
    for module in TASKS:
        import_module(module)
    import_module("tests.programmes.steps").CLIENT.handler.load_middleware()
    check_url_config(None)  # loads every view, once for all who are forked
    for line in sys.stdin:
        if line.startswith("{"):
            die_or_say(line)
        else:
            stand_still(line.rstrip("\n"))


if __name__ == "__main__":
    main()
