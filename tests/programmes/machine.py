"""The whole pay-in as a state machine: hypothesis draws what happens, the sandbox PSP is the oracle.

Buyers open, confirm, click twice and give cards that misbehave; workers run, die with a claim in their hands, or stand still; webhooks
come late, twice, shuffled, forged or never; shops deliver, refund and cancel, banks dispute; the clocks of both sides jump.  At the end of every
example everything heals, the sweepers run until they find nothing, and then every invariant holds, our books are the PSP's journal, and
nothing hangs.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.test import Client
from djmoney.money import Money
from hypothesis import HealthCheck, Phase, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger import clock, money
from ledger.errors import DomainError
from payments import (
    cancellations,
    claims,
    confirmation,
    dispute_watch,
    executor,
    expiry,
    inbox,
    intake,
    queries,
    refund_executor,
    refunds,
    releases,
)
from payments.models import Cancellation, DeadLetter, DueOrder, PaymentEvent, PaymentOrder, PspEvent, Refund
from payments.states import PAYABLE, CancellationStatus, OrderStatus, RefundStatus
from reconciliation import invariants
from tests.factories import basket, new_sellers, new_shop
from tests.fixtures_money import Oracle, card_given
from tests.fixtures_services import SandboxCompany
from wallet.models import ReleaseTerms

FICKLE = "4000000000005126"  # its refunds succeed and then fail
CARDS = (
    "4242424242424242",  # it works
    "4242424242424242",
    "4000000000000002",  # declined
    "4000000000009110",  # pending, then succeeds
    "4000000000009128",  # pending, then fails
    "4000000000007726",  # its refunds are pending first
    FICKLE,
    "4000000000009037",  # charged, and then HTTP 500
    "4000000000009045",  # not charged, and HTTP 500
)
CALL_FAULTS = (
    "execute_then_500",
    "refuse_500",
    "execute_then_reset",
    "reset_before",
    "throttle",
    "in_flight",
    "malformed_json",
    "html_200",
    "other_amount",
    "other_payment",
    "stored_500",
    "status_lags",
)
QUIET_ROUNDS = 60
DEADLINE_S = 20


@dataclass
class World:
    """What one run of the machine works with; shared by all of its examples."""

    sandbox: SandboxCompany
    oracle: Oracle
    clock_file: Path
    offset_s: int = 0
    delivered: int = 0
    steps: int = 0
    examples: int = 0
    undelivered: list[bytes] = field(default_factory=list)
    fickle: set[int] = field(default_factory=set)  # events whose card lets refunds succeed and then fail

    def advance(self, seconds: int) -> None:
        """Move both clocks on; the PSP's first, so that it is never behind."""
        self.offset_s += seconds
        self.sandbox.client.put("/v1/clock", json={"offset_s": self.offset_s}).raise_for_status()
        self.clock_file.write_text(str(self.offset_s))

    def collect(self) -> None:
        """Take the webhooks that the PSP sent since the last look; none of them has reached us."""
        arrived = self.sandbox.letterbox.deliveries[self.delivered :]
        self.delivered += len(arrived)
        self.undelivered += [body for _headers, body in arrived]

    def deliver(self, body: bytes, *, secret: str = "") -> int:
        """Bring one webhook to our door, signed now, as a PSP signs each try anew."""
        moment = int(clock.now().timestamp())
        signed = hmac.new((secret or self.sandbox.webhook_secret).encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
        headers = {"Sandbox-Signature": f"t={moment},v1={signed}"}
        return Client().post("/webhooks/psp/sandbox", body, content_type="application/json", headers=headers).status_code


def machine_in(world: World) -> type[RuleBasedStateMachine]:
    """Return the state machine that plays in this world."""

    class PayIn(RuleBasedStateMachine):
        """One shop with three sellers; whatever the rules do to it."""

        @initialize()
        def open_shop(self) -> None:
            world.examples += 1
            world.sandbox.clear_faults()
            self.shop = new_shop()
            ReleaseTerms.objects.create(shop=self.shop, reserve_basis_points=1500, reserve_days=1)
            self.sellers = new_sellers(self.shop, "Ada", "Bolt", "Cleo")
            self.events: list[PaymentEvent] = []

        @rule(units=st.lists(st.integers(1, 50_000), min_size=1, max_size=3))
        def open_checkout(self, units: list[int]) -> None:
            amounts = [str(money.from_minor(count, "EUR").amount) for count in units]
            event, _is_new = intake.open_event(self.shop, basket(self.sellers, *amounts), now=clock.now())
            self.events.append(event)

        @rule(which=st.integers(0, 9), card=st.sampled_from(CARDS), clicks=st.integers(1, 2))
        def confirm(self, which: int, card: str, clicks: int) -> None:
            event = self.pick(which)
            if event is not None and event.orders.filter(status__in=PAYABLE).exists():
                given = card_given(event, card, tab=f":{world.steps}")
                if card == FICKLE:
                    world.fickle.add(event.pk)
                for _click in range(clicks):
                    self.ask(lambda: confirmation.confirm(event.pk, given, now=clock.now()))

        @rule(card=st.sampled_from(CARDS), units=st.lists(st.integers(1, 50_000), min_size=1, max_size=3))
        def buy(self, card: str, units: list[int]) -> None:
            """Open, confirm and work: what happens most."""
            self.open_checkout(units)
            self.confirm(len(self.events) - 1, card, 1)
            self.work(1)

        @rule(times=st.integers(1, 3))
        def work(self, times: int) -> None:
            for _round in range(times):
                sweep_once()

        @rule()
        def die_with_a_claim(self) -> None:
            claims.claim_due(now=clock.now(), limit=100)

        @rule(which=st.integers(0, 10**6), copies=st.integers(0, 3))
        def webhook(self, which: int, copies: int) -> None:
            """Deliver one of those on their way, in any order; no copy: it is lost."""
            world.collect()
            if world.undelivered:
                body = world.undelivered.pop(which % len(world.undelivered))
                for _copy in range(copies):
                    assert world.deliver(body) == 200

        @rule(which=st.integers(0, 10**6))
        def forged_webhook(self, which: int) -> None:
            if world.undelivered:
                body = world.undelivered[which % len(world.undelivered)]
                assert world.deliver(body, secret="not-the-secret-of-the-psp") == 400

        @rule(kind=st.sampled_from(CALL_FAULTS), operation=st.sampled_from(("charge", "charge", "refund", "find")), times=st.integers(1, 3))
        def fault(self, kind: str, operation: str, times: int) -> None:
            if kind == "status_lags" and operation != "find":
                return
            world.sandbox.client.put("/v1/faults", json={"operation": operation, "kind": kind, "times": times})

        @rule(which=st.integers(0, 9), seller=st.integers(0, 2), share=st.integers(1, 100))
        def refund(self, which: int, seller: int, share: int) -> None:
            order = self.order(which, seller)
            if order is not None:
                units = max(1, money.to_minor(order.amount) * share // 100)
                asked = money.from_minor(units, "EUR")
                self.ask(lambda: refunds.request_refund(order.pk, amount=asked, reason="", now=clock.now()))

        @rule(which=st.integers(0, 9), seller=st.integers(0, 2))
        def deliver(self, which: int, seller: int) -> None:
            order = self.order(which, seller)
            if order is not None:
                now = clock.now()
                self.ask(lambda: releases.deliver(order.pk, at=now, actor="api:test", now=now))

        @rule(which=st.integers(0, 9), seller=st.integers(0, 2))
        def cancel(self, which: int, seller: int) -> None:
            order = self.order(which, seller)
            if order is not None:
                self.ask(lambda: cancellations.cancel_order(order.pk, reason="", once="", requested_by="api:test", now=clock.now()))

        @rule(which=st.integers(0, 9), seller=st.integers(0, 2), share=st.integers(1, 100))
        def dispute(self, which: int, seller: int, share: int) -> None:
            order = self.order(which, seller)
            if order is not None:
                units = max(1, money.to_minor(order.amount) * share // 100)
                world.sandbox.client.post("/v1/disputes", json={"reference": order.public_id, "amount": units})

        @rule(outcome=st.sampled_from(("won", "lost", "partial")))
        def decide_disputes(self, outcome: str) -> None:
            decide_open_disputes(world, outcome)

        @rule(seconds=st.sampled_from((3, 40, 700, 2 * 3600, 26 * 3600)))
        def time_passes(self, seconds: int) -> None:
            world.advance(seconds)

        @invariant()
        def books_hold(self) -> None:
            world.steps += 1
            if world.steps % 10 == 0:
                assert invariants.violations() == []

        def teardown(self) -> None:
            heal_and_sweep(world)
            assert_all_is_well(world)

        def pick(self, which: int) -> PaymentEvent | None:
            return self.events[which % len(self.events)] if self.events else None

        def order(self, which: int, seller: int) -> PaymentOrder | None:
            event = self.pick(which)
            orders = list(event.orders.order_by("id")) if event else []
            return orders[seller % len(orders)] if orders else None

        def ask(self, wish: Callable[[], object]) -> None:
            """Do what the rule says, or be told why not: a refusal is an answer, anything else is a failure."""
            try:
                wish()
            except DomainError as error:
                note(f"refused: {error.code}")

    return PayIn


def sweep_once() -> int:
    """Do what the workers do, once; return how much there was to do."""
    now = clock.now()
    return (
        inbox.apply_received(now=now)
        + executor.execute_due_orders(now=now)
        + refund_executor.execute_due_refunds(now=now)
        + expiry.expire_checkouts(now=now)
        + cancellations.follow(now=now)
        + releases.release_due(now=now)
        + releases.free_due_reserves(now=now)
    )


def decide_open_disputes(world: World, outcome: str) -> None:
    """Let the banks decide what is open; a part is a half, rounded up to a unit."""
    listed = world.sandbox.client.get("/v1/disputes", params={"limit": 1000}).json()["data"]
    for each in listed:
        if each["status"] == "open":
            terms: dict[str, Any] = {"outcome": outcome}
            if outcome == "partial":
                if each["amount"] < 2:
                    continue
                terms["lost_amount"] = each["amount"] // 2
            world.sandbox.client.post(f"/v1/disputes/{each['id']}/close", json=terms)


def heal_and_sweep(world: World) -> None:
    """Switch every fault off, let the PSP finish what it holds, deliver what is on its way, and sweep until nothing is due."""
    world.sandbox.clear_faults()
    world.advance(60)
    for _round in range(QUIET_ROUNDS):
        wait_for_the_psp(world)
        world.collect()
        while world.undelivered:
            assert world.deliver(world.undelivered.pop()) == 200
        for _sweep in range(50):
            if not sweep_once():
                break
        dispute_watch.watch(now=clock.now())
        if is_quiet():
            return
        world.advance(2 * 3600)
    note(f"not quiet after {QUIET_ROUNDS} rounds")


def wait_for_the_psp(world: World) -> None:
    """Wait until the PSP has said its last word on everything: what is pending ripens within half a second once its time has come."""
    until = time.monotonic() + DEADLINE_S
    while waited_for := unripe(world):
        assert time.monotonic() < until, f"the PSP leaves unripe: {waited_for}"
        time.sleep(0.05)


def unripe(world: World) -> set[str]:
    """Return the charges and refunds whose last word is pending, and the refunds that succeeded and are going to fail."""
    last = {row["object_id"]: row for row in world.oracle.rows() if row["type"].partition(".")[0] in ("charge", "refund")}
    given_back = {row["reference"] for row in last.values() if row["type"] == "refund.succeeded"}
    fickle = set(Refund.objects.filter(public_id__in=given_back, order__event__in=world.fickle).values_list("public_id", flat=True))
    return {each for each, row in last.items() if row["type"].endswith(".pending") or row["reference"] in fickle}


def is_quiet() -> bool:
    return not (
        DueOrder.objects.filter(next_attempt_at__isnull=False).exists()
        or Refund.objects.filter(status=RefundStatus.EXECUTING, next_attempt_at__isnull=False).exists()
        or PspEvent.objects.filter(Q(status=PspEvent.Status.RECEIVED) | Q(next_attempt_at__isnull=False)).exists()
    )


def assert_all_is_well(world: World) -> None:
    """Every invariant, every cent against the PSP's own journal, and nothing that hangs without a person knowing."""
    assert invariants.violations() == []
    journal = world.oracle.rows()
    assert invariants.differences_from(journal, psp="sandbox") == []
    assert invariants.receivable_differs_from(journal, psp="sandbox") == []
    for order in PaymentOrder.objects.filter(status=OrderStatus.SUCCESS, released_at=None):
        pending = max(queries.earned(order), money.zero("EUR"))
        assert order.unreleased == pending, f"{order.unreleased} of {order.public_id} are pending, and it brings {pending}"
    known_dead = set(DeadLetter.objects.filter(decided_at__isnull=True).values_list("order_id", flat=True))
    hanging = [
        *PaymentOrder.objects.filter(status=OrderStatus.EXECUTING).exclude(pk__in=known_dead).values("public_id", "due__next_attempt_at"),
        *Refund.objects.filter(status=RefundStatus.EXECUTING).exclude(order__in=known_dead).values("public_id", "next_attempt_at", "cause"),
        *Cancellation.objects.filter(status=CancellationStatus.EXECUTING)
        .exclude(order__in=known_dead)
        .values("public_id", "order__status", "refund__status"),
    ]
    assert not hanging, f"hanging, and no dead letter says so: {hanging}"
    for reference, charged in charged_by_order(journal).items():
        order = PaymentOrder.objects.get(public_id=reference)
        kept = charged - sum((late.amount for late in order.late_charges.all()), start=money.zero("EUR"))
        expected = order.amount if order.status == OrderStatus.SUCCESS else money.zero("EUR")
        assert kept == expected, f"{reference} is {order.status}: {charged} were charged and {kept} kept"


def charged_by_order(journal: list[dict[str, Any]]) -> dict[str, Money]:
    """Return what the PSP says it took for each of our orders, less what it voided: the model, in plain integers, made of its journal alone."""
    units: dict[str, int] = {}
    for row in journal:
        sign = {"charge.succeeded": 1, "charge.voided": -1}.get(row["type"], 0)
        if sign:
            units[row["reference"]] = units.get(row["reference"], 0) + sign * (row["amount"] or 0)
    return {reference: money.from_minor(count, "EUR") for reference, count in units.items()}


def play(world: World, *, examples: int, steps: int) -> None:
    """Run the machine; raise with hypothesis' own report, which names the steps, for the shortest example that fails."""
    kept, settings.TEST_CLOCK_FILE = settings.TEST_CLOCK_FILE, str(world.clock_file)
    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine_in(world),
            settings=hypothesis_settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                print_blob=True,
                phases=[Phase.explicit, Phase.generate],  # no shrinking: each step is real, and the story is short
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        settings.TEST_CLOCK_FILE = kept
        world.sandbox.client.delete("/v1/clock").raise_for_status()


def world_of(sandbox: SandboxCompany, oracle: Oracle, directory: Path) -> World:
    """Return a world at the machine's own time."""
    world = World(sandbox, oracle, directory / "clock")
    world.advance(0)
    return world


def summary(world: World, *, violations: int) -> str:
    return json.dumps({"examples": world.examples, "steps": world.steps, "violations": violations})
