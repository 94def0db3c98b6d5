"""The clock of business: the machine's, moved by the test clock where there is one, and by nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from ledger import clock
from payments.management.commands.advance_clock import seconds_in
from tests.fixtures_services import ROOT


@pytest.fixture
def clock_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "TEST_CLOCK_FILE", str(tmp_path / "clock"))
    monkeypatch.setattr(settings, "PSP_SANDBOX_URL", "")
    return tmp_path / "clock"


def ahead() -> timedelta:
    """Return how far the clock is ahead, to the minute."""
    return timedelta(minutes=round((clock.now() - timezone.now()).total_seconds() / 60))


def test_without_a_test_clock_it_is_the_true_time() -> None:
    assert settings.TEST_CLOCK_FILE == ""
    before = timezone.now()
    assert before <= clock.now() <= timezone.now()
    assert clock.offset() == timedelta()


@pytest.mark.parametrize("text", [None, "", "\n", "0\n"])
def test_a_test_clock_that_was_never_moved_is_the_true_time(clock_file: Path, text: str | None) -> None:
    if text is not None:
        clock_file.write_text(text)
    assert ahead() == timedelta()


def test_every_reading_follows_the_file(clock_file: Path) -> None:
    for hours in (72, 1, 0, 9):
        clock_file.write_text(f"{hours * 3600}\n")
        assert ahead() == timedelta(hours=hours)


def test_the_command_moves_the_clock_on_each_time_and_back_with_0(clock_file: Path) -> None:
    for by, expected in (("72h", timedelta(hours=72)), ("30m", timedelta(hours=72.5)), ("2d", timedelta(hours=120.5)), ("0", timedelta())):
        call_command("advance_clock", by, verbosity=0)
        assert ahead() == expected


@pytest.mark.parametrize("by", ["-5h", "-1", "4000d", "999999999d"])
def test_a_clock_goes_forward_only_and_not_for_ever(clock_file: Path, by: str) -> None:
    with pytest.raises(CommandError, match=r"goes (forward only|3650 days ahead at most)"):
        call_command("advance_clock", by, verbosity=0)
    assert not clock_file.exists()


@pytest.mark.parametrize("by", ["", "72", "-1h", "1.5h", "h", "72 h", "1w", "9999999999h"])
def test_what_is_no_span_of_time_is_refused_by_name(by: str) -> None:
    with pytest.raises(CommandError, match="no span of time"):
        seconds_in(by)


def test_where_there_is_no_test_clock_nothing_moves() -> None:
    with pytest.raises(CommandError, match="TEST_CLOCK_FILE"):
        call_command("advance_clock", "72h", verbosity=0)
    assert clock.offset() == timedelta()


def test_a_sandbox_that_does_not_answer_leaves_our_clock_where_it_was(clock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PSP_SANDBOX_URL", "http://127.0.0.1:1")
    with pytest.raises(CommandError, match="ours stays"):
        call_command("advance_clock", "72h", verbosity=0)
    assert not clock_file.exists()


def test_what_moves_money_reads_no_other_clock() -> None:
    apart = {"sandbox", "management", "templatetags", "migrations"}
    code = [path for path in (ROOT / "payments").rglob("*.py") if not apart & set(path.relative_to(ROOT).parts)]
    assert len(code) > 20
    assert [str(path) for path in code if "timezone.now()" in path.read_text()] == []
