"""One PostgreSQL cluster and one Redis-protocol server: how each is laid out on disk and started.

PostgreSQL's roles follow least privilege: the owner migrates, the app reads and writes rows, the sandbox PSP sees its own
database alone. Passwords reach the servers through files that only they can read, never through a command line. Called by
config/devservices.py; standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.devprograms import Program, ServicesError
from config.supervisor import Account, Child, log_line

ADMIN, OWNER, APP, SANDBOX = "onebook_admin", "onebook_owner", "onebook_app", "onebook_sandbox"
DATABASE_OF = {ADMIN: "postgres", OWNER: "onebook", APP: "onebook", SANDBOX: "onebook_sandbox"}
FORMER_SERVER_TIMEOUT_S = 20


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by its owner only (0600)."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


def durability(durable: bool, shared_buffers: str) -> dict[str, str]:
    """Return the settings of one kind of use; house rule: only tests may run without durability."""
    switch = "on" if durable else "off"
    return {
        "fsync": switch,
        "full_page_writes": switch,
        "synchronous_commit": "on",
        "shared_buffers": shared_buffers,
        "max_wal_size": "4GB" if durable else "1GB",
    }


SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path may be 107 bytes at most: TCP only
    "max_connections": "400",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}


class Cluster:
    """One PostgreSQL data directory."""

    def __init__(self, data: Path, *, program: Program, account: Account | None) -> None:
        self._data = data
        self._program = program
        self._account = account

    def create_once(self, passwords: Mapping[str, str]) -> None:
        """Make the cluster with its roles and databases, unless it is there. A half-made one never counts."""
        if (self._data / "PG_VERSION").exists():
            self._require_same_major()
            _wait_for_former_server(self._data / "postmaster.pid", name="postgres")
            return
        half_made = self._data.with_name("postgres.new")
        shutil.rmtree(half_made, ignore_errors=True)
        _make_directory(half_made, account=self._account)
        password_file = half_made.with_name("password")
        write_private(password_file, passwords[ADMIN])
        _give(password_file, self._account)
        self._run("initdb", "-D", str(half_made), "-U", ADMIN, *self._initdb_options(), f"--pwfile={password_file}")
        password_file.unlink()
        self._single_user(half_made, "postgres", _roles_and_databases(passwords))
        self._single_user(half_made, DATABASE_OF[OWNER], _schema_grants(OWNER, APP))
        self._single_user(half_made, DATABASE_OF[SANDBOX], _schema_grants(SANDBOX))
        half_made.rename(self._data)

    def child(self, settings: dict[str, str], *, log: Path) -> Child:
        options = [part for name, value in (SERVER_SETTINGS | settings).items() for part in ("-c", f"{name}={value}")]
        return Child(
            "postgres",
            command=[str(self._program.path), "-D", str(self._data), *options],
            log=log,
            env=os.environ | {"PGTZ": "UTC"},
            account=self._account,
            ready=log_line("database system is ready to accept connections"),
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint, leaves no recovery
            stop_timeout_s=30,
        )

    def _initdb_options(self) -> list[str]:
        """The same sort order on every host: the built-in C.UTF-8 where there is one (17 and later)."""
        locale = ["--locale=C.UTF-8"]
        if self._program.version >= (17,):
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--encoding=UTF8", "--auth=scram-sha-256", *locale]

    def _require_same_major(self) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        if made_by != str(self._program.version[0]):
            raise ServicesError(
                f"The data in {self._data} was made by PostgreSQL {made_by}, and {self._program.path} is"
                f" {self._program.version_text}: set PG_BIN to a PostgreSQL {made_by}, or `./run reset` to start anew."
            )

    def _single_user(self, data: Path, database: str, statements: Sequence[str]) -> None:
        """Run statements, one a line, in PostgreSQL's single-user mode: needs neither a client nor a port."""
        self._run("postgres", "--single", "-D", str(data), database, text="".join(f"{line};\n" for line in statements))

    def _run(self, program: str, *arguments: str, text: str | None = None) -> None:
        command = [str(self._program.path.with_name(program)), *arguments]
        if self._account is not None:
            answer = self._account.run(command, text=text)
        else:
            answer = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if answer.returncode != 0 or "ERROR:" in answer.stderr or "FATAL:" in answer.stderr:
            raise ServicesError(f"{program} failed while making {self._data}: {answer.stderr.strip()[-600:]}")


def _roles_and_databases(passwords: Mapping[str, str]) -> list[str]:
    """Least privilege: the owner migrates, the app only reads and writes rows, the sandbox sees its own database."""
    attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"
    roles = [f"CREATE ROLE {role} {attributes} PASSWORD '{passwords[role]}'" for role in (OWNER, APP, SANDBOX)]
    databases = [f"CREATE DATABASE {DATABASE_OF[role]} OWNER {role}" for role in (OWNER, SANDBOX)]
    closed = [f"REVOKE ALL ON DATABASE {name} FROM PUBLIC" for name in (*set(DATABASE_OF.values()), "template1")]
    return [*roles, *databases, *closed, f"GRANT CONNECT ON DATABASE {DATABASE_OF[APP]} TO {APP}"]


def _schema_grants(owner: str, *readers: str) -> list[str]:
    grants = [f"GRANT USAGE ON SCHEMA public TO {role}" for role in readers]
    return ["REVOKE ALL ON SCHEMA public FROM PUBLIC", f"ALTER SCHEMA public OWNER TO {owner}", *grants]


def write_redis_settings(data: Path, port: int, password: str, account: Account | None) -> Path:
    """Write the settings file: there, and not on the command line, the password is out of sight of `ps`."""
    if data.exists():
        _wait_for_former_server(data / "redis.pid", name="server")
    _make_directory(data, account=account)
    settings = data / "redis.conf"
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}", f"dir {data}", f"pidfile {data}/redis.pid"]
    lines += ["appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction", "daemonize no"]
    write_private(settings, "\n".join(lines) + "\n")
    _give(settings, account)
    return settings


def redis_child(program: Program, settings: Path, account: Account | None, *, log: Path) -> Child:
    return Child(
        "redis",
        command=[str(program.path), str(settings)],
        log=log,
        account=account,
        ready=log_line("eady to accept connections"),
    )


def _wait_for_former_server(pid_file: Path, *, name: str) -> None:
    """Wait for a server that is still shutting down after its supervisor was killed."""
    deadline = time.monotonic() + FORMER_SERVER_TIMEOUT_S
    while (pid := _live_pid(pid_file, name=name)) is not None:
        if time.monotonic() > deadline:
            raise ServicesError(f"Process {pid} still serves {pid_file.parent}: end it with `kill -INT {pid}`.")
        time.sleep(0.05)


def _live_pid(pid_file: Path, *, name: str) -> int | None:
    try:
        pid = int(pid_file.read_text().split()[0])
        os.kill(pid, 0)
        program = Path(f"/proc/{pid}/comm")
        return pid if not program.exists() or name in program.read_text() else None
    except PermissionError:
        return None  # somebody else's process has that number now
    except (OSError, ValueError, IndexError):
        return None


def _make_directory(path: Path, *, account: Account | None) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    _give(path, account)


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)
