"""`./run crash --level 1|2|3 --n N --seed S [--point CP-07,CP-08]`: kill our processes N times and count what is lost, doubled or stuck.

The last line is `injected N lost 0 doubled 0 stuck 0`; the exit code is 1 if anything is not nothing, or if a point was never passed.
`--seed S:17` plays case 17 of the seed S alone.  Levels 1 and 2 are shared out to `--processes`, each with a database and a PSP of its own: of
P the first plays the cases 0, P, 2P..., so that a seed means the same cases whoever plays them.  Called by ./run, which brings the servers.
"""

import argparse
import gc
import os
import pickle
import secrets
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import django

from config.supervisor import die_with_parent
from tests.programmes import live

GARBAGE_AT = 100_000  # objects


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    os.environ["SANDBOX_PENDING_S"] = "2"
    if options.level == 3:
        say(f"level 3, seed {options.seed}")
        score = in_the_real_house(injections=options.n, seed=options.seed)
    elif options.share is not None:
        Path(options.report).write_bytes(pickle.dumps(share(options)))
        return 0
    else:
        say(f"level {options.level}, seed {options.seed}")
        score = together(options) if options.processes > 1 and ":" not in options.seed else share(options)
    for name in score.never_passed:
        say(f"never passed: {name}")
    say(str(score))
    return int(not score.is_clean)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run crash")
    levels = "1 in one process, 2 kill -9 of forked processes, 3 the real house"
    parser.add_argument("--level", type=int, choices=(1, 2, 3), default=1, help=levels)
    parser.add_argument("--n", type=int, default=200, metavar="N", help="how many deaths")
    parser.add_argument("--seed", default=secrets.token_hex(4), metavar="S", help="what is drawn; S:17 is case 17 alone")
    parser.add_argument("--point", default="", metavar="CP", help="die at these crash points only, CP-35,CP-36 (levels 1 and 2)")
    parser.add_argument("--processes", type=int, default=2, metavar="P", help="how many play at once (levels 1 and 2)")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.processes = max(1, min(options.processes, options.n))
    return options


def share(options: argparse.Namespace) -> Any:
    """Play what is this process's; return its score."""
    django.setup()
    level = import_module(f"tests.programmes.crash_level_{options.level}")
    gc.freeze()  # what is loaded stays; looking through it again and again takes a sixth of the time
    gc.set_threshold(GARBAGE_AT)
    seed, _colon, case = options.seed.partition(":")
    if case:
        plan = level.Plan(options.n, seed, first=int(case), point=options.point, only_case=True)
    elif options.share is None:
        plan = level.Plan(options.n, seed, point=options.point)
    else:
        mine = len(range(options.share, options.n, options.processes))
        plan = level.Plan(mine, seed, first=options.share, stride=options.processes, point=options.point)
    return level.run(plan, say=say)


def together(options: argparse.Namespace) -> Any:
    """Let each process play its share, and add up what they found."""
    django.setup()
    score = import_module("tests.programmes.crash_level_1").Score()
    again = [sys.executable, "-m", "tests.programmes.crash", "--level", str(options.level), "--n", str(options.n), "--seed", options.seed]
    again += ["--point", options.point, "--processes", str(options.processes)]
    with tempfile.TemporaryDirectory() as directory:
        reports = [Path(directory) / str(number) for number in range(options.processes)]
        players = [
            subprocess.Popen(
                [*again, "--share", str(number), "--report", str(report)],
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
            for number, report in enumerate(reports)
        ]
        for player, report in zip(players, reports, strict=True):
            if player.wait():
                score.failures.append(f"process {player.pid} ended by itself: {player.returncode}")
                say(score.failures[-1])
            else:
                score.add(pickle.loads(report.read_bytes()))
    return score


def in_the_real_house(*, injections: int, seed: str) -> Any:
    """Start the whole house, which also tells Django where its database is, and kill."""
    with live.running_house() as house:
        return live.stories("crash_level_3").run(house, injections=injections, seed=seed, say=say)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
