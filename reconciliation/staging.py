"""The records of a file as rows: chunk by chunk, each in a transaction of its own that also says how far the file is staged.

Settlement lines go to Postgres while they are read: it writes some while the next are parsed, and none but those are in memory.
A process that is killed loses the chunk that it was at; the next one reads the file from its beginning, passes over what is staged, and goes
on there.  Two at once cannot stage a chunk twice: the file's count must be what it was when the chunk was begun.
"""

import csv
import io
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from typing import Any

import psycopg
from django.db import connection, transaction

from ledger.statements import execute
from reconciliation.formats.records import BankLine, BankRecord, MalformedFile, SettlementLine, StatementClosed, StatementOpened
from reconciliation.models import BankStatement, SourceFile

CHUNK = 100_000  # records in one transaction
MOST_RECORDS = 2_000_000  # of one file; 200 MB hold fewer of any format that there is
AT_ONCE = 500  # rows that are sent together
MOST_KEPT = 20_000  # moments and days as text
LONGEST_S = 240  # of one COPY: it lasts as long as the lines of a chunk are read, which on a slow machine is more than a statement may take

HOLD = "SELECT FROM reconciliation_sourcefile WHERE id = %(id)s AND status = 'RECEIVED' AND staged = %(from)s FOR NO KEY UPDATE"
ADVANCE = """
UPDATE reconciliation_sourcefile SET staged = %(to)s WHERE id = %(id)s AND status = 'RECEIVED' AND staged = %(from)s
"""
OPEN = """
INSERT INTO reconciliation_bankstatement
    (id, file_id, position, line, account, currency, number, opening, opened_on, lines, is_continuation, is_continued, has_balances)
SELECT * FROM json_to_recordset(%s) AS opened
    (id bigint, file_id bigint, position int, line int, account text, currency text, number text, opening numeric, opened_on date, lines int,
     is_continuation boolean, is_continued boolean, has_balances boolean)
"""
CLOSE = """
UPDATE reconciliation_bankstatement AS statement
SET closing = closed.closing, closed_on = closed.closed_on, lines = closed.lines, is_continued = closed.is_intermediate
FROM json_to_recordset(%s) AS closed (id bigint, closing numeric, closed_on date, lines int, is_intermediate boolean)
WHERE statement.id = closed.id
"""
FINISH = """
UPDATE reconciliation_sourcefile SET status = 'STAGED', staged_at = %(now)s, last_day = said.last_day,
       currencies = (SELECT coalesce(json_agg(currency ORDER BY currency), '[]')::jsonb FROM unnest(said.currencies) AS currency)
FROM ({said}) AS said WHERE id = %(id)s AND status = 'RECEIVED' AND staged = %(count)s
"""
SAID_BY_LINES = """
    SELECT array_remove(array_agg(DISTINCT net_currency), '') AS currencies, max(last_day) AS last_day FROM (
        SELECT net_currency, max(coalesce(settled_on, (occurred_at AT TIME ZONE 'UTC')::date)) AS last_day
        FROM reconciliation_stagedline WHERE file_id = %(id)s GROUP BY net_currency
    ) AS line
"""
SAID_BY_STATEMENTS = """
    SELECT array_agg(DISTINCT currency) AS currencies, max(closed_on) AS last_day
    FROM reconciliation_bankstatement WHERE file_id = %(id)s
"""
FORGET_LINES = (
    "DELETE FROM reconciliation_stagedline WHERE file_id = %s AND number BETWEEN %s AND %s",
    "DELETE FROM reconciliation_stagedbankline WHERE file_id = %s AND number BETWEEN %s AND %s",
)
FORGET_STATEMENTS = "DELETE FROM reconciliation_bankstatement WHERE file_id = %s"
NEXT_STATEMENT = "SELECT nextval(pg_get_serial_sequence('reconciliation_bankstatement', 'id'))"


class SomebodyElseWasFaster(Exception):
    """Another process stages the same file, or has finished it: there is nothing left to do here."""


def stage_settlement(file: SourceFile, lines: Iterator[SettlementLine]) -> int:
    """Stage the lines that are not staged yet; return how many the file has.  Commits chunk by chunk.

    Raises MalformedFile, as the lines do, and SomebodyElseWasFaster.
    """
    staged, texts = file.staged, _Texts()
    next(islice(lines, staged, staged), None)  # what is staged is passed over
    while True:
        rows = _Rows("reconciliation_stagedline", SettlementLine._fields, optional=("occurred_at", "settled_on"))
        with transaction.atomic(durable=True):
            hold(file.pk, staged=staged)
            with rows.copying() as copy:
                for number, line in enumerate(islice(lines, CHUNK), start=staged + 1):
                    *said, occurred_at, method, text, settled_on = line
                    rows.add(line.line, (file.pk, number, *said, texts[occurred_at], method, text, texts[settled_on]))
                    if not number % AT_ONCE:
                        copy.write(rows.taken())
                copy.write(rows.taken())
            advance(file.pk, since=staged, to=staged + rows.count)
        staged += rows.count
        if rows.count < CHUNK:
            return staged


