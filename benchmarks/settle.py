"""`./run bench settle [--json FILE] [--seconds N] [--repeat N]`: how fast the hot path settles, against what this very machine could do.

Rates are measured through `settlement.settle`, batches of 100, two processes, all constraints and triggers in place, fsync on, 10,000
sellers, and only ever compared with others of the same run: machines differ, and so does one machine from minute to minute.  The runs take
turns, so that a slow minute slows them all; the figures are medians.  After every run the books must be in order, or there is no figure.
"""

import argparse
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import django
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.harness import figures
from benchmarks.harness.databases import Marketplace, Server
from benchmarks.harness.figures import Figure

SERVER = Server()
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": SERVER.measured_url}
django.setup()

from benchmarks.harness import plain_orm, runs  # noqa: E402 - these need the settings
from benchmarks.harness.runs import Load, Outcome  # noqa: E402
from payments import settlement  # noqa: E402
from reconciliation import invariants  # noqa: E402

LIMIT = Path(__file__).with_suffix(".sql")
MOST_PER_SECOND = 30_000  # so many orders wait for every second: more than any machine has settled yet
WARM_UP = 100  # batches per process
EARLIER, MANY_EARLIER = 6_670, 666_670  # orders settled before: 20,010 and 2,000,010 postings


class BooksNotInOrder(RuntimeError):
    """A run left an invariant broken: its rate is worth nothing."""


def main() -> None:
    options = parse(sys.argv[1:])
    load = Load(clients=2, batch=100, seconds=options.seconds, warm_up=WARM_UP)
    one_by_one = Load(clients=2, batch=1, seconds=options.seconds, warm_up=WARM_UP)
    waiting = load.clients * load.batch * load.warm_up + MOST_PER_SECOND * options.seconds
    spread = Marketplace("onebook_spread", EARLIER, waiting)
    one_seller = Marketplace("onebook_one_seller", EARLIER, waiting, sellers=1)
    long_used = Marketplace("onebook_long_used", MANY_EARLIER, waiting)
    settings = figures.machine() | SERVER.settings() | {"processes": 2, "batch": 100, "seconds": options.seconds, "repeat": options.repeat}

    for marketplace in (spread, one_seller, long_used):
        say(f"seeding {marketplace.postings:,} postings and {marketplace.waiting:,} orders that wait ({marketplace.name})")
        SERVER.seed(marketplace)
        measure(marketplace, lambda: Outcome(0, 0))

    def through_django(marketplace: Marketplace) -> Callable[[], Outcome]:
        return lambda: runs.processes(settlement.settle, load, marketplace)

    def plain() -> Outcome:
        SERVER.administer(plain_orm.GUARDS_IN_ITS_WAY)
        return runs.processes(plain_orm.settle_one_by_one, one_by_one, spread)

    turns = {
        "limit": (spread, lambda: runs.pgbench(LIMIT, load, spread, url=SERVER.measured_url)),
        "settle": (spread, through_django(spread)),
        "one seller": (one_seller, through_django(one_seller)),
        "2 million postings": (long_used, through_django(long_used)),
        "plain ORM": (spread, plain),
    }
    outcomes = defaultdict[str, list[Outcome]](list)
    for repetition in range(1, options.repeat + 1):
        for name, (marketplace, run) in turns.items():
            outcome = measure(marketplace, run)
            outcomes[name].append(outcome)
            cpu = f", {outcome.client_us:.0f} us of our own CPU each" if outcome.client_us else ""
            say(f"{repetition}/{options.repeat}  {name.ljust(18)}  {outcome.rate:8,.0f} orders/s{cpu}")
    statements = statements_of_one_order(spread)

    settings |= {"load_after": round(os.getloadavg()[0], 1)}
    measured = list_figures(outcomes, statements=statements, settings=settings)
    say("\n" + figures.table([figure.as_json() for figure in measured]))
    if options.json:
        figures.write(measured, options.json)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench settle", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--seconds", type=int, default=4, metavar="N", help="length of one run (default: 4)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each kind, of which the median counts (default: 3)")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def measure(marketplace: Marketplace, run: Callable[[], Outcome]) -> Outcome:
    """Run once on a fresh copy.  Raises BooksNotInOrder."""
    SERVER.fresh_copy(marketplace)
    outcome = run()
    broken = invariants.violations()
    connection.close()
    if broken:
        raise BooksNotInOrder("\n".join(map(str, broken)))
    return outcome


def statements_of_one_order(marketplace: Marketplace) -> int:
    """Count the SQL statements that settle one order and close its checkout, BEGIN and COMMIT included."""
    counted: list[int] = []

    def one() -> Outcome:
        [[capture], *_] = runs.batches_of(0, Load(clients=1, batch=1, seconds=0, warm_up=0), marketplace)
        with CaptureQueriesContext(connection) as statements:
            settlement.settle([capture])
        counted.append(len(statements))
        return Outcome(1, 0)

    measure(marketplace, one)
    return counted[0]


def list_figures(outcomes: dict[str, list[Outcome]], *, statements: int, settings: dict[str, object]) -> list[Figure]:
    def figure(name: str, measured: str, limit: str, *, per_process: bool = False, **texts: str) -> Figure:
        rates = {kind: [round(outcome.rate, 1) for outcome in outcomes[kind]] for kind in (measured, limit)}
        share = 2 if per_process else 1
        rate, bound = (statistics.median(rates[kind]) / share for kind in (measured, limit))
        client_us = round(statistics.median(outcome.client_us for outcome in outcomes[measured]), 1)
        return Figure(
            name,
            round(rate),
            round(bound),
            "orders/s" + "/process" * per_process,
            texts | settings | {"runs": rates, "client_us": client_us},
        )

    return [
        figure(
            "settle", "settle", "limit",
            what="settle, spread over 10,000 sellers", against="one SQL statement per batch, pgbench", aim=">= 0.5",
        ),
        figure(
            "settle_per_process", "settle", "plain ORM", per_process=True,
            what="settle, per process", against="plain ORM, order by order", aim=">= 30",
        ),
        figure(
            "settle_one_seller", "one seller", "settle",
            what="settle, all orders of one seller", against="spread over 10,000 sellers", aim=">= 1",
        ),
        figure(
            "settle_long_used", "2 million postings", "settle",
            what="settle, on 2,000,010 postings", against="on 20,010 postings", aim="0.85 to 1.15",
        ),
        Figure(
            "statements_of_one_order", statements, 12, "SQL statements",
            {"what": "settle one order, and close its checkout", "against": "allowed", "aim": "<= 12 statements"} | settings,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
