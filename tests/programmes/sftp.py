"""The SFTP server of the house: a real one, on a port and a loop of its own, that shows each source its folder and nothing else."""

import asyncio
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import asyncssh


class OneFolder(asyncssh.SFTPServer):
    """What a user of ours sees."""

    root: Path

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
        super().__init__(channel, chroot=os.fsencode(self.root))


class Server:
    """Serves the folder while it is entered; `settings_for` is what FILES_SFTP says of it."""

    def __init__(self, root: Path, *, key_file: Path) -> None:
        self._root, self._key_file = root, key_file
        self._host_key, self._our_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self._started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "Server":
        self._key_file.write_bytes(self._our_key.export_private_key())
        self._thread.start()
        self._port = self._started.result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._enough.set)
        self._thread.join(timeout=10)

    def settings_for(self, *sources: str) -> dict[str, Any]:
        host_key = self._host_key.export_public_key().decode()
        known = {"host": "127.0.0.1", "port": self._port, "user": "onebook", "key_file": str(self._key_file), "host_key": host_key}
        return {source: known | {"folder": f"/{source}"} for source in sources}

    async def _serve(self) -> None:
        self._loop, self._enough = asyncio.get_running_loop(), asyncio.Event()
        factory = type("Folder", (OneFolder,), {"root": self._root})
        ours = asyncssh.import_authorized_keys(self._our_key.export_public_key().decode())
        try:
            server = await asyncssh.listen(
                "127.0.0.1", 0, server_host_keys=[self._host_key], authorized_client_keys=ours, sftp_factory=factory
            )
            self._started.set_result(server.get_port())
        except BaseException as error:
            self._started.set_exception(error)
            raise
        await self._enough.wait()
        server.close()
