"""`./run bench seller_home [--json FILE] [--movements N] [--requests N]`: how long the seller's home takes where one seller has very much.

Measured is the server's time of `GET /seller/`, from the request through middleware, statements and template to the answer, in one process
without a network.  Against it stand a bare SELECT of the ten movements that are shown (the least that any page could cost), a seller with a
thousandth of the movements, and the same page without the kept sums of months (wallet/monthly.py).  The figures are medians.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
from django.db import connection

from benchmarks.harness import figures
from benchmarks.harness.databases import Server
from benchmarks.harness.figures import Figure

SERVER = Server()
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": SERVER.measured_url}
django.setup()

from django.contrib.auth.models import User  # noqa: E402 - these need the settings
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from wallet import monthly  # noqa: E402

SEED = Path(__file__).with_name("seller_home_seed.sql")
WARM_UP = 5
BARE = "SELECT * FROM wallet_walletentry WHERE wallet_id = 1 ORDER BY id DESC LIMIT 10"


class NotTheHome(RuntimeError):
    """Something else than the page with its chart was answered: its time is worth nothing."""


def main() -> None:
    options = parse(sys.argv[1:])
    settings = figures.machine() | SERVER.settings()
    settings["command"] = f"./run bench seller_home --movements {options.movements} --requests {options.requests}"
    taken = {}
    for name, movements in {"few": max(100, options.movements // 1000), "many": options.movements}.items():
        say(f"seeding {movements:,} movements of one seller")
        SERVER.make_template(f"onebook_home_{name}", SEED, {"movements": movements})
        SERVER.fresh_copy_of(f"onebook_home_{name}")
        connection.close()
        taken[f"{name}, no sums kept"] = milliseconds(home(), min(10, options.requests))
        while monthly.keep_sums(now=timezone.now()):
            pass
        taken[name] = milliseconds(home(), options.requests)
        taken[f"{name}, bare"] = milliseconds(bare, options.requests)
        connection.close()
    for name, runs in taken.items():
        say(f"{name.ljust(20)} {statistics.median(runs):8.2f} ms")
    settings |= {"load_after": round(os.getloadavg()[0], 1), "runs": taken}
    measured = list_figures(options.movements, {name: statistics.median(runs) for name, runs in taken.items()}, settings)
    say("\n" + figures.table([figure.as_json() for figure in measured]))
    if options.json:
        figures.write(measured, options.json)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench seller_home", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--movements", type=int, default=1_000_000, metavar="N", help="of the one seller (default: 1000000)")
    parser.add_argument(
        "--requests", type=int, default=50, metavar="N", help="requests of each kind, of which the median counts (default: 50)"
    )
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def home() -> Callable[[], object]:
    """Return what asks for the page as somebody who is logged in.  Raises NotTheHome."""
    browser = Client(headers={"host": "127.0.0.1", "accept-language": "en"})
    browser.force_login(User.objects.get(username="seller"))

    def ask() -> object:
        answer = browser.get("/seller/")
        if answer.status_code != 200 or b"plot-line" not in answer.content:
            raise NotTheHome(f"{answer.status_code}: {answer.content[:200]!r}")
        return answer

    return ask


def bare() -> object:
    with connection.cursor() as cursor:
        cursor.execute(BARE)
        return cursor.fetchall()


def milliseconds(work: Callable[[], object], count: int) -> list[float]:
    for _ in range(WARM_UP):
        work()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        taken.append(round((time.perf_counter() - began) * 1000, 2))
    return taken


def list_figures(movements: int, median: dict[str, float], settings: dict[str, object]) -> list[Figure]:
    figure = round(median["many"], 1)
    what = f"the seller's home, {movements:,} movements"
    return [
        Figure("home", figure, 100, "ms", {"what": what, "against": "allowed", "aim": "<= 100 ms"} | settings),
        Figure("home_few", figure, median["few"], "ms", {"what": what, "against": "with a thousandth of them", "aim": "<= 1.5"} | settings),
        Figure(
            "home_bare", figure, median["many, bare"], "ms", {"what": what, "against": "a bare SELECT of ten rows", "aim": "-"} | settings
        ),
        Figure(
            "home_plain",
            figure,
            median["many, no sums kept"],
            "ms",
            {"what": what, "against": "without kept sums", "aim": "< 1"} | settings,
        ),
    ]


if __name__ == "__main__":
    main()
