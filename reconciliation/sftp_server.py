"""The line to one SFTP server: who it is, who we are, and the two things that are asked of it, a list and the bytes of a file.

Only a server that proves to have the host key of the settings is spoken to, and nothing of this machine's own ssh is used.  Nothing is
written, renamed or deleted there, and no path that the server names is followed: a file's path is the folder of the settings and a plain
name.  All that is asked of a server together has one deadline, however slowly it answers.

asyncssh needs a loop of asyncio, and that lives in a thread of its own: the caller's thread is the one that talks to the database.
"""

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import asyncssh
from asyncssh.constants import FILEXFER_TYPE_REGULAR, FILEXFER_TYPE_UNKNOWN
from django.conf import settings

from ledger.line import plain

T = TypeVar("T")

PORT = 22
PIECE = 1024 * 1024  # bytes
CONNECT_S, LOGIN_S, SILENT_S, GOODBYE_S = 10, 20, 15, 2
MOST_NAMES = 10_000  # in the folder
LONGEST_NAME = 255  # bytes
LONGEST_REASON = 200
LARGEST_NUMBER = 2**63 - 1  # that Postgres keeps
NEEDED, OPTIONAL = ("host", "user", "host_key"), ("port", "key_file", "key_variable", "folder")
NO_CONNECTION = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage)


class ServerFailed(Exception):
    """Nothing more can be had of the server now; the message says why, and holds no secret."""


class FileFailed(Exception):
    """The server does not give us this file; the message says why.  Others may be had."""


class NotAsListed(Exception):
    """The file is still written to, is gone, or is no plain file: the next look shows it as it then is."""


# --- Who it is, and who we are --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """Where a source's files are, and as whom we ask for them.  `host_keys` are the server's, `key` is ours."""

    host: str
    port: int
    user: str
    folder: bytes
    host_keys: list[asyncssh.SSHKey]
    key: asyncssh.SSHKey = field(repr=False)


def account_of(source: str) -> Account:
    """Return what FILES_SFTP says of the source.  Raises ServerFailed, naming what is missing or wrong."""
    said = settings.FILES_SFTP[source]
    if not isinstance(said, dict) or any(name not in NEEDED + OPTIONAL for name in said):
        raise ServerFailed(f"FILES_SFTP must say of {source} {', '.join(NEEDED)}, and may say {', '.join(OPTIONAL)}.")
    for name in NEEDED:
        if not said.get(name):
            raise ServerFailed(f"FILES_SFTP does not say the {name} of {source}.")
    port = said.get("port", PORT)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ServerFailed(f"FILES_SFTP must say the port of {source} as a number from 1 to 65535.")
    folder = os.fsencode(str(said.get("folder") or "."))
    return Account(str(said["host"]), port, str(said["user"]), folder, host_keys_of(source, said["host_key"]), key_of(source, said))


def host_keys_of(source: str, said: Any) -> list[asyncssh.SSHKey]:
    """Read the server's host key, or the several that it may have while it changes them."""
    try:
        return [asyncssh.import_public_key(line) for line in (said if isinstance(said, list) else [said])]
    except Exception:  # noqa: BLE001 - the library stumbles in many ways
        raise ServerFailed(f"FILES_SFTP must say the host_key of {source} in OpenSSH's form, such as 'ssh-ed25519 AAAA…'.") from None


def key_of(source: str, said: dict[str, Any]) -> asyncssh.SSHKey:
    """Read our private key out of the file or the environment variable that is named."""
    match said:
        case {"key_file": str(path), **rest} if "key_variable" not in rest:
            where = f"the file {path}"
            try:
                text = Path(path).read_text(encoding="ascii")
            except OSError as error:
                raise ServerFailed(f"The key of {source} cannot be read from {where}: {error.strerror}.") from None
            except UnicodeDecodeError:
                text = ""
        case {"key_variable": str(name), **rest} if "key_file" not in rest:
            where, text = f"the variable {name}", os.environ.get(name, "")
        case _:
            raise ServerFailed(f"FILES_SFTP must say either key_file or key_variable of {source}.")
    try:
        return asyncssh.import_private_key(text)
    except Exception:  # noqa: BLE001 - the library stumbles in many ways, and what it says could hold a part of the key
        raise ServerFailed(f"The key of {source} in {where} is no private key, or is locked with a passphrase.") from None


# --- What is asked of it --------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A file as the server lists it: its name as bytes, its size in bytes, and when it was last written to, by the server's clock."""

    name: bytes
    size: int
    modified_s: int

    @property
    def shown(self) -> str:
        text = self.name.decode("utf-8", "backslashreplace")
        return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)

    @property
    def has_plain_name(self) -> bool:
        return 0 < len(self.name) <= LONGEST_NAME and not any(sign in self.name for sign in (b"/", b"\\", b"\0"))


@contextmanager
def opened(account: Account, *, within_s: float) -> Iterator["Server"]:
    """Connect to the server; all that is asked of it may take so many seconds.  Raises ServerFailed."""
    server = Server(account, until=time.monotonic() + within_s)
    try:
        server.connect()
        yield server
    finally:
        server.close()


