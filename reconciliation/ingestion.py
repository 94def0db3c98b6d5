"""Files in: whatever a PSP or a bank sends is kept as it came, read chunk by chunk, and counts once it was read to its end.

`receive` keeps the original, in one commit, and knows a file by its checksum: the same bytes are the same file, from wherever and however
often they come.  `stage` reads it into rows; it may be killed at any line and called again.  A file that is not what it claims to be is
refused with line and reason, and leaves no rows.  Called by every way in: the folder, SFTP, the admin, the REST API, commands, and beat.
"""

import csv
import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import IO, BinaryIO

import psycopg
from django.conf import settings
from django.db import DataError, connection, transaction

from ledger.errors import DomainError
from ledger.line import plain
from reconciliation import originals, staging
from reconciliation.alone import alone_at
from reconciliation.archives import LARGEST, unpacked
from reconciliation.formats import registry
from reconciliation.formats.records import BankLine, BankRecord, MalformedFile, SettlementLine, StatementClosed
from reconciliation.models import SourceFile
from reconciliation.staging import SomebodyElseWasFaster

logger = logging.getLogger(__name__)

PIECE = 1024 * 1024  # bytes
IN_MEMORY = 2 * PIECE  # of a file on its way in; the rest is on disk
LONGEST_NAME, LONGEST_ERROR = 200, 500
STAGED_AT_ONCE = 10  # files in one round
FARTHEST_AHEAD = timedelta(days=7)  # of what a file says, since it came: a payout is ordered some days before it is in effect
FROM_THE_SANDBOX = "sandbox"  # received by; its clock is moved by hand, so that its days may be any
TOO_FAR_AHEAD = f"is more than {FARTHEST_AHEAD.days} days after the file came"

# What a reader raises where a file holds something that it did not foresee
READER_FAILED = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError, csv.Error)

NEXT_FILE = "SELECT nextval(pg_get_serial_sequence('reconciliation_sourcefile', 'id'))"


class UnknownSource(DomainError):
    code = "unknown_source"


class EmptyFile(DomainError):
    code = "file_empty"


class FileTooLarge(DomainError):
    code = "file_too_large"


class FileOfAnotherKind(DomainError):
    """A settlement file of a bank, or a statement of a PSP, which must not confirm its own payments."""

    code = "file_of_another_kind"


class ReceivedFromAnother(DomainError):
    """The same bytes were received before, as the file of another PSP or bank."""

    code = "file_of_another_source"


class NotRefused(DomainError):
    code = "file_not_refused"


# --- Received: once -------------------------------------------------------------------------------------------------


def receive(stream: IO[bytes], name: str, *, source: str, received_by: str, now: datetime) -> tuple[SourceFile, bool]:
    """Keep a file as it came, in one commit; return it, and whether it is new.  The same bytes again are the file that is there.

    `name` is only shown; `source` is one of FILE_SOURCES.  A file in no format that we read is kept too, as refused.  Raises UnknownSource,
    EmptyFile, FileTooLarge, FileOfAnotherKind, ReceivedFromAnother.
    """
    require_source(source)
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        size, sha256 = spooled(stream, spool)
        known = SourceFile.objects.filter(sha256=sha256).first()
        if known is None:
            file = SourceFile(source=source, name=shown(name), size=size, sha256=sha256, received_by=received_by, received_at=now)
            recognise(file, spool)
            require_kind(file)
            if stored(file, spool):
                logger.info("%s from %s: %s", file.public_id, source, file.error or f"received, {size} bytes of {file.format}")
                return file, True
            known = SourceFile.objects.get(sha256=sha256)
    if known.source != source:
        said = f"The same file was received before, from {known.source}, as {known.public_id}."
        raise ReceivedFromAnother(said, field="source")
    return known, False


def require_source(source: str) -> None:
    """Raise UnknownSource unless we take files from it."""
    if source not in settings.FILE_SOURCES:
        known = ", ".join(settings.FILE_SOURCES) or "nobody, since FILE_SOURCES is not set"
        raise UnknownSource(f"Files are taken from {known}.", field="source")


