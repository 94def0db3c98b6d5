"""The demo: every process of Onebook on this machine, with data that tells a story, behind one command.

Order: PostgreSQL and Redis, tables and static files, then the sandbox PSP, web, workers and beat, then the demo data. What
the user needs to know is printed as one table and kept 0600 in shown.json, which `./run info` prints again. `--once` does
all this on throw-away data, lets `manage.py self_check` buy something over HTTP, and stops. Called by ./run; standard
library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import demosetup, devservices
from config.demosetup import DemoError, Place
from config.devservers import write_private
from config.devservices import Services
from config.supervisor import Child, StopRequested, Supervisor, die_with_parent, http, ignore_signals, log_line, tail

DEFAULT_PORT = 8000
DEFAULT_SANDBOX_PORT = 9100
STOP_TIMEOUT_S = 60
HANDS = {"money": 2, "webhooks": 2, "bulk": 1}  # a worker for each queue, so that none holds up another

Say = Callable[[str], None]
Summary = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What `./run demo` was asked for."""

    port: int | None
    seed: bool
    once: bool


def run(root: Path, *, python: Path, options: Options, say: Say) -> int:
    """Start everything, print the table and stay until told to stop; with `once`, check and stop. Returns the exit code.

    Raises ServicesError, DemoError and ChildDied, after all that had started was stopped again.
    """
    started = time.monotonic()
    if not options.once:
        _refuse_second(root)
    logs = root / "var" / "log" / ("once" if options.once else "demo")
    _begin_logs(logs)
    with _running(root, logs=logs, keep=not options.once, say=say) as (services, supervisor):
        state = services.home if options.once else demosetup.state_in(root / "var")
        place = _place(Place(root, python, state, logs), options=options, say=say)
        demosetup.prepare(place, services)
        supervisor.start(*processes(place, services))
        shown = _seed(place, services) if options.seed else {}
        if options.once:
            return _self_check(place, services, say=say)
        summary = _summary(place, shown)
        write_private(_summary_file(root), json.dumps(summary, indent=1))
        say(f"{table(summary)}\n\nStarted in {time.monotonic() - started:.1f} s. Ctrl-C stops it; the data is kept.")
        supervisor.watch()
    return 0


def running(root: Path) -> Summary | None:
    """Return what the demo that runs in this checkout has shown, and None when none runs."""
    if not devservices.is_served(devservices.kept_home(root)) or not _summary_file(root).exists():
        return None
    return dict(json.loads(_summary_file(root).read_text()))


def stop(root: Path) -> bool:
    """Stop whatever serves the kept data of this checkout, and wait for its end. False when there was nothing to stop."""
    home = devservices.kept_home(root)
    pid = devservices.serving_pid(home)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while devservices.is_served(home):
        if time.monotonic() > deadline:
            raise DemoError(f"Process {pid} did not stop in {STOP_TIMEOUT_S} s; `kill -9 {pid}` ends it and its children.")
        time.sleep(0.1)
    return True


def table(summary: Summary) -> str:
    """Lay out what a user needs to know."""
    sections = [
        _columns("Open in a browser", [(WHAT.get(name, name), url) for name, url in summary["urls"].items()]),
        _columns("Ready checkouts", [(each["title"], each["url"], each["type"]) for each in summary["ready"]]),
        _columns("Log in", [tuple(each[part] for part in ("who", "user", "password", "url")) for each in summary["logins"]]),
        _columns("Test cards", [(card["number"], card["what"]) for card in summary["test_cards"]]),
    ]
    if summary["api_key"]:
        example = f'curl -H "Authorization: Bearer {summary["api_key"]}" {summary["url"]}/v1/payments'
        sections.insert(3, _columns("Call the API", [("Key", summary["api_key"]), ("Try", example)]))
    sections.append(_columns("Look after it", [("Logs", summary["logs"]), ("This table again", "./run info")]))
    return "\n\n".join(["Onebook runs on this machine.", *(section for section in sections if section)])


def _columns(title: str, rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  " + "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _refuse_second(root: Path) -> None:
    shown = running(root)
    if shown is not None:
        raise DemoError(f"The demo runs already, at {shown['url']}: `./run info` shows it, `./run down` stops it.")
    home = devservices.kept_home(root)
    if devservices.is_served(home):
        raise devservices.AlreadyServed(home)


@contextlib.contextmanager
def _running(root: Path, *, logs: Path, keep: bool, say: Say) -> Iterator[tuple[Services, Supervisor]]:
    """Give running services and a supervisor that watches them; stop all, in reverse, however the block ends."""
    supervisor = Supervisor(say=say)
    services = devservices.start(root, durable=True, keep=keep, logs=logs, shared_buffers="256MB")
    supervisor.adopt(*services.children)
    try:
        yield services, supervisor
    except StopRequested:
        say("Stopping.")
    finally:
        ignore_signals()
        if keep:
            _summary_file(root).unlink(missing_ok=True)
        supervisor.stop()
        services.stop()


def _begin_logs(logs: Path) -> None:
    """Keep the logs of the last start as `*.log.1`, and begin new ones."""
    logs.mkdir(parents=True, exist_ok=True)
    for log in logs.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))


