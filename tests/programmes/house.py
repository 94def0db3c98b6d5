"""The house that the programmes torment: our code on a real Postgres, the real sandbox PSP over HTTP, one clock for both, and a shop.

One house serves thousands of cases and is never emptied in between: each case has orders of its own, and the PSP's journal is read on, not
over again.  Time is moved, never waited for.
"""

import hashlib
import hmac
import itertools
import json
import logging
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from djmoney.money import Money
from rest_framework.settings import api_settings

from ledger import clock
from ledger.money import exact
from payments.models import CircuitBreaker
from payments.psp.protocol import Session
from tests.factories import new_sellers, new_shop
from tests.fixtures_money import hang_up, session_for
from tests.fixtures_services import Letterbox, SandboxCompany, a_letterbox, running_sandbox
from tests.programmes import sftp
from wallet import api_keys
from wallet.models import ApiKey, Seller, Shop
from wallet.notifications import endpoints

DEADLINE_S = 30
LISTS = {"sandbox": "/v1/settlement_files", "sandbox_bank": "/v1/bank_statements"}
MOST_PER_TOKEN = exact("9000000.00", "EUR")
COUNTED = {
    "charge": ("charge.succeeded", "charge.voided"),
    "refund": ("refund.succeeded", "refund.failed"),
    "payout": ("payout.paid", "payout.returned"),
}  # what moves money, and what takes it back
Row = dict[str, Any]


@dataclass
class Journal:
    """The PSP's own journal, read on from where it was read before; the judge of every case."""

    sandbox: SandboxCompany
    rows: list[Row] = field(default_factory=list)
    by_reference: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    last: int = 0
    strangers: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Take all that happened so far for somebody else's, and whatever still becomes of it."""
        self.read_on()
        self.strangers |= {row["object_id"] for row in self.rows}
        self.rows.clear()
        self.by_reference.clear()

    def read_on(self) -> None:
        """Read what has happened since the last look."""
        more = True
        while more:
            page = self.sandbox.client.get("/v1/journal", params={"after": self.last, "limit": 1000}).json()
            for row in page["data"]:
                self.last = row["seq"]
                if row["object_id"] not in self.strangers:
                    self.rows.append(row)
                    self.by_reference[row["reference"]].append(row)
            more = page["has_more"]

    def count(self, reference: str, kind: str) -> int:
        """Return how often the PSP moved money for this reference: what succeeded, less what it took back later."""
        done, undone = COUNTED[kind]
        counted = 0
        for object_id in {row["object_id"] for row in self.by_reference[reference]}:
            types = [row["type"] for row in self.by_reference[reference] if row["object_id"] == object_id]
            counted += done in types and undone not in types
        return counted

    def moved(self, reference: str, kind: str) -> int:
        """Return how much, in minor units, the PSP moved for this reference in the end."""
        done, undone = COUNTED[kind]
        rows = self.by_reference[reference]
        taken_back = {row["object_id"] for row in rows if row["type"] == undone}
        return sum(row["amount"] for row in rows if row["type"] == done and row["object_id"] not in taken_back)

    def is_pending(self, reference: str) -> bool:
        """Tell whether the PSP itself does not know yet how something under this reference ends."""
        last = {row["object_id"]: row["type"] for row in self.by_reference[reference]}
        return any(type_.endswith(".pending") for type_ in last.values())


@dataclass
class Listener:
    """Another shop, whose server hears our webhooks."""

    shop: Shop
    sellers: Sequence[Seller]
    letterbox: Letterbox
    _heard: set[str] = field(default_factory=set)
    _read: int = 0

    def has_heard(self, event_id: str) -> bool:
        arrived = self.letterbox.deliveries[self._read :]
        self._read += len(arrived)
        self._heard |= {json.loads(body)["id"] for _headers, body in arrived if body}  # none: its sender died between head and body
        return event_id in self._heard


@dataclass(frozen=True, slots=True)
class PaperFile:
    """A file that the PSP or its bank has written, and how many lines it has; `is_of_the_last_day`: what it pays is on no statement yet."""

    source: str
    name: str
    sha256: str
    lines: int
    content: bytes = field(repr=False)
    is_of_the_last_day: bool


