"""Random baskets over tenders, currencies and partial refunds: not one minor unit may be lost, and the books are the PSP's journal.

Hypothesis draws batches of baskets: sellers, amounts, gift cards, a buyer's wallet, a card that may be declined first, and refunds in parts.
Each is paid and refunded as in real life, a batch at a time; what every party has in the end is compared with what was drawn.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils import timezone
from djmoney.money import Money
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ledger.money import from_minor, to_minor
from payments import confirmation, executor, intake, queries, refunds, tenders
from payments.confirmation import Confirmed
from payments.intake import NewOrder
from payments.models import ChosenTender, PaymentEvent, PaymentOrder
from payments.refunds import NotRefundable
from payments.states import PAYABLE, OrderStatus
from reconciliation import invariants
from tests.factories import basket, stored_value_of
from tests.fixtures_money import Oracle, execute_refunds, session_for
from wallet.models import Seller, Shop, StoredValue

GOOD, DECLINED = "4242424242424242", "4000000000000002"
CURRENCIES = ("EUR", "USD", "JPY", "KWD", "CLF", "ISK", "TND")
SUM_OF_A_TOKEN = 900_000_000  # minor units: more than a batch can ask for
BATCH = 50


@dataclass(frozen=True)
class Drawn:
    """One basket, in minor units: `orders` are (seller's place, amount), `refunds` (order's place, thousandths of what is left, fee policy)."""

    currency: str
    orders: Sequence[tuple[int, int]]
    gift_cards: Sequence[int]
    wallet: int
    is_declined_first: bool
    refunds: Sequence[tuple[int, int, str]]


@dataclass
class Played:
    """A drawn basket and what it became: its payment, and the values that paid a part of it with what was on them."""

    drawn: Drawn
    event: PaymentEvent
    values: Mapping[int, int]


@dataclass
class Score:
    """How many baskets, orders and refunds were played, and how many baskets lost something."""

    baskets: int = 0
    orders: int = 0
    refunds: int = 0
    units_lost: int = 0
    violations: int = 0
    tokens: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def summary(self) -> str:
        figures = ("baskets", "orders", "refunds", "units_lost", "violations")
        return json.dumps({name: getattr(self, name) for name in figures})


UNITS = st.integers(1, 30_000)
DRAWN = st.builds(
    Drawn,
    currency=st.sampled_from(CURRENCIES),
    orders=st.lists(st.tuples(st.integers(0, 2), UNITS), min_size=1, max_size=4),
    gift_cards=st.lists(UNITS, max_size=2),
    wallet=st.one_of(st.just(0), UNITS),
    is_declined_first=st.sampled_from((False, False, False, True)),
    refunds=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 1000), st.sampled_from(("pro_rata", "full", "keep"))), max_size=4),
)


def play(shop: Shop, sellers: Sequence[Seller], oracle: Oracle, *, count: int) -> Score:
    """Play so many baskets in batches; raise AssertionError with hypothesis' own report for a batch in which something is lost."""
    score = Score()

    @hypothesis_settings(
        max_examples=max(1, count // BATCH),
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate],  # no shrinking: a smaller batch would be played on the same books
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(DRAWN, min_size=BATCH, max_size=BATCH))
    def batch(drawn: list[Drawn]) -> None:
        play_batch(shop, sellers, drawn, score)
        broken = [*invariants.violations(), *invariants.differences_from(oracle.rows(), psp="sandbox")]
        score.violations += len(broken)
        assert broken == []

    batch()
    return score


def play_batch(shop: Shop, sellers: Sequence[Seller], drawn: Sequence[Drawn], score: Score) -> None:
    played = [opened(shop, sellers, each, number=score.baskets + number) for number, each in enumerate(drawn)]
    for each in played:
        confirm(each, DECLINED if each.drawn.is_declined_first else GOOD, score)
    execute_all()
    for each in played:
        if each.drawn.is_declined_first:
            confirm(each, GOOD, score)
    execute_all()
    for turn in range(max(len(each.drawn.refunds) for each in played)):
        score.refunds += sum(refund(each, turn) for each in played)
        execute_refunds(now=timezone.now())
    for each in played:
        lost = units_lost(each)
        score.units_lost += abs(lost)
        assert not lost, f"{lost} units of {each.drawn}"
    score.baskets += len(played)
    score.orders += sum(len(each.drawn.orders) for each in played)


