"""`./run races --rounds N [--kind K] [--without-redis]`: many do the same thing at the same moment, on real threads and real commits.

Each kind (race_kinds.py) is one round of one race, which answers with what broke: a deadlock, an answer of 5xx, two effects where one is
due, or a verdict of the PSP's journal.  A jitter at every statement and commit widens the windows.  The last line is
`rounds N violations 0`.
"""

import argparse
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import django

LONGEST_JITTER_S = 0.002
JITTER_AT = 0.15  # the share of the statements
Say = Callable[[str], None]


def say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def jitter(chance: random.Random) -> Iterator[None]:
    """Let every thread hesitate now and then before a statement or a commit."""
    wrapper = import_module("django.db.backends.base.base").BaseDatabaseWrapper

    def hesitating(real: Callable[..., Any]) -> Callable[..., Any]:
        def after_a_moment(*arguments: Any, **named: Any) -> Any:
            if chance.random() < JITTER_AT:
                time.sleep(chance.random() * LONGEST_JITTER_S)
            return real(*arguments, **named)

        return after_a_moment

    with patch.object(wrapper, "cursor", hesitating(wrapper.cursor)), patch.object(wrapper, "_commit", hesitating(wrapper._commit)):
        yield


def play(house: Any, *, rounds: int, kinds: Sequence[str], seed: str, how: str = "", say: Say = say) -> list[str]:
    """Play so many rounds of each kind; return what broke, as sentences.  `how`: what else the command that replays it must say."""
    race_kinds, race_rounds = (import_module(f"tests.programmes.{name}") for name in ("race_kinds", "race_rounds"))
    crash_level_1 = import_module("tests.programmes.crash_level_1")
    violations: list[str] = []
    for kind in kinds:
        started, before = time.monotonic(), len(violations)
        for number in range(rounds):
            case = race_rounds.case_of(house, f"{seed}:{kind}:{number}")
            try:
                with jitter(case.chance):
                    broken = race_kinds.KINDS[kind](case)
                found = [*broken, *race_rounds.aftermath(case)]
            except Exception as error:  # noqa: BLE001 - whatever ends a round is a finding, too, and must be played again
                found = [f"{type(error).__name__}: {error}"]
            for sentence in found:
                violations.append(sentence)
                say(
                    f"VIOLATION in {kind}, round {number}: {sentence}\n  again: ./run races --rounds {number + 1} --kind {kind} --seed {seed}{how}"
                )
        say(f"{kind}: {rounds} rounds, {len(violations) - before} violations, {time.monotonic() - started:.0f} s")
    crash_level_1.rest(house)
    for sentence in import_module("tests.programmes.verdicts").on_house(house).sentences():
        violations.append(sentence)
        asked = f" --kind {','.join(kinds)}" if len(kinds) < len(race_kinds.KINDS) else ""
        say(f"VIOLATION in the house: {sentence}\n  again: ./run races --rounds {rounds}{asked} --seed {seed}{how}")
    return violations


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./run races")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="of each kind")
    parser.add_argument("--kind", default="", metavar="K", help="these kinds only, two_beats,two_relays")
    parser.add_argument("--seed", default=secrets.token_hex(4), metavar="S", help="what is drawn")
    parser.add_argument("--without-redis", action="store_true", help="with a doorbell that nobody answers")
    options = parser.parse_args(arguments)
    os.environ["SANDBOX_PENDING_S"] = "2"
    if options.without_redis:
        os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
    django.setup()
    known = import_module("tests.programmes.race_kinds").KINDS
    kinds = options.kind.split(",") if options.kind else list(known)
    if strange := [kind for kind in kinds if kind not in known]:
        parser.error(f"there is no kind {', '.join(strange)}; there are {', '.join(known)}")
    say(f"seed {options.seed}")
    with import_module("tests.programmes.house").standing_house() as house:
        how = " --without-redis" if options.without_redis else ""
        violations = play(house, rounds=options.rounds, kinds=kinds, seed=options.seed, how=how)
    say(f"rounds {options.rounds * len(kinds)} violations {len(violations)}")
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
