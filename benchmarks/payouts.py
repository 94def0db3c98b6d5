"""`./run bench payouts [--json FILE] [--sellers N] [--entries N] [--repeat N]`: how long a monthly run takes, and how much memory.

Measured is `scheduling.run`, BEGIN and COMMIT included, against ONE bare statement that writes the same rows (payouts.sql), by the same process
under the same constraints and triggers, fsync on.  The two take turns, each on a fresh copy of the same database; the figures are medians.
After every run the books must be in order and both must have written equally many rows, or there is no figure.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import django
from django.db import connection, transaction

from benchmarks.harness import figures
from benchmarks.harness.databases import Server
from benchmarks.harness.figures import Figure

SERVER = Server()
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": SERVER.measured_url}
django.setup()

from payouts import scheduling  # noqa: E402 - these need the settings
from payouts.calendars import Calendar  # noqa: E402
from payouts.choice import Which  # noqa: E402
from reconciliation import invariants  # noqa: E402

LIMIT, SEED = Path(__file__).with_suffix(".sql"), Path(__file__).with_name("payouts_seed.sql")
TEMPLATE = "onebook_payouts"
NOW = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)
NOVEMBER = Which(1, "EUR", Calendar(), "2026-11")
WRITTEN = """
SELECT (SELECT count(*) FROM payouts_payout), (SELECT count(*) FROM ledger_journalentry WHERE kind = 'payout'), (SELECT count(*) FROM ledger_posting),
       (SELECT count(*) FROM wallet_walletentry WHERE kind = 'payout'), (SELECT count(*) FROM wallet_outboxmessage),
       (SELECT count(*) FROM wallet_wallet WHERE available = 0), (SELECT total FROM payouts_payoutrun)
"""


class BooksNotInOrder(RuntimeError):
    """A run left an invariant broken, or other rows than it should: its time is worth nothing."""


def main() -> None:
    options = parse(sys.argv[1:])
    settings = figures.machine() | SERVER.settings()
    settings["command"] = f"./run bench payouts --sellers {options.sellers} --entries {options.entries} --repeat {options.repeat}"
    say(f"seeding {options.sellers:,} sellers and {options.entries:,} movements")
    SERVER.make_template(TEMPLATE, SEED, {"sellers": options.sellers, "entries": options.entries})
    before_mb = peak_mb()

    seconds = defaultdict[str, list[float]](list)
    written = set()
    for repetition in range(1, options.repeat + 1):
        for name, work in {"run": pay_out, "limit": write_bare}.items():
            SERVER.fresh_copy_of(TEMPLATE)
            connection.close()
            seconds[name].append(timed(work))
            written.add(rows_written())
            say(f"{repetition}/{options.repeat}  {name.ljust(6)}  {seconds[name][-1]:8.2f} s")
            broken = invariants.violations() if name == "run" else []
            connection.close()
            if broken or len(written) != 1:
                raise BooksNotInOrder("\n".join(map(str, broken or written)))

    [(payouts, *_others)] = written
    settings |= {"load_after": round(os.getloadavg()[0], 1)}
    measured = list_figures(payouts, seconds, before_mb=before_mb, settings=settings)
    say("\n" + figures.table([figure.as_json() for figure in measured]))
    if options.json:
        figures.write(measured, options.json)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench payouts", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--sellers", type=int, default=100_000, metavar="N", help="sellers who are paid out (default: 100000)")
    parser.add_argument("--entries", type=int, default=1_000_000, metavar="N", help="movements that are available (default: 1000000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each kind, of which the median counts (default: 3)")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def timed(work: Callable[[], object]) -> float:
    connection.ensure_connection()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pay_out() -> object:
    return scheduling.run(NOVEMBER, now=NOW, made_by="calendar")


@transaction.atomic(durable=True)
def write_bare() -> None:
    with connection.cursor() as cursor:
        cursor.execute(scheduling.PATIENCE)
        cursor.execute(LIMIT.read_text(), {"now": NOW})


def rows_written() -> tuple[object, ...]:
    """Count what a run leaves behind, table by table."""
    with connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        return tuple(cursor.fetchone())


def peak_mb() -> int:
    """Return the most memory that this process has ever held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def list_figures(payouts: object, seconds: dict[str, list[float]], *, before_mb: int, settings: dict[str, object]) -> list[Figure]:
    count = int(str(payouts))
    rates = {name: [round(count / each) for each in taken] for name, taken in seconds.items()}
    return [
        Figure(
            "payout_run", round(statistics.median(rates["run"])), round(statistics.median(rates["limit"])), "payouts/s",
            {"what": f"a run of {count:,} payouts", "against": "one SQL statement", "aim": ">= 0.33"} | settings | {"runs": rates},
        ),
        Figure(
            "payout_run_memory", peak_mb(), 300, "MB",
            {"what": f"memory of the process, {before_mb} MB before", "against": "allowed", "aim": "<= 300 MB"} | settings,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