@dataclass
class House:
    """What a case works with: the PSP, its journal and its letters, the clock, a shop with sellers, and what pays."""

    sandbox: SandboxCompany
    journal: Journal
    clock_file: Path
    shop: Shop
    sellers: Sequence[Seller]
    token: str
    listener: "Listener"
    offset_s: int = 0
    has_stale_answers: bool = False
    _letters: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    _opened: int = 0
    _sessions: dict[str, tuple[Session, Money]] = field(default_factory=dict)
    _listed: dict[str, int] = field(default_factory=dict)
    _nonces: Iterator[int] = field(default_factory=itertools.count)

    @property
    def files(self) -> Path:
        """Where files are put down for us: by the way they come in, then by their source."""
        return self.clock_file.parent / "files"

    def advance(self, seconds: int) -> None:
        """Move both clocks on, the PSP's first, so that it is never behind."""
        self.offset_s += seconds
        self.sandbox.client.put("/v1/clock", json={"offset_s": self.offset_s})
        self.clock_file.write_text(str(self.offset_s))

    def end_day(self) -> str:
        """Let the PSP's day be over and closed; both clocks stand at its midnight, or a moment later.  Return the day."""
        ended = self.sandbox.client.post("/control/end_day").raise_for_status().json()
        moved = self.sandbox.client.get("/v1/clock").raise_for_status().json()
        self.advance(math.ceil(moved["offset_s"]) - self.offset_s)
        self._sessions.clear()  # they last for a day
        return str(ended["day"])

    @property
    def has_seen_files(self) -> bool:
        return bool(self._listed)

    def pass_over_files(self) -> None:
        """Let the files of all days that are closed be none that are new."""
        for address in LISTS.values():
            self._new_in(address)

    def new_files(self) -> list[PaperFile]:
        """Return the files of the days that were closed since the last look."""
        batches, statements = ([(said, self._content_of(address, said)) for said in self._new_in(address)] for address in LISTS.values())
        last_day = max((said["day"] for said, _content in statements), default="")
        files = [
            PaperFile("sandbox", said["batch"], said["sha256"], content.count(b"\n") - 1, content, said["closed_on"] >= last_day)
            for said, content in batches
        ]
        return files + [
            PaperFile("sandbox_bank", said["statement"], said["sha256"], said["entries"], content, False) for said, content in statements
        ]

    def _new_in(self, address: str) -> list[Row]:
        new: list[Row] = []
        is_more = True
        while is_more:
            asked = {"after": self._listed.get(address, 0), "limit": 1000}
            page = self.sandbox.client.get(address, params=asked).raise_for_status().json()
            new, is_more = new + page["data"], page["has_more"]
            self._listed[address] = new[-1]["id"] if new else asked["after"]
        return new

    def _content_of(self, address: str, said: Row) -> bytes:
        return self.sandbox.client.get(f"{address}/{said['id']}").raise_for_status().content

    def put_down(self, files: Sequence[PaperFile], place: str) -> None:
        """Put the files, and no others, where we take them from: "folder" or "sftp"; elsewhere they are already."""
        for source in LISTS:
            for path in (self.files / place / source).glob("*"):
                path.unlink()
        for file in files:
            path = self.files / place / file.source / file.name
            if path.parent.is_dir():
                path.write_bytes(file.content)
                os.utime(path, (1, 1))  # at rest for long

    def fault(self, operation: str, kind: str, reference: str, **terms: Any) -> None:
        """Let the PSP's next call about this reference go wrong."""
        wanted = {"operation": operation, "kind": kind, "reference": reference, "times": 1} | terms
        self.sandbox.client.put("/v1/faults", json=wanted).raise_for_status()

    def heal(self) -> None:
        """Switch every fault off, and let the line to the PSP count as mended: the next case has nothing to do with it."""
        self.sandbox.client.delete("/v1/faults").raise_for_status()
        CircuitBreaker.objects.update(failures=0, opened_at=None, open_until=None)
        if self.has_stale_answers:  # an answer that came twice waits on our connection for whoever asks next
            hang_up()
            self.has_stale_answers = False

    def means_to_pay(self, card: str, amount: Money) -> tuple[str, str]:
        """Return a session of the PSP and its token, complete for this card and large enough; many cases share one."""
        session, left = self._sessions.get(card, (None, None))
        if session is None or left is None or left < amount:
            nonce = f"programme-{self.shop.public_id}-{next(self._nonces)}"
            session, left = session_for(MOST_PER_TOKEN, card, nonce=nonce), MOST_PER_TOKEN
        self._sessions[card] = session, left - amount
        return session.id, session.payment_token

    def letters(self, reference: str, *, count: int) -> list[bytes]:
        """Wait until the PSP has written so many letters (webhooks) about this reference, and take them."""
        self.wait_until(lambda: len(self._sorted()[reference]) >= count, what=f"{count} webhooks about {reference}")
        return self._letters.pop(reference)

    def all_letters(self) -> list[bytes]:
        """Take what the PSP has written, whatever it is about."""
        taken = [body for bodies in self._sorted().values() for body in bodies]
        self._letters.clear()
        return taken

    def signed(self, body: bytes) -> str:
        """Return the PSP's signature of a letter that it sends now, for the first time or again."""
        moment = int(clock.now().timestamp())
        digest = hmac.new(self.sandbox.webhook_secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
        return f"t={moment},v1={digest}"

    def wait_until(self, holds: Callable[[], bool], *, what: str) -> None:
        """Wait for something that another process does; raises TimeoutError after DEADLINE_S."""
        until = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > until:
                raise TimeoutError(f"{what}: not within {DEADLINE_S} s")
            time.sleep(0.001)

    def _sorted(self) -> dict[str, list[bytes]]:
        arrived = self.sandbox.letterbox.deliveries[self._opened :]
        self._opened += len(arrived)
        for _headers, body in arrived:
            told = json.loads(body)["data"]["object"]
            self._letters[told.get("reference", told["id"])].append(body)  # a session has no reference, and is known by its id
        return self._letters


@contextmanager
def house_in(sandbox: SandboxCompany, directory: Path) -> Iterator[House]:
    """Give a house on the database that Django is connected to, with both clocks at the machine's own time at the end as at the start."""
    shop = new_shop(name=f"Programme {time.monotonic_ns()}")
    _key, token = api_keys.issue(shop, name="programme", scopes=ApiKey.Scope.values, mode="test")
    journal = Journal(sandbox)
    journal.begin()
    rate: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
    kept = settings.TEST_CLOCK_FILE, dict(rate)
    settings.TEST_CLOCK_FILE = str(directory / "clock")
    rate["key"] = None
    files = directory / "files"
    for place, source in itertools.product(("folder", "sftp"), LISTS):
        (files / place / source).mkdir(parents=True)
    sellers = new_sellers(shop, "Ada", "Bolt", "Cleo")
    try:
        with a_letterbox() as (letterbox, url), ways_in(files, key_file=directory / "key"):
            listening = new_shop(name=f"Listener {time.monotonic_ns()}")
            endpoints.open_endpoint(listening, url=url)
            listener = Listener(listening, new_sellers(listening, "Dora"), letterbox)
            yield House(sandbox, journal, directory / "clock", shop, sellers, token, listener)
    finally:
        settings.TEST_CLOCK_FILE = kept[0]
        rate.update(kept[1])
        sandbox.client.delete("/v1/clock")


@contextmanager
def ways_in(files: Path, *, key_file: Path) -> Iterator[None]:
    """Let our settings, and those of the processes that we start, say where files come from: a folder, and an SFTP server."""
    with sftp.Server(files / "sftp", key_file=key_file) as server, pytest.MonkeyPatch.context() as patch:
        folder, servers = str(files / "folder"), server.settings_for(*LISTS)
        patch.setattr(settings, "FILES_FOLDER", folder)
        patch.setattr(settings, "FILES_SFTP", servers)
        patch.setenv("FILES_FOLDER", folder)
        patch.setenv("FILES_SFTP", json.dumps(servers))
        yield


def own_name() -> str:
    """Return what tells the databases of this process from those of others."""
    return f"programme_{os.getpid()}"


@contextmanager
def standing_house() -> Iterator[House]:
    """Build a house of its own on the servers that ONEBOOK_SERVICES names: a fresh database, a sandbox, a shop."""
    logging.disable(logging.CRITICAL)
    name = own_name()
    connection.settings_dict["TEST"]["NAME"] = f"onebook_{name}"
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        with tempfile.TemporaryDirectory() as directory, running_sandbox(name, logs=Path(directory)) as sandbox:
            hang_up()
            with house_in(sandbox, Path(directory)) as house:
                yield house
    finally:
        connection.close()
        teardown_databases(databases, verbosity=0)
        logging.disable(logging.NOTSET)
