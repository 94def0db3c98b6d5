"""CSV as PSPs send it: bytes in, the cells of the columns that a format needs out, a row at a time.

The header is read by name: columns that we do not know are passed over, one that we need and that is missing is named.  Text is UTF-8, with
or without its mark at the beginning; lines end as they like.  What is in another encoding, has a line longer than any PSP sends, a quotation
mark too many, or another number of cells than the header is refused with its line.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from operator import itemgetter
from typing import BinaryIO

from reconciliation.formats.records import MalformedFile

PIECE = 1 << 18  # bytes that are read at once
LONGEST_LINE = 1 << 16  # characters; 64 kB
LONGEST_CELL = 300  # characters, of a column that a format needs: ids and amounts
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[int, tuple[str, ...]]


def read(stream: BinaryIO, needed: Sequence[str], *, optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yield each row's line and its cells of the needed columns, then of the optional ones: empty where the file has no such column.

    An optional column that is named up to a bracket, such as `payment_metadata[`, is the first that begins so.  Raises MalformedFile.  Empty
    lines are passed over.  Only an optional column may have long cells.
    """
    text = Blocks(stream)
    reader = csv.reader(chain.from_iterable(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, ())]
        place = places(header, needed, optional)
        count, width, line = len(needed), len(header), reader.line_num + 1
        for row in reader:
            if len(row) == width:
                row.append("")  # what a column that is not there says
                cells = place(row)
                if text.longest > LONGEST_CELL or reader.line_num != line:  # or else no cell can be longer
                    refuse_long_cells(line, cells[:count])
                if cells[0] == needed[0] and cells[:count] == tuple(needed):
                    raise MalformedFile(line, "the header comes a second time: two files in one")
                yield line, cells
            elif row:
                raise MalformedFile(line, f"{len(row)} cells where the header has {width}")
            line = reader.line_num + 1
    except csv.Error as error:
        raise MalformedFile(reader.line_num, f"is no CSV that can be read: {str(error).partition(' - ')[0]}") from None


def places(header: list[str], needed: Sequence[str], optional: Sequence[str]) -> Callable[[list[str]], tuple[str, ...]]:
    """Return what takes the columns from a row to which an empty cell was added."""
    if not header:
        raise MalformedFile(1, "the file is empty, or begins with an empty line: a header is expected")
    missing = [name for name in needed if name not in header]
    if missing:
        raise MalformedFile(1, f"the header lacks {', '.join(missing)}")
    doubled = [name for name in (*needed, *optional) if header.count(name) > 1]
    if doubled:
        raise MalformedFile(1, f"the header has {', '.join(doubled)} more than once")
    first, *others = (place_of(name, header) for name in (*needed, *optional))
    return itemgetter(first, *others)


def place_of(column: str, header: Sequence[str]) -> int:
    """Return where the column stands in the header; past its end where it does not."""
    found = (place for place, name in enumerate(header) if name == column or (column.endswith("[") and name.startswith(column)))
    return next(found, len(header))


def refuse_long_cells(line: int, cells: Sequence[str]) -> None:
    if max(map(len, cells)) > LONGEST_CELL:
        raise MalformedFile(line, f"has a cell of more than {LONGEST_CELL} characters where an id or an amount is expected")


class Blocks:
    """The text of a stream in lists of whole lines, each as it ends in the file.  `longest` is the longest of the list that came last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.longest = 0

    def __iter__(self) -> Iterator[list[str]]:
        rest, line = b"", 1
        for piece in iter(lambda: self._stream.read(PIECE), b""):
            whole, newline, tail = (rest + piece).rpartition(b"\n")
            rest = tail
            if newline:
                lines = self._checked(decoded(whole + newline, line=line), line=line)
                yield lines
                line += len(lines)
            if len(rest) > LONGEST_LINE:
                raise MalformedFile(line, f"is longer than {LONGEST_LINE:,} characters")
        if rest:
            yield self._checked(decoded(rest, line=line), line=line)

    def _checked(self, lines: list[str], *, line: int) -> list[str]:
        self.longest = max(map(len, lines), default=0)
        if self.longest > LONGEST_LINE:
            longest = next(number for number, content in enumerate(lines, start=line) if len(content) > LONGEST_LINE)
            raise MalformedFile(longest, f"is longer than {LONGEST_LINE:,} characters")
        return lines


def decoded(block: bytes, *, line: int) -> list[str]:
    """Return the lines of a block of which the first is the file's line `line`."""
    if line == 1:
        if block.startswith(UTF16_MARKS):
            raise MalformedFile(1, "the file is in UTF-16: save it as UTF-8")
        block = block.removeprefix(UTF8_MARK)
    if b"\0" in block:
        raise MalformedFile(line + block[: block.index(b"\0")].count(b"\n"), "has a NUL byte: text in UTF-8 is expected")
    try:
        text = block.decode()
    except UnicodeDecodeError as error:
        raise MalformedFile(line + block[: error.start].count(b"\n"), f"is not UTF-8: {error.reason}") from None
    return io.StringIO(text, newline="\n").readlines()


def columns(head: bytes) -> list[str]:
    """Return the names in the header of a file that begins so; of one in UTF-16 too, so that it can be told why it is refused."""
    return [name.strip() for name in next(rows_in(head), [])]


def seen(head: bytes) -> list[dict[str, str]]:
    """Return the rows of a file that begins so, by column; without the last, which may be cut off, unless it is the only one."""
    header = columns(head)
    found = [dict(zip(header, row, strict=True)) for row in islice(rows_in(head), 1, None) if len(row) == len(header)]
    return found[:-1] or found


def rows_in(head: bytes) -> Iterator[list[str]]:
    """Yield the rows until the first that is no CSV."""
    text = head.decode("utf-16", errors="replace") if head.startswith(UTF16_MARKS) else head.decode("utf-8-sig", errors="replace")
    with suppress(csv.Error):
        yield from csv.reader(io.StringIO(text))


def has_most(header: Sequence[str], needed: Sequence[str]) -> bool:
    """Say whether more than half of the needed columns are there: then it is that format, and what is missing can be named."""
    return 2 * len(set(header).intersection(needed)) > len(needed)