def stage_statement(file: SourceFile, records: Iterator[BankRecord]) -> int:
    """Stage the statements and lines that are not staged yet; return how many records the file has.  Commits chunk by chunk.

    Raises MalformedFile, as the records do, and SomebodyElseWasFaster.
    """
    staged = file.staged
    position = sum(isinstance(record, StatementOpened) for record in islice(records, staged))
    statement_id = BankStatement.objects.values_list("pk", flat=True).get(file=file, position=position) if position else 0
    while True:
        rows = _Rows("reconciliation_stagedbankline", ("statement_id", *BankLine._fields), optional=("booked_on", "valued_on"))
        opened: list[Mapping[str, Any]] = []
        closed: list[Mapping[str, Any]] = []
        count = 0
        for count, record in enumerate(islice(records, CHUNK), start=1):
            match record:
                case StatementOpened():
                    position, statement_id = position + 1, new_statement_id()
                    opened.append(row_of(record, file_id=file.pk, position=position, statement_id=statement_id))
                case BankLine():
                    rows.add(record.line, (file.pk, staged + count, statement_id, *record))
                case StatementClosed():
                    closed.append(record._asdict() | {"id": statement_id})
        if not count:
            return staged
        with transaction.atomic(durable=True):
            advance(file.pk, since=staged, to=staged + count)
            execute(OPEN, opened)
            with rows.copying() as copy:
                copy.write(rows.taken())
            execute(CLOSE, closed)
        staged += count


def row_of(record: StatementOpened, *, file_id: int, position: int, statement_id: int) -> dict[str, Any]:
    said = record._asdict()
    is_continuation = said.pop("is_intermediate")
    return said | {
        "id": statement_id,
        "file_id": file_id,
        "position": position,
        "lines": 0,
        "is_continuation": is_continuation,
        "is_continued": False,
    }


def finish(file: SourceFile, *, count: int, now: datetime) -> None:
    """Let the lines of the file count, since all of them are staged.  One statement."""
    said = SAID_BY_LINES if file.kind == SourceFile.Kind.SETTLEMENT else SAID_BY_STATEMENTS
    with connection.cursor() as cursor:
        cursor.execute(FINISH.format(said=said), {"id": file.pk, "count": count, "now": now})


def forget(file: SourceFile) -> None:
    """Delete whatever is staged of a file, chunk by chunk, so that no statement takes long.  Inside the caller's transaction, which locks it."""
    with connection.cursor() as cursor:
        for first in range(1, file.staged + 1, CHUNK):
            for statement in FORGET_LINES:
                cursor.execute(statement, [file.pk, first, first + CHUNK - 1])
        cursor.execute(FORGET_STATEMENTS, [file.pk])


def hold(file_id: int, *, staged: int) -> None:
    """Keep others from the file until the commit.  Raises SomebodyElseWasFaster if it is not staged as far as that any more."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD, {"id": file_id, "from": staged})
        if not cursor.rowcount:
            raise SomebodyElseWasFaster


def advance(file_id: int, *, since: int, to: int) -> None:
    """Note how far the file is staged, and hold it until the commit.  Raises SomebodyElseWasFaster, and MalformedFile for too many records."""
    if to > MOST_RECORDS:
        raise MalformedFile(0, f"the file has more than {MOST_RECORDS:,} records: ask for it in parts")
    with connection.cursor() as cursor:
        cursor.execute(ADVANCE, {"id": file_id, "from": since, "to": to})
        if not cursor.rowcount:
            raise SomebodyElseWasFaster


def new_statement_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute(NEXT_STATEMENT)
        return int(cursor.fetchone()[0])


class _Texts(dict[date | None, str]):
    """Moments and days as Postgres reads them.  Many lines have the same; what is kept is bounded."""

    def __missing__(self, day: date | None) -> str:
        if len(self) >= MOST_KEPT:
            self.clear()
        text = self[day] = str(day) if day else ""
        return text


class _Rows:
    """The rows of one chunk, written as text for COPY while they are read, so that of each record only its text is in memory."""

    def __init__(self, table: str, columns: Sequence[str], *, optional: Sequence[str]) -> None:
        always = ", ".join(column for column in columns if column not in optional)
        names = ", ".join(("file_id", "number", *columns))
        self._copy = f"COPY {table} ({names}) FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({always}))"
        self._text = io.StringIO()
        self._write = csv.writer(self._text, lineterminator="\n").writerow
        self._lines = array("l")

    @property
    def count(self) -> int:
        return len(self._lines)

    def add(self, line: int, row: Sequence[Any]) -> None:
        self._lines.append(line)
        self._write(row)

    def taken(self) -> str:
        """Return the text of the rows that were added since the last time."""
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text

    @contextmanager
    def copying(self) -> Iterator[psycopg.Copy]:
        """Let their text be written to Postgres, inside the caller's transaction, whose statements may last longer from here on.

        Raises MalformedFile, naming the line, for what Postgres cannot keep.
        """
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{LONGEST_S}s"])
                with cursor.copy(self._copy) as copy:
                    yield copy
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise MalformedFile(self._line_in(error), f"holds what cannot be kept: {error.diag.message_primary}") from None

    def _line_in(self, error: psycopg.Error) -> int:
        """Return the line of the file that Postgres' complaint is about; 0 if it does not say."""
        named = re.search(r"line (\d+)", error.diag.context or "")
        place = int(named[1]) if named else 0
        return self._lines[place - 1] if 0 < place <= self.count else 0
