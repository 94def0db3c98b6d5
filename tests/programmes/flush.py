"""`./run flush`: Redis is emptied again and again while buyers pay; every payment must be done within two minutes all the same.

The last line: `flushed N payments N slowest N.N s lost N doubled N`; exit code 1 if one was slower, lost or doubled.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.programmes import live

LIMIT_S = 120


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run flush", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--every", type=float, default=6, help="seconds between two (default: 6)")
    options = parser.parse_args(arguments)
    with live.running_house() as house:
        figures = live.stories("flush_story").flush(house, times=options.times, every_s=options.every)
    failed = figures.slowest_s > LIMIT_S or figures.lost or figures.doubled or not figures.payments
    if failed:
        print(f"again: ./run flush --times {options.times} --every {options.every:g}")
    print(
        f"flushed {options.times} payments {figures.payments} slowest {figures.slowest_s:.1f} s lost {figures.lost} doubled {figures.doubled}"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
