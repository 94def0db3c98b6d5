"""The cases: each kind is a story of a few steps, one of which a process may not survive; afterwards everything heals.

A client whose server died asks again with the same key; a PSP whose webhook was not acknowledged sends it again; what a worker left lying,
the next one finds when the lease is over.  That is all the mending there is.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Protocol

from django.conf import settings
from django.db import connection
from djmoney.money import Money

from ledger import clock, money
from payments import expiry, intake, settlement
from payments.models import PaymentEvent, PaymentOrder, Refund
from payments.settlement import Failure
from payments.states import OrderStatus, PspOperation
from payouts import calendars
from payouts.calendars import Calendar
from payouts.models import Payout, PayoutSchedule
from payouts.states import Interval, PayoutStatus
from tests.factories import (
    FAILS_AT_ONCE,
    PAID_AT_ONCE,
    PENDING_THEN_PAID,
    PENDING_THEN_REFUSED,
    RETURNED_LATER,
    basket,
    make_available,
    new_bank_account,
    new_sellers,
    new_shop,
)
from tests.programmes.house import House, PaperFile
from tests.programmes.points import Point
from tests.programmes.steps import SWEEPS
from tests.programmes.trap import Killed
from wallet.models import ReleaseTerms, Seller, Shop

VISA, DECLINED = "4242424242424242", "4000000000000002"
PENDING_THEN_SUCCEEDS, PENDING_THEN_FAILS = "4000000000009110", "4000000000009128"
REFUND_PENDING, REFUND_FAILS_LATER, REFUND_REFUSED = "4000000000007726", "4000000000005126", "4000000000009151"
CARDS = (VISA, VISA, VISA, DECLINED, PENDING_THEN_SUCCEEDS, PENDING_THEN_FAILS)
REFUND_CARDS = (*[VISA] * 5, REFUND_PENDING, REFUND_REFUSED, REFUND_FAILS_LATER)
UNKNOWN = ("execute_then_500", "refuse_500", "execute_then_reset", "malformed_json", "cut_body", "html_200", "other_amount", "stored_500")
ACCOUNTS = (PAID_AT_ONCE, PAID_AT_ONCE, PENDING_THEN_PAID, PENDING_THEN_REFUSED, FAILS_AT_ONCE, RETURNED_LATER)
MISHAPS = (*UNKNOWN, "reset_before", "throttle", "in_flight", "other_payment", "duplicate_response")
WAITING = """
WITH mine AS MATERIALIZED (SELECT id, public_id FROM payments_paymentorder WHERE event_id = ANY(%(events)s))
SELECT public_id FROM payments_dueorder JOIN mine ON mine.id = order_id WHERE next_attempt_at IS NOT NULL
UNION ALL
SELECT refund.public_id FROM payments_refund AS refund JOIN mine ON mine.id = order_id
WHERE status = 'EXECUTING' AND next_attempt_at IS NOT NULL
UNION ALL
SELECT mine.public_id FROM payments_cancellation JOIN mine ON mine.id = order_id WHERE status = 'EXECUTING'
UNION ALL
SELECT public_id FROM payouts_payout WHERE seller_id = ANY(%(paid_out)s) AND status = 'EXECUTING' AND next_attempt_at IS NOT NULL
UNION ALL
SELECT mine.public_id FROM payments_duerelease JOIN mine ON mine.id = order_id WHERE %(releases)s AND due_at <= %(now)s
UNION ALL
SELECT mine.public_id FROM payments_reserve JOIN mine ON mine.id = order_id WHERE %(releases)s AND released_at IS NULL AND free_at <= %(now)s
UNION ALL
SELECT session FROM payments_checkoutsession WHERE session = ANY(%(approved)s) AND status NOT IN ('confirmed', 'unused')
UNION ALL
SELECT card.public_id FROM wallet_dueexpiry JOIN wallet_giftcard AS card USING (value_id) WHERE value_id = ANY(%(expiring)s)
UNION ALL
SELECT event_id FROM payments_pspevent WHERE status = 'received'
UNION ALL
SELECT message.public_id FROM wallet_outboxmessage AS message JOIN mine ON mine.public_id = about
WHERE shop_id = %(listener)s
AND NOT EXISTS (SELECT FROM wallet_webhookdelivery AS delivery WHERE message_id = message.id AND delivery.status <> 'pending')
"""
HEALING_S = (65, 65, 130, 700, 4000, 7200, 7200, 7200, 7200, 7200)
MOST_TRIES = 6
A_DAY_S = 24 * 3600 + 60
THREE_DAYS_S = 3 * 24 * 3600 + 60
DAILY = Calendar(Interval.DAILY)


class Processes(Protocol):
    """How a step is taken by a process: in this one (level 1), or in one that is killed (level 2)."""

    def arm(self, point: Point, *, passage: int) -> None:
        """Let a process die when it comes to the point for the n-th time."""

    def disarm(self) -> None:
        """Let every process live again."""

    def run(self, name: str, terms: Mapping[str, Any]) -> int | None:
        """Take the step; raises Killed (trap.py) when the process died of it."""


class Refused(Exception):
    """A client was told no, or was not told yes, by a house that is well."""


@dataclass
class Case:
    """One case of a programme: its number, its own chance, the place where a process dies, and what it has begun."""

    house: House
    processes: Processes
    number: int
    chance: random.Random
    point: Point
    passage: int
    again_at: Point | None = None  # where whoever carries on dies, too
    is_armed: bool = False
    is_faulty: bool = False
    event_ids: list[int] = field(default_factory=list)
    checkout_ids: list[str] = field(default_factory=list)
    deaths: int = 0
    listens: bool = False
    paid_out: list[int] = field(default_factory=list)  # the sellers who are
    payouts_come_back: bool = False
    releases: bool = False
    refunds_fail_later: bool = False
    asks_for_disputes: bool = False
    approved: list[str] = field(default_factory=list)  # the PSP's sessions that the buyer has approved there
    values: dict[int, int] = field(default_factory=dict)  # stored values of the buyer's, and what was on each
    expiring: list[int] = field(default_factory=list)  # those of them whose time is up in the end
    dollars: dict[int, int] = field(default_factory=dict)  # cents that sellers have, and that are to become euros
    wishes: dict[str, str] = field(default_factory=dict)  # Idempotency-Keys, and the amount that each is about
    files: list[PaperFile] = field(default_factory=list)  # that the story has its end in
    month: date | None = None  # that is closed
    booked: Decimal = Decimal(0)  # in that month
    left_to_the_psp: set[str] = field(default_factory=set)  # it did not know their end when we looked last, and may have decided since

    def step(self, name: str, **terms: Any) -> int | None:
        """Let a process take a step; nobody repeats it if it dies of it."""
        if not self.is_armed:
            self.is_armed = True
            self.processes.arm(self.point, passage=self.passage)
        try:
            return self.processes.run(name, terms)
        except Killed:
            self.deaths += 1
            if self.again_at is not None:
                self.processes.arm(self.again_at, passage=1)
                self.again_at = None
            return None

    def before(self, name: str, **terms: Any) -> None:
        """Take a step of what came before the story; nobody dies of it."""
        self.processes.run(name, terms)

    def pay_before(self, event: PaymentEvent, card: str) -> None:
        """Let a buyer pay before the story begins; a case before this one may have left its answer on the line to the PSP."""
        self.before("confirm", **self.card_terms(event, card))
        for _try in range(MOST_TRIES):
            self.before("execute")
            if not event.orders.filter(status=OrderStatus.EXECUTING).exists():
                return
            self.house.advance(65)
        raise Refused(f"case {self.number}: {event.public_id} cannot be paid")

    def insist(self, name: str, **terms: Any) -> None:
        """Take a step as a client does: whoever gets no answer, or one that says later, asks again when a lease is over."""
        for _try in range(MOST_TRIES):
            status = self.step(name, **terms)
            if status is not None and 200 <= status < 300:
                return
            if status is not None and status not in (409, 429) and status < 500:
                break
            self.house.advance(65)
        raise Refused(f"case {self.number}: {name} answers {status}: {terms}")

    def open(self, *, lifetime_s: int | None = None, shop: Shop | None = None, **terms: Any) -> PaymentEvent:
        """Open a checkout of one to three orders, in the house's shop if no other is named; `terms` are those of the basket."""
        sellers = self.house.sellers if shop is None else list(shop.sellers.all())
        asked = basket(sellers, *self.amounts(), checkout_id=self.checkout_id(), **terms)
        moved = timedelta(seconds=lifetime_s - settings.CHECKOUT_LIFETIME_S) if lifetime_s is not None else timedelta()
        event, _is_new = intake.open_event(shop or self.house.shop, asked, now=clock.now() + moved)
        self.event_ids.append(event.pk)
        return event

    def checkout_id(self) -> str:
        name = f"{self.house.shop.pk}-{self.number}-{len(self.checkout_ids)}-{self.chance.getrandbits(32):x}"
        self.checkout_ids.append(name)
        return name

    def amounts(self) -> list[str]:
        return [str(money.from_minor(self.chance.randint(1, 50_000), "EUR").amount) for _order in range(self.chance.randint(1, 3))]

    def card_terms(self, event: PaymentEvent, card: str) -> dict[str, Any]:
        session, token = self.house.means_to_pay(card, event.amount)
        return {
            "event": event.pk,
            "session": session,
            "payment_token": token,
            "amount": str(event.amount.amount),
            "currency": event.amount.currency.code,
        }

    def confirm(self, event: PaymentEvent, card: str) -> None:
        """Let the buyer press the button until the payment has begun."""
        for _press in range(MOST_TRIES):
            self.step("confirm", **self.card_terms(event, card))
            if event.orders.exclude(status=OrderStatus.NOT_STARTED).exists():
                return
        raise Refused(f"case {self.number}: {event.public_id} cannot be confirmed")

    def ask_back(self, order: PaymentOrder, amount: Money) -> None:
        """Let the shop ask for a refund until it stands."""
        standing = Refund.objects.filter(order=order).count()
        for _try in range(MOST_TRIES):
            self.step("request_refund", order=order.pk, amount=str(amount.amount), currency=amount.currency.code)
            if Refund.objects.filter(order=order).count() > standing:
                return
        raise Refused(f"case {self.number}: {order.public_id} cannot be refunded")

    def mishap(self, operation: str, reference: str, *kinds: str) -> None:
        """Let the PSP's next call about this reference go wrong in one of these ways."""
        self.is_faulty = True
        kind = self.chance.choice(kinds)
        self.house.fault(operation, kind, reference)
        self.house.has_stale_answers |= kind == "duplicate_response"

    def orders(self) -> list[PaymentOrder]:
        return list(PaymentOrder.objects.filter(event_id__in=self.event_ids).order_by("id"))

    def refunds(self) -> list[Refund]:
        return list(Refund.objects.filter(order__event_id__in=self.event_ids).order_by("id"))

    def payouts(self) -> list[Payout]:
        return list(Payout.objects.filter(seller__in=self.paid_out).order_by("id"))

    def seller_with(self, units: int, *, account: str) -> Seller:
        """Let a new seller of the house's shop have so many cents available, and a bank account that behaves so."""
        [seller] = new_sellers(self.house.shop, "Emi")
        self.let_have(seller, units, account=account)
        return seller

    def let_have(self, seller: Seller, units: int, *, account: str) -> None:
        """Let the seller have so many cents available, and a bank account that behaves so."""
        new_bank_account(seller, account)
        make_available(seller, money.from_minor(units, "EUR"))
        self.paid_out.append(seller.pk)

    def ask_for_payout(self, seller: Seller, units: int) -> None:
        """Let the shop ask for a payout until it stands."""
        once = f"payout-{seller.public_id}-{len(self.payouts())}"
        for _try in range(MOST_TRIES):
            self.step("request_payout", seller=seller.pk, amount=str(money.from_minor(units, "EUR").amount), currency="EUR", once=once)
            if Payout.objects.filter(seller=seller, once=once).exists():
                return
        raise Refused(f"case {self.number}: {seller.public_id} cannot be paid out")

    def heal(self) -> list[str]:
        """Switch faults off, and let the sweepers run with a clock that jumps, until nothing of this case waits; return what waits still.

        Whoever has not died yet may still do so in a first round of sweeps.
        """
        if self.is_faulty:
            self.house.heal()
        waiting = self.waits_for_us()
        for number, seconds in enumerate(HEALING_S):
            if not waiting and (number or (self.deaths and not self.asks_for_disputes)):
                break
            self.house.advance(seconds)
            for sweep in self.sweeps():
                self.step(sweep)
            waiting = self.waits_for_us()
        if self.refunds_fail_later:
            self.hear_of_failures()
            waiting = self.waits_for_us()
        if self.payouts_come_back:
            self.hear_of_returns()
            waiting = self.waits_for_us()
        return waiting

    def hear_of_returns(self) -> None:
        """Wait until the payouts that the bank paid have come back to it, three days later, and ask it for them."""
        paid = [payout.public_id for payout in self.payouts() if payout.status == PayoutStatus.SUCCESS]
        if paid:
            self.house.advance(THREE_DAYS_S)
            self.house.wait_until(lambda: not any(self.is_paid_at_bank(reference) for reference in paid), what="returned payouts")
        for _worker in ("who may die", "who may die again", "who comes after"):
            self.step("watch_returns")

    def is_paid_at_bank(self, reference: str) -> bool:
        self.house.journal.read_on()
        return self.house.journal.count(reference, "payout") > 0

    def hear_of_failures(self) -> None:
        """Wait until the refunds that the PSP paid back have come back to it, and let it tell us; nothing but its letters does."""
        self.house.journal.read_on()
        for refund in self.refunds():
            if any(row["type"] == "refund.succeeded" for row in self.house.journal.by_reference[refund.public_id]):
                for letter in self.house.letters(refund.public_id, count=2):
                    self.insist("receive", body=letter.decode(), signature=self.house.signed(letter))
        for _worker in ("who may die", "who may die again", "who comes after"):
            self.step("apply_events")

    def sweeps(self) -> list[str]:
        """Name what beat starts, as far as it concerns this case."""
        more = {"deliver": self.listens, "watch_disputes": self.asks_for_disputes, "release": self.releases, "free_reserves": self.releases}
        more |= {"look": bool(self.approved), "expire_gift_cards": bool(self.expiring)}
        return [*SWEEPS, *(name for name, concerns_it in more.items() if concerns_it)]

    def give_up(self, orders: Sequence[PaymentOrder]) -> None:
        """Let a person fail what the machine does not know the end of."""
        for order in orders:
            attempt = order.attempts.filter(operation=PspOperation.CHARGE).latest("number")
            settlement.fail([Failure(order.pk, attempt.pk, attempt.psp_key, "", "given_up", "")])

    def close(self, event: PaymentEvent) -> None:
        """Let the checkout's time be up."""
        expiry.expire_checkouts(now=event.expires_at)

    def waits_for_us(self) -> list[str]:
        """Return what is not done although the PSP knows its end; a dead letter waits for a person, not for us."""
        with connection.cursor() as cursor:
            listener = self.house.listener.shop.pk if self.listens else None
            mine: dict[str, Any] = {"events": self.event_ids, "paid_out": self.paid_out, "listener": listener}
            mine |= {"approved": self.approved, "expiring": self.expiring}
            cursor.execute(WAITING, mine | {"releases": self.releases, "now": clock.now()})
            waiting = [reference for (reference,) in cursor.fetchall()]
        if waiting:
            self.house.journal.read_on()
        self.left_to_the_psp = {reference for reference in waiting if self.house.journal.is_pending(reference)}
        return [reference for reference in waiting if reference not in self.left_to_the_psp]


