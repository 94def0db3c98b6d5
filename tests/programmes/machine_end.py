"""How each example of the state machine ends: everything heals, the sweepers run until they find nothing, and then all of it is judged.

Nothing may hang without a person knowing, every invariant holds, and our books are the PSP's own journal: what it took, gave back, paid out
and was sent back, each once.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db.models import Q, Sum
from djmoney.money import Money
from hypothesis import note

from ledger import chart, clock, money
from ledger.models import Posting
from payments import cancellations, dispute_watch, expiry, inbox, queries, refund_executor, releases
from payments import executor as charges
from payments.models import Cancellation, DeadLetter, DueOrder, PaymentOrder, PspEvent, Refund, Tender
from payments.states import CancellationStatus, OrderStatus, RefundStatus
from payouts import executor as payouts
from payouts import queries as payout_queries
from payouts import requests
from payouts.models import Payout
from payouts.states import PayoutStatus
from reconciliation import invariants
from tests.factories import RETURNED_LATER
from tests.programmes.machine_world import World
from wallet import holds
from wallet.models import SellerHold, Shop

QUIET_ROUNDS = 60
DEADLINE_S = 20
A_PERSON = "staff:eve"
THREE_DAYS_S = 3 * 24 * 3600 + 60


def sweep_once() -> int:
    """Do what the workers do, once; return how much there was to do."""
    now = clock.now()
    return (
        inbox.apply_received(now=now)
        + charges.execute_due_orders(now=now)
        + refund_executor.execute_due_refunds(now=now)
        + expiry.expire_checkouts(now=now)
        + cancellations.follow(now=now)
        + releases.release_due(now=now)
        + releases.free_due_reserves(now=now)
        + payouts.execute_due_payouts(now=now)
    )


# --- Healing ----------------------------------------------------------------------------------------------------------


def heal_and_sweep(world: World, shop: Shop) -> None:
    """Switch every fault off, lift every hold, let the PSP finish what it holds, deliver what is on its way, and sweep until nothing is due."""
    world.sandbox.clear_faults()
    for hold in SellerHold.objects.filter(Q(until=None) | Q(until__gt=clock.now()), seller__shop=shop, lifted_at=None):
        holds.lift(hold.pk, reason="The story is over", actor=A_PERSON, now=clock.now())
    world.advance(60)
    come_to_rest(world)
    given_up = Payout.objects.filter(shop=shop, status=PayoutStatus.FAILED, next_attempt_at__isnull=False)
    if to_come_back(world) or given_up.exists():
        world.advance(THREE_DAYS_S)
        wait_until_empty(lambda: to_come_back(world))
        come_to_rest(world)


def come_to_rest(world: World) -> None:
    """Sweep with a clock that jumps, until nothing is due and nothing waits for a person's word on a payout."""
    for _round in range(QUIET_ROUNDS):
        wait_until_empty(lambda: unripe(world))
        while world.undelivered:
            assert world.deliver(world.undelivered.pop()) == 200
        for _sweep in range(50):
            if not sweep_once():
                break
        dispute_watch.watch(now=clock.now())
        payouts.watch_returns(now=clock.now())
        rescue_payouts()
        if is_quiet():
            return
        world.advance(2 * 3600)
    note(f"not quiet after {QUIET_ROUNDS} rounds")


def rescue_payouts() -> None:
    """Let a person give up what the bank knows nothing of, and have everything else asked for again."""
    for payout in payout_queries.waiting_for_a_person():
        try:
            requests.give_up(payout.pk, actor=A_PERSON, reason="The story is over", now=clock.now())
        except requests.NotToRescue:
            requests.ask_again(payout.pk, actor=A_PERSON, reason="The story is over", now=clock.now())


def wait_until_empty(waited_for: Callable[[], set[str]]) -> None:
    """Wait until the PSP has said its word on everything: what is pending ripens within half a second once its time has come."""
    until = time.monotonic() + DEADLINE_S
    while left := waited_for():
        assert time.monotonic() < until, f"the PSP leaves unripe: {left}"
        time.sleep(0.05)


def unripe(world: World) -> set[str]:
    """Return what the PSP's last word on is pending, and the refunds that succeeded and are going to fail, or failed and no letter says so."""
    world.collect()
    last = {row["object_id"]: row for row in world.oracle.rows() if row["type"].partition(".")[0] in ("charge", "refund", "payout")}
    given_back = {row["reference"] for row in last.values() if row["type"] == "refund.succeeded"}
    fickle = set(Refund.objects.filter(public_id__in=given_back, order__event__in=world.fickle).values_list("public_id", flat=True))
    untold = {each for each, row in last.items() if row["type"] == "refund.failed"} - world.told
    return untold | {each for each, row in last.items() if row["type"].endswith(".pending") or row["reference"] in fickle}


def to_come_back(world: World) -> set[str]:
    """Return the payouts that the bank has paid and is going to send back, three days later."""
    last = {row["reference"]: row["type"] for row in world.oracle.rows("payout.paid", "payout.returned")}
    paid = [reference for reference, kind in last.items() if kind == "payout.paid"]
    returning = Payout.objects.filter(public_id__in=paid, bank_account__last4=RETURNED_LATER[-4:])
    return set(returning.values_list("public_id", flat=True))


