"""The golden files: one good file of each format, and beside it the records that it is read as, one JSON object on each line."""

import io
import json
from pathlib import Path

from reconciliation.formats.records import BankRecord, SettlementLine
from reconciliation.formats.registry import Format

GOLDEN = Path(__file__).parent / "golden"
RECORDS = ".jsonl"


def golden_file(name: str) -> bytes:
    """Return the good file of the format of that name."""
    return next(path for path in sorted(GOLDEN.glob(f"{name}.*")) if path.suffix != RECORDS).read_bytes()


def golden_records(name: str) -> list[dict[str, str]]:
    """Return what it says."""
    return [json.loads(line) for line in (GOLDEN / f"{name}{RECORDS}").read_text().splitlines()]


def told(record: SettlementLine | BankRecord) -> dict[str, str]:
    """Return a record as the golden files have it: its fields that say something, as text."""
    said = {field: str(value) for field, value in record._asdict().items() if value not in ("", None, False)}
    return {"record": type(record).__name__, **said}


def read(format_: Format, content: bytes) -> list[SettlementLine | BankRecord]:
    """Return all that a file of the format with this content says."""
    return list(format_.read(io.BytesIO(content)))
