"""`manage.py payout_file_answer PATH --by NAME`: apply the bank's answer (pain.002) to a payment file.  May be repeated: twice is once.

Exit code 1 if a person must look at something; the rest of the answer is applied all the same.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from payouts import file_answers

PIECE = 64 * 1024


class Command(BaseCommand):
    help = "Apply the bank's answer (pain.002) to a payment file: payouts are paid, fail, or go into the next file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the bank's file")
        parser.add_argument("--by", required=True, help="who brings it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, path: Path, by: str, **options: Any) -> None:
        if not by.strip():
            raise CommandError("Say who brings it: --by NAME is kept with the answer.")
        try:
            applied = file_answers.apply(pieces_of(path), actor=f"shell:{by.strip()}", now=clock.now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        counts = ", ".join(f"{count} {name}" for name, count in applied.counts.items())
        self.stdout.write(f"{applied.file.public_id} is {applied.file.status}: {counts}.")
        if applied.problems:
            raise CommandError("\n".join(f"line {each.line}: {each.about}: {each.what}" for each in applied.problems))


def pieces_of(path: Path) -> Iterator[bytes]:
    """Return the bytes of the file, a piece at a time."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
