"""PostgreSQL and a Redis-protocol server of our own, for the demo, the tests and the benchmarks.

Each server is our child in the foreground, on a free random port of 127.0.0.1, with random passwords kept 0600. Data
stays in <checkout>/var (as root under /var/lib/onebook, served by `nobody`), or in a throw-away directory. A lock held
for life says who serves it, so two processes never serve the same data. With DATABASE_URL (REDIS_URL) set, no
PostgreSQL (Redis) is started. Called by ./run, config/demo.py and tests/conftest.py; standard library only. Production
does not use it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from config.devprograms import (
    SYSTEM_HOME,
    ServicesError,
    find_postgres,
    find_redis,
    runnable_as,
    unprivileged_account,
)
from config.devservers import (
    ADMIN,
    APP,
    DATABASE_OF,
    OWNER,
    SANDBOX,
    Cluster,
    durability,
    redis_child,
    write_private,
    write_redis_settings,
)
from config.supervisor import Child, ChildDied, stop_together, wait_until_ready

__all__ = [
    "ADMIN",
    "APP",
    "OWNER",
    "SANDBOX",
    "AlreadyServed",
    "Endpoints",
    "Lock",
    "Services",
    "ServicesError",
    "attach",
    "delete_kept",
    "endpoints_in",
    "free_port",
    "is_served",
    "kept_home",
    "serving_pid",
    "start",
]

THROW_AWAY_PREFIX = "onebook-"
PORT_TRIES = 3


class AlreadyServed(ServicesError):
    """Another live process serves this data."""

    def __init__(self, home: Path) -> None:
        self.pid = _read_state(home).get("pid")
        super().__init__(f"The data in {home} is in use by process {self.pid}; `./run down` stops it.")


@dataclass(frozen=True)
class Endpoints:
    """Where the servers answer, and with which passwords. Port None: a server that is not ours."""

    postgres_port: int | None
    redis_port: int | None
    passwords: Mapping[str, str]

    def database_url(self, role: str, name: str | None = None) -> str:
        """Return the URL of database `name` (by default the role's own) for ADMIN, OWNER, APP or SANDBOX."""
        if self.postgres_port is None:
            return _foreign_database_url(role, name)
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.postgres_port}/{name or DATABASE_OF[role]}"

    @property
    def redis_url(self) -> str:
        if self.redis_port is None:
            return os.environ["REDIS_URL"]
        return f"redis://:{self.passwords['redis']}@127.0.0.1:{self.redis_port}/0"


class Services:
    """Running servers. `children` are for a supervisor to adopt; `stop()` ends them and frees or deletes the data."""

    def __init__(self, home: Path, *, endpoints: Endpoints, children: Sequence[Child], release: Callable[[], None]) -> None:
        self.home = home
        self.endpoints = endpoints
        self.children = children
        self._release = release

    def database_url(self, role: str, name: str | None = None) -> str:
        return self.endpoints.database_url(role, name)

    @property
    def redis_url(self) -> str:
        return self.endpoints.redis_url

    @property
    def data_id(self) -> str:
        """Return what stays the same as long as the data does; anew each time for a server that is not ours."""
        ours = self.endpoints.postgres_port is not None
        return str(_read_state(self.home)["data_id"]) if ours else secrets.token_hex(8)

    @property
    def state_file(self) -> Path:
        """Another process of the same user reads this path with `endpoints_in`."""
        return self.home / "state.json"

    def stop(self) -> None:
        stop_together(self.children)
        self._release()

    def __enter__(self) -> Services:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(root: Path, *, durable: bool, keep: bool, logs: Path, shared_buffers: str = "128MB") -> Services:
    """Start what DATABASE_URL and REDIS_URL do not already name, and return when it is ready.

    `durable=False` gives up fsync for speed: for tests only. `keep=False` uses a directory that `stop()` deletes.
    Raises ServicesError (AlreadyServed when another process serves the kept data) and ChildDied.
    """
    for variable in ("DATABASE_URL", "REDIS_URL"):
        _require_answer(variable)
    home = kept_home(root) if keep else _throw_away_home(root, durable=durable)
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = Lock(home / "lock")
    if not lock.take():
        lock.release()
        raise AlreadyServed(home)
    release = lock.release if keep else lambda: _delete(home, lock)
    try:
        passwords = _passwords(home, root=root)
        for attempt in range(1, PORT_TRIES + 1):
            children, ports = _children(home, passwords, logs, durability(durable, shared_buffers))
            try:
                _start_all(children)
                break
            except ChildDied as death:  # another program may have taken the free port meanwhile
                if attempt == PORT_TRIES or "address already in use" not in death.last_lines.lower():
                    raise
    except BaseException:
        release()
        raise
    endpoints = Endpoints(ports.get("postgres"), ports.get("redis"), passwords)
    _write_state(home, root=root, endpoints=endpoints)
    return Services(home, endpoints=endpoints, children=children, release=release)


def kept_home(root: Path) -> Path:
    """Return where the lasting data of this checkout is."""
    if os.geteuid() != 0:
        return root / "var"
    return SYSTEM_HOME / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]


def delete_kept(root: Path) -> None:
    """Delete the lasting data of this checkout. Stop what serves it first."""
    home = kept_home(root)
    for name in ("postgres", "postgres.new", "redis"):
        shutil.rmtree(home / name, ignore_errors=True)
    (home / "state.json").unlink(missing_ok=True)


