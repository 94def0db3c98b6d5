"""Explain this cent: from a figure down to the rows that make it.

A question is a SELECT of the rows that make a figure.  Its answer is summed by kind, by month and by day, and at the end its rows are read a
page at a time, by their keys: none of that needs more memory for millions of rows.  Each level comes with the sum over all that it shares
out, taken by the same statement, and so of the same moment; where the figure stands somewhere else, too (a snapshot, a wallet, an invoice),
that is read by this statement as well.  `adds_up` says whether they are one.  Writes and locks nothing; each statement is ended after
reports.LONGEST_S.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from djmoney.money import Money

from ledger.queries import money
from reconciliation import reports

AT_ONCE = 100  # rows on a page
IN_A_FILE = 5000  # rows that are read at once for a file
FIRST = (-1, -1)  # before every row


@dataclass(frozen=True, slots=True)
class Question:
    """`rows`: a SELECT of id, line (together the key), kind, at, about, and one column for each of the `figures`, all in one currency.

    `levels` are what the rows are summed by, one after the other; `zone` is whose days and months.  `stated` is a SELECT of an array of the
    figures as they stand elsewhere, `stated_by_kind` the same of one kind (%(kind)s); NULL where they do not.
    """

    rows: str
    parameters: Mapping[str, Any]
    figures: Sequence[str]
    currency: str
    levels: Sequence[str] = ("kind", "month", "day")
    zone: str = "UTC"
    stated: str = ""
    stated_by_kind: str = ""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Which of the rows: of one kind, of one month (2026-11), of one day (2026-11-21); empty: of all."""

    kind: str = ""
    month: str = ""
    day: str = ""


ALL = Narrowed()


@dataclass(frozen=True, slots=True)
class Line:
    """Rows of one kind, month or day (`key`) together: how many, and what each figure of theirs comes to."""

    key: str
    count: int
    sums: Sequence[Money]


@dataclass(frozen=True, slots=True)
class Level:
    """What a figure is made of: the `lines`, what all rows come to, and (`stated`) what stands elsewhere, None where nothing does."""

    lines: Sequence[Line]
    total: Line
    stated: Sequence[Money | None]

    @property
    def sums(self) -> list[Money]:
        """What the lines come to, added up here."""
        nothing = [0 * figure for figure in self.total.sums]
        return [sum((line.sums[place] for line in self.lines), start=zero) for place, zero in enumerate(nothing)]

    @property
    def adds_up(self) -> bool:
        return self.sums == list(self.total.sums) and agrees(self.total.sums, self.stated)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One row: its key, what it is about, and what of each figure it makes."""

    id: int
    line: int
    kind: str
    at: datetime | None
    about: str
    figures: Sequence[Money]


@dataclass(frozen=True, slots=True)
class Leaves:
    """A page of rows, with what all rows before the page and after it come to: before + rows + after = total."""

    rows: Sequence[Leaf]
    before: Line
    after: Line
    total: Line
    stated: Sequence[Money | None]

    @property
    def sums(self) -> list[Money]:
        """What the rows come to with those before and after the page, the page added up here."""
        return [
            sum((leaf.figures[place] for leaf in self.rows), start=self.before.sums[place] + self.after.sums[place])
            for place in range(len(self.total.sums))
        ]

    @property
    def adds_up(self) -> bool:
        return self.sums == list(self.total.sums) and agrees(self.total.sums, self.stated)

    @property
    def next(self) -> tuple[int, int] | None:
        """The key after which the next page begins; None on the last one."""
        return (self.rows[-1].id, self.rows[-1].line) if self.after.count else None


def agrees(sums: Sequence[Money], stated: Sequence[Money | None]) -> bool:
    return all(there is None or there == here for here, there in zip(sums, stated, strict=True))


# --- Answers --------------------------------------------------------------------------------------------------------

KEYS = {
    "kind": "kind",
    "month": "to_char(at AT TIME ZONE %(zone)s, 'YYYY-MM')",
    "day": "to_char(at AT TIME ZONE %(zone)s, 'YYYY-MM-DD')",
}

SUMMED = """
WITH fact AS NOT MATERIALIZED ({rows}), keyed AS (SELECT {key} AS key, {figures} FROM fact WHERE {within})
SELECT grouping(key), key, count(*), {sums}, {stated} FROM keyed GROUP BY GROUPING SETS ((key), ()) ORDER BY 1, 2
"""

PAGE = """
WITH fact AS NOT MATERIALIZED ({rows})
SELECT id, line, kind, at, about, {figures} FROM fact WHERE {within} AND (id, line) > (%(after_id)s, %(after_line)s)
ORDER BY id, line LIMIT %(limit)s
"""

# The rows of a page, and what stands before it and after it, of one moment.
LEAVES = """
WITH fact AS NOT MATERIALIZED ({rows}), chosen AS NOT MATERIALIZED (SELECT * FROM fact WHERE {within}), page AS MATERIALIZED (
    SELECT id, line, kind, at, about, {figures} FROM chosen WHERE (id, line) > (%(after_id)s, %(after_line)s) ORDER BY id, line LIMIT %(limit)s
), ends AS (
    SELECT coalesce(max(ARRAY[id, line]), ARRAY[%(after_id)s::bigint, %(after_line)s::bigint]) AS last FROM page
)
SELECT 0, NULL::bigint, NULL::bigint, NULL::text, NULL::timestamptz, NULL::text, {no_figures}, {stated},
       ARRAY[count(*)::numeric, {sums}],
       ARRAY[count(*) FILTER (WHERE {is_before})::numeric, {sums_before}],
       ARRAY[count(*) FILTER (WHERE {is_after})::numeric, {sums_after}]
