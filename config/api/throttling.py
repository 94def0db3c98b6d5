"""A rate limit for each API key, counted in fixed windows in the memory of each web process: it needs no Redis and never fails.

With several web processes a key may send up to that many times as much; the limit is there to stop a runaway loop, not to bill.
"""

from time import time
from typing import Any

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, SimpleRateThrottle


class KeyThrottle(BaseThrottle):
    """Counts the requests of one key; `request.rate_limit` (limit, remaining, seconds left) becomes the RateLimit headers."""

    seconds_left = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        key: Any = request.auth
        limit, window_s = parsed(api_settings.DEFAULT_THROTTLE_RATES["key"])
        if key is None or not limit:
            return True
        now = int(time())
        window, self.seconds_left = now // window_s, window_s - now % window_s
        used = counted(f"api-rate:{key.pk}:{window}", window_s)
        request.rate_limit = (limit, max(limit - used, 0), self.seconds_left)  # type: ignore[attr-defined]
        return used <= limit

    def wait(self) -> float:
        return self.seconds_left


def parsed(rate: Any) -> tuple[int, int]:
    """Return how many requests in how many seconds: "6000/min" is (6000, 60); no rate is (0, 0)."""
    requests, seconds = SimpleRateThrottle.parse_rate(SimpleRateThrottle.__new__(SimpleRateThrottle), rate)
    return requests or 0, seconds or 0


def counted(name: str, window_s: int) -> int:
    cache.add(name, 0, timeout=window_s + 1)
    try:
        return cache.incr(name)
    except ValueError:  # forgotten between the two lines
        return 1
