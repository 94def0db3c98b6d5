"""`./run storm`: ten thousand webhooks at fifty a second - genuine, doubled, shuffled, replayed, forged - against the real house.

The PSP charged, and the worker that heard it died: only the webhooks can tell.  Each is sent at its moment whether or not the last one was
answered, and its time runs from that moment.  The last line: `webhooks N double effects N forged accepted N refused genuine N ack p99 N ms`.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.programmes import live

LIMIT_MS = 300


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run storm", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="how many webhooks (default: 10,000)")
    parser.add_argument("--rate", type=int, default=50, help="how many a second (default: 50)")
    parser.add_argument("--seed", type=int, default=live.fresh_seed())
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with live.running_house(webhooks_to="http://127.0.0.1:9/") as house:
        figures = live.stories("storm_story").rage(house, count=options.n, rate=options.rate, seed=options.seed)
    failed = figures.doubled or figures.forged_accepted or figures.refused or figures.p99_ms > LIMIT_MS
    if failed:
        print(f"again: ./run storm --n {options.n} --rate {options.rate} --seed {options.seed}")
    print(
        f"webhooks {figures.sent} double effects {figures.doubled} forged accepted {figures.forged_accepted} "
        f"refused genuine {figures.refused} ack p99 {figures.p99_ms:.0f} ms"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