FROM chosen CROSS JOIN ends
UNION ALL
SELECT 1, id, line, kind, at, about, {figures}, NULL, NULL, NULL, NULL FROM page
ORDER BY 1, 2, 3
"""
IS_BEFORE = "(id, line) <= (%(after_id)s, %(after_line)s)"
IS_AFTER = "(id, line) > (ends.last[1], ends.last[2])"


def summed(question: Question, by: str, narrowed: Narrowed = ALL) -> Level:
    """Return the question's rows summed by kind, month or day.  Raises TookTooLong."""
    found = reports.rows(in_sql(SUMMED, question, narrowed, key=KEYS[by]), asked(question, narrowed))
    lines = [Line(key or "", count, in_money(sums, question)) for _all, key, count, *sums, _stated in found]
    return Level(lines[:-1], lines[-1], in_money(found[-1][-1] or [None] * len(question.figures), question))


def leaves(question: Question, narrowed: Narrowed = ALL, after: tuple[int, int] = FIRST, limit: int = AT_ONCE) -> Leaves:
    """Return a page of the question's rows, those after the key.  Raises TookTooLong."""
    [ends, *rows] = reports.rows(in_sql(LEAVES, question, narrowed), asked(question, narrowed) | cursor(after, limit))
    stated, *sums = ends[-4:]
    total, before, following = (Line("", int(count), in_money(figures, question)) for count, *figures in sums)
    given = in_money(stated or [None] * len(question.figures), question)
    return Leaves([leaf(row[1:-4], question) for row in rows], before, following, total, given)


def all_leaves(question: Question, narrowed: Narrowed = ALL) -> Iterator[Leaf]:
    """Yield all of the question's rows, read in pages by their keys.  Raises TookTooLong."""
    statement, after = in_sql(PAGE, question, narrowed), FIRST
    while rows := reports.rows(statement, asked(question, narrowed) | cursor(after, IN_A_FILE)):
        yield from (leaf(row, question) for row in rows)
        after = rows[-1][0], rows[-1][1]


def leaf(row: Sequence[Any], question: Question) -> Leaf:
    pk, line, kind, at, about, *figures = row
    return Leaf(pk, line, kind, at, about, [figure for figure in in_money(figures, question) if figure is not None])


def in_money(figures: Sequence[Decimal | None], question: Question) -> list[Any]:
    return [None if figure is None else money(figure, question.currency) for figure in figures]


def in_sql(statement: str, question: Question, narrowed: Narrowed, *, key: str = "") -> str:
    """Put the question into one of the statements.  All that is put in are words of ours; what was asked for are parameters."""
    narrow = [f"{KEYS[name]} = %({name})s" for name in KEYS if getattr(narrowed, name)]
    stated = question.stated if not narrow else question.stated_by_kind if narrowed == Narrowed(kind=narrowed.kind) else ""
    return statement.format(
        rows=question.rows,
        key=key,
        within=" AND ".join(narrow) or "true",
        figures=", ".join(question.figures),
        no_figures=", ".join("NULL::numeric" for _figure in question.figures),
        sums=sums_of(question),
        is_before=IS_BEFORE,
        is_after=IS_AFTER,
        sums_before=sums_of(question, f"FILTER (WHERE {IS_BEFORE})"),
        sums_after=sums_of(question, f"FILTER (WHERE {IS_AFTER})"),
        stated=f"({stated})" if stated else "NULL::numeric[]",
    )


def sums_of(question: Question, which: str = "") -> str:
    return ", ".join(f"coalesce(sum({figure}) {which}, 0)" for figure in question.figures)


def asked(question: Question, narrowed: Narrowed) -> dict[str, Any]:
    return {**question.parameters, "zone": question.zone, "kind": narrowed.kind, "month": narrowed.month, "day": narrowed.day}


def cursor(after: tuple[int, int], limit: int) -> dict[str, int]:
    return {"after_id": after[0], "after_line": after[1], "limit": limit}
