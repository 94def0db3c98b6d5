"""The whole house for the programmes that kill, flood and cut off: the very processes of `./run demo`, on throw-away durable data.

`./run` starts a programme with nothing but Python; the programme calls `running_house()`, which starts PostgreSQL, Valkey, the sandbox PSP,
web, workers and beat, and points this process at their database.  Only then may anything of Django be imported, so programmes keep their
stories in a module of their own and import it inside of `with running_house()`... by `stories()`.
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

from config import demo, demosetup, devservices
from config.demosetup import Place
from config.devservices import Services
from config.supervisor import Child, stop_on_signals, stop_together, wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "var" / "log" / "programmes"
SHARED_BUFFERS = "256MB"
RESTART_PAUSE_S = 0.5


@dataclass
class LiveHouse:
    """The running processes by name (postgres, redis, sandbox, web, worker-money, ..., beat), and where they answer."""

    place: Place
    services: Services
    children: dict[str, Child]
    environment: Mapping[str, str]
    webhook_secret: str
    psp: httpx.Client = field(repr=False)

    def start_again(self, *names: str) -> None:
        """Start processes that were killed; return when each is ready."""
        for name in names:
            self.children[name].start_again()
        wait_until_ready([self.children[name] for name in names])

    def stop(self, *names: str) -> None:
        stop_together([self.children[name] for name in names])

    def kill(self, name: str) -> None:
        """End a process by kill -9; `look_after` starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def kill_hand(self, name: str, choose: Callable[[list[int]], int]) -> None:
        """End one of the processes that this one forked; it must make a new one by itself."""
        listed = Path(f"/proc/{self.pid(name)}/task/{self.pid(name)}/children").read_text()
        forked = [int(pid) for pid in listed.split()]
        if forked:
            os.kill(choose(forked), signal.SIGKILL)

    def pid(self, name: str) -> int:
        process = self.children[name].process
        if process is None:
            raise ProcessLookupError(f"{name} does not run")
        return process.pid

    def look_after(self) -> list[str]:
        """Start again whatever has ended, as a supervisor does, without waiting for it; return its names.  Call it often, from the main thread.

        What was stopped by `stop` stays so.  Postgres may end once more, while the last of its former processes lives.
        """
        ended = [
            child
            for child in self.children.values()
            if child.process is not None and child.exit_code() is not None and time.monotonic() - child.started_at > RESTART_PAUSE_S
        ]
        for child in ended:
            child.start_again()
        return [child.name for child in ended]

    def journal(self) -> list[dict[str, Any]]:
        """Return the whole journal of the PSP: the oracle."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.psp.get("/v1/journal", params={"after": rows[-1]["seq"] if rows else 0, "limit": 1000}).json()
            rows += page["data"]
            if not page["has_more"]:
                return rows

    def fault(self, **fault: object) -> None:
        self.psp.put("/v1/faults", json=fault).raise_for_status()

    def heal(self) -> None:
        self.psp.delete("/v1/faults").raise_for_status()
        self.psp.delete("/v1/outage").raise_for_status()


@contextlib.contextmanager
def running_house(*, webhooks_to: str = "") -> Iterator[LiveHouse]:
    """Give the running house, and make this process one of its own (settings, database).  `webhooks_to`: instead of our own address."""
    stop_on_signals()
    with devservices.start(ROOT, durable=True, keep=False, logs=LOGS, shared_buffers=SHARED_BUFFERS) as services:
        place = Place(ROOT, Path(sys.executable), services.home, LOGS)
        place = place.at(port=devservices.free_port(), sandbox_port=devservices.free_port())
        demosetup.prepare(place, services)
        processes = demo.processes(place, services)
        for child in processes:
            if child.name == "sandbox" and webhooks_to:
                child.env = {**(child.env or {}), "SANDBOX_WEBHOOK_URL": webhooks_to}
        environment = demosetup.app_environment(place, services.endpoints)
        os.environ.update(environment, DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL="ERROR")
        import_module("django").setup()
        kept = demosetup.kept_secrets(place.state)
        headers = {"Authorization": f"Bearer {kept['PSP_SANDBOX_API_KEY']}"}
        try:
            for child in processes:
                child.start()
            wait_until_ready(processes)
            with httpx.Client(base_url=place.sandbox_url, headers=headers, timeout=30, trust_env=False) as psp:
                children = {child.name: child for child in (*services.children, *processes)}
                yield LiveHouse(place, services, children, environment, kept["PSP_SANDBOX_WEBHOOK_SECRET"], psp)
        finally:
            stop_together(processes)


def stories(name: str) -> ModuleType:
    """Import a module of this package that needs Django, once there is one."""
    return import_module(f"tests.programmes.{name}")


def wait_until(holds: Callable[[], bool], *, deadline_s: float, every_s: float = 0.1) -> bool:
    """Look again and again; tell whether it came true in time."""
    until = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(every_s)
    return True


def fresh_seed() -> int:
    return secrets.randbelow(10**6)


def percentile(sorted_values: list[float], share: float) -> float:
    """Return the value below which that share of the (sorted, not empty) values lies."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]
