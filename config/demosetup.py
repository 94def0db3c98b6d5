"""What the demo's processes need before they start: variables, secrets, ports, tables and static files.

Each process gets the least it needs: web, worker and beat run as a role that cannot change tables, only `migrate` knows
the owner's, and the sandbox, a foreign company, is told nothing of ours but the address of our webhook. Secrets are
random, made once, kept 0600. Tables and static files are made side by side, and only when what they depend on changed.
Called by config/demo.py and ./run; standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import shutil
import socket
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from config.devservers import APP, OWNER, SANDBOX, write_private
from config.devservices import Endpoints, Services
from config.supervisor import Child, stop_together, tail

PORTS_TRIED = 100
ACCOUNT = "acct_onebook"
CREATE_DATABASE = """
import sys, psycopg
from psycopg import sql
try:
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [sys.argv[2]]).fetchone()
        known or connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(sys.argv[2])))
except psycopg.Error as error:
    sys.exit(f"{error}\\nThe sandbox PSP needs a database of its own: make one and name it in SANDBOX_DATABASE_URL.")
"""


class DemoError(Exception):
    """The demo cannot start or go on; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """Where one demo keeps its things, and on which ports it answers."""

    root: Path
    python: Path
    state: Path
    logs: Path
    port: int = 0
    sandbox_port: int = 0

    def at(self, *, port: int, sandbox_port: int) -> Place:
        """Return the same place on these ports."""
        return replace(self, port=port, sandbox_port=sandbox_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def manage(self) -> list[str]:
        return [str(self.python), "manage.py"]

    @property
    def sandbox(self) -> list[str]:
        return [str(self.python), "-m", "payments.sandbox"]


def state_in(var: Path) -> Path:
    """Return the directory of the demo's own state; `devservices` keeps that of the servers."""
    state = var / "demo"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return state


def delete_state(var: Path) -> None:
    shutil.rmtree(var / "demo", ignore_errors=True)


# --- Environment of the processes -----------------------------------------------------------------------------------


def kept_secrets(state: Path) -> dict[str, str]:
    """Return the random secrets of this demo, made at the first call that asks for them."""
    path = state / "secrets.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    texts = ("SECRET_KEY", "PSP_SANDBOX_API_KEY", "PSP_SANDBOX_WEBHOOK_SECRET", "SANDBOX_SECRET_KEY")
    keys = ("BANK_DETAILS_KEYS", "BANK_DETAILS_FINGERPRINT_KEY", "SECOND_FACTOR_KEYS", "GIFT_CARD_PEPPER")
    made = {name: secrets.token_urlsafe(48) for name in texts} | {name: b64encode(secrets.token_bytes(32)).decode() for name in keys}
    if made.keys() - kept.keys():
        kept = made | kept
        write_private(path, json.dumps(kept, indent=1))
    return kept


def app_environment(place: Place, endpoints: Endpoints) -> dict[str, str]:
    """Return the variables of web, worker, beat and management commands. They run as the role that may not change tables."""
    kept = kept_secrets(place.state)
    ours = {
        "ONEBOOK_ENV": "demo",
        "LOG_LEVEL": "INFO",
        "SECRET_KEY": kept["SECRET_KEY"],
        "BANK_DETAILS_KEYS": kept["BANK_DETAILS_KEYS"],
        "BANK_DETAILS_FINGERPRINT_KEY": kept["BANK_DETAILS_FINGERPRINT_KEY"],
        "SECOND_FACTOR_KEYS": kept["SECOND_FACTOR_KEYS"],
        "GIFT_CARD_PEPPER": kept["GIFT_CARD_PEPPER"],
        "PUBLIC_URL": place.url,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "CSRF_TRUSTED_ORIGINS": f"{place.url},http://localhost:{place.port}",
        "STATIC_ROOT": str(place.state / "static"),
        "DATABASE_URL": endpoints.database_url(APP),
        "REDIS_URL": endpoints.redis_url,
        "PSP_SANDBOX_URL": place.sandbox_url,
        "PSP_SANDBOX_API_KEY": kept["PSP_SANDBOX_API_KEY"],
        "PSP_SANDBOX_WEBHOOK_SECRETS": kept["PSP_SANDBOX_WEBHOOK_SECRET"],
        "PSP_SANDBOX_ACCOUNT": ACCOUNT,
        "TEST_CLOCK_FILE": str(place.state / "clock"),
        "DEMO_SHOWN_FILE": str(place.state / "shown.json"),
    }
    return _without_our_variables() | ours


def owner_environment(place: Place, endpoints: Endpoints) -> dict[str, str]:
    """Return the variables of `migrate` and `grant_app_role`, which run as the owner of the tables."""
    return app_environment(place, endpoints) | {"MIGRATION_DATABASE_URL": endpoints.database_url(OWNER)}


def sandbox_environment(place: Place, endpoints: Endpoints) -> dict[str, str]:
    """Return the variables of the sandbox, a foreign company: nothing of ours but the address of our webhook."""
    kept = kept_secrets(place.state)
    return _without_our_variables() | {
        "ONEBOOK_ENV": "demo",
        "SANDBOX_SECRET_KEY": kept["SANDBOX_SECRET_KEY"],
        "SANDBOX_DATABASE_URL": endpoints.database_url(SANDBOX),
        "SANDBOX_API_KEY": kept["PSP_SANDBOX_API_KEY"],
        "SANDBOX_ACCOUNT": ACCOUNT,
        "SANDBOX_WEBHOOK_URL": f"{place.url}/webhooks/psp/sandbox",
        "SANDBOX_PAYOUT_WEBHOOK_URL": f"{place.url}/webhooks/payouts/sandbox",
        "SANDBOX_WEBHOOK_SECRET": kept["PSP_SANDBOX_WEBHOOK_SECRET"],
        "SANDBOX_PUBLIC_URL": place.sandbox_url,
    }


def _without_our_variables() -> dict[str, str]:
    hidden = (
        "SANDBOX_",
        "PSP_SANDBOX_",
        "DATABASE_URL",
        "MIGRATION_DATABASE_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "BANK_DETAILS_",
        "SECOND_FACTOR_",
        "GIFT_CARD_",
        "SELLER_SECOND_FACTOR",
        "ADMIN_SECOND_FACTOR",
        "EMAIL_",
        "DJANGO_",
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)} | {"PYTHONUNBUFFERED": "1"}


