"""`manage.py payout_came_back PAYOUT --on DATE --note WHY --by NAME`: the bank's statement shows that a payout by file was sent back."""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock, money
from ledger.errors import DomainError
from payouts import file_returns
from payouts.models import Payout
from payouts.states import PayoutStatus


class Command(BaseCommand):
    help = "Record that the money of a payout by file came back: the seller has it again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("payout", help="the payout's id (po_...); the statement names it with a hyphen")
        parser.add_argument("--on", type=date.fromisoformat, required=True, metavar="DATE", help="the day in the bank's statement")
        parser.add_argument("--code", choices=file_returns.CODES, default=file_returns.NOT_SAID, help="default: %(default)s (not said)")
        parser.add_argument("--note", required=True, help="where you saw it: it is kept with the payout")
        parser.add_argument("--by", required=True, help="who does it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, payout: str, on: date, code: str, note: str, by: str, **options: Any) -> None:
        if not by.strip():
            raise CommandError("Say who does it: --by NAME is kept with the payout.")
        public_id = payout.replace("-", "_", 1)
        row = Payout.objects.filter(public_id=public_id).first()
        if row is None:
            raise CommandError(f"There is no payout {public_id!r}.")
        try:
            recorded = file_returns.came_back(row.pk, on=on, code=code, actor=f"shell:{by.strip()}", reason=note, now=clock.now())
        except DomainError as error:
            raise CommandError(str(error)) from error
        came_of_it = "is available to the seller again" if recorded.status == PayoutStatus.RETURNED else "was the second payment of two"
        self.stdout.write(f"{public_id} came back: {money.text(row.amount)} {row.amount.currency} {came_of_it}.")
