"""`manage.py payout_file_outcome FILE paid|never_left --on DATE --note WHY --by NAME`: what the bank's statement shows, and no answer told.

Of the whole file, as far as nobody knows how its payouts end; or of one payout of it (`--payout`).  Not by whoever fetched the file.  Exit
code 1 if another file pays the payout, too, which a person must look at; it is recorded all the same.
"""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from ledger.errors import DomainError
from payouts import file_outcomes, paid_twice
from payouts.file_outcomes import Seen
from payouts.models import PaymentFile, PaymentFileLine

OF_A_FILE = {"paid": file_outcomes.file_was_paid, "never_left": file_outcomes.file_never_left}
OF_A_PAYOUT = {"paid": file_outcomes.was_paid, "never_left": file_outcomes.never_left}


class Command(BaseCommand):
    help = "Record that the bank's statement shows payouts of a fetched file as paid, or does not have them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file's id (pf_...)")
        parser.add_argument("outcome", choices=sorted(OF_A_FILE), help="they were paid; or they never left, and go into the next file")
        parser.add_argument("--payout", default="", metavar="PAYOUT", help="of this payout alone (po_...); also one that had failed")
        parser.add_argument("--on", type=date.fromisoformat, required=True, metavar="DATE", help="the day of the bank's statement")
        parser.add_argument("--note", required=True, help="where you saw it: it is kept")
        parser.add_argument("--by", required=True, help="who does it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, file: str, outcome: str, payout: str, on: date, note: str, by: str, **options: Any) -> None:
        if not by.strip():
            raise CommandError("Say who does it: --by NAME is kept with the payout.")
        seen = Seen(on, f"shell:{by.strip()}", note, clock.now())
        public_id, warning = payout.replace("-", "_", 1), ""
        try:
            if public_id:
                line = PaymentFileLine.objects.get(file__public_id=file, payout__public_id=public_id)
                warning = paid_twice.warning_of(OF_A_PAYOUT[outcome](line.pk, seen))
            else:
                OF_A_FILE[outcome](PaymentFile.objects.get(public_id=file).pk, seen)
        except (PaymentFile.DoesNotExist, PaymentFileLine.DoesNotExist) as error:
            raise CommandError(f"There is no payment file {file!r}{f' with {public_id}' if public_id else ''}.") from error
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{public_id or file}: {'paid' if outcome == 'paid' else 'waits for the next file'}, by the statement of {on}.")
        if warning:
            raise CommandError(f"{public_id}: {warning}")
