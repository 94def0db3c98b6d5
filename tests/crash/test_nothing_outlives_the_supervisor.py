"""`kill -9` of the process that started the servers: the kernel ends them, and the next start finds the data whole."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config import devservices
from tests.fixtures_services import ROOT

pytestmark = pytest.mark.crash

DEADLINE_S = 30
SERVE = """
import json, signal, sys
from pathlib import Path
from config import devservices
devservices.kept_home = lambda root: root / "home"
services = devservices.start(Path(sys.argv[1]), durable=True, keep=True, logs=Path(sys.argv[1]))
pids = [child.process.pid for child in services.children]
print(json.dumps({"pids": pids, "state": str(services.state_file)}), flush=True)
signal.pause()
"""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a checkout of its own, whose servers are not those of the tests."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(devservices, "kept_home", lambda root: root / "home")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)  # as root the servers run as `nobody`, who must get through
        yield Path(directory)


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, f"still alive after {DEADLINE_S} s: {pids}"
        time.sleep(0.05)


def test_the_servers_end_with_the_process_that_started_them(elsewhere: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(elsewhere)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=dict(os.environ)) as starter:
        assert starter.stdout is not None
        served = json.loads(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    wait_until_gone(served["pids"])
    home = Path(served["state"]).parent
    assert not devservices.is_served(home)
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_only_one_process_serves_the_data(elsewhere: Path) -> None:
    with (
        devservices.start(elsewhere, durable=False, keep=True, logs=elsewhere),
        pytest.raises(devservices.AlreadyServed, match=f"in use by process {os.getpid()}"),
    ):
        devservices.start(elsewhere, durable=False, keep=True, logs=elsewhere)


def test_kept_data_and_passwords_are_there_at_the_next_start(elsewhere: Path) -> None:
    for expected in (1, 2):
        with devservices.start(elsewhere, durable=False, keep=True, logs=elsewhere) as services:
            with psycopg.connect(services.database_url(devservices.OWNER)) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
                connection.execute("INSERT INTO starts DEFAULT VALUES")
                [count] = connection.execute("SELECT count(*) FROM starts").fetchone() or [None]
            assert services.state_file.stat().st_mode & 0o777 == 0o600
        assert count == expected