def require_kind(file: SourceFile) -> None:
    """Raise FileOfAnotherKind for a file that was recognised and is not what comes from its source."""
    expected = settings.FILE_SOURCES.get(file.source, file.kind)
    if file.kind and file.kind != expected:
        title, comes = registry.named(file.format).title, "settlement files" if expected == "settlement" else "bank statements"
        said = f"It looks like {title!r}, and from {file.source} come {comes} alone. Send it as the file of whoever made it."
        raise FileOfAnotherKind(said, field="source")


def shown(name: str) -> str:
    """Return a file's name as it may be shown: without a path and without what cannot be seen."""
    return plain(re.split(r"[/\\]", name)[-1])[:LONGEST_NAME] or "unnamed"


def spooled(stream: IO[bytes], spool: IO[bytes]) -> tuple[int, str]:
    """Copy the stream; return its size in bytes and its SHA-256.  Raises EmptyFile, FileTooLarge."""
    digest, size = hashlib.sha256(), 0
    for piece in iter(lambda: stream.read(PIECE), b""):
        size += len(piece)
        if size > LARGEST:
            raise FileTooLarge(f"A file has {LARGEST:,} bytes at most. Ask for it in parts.", field="file")
        digest.update(piece)
        spool.write(piece)
    if not size:
        raise EmptyFile("The file is empty.", field="file")
    return size, digest.hexdigest()


def recognise(file: SourceFile, original: IO[bytes]) -> None:
    """Say what the file is, by its first bytes, or why it is refused."""
    try:
        head = unpacked(original, size=file.size).read(registry.HEAD)  # type: ignore[arg-type]
        format_ = registry.recognise(head)
        if format_ is None:
            known = ", ".join(known.title for known in registry.FORMATS)
            raise MalformedFile(0, f"it looks like nothing that we read: {known}")
    except MalformedFile as error:
        file.kind, file.format = "", ""
        mark_refused(file, error)
    else:
        file.kind, file.format = format_.kind, format_.name
        file.status, file.error, file.error_line = SourceFile.Status.RECEIVED, "", None


def stored(file: SourceFile, original: IO[bytes]) -> bool:
    """Write the file and its original together; False if somebody wrote the same bytes meanwhile.

    The row comes last: whoever brings the same bytes at the same time waits for a commit, not for a whole file.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(NEXT_FILE)
            [file.pk] = cursor.fetchone()
        originals.keep(original, file_id=file.pk)  # type: ignore[arg-type]
        SourceFile.objects.bulk_create([file], ignore_conflicts=True)
        is_new = SourceFile.objects.filter(pk=file.pk).exists()
        if not is_new:
            transaction.set_rollback(True)
    return is_new


# --- Staged: to the end, or not at all ------------------------------------------------------------------------------


def stage_waiting(*, now: datetime) -> int:
    """Stage the files that wait, oldest first; return how many were staged or refused.  One that fails does not hold up the others."""
    waiting = SourceFile.objects.filter(status=SourceFile.Status.RECEIVED).order_by("pk").values_list("pk", flat=True)
    return sum(stage(pk, now=now).status != SourceFile.Status.RECEIVED for pk in waiting[:STAGED_AT_ONCE])


def stage(file_id: int, *, now: datetime) -> SourceFile:
    """Read a received file into rows, and return it as it then stands: STAGED, REFUSED, or RECEIVED while another process is at it.

    Commits chunk by chunk; called again after a crash, it goes on where it stood.
    """
    file = SourceFile.objects.get(pk=file_id)
    with alone_at(f"reconciliation.staging {file_id}") as is_mine:
        if is_mine and file.status == SourceFile.Status.RECEIVED:
            try:
                read_to_the_end(file, now=now)
            except MalformedFile as error:
                refuse(file_id, error)
            except DataError:
                refuse(file_id, MalformedFile(0, "a statement in it has an account, a number or a balance that cannot be kept"))
            except READER_FAILED as error:
                logger.exception("%s cannot be read: a mistake in the reader of %s", file.public_id, file.format)
                refuse(file_id, MalformedFile(0, f"our reader of {file.format} fails over it ({type(error).__name__})"))
            except SomebodyElseWasFaster:
                logger.info("%s is staged by another process", file.public_id)
            except psycopg.errors.QueryCanceled:
                logger.exception("%s took too long to be read: it is read on at the next look", file.public_id)
    file.refresh_from_db()
    return file


def read_to_the_end(file: SourceFile, *, now: datetime) -> None:
    """Stage the file's records.  The original comes whole from Postgres first, which can give nothing more while it takes rows."""
    format_ = registry.named(file.format)
    last_day = date.max if file.received_by == FROM_THE_SANDBOX else file.received_at.date() + FARTHEST_AHEAD
    with tempfile.TemporaryFile() as original:
        shutil.copyfileobj(originals.opened(file), original, PIECE)
        contents = unpacked(original, size=file.size)
        if format_.kind == "settlement":
            count = staging.stage_settlement(file, settled_until(last_day, format_.read(contents)))
        else:
            count = staging.stage_statement(file, booked_until(last_day, format_.read(contents)))
    staging.finish(file, count=count, now=now)
    logger.info("%s is staged: %s records", file.public_id, count)


