"""`manage.py close_month 2026-10 --by NAME --note WHY`: close a month that somebody else has prepared in the admin.

For a ledger so large that looking at everything takes longer than the web server lets a request last.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from reconciliation import close
from reconciliation.models import MonthClose
from wallet import months


class Command(BaseCommand):
    help = "Close a month that somebody else has prepared, if everything that must hold does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="such as 2026-10")
        parser.add_argument("--by", required=True, help="who closes it: your name; it is kept as shell:NAME")
        parser.add_argument("--note", required=True, help="why it may be closed")

    def handle(self, *args: Any, month: str, by: str, note: str, **options: Any) -> None:
        try:
            prepared = MonthClose.objects.filter(month=months.parse(month).first_day, status=close.Status.PREPARED).first()
            if prepared is None:
                raise CommandError(f"Nobody has prepared the close of {month}. That is done in the admin, under Month close.")
            closed = close.close(prepared.pk, actor=f"shell:{by.strip()}", reason=note, now=clock.now())
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{closed} is closed. Its evidence has the SHA-256 {closed.evidence.sha256}.")
