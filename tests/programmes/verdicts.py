"""The verdict on a case, and on the whole house: the PSP's journal against our rows, and every invariant.

Lost: the PSP took (or gave back) money of which we know nothing, or we claim what it never did.  Doubled: it took (or gave back) more than
once what was owed once.  Stuck: something waits for ever, with no dead letter that says so.  Books that break an invariant count as lost.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from payments.models import DeadLetter, LateCharge, PaymentOrder, Refund
from payments.states import OrderStatus, RefundStatus
from payouts.models import Payout
from payouts.states import PayoutStatus
from reconciliation import invariants
from tests.programmes.flows import Case
from tests.programmes.house import House
from wallet.models import OutboxMessage

KINDS = ("lost", "doubled", "stuck")


@dataclass
class Verdicts:
    """What was found, as sentences, by kind."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def add(self, other: "Verdicts") -> None:
        for kind in KINDS:
            getattr(self, kind).extend(getattr(other, kind))

    def sentences(self) -> list[str]:
        return [f"{kind}: {sentence}" for kind in KINDS for sentence in getattr(self, kind)]

    def count(self) -> str:
        return " ".join(f"{kind} {len(getattr(self, kind))}" for kind in KINDS)

    @property
    def are_clean(self) -> bool:
        return not self.sentences()


def on_case(case: Case) -> Verdicts:
    """Compare what the PSP did for this case with what we know of it."""
    verdicts = Verdicts()
    journal = case.house.journal
    journal.read_on()
    orders, refunds = case.orders(), case.refunds()
    known_dead = set(DeadLetter.objects.filter(order__in=orders, decided_at=None).values_list("order_id", flat=True))
    voids = [refund for refund in refunds if refund.status == RefundStatus.SUCCESS and refund.psp_reference == refund.charge]
    came_late = LateCharge.objects.filter(order__in=orders).exclude(refunds__in=voids)
    late = Counter(came_late.values_list("order_id", flat=True))
    voided = {refund.order_id for refund in voids if refund.late_charge_id is None}  # what the PSP took and undid: as if never taken
    for order in orders:
        kept = journal.count(order.public_id, "charge") - late[order.pk]
        is_kept = order.status == OrderStatus.SUCCESS and order.pk not in voided and bool(order.charge)
        compare(verdicts, order.public_id, order.status, kept, expected=int(is_kept))
        if order.status == OrderStatus.EXECUTING and order.pk not in known_dead and order.public_id not in case.left_to_the_psp:
            verdicts.stuck.append(f"{order.public_id} is still EXECUTING")
    for refund in refunds:
        given = journal.count(refund.public_id, "refund")
        if refund.status == RefundStatus.EXECUTING:
            if refund.order_id not in known_dead and refund.public_id not in case.left_to_the_psp:
                verdicts.stuck.append(f"{refund.public_id} is still EXECUTING")
        elif refund not in voids:
            is_given = refund.status == RefundStatus.SUCCESS and bool(refund.charged_back)
            compare(verdicts, refund.public_id, refund.status, given, expected=int(is_given))
    for payout in case.payouts():
        if payout.status != PayoutStatus.EXECUTING:
            done = journal.count(payout.public_id, "payout")
            compare(verdicts, payout.public_id, payout.status, done, expected=int(payout.status == PayoutStatus.SUCCESS))
        elif payout.next_attempt_at is not None and payout.public_id not in case.left_to_the_psp:
            verdicts.stuck.append(f"{payout.public_id} is still EXECUTING")
    if case.releases:
        verdicts.lost += unreleased(orders)
    if case.listens:
        verdicts.lost += unheard(case, orders)
    return verdicts


def unreleased(orders: Sequence[PaymentOrder]) -> list[str]:
    """Return the paid orders whose time has come, and which are not released; INV-05 and INV-08 say that each release is booked once."""
    return [f"{order.public_id} was not released" for order in orders if order.status == OrderStatus.SUCCESS and order.released_at is None]


def unheard(case: Case, orders: Sequence[PaymentOrder]) -> list[str]:
    """Return the messages that the shop's server never heard."""
    messages = OutboxMessage.objects.filter(shop=case.house.listener.shop, about__in=[order.public_id for order in orders])
    return [
        f"{message.public_id} ({message.topic}) was never heard"
        for message in messages
        if not case.house.listener.has_heard(message.public_id)
    ]


def compare(verdicts: Verdicts, reference: str, status: str, done: int, *, expected: int) -> None:
    if done > max(expected, 1):
        verdicts.doubled.append(f"{reference} is {status}, and the PSP did it {done} times")
    elif done != expected:
        verdicts.lost.append(f"{reference} is {status}, and the PSP did it {done} times")


def on_house(house: House) -> Verdicts:
    """Check every invariant, and the whole journal against the whole books."""
    house.journal.read_on()
    broken = [*invariants.violations(), *invariants.differences_from(house.journal.rows, psp="sandbox")]
    verdicts = Verdicts(lost=[str(violation) for violation in broken])
    hanging = PaymentOrder.objects.filter(status=OrderStatus.EXECUTING).exclude(dead_letters__decided_at=None, dead_letters__isnull=False)
    verdicts.stuck += [f"{order.public_id} is still EXECUTING" for order in hanging[:10]]
    refunding = Refund.objects.filter(status=RefundStatus.EXECUTING).exclude(dead_letters__decided_at=None, dead_letters__isnull=False)
    verdicts.stuck += [f"{refund.public_id} is still EXECUTING" for refund in refunding[:10]]
    paying = Payout.objects.filter(status=PayoutStatus.EXECUTING, next_attempt_at__isnull=False)
    verdicts.stuck += [f"{payout.public_id} is still EXECUTING" for payout in paying[:10]]
    return verdicts
