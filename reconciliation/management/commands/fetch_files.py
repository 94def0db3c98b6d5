"""`manage.py fetch_files [--source NAME]`: look at the SFTP servers now, receive what is new, and say what came of it.

For setting a server up, and for not waiting a minute; beat does the same.  Exit code 1 if a server failed.
"""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ledger import clock
from reconciliation import sftp, tasks
from reconciliation.sftp import AT_REST, Look


class Command(BaseCommand):
    help = "Look at the SFTP servers now, and receive what is new there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--source", help="look at the server of this PSP or bank only: one of FILES_SFTP")

    def handle(self, *args: Any, source: str | None, **options: Any) -> None:
        if not settings.FILES_SFTP:
            raise CommandError("There is no SFTP server: FILES_SFTP is not set.")
        if source and source not in settings.FILES_SFTP:
            raise CommandError(f"FILES_SFTP has no server of {source}, but of {', '.join(settings.FILES_SFTP)}.")
        failed = 0
        for each in [source] if source else settings.FILES_SFTP:
            look = sftp.look_at(each, now=clock.now())
            for line in told(look):
                self.stdout.write(f"{each}: {line}")
            failed += bool(look and look.failed)
        tasks.nudge_staging()
        if failed:
            raise CommandError(f"{failed} of the servers failed.")


def told(look: Look | None) -> list[str]:
    """Say in a few lines what came of a look."""
    if look is None:
        return ["another process is looking at it"]
    return [
        *(f"received {file.name} as {file.public_id}" for file in look.received),
        *(f"refused {said}" for said in look.refused),
        *look.failed,
        *([f"{len(look.waiting)} wait until they have not changed for {AT_REST.seconds} seconds"] if look.waiting else []),
    ] or ["nothing new"]
