"""`manage.py payout_file list | make | approve | reject | write`: the payments file of our bank, step by step.

manage.py payout_file make EUR --by ada                    what waits for a file, into one
manage.py payout_file approve pf_… --by ben --note "seen"  somebody other than its maker
manage.py payout_file write pf_… --to payouts.xml --by ben a new file that only its owner may read
"""

import os
import secrets
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger import clock, money
from ledger.errors import DomainError
from payouts import files, pain001
from payouts.models import PaymentFile
from payouts.vault import CannotOpen


class Command(BaseCommand):
    help = "Make, approve, reject or write the file that tells our bank whom to pay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|make|approve|reject|write")
        verbs.add_parser("list", help="the latest files")
        make = verbs.add_parser("make", help="put what waits for a file into one")
        make.add_argument("currency", help="such as EUR")
        make.add_argument("--on", type=date.fromisoformat, metavar="DATE", help="the day on which the bank is to pay (default: today)")
        make.add_argument("--format", choices=sorted(pain001.DIALECTS), default=files.DEFAULT_FORMAT, help="default: %(default)s")
        for name, about in (("approve", "let a file go to the bank"), ("reject", "put a file aside: its payouts go into the next")):
            decide = verbs.add_parser(name, help=about)
            decide.add_argument("file", help="the file's id (pf_...)")
            decide.add_argument("--note", required=True, help="why: it is kept with the decision")
        write = verbs.add_parser("write", help="write an approved file to the disk")
        write.add_argument("file", help="the file's id (pf_...)")
        write.add_argument("--to", type=Path, required=True, metavar="PATH", help="a new file; only its owner may read it")
        for verb in ("make", "approve", "reject", "write"):
            verbs.choices[verb].add_argument("--by", required=True, help="who does it: your name; it is kept as shell:NAME")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        carry_out: dict[str, Callable[..., str]] = {"make": self.make, "approve": self.approve, "reject": self.reject, "write": self.write}
        if verb == "list":
            self.stdout.write("\n".join(line_of(file) for file in PaymentFile.objects.order_by("-pk")[:20]) or "There is no file yet.")
            return
        if not options["by"].strip():
            raise CommandError("Say who does it: --by NAME is kept with the file.")
        try:
            said = carry_out[verb](options, actor=f"shell:{options['by'].strip()}", now=clock.now())
        except (DomainError, CannotOpen, files.FileHasChanged) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(said)

    def make(self, options: dict[str, Any], *, actor: str, now: datetime) -> str:
        execute_on = options["on"] or now.date()
        return line_of(files.make(options["currency"], execute_on=execute_on, made_by=actor, now=now, version=options["format"]))

    def approve(self, options: dict[str, Any], *, actor: str, now: datetime) -> str:
        return line_of(files.approve(named(options["file"]).pk, actor=actor, reason=options["note"], now=now))

    def reject(self, options: dict[str, Any], *, actor: str, now: datetime) -> str:
        return line_of(files.reject(named(options["file"]).pk, actor=actor, reason=options["note"], now=now))

    def write(self, options: dict[str, Any], *, actor: str, now: datetime) -> str:
        """Write the file beside its place and move it there whole, so that half a file never stands under its name."""
        path: Path = options["to"]
        if path.exists():
            raise CommandError(f"{path} is there already. Name another place: nothing is written over.")
        file = files.fetch(named(options["file"]).pk, actor=actor, now=now)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as place:
                for piece in files.stream(file):
                    place.write(piece)
                place.flush()
                os.fsync(place.fileno())
            unfinished.rename(path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
        finally:
            unfinished.unlink(missing_ok=True)
        return f"{line_of(file)}\n{path} holds every receiver's account: take it to the bank, and delete it."


def named(public_id: str) -> PaymentFile:
    file = PaymentFile.objects.filter(public_id=public_id).first()
    if file is None:
        raise CommandError(f"There is no payment file {public_id!r}. `manage.py payout_file list` names them.")
    return file


def line_of(file: PaymentFile) -> str:
    amount = f"{money.text(file.total)} {file.total.currency}"
    return f"{file.public_id}  {file.status}  {file.count} payouts, {amount}, on {file.execute_on}  {file.format}  sha256 {file.sha256}"
