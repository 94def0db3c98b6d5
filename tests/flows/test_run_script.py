"""`./run` as a person meets it: every refusal is one sentence that says what to do."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from config import demosetup
from config.demosetup import DemoError
from tests.fixtures_services import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run"), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_verb_it_lists_them() -> None:
    answer = run()
    assert answer.returncode == 0
    for verb in ("demo", "info", "test", "lint", "manage", "shell", "bench", "down", "reset", "doctor"):
        assert f"./run {verb}" in answer.stdout


def test_an_unknown_verb_is_refused_in_one_line() -> None:
    answer = run("dance")
    assert answer.returncode == 2
    assert answer.stderr == "run: There is no `dance`; `./run help` lists what there is.\n"


@pytest.mark.parametrize("verb", ["demo", "info", "test", "lint", "manage", "shell", "bench", "down", "reset", "doctor"])
def test_every_verb_explains_itself(verb: str) -> None:
    answer = run(verb, "--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"usage: ./run {verb}")


def test_a_port_that_is_none_is_refused() -> None:
    answer = run("demo", "--port", "70000")
    assert answer.returncode == 2
    assert "70000 is not a port number" in answer.stderr


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    answer = run("test", "-k", "nothing", REDIS_URL="redis://127.0.0.1:1/0")
    assert answer.returncode == 1
    assert answer.stderr.startswith("run: Nothing answers at REDIS_URL (127.0.0.1:1")
    assert answer.stderr.count("\n") == 1


def test_a_port_asked_for_must_be_free_and_the_usual_one_may_be_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f"Port {port} is taken"):
            demosetup.choose_port(port, default=8000)
        assert demosetup.choose_port(None, default=port) > port
