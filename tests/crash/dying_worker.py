"""Workers that die: a nursery, run as a process of its own, forks one for each line it reads, `POINT<tab>FILE`.

POINT is the dotted name of the function in front of which the worker stops for ever (`after:` - behind which); FILE is created when it
stands there, to be killed with -9.  The nursery answers with the worker's process id, and then with how it ended.  It ends with its input.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import django

TASKS = ("execute_due_orders", "execute_due_refunds", "apply_psp_events")


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
    for task in TASKS:
        getattr(import_module("payments.tasks"), task)()


def main() -> None:
    django.setup()
    import_module("payments.tasks")
    for line in sys.stdin:
        point, _tab, mark = line.rstrip("\n").partition("\t")
        worker = os.fork()
        if not worker:
            work(point, Path(mark))
            os._exit(0)
        print(worker, flush=True)
        _worker, status = os.waitpid(worker, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
