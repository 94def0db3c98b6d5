"""Child processes of one terminal: started in order, probed until ready, watched, stopped in reverse.

Invariant: no child outlives its supervisor. Each is born with PR_SET_PDEATHSIG, so that even `kill -9` of the supervisor
ends it (PostgreSQL by SIGINT, its clean and fast shutdown). The kernel sends that signal when the *thread* that forked
ends, so children are started from the main thread only. Their output goes to log files and never to the caller's pipe,
which an orphan would keep open. Called by ./run, config/demo.py and config/devservices.py; standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
POLL_S = 0.05
TAIL_LINES = 30
LONGEST_BACKOFF_S = 30.0
STEADY_AFTER_S = 60.0

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Probe = Callable[["Child"], bool]


class ChildDied(Exception):
    """A child ended, or did not become ready, while it was being started."""

    def __init__(self, name: str, *, how: str, log: Path) -> None:
        super().__init__(f"{name} {how}. Its log is {log}.")
        self.last_lines = tail(log, lines=TAIL_LINES)


class StopRequested(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP arrived. Not an Exception, so that no `except Exception` keeps us alive."""


@dataclass(frozen=True)
class Account:
    """The unprivileged account that a child runs as when we are root."""

    uid: int
    gid: int

    def run(self, command: Sequence[str], *, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end as this account, with `text` as its input."""
        return subprocess.run(
            list(command),
            input=text,
            capture_output=True,
            text=True,
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            check=False,
        )


def die_with_parent(signum: int) -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel send `signum` to the child when this process ends, however it ends."""
    parent = os.getpid()

    def before_exec() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return before_exec


def alive(child: Child) -> bool:
    """The child needs no probe: that it runs is enough."""
    return child.exit_code() is None


def tcp(port: int) -> Probe:
    """Ready once something accepts connections on 127.0.0.1:`port`."""

    def probe(_: Child) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False

    return probe


def http(url: str) -> Probe:
    """Ready once `url` answers with a 2xx."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through the user's proxy

    def probe(_: Child) -> bool:
        try:
            with opener.open(url, timeout=5) as answer:
                return bool(200 <= answer.status < 300)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    return probe


def log_line(text: str) -> Probe:
    """Ready once `text` stands in what this start of the child has logged."""

    def probe(child: Child) -> bool:
        with child.log.open("rb") as file:
            file.seek(child.log_offset)
            return text.encode() in file.read()

    return probe


@dataclass
class Child:
    """One program: how to start it, how to know that it is ready, how to stop it."""

    name: str
    command: Sequence[str]
    log: Path
    ready: Probe = alive
    env: Mapping[str, str] | None = None
    cwd: Path = Path("/")
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    ready_timeout_s: float = 60
    stop_timeout_s: float = 10
    log_offset: int = field(default=0, init=False)
    started_at: float = field(default=0, init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def when(self, ready: Probe) -> Child:
        """Return the child, which counts as ready once `ready` says so."""
        self.ready = ready
        return self

    def start(self) -> None:
        """Start the program; call `wait_until_ready` next."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.log_offset = log.tell()
            self.started_at = time.monotonic()
            self.process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor only, which stops in order
                preexec_fn=die_with_parent(self.stop_signal),
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
            )

    def exit_code(self) -> int | None:
        return 0 if self.process is None else self.process.poll()

    def how_it_ended(self) -> str:
        code = self.exit_code()
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"stopped with exit code {code}"

    def signal_stop(self) -> None:
        if self.process is not None and self.exit_code() is None:
            self.process.send_signal(self.stop_signal)

    def end(self) -> None:
        """Wait for the stop that `signal_stop` asked for; past the time allowed, kill it. Ends all it started, too."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout=self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._end_descendants()
        self.process = None

    def _end_descendants(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process is not None:
                os.killpg(self.process.pid, signal.SIGKILL)

    def start_again(self) -> None:
        """Start a crashed program anew, after ending what it may have left behind on its port."""
        self._end_descendants()
        self.start()


def wait_until_ready(children: Sequence[Child]) -> None:
    """Return when every child is ready; raise `ChildDied` for the first that ends or takes too long."""
    waiting = list(children)
    while waiting:
        for child in list(waiting):
            if child.exit_code() is not None:
                raise ChildDied(child.name, how=f"{child.how_it_ended()} while starting", log=child.log)
            if child.ready(child):
                waiting.remove(child)
            elif time.monotonic() - child.started_at > child.ready_timeout_s:
                raise ChildDied(child.name, how=f"was not ready after {child.ready_timeout_s:.0f} s", log=child.log)
        if waiting:
            time.sleep(POLL_S)


def stop_together(children: Sequence[Child]) -> None:
    """Ask all of `children` to stop at once, then wait for each."""
    for child in children:
        child.signal_stop()
    for child in children:
        child.end()


def tail(path: Path, *, lines: int) -> str:
    """Return the last lines of a log, or an empty string when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def ignore_signals() -> None:
    """Let nothing interrupt an orderly stop."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)


def stop_on_signals() -> None:
    """Turn Ctrl-C, SIGTERM and a closed terminal into `StopRequested`, once: a second one does not cut the stop short."""

    def on_signal(*_: object) -> None:
        ignore_signals()
        raise StopRequested

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(signum, on_signal)


@dataclass
class _Restart:
    failures: int = 0
    due_at: float | None = None


class Supervisor:
    """Groups of children. A group starts together; groups stop in reverse order."""

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._groups: list[list[Child]] = []
        self._restarts: dict[str, _Restart] = {}

    def start(self, *children: Child) -> None:
        """Start `children` at once and return when all of them are ready. Raises `ChildDied`."""
        self.adopt(*children)
        for child in children:
            child.start()
        wait_until_ready(children)

    def adopt(self, *children: Child) -> None:
        """Watch and, in their turn, stop children that somebody else has started."""
        self._groups.append(list(children))
        self._restarts.update({child.name: _Restart() for child in children})

    def watch(self) -> None:
        """Start again, with a growing pause, whatever crashes. Ends by an exception only: `StopRequested`."""
        while True:
            self.restart_crashed(now=time.monotonic())
            time.sleep(0.25)

    def restart_crashed(self, *, now: float) -> None:
        """Note which children have crashed, and start those whose pause is over."""
        for child in [child for group in self._groups for child in group]:
            if child.exit_code() is not None:
                self._restart_in_time(child, now=now)

    def stop(self) -> None:
        """Stop all groups, the youngest first."""
        for group in reversed(self._groups):
            stop_together(group)
        self._groups.clear()

    def _restart_in_time(self, child: Child, *, now: float) -> None:
        restart = self._restarts[child.name]
        if restart.due_at is None:
            steady = now - child.started_at > STEADY_AFTER_S
            restart.failures = 1 if steady else restart.failures + 1
            pause_s = min(2.0 ** (restart.failures - 1), LONGEST_BACKOFF_S)
            restart.due_at = now + pause_s
            self._say(f"{child.name} {child.how_it_ended()}; it starts again in {pause_s:.0f} s (log: {child.log})")
        elif now >= restart.due_at:
            restart.due_at = None
            child.start_again()
