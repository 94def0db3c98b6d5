"""`manage.py load_rates FILE --by NAME`: take the rates of a file of the European Central Bank (XML or CSV), all of them or none."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from wallet import rates


class Command(BaseCommand):
    help = "Take the exchange rates of a file of the European Central Bank: eurofxref-daily.xml, eurofxref.csv, or its history."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--by", required=True, help="who brings it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, file: Path, by: str, **options: Any) -> None:
        try:
            loaded = rates.load(file.read_bytes(), by=f"shell:{by}", now=clock.now())
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        except DomainError as error:
            raise CommandError(str(error)) from error
        left_out = f" Left out, as nobody uses them any more: {', '.join(loaded.left_out)}." if loaded.left_out else ""
        self.stdout.write(f"New rates: {loaded.new}; known already: {loaded.known}; the last day is {loaded.newest}.{left_out}")