# --- The stories ------------------------------------------------------------------------------------------------------


def open_by_rest(case: Case) -> None:
    """A shop's back end opens a checkout over REST."""
    house = case.house
    orders = [
        {"seller": seller.public_id, "amount": {"amount": amount, "currency": "EUR"}}
        for seller, amount in zip(house.sellers, case.amounts(), strict=False)
    ]
    body = {"checkout_id": case.checkout_id(), "buyer": {"reference": "rosa"}, "payment_orders": orders}
    case.insist("post", path="/v1/payments", body=body, token=house.token, key=f"key-{body['checkout_id']}")
    [event] = PaymentEvent.objects.filter(shop=house.shop, checkout_id=body["checkout_id"])
    case.event_ids.append(event.pk)


def execute_by_rest(case: Case) -> None:
    """A shop's back end has an order executed over REST, with a token that it has from the PSP."""
    event = case.open()
    for order in event.orders.order_by("id"):
        _session, token = case.house.means_to_pay(case.chance.choice(CARDS), order.amount)
        path, key = f"/v1/orders/{order.public_id}", f"key-{order.public_id}"
        case.insist("post", path=path, body={"payment_token": token}, token=case.house.token, key=key)


def card_for(point: Point, *, otherwise: str) -> str:
    """Return a card with which this point is passed: what takes money needs one that pays, what fails one that is refused."""
    place = point.place.removeprefix("payments.settlement.")
    if place in ("fail", "FAIL"):
        return DECLINED
    if place in ("fail_refund", "reverse_refund"):
        return REFUND_REFUSED if place == "fail_refund" else REFUND_FAILS_LATER
    takes_money = ("settle", "SUCCEED", "CLOSE_EVENTS", "settle_refund", "ledger.journal.post", "wallet.balances.credit")
    return VISA if place in takes_money else otherwise


