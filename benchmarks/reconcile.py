"""`./run bench reconcile [--json FILE] [--lines N] [--repeat N]`: how long a settlement file takes from its bytes to its entry, and how much memory.

Measured is `ingestion.stage` (parsed and staged) and `matching.compare_waiting` (each line matched, the batch posted), every COMMIT included, against a
bare COPY of the same rows into the same table and ONE bare join of them with the orders that they are about, which writes the same matches
(reconcile.sql), by the same process under the same constraints, fsync on; and, stricter, against a join that only counts them.  Then the orders are
told that they are settled, against one bare UPDATE of them.  Both take turns, each on a fresh copy of the same database, first with a tenth of
the lines; the figures are medians.  After every run every line must be matched and the books be in order, and both must have written equally
many rows, or there is no figure.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
from django.db import connection, transaction

from benchmarks.harness import figures
from benchmarks.harness.databases import Marketplace, Server
from benchmarks.harness.figures import Figure

SERVER = Server()
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": SERVER.measured_url}
django.setup()

from reconciliation import ingestion, invariants, matching  # noqa: E402 - these need the settings
from reconciliation.formats.records import SettlementLine  # noqa: E402
from reconciliation.models import SettlementBatch  # noqa: E402

LIMIT = Path(__file__).with_suffix(".sql")
PIECE = 1024 * 1024  # bytes
NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
COLUMNS = ", ".join(("file_id", "number", *SettlementLine._fields))

# The file of a day on which the PSP settled every order of the seed: its charges, from midnight to midnight, and what it pays out to us.
THE_FILE = """
COPY (
    SELECT 'sb-20261120-eur' AS batch, '2026-11-20' AS closed_on, line, type, id, id AS charge, key, method, 'EUR' AS currency,
           round(gross, 2) AS gross, fee, round(gross - fee, 2) AS net,
           to_char(timestamp '2026-11-20' + (line - 1) * interval '86399 s' / (count(*) OVER ()), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS occurred_at
    FROM (
        SELECT payment.id AS line, 'charge' AS type, psp_reference AS id, psp_key AS key, 'visa' AS method, amount AS gross, 0.30 AS fee
        FROM payments_paymentorder AS payment JOIN payments_pspattempt AS attempt ON attempt.order_id = payment.id
        UNION ALL
        SELECT count(*) + 1, 'payout', 'po_20261120', '', '', sum(0.30 - amount), 0.00 FROM payments_paymentorder
    ) AS said ORDER BY line
) TO STDOUT (FORMAT csv, HEADER)
"""
STAGED = f"COPY (SELECT {COLUMNS} FROM reconciliation_stagedline ORDER BY number) TO STDOUT"
STAGE = f"COPY reconciliation_stagedline ({COLUMNS}) FROM STDIN"
WRITTEN = """
SELECT (SELECT count(*) FROM reconciliation_stagedline), (SELECT count(*) FROM reconciliation_linematch),
       (SELECT count(*) FROM payments_paymentorder WHERE settled_at IS NOT NULL)
"""


class BooksNotInOrder(RuntimeError):
    """A run left an invariant broken, a line unmatched, or other rows than it should: its time is worth nothing."""


def main() -> None:
    options = parse(sys.argv[1:])
    settings = figures.machine() | SERVER.settings()
    settings["command"] = f"./run bench reconcile --lines {options.lines} --repeat {options.repeat}"
    seconds: dict[str, list[float]] = {}
    peaks = {"before": peak_mb()}
    for lines in (options.lines // 10, options.lines):
        say(f"seeding {lines:,} orders")
        marketplace = Marketplace("onebook_reconcile", settled=lines, waiting=0)
        SERVER.seed(marketplace)
        seconds = measure(marketplace, options.repeat)
        peaks[f"{lines:,} lines"] = peak_mb()

    settings |= {"load_after": round(os.getloadavg()[0], 1)}
    measured = list_figures(options.lines, seconds, peaks=peaks, settings=settings)
    say("\n" + figures.table([figure.as_json() for figure in measured]))
    if options.json:
        figures.write(measured, options.json)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench reconcile", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="lines of the file, and orders (default: 1000000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each kind, of which the median counts (default: 3)")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def measure(marketplace: Marketplace, repeat: int) -> dict[str, list[float]]:
    """Return the seconds of each step, run by run.  Raises BooksNotInOrder."""
    seconds = defaultdict[str, list[float]](list)
    with tempfile.TemporaryFile() as rows:
        for repetition in range(1, repeat + 1):
            written = set()
            for kind, run in {"ours": reconcile, "bare": write_bare}.items():
                SERVER.fresh_copy(marketplace)
                connection.close()
                taken = run(rows)
                written.add(rows_written())
                connection.close()
                say(f"{repetition}/{repeat}  {kind}  " + ", ".join(f"{step} {figure:.2f} s" for step, figure in taken.items()))
                for step, figure in taken.items():
                    seconds[step].append(figure)
            if written != {(marketplace.settled + 1, marketplace.settled + 1, marketplace.settled)}:
                raise BooksNotInOrder(str(written))
    return seconds


def reconcile(rows: Any) -> dict[str, float]:
    """Take the file of the day from its bytes to its entry and to its orders, and leave its rows for the bare COPY; return the seconds."""
    with tempfile.TemporaryFile() as original:
        copy_out(THE_FILE, original)
        file, _is_new = ingestion.receive(original, "sb.csv", source="sandbox", received_by="folder", now=NOW)
    taken = {"staged": timed(lambda: ingestion.stage(file.pk, now=NOW))}
    taken["matched and posted"] = timed(lambda: matching.compare_waiting(now=NOW))
    taken["told"] = timed(lambda: matching.tell_waiting(now=NOW))

    batch, broken = SettlementBatch.objects.get(), invariants.violations()
    if broken or batch.mismatched or batch.journal_entry_id is None:
        raise BooksNotInOrder("\n".join(map(str, [f"{batch.mismatched} mismatches", *broken])))
    copy_out(STAGED, rows)
    return taken


def write_bare(rows: Any) -> dict[str, float]:
    """Write what `reconcile` wrote by COPY and by the statements of reconcile.sql, each committed; return the seconds."""
    join, matches, update = LIMIT.read_text().split(";\n")[:3]
    return {
        "bare COPY": timed(lambda: copy_in(STAGE, rows)),
        "bare join": timed(lambda: execute(join)),
        "bare join, written": timed(lambda: execute(matches)),
        "bare UPDATE": timed(lambda: execute(update)),
    }


def timed(work: Callable[[], object]) -> float:
    connection.ensure_connection()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(statement)


@transaction.atomic(durable=True)
def copy_in(statement: str, source: Any) -> None:
    source.seek(0)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        with cursor.copy(statement) as copy:
            while piece := source.read(PIECE):
                copy.write(piece)


@transaction.atomic
def copy_out(statement: str, target: Any) -> None:
    target.seek(0)
    target.truncate()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        with cursor.copy(statement) as copy:
            for piece in copy:
                target.write(piece)
    target.seek(0)


def rows_written() -> tuple[object, ...]:
    """Count what a run leaves behind, table by table."""
    with connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        return tuple(cursor.fetchone())


def peak_mb() -> int:
    """Return the most memory that this process has ever held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def list_figures(lines: int, seconds: dict[str, list[float]], *, peaks: dict[str, int], settings: dict[str, Any]) -> list[Figure]:
    median = {step: round(statistics.median(taken), 2) for step, taken in seconds.items()}
    done = median["staged"] + median["matched and posted"]
    before, few, many = peaks.values()
    what = f"{lines:,} settlement lines staged, matched and posted"
    runs = {step: [round(each, 2) for each in taken] for step, taken in seconds.items()}
    return [
        Figure(
            "reconcile", done, median["bare COPY"] + median["bare join, written"], "s",
            {"what": what, "against": "bare COPY and one bare join, written", "aim": "<= 3"} | settings | {"runs": runs},
        ),
        Figure(
            "reconcile_counted", done, median["bare COPY"] + median["bare join"], "s",
            {"what": what, "against": "bare COPY and a join that only counts", "aim": "-"} | settings,
        ),
        Figure(
            "orders_told", median["told"], median["bare UPDATE"], "s",
            {"what": f"{lines:,} orders told that they are settled", "against": "one bare UPDATE", "aim": "-"} | settings,
        ),
        Figure(
            "reconcile_memory", many, 300, "MB",
            {"what": f"memory of the process, {before} MB before", "against": "allowed", "aim": "<= 300 MB"} | settings,
        ),
        Figure("reconcile_flat", many, few, "MB", {"what": "memory of the process", "against": "at a tenth of the lines", "aim": "<= 1.1"} | settings),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