def _place(place: Place, *, options: Options, say: Say) -> Place:
    """Give the demo its ports: what was asked for, else the usual ones, else the next free ones."""
    if options.once and options.port is None:
        return place.at(port=devservices.free_port(), sandbox_port=devservices.free_port())
    port = demosetup.choose_port(options.port, default=DEFAULT_PORT)
    if options.port is None and port != DEFAULT_PORT:
        say(f"Port {DEFAULT_PORT} is taken; using {port}.")
    return place.at(port=port, sandbox_port=demosetup.choose_port(None, default=DEFAULT_SANDBOX_PORT))


def processes(place: Place, services: Services) -> list[Child]:
    """Return the processes of our system and of the foreign company it talks to. None needs another to come up."""
    ours = demosetup.app_environment(place, services.endpoints)
    theirs = demosetup.sandbox_environment(place, services.endpoints)
    gunicorn = f"gunicorn config.wsgi:application --bind 127.0.0.1:{place.port} --worker-class gthread --workers 2"
    celery = "celery -A config --skip-checks"
    worker = f"{celery} worker --loglevel INFO --without-mingle --without-gossip"
    beat = f"{celery} beat --loglevel INFO --pidfile= --schedule {place.state}/beat-schedule"
    return [
        _child(place, "sandbox", f"payments.sandbox serve --port {place.sandbox_port}", env=theirs).when(
            http(f"{place.sandbox_url}/healthz")
        ),
        _child(place, "web", f"{gunicorn} --threads 4 --no-control-socket", env=ours).when(http(f"{place.url}/healthz")),
        *[
            _child(place, f"worker-{queue}", f"{worker} -Q {queue} -n {queue}@%h --concurrency {hands}", env=ours).when(log_line(" ready."))
            for queue, hands in HANDS.items()
        ],
        _child(place, "beat", beat, env=ours).when(log_line("beat: Starting")),
    ]


def _child(place: Place, name: str, module: str, *, env: dict[str, str]) -> Child:
    command = [str(place.python), "-m", *module.split(" ")]
    return Child(name, command=command, log=place.logs / f"{name}.log", env=env, cwd=place.root)


def _seed(place: Place, services: Services) -> Summary:
    """Make the demo data (or find it made) and return what it wants shown."""
    finance, shop = (_told(_manage(place, services, command)) for command in ("demo_finance", "demo_data"))
    _manage(place, services, "demo_payouts")
    return shop | {"logins": [*finance.get("logins", []), *shop.get("logins", [])]}


def _told(printed: str) -> Summary:
    """Return the last line of what a command printed that is JSON, if there is one."""
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def _manage(place: Place, services: Services, command: str) -> str:
    """Run a management command to its end; return what it printed.  Raises DemoError with the last lines of its log."""
    log = place.logs / f"{command}.log"
    with log.open("wb") as errors:
        answer = subprocess.run(
            [*place.manage, command],
            cwd=place.root,
            env=demosetup.app_environment(place, services.endpoints),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=die_with_parent(signal.SIGTERM),
            check=False,
        )
    if answer.returncode != 0:
        raise DemoError(f"manage.py {command} failed (log: {log}):\n{tail(log, lines=30)}")
    return answer.stdout.decode()


def _self_check(place: Place, services: Services, *, say: Say) -> int:
    """Have a basket bought and paid over HTTP; pass on the lines it prints. Returns 0, or 1 with the last lines of the log."""
    log = place.logs / "self_check.log"
    with log.open("wb") as errors:
        check = subprocess.Popen(
            [*place.manage, "self_check"],
            cwd=place.root,
            env=demosetup.app_environment(place, services.endpoints),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    for line in check.stdout or []:
        say(line.decode().rstrip())
    if check.wait() == 0:
        return 0
    say(f"The self-check failed. Its last lines (all logs are in {place.logs}):\n{tail(log, lines=30)}")
    return 1


WHAT = {
    "stories": "Try each way to pay",
    "checkout": "A basket to pay",
    "seller": "A seller's wallet",
    "admin": "Admin",
    "docs": "API documentation",
    "sandbox": "PSP sandbox",
}


def _summary(place: Place, shown: Summary) -> Summary:
    usual = {"seller": "/seller/", "admin": "/admin/", "docs": "/docs"}
    urls = {name: place.url + path for name, path in usual.items()} | {"sandbox": f"{place.sandbox_url}/"}
    urls |= shown.get("urls", {})
    order = [name for name in dict.fromkeys([*WHAT, *urls]) if name in urls]
    return {
        "pid": os.getpid(),
        "url": place.url,
        "port": place.port,
        "sandbox_url": place.sandbox_url,
        "sandbox_port": place.sandbox_port,
        "urls": {name: urls[name] for name in order},
        "logins": shown.get("logins", []),
        "api_key": shown.get("api_key", ""),
        "test_cards": shown.get("test_cards", []),
        "ready": shown.get("ready", []),
        "gift_cards": shown.get("gift_cards", {}),
        "logs": str(place.logs),
    }


def _summary_file(root: Path) -> Path:
    return root / "var" / "demo" / "shown.json"
