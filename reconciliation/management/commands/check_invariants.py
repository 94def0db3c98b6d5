"""`manage.py check_invariants`: what must hold across the whole house, checked now.  Exit code 1 and the rows if something does not."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from reconciliation import invariants


class Command(BaseCommand):
    help = "Check the invariants of the books, wallets and payments; name the rows that break one."

    def handle(self, *args: Any, **options: Any) -> None:
        broken = invariants.violations()
        if broken:
            raise CommandError("\n".join(str(violation) for violation in broken))
        self.stdout.write(f"{len(invariants.CHECKS)} invariants hold.")
