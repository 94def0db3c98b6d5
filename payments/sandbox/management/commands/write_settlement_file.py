"""`python -m payments.sandbox write_settlement_file`: write the file that many charges would have, straight to the standard output.

No database is asked, and a file of any length takes the memory of a piece of it.
"""

import argparse
import sys
from datetime import UTC, date, datetime, time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.sandbox import many_charges
from payments.sandbox.settlement_files import FORMATS, Batch, written


class Command(BaseCommand):
    help = "Write a settlement file of many charges: a number of invented ones, or those of a list (CSV: id,key,reference,currency,amount)."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--number", type=int, help="how many are invented")
        which.add_argument("--list", type=argparse.FileType(encoding="utf-8"), help="the list, of one currency; - is the standard input")
        parser.add_argument("--currency", default="EUR", help="the batch's currency (default: EUR)")
        parser.add_argument("--day", type=date.fromisoformat, required=True, help="the batch's day, such as 2026-11-20")
        parser.add_argument("--format", choices=list(FORMATS), default="sandbox")

    def handle(self, *args: Any, **options: Any) -> None:
        day, currency, table = options["day"], options["currency"], options["list"]
        batch = Batch(f"sb-{day:%Y%m%d}-{currency.lower()}", day, currency, settings.SANDBOX_ACCOUNT)
        wanted = many_charges.listed(table) if table else many_charges.invented(options["number"], currency=currency)
        lines = many_charges.settled(wanted, at=datetime.combine(day, time(12), tzinfo=UTC))
        try:
            for piece in written(batch, lines, form=FORMATS[options["format"]]):
                sys.stdout.buffer.write(piece)
        except ValueError as wrong:
            raise CommandError(str(wrong)) from None
