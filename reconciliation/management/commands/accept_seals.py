"""`manage.py accept_seals NUMBER:HASH --by NAME --note WHY`: the chain of seals was rightly cut off or written anew, after a restore, say.

Until a person says so, with the head that they looked at, every look at the invariants compares the chain with the one of before.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ledger import seals
from reconciliation import watch


class Command(BaseCommand):
    help = "Accept another chain of seals than the one that was anchored, and look at every invariant again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("head", help="the head to go on with, NUMBER:HASH, as verify_seals says it")
        parser.add_argument("--by", required=True, help="who accepts it: your name; it is kept as shell:NAME")
        parser.add_argument("--note", required=True, help="why the chain is another one")

    def handle(self, *args: Any, head: str, by: str, note: str, **options: Any) -> None:
        try:
            accepted = watch.accept(seals.parse_head(head), accepted_by=f"shell:{by}" if by.strip() else "", note=note)
        except (seals.NoHead, watch.NothingToAccept) as error:
            raise CommandError(str(error)) from error
        runs = [watch.run_full(now=timezone.now()), watch.run_quick(now=timezone.now())]
        broken = sum(len(run.violations) for run in runs)
        self.stdout.write(f"The watch goes on with {accepted.head} instead of {accepted.instead_of}; violations now: {broken}.")
