"""Files out of a folder: FILES_FOLDER has a folder for each source, in which a PSP's or a bank's own programme puts them.

Nothing there is moved, changed or deleted: a file is known by its checksum, and is not read again while it looks the same.  No link is
followed and no path is built of a name, so that nothing outside can be read; what is still being written, hidden or no plain file is passed
over.  A file over which we stumble holds up no other: why is logged and kept, and it is tried again, later and later up to once a day.
"""

import io
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings

from ledger.errors import DomainError
from ledger.line import plain
from reconciliation import ingestion
from reconciliation.models import FolderEntry, SourceFile

logger = logging.getLogger(__name__)

RECEIVED_BY = "folder"
AT_REST_S = 30  # a file that was written to more lately than that may not be whole yet
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(days=1)  # until a file over which we stumbled is tried again
MOST_DOUBLINGS = 10  # of that wait: more than the longest
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
PLAIN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # of a pipe too, without waiting for somebody at its other end


class WrittenMeanwhile(OSError):
    """Somebody wrote to the file while it was read: it may not be whole."""


class AtRest(io.FileIO):
    """A file that, after its last byte, still looks as it did before its first.  Reading raises WrittenMeanwhile where it does not."""

    def __init__(self, number: int, before: os.stat_result) -> None:
        super().__init__(number)
        self._before = before

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        after = os.fstat(self.fileno())
        if not piece and (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise WrittenMeanwhile
        return piece


def pick_up(*, now: datetime) -> list[SourceFile]:
    """Receive the files that are new in the folder of each source; return them.  One that cannot be received is logged and passed over.

    Raises OSError if there is no such folder.
    """
    if not settings.FILES_FOLDER:
        return []
    with opened(settings.FILES_FOLDER, os.O_RDONLY | os.O_DIRECTORY) as root:
        return [file for source in settings.FILE_SOURCES for file in pick_up_from(source, root=root, now=now)]


def pick_up_from(source: str, *, root: int, now: datetime) -> Iterator[SourceFile]:
    try:
        with opened(source, FOLDER, inside=root) as folder:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
            for name in names:
                try:
                    file = taken(name, source=source, folder=folder, now=now)
                except WrittenMeanwhile:
                    logger.info("the file %r in the folder of %s is not at rest yet", name, source)
                except OSError as error:
                    logger.error("the file %r in the folder of %s cannot be read: %s", name, source, error)
                else:
                    if file is not None:
                        yield file
    except FileNotFoundError:
        logger.debug("%s has no folder", source)
    except OSError as error:
        logger.error("the folder of %s cannot be read: %s", source, error)


def taken(name: str, *, source: str, folder: int, now: datetime) -> SourceFile | None:
    """Receive one file of the folder; None where there is nothing new to it, or where it cannot be received, which is kept.

    Raises WrittenMeanwhile, and OSError if it is gone.
    """
    before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(before.st_mode) or time.time() - before.st_mtime < AT_REST_S:
        return None
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    looks = {"size": before.st_size, "modified_ns": max(before.st_mtime_ns, 0)}
    known = FolderEntry.objects.filter(source=source, name=shown, **looks).first()
    if known is not None and (known.try_after is None or now < known.try_after):
        return None
    entry = known or FolderEntry(source=source, name=shown, **looks)
    is_new, failed = False, entry.tries
    entry.error, entry.tries, entry.try_after = "", 0, None
    try:
        with opened(name, PLAIN_FILE, inside=folder) as number, AtRest(os.dup(number), before) as stream:
            entry.file, is_new = ingestion.receive(stream, shown, source=source, received_by=RECEIVED_BY, now=now)
    except WrittenMeanwhile:
        raise
    except DomainError as error:
        entry.error = str(error)
        logger.error("the file %r in the folder of %s is not received: %s", name, source, error)
    except Exception as error:
        entry.error, entry.tries = f"{type(error).__name__} {error}".strip(), failed + 1
        entry.try_after = now + min(FIRST_WAIT * 2 ** min(failed, MOST_DOUBLINGS), LONGEST_WAIT)
        logger.exception("the file %r in the folder of %s cannot be received; it is tried again after %s", name, source, entry.try_after)
    remember(entry)
    return entry.file if is_new else None


def remember(entry: FolderEntry) -> None:
    """Keep what became of a file, in the place of what was known of one of that name that looked otherwise."""
    kept = {name: getattr(entry, name) for name in ("size", "modified_ns", "file", "tries", "try_after")}
    FolderEntry.objects.update_or_create(
        source=entry.source, name=entry.name, defaults=kept | {"error": plain(entry.error)[: ingestion.LONGEST_ERROR]}
    )


@contextmanager
def opened(name: str, flags: int, *, inside: int | None = None) -> Iterator[int]:
    """Open a name, in a folder that is open where one is given."""
    number = os.open(name, flags, dir_fd=inside)
    try:
        yield number
    finally:
        os.close(number)
