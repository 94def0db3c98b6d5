"""The originals of files: kept in the database in pieces, once and for ever, and read again as a stream that can be sought in.

In the database and not beside it, so that a restore of the database alone brings back every line with the very bytes that it was read
from, and so that original and row are there together or not at all.  Only a piece at a time is in memory.
"""

import io
from typing import BinaryIO

from reconciliation.models import SourceChunk, SourceFile

PIECE = 1024 * 1024  # bytes


def keep(stream: BinaryIO, *, file_id: int) -> None:
    """Write the stream, from its beginning, as the original of the file.  Inside the caller's transaction."""
    stream.seek(0)
    for number, content in enumerate(iter(lambda: stream.read(PIECE), b"")):
        SourceChunk.objects.create(file_id=file_id, number=number, content=content)


def opened(file: SourceFile) -> BinaryIO:
    """Return the original as it was received."""
    return io.BufferedReader(_Original(file.pk, size=file.size), buffer_size=PIECE)


class _Original(io.RawIOBase):
    """The pieces of an original, one after the other."""

    def __init__(self, file_id: int, *, size: int) -> None:
        self._file_id, self._size, self._at = file_id, size, 0
        self._number, self._piece = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        number, offset = divmod(self._at, PIECE)
        content = self._content(number)[offset : offset + len(buffer)]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _content(self, number: int) -> bytes:
        if number != self._number:
            found = SourceChunk.objects.values_list("content", flat=True).get(file_id=self._file_id, number=number)
            self._number, self._piece = number, bytes(found)
        return self._piece
