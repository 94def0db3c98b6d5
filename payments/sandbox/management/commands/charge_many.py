"""`python -m payments.sandbox charge_many`: fill the journal with many charges that succeeded just now, by the test clock."""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.sandbox import clock, many_charges


class Command(BaseCommand):
    help = "Let many charges have succeeded: a number of invented ones, or those of a list (CSV: id,key,reference,currency,amount)."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--number", type=int, help="how many are invented")
        which.add_argument("--list", type=argparse.FileType(encoding="utf-8"), help="the list; - is the standard input")
        parser.add_argument("--currency", default="EUR", help="of the invented ones (default: EUR)")

    def handle(self, *args: Any, **options: Any) -> None:
        table = options["list"]
        wanted = many_charges.listed(table) if table else many_charges.invented(options["number"], currency=options["currency"])
        try:
            made = many_charges.charge(wanted, at=clock.now())
        except ValueError as wrong:
            raise CommandError(str(wrong)) from None
        sys.stdout.write(f"{made:,} charges\n")
