"""Files from an SFTP server, which is a real one: they come once and whole, from that server alone, and from nowhere but its folder."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from ledger import doorbell
from reconciliation import alone, archives, ingestion, sftp, tasks
from reconciliation.formats import registry
from reconciliation.models import SftpEntry, SftpSource, SourceFile
from reconciliation.sftp import Look
from tests.settlement_files import settlement_file, stumbling

pytestmark = pytest.mark.django_db
NOW = timezone.now()
BODY = settlement_file(3)
ELSEWHERE = "../secret.csv"
LARGE = settlement_file(20_000)  # some 2 MB: more than one piece


class Whims:
    """What the server does that it should not."""

    def __init__(self) -> None:
        self.names: list[bytes] = []  # that it lists beside those that are there
        self.hangs_up_at: int | None = None  # at which byte of a file
        self.withholds_from: int | None = None  # as if the file ended there
        self.meanwhile: Callable[[], object] | None = None  # what happens to a file while it is read
        self.is_silent = False


class OurFiles(asyncssh.SFTPServer):
    """The folder of a user, who sees nothing else, with the whims of the server."""

    whims: Whims

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]", root: Path) -> None:
        super().__init__(channel, chroot=os.fsencode(root))

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in super().scandir(path):
            yield entry
        for name in self.whims.names:
            yield asyncssh.SFTPName(name, attrs=asyncssh.SFTPAttrs(permissions=0o100644, size=len(ELSEWHERE), atime=1, mtime=1))

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        if self.whims.is_silent:
            await asyncio.sleep(60)
        if self.whims.hangs_up_at is not None and offset >= self.whims.hangs_up_at:
            self.channel.get_connection().abort()
        if self.whims.withholds_from is not None and offset + size > self.whims.withholds_from:
            return b""
        if self.whims.meanwhile:
            self.whims.meanwhile()
        return bytes(super().read(file_obj, offset, size))  # type: ignore[arg-type]


class Servers:
    """An SFTP server on a port of its own, on a loop in a thread of its own."""

    def __init__(self, root: Path, *, ours: asyncssh.SSHKey) -> None:
        self.whims, self.host_key = Whims(), asyncssh.generate_private_key("ssh-ed25519")
        self._root, self._ours = root, ours
        self._started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Servers":
        self._thread.start()
        self.port = self._started.result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._enough.set)
        self._thread.join(timeout=10)

    async def _serve(self) -> None:
        self._loop, self._enough = asyncio.get_running_loop(), asyncio.Event()
        files = type("Files", (OurFiles,), {"whims": self.whims})
        try:
            server = await asyncssh.listen(
                "127.0.0.1",
                0,
                server_host_keys=[self.host_key],
                authorized_client_keys=asyncssh.import_authorized_keys(public(self._ours)),
                sftp_factory=lambda channel: files(channel, self._root),
            )
            self._started.set_result(server.get_port())
        except BaseException as error:
            self._started.set_exception(error)
            raise
        await self._enough.wait()
        server.close()


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode()


@pytest.fixture(scope="module")
def our_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the folder of ours on the server."""
    (home := tmp_path / "home" / "reports").mkdir(parents=True)
    return home


@pytest.fixture
def server(home: Path, our_key: asyncssh.SSHKey, tmp_path: Path, settings: Any) -> Iterator[Servers]:
    """Give a server that the settings know well."""
    (key_file := tmp_path / "id_ed25519").write_bytes(our_key.export_private_key())
    with Servers(home.parent, ours=our_key) as server:
        settings.FILES_SFTP = {
            "sandbox": {
                "host": "127.0.0.1",
                "port": server.port,
                "user": "northwind",
                "key_file": str(key_file),
                "host_key": public(server.host_key),
                "folder": "/reports",
            }
        }
        yield server


def look(minutes: int = 0) -> Look:
    """Look at the server, so many minutes later."""
    outcome = sftp.look_at("sandbox", now=after(minutes))
    assert outcome is not None
    return outcome