def opened(shop: Shop, sellers: Sequence[Seller], drawn: Drawn, *, number: int) -> Played:
    """Open the checkout, and let the buyer choose the gift cards and the wallet."""
    asked = basket(
        sellers,
        buyer_reference=f"buyer-{number}",
        orders=[NewOrder(sellers[place].public_id, from_minor(units, drawn.currency)) for place, units in drawn.orders],
    )
    event, _is_new = intake.open_event(shop, asked, now=timezone.now())
    texts = [str(from_minor(units, drawn.currency).amount) for units in drawn.gift_cards]
    values = {stored_value_of(shop, text, currency=drawn.currency).pk: units for text, units in zip(texts, drawn.gift_cards, strict=True)}
    if drawn.wallet:
        text = str(from_minor(drawn.wallet, drawn.currency).amount)
        values[stored_value_of(shop, text, buyer=event.buyer, currency=drawn.currency).pk] = drawn.wallet
    ChosenTender.objects.bulk_create(ChosenTender(event=event, value_id=value_id) for value_id in values)
    return Played(drawn, event, values)


def confirm(played: Played, card: str, score: Score) -> None:
    """Confirm what is left to pay, with one token of the PSP for the whole batch."""
    event = played.event
    event.refresh_from_db()
    left = [order for order in event.orders.all() if order.status in PAYABLE]
    if not left:
        return
    rest = tenders.plan(event, queries.sum_of(left), now=timezone.now()).rest
    token = token_of(score, rest.currency.code, card) if rest else ""
    confirmation.confirm(event.pk, Confirmed(f"{event.public_id}:{event.confirmations}", token, rest), now=timezone.now())


def token_of(score: Score, currency: str, card: str) -> str:
    """Return a token that any charge of this batch may be made with."""
    name = (currency, card, score.baskets)
    if name not in score.tokens:
        score.tokens[name] = session_for(from_minor(SUM_OF_A_TOKEN, currency), card, nonce=uuid.uuid4().hex).payment_token
    return score.tokens[name]


def execute_all() -> None:
    while executor.execute_due_orders(now=timezone.now()):
        pass


def refund(played: Played, turn: int) -> bool:
    """Ask for the refund that was drawn for this turn; False if there is none, or nothing is left to give back."""
    if turn >= len(played.drawn.refunds):
        return False
    place, thousandths, policy = played.drawn.refunds[turn]
    orders = list(played.event.orders.order_by("id"))
    order = orders[place % len(orders)]
    units = max(1, to_minor(order.left) * thousandths // 1000)
    try:
        amount = from_minor(units, played.drawn.currency)
        refunds.request_refund(order.pk, amount=amount, reason="", now=timezone.now(), fee_policy=policy)
    except NotRefundable:
        return False
    return True


def units_lost(played: Played) -> int:
    """Return what is missing (less than nothing: too much) between what the buyer gave and got back, and what the orders say."""
    orders = list(played.event.orders.all())
    total = sum(units for _place, units in played.drawn.orders)
    assert [order.status for order in orders] == [OrderStatus.SUCCESS] * len(orders)
    assert sum(to_minor(order.tendered) for order in orders) == min(total, sum(played.values.values()))
    values = StoredValue.objects.filter(pk__in=played.values)
    assert not any(value.held for value in values)
    spent = sum(played.values[value.pk] - to_minor(value.balance) for value in values)
    charged = sum(to_minor(order.charge) - to_minor(charged_back(order)) for order in orders)
    return sum(to_minor(order.amount - order.refunded) for order in orders) - spent - charged


def charged_back(order: PaymentOrder) -> Money:
    return sum((refund.charged_back for refund in order.refunds.all()), start=order.amount * 0)
