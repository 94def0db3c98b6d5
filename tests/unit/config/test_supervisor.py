"""The supervisor: children are ready before we go on, crash without taking us along, and stop in reverse."""

import signal
import sys
from pathlib import Path

import pytest

from config.supervisor import Child, ChildDied, Supervisor, log_line, wait_until_ready

READY_AND_WAITING = "import signal; print('ready', flush=True); signal.pause()"


def python(name: str, code: str, *, logs: Path) -> Child:
    command = [sys.executable, "-c", code]
    return Child(name, command=command, log=logs / f"{name}.log", cwd=logs).when(log_line("ready"))


def test_a_child_that_dies_while_starting_shows_its_last_words(tmp_path: Path) -> None:
    child = python("web", "raise SystemExit('no such settings')", logs=tmp_path)
    with pytest.raises(ChildDied, match="web stopped with exit code 1") as death:
        Supervisor(say=print).start(child)
    assert "no such settings" in death.value.last_lines


def test_a_child_that_never_gets_ready_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    child = python("worker", "import signal; signal.pause()", logs=tmp_path)
    child.ready_timeout_s = 0.2
    supervisor = Supervisor(say=print)
    with pytest.raises(ChildDied, match="was not ready"):
        supervisor.start(child)
    supervisor.stop()
    assert child.process is None


def test_a_line_of_the_last_start_does_not_count_as_ready(tmp_path: Path) -> None:
    (tmp_path / "beat.log").write_text("ready\n")
    child = python("beat", "raise SystemExit('this time it fails')", logs=tmp_path)
    child.start()
    with pytest.raises(ChildDied):
        wait_until_ready([child])


def test_the_youngest_stop_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: (open({path!r}, 'a').write({name!r}), sys.exit()));"
        "print('ready', flush=True); signal.pause()"
    )
    supervisor = Supervisor(say=print)
    for name in ("database ", "web "):
        supervisor.start(python(name.strip(), code.format(path=str(order), name=name), logs=tmp_path))
    supervisor.stop()
    assert order.read_text() == "web database "


def test_what_crashes_starts_again_after_a_growing_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    child = python("worker", READY_AND_WAITING, logs=tmp_path)
    supervisor = Supervisor(say=said.append)
    supervisor.start(child)
    first = child.process
    assert first is not None
    first.send_signal(signal.SIGKILL)
    first.wait()
    now = child.started_at + 1
    supervisor.restart_crashed(now=now)
    assert child.process is first
    supervisor.restart_crashed(now=now + 1)
    assert child.process is not first
    wait_until_ready([child])
    supervisor.stop()
    assert said == [f"worker was ended by SIGKILL; it starts again in 1 s (log: {child.log})"]
