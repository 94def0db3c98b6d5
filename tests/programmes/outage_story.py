"""What happens while the PSP is away, and how soon all is known again."""

import time
from collections import Counter
from dataclasses import dataclass

from payments.models import DueOrder, PaymentOrder
from payments.states import OrderStatus
from reconciliation import invariants
from tests.programmes import shoppers
from tests.programmes.live import LiveHouse, percentile, wait_until

VISA = "4242424242424242"
PATIENCE_S = 300


@dataclass
class Figures:
    unknown: int
    resolved: int
    p95_s: float
    max_s: float
    lost: int
    doubled: int


def go_through(house: LiveHouse, *, payments: int, seconds: int) -> Figures:
    """Let half of the charges be executed and half not, every answer be a 500, and every look-up too; then heal, and measure."""
    market = shoppers.open_marketplace()
    house.fault(operation="find", kind="refuse_500")
    house.fault(operation="charge", kind="execute_then_500", rate=0.5)
    house.fault(operation="charge", kind="refuse_500")
    house.fault(operation="webhook", kind="webhook_lost")
    begun = time.monotonic()
    shoppers.confirm_many(market, payments=payments, card=VISA)
    while time.monotonic() - begun < seconds:
        time.sleep(1)
        house.look_after()
        print(f"{DueOrder.objects.filter(maybe_sent=True).count()} unknown, {executing()} executing", flush=True)
    waiting = set(DueOrder.objects.values_list("order_id", flat=True))
    house.heal()
    healed = time.monotonic()
    resolved = resolution_times(waiting, healed)
    times = sorted(resolved.values()) or [0.0]
    journal = house.journal()
    charged = Counter(str(row["reference"]) for row in journal if row["type"] == "charge.succeeded")
    broken = [*invariants.violations(), *invariants.differences_from(journal, psp="sandbox")]
    for each in broken:
        print(each, flush=True)
    return Figures(
        unknown=len(waiting),
        resolved=len(resolved),
        p95_s=percentile(times, 0.95),
        max_s=times[-1],
        lost=len(broken) + len(waiting) - len(resolved),
        doubled=sum(count > 1 for count in charged.values()),
    )


def executing() -> int:
    return PaymentOrder.objects.filter(status=OrderStatus.EXECUTING).count()


def resolution_times(waiting: set[int], healed: float) -> dict[int, float]:
    """Watch the orders until none of them executes; return the seconds that each took from the PSP's return on."""
    resolved: dict[int, float] = {}

    def look() -> bool:
        done = PaymentOrder.objects.filter(pk__in=waiting - set(resolved)).exclude(status=OrderStatus.EXECUTING)
        resolved.update(dict.fromkeys(done.values_list("pk", flat=True), time.monotonic() - healed))
        return len(resolved) == len(waiting)

    wait_until(look, deadline_s=PATIENCE_S, every_s=0.05)
    return resolved