def pay(case: Case) -> None:
    """A buyer confirms once, and the worker charges each order."""
    event, card = case.open(), card_for(case.point, otherwise=case.chance.choice(CARDS))
    if case.chance.random() < 0.25:
        case.mishap("charge", event.orders.order_by("id")[0].public_id, *MISHAPS)
    case.confirm(event, card)
    case.step("execute")


def webhook(case: Case) -> None:
    """The worker hears nothing of what the PSP did; webhooks tell it, twice and in any order."""
    event, card = case.open(), card_for(case.point, otherwise=case.chance.choice((VISA, VISA, DECLINED)))
    references = [order.public_id for order in event.orders.order_by("id")]
    for reference in references:
        case.mishap("charge", reference, "execute_then_500")
    case.confirm(event, card)
    case.step("execute")
    letters = [letter for reference in references for letter in case.house.letters(reference, count=1)] * 2
    case.chance.shuffle(letters)
    for letter in letters:
        case.insist("receive", body=letter.decode(), signature=case.house.signed(letter))
    case.step("apply_events")


def lookup(case: Case) -> None:
    """The PSP's answer is lost, and it is asked."""
    event, card = case.open(), card_for(case.point, otherwise=case.chance.choice((VISA, VISA, DECLINED, PENDING_THEN_SUCCEEDS)))
    for order in event.orders.order_by("id"):
        case.mishap("charge", order.public_id, *UNKNOWN)
    case.confirm(event, card)
    case.step("execute")
    case.house.advance(10)
    case.step("execute")


