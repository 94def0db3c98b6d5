"""`manage.py dead_letters`: list what the machine gave up on and a person must decide, oldest first."""

from typing import Any

from django.core.management.base import BaseCommand

from ledger.money import text
from payments import dead_letters
from payments.models import DeadLetter


class Command(BaseCommand):
    help = "List the dead letters that wait for a person. Decide them with redrive, fail_dead_letter or void_dead_letter."

    def handle(self, *args: Any, **options: Any) -> None:
        letters = list(dead_letters.waiting())
        for letter in letters:
            self.stdout.write(line_of(letter))
        self.stderr.write(f"{len(letters)} dead letters wait for a person." if letters else "No dead letter waits for a person.")


def line_of(letter: DeadLetter) -> str:
    about = letter.refund or letter.order
    amount = f"{text(about.amount)} {about.amount.currency}"
    when = f"{letter.created_at:%Y-%m-%d %H:%M}"
    return "  ".join([letter.public_id, when, letter.reason, about.public_id, about.status, amount, letter.detail])
