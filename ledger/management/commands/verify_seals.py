"""`manage.py verify_seals [--head NUMBER:HASH]`: hash the books again and compare with their seals.  Exit code 1 and the entries if not equal.

`--head` is a line of the log, kept outside of the database: with it, a chain that was cut off or written anew is found, too.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import seals


class Command(BaseCommand):
    help = "Verify the chain of hashes over the books, and name the entries that were tampered with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", default="", help="an anchored head of the chain, NUMBER:HASH, as the log has it")

    def handle(self, *args: Any, head: str, **options: Any) -> None:
        try:
            anchor = seals.parse_head(head) if head else None
        except seals.NoHead as error:
            raise CommandError(str(error)) from error
        findings = seals.verify(anchor=anchor)
        if findings:
            raise CommandError("\n".join(str(finding) for finding in findings))
        self.stdout.write(f"The books are as they were sealed. Head: {seals.head() or 'nothing is sealed yet'}")