def attach(root: Path) -> Endpoints | None:
    """Return the endpoints of the kept services of this checkout if a live process serves them."""
    home = kept_home(root)
    return endpoints_in(home / "state.json") if is_served(home) else None


def endpoints_in(state_file: Path) -> Endpoints:
    """Return the endpoints that running `Services` wrote down."""
    state = _read_state(state_file.parent)
    return Endpoints(state["postgres_port"], state["redis_port"], state["passwords"])


def is_served(home: Path) -> bool:
    """Tell whether a live process serves the data in `home`."""
    if not (home / "lock").exists():
        return False
    lock = Lock(home / "lock")
    try:
        return not lock.take()
    finally:
        lock.release()


def serving_pid(home: Path) -> int | None:
    """Return the process that serves the data in `home`, if one does."""
    return int(_read_state(home)["pid"]) if is_served(home) else None


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Lock:
    """An flock held as long as its holder lives: the kernel frees it even after kill -9."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """Take the lock if it is free; never wait."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        os.close(self._file)


def _read_state(home: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((home / "state.json").read_text()))
    except FileNotFoundError:
        return {}


def _write_state(home: Path, *, root: Path, endpoints: Endpoints) -> None:
    data_id = _read_state(home).get("data_id") or secrets.token_hex(8)
    state = {"pid": os.getpid(), "checkout": str(root), "data_id": data_id, **asdict(endpoints)}
    write_private(home / "state.json", json.dumps(state, indent=1))


def _passwords(home: Path, *, root: Path) -> dict[str, str]:
    """Return the passwords of this data, made and written down before the servers learn them."""
    passwords = {name: secrets.token_hex(16) for name in (ADMIN, OWNER, APP, SANDBOX, "redis")}
    passwords.update(_read_state(home).get("passwords", {}))
    _write_state(home, root=root, endpoints=Endpoints(None, None, passwords))
    return passwords


def _throw_away_home(root: Path, *, durable: bool) -> Path:
    """Make a new directory; on a real disk beside the kept data when durability is measured, else in the temp directory."""
    base = kept_home(root) if durable else Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    account = unprivileged_account()
    if account is not None and account.run(["/usr/bin/test", "-x", str(base)]).returncode != 0:
        base = SYSTEM_HOME / "throw-away"  # a temp directory closed to the account the servers run as
    base.mkdir(parents=True, exist_ok=True)
    _sweep_abandoned(base)
    home = Path(tempfile.mkdtemp(prefix=THROW_AWAY_PREFIX, dir=base))
    home.chmod(0o711)  # the servers' account passes through; what is inside is closed to it file by file
    return home


def _sweep_abandoned(base: Path) -> None:
    """Delete throw-away data whose process was killed before it could."""
    for home in base.glob(f"{THROW_AWAY_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = (home / "lock").lstat()
            ours = lock.st_uid == os.geteuid() and not home.is_symlink()
            if ours and time.time() - lock.st_mtime > 60 and not is_served(home):
                shutil.rmtree(home, ignore_errors=True)


def _delete(home: Path, lock: Lock) -> None:
    shutil.rmtree(home, ignore_errors=True)
    lock.release()


def _require_answer(variable: str) -> None:
    """Say at once when nothing listens where the user's variable points, instead of timing out in every process."""
    parts = urlsplit(os.environ.get(variable, ""))
    if not parts.hostname:
        return
    port = parts.port or {"DATABASE_URL": 5432, "REDIS_URL": 6379}[variable]
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError as error:
        raise ServicesError(
            f"Nothing answers at {variable} ({parts.hostname}:{port}, {error.strerror or error}): start that server,"
            f" or unset {variable} to use one of our own."
        ) from error


def _foreign_database_url(role: str, name: str | None) -> str:
    """Return the URL that stands for `role` on the server that DATABASE_URL names."""
    app = os.environ["DATABASE_URL"]
    given = {OWNER: os.environ.get("MIGRATION_DATABASE_URL"), SANDBOX: os.environ.get("SANDBOX_DATABASE_URL")}
    url = given.get(role) or app
    parts = urlsplit(url)
    if name is None and role == SANDBOX and url == app:
        name = parts.path.strip("/") + "_sandbox"
    return url if name is None else urlunsplit(parts._replace(path=f"/{name}"))


def _children(home: Path, passwords: Mapping[str, str], logs: Path, settings: dict[str, str]) -> tuple[list[Child], dict[str, int]]:
    """Lay out on disk the servers to start; return them with their ports."""
    account, children, ports = unprivileged_account(), [], {}
    if not os.environ.get("DATABASE_URL"):
        ports["postgres"] = free_port()
        cluster = Cluster(home / "postgres", program=runnable_as(account, find_postgres()), account=account)
        cluster.create_once(passwords)
        children.append(cluster.child(settings | {"port": str(ports["postgres"])}, log=logs / "postgres.log"))
    if not os.environ.get("REDIS_URL"):
        ports["redis"] = free_port()
        program = runnable_as(account, find_redis())
        settings_file = write_redis_settings(home / "redis", ports["redis"], passwords["redis"], account)
        children.append(redis_child(program, settings_file, account, log=logs / "redis.log"))
    return children, ports


def _start_all(children: Sequence[Child]) -> None:
    try:
        for child in children:
            child.start()
        wait_until_ready(children)
    except BaseException:
        stop_together(children)
        raise
