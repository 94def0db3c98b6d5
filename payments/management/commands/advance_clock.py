"""`manage.py advance_clock 72h`: move the test clock on, ours and the sandbox PSP's, by so much more.  `0` puts both back to the true time.

Only where TEST_CLOCK_FILE is set, which production refuses.  The sandbox is told first: if it does not answer, nothing has moved.
"""

import re
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ledger import clock

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FURTHEST = timedelta(days=3650)
TIMEOUT_S = 10


class Command(BaseCommand):
    help = "Move the test clock of Onebook and of the sandbox PSP on, or back to the true time with 0."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser._negative_number_matcher = re.compile(r"^-\d")  # so that -5h comes to us and is no option
        parser.add_argument("by", help="such as 90s, 30m, 72h, 14d; 0 puts the clock back")

    def handle(self, *args: Any, by: str, **options: Any) -> None:
        if not settings.TEST_CLOCK_FILE:
            raise CommandError("There is no test clock here: TEST_CLOCK_FILE is not set. `./run demo` sets it.")
        step = seconds_in(by)
        put(ahead := clock.offset() + timedelta(seconds=step) if step else timedelta())
        self.stdout.write(f"The clock is {timedelta(seconds=int(ahead.total_seconds()))} ahead: {clock.now():%Y-%m-%d %H:%M:%S} UTC.")


def put(ahead: timedelta) -> None:
    """Put the clocks of both sides so far ahead of the true time, the sandbox's first.  Raises CommandError, and then neither has moved."""
    offset_s = int(ahead.total_seconds())
    if ahead > FURTHEST:
        raise CommandError(f"The clock goes {FURTHEST.days} days ahead at most, and is {clock.offset()} ahead now. 0 puts it back.")
    if settings.PSP_SANDBOX_URL:
        tell_the_sandbox(offset_s)
    write(Path(settings.TEST_CLOCK_FILE), offset_s)


def seconds_in(text: str) -> int:
    """Return the seconds of a text such as 72h.  Raises CommandError."""
    if text.startswith("-"):
        raise CommandError(f"{text!r} is no span of time to move on by: the clock goes forward only. 0 puts it back to the true time.")
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if not found or (not found[2] and int(found[1])):
        raise CommandError(f"{text!r} is no span of time. Give a number and a unit, such as 90s, 30m, 72h or 14d, or 0.")
    return int(found[1]) * UNITS.get(found[2], 0)


def tell_the_sandbox(offset_s: int) -> None:
    headers = {"Authorization": f"Bearer {settings.PSP_SANDBOX_API_KEY}"}
    try:
        with httpx.Client(base_url=settings.PSP_SANDBOX_URL, headers=headers, timeout=TIMEOUT_S, trust_env=False) as sandbox:
            sandbox.put("/v1/clock", json={"offset_s": offset_s}).raise_for_status()
    except httpx.HTTPStatusError as error:
        refused = (
            f"The sandbox PSP refuses to move its clock (HTTP {error.response.status_code}), so ours stays: {error.response.text[:300]}"
        )
        raise CommandError(refused) from error
    except httpx.HTTPError as error:
        silent = f"The sandbox PSP does not answer at {settings.PSP_SANDBOX_URL}, so ours stays. Is the demo running?"
        raise CommandError(silent) from error


def write(path: Path, offset_s: int) -> None:
    """Replace the file whole: whoever reads meanwhile sees the old number or the new one."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(f"{offset_s}\n")
    draft.replace(path)
