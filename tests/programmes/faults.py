"""`./run faults [--rows N] [--faults N] [--seed S]`: plant faults in the files of the PSP and its bank, and see that each is found, and nothing else.

The last line is `rows N planted N found N rightly classed N false alarms 0`; the exit code is 1 unless every fault that the sandbox planted
is found once, as what it is, with its amount, unless nothing else is, and unless the books are in order before and after two people have
resolved it all.  Called by ./run, which brings the servers.
"""

import argparse
import secrets
import sys
import time
from importlib import import_module

import django

TRADING_DAYS = 6


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="charges and refunds in the files (default: 100000)")
    parser.add_argument("--faults", type=int, default=500, metavar="N", help="how many are planted (default: 500)")
    parser.add_argument("--seed", default=secrets.token_hex(4), metavar="S", help="what is drawn")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    django.setup()
    story, house = (import_module(f"tests.programmes.{name}") for name in ("faults_story", "house"))
    with house.standing_house() as standing:
        plan = story.Plan(options.rows, options.faults, options.seed, days=TRADING_DAYS, sandbox=house.own_name())
        findings = story.go_through(standing, plan, say=lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True))
    for line in (*findings.table(), *findings.failures):
        print(line)
    if not findings.are_perfect:
        print(f"again: ./run faults --rows {options.rows} --faults {options.faults} --seed {options.seed}")
    print(f"{findings} in {time.monotonic() - began:.0f} s")
    return int(not findings.are_perfect)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
