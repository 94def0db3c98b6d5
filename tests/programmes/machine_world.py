"""The world that the state machine plays in: the sandbox PSP with its journal and its letters, both clocks, and one shop with three sellers."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

from django.test import Client
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from ledger import clock
from ledger.errors import DomainError
from payments.models import PaymentEvent, PaymentOrder
from payouts.models import PayoutSchedule
from payouts.states import Interval
from tests.factories import (
    FAILS_AT_ONCE,
    PAID_AT_ONCE,
    PENDING_THEN_PAID,
    PENDING_THEN_REFUSED,
    RETURNED_LATER,
    eur,
    new_bank_account,
    new_sellers,
    new_shop,
)
from tests.fixtures_money import Oracle
from tests.fixtures_services import SandboxCompany
from wallet.models import ReleaseTerms, Seller, Shop

ACCOUNTS = (RETURNED_LATER, PAID_AT_ONCE, PENDING_THEN_PAID, PENDING_THEN_REFUSED, FAILS_AT_ONCE)
APPROVAL_LIMIT = eur("200.00")  # half of what is earned at once, most of the time

Answer = TypeVar("Answer")


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
    told: set[str] = field(default_factory=set)  # refunds of whose failure a webhook is here: nothing else tells of it
    fickle: set[int] = field(default_factory=set)  # events whose card lets refunds succeed and then fail

    def advance(self, seconds: int) -> None:
        """Move both clocks on; the PSP's first, so that it is never behind."""
        self.offset_s += seconds
        self.sandbox.client.put("/v1/clock", json={"offset_s": self.offset_s}).raise_for_status()
        self.clock_file.write_text(str(self.offset_s))

    def fault(self, operation: str, kind: str, **terms: object) -> None:
        """Let the PSP's next calls of this operation go wrong, if it is one that can go wrong so."""
        self.sandbox.client.put("/v1/faults", json={"operation": operation, "kind": kind, **terms})

    def collect(self) -> None:
        """Take the webhooks that the PSP sent since the last look; none of them has reached us."""
        arrived = self.sandbox.letterbox.deliveries[self.delivered :]
        self.delivered += len(arrived)
        self.undelivered += [body for _headers, body in arrived]
        self.told |= {json.loads(body)["data"]["object"]["id"] for _headers, body in arrived if is_told_by_letter_alone(body)}

    def deliver(self, body: bytes, *, secret: str = "") -> int:
        """Bring one webhook to its door, pay-in's or pay-out's, signed now, as a PSP signs each try anew."""
        moment = int(clock.now().timestamp())
        signed = hmac.new((secret or self.sandbox.webhook_secret).encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
        headers = {"Sandbox-Signature": f"t={moment},v1={signed}"}
        door = "payouts" if json.loads(body)["type"].startswith("payout.") else "psp"
        return Client().post(f"/webhooks/{door}/sandbox", body, content_type="application/json", headers=headers).status_code


def is_told_by_letter_alone(body: bytes) -> bool:
    """Is it a webhook about what no look-up would find out any more: a refund that had succeeded, and failed?"""
    return bool(json.loads(body)["type"] == "refund.failed")


class Story(RuleBasedStateMachine):
    """One shop with three sellers, which pays out each day; what the rules do to it is said by pay-in and pay-out."""

    world: ClassVar[World]
    shop: Shop
    sellers: list[Seller]
    events: list[PaymentEvent]

    @initialize(accounts=st.tuples(*[st.sampled_from(ACCOUNTS)] * 3))
    def open_shop(self, accounts: tuple[str, str, str]) -> None:
        self.world.examples += 1
        self.world.sandbox.clear_faults()
        self.shop = new_shop()
        ReleaseTerms.objects.create(shop=self.shop, days_after_payment=2, reserve_basis_points=1500, reserve_days=1)
        agreed = {"minimum": eur("1.00"), "keep_back": eur("0.50"), "approval_limit": APPROVAL_LIMIT.amount}
        PayoutSchedule.objects.create(shop=self.shop, interval=Interval.DAILY, **agreed)
        self.sellers = new_sellers(self.shop, "Ada", "Bolt", "Cleo")
        for seller, account in zip(self.sellers, accounts, strict=True):
            new_bank_account(seller, account)
        self.events = []

    def pick(self, which: int) -> PaymentEvent | None:
        return self.events[which % len(self.events)] if self.events else None

    def order(self, which: int, seller: int) -> PaymentOrder | None:
        event = self.pick(which)
        orders = list(event.orders.order_by("id")) if event else []
        return orders[seller % len(orders)] if orders else None

    def ask(self, wish: Callable[[], Answer]) -> Answer | None:
        """Do what the rule says, or be told why not: a refusal is an answer, anything else is a failure."""
        try:
            return wish()
        except DomainError as error:
            note(f"refused: {error.code}")
            return None
