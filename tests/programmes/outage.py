"""`./run outage`: the PSP answers nothing sensible while buyers pay; then it is back, and every unknown outcome must be resolved at once.

The last line: `unknown N resolved N p95 N.N s max N.N s lost N doubled N`; exit code 1 if p95 is above 30 s, or anything is lost or doubled.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.programmes import live

LIMIT_S = 30


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run outage", description=__doc__)
    parser.add_argument("--payments", type=int, default=60, help="how many baskets of three are confirmed meanwhile (default: 60)")
    parser.add_argument("--seconds", type=int, default=90, help="how long the PSP is away (default: 90)")
    options = parser.parse_args(arguments)
    with live.running_house() as house:
        figures = live.stories("outage_story").go_through(house, payments=options.payments, seconds=options.seconds)
    late = figures.p95_s > LIMIT_S or figures.resolved != figures.unknown or not figures.unknown
    failed = late or figures.lost or figures.doubled
    if failed:
        print(f"again: ./run outage --payments {options.payments} --seconds {options.seconds}")
    print(
        f"unknown {figures.unknown} resolved {figures.resolved} p95 {figures.p95_s:.1f} s max {figures.max_s:.1f} s "
        f"lost {figures.lost} doubled {figures.doubled}"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
