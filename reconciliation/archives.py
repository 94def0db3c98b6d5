"""What is in a file: itself, or the one member of a gzip or zip archive, read as it goes and never more of it than there may be.

Nothing that an archive says of itself is believed: neither a size nor a path.  Memory stays flat, whatever the bytes.
"""

import gzip
import io
import zipfile
import zlib
from typing import IO, BinaryIO

from reconciliation.formats.records import MalformedFile

LARGEST = 200 * 1024 * 1024  # bytes, as received and as unpacked
HIGHEST_RATIO = 100  # unpacked bytes to packed ones; settlement files and statements come to 5 to 20
GZIP, ZIP = b"\x1f\x8b", b"PK"
ENDS_WITH, ZIP64_BEFORE_IT = b"PK\x05\x06", b"PK\x06\x07"
END_RECORD, ZIP64_LOCATOR = 22, 20  # bytes
LONGEST_DIRECTORY = 64 * 1024  # of one member
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


def unpacked(stream: BinaryIO, *, size: int) -> BinaryIO:
    """Return the file's contents as a stream; `stream` is the whole of it, can be sought in, and has so many bytes.

    Raises MalformedFile, also while the contents are read: for an archive that is damaged, encrypted, has another number of members than
    one, or holds more than LARGEST bytes or HIGHEST_RATIO times its own size.
    """
    stream.seek(0)
    begin = stream.read(2)
    stream.seek(0)
    if begin == GZIP:
        return io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=stream, mode="rb"), most=HIGHEST_RATIO * size))
    if begin == ZIP:
        return io.BufferedReader(_Bounded(only_member(stream, size=size), most=HIGHEST_RATIO * size))
    return stream


def only_member(stream: BinaryIO, *, size: int) -> IO[bytes]:
    """Open the one member of a zip archive.  It has a name, which is not looked at.  Raises MalformedFile."""
    require_one_member(stream, size=size)
    try:
        archive = zipfile.ZipFile(stream)
        [member] = archive.infolist()
        if not member.filename:
            raise MalformedFile(0, "the zip archive holds a member without a name")
        if member.is_dir() or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MalformedFile(0, "the zip archive holds a folder, or is packed in a way that is not read: deflate is expected")
        return archive.open(member)
    except DAMAGED as error:
        raise MalformedFile(0, f"the archive is damaged or encrypted: {error}") from None


def require_one_member(stream: BinaryIO, *, size: int) -> None:
    """Raise MalformedFile unless the archive ends as one of a single member does: a list of millions is never read."""
    stream.seek(max(size - END_RECORD - ZIP64_LOCATOR, 0))
    before, end = (tail := stream.read())[:-END_RECORD], tail[-END_RECORD:]
    if not end.startswith(ENDS_WITH) or before.startswith(ZIP64_BEFORE_IT):
        raise MalformedFile(0, "the zip archive is cut off, has a comment, or is of the kind for more than 4 GB")
    members, directory = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if members != 1 or directory > LONGEST_DIRECTORY:
        raise MalformedFile(0, f"the zip archive has {members} members: one file is expected")
    stream.seek(0)


class _Bounded(io.RawIOBase):
    """The unpacked bytes of an archive, until there are too many."""

    def __init__(self, inner: IO[bytes] | gzip.GzipFile, *, most: int) -> None:
        self._inner, self._most, self._count = inner, min(most, LARGEST), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        try:
            piece = self._inner.read(len(buffer))
        except DAMAGED as error:
            raise MalformedFile(0, f"the archive is damaged or encrypted: {error}") from None
        self._count += len(piece)
        if self._count > self._most:
            raise MalformedFile(0, f"the archive holds more than {self._most:,} bytes, which is more than one of its size may hold")
        buffer[: len(piece)] = piece
        return len(piece)
