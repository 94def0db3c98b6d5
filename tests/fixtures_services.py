"""The servers and processes that tests use: the database with real commits, the sandbox PSP, a web server for browsers.

Each xdist worker has its own databases, its own sandbox and (conftest.py) its own broker. Whatever is started here ends with pytest, even by kill -9.
The books refuse DELETE and TRUNCATE, so Django's own way of emptying tables between tests fails: use `real_db` instead of
`transactional_db`. The sandbox's journal is never emptied: tests tell their rows apart by reference.
"""

import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import setup_databases, teardown_databases
from psycopg import sql
from pytest_django.live_server_helper import LiveServer
from pytest_django.plugin import DjangoDbBlocker

from config import devservices
from config.supervisor import Child, http, stop_together, wait_until_ready

ROOT = Path(__file__).resolve().parent.parent
Delivery = tuple[dict[str, str], bytes]
PAYOUTS = "payouts"  # the letterbox's address for what the sandbox tells about payouts


# --- Databases ------------------------------------------------------------------------------------------------------


def admin_url(database: str) -> str:
    """Return the URL of a database of the test server, for the role that may make and empty databases."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def endpoints() -> devservices.Endpoints:
    """Give the roles of the embedded server, for tests of what each role may do."""
    if "ONEBOOK_SERVICES" not in os.environ:
        pytest.skip("DATABASE_URL names a server that is not ours: its roles are unknown")
    return devservices.endpoints_in(Path(os.environ["ONEBOOK_SERVICES"]))


@pytest.fixture(scope="session")
def worker_name(request: pytest.FixtureRequest) -> str:
    """Name this xdist worker (gw0, gw1, ...); `main` without xdist."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_modify_db_settings: None,  # a database of its own for each xdist worker
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Make the test database whatever the tests ask for it by: pytest-django alone would not see that `real_db` wants one."""
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0)


@pytest.fixture(scope="session")
def tables_to_empty(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[str]]:
    """List the tables that migrations leave empty; what migrations put into the others stays.

    At the end whoever is still connected, such as a web server's thread, is sent away: the database is dropped then.
    """
    with django_db_blocker.unblock():
        filled = _filled(None)
        yield [name for name in connection.introspection.table_names() if name not in filled]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture
def real_db(tables_to_empty: list[str], django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Give the database with real commits, for threads and other processes; empty it afterwards."""
    with django_db_blocker.unblock():
        yield
        _tidy_up_the_connection()
        while filled := _filled(tables_to_empty):
            _empty(filled)


def _tidy_up_the_connection() -> None:
    """Take from the connection what the test has left in it; a new one would have to learn the whole schema anew."""
    if connection.in_atomic_block or not connection.is_usable():
        connections.close_all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
        cursor.execute("RESET ALL")
    connection.ensure_timezone()


def _empty(tables: list[str]) -> None:
    """Delete all rows, unless that and a worker's query wait for each other: then nothing is done, and it is tried again.

    TRUNCATE would make each table's files anew, and that takes longer than to delete the few rows that a test has made.
    """
    statements = [f"DELETE FROM {connection.ops.quote_name(name)}" for name in tables]
    with suppress(OperationalError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # switches the guarding triggers off, for superusers
        cursor.execute("; ".join(statements))


def _filled(tables: list[str] | None) -> list[str]:
    names = connection.introspection.table_names() if tables is None else tables
    query = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {connection.ops.quote_name(name)})" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [name for (name,) in cursor.fetchall()]


# --- The sandbox PSP ------------------------------------------------------------------------------------------------


