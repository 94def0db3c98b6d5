"""Pay-in as rules of the state machine: buyers open, confirm, click twice and give cards that misbehave, shops deliver, refund and cancel,
banks dispute, and webhooks come late, twice, shuffled, forged or never.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ledger import clock, money
from payments import cancellations, claims, confirmation, intake, queries, refunds, releases, tenders
from payments.confirmation import Confirmed
from payments.intake import NewOrder
from payments.models import ChosenTender, PaymentEvent
from payments.states import PAYABLE
from tests.factories import basket, stored_value_of
from tests.fixtures_money import card_given
from tests.programmes.machine_end import sweep_once
from tests.programmes.machine_world import Story, World, is_told_by_letter_alone
from wallet.buyer_wallets import TopUp
from wallet.models import Seller

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


class PayIn(Story):
    """What buyers, their banks, the shop and the PSP do."""

    @rule(units=st.lists(st.integers(1, 50_000), min_size=1, max_size=3))
    def open_checkout(self, units: list[int]) -> None:
        self.open(self.sellers, units)

    @rule(which=st.integers(0, 9), card=st.sampled_from(CARDS), clicks=st.integers(1, 2))
    def confirm(self, which: int, card: str, clicks: int) -> None:
        event = self.pick(which)
        if event is not None and event.orders.filter(status__in=PAYABLE).exists():
            given = value_alone(event) or card_given(event, card, tab=f":{self.world.steps}")
            if card == FICKLE:
                self.world.fickle.add(event.pk)
            for _click in range(clicks):
                self.ask(lambda: confirmation.confirm(event.pk, given, now=clock.now()))

    @rule(units=st.integers(1, 60_000), card=st.sampled_from(CARDS))
    def top_up(self, units: int, card: str) -> None:
        """Let the buyer of all baskets pay into the wallet."""
        order = NewOrder("", money.from_minor(units, "EUR"), fills=TopUp("EUR"))
        event, _is_new = intake.open_event(self.shop, basket(self.sellers, orders=[order]), now=clock.now())
        self.events.append(event)
        self.confirm(len(self.events) - 1, card, 1)

    @rule(which=st.integers(0, 9), units=st.integers(1, 60_000), is_wallet=st.booleans())
    def choose_stored_value(self, which: int, units: int, is_wallet: bool) -> None:
        """Let the buyer choose a gift card, or what is in the wallet and so much more, to pay with as far as it goes."""
        event = self.pick(which)
        if event is not None and not event.orders.filter(fills__isnull=False).exists():
            text = str(money.from_minor(units, "EUR").amount)
            value = stored_value_of(self.shop, text, buyer=event.buyer if is_wallet else None)
            ChosenTender.objects.get_or_create(event=event, value=value)

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
        """Deliver one of those on their way, in any order; no copy: it is lost, or late if nothing else tells of it."""
        self.world.collect()
        if self.world.undelivered:
            body = self.world.undelivered.pop(which % len(self.world.undelivered))
            for _copy in range(copies):
                assert self.world.deliver(body) == 200
            if not copies and is_told_by_letter_alone(body):
                self.world.undelivered.append(body)

    @rule(which=st.integers(0, 10**6))
    def forged_webhook(self, which: int) -> None:
        if self.world.undelivered:
            body = self.world.undelivered[which % len(self.world.undelivered)]
            assert self.world.deliver(body, secret="not-the-secret-of-the-psp") == 400

    @rule(which=st.integers(0, 9), seller=st.integers(0, 2), share=st.integers(1, 100))
    def refund(self, which: int, seller: int, share: int) -> None:
        """Give a part back; what was paid out to the seller by then is owed by the seller."""
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
            self.world.sandbox.client.post("/v1/disputes", json={"reference": order.public_id, "amount": units})

    @rule(outcome=st.sampled_from(("won", "lost", "partial")))
    def decide_disputes(self, outcome: str) -> None:
        decide_open_disputes(self.world, outcome)

    def open(self, sellers: Sequence[Seller], units: Sequence[int]) -> None:
        amounts = [str(money.from_minor(count, "EUR").amount) for count in units]
        event, _is_new = intake.open_event(self.shop, basket(sellers, *amounts), now=clock.now())
        self.events.append(event)


def value_alone(event: PaymentEvent) -> Confirmed | None:
    """Return the wish to pay with stored value, if that pays all that is left; no PSP has a part in it."""
    event.refresh_from_db()
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    rest = tenders.plan(event, queries.sum_of(payable), now=clock.now()).rest
    return None if rest else Confirmed(f"stored:{event.public_id}:{event.confirmations + 1}", "", rest)


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