def refund(case: Case) -> None:
    """Part or all of a paid order goes back, once or in several parts."""
    event = case.open()
    card = card_for(case.point, otherwise=case.chance.choice(REFUND_CARDS))
    case.refunds_fail_later = card == REFUND_FAILS_LATER
    case.pay_before(event, card)
    order = event.orders.order_by("id")[0]
    left = money.to_minor(order.amount)
    for _part in range(case.chance.randint(1, 2)):
        units = case.chance.randint(1, left)
        left -= units
        case.ask_back(order, money.from_minor(units, "EUR"))
        if not left:
            break
    if case.chance.random() < 0.25:
        case.mishap("refund", case.refunds()[0].public_id, *MISHAPS)
    case.step("execute_refunds")


def account_for(point: Point, *, otherwise: str) -> str:
    """Return a bank account with which this point is passed."""
    place = f"{point.place} {point.within}"
    if "fail_payout" in place:
        return FAILS_AT_ONCE
    if "return" in place:
        return RETURNED_LATER
    if "ring" in place:
        return PENDING_THEN_PAID
    return PAID_AT_ONCE if "settle_payout" in place else otherwise


def payout(case: Case) -> None:
    """A seller is paid out, once or in two parts; the bank pays, refuses, or sends the money back days later."""
    account = account_for(case.point, otherwise=case.chance.choice(ACCOUNTS))
    case.payouts_come_back = account == RETURNED_LATER
    left = case.chance.randint(2, 50_000)
    seller = case.seller_with(left, account=account)
    for part in (case.chance.randint(1, left - 1), case.chance.choice((0, 1))):
        if part:
            case.ask_for_payout(seller, part)
    if "find_payout" in f"{case.point.place} {case.point.within}":
        case.mishap("payout", case.payouts()[0].public_id, *UNKNOWN)
    elif case.chance.random() < 0.25:
        case.mishap("payout", case.payouts()[0].public_id, *MISHAPS)
    case.step("execute_payouts")
    case.house.advance(10)
    if account == PENDING_THEN_PAID and not case.is_faulty:
        hear_of_payouts(case)
    case.step("execute_payouts")


