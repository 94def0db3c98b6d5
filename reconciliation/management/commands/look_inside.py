"""`manage.py look_inside --by NAME --note WHY`: the look of each night, now.  Exit code 1 if figures about money do not agree."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ledger import clock
from reconciliation import inside


class Command(BaseCommand):
    help = "Compare wallets, orders, payouts, PSPs and books; stop payouts if they do not agree."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", required=True, help="who asks: your name; it is kept as shell:NAME")
        parser.add_argument("--note", required=True, help="why")

    def handle(self, *args: Any, by: str, note: str, **options: Any) -> None:
        if not (by.strip() and note.strip()):
            raise CommandError("Say who asks and why: both are kept.")
        inside.ask(asked_by=f"shell:{by}", reason=note, now=timezone.now())
        look = inside.look(now=timezone.now(), at=clock.now())
        if look is None:
            raise CommandError("Somebody else looks at this moment. What you asked for is looked at next.")
        for figure in look.figures:
            self.stdout.write(" ".join(str(figure[name] or "-") for name in ("check", "about", "currency", "ours", "theirs", "state")))
        if look.drift:
            raise CommandError("Payouts are stopped. " + "; ".join(look.drift))
        self.stdout.write("All figures about money agree.")
