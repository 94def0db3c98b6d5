"""Buyers pay while the broker forgets everything, ten times."""

import time
from collections import Counter
from dataclasses import dataclass

import redis
from django.conf import settings

from payments.models import PaymentEvent
from reconciliation import invariants
from tests.programmes import shoppers
from tests.programmes.live import LiveHouse, wait_until


@dataclass
class Figures:
    payments: int
    slowest_s: float
    lost: int
    doubled: int


def flush(house: LiveHouse, *, times: int, every_s: float) -> Figures:
    """Load the house, empty Redis `times` times, and wait for the last payment."""
    load = shoppers.Load(house.place.url, shoppers.open_marketplace())
    load.start()
    broker = redis.Redis.from_url(settings.REDIS_URL)
    done: dict[str, float] = {}

    def look() -> bool:
        """Note which of the begun payments are done by now; a worker that has ended because it heard nothing is started again."""
        house.look_after()
        open_ones = [payment for payment in list(load.begun) if payment not in done]
        finished = PaymentEvent.objects.filter(public_id__in=open_ones, is_payment_done=True).values_list("public_id", flat=True)
        done.update(dict.fromkeys(finished, time.monotonic()))
        return len(done) == len(load.begun)

    for number in range(times):
        until = time.monotonic() + every_s
        while time.monotonic() < until:
            look()
            time.sleep(0.1)
        broker.flushall()
        print(f"flush {number + 1}: {len(load.begun)} begun, {len(done)} done, {load.turned_away} turned away", flush=True)
    load.stop()
    wait_until(look, deadline_s=150)
    journal = house.journal()
    charged = Counter(str(row["reference"]) for row in journal if row["type"] == "charge.succeeded")
    broken = [*invariants.violations(), *invariants.differences_from(journal, psp="sandbox")]
    for each in broken:
        print(each, flush=True)
    return Figures(
        payments=len(load.begun),
        slowest_s=max((done[payment] - load.begun[payment] for payment in done), default=0.0),
        lost=len(load.begun) - len(done) + len(broken),
        doubled=sum(count > 1 for count in charged.values()),
    )