def hear_of_payouts(case: Case) -> None:
    """Let the bank's letters about what it paid by now come in, each twice."""
    case.house.journal.read_on()
    for payout in case.payouts():
        if case.house.journal.by_reference[payout.public_id]:
            for letter in case.house.letters(payout.public_id, count=2) * 2:
                case.insist("hear_of_payout", body=letter.decode(), signature=case.house.signed(letter))


def run(case: Case) -> None:
    """A shop pays out by the day: the run of the day that is over is made once, however often beat fires, and the worker executes it."""
    shop = new_shop()
    PayoutSchedule.objects.create(shop=shop, interval=Interval.DAILY, minimum=money.zero("EUR"), keep_back=money.zero("EUR"))
    sellers = new_sellers(shop, "Ada", "Bolt", "Cleo")
    for seller in sellers:
        case.let_have(seller, case.chance.randint(1, 50_000), account=PAID_AT_ONCE)
    day = calendars.last_over(DAILY, clock.now()).name
    for _try in range(MOST_TRIES):
        case.step("run_payouts", shop=shop.pk, day=day)
        if len(case.payouts()) == len(sellers):
            break
    case.step("run_payouts", shop=shop.pk, day=day)
    if len(case.payouts()) != len(sellers):
        raise Refused(f"case {case.number}: {len(case.payouts())} of {len(sellers)} sellers are paid by the run of {day}")
    for _second in range(2):
        case.step("execute_payouts")
        case.house.advance(10)