def is_quiet() -> bool:
    return not (
        DueOrder.objects.filter(next_attempt_at__isnull=False).exists()
        or Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__isnull=False).exists()
        or PspEvent.objects.filter(Q(status=PspEvent.Status.RECEIVED) | Q(next_attempt_at__isnull=False)).exists()
        or Payout.objects.filter(status=PayoutStatus.EXECUTING).exists()
    )


# --- The verdict ------------------------------------------------------------------------------------------------------


def assert_all_is_well(world: World) -> None:
    """Every invariant, every cent against the PSP's own journal, and nothing that hangs without a person knowing."""
    journal = world.oracle.rows()
    broken = [
        *invariants.violations(),
        *invariants.differences_from(journal, psp="sandbox"),
        *invariants.receivable_differs_from(journal, psp="sandbox"),
    ]
    assert not broken, "; ".join(map(str, broken))
    assert_nothing_hangs()
    assert_charges_are_the_psps(journal)
    assert_payouts_are_the_banks(journal)


def assert_nothing_hangs() -> None:
    for order in PaymentOrder.objects.filter(status=OrderStatus.SUCCESS, released_at=None, fills=None):
        pending = max(queries.earned(order), money.zero("EUR"))
        assert order.unreleased == pending, f"{order.unreleased} of {order.public_id} are pending, and it brings {pending}"
    known_dead = set(DeadLetter.objects.filter(decided_at__isnull=True).values_list("order_id", flat=True))
    hanging = [
        *PaymentOrder.objects.filter(status=OrderStatus.EXECUTING).exclude(pk__in=known_dead).values("public_id", "due__next_attempt_at"),
        *Refund.objects.filter(status=RefundStatus.EXECUTING).exclude(order__in=known_dead).values("public_id", "next_attempt_at", "cause"),
        *Cancellation.objects.filter(status=CancellationStatus.EXECUTING)
        .exclude(order__in=known_dead)
        .values("public_id", "order__status", "refund__status"),
        *Payout.objects.filter(status=PayoutStatus.EXECUTING).values("public_id", "next_attempt_at", "failure_message"),
        *Tender.objects.filter(status=Tender.Status.HELD)
        .exclude(order__in=known_dead)
        .values("order__public_id", "order__status", "amount"),
    ]
    assert not hanging, f"hanging, and no dead letter says so: {hanging}"


def assert_charges_are_the_psps(journal: list[dict[str, Any]]) -> None:
    for reference, charged in charged_by_order(journal).items():
        order = PaymentOrder.objects.get(public_id=reference)
        kept = charged - sum((late.amount for late in order.late_charges.all()), start=money.zero("EUR"))
        expected = order.charge if order.status == OrderStatus.SUCCESS else money.zero("EUR")
        assert kept == expected, f"{reference} is {order.status}: {charged} were charged and {kept} kept"


def charged_by_order(journal: list[dict[str, Any]]) -> dict[str, Money]:
    """Return what the PSP says it took for each of our orders, less what it voided: the model, in plain integers, made of its journal alone."""
    units: dict[str, int] = {}
    for row in journal:
        sign = {"charge.succeeded": 1, "charge.voided": -1}.get(row["type"], 0)
        if sign:
            units[row["reference"]] = units.get(row["reference"], 0) + sign * (row["amount"] or 0)
    return {reference: money.from_minor(count, "EUR") for reference, count in units.items()}


def assert_payouts_are_the_banks(journal: list[dict[str, Any]]) -> None:
    """What the bank paid, it paid once, and is one payout of ours that says so; our bank account has lost exactly that."""
    paid = Counter(row["reference"] for row in journal if row["type"] == "payout.paid")
    came_back = {row["reference"] for row in journal if row["type"] == "payout.returned"}
    twice = [reference for reference, times in paid.items() if times > 1]
    assert not twice, f"the bank paid more than once: {twice}"
    ours = dict(Payout.objects.values_list("public_id", "status"))
    for reference in paid:
        fitting = {PayoutStatus.RETURNED, PayoutStatus.FAILED} if reference in came_back else {PayoutStatus.SUCCESS}
        assert ours[reference] in fitting, f"{reference} is {ours[reference]}; the bank paid it, sent back: {reference in came_back}"
    claimed = {reference for reference, status in ours.items() if status in (PayoutStatus.SUCCESS, PayoutStatus.RETURNED)}
    assert claimed <= paid.keys(), f"the bank never paid {claimed - paid.keys()}"
    units = sum({"payout.paid": 1, "payout.returned": -1}.get(row["type"], 0) * (row["amount"] or 0) for row in journal)
    lost = Posting.objects.filter(account__code=chart.operating_bank()).aggregate(balance=Sum("amount"))["balance"] or 0
    assert -money.to_minor(Money(lost, "EUR")) == units, f"our bank account has lost {-lost}, and the bank paid {units} cents"