# --- Ports ----------------------------------------------------------------------------------------------------------


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def choose_port(wanted: int | None, *, default: int) -> int:
    """Return `wanted`, or the first free port from `default` on. Raises DemoError when `wanted` is taken."""
    if wanted is not None:
        if not is_free(wanted):
            raise DemoError(f"Port {wanted} is taken: name another with --port, or leave --port out for the next free one.")
        return wanted
    for port in range(default, default + PORTS_TRIED):
        if is_free(port):
            return port
    raise DemoError(f"No port from {default} to {default + PORTS_TRIED - 1} is free: name one with --port.")


# --- Tables and static files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Commands to run one after the other, unless all they depend on is as it was when they last succeeded."""

    name: str
    commands: Sequence[Sequence[str]]
    env: Mapping[str, str]
    depends_on: str


def prepare(place: Place, services: Services) -> None:
    """Run the steps that are due, side by side. Raises DemoError with the last lines of the one that failed."""
    done_file = place.state / "prepared.json"
    done = json.loads(done_file.read_text()) if done_file.exists() else {}
    due = [step for step in _steps(place, services) if done.get(step.name) != step.depends_on]
    running = [(step, _child(step, place)) for step in due]
    try:
        for _, child in running:
            child.start()
        while any(child.exit_code() is None for _, child in running):
            time.sleep(0.02)
        failed = [child for _, child in running if child.exit_code() != 0]
    finally:
        stop_together([child for _, child in running])
    if failed:
        raise DemoError(f"{failed[0].name} failed (log: {failed[0].log}):\n{tail(failed[0].log, lines=30)}")
    write_private(done_file, json.dumps(done | {step.name: step.depends_on for step in due}, indent=1))


def _child(step: Step, place: Place) -> Child:
    script = " && ".join(shlex.join(command) for command in step.commands)
    log = place.logs / f"{step.name}.log"
    log.unlink(missing_ok=True)
    return Child(step.name, command=["/bin/sh", "-c", script], log=log, env=step.env, cwd=place.root)


def _steps(place: Place, services: Services) -> list[Step]:
    """Return what must be true before the first process starts; no step needs another."""
    endpoints, data = services.endpoints, services.data_id
    installed = _digest(place.root, ["requirements.txt"])
    ours = _digest(place.root, ["*/migrations/*", "*/management/commands/grant_app_role.py"])
    theirs = _digest(place.root, ["payments/sandbox/migrations/*"])
    static = _digest(place.root, ["static/**/*", "config/settings.py"])
    return [
        Step(
            "migrate",
            [[*place.manage, "migrate", "--no-input", "-v", "1"], *_grant(place, endpoints)],
            owner_environment(place, endpoints),
            f"{data} {ours} {installed}",
        ),
        Step(
            "sandbox-migrate",
            [*_create_sandbox_database(place, endpoints), [*place.sandbox, "migrate", "--no-input", "-v", "1"]],
            sandbox_environment(place, endpoints),
            f"{data} {theirs} {installed}",
        ),
        Step(
            "collectstatic",
            [[*place.manage, "collectstatic", "--no-input", "--clear", "-v", "0"]],
            app_environment(place, endpoints),
            f"{place.state} {static} {installed}",
        ),
    ]


def _grant(place: Place, endpoints: Endpoints) -> list[list[str]]:
    """On a server that is not ours there is nothing to grant when the app runs as the owner of the tables."""
    app = endpoints.database_url(APP)
    if app == endpoints.database_url(OWNER):
        return []
    return [[*place.manage, "grant_app_role", urlsplit(app).username or APP]]


def _create_sandbox_database(place: Place, endpoints: Endpoints) -> list[list[str]]:
    if endpoints.postgres_port is not None or os.environ.get("SANDBOX_DATABASE_URL"):
        return []
    name = urlsplit(endpoints.database_url(SANDBOX)).path.strip("/")
    return [[str(place.python), "-c", CREATE_DATABASE, endpoints.database_url(APP), name]]


def _digest(root: Path, patterns: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