def release(case: Case) -> None:
    """Orders are delivered, or their days pass, and what they bring becomes available: a part at once, and a part that is held back later."""
    case.releases = True
    shop = new_shop()
    new_sellers(shop, "Ada", "Bolt", "Cleo")
    ReleaseTerms.objects.create(shop=shop, days_after_payment=1, reserve_basis_points=1000, reserve_days=1)
    event = case.open(shop=shop)
    case.pay_before(event, VISA)
    for order in event.orders.order_by("id"):
        if case.point.place.endswith("deliver") or case.chance.random() < 0.7:
            hand_over(case, order)
    case.step("release")
    for _day in range(2):
        case.house.advance(A_DAY_S)
        case.step("release")
        case.step("free_reserves")


def hand_over(case: Case, order: PaymentOrder) -> None:
    """Let the shop say that it was delivered until that stands."""
    for _try in range(MOST_TRIES):
        case.step("hand_over", order=order.pk)
        if PaymentOrder.objects.filter(pk=order.pk, delivered_at__isnull=False).exists():
            return
    raise Refused(f"case {case.number}: {order.public_id} cannot be delivered")


def cancel(case: Case) -> None:
    """A shop calls orders off before, while and after they are charged."""
    event, mishap = case.open(), case.chance.choice(("refuse_500", "execute_then_500", ""))
    orders = list(event.orders.order_by("id"))
    if mishap:
        for order in orders:
            case.mishap("charge", order.public_id, mishap)
    case.before("confirm", **case.card_terms(event, case.chance.choice((VISA, VISA, PENDING_THEN_SUCCEEDS, DECLINED))))
    if mishap or (case.chance.random() < 0.5 and case.point.place.endswith(".cancel")):
        case.before("execute")
    for order in orders:
        for _try in range(MOST_TRIES):
            case.step("cancel", order=order.pk, once=f"cancel-{order.public_id}")
            if order.cancellations.exists():
                break
    case.step("execute")
    case.step("execute_refunds")
    case.step("follow")


