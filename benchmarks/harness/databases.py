"""Databases to measure on: a template for each state of the marketplace, seeded once, and a fresh copy of it for every single run.

A copy is a copy of files, read into memory (of large tables the end, where the work is) and checkpointed, so that each run starts from the
same pages and with the same room before the next checkpoint.  Needs the administrator's role of `./run bench` (pg_prewarm, and loading without firing triggers).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from config.devservices import ADMIN, Endpoints, endpoints_in

SEED = Path(__file__).parent.parent / "seed.sql"
MEASURED = "onebook_measured"
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
SHOWN = (*DURABILITY, "server_version", "shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_compression")

PREWARM = """
SELECT count(pg_prewarm(oid, 'buffer', 'main', CASE WHEN relkind = 'r' THEN nullif(greatest(0, pg_relation_size(oid) / 8192 - 6000), 0) END)) FROM (
    SELECT oid, relkind FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace ORDER BY relkind
) AS relation
"""


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One state to measure on: orders settled before, orders that wait, and over how many sellers those are spread (seed.sql)."""

    name: str
    settled: int
    waiting: int
    sellers: int = 10_000

    @property
    def postings(self) -> int:
        return 3 * self.settled


class NotDurable(RuntimeError):
    """The server would forget what it acknowledged: its rates mean nothing here."""


class Server:
    """The PostgreSQL of `./run bench`.  The role that is measured is the application's; the administrator only prepares."""

    def __init__(self) -> None:
        self._services: Endpoints = endpoints_in(Path(os.environ["ONEBOOK_SERVICES"]))
        parts = urlsplit(os.environ["DATABASE_URL"])
        self._migrated = parts.path.strip("/")
        self.measured_url = urlunsplit(parts._replace(path=f"/{MEASURED}"))

    def settings(self) -> dict[str, str]:
        """Return the settings that matter to a rate.  Raises NotDurable."""
        with self._administrator("postgres") as connection:
            shown = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in SHOWN}  # type: ignore[index]
        if any(shown[name] != "on" for name in DURABILITY):
            raise NotDurable(
                f"fsync, synchronous_commit and full_page_writes must be on, and they are {[shown[name] for name in DURABILITY]}."
            )
        return shown

    def seed(self, marketplace: Marketplace) -> None:
        """Make the template of this marketplace."""
        sizes = {"settled": marketplace.settled, "waiting": marketplace.waiting, "sellers": marketplace.sellers}
        self.make_template(marketplace.name, SEED, sizes)

    def make_template(self, name: str, script: Path, sizes: Mapping[str, int]) -> None:
        """Make a template: the migrated database, filled by the script, vacuumed and analysed."""
        with self._administrator("postgres") as connection:
            self._copy(connection, self._migrated, name)
        self.administer([script.read_text()], parameters=sizes, database=name)
        self.administer(["VACUUM ANALYZE"], database=name)

    def fresh_copy(self, marketplace: Marketplace) -> None:
        """Put a copy of its template in the place of what was measured last."""
        self.fresh_copy_of(marketplace.name)

    def fresh_copy_of(self, name: str) -> None:
        """Put a copy of the template in the place of what was measured last, in memory and checkpointed."""
        with self._administrator("postgres") as connection:
            self._copy(connection, name, MEASURED)
        self.administer([PREWARM, "CHECKPOINT"])

    def administer(self, statements: Sequence[str], *, parameters: Mapping[str, Any] | None = None, database: str = MEASURED) -> None:
        with self._administrator(database) as connection:
            for statement in statements:
                connection.execute(statement, parameters)

    def _copy(self, connection: psycopg.Connection[Any], source: str, target: str) -> None:
        names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names))
        connection.execute(sql.SQL("CREATE DATABASE {target} TEMPLATE {source} STRATEGY FILE_COPY").format(**names))

    def _administrator(self, database: str) -> psycopg.Connection[Any]:
        url = self._services.database_url(ADMIN, database)
        return psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor)
