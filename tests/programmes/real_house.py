"""The whole house as it runs in the demo, to be killed: durable Postgres, Redis, web server, workers and beat, and the sandbox PSP beside it.

What was killed is started again here, as a supervisor would.  Standard library and the process side of config only: it runs before Django is
told where its database is.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config import demo, demosetup, devservices
from config.demosetup import Place
from config.devservices import Services
from config.supervisor import Child, ChildDied, stop_together, wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
RESTART_DEADLINE_S = 60


@dataclass
class RealHouse:
    """The running processes by name."""

    place: Place
    services: Services
    children: dict[str, Child]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of one more of our processes."""
        return demosetup.app_environment(self.place, self.services.endpoints)

    def pid(self, name: str) -> int:
        process = self.children[name].process
        if process is None:
            raise ProcessLookupError(f"{name} does not run")
        return process.pid

    def kill(self, name: str) -> None:
        """End a process by kill -9, wait until it is gone, and start it again until it is ready."""
        os.kill(self.pid(name), signal.SIGKILL)
        self.revive(name)

    def kill_child(self, name: str, choose: Callable[[list[int]], int]) -> None:
        """End one of the processes that this one forked; it must make a new one by itself."""
        listed = Path(f"/proc/{self.pid(name)}/task/{self.pid(name)}/children").read_text()
        forked = [int(pid) for pid in listed.split()]
        if forked:
            os.kill(choose(forked), signal.SIGKILL)

    def revive(self, name: str) -> None:
        child, until = self.children[name], time.monotonic() + RESTART_DEADLINE_S
        while child.exit_code() is None:
            time.sleep(0.01)
        while True:
            child.start_again()
            try:
                return wait_until_ready([child])
            except ChildDied:  # Postgres waits for the last of its former processes, and a port for its former owner
                if time.monotonic() > until:
                    raise


@contextmanager
def running() -> Iterator[RealHouse]:
    """Run the house on servers and data of its own."""
    logs = ROOT / "var" / "log" / "crash"
    with devservices.start(ROOT, durable=True, keep=False, logs=logs) as services:
        place = Place(ROOT, Path(sys.executable), services.home, logs).at(
            port=devservices.free_port(), sandbox_port=devservices.free_port()
        )
        demosetup.prepare(place, services)
        children = demo.processes(place, services)
        try:
            for child in children:
                child.start()
            wait_until_ready(children)
            yield RealHouse(place, services, {child.name: child for child in [*services.children, *children]})
        finally:
            with suppress(ProcessLookupError):
                stop_together(children)