def late(case: Case) -> None:
    """The PSP says that it refused, or we gave up, and then it took the money after all."""
    event = case.open()
    orders = list(event.orders.order_by("id"))
    for order in orders:
        case.mishap("charge", order.public_id, "execute_then_500")
    case.before("confirm", **case.card_terms(event, VISA))
    case.before("execute")
    case.give_up(orders)
    if case.point.place.endswith("receive"):
        case.close(event)
    for order in orders:
        for letter in case.house.letters(order.public_id, count=1):
            case.insist("receive", body=letter.decode(), signature=case.house.signed(letter))
    case.step("apply_events")


def dispute(case: Case) -> None:
    """Banks take money back, and decide; a webhook tells it, or nobody does and we ask."""
    event = case.open()
    case.pay_before(event, VISA)
    order = event.orders.order_by("id")[0]
    case.house.letters(order.public_id, count=1)
    amount = case.chance.randint(1, money.to_minor(order.amount))
    house, opened = case.house, "opened" in case.point.place or case.chance.random() < 0.7
    said = house.sandbox.client.post("/v1/disputes", json={"reference": order.public_id, "amount": amount})
    dispute_id = said.raise_for_status().json()["id"]
    letters = house.letters(order.public_id, count=1) if opened else []
    outcome = case.chance.choice(("won", "lost", "partial" if amount > 1 else "lost"))
    terms = {"outcome": outcome} | ({"lost_amount": case.chance.randint(1, amount - 1)} if outcome == "partial" else {})
    house.sandbox.client.post(f"/v1/disputes/{dispute_id}/close", json=terms).raise_for_status()
    letters += house.letters(order.public_id, count=1 if opened else 2)
    case.chance.shuffle(letters)
    if "since" not in case.point.place:
        for letter in letters:
            case.insist("receive", body=letter.decode(), signature=house.signed(letter))
        case.step("apply_events")
    case.step("watch_disputes")
    case.asks_for_disputes = True


def outgoing(case: Case) -> None:
    """A shop's server is told by webhook, whoever dies while telling it."""
    case.listens = True
    event = case.open(shop=case.house.listener.shop)
    case.before("confirm", **case.card_terms(event, VISA))
    case.step("execute")
    case.step("deliver")


def expire(case: Case) -> None:
    """A checkout is left open until its time is up, with nothing tried or a card declined."""
    event = case.open(lifetime_s=60)
    if case.chance.random() < 0.5:
        case.confirm(event, DECLINED)
        case.step("execute")
    case.house.advance(70)
    case.step("expire")


FLOWS: Mapping[str, Callable[[Case], None]] = {
    "open": open_by_rest,
    "execute": execute_by_rest,
    "pay": pay,
    "webhook": webhook,
    "lookup": lookup,
    "refund": refund,
    "payout": payout,
    "run": run,
    "release": release,
    "expire": expire,
    "cancel": cancel,
    "late": late,
    "dispute": dispute,
    "outgoing": outgoing,
}