class Server:
    """A line to a server."""

    _connection: asyncssh.SSHClientConnection | None = None
    _client: asyncssh.SFTPClient

    def __init__(self, account: Account, *, until: float) -> None:
        self._account, self._until = account, until
        self._thread, self._runner = ThreadPoolExecutor(1, "sftp"), asyncio.Runner()

    def connect(self) -> None:
        """Log in.  Raises ServerFailed."""
        try:
            self._run(self._connect())
        except FileFailed as error:
            raise ServerFailed(f"The server lets us in, but not to files. {error}") from None

    def files(self) -> list[Listed]:
        """Return the files of the folder, by name; no hidden ones, no folders, no links.  Raises ServerFailed."""
        try:
            return sorted(self._run(self._files()))
        except FileFailed as error:
            raise ServerFailed(f"The folder {self._account.folder.decode(errors='replace')} cannot be listed. {error}") from None

    def download(self, listed: Listed, spool: IO[bytes]) -> None:
        """Write the file's bytes into the spool: all of them, or it raises.  Raises NotAsListed, FileFailed, ServerFailed."""
        if not listed.has_plain_name:
            raise FileFailed("Its name is a path.")
        self._run(self._download(listed, spool))

    def close(self) -> None:
        """Hang up, whether or not the server listens."""
        self._thread.submit(self._runner.run, self._close()).result()
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    async def _connect(self) -> None:
        self._connection = await asyncssh.connect(
            self._account.host,
            self._account.port,
            username=self._account.user,
            client_keys=[self._account.key],
            known_hosts=(self._account.host_keys, [], []),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            x509_trusted_certs=None,
            gss_auth=False,
            gss_kex=False,
            compression_algs=None,
            connect_timeout=CONNECT_S,
            login_timeout=LOGIN_S,
            keepalive_interval=SILENT_S,
        )
        self._client = await self._connection.start_sftp_client(path_encoding=None)

    async def _files(self) -> list[Listed]:
        files, names = [], 0
        async with aclosing(self._client.scandir(self._account.folder)) as entries:  # type: ignore[type-var]
            async for entry in entries:
                names += 1
                if names > MOST_NAMES:
                    raise ServerFailed(f"The folder has more than {MOST_NAMES:,} names. Ask for old files to be cleared away there.")
                name, attributes = as_bytes(entry.filename), entry.attrs
                is_hidden = name.startswith(b".") and b"/" not in name
                if not is_hidden and attributes.type in (FILEXFER_TYPE_REGULAR, FILEXFER_TYPE_UNKNOWN):
                    files.append(listed_as(name, attributes))
        return files

    async def _download(self, listed: Listed, spool: IO[bytes]) -> None:
        path = self._account.folder + b"/" + listed.name
        await self._require_as_listed(listed, path)
        size = 0
        async with self._client.open(path, "rb") as file:
            while piece := await file.read(min(PIECE, listed.size + 1 - size), size):
                size += len(piece)
                if size > listed.size:
                    raise NotAsListed
                spool.write(as_bytes(piece))
        if size < listed.size:
            raise NotAsListed
        await self._require_as_listed(listed, path)

    async def _require_as_listed(self, listed: Listed, path: bytes) -> None:
        try:
            attributes = await self._client.lstat(path)
        except asyncssh.SFTPNoSuchFile:
            raise NotAsListed from None
        if attributes.type != FILEXFER_TYPE_REGULAR or listed_as(listed.name, attributes) != listed:
            raise NotAsListed

    async def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            try:
                await asyncio.wait_for(self._connection.wait_closed(), GOODBYE_S)
            except (OSError, asyncssh.Error):
                self._connection.abort()

    def _run(self, step: Coroutine[Any, Any, T]) -> T:
        """Carry out a step on the loop's thread, before the deadline, and say what an accident means."""
        try:
            return self._thread.submit(self._runner.run, self._in_time(step)).result()
        except (ServerFailed, FileFailed, NotAsListed):
            raise
        except asyncssh.SFTPError as error:
            if isinstance(error, NO_CONNECTION):
                raise ServerFailed(f"The connection broke: {reason_of(error)}.") from None
            raise FileFailed(f"The server says: {reason_of(error)}.") from None
        except Exception as error:  # noqa: BLE001 - a stranger's server may do anything, and the next one is looked at all the same
            raise ServerFailed(meaning_of(error, self._account)) from None

    async def _in_time(self, step: Coroutine[Any, Any, T]) -> T:
        """Wait for a step until the deadline, then hang up: a step that is only cancelled says goodbye, and waits for an answer to that."""
        left_s = max(self._until - time.monotonic(), 0)
        hang_up = asyncio.get_running_loop().call_later(left_s, self._hang_up)
        try:
            async with asyncio.timeout(left_s + GOODBYE_S):
                return await step
        except asyncssh.Error:
            if time.monotonic() >= self._until:
                raise TimeoutError from None
            raise
        finally:
            hang_up.cancel()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.abort()


def listed_as(name: bytes, attributes: asyncssh.SFTPAttrs) -> Listed:
    return Listed(name, min(attributes.size or 0, LARGEST_NUMBER), min(attributes.mtime or 0, LARGEST_NUMBER))


def as_bytes(given: str | bytes) -> bytes:
    return given if isinstance(given, bytes) else os.fsencode(given)


def meaning_of(error: Exception, account: Account) -> str:
    """Say what an accident on the way to the server means, and what to do about it."""
    where = f"{account.host}:{account.port}"
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return f"{where} shows another host key than the one that is set. Ask whoever runs it whether it was changed; until then it is refused."
        case asyncssh.PermissionDenied():
            return f"{where} does not let {account.user} in with our key. Has our public key been given to whoever runs it?"
        case TimeoutError():
            return f"{where} did not answer, or not fast enough."
        case OSError():
            return f"The line to {where} failed: {plain(error.strerror or error)[:LONGEST_REASON]}."
        case asyncssh.Error():
            return f"{where} ended the connection: {reason_of(error)}."
        case _:
            return f"What {where} says is not understood: {type(error).__name__}."


def reason_of(error: asyncssh.Error) -> str:
    """Return the reason that the server or asyncssh gives, as it may be shown."""
    return plain(error.reason)[:LONGEST_REASON] or type(error).__name__
