"""Files from SFTP servers: FILES_SFTP says where a source keeps them for us, and what is new there is received.

A file is fetched once it has looked the same - size and time of writing - at two looks, half a minute apart or more, and if it still does
after its last byte: what is being written, and what a broken connection cut off, is never a file here, and is begun again at the next look.
One that was fetched, or that we do not take, is not fetched again as long as it looks the same.  A server that fails is counted, shown in
the admin, and holds up no other.
"""

import logging
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Coalesce

from ledger.errors import DomainError
from reconciliation import ingestion, sftp_server
from reconciliation.alone import alone_at
from reconciliation.archives import LARGEST
from reconciliation.ingestion import IN_MEMORY, FileTooLarge
from reconciliation.models import SftpEntry, SftpSource, SourceFile
from reconciliation.sftp_server import FileFailed, Listed, NotAsListed, Server, ServerFailed

logger = logging.getLogger(__name__)

RECEIVED_BY = "sftp"
AT_REST = timedelta(seconds=30)
ONE_LOOK_S = 110  # at one server, the fetching of its files included; a file of 200 MB needs 2 MB/s
FAILURES_SHOWN = 3  # in a row; one alone heals itself
LONGEST_ERROR = 500
AT_ONCE = 1000  # rows


@dataclass(slots=True)
class Look:
    """What came of a look at a server: files that are new, names that wait, and sentences on what was refused or failed."""

    received: list[SourceFile] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def fetch(*, now: datetime) -> list[SourceFile]:
    """Receive what is new at the servers; return it.  No transaction may be open.

    Whoever was not looked at for the longest time comes first, and no new look begins after ONE_LOOK_S: the rest have their turn next time.
    """
    until, received = time.monotonic() + ONE_LOOK_S, []
    for source in sources_in_turn():
        if time.monotonic() < until and (look := look_at(source, now=now)):
            received += look.received
    return received


def sources_in_turn() -> list[str]:
    if not settings.FILES_SFTP:
        return []
    looked_at = dict(SftpSource.objects.values_list("source", "looked_at"))
    return sorted(settings.FILES_SFTP, key=lambda source: (source in looked_at, looked_at.get(source)))


def look_at(source: str, *, now: datetime) -> Look | None:
    """Receive what is new at one server, and keep whether that failed; None while another process is at it.  No transaction may be open."""
    with alone_at(f"reconciliation.sftp {source}") as is_mine:
        if not is_mine:
            return None
        SftpSource.objects.update_or_create(source=source, defaults={"looked_at": now})
        look = Look()
        try:
            with sftp_server.opened(sftp_server.account_of(source), within_s=ONE_LOOK_S) as server:
                take_what_is_new(server, look, source=source, now=now)
        except ServerFailed as error:
            look.failed.append(str(error))
        keep_outcome(source, look, now=now)
        return look


def keep_outcome(source: str, look: Look, *, now: datetime) -> None:
    for said in look.failed:
        logger.error("files of %s over SFTP: %s", source, said)
    row = SftpSource.objects.filter(source=source)
    if look.failed:
        error = " ".join(look.failed)[:LONGEST_ERROR]
        row.update(failures=F("failures") + 1, failed_since=Coalesce("failed_since", now), error=error)
    else:
        row.update(failures=0, failed_since=None, error="")


def failing() -> list[SftpSource]:
    """Return the sources whose server failed at each of the last looks."""
    if not settings.FILES_SFTP:
        return []
    return list(SftpSource.objects.filter(source__in=list(settings.FILES_SFTP), failures__gte=FAILURES_SHOWN).order_by("source"))


# --- One server -----------------------------------------------------------------------------------------------------


def take_what_is_new(server: Server, look: Look, *, source: str, now: datetime) -> None:
    """Receive the files that are at rest and were not received; the others wait.  Raises ServerFailed."""
    files = {}
    for listed in server.files():
        if listed.has_plain_name:
            files[listed.shown] = listed
        else:
            look.failed.append(f"The server lists {listed.shown!r}, which is a path and not a name; it is not followed.")
    entries = remembered(files, source=source, now=now)
    for name, listed in files.items():
        entry = entries[name]
        if entry.is_done:
            continue
        if now < entry.seen_at + AT_REST:
            look.waiting.append(name)
            continue
        try:
            take(listed, server, entry, look, now=now)
        except NotAsListed:
            logger.info("the file %r of %s is not at rest yet", name, source)
            look.waiting.append(name)
        except FileFailed as error:
            look.failed.append(f"The file {name!r} cannot be fetched. {error}")
        except ServerFailed:
            raise
        except Exception as error:
            logger.exception("the file %r of %s cannot be received", name, source)
            look.failed.append(f"The file {name!r} cannot be received: {type(error).__name__}.")


def remembered(files: dict[str, Listed], *, source: str, now: datetime) -> dict[str, SftpEntry]:
    """Return what we know of these files, by name.  One that looks otherwise than before is new, and is seen from now on."""
    known = {entry.name: entry for entry in SftpEntry.objects.filter(source=source, name__in=list(files))}
    changed = [
        SftpEntry(source=source, name=name, size=listed.size, modified_s=listed.modified_s, seen_at=now)
        for name, listed in files.items()
        if name not in known or (known[name].size, known[name].modified_s) != (listed.size, listed.modified_s)
    ]
    SftpEntry.objects.bulk_create(
        changed,
        batch_size=AT_ONCE,
        update_conflicts=True,
        unique_fields=["source", "name"],
        update_fields=["size", "modified_s", "seen_at", "is_done", "file", "error"],
    )
    return known | {entry.name: entry for entry in changed}


def take(listed: Listed, server: Server, entry: SftpEntry, look: Look, *, now: datetime) -> None:
    """Fetch one file to its last byte and receive it, or keep why we do not take it.  Raises NotAsListed, FileFailed, ServerFailed."""
    file, is_new, refusal = None, False, ""
    try:
        if listed.size > LARGEST:
            raise FileTooLarge(f"It has {listed.size:,} bytes, and a file has {LARGEST:,} at most. Ask for it in parts.", field="file")
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            server.download(listed, spool)
            spool.seek(0)
            file, is_new = ingestion.receive(spool, entry.name, source=entry.source, received_by=RECEIVED_BY, now=now)
    except DomainError as error:
        refusal = str(error)
        logger.error("the file %r of %s is not received: %s", entry.name, entry.source, refusal)
        look.refused.append(f"{entry.name}: {refusal}")
    SftpEntry.objects.filter(source=entry.source, name=entry.name).update(is_done=True, file=file, error=refusal[:LONGEST_ERROR])
    if file is not None and is_new:
        look.received.append(file)
