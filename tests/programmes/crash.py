"""`./run crash --level 1|2|3 --n N --seed S [--point CP-07]`: kill our processes N times and count what is lost, doubled or stuck.

The last line is `injected N lost 0 doubled 0 stuck 0`; the exit code is 1 if anything is not nothing, or if a point was never passed.
`--seed S:17` plays case 17 of the seed S alone.  Called by ./run, which brings the servers.
"""

import argparse
import os
import secrets
import sys
from importlib import import_module
from typing import Any

import django

from config.supervisor import stop_on_signals
from tests.programmes import real_house


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run crash")
    levels = "1 in one process, 2 kill -9 of forked processes, 3 the real house"
    parser.add_argument("--level", type=int, choices=(1, 2, 3), default=1, help=levels)
    parser.add_argument("--n", type=int, default=200, metavar="N", help="how many deaths")
    parser.add_argument("--seed", default=secrets.token_hex(4), metavar="S", help="what is drawn; S:17 is case 17 alone")
    parser.add_argument("--point", default="", metavar="CP", help="die at this crash point only")
    options = parser.parse_args(arguments)
    os.environ["SANDBOX_PENDING_S"] = "2"
    seed, _colon, case = options.seed.partition(":")
    say(f"level {options.level}, seed {seed}" + (f", case {case}" if case else ""))
    if options.level == 3:
        score = in_the_real_house(injections=options.n, seed=seed)
    else:
        django.setup()
        score = import_module(f"tests.programmes.crash_level_{options.level}").run(
            injections=options.n, seed=seed, only_case=int(case) if case else None, point=options.point, say=say
        )
    for name in score.never_passed:
        say(f"never passed: {name}")
    say(str(score))
    return int(not score.is_clean)


def in_the_real_house(*, injections: int, seed: str) -> Any:
    """Start the whole house first; only then Django can be told where its database is."""
    stop_on_signals()
    with real_house.running() as real:
        os.environ.update(real.environment)
        django.setup()
        return import_module("tests.programmes.crash_level_3").run(real, injections=injections, seed=seed, say=say)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
