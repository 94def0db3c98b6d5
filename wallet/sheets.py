"""Tables as CSV, for spreadsheets and programs alike: plain decimals, times with their zone, and no cell that a spreadsheet would run."""

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(cell: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula.  Amounts do not come through here: -5.00 is a number."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def written(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows as lines of CSV."""
    sheet = io.StringIO()
    csv.writer(sheet).writerows(rows)
    return sheet.getvalue()