def after(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def names(outcome: Look) -> list[str]:
    return [file.name for file in outcome.received]


def test_files_come_once_and_whole_and_stay_where_they_are(server: Servers, home: Path) -> None:
    (home / "a.csv").write_bytes(BODY)
    (home / "b.csv").write_bytes(LARGE)
    (home / "copy.csv").write_bytes(BODY)
    (home / "empty.csv").touch()
    assert look().waiting == ["a.csv", "b.csv", "copy.csv", "empty.csv"]
    outcome = look(1)
    assert (names(outcome), outcome.refused, outcome.failed) == (["a.csv", "b.csv"], ["empty.csv: The file is empty."], [])
    assert [b"".join(ingestion.contents_of(file)) for file in outcome.received] == [BODY, LARGE]
    assert {file.received_by for file in outcome.received} == {"sftp"}
    server.whims.hangs_up_at = 0
    assert look(2) == Look()
    assert sorted(path.name for path in home.iterdir()) == ["a.csv", "b.csv", "copy.csv", "empty.csv"]
    assert SftpEntry.objects.filter(file=outcome.received[0]).count() == 2


def test_cp_37_what_is_cut_off_leaves_nothing_half_and_the_next_look_begins_again(server: Servers, home: Path) -> None:
    (home / "a.csv").write_bytes(BODY)
    (home / "b.csv").write_bytes(LARGE)
    look()
    server.whims.hangs_up_at = 1_500_000
    outcome = look(1)
    assert names(outcome) == ["a.csv"]
    assert outcome.failed and SourceFile.objects.count() == 1
    server.whims.hangs_up_at, server.whims.withholds_from = None, 1_500_000
    assert look(2).waiting == ["b.csv"]
    server.whims.withholds_from = None
    assert names(look(3)) == ["b.csv"]


def test_cp_37_a_file_that_still_grows_waits(server: Servers, home: Path) -> None:
    (file := home / "a.csv").write_bytes(BODY[:100])
    look()
    file.write_bytes(BODY[:200])
    assert look(1).waiting == ["a.csv"]
    server.whims.meanwhile = lambda: file.write_bytes(BODY[:300])
    assert look(2).waiting == ["a.csv"]
    assert look(3).waiting == ["a.csv"]
    server.whims.meanwhile = lambda: os.utime(file, (1, 1))
    assert look(4).waiting == ["a.csv"]
    assert not SourceFile.objects.exists()
    server.whims.meanwhile = None
    file.write_bytes(BODY)
    assert look(5).waiting == ["a.csv"]
    assert names(look(6)) == ["a.csv"]
    file.write_bytes(LARGE)
    look(7)
    assert names(look(8)) == ["a.csv"]


def test_a_file_over_which_we_stumble_holds_up_no_other_and_is_told_of(
    server: Servers, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "a.csv").write_bytes(b"stumble")
    (home / "b.csv").write_bytes(BODY)
    look()
    with monkeypatch.context() as patch:
        patch.setattr(registry, "recognise", stumbling)
        outcome = look(1)
    assert (names(outcome), outcome.failed) == (["b.csv"], ["The file 'a.csv' cannot be received: IndexError."])
    assert names(look(2)) == ["a.csv"]


def test_sec_23_no_path_of_the_server_is_followed(server: Servers, home: Path, tmp_path: Path) -> None:
    (home.parent / "secret.csv").write_bytes(BODY[: len(ELSEWHERE)])  # as long as the link itself
    (home / "link.csv").symlink_to(ELSEWHERE)
    os.utime(home / "link.csv", (1, 1), follow_symlinks=False)  # as the server will list it once more, as a plain file
    (home / "nested").mkdir()
    (home / "nested" / "a.csv").write_bytes(BODY)
    (home / ".hidden.csv").write_bytes(BODY)
    server.whims.names = [b"../secret.csv", b"/secret.csv", b"nested/a.csv", b"nested\\a.csv", b"a\0.csv", b"link.csv", b"gone.csv", b"."]
    look()
    outcome = look(1)
    assert outcome.waiting == ["gone.csv", "link.csv"]
    assert len(outcome.failed) == 5 and all("is a path and not a name" in said for said in outcome.failed)
    assert not SourceFile.objects.exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_fetched(server: Servers, home: Path) -> None:
    (home / "a.csv").touch()
    os.truncate(home / "a.csv", archives.LARGEST + 1)
    look()
    server.whims.hangs_up_at = 0
    assert look(1).refused == ["a.csv: It has 209,715,201 bytes, and a file has 209,715,200 at most. Ask for it in parts."]
    assert look(2) == Look()


def test_a_server_with_another_host_key_is_refused(server: Servers, home: Path, settings: Any) -> None:
    (home / "a.csv").write_bytes(BODY)
    host_key, other = settings.FILES_SFTP["sandbox"]["host_key"], public(asyncssh.generate_private_key("ssh-ed25519"))
    settings.FILES_SFTP["sandbox"]["host_key"] = other
    [said] = look().failed
    assert "shows another host key than the one that is set" in said
    settings.FILES_SFTP["sandbox"]["host_key"] = [other, host_key]  # while they change it
    assert look(1).waiting == ["a.csv"]
    del settings.FILES_SFTP["sandbox"]["host_key"]
    assert look(2).failed == ["FILES_SFTP does not say the host_key of sandbox."]


def test_a_key_that_the_server_does_not_know_is_told_of_in_a_clear_word(
    server: Servers, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    del settings.FILES_SFTP["sandbox"]["key_file"]
    settings.FILES_SFTP["sandbox"]["key_variable"] = "SFTP_KEY"
    for key, word in (
        (wrong, f"127.0.0.1:{server.port} does not let northwind in with our key. Has our public key been given to whoever runs it?"),
        (wrong[:200], "The key of sandbox in the variable SFTP_KEY is no private key, or is locked with a passphrase."),
    ):
        monkeypatch.setenv("SFTP_KEY", key)
        with caplog.at_level(logging.DEBUG):
            assert look().failed == [word]
    assert not any(line in caplog.text for line in wrong.splitlines()[1:])


def test_a_server_that_fails_holds_up_no_other_and_is_shown(server: Servers, home: Path, settings: Any, admin_client: Client) -> None:
    settings.FILES_SFTP = {"sandbox_bank": settings.FILES_SFTP["sandbox"] | {"folder": "/nowhere"}} | settings.FILES_SFTP
    (home / "a.csv").write_bytes(BODY)
    assert [len(sftp.fetch(now=after(minutes))) for minutes in (0, 1)] == [0, 1]
    assert sftp.failing() == []
    sftp.fetch(now=after(2))
    [row] = sftp.failing()
    assert (row.source, row.failures, row.failed_since) == ("sandbox_bank", 3, NOW)
    banner = render_to_string("admin/_alarm.html", {"perms": {}})
    assert "The SFTP server of sandbox_bank failed 3 times in a row" in banner
    assert "The folder /nowhere cannot be listed. The server says: No such file" in banner
    page = admin_client.get("/admin/reconciliation/sftpentry/?q=a.csv").content.decode()
    assert SourceFile.objects.get().public_id in page
    assert "cannot be listed" in admin_client.get("/admin/reconciliation/sftpsource/sandbox_bank/change/").content.decode()
    said = StringIO()
    with pytest.raises(CommandError, match=r"1 of the servers failed\."):
        call_command("fetch_files", stdout=said)
    assert "sandbox: nothing new" in said.getvalue()
    (home.parent / "nowhere").mkdir()
    sftp.fetch(now=after(5))
    assert not SftpSource.objects.exclude(failures=0, error="").exists()
    sftp.look_at("sandbox_bank", now=after(6))
    assert sftp.sources_in_turn() == ["sandbox", "sandbox_bank"]


def test_a_server_that_says_nothing_is_given_up(server: Servers, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "a.csv").write_bytes(BODY)
    look()
    server.whims.is_silent = True
    monkeypatch.setattr(sftp, "ONE_LOOK_S", 0.3)
    assert look(1).failed == [f"127.0.0.1:{server.port} did not answer, or not fast enough."]


def test_one_process_looks_at_a_server_at_a_time(server: Servers) -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(alone.TAKE_IT, ["reconciliation.sftp sandbox"])
            assert sftp.look_at("sandbox", now=NOW) is None
            cursor.execute(alone.LET_IT_GO, ["reconciliation.sftp sandbox"])
            assert look() == Look()
    finally:
        other.close()


def test_who_picks_up_files_rings_for_the_servers_and_waits_for_none(
    settings: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(doorbell, "ring", rung.append)
    settings.PSP_SANDBOX_URL, settings.FILES_FOLDER = "", ""
    for sources in ([], ["sandbox"]):
        settings.FILES_SFTP = dict.fromkeys(sources)
        with django_capture_on_commit_callbacks(execute=True):
            tasks.pick_up_files()
    assert rung == [tasks.fetch_over_sftp]
