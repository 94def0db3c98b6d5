"""Retry strategies by name: how long to wait before the next try, and after how many tries a person is told.  Pure.

Which policy applies to a PSP's operation is a row (RetryPolicy) or, without one, the default here.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Strategy(StrEnum):
    IMMEDIATE = "immediate"
    FIXED_INTERVAL = "fixed_interval"
    INCREMENTAL_INTERVAL = "incremental_interval"
    EXPONENTIAL_BACKOFF = "exponential_backoff"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """A strategy with its figures, in seconds.  `most_tries` counts calls in a row that came to nothing."""

    strategy: Strategy = Strategy.EXPONENTIAL_BACKOFF
    first_s: int = 1
    longest_s: int = 120
    most_tries: int = 8


DEFAULT = Policy()

KEY_LIFETIME = timedelta(hours=20)  # PSPs may forget a key from 24 hours on: an older one is never sent again, only asked for
ASK_FOR = timedelta(days=30)  # since the first call that may have moved money; then a person is told
ASK_AFTER_S = (2, 10, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)  # an unknown or pending outcome is asked for at these steps, the last daily


def delay_s(policy: Policy, *, failures: int) -> float | None:
    """Return how long to wait after so many failures in a row (at least one), in seconds; None when the tries are used up.

    Exponential backoff is spread by half (jitter), so that retries do not meet.
    """
    if policy.strategy == Strategy.NONE or failures >= policy.most_tries:
        return None
    match policy.strategy:
        case Strategy.IMMEDIATE:
            return 0.0
        case Strategy.FIXED_INTERVAL:
            return min(policy.first_s, policy.longest_s)
        case Strategy.INCREMENTAL_INTERVAL:
            return min(policy.first_s * failures, policy.longest_s)
        case Strategy.EXPONENTIAL_BACKOFF:
            longest = min(policy.first_s * 2.0 ** min(failures - 1, 30), policy.longest_s)
            return longest * random.uniform(0.5, 1)  # noqa: S311 - spread, not secrecy


def ask_delay_s(asked: int) -> float:
    """Return how long to wait before an outcome that is unknown or pending is asked for again, having been asked for so often."""
    return ASK_AFTER_S[min(asked, len(ASK_AFTER_S) - 1)]
