"""`manage.py redrive LETTER --actor NAME --note WHY`: try what the machine gave up on again, at once."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from payments import rescue
from payments.models import DeadLetter


class Decide(Protocol):
    """One of the decisions of rescue.py."""

    def __call__(self, letter_id: int, *, actor: str, note: str, now: datetime) -> DeadLetter: ...


class Command(BaseCommand):
    help = "Try the order or refund of a dead letter again, at once. What may have been sent is asked for first."
    decide: Decide = staticmethod(rescue.redrive)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("letter", help="the dead letter's id (dl_...)")
        parser.add_argument("--actor", required=True, help="who decides: your name; it is kept as shell:NAME")
        parser.add_argument("--note", required=True, help="why: it is kept with the decision")

    def handle(self, *args: Any, letter: str, actor: str, note: str, **options: Any) -> None:
        found = DeadLetter.objects.filter(public_id=letter).first()
        if found is None:
            raise CommandError(f"There is no dead letter {letter!r}. `manage.py dead_letters` lists them.")
        if not actor.strip():
            raise CommandError("Say who decides: --actor NAME is kept with the decision.")
        try:
            decided = self.decide(found.pk, actor=f"shell:{actor}", note=note, now=clock.now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        about = decided.refund or decided.order
        about.refresh_from_db()
        self.stdout.write(f"{decided.public_id}: {decided.decision}. {about.public_id} is {about.status}.")
