"""`manage.py receive_file PATH --source NAME --by NAME`: receive a file of a PSP or a bank, and read it at once.

May be repeated: the same bytes are the same file.  Exit code 1, and the line, if it is refused.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from reconciliation import ingestion
from reconciliation.models import SourceFile


class Command(BaseCommand):
    help = "Receive a settlement file or a bank statement, and read it at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the file; .gz and .zip with one file in it are unpacked")
        parser.add_argument("--source", required=True, help="the PSP or the bank it is of: one of FILE_SOURCES")
        parser.add_argument("--by", required=True, help="who brings it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, path: Path, source: str, by: str, **options: Any) -> None:
        if not by.strip():
            raise CommandError("Say who brings it: --by NAME is kept with the file.")
        try:
            with path.open("rb") as stream:
                received, _is_new = ingestion.receive(stream, path.name, source=source, received_by=f"shell:{by.strip()}", now=clock.now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        file = ingestion.stage(received.pk, now=clock.now())
        if file.status == SourceFile.Status.REFUSED:
            where = f"line {file.error_line}: " if file.error_line else ""
            raise CommandError(f"{file.public_id} is refused: {where}{file.error}")
        self.stdout.write(f"{file.public_id} is {file.status}: {file.staged} records, {', '.join(file.currencies) or 'no currency'}.")
