"""The retry strategies: each by its name, with figures that a person could have written down beforehand."""

import pytest

from ledger import retries
from ledger.retries import Policy, Strategy

FOR_EVER = 100


def waits(strategy: Strategy, *, first_s: int, longest_s: int, most_tries: int = FOR_EVER, calls: int = 6) -> list[float | None]:
    policy = Policy(strategy, first_s, longest_s, most_tries)
    return [retries.delay_s(policy, failures=failures) for failures in range(1, calls + 1)]


def test_immediate_waits_for_nothing() -> None:
    assert waits(Strategy.IMMEDIATE, first_s=5, longest_s=60, most_tries=4) == [0, 0, 0, None, None, None]


def test_a_fixed_interval_is_always_the_same() -> None:
    assert waits(Strategy.FIXED_INTERVAL, first_s=7, longest_s=60) == [7] * 6


def test_an_incremental_interval_grows_by_the_same_step_up_to_the_longest() -> None:
    assert waits(Strategy.INCREMENTAL_INTERVAL, first_s=10, longest_s=45) == [10, 20, 30, 40, 45, 45]


def test_exponential_backoff_doubles_and_is_spread_by_half() -> None:
    for _draw in range(200):
        for waited, longest in zip(waits(Strategy.EXPONENTIAL_BACKOFF, first_s=3, longest_s=40), [3, 6, 12, 24, 40, 40], strict=True):
            assert waited is not None
            assert longest / 2 <= waited <= longest
    assert len({retries.delay_s(Policy(first_s=60, longest_s=60), failures=1) for _draw in range(50)}) > 40


def test_exponential_backoff_never_overflows() -> None:
    for failures in (8, 1_025, 40_000):
        waited = retries.delay_s(Policy(most_tries=100_000), failures=failures)
        assert waited is not None
        assert 60 <= waited <= 120


def test_none_tries_once() -> None:
    assert waits(Strategy.NONE, first_s=1, longest_s=1) == [None] * 6


@pytest.mark.parametrize("strategy", [strategy for strategy in Strategy if strategy != Strategy.NONE])
@pytest.mark.parametrize("most_tries", [1, 2, 8, 100])
def test_every_strategy_ends_after_its_tries(strategy: Strategy, most_tries: int) -> None:
    policy = Policy(strategy, first_s=1, longest_s=2, most_tries=most_tries)
    ends = [retries.delay_s(policy, failures=failures) is None for failures in range(1, most_tries + 3)]
    assert ends == [False] * (most_tries - 1) + [True] * 3


def test_the_house_gives_up_after_eight_calls() -> None:
    assert [retries.delay_s(retries.DEFAULT, failures=failures) is None for failures in (1, 7, 8)] == [False, False, True]
