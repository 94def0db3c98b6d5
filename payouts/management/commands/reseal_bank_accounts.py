"""`manage.py reseal_bank_accounts`: after a new key was put in front of BANK_DETAILS_KEYS, seal with it what older keys have sealed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payouts import bank_accounts


class Command(BaseCommand):
    help = "Seal all bank details with the first of BANK_DETAILS_KEYS. May run beside everything else, and again."

    def handle(self, *args: Any, **options: Any) -> None:
        count, unopened, done = 0, list[str](), bank_accounts.reseal()
        while done:
            count, unopened = count + done.count, unopened + done.unopened
            done = bank_accounts.reseal(after=done.last)
        self.stdout.write(f"{count} bank accounts are sealed with the current key now.")
        if unopened:
            raise CommandError(f"The key of these is not in BANK_DETAILS_KEYS: {', '.join(unopened)}. Put it back, and run this again.")
        self.stdout.write("Older keys may be taken out of BANK_DETAILS_KEYS.")