def settled_until(last: date, lines: Iterator[SettlementLine]) -> Iterator[SettlementLine]:
    """Yield the lines.  Raises MalformedFile for one that happened, or was settled, after that day."""
    for line in lines:
        happened_on = line.occurred_at and line.occurred_at.date()
        if (line.settled_on and line.settled_on > last) or (happened_on and happened_on > last):
            raise MalformedFile(line.line, f"is of {max(day for day in (line.settled_on, happened_on) if day)}, which {TOO_FAR_AHEAD}")
        yield line


def booked_until(last: date, records: Iterator[BankRecord]) -> Iterator[BankRecord]:
    """Yield the records.  Raises MalformedFile for a line that was booked, or a statement that was closed, after that day."""
    for record in records:
        day = record.closed_on if isinstance(record, StatementClosed) else record.booked_on if isinstance(record, BankLine) else None
        if day and day > last:
            raise MalformedFile(record.line, f"is of {day}, which {TOO_FAR_AHEAD}")
        yield record


@transaction.atomic(durable=True)
def refuse(file_id: int, error: MalformedFile) -> None:
    """Refuse a file that is being staged, with line and reason, and take away what was staged of it.  Locks the file."""
    file = SourceFile.objects.select_for_update().get(pk=file_id)
    if file.status == SourceFile.Status.RECEIVED:
        staging.forget(file)
        mark_refused(file, error)
        file.save()
        logger.warning("%s from %s is refused: %s", file.public_id, file.source, error)


def mark_refused(file: SourceFile, error: MalformedFile) -> None:
    file.status, file.staged = SourceFile.Status.REFUSED, 0
    file.error_line, file.error = error.line or None, plain(error.reason)[:LONGEST_ERROR] or "no reason given"


@transaction.atomic(durable=True)
def read_again(file_id: int) -> SourceFile:
    """Let a refused file wait for being staged once more, for when a reader has learned better.  Locks the file.

    Raises NotRefused, FileOfAnotherKind.
    """
    file = SourceFile.objects.select_for_update().get(pk=file_id)
    if file.status != SourceFile.Status.REFUSED:
        raise NotRefused(f"{file.public_id} is not refused: it needs no second reading.")
    recognise(file, originals.opened(file))
    require_kind(file)
    file.save()
    return file


def contents_of(file: SourceFile) -> Iterator[bytes]:
    """Yield the original as it was received, a piece at a time."""
    stream: BinaryIO = originals.opened(file)
    yield from iter(lambda: stream.read(PIECE), b"")