@dataclass
class Letterbox:
    """Where the sandbox sends its webhooks in tests: it keeps them, and passes them on to `forward_to` when that is set.

    What it tells about payouts comes to an address of its own, and is passed on to `payouts_to`.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    forward_to: str | None = None
    payouts_to: str | None = None
    _rung: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> None:
        """Return when the next webhook comes, or after so many seconds: for whoever looks again and again until a deadline."""
        self._rung.wait(seconds)
        self._rung.clear()

    def receive(self, headers: dict[str, str], body: bytes, *, path: str) -> int:
        self.deliveries.append((headers, body))
        self._rung.set()
        forward_to = self.payouts_to if path == f"/{PAYOUTS}" else self.forward_to
        if forward_to is None:
            return 200
        kept = {name: value for name, value in headers.items() if name.lower() in {"content-type", "sandbox-signature"}}
        return httpx.post(forward_to, content=body, headers=kept, timeout=10).status_code


@dataclass(frozen=True)
class SandboxCompany:
    """The running sandbox PSP: its address and keys, its journal (the oracle of every test of money), its faults."""

    url: str
    api_key: str
    account: str
    webhook_secret: str
    letterbox: Letterbox
    client: httpx.Client

    def journal(self, **only: Any) -> list[dict[str, Any]]:
        """Return all rows of the journal whose fields equal `only`, oldest first."""
        rows: list[dict[str, Any]] = []
        more = True
        while more:
            page = self._get("/v1/journal", after=rows[-1]["seq"] if rows else 0, limit=1000)
            rows += page["data"]
            more = page["has_more"]
        return [row for row in rows if all(row[name] == value for name, value in only.items())]

    def fault(self, **fault: Any) -> None:
        """Switch a fault on; cleared after the test when it uses the `sandbox` fixture."""
        self.client.put("/v1/faults", json=fault).raise_for_status()

    def clear_faults(self) -> None:
        self.client.delete("/v1/faults").raise_for_status()

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(path, params=query)
        answer.raise_for_status()
        return dict(answer.json())


@pytest.fixture(scope="session")
def sandbox_company(worker_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxCompany]:
    """Run the sandbox with a database of its own, and point our settings and environment at it."""
    with running_sandbox(worker_name, logs=tmp_path_factory.mktemp("sandbox")) as company:
        yield company


@contextmanager
def running_sandbox(name: str, *, logs: Path) -> Iterator[SandboxCompany]:
    """Run a sandbox, known to our settings and environment as long as it runs; `name` tells its database from others'."""
    port, keys = devservices.free_port(), [secrets.token_urlsafe(24) for _ in range(3)]
    url, database = f"http://127.0.0.1:{port}", f"onebook_sandbox_{name}"
    with (
        a_letterbox() as (letterbox, webhook_url),
        pytest.MonkeyPatch.context() as patch,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {keys[0]}"}, timeout=20) as client,
    ):
        environment = os.environ | {
            "SANDBOX_DATABASE_URL": _create_database(database),
            "SANDBOX_SECRET_KEY": keys[2],
            "SANDBOX_API_KEY": keys[0],
            "SANDBOX_ACCOUNT": "acct_onebook",
            "SANDBOX_WEBHOOK_URL": webhook_url,
            "SANDBOX_PAYOUT_WEBHOOK_URL": webhook_url + PAYOUTS,
            "SANDBOX_WEBHOOK_SECRET": keys[1],
            "SANDBOX_PUBLIC_URL": url,
        }
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        log = logs / "sandbox.log"
        _migrate(environment, log=log)
        child = Child("sandbox", command=_command("serve", "--port", str(port)), log=log, env=environment, cwd=ROOT)
        child.stop_signal = signal.SIGQUIT  # at once: nobody waits for an answer any more
        child.when(http(f"{url}/healthz")).start()
        try:
            wait_until_ready([child])
            _point_settings_at(patch, url=url, api_key=keys[0], webhook_secret=keys[1])
            yield SandboxCompany(url, keys[0], "acct_onebook", keys[1], letterbox, client)
        finally:
            stop_together([child])


@pytest.fixture
def sandbox(sandbox_company: SandboxCompany) -> Iterator[SandboxCompany]:
    """Give the sandbox PSP without faults, in real time and with an empty letterbox."""
    sandbox_company.letterbox.deliveries.clear()
    yield sandbox_company
    sandbox_company.letterbox.forward_to = sandbox_company.letterbox.payouts_to = None
    sandbox_company.clear_faults()
    for moved in ("/v1/outage", "/v1/clock"):
        sandbox_company.client.delete(moved).raise_for_status()


def _point_settings_at(patch: pytest.MonkeyPatch, *, url: str, api_key: str, webhook_secret: str) -> None:
    ours = {"PSP_SANDBOX_URL": url, "PSP_SANDBOX_API_KEY": api_key, "PSP_SANDBOX_WEBHOOK_SECRETS": webhook_secret}
    for name, value in ours.items():
        patch.setenv(name, value)
        patch.setattr(django_settings, name, [value] if name.endswith("S") else value)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "payments.sandbox", *arguments]


def _migrate(environment: dict[str, str], *, log: Path) -> None:
    child = Child("sandbox migrate", command=_command("migrate", "-v", "0"), log=log, env=environment, cwd=ROOT)
    child.start()
    assert child.process is not None
    assert child.process.wait(timeout=60) == 0, log.read_text()


def _create_database(name: str) -> str:
    """Make an empty database for the sandbox, owned by its own role on the embedded server; return its URL."""
    roles = os.environ.get("ONEBOOK_SERVICES")
    owner = sql.SQL("OWNER {}").format(sql.Identifier(devservices.SANDBOX)) if roles else sql.SQL("")
    with psycopg.connect(admin_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), owner))
    return devservices.endpoints_in(Path(roles)).database_url(devservices.SANDBOX, name) if roles else admin_url(name)


class a_letterbox:
    """A web server on a free port that answers each POST with what the letterbox says."""

    def __enter__(self) -> tuple[Letterbox, str]:
        letterbox = Letterbox()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # the sandbox keeps its lines open

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(letterbox.receive(dict(self.headers), body, path=self.path))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing: pytest's output is for tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return letterbox, f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


# --- The web server -------------------------------------------------------------------------------------------------


@pytest.fixture
def site(real_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve our site with real commits and return its address: what pytest-django's `live_server` cannot do here."""
    server = LiveServer("127.0.0.1")
    monkeypatch.setattr(django_settings, "PUBLIC_URL", server.url)
    yield str(server.url)
    server.stop()
