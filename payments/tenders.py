"""Tenders: what of a checkout is paid with gift cards and the buyer's wallet, before the PSP is charged for the rest.

What the buyer chose is planned when the checkout is confirmed: gift cards first, the oldest choice first, then the wallet, each as far as it
goes.  It is held on each order (HELD), taken by the transaction that settles the order (TAKEN), and let go by the one that ends it
otherwise (RELEASED): a gift card is whole again when the card is declined.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from djmoney.money import Money

from ledger import chart
from ledger.money import from_minor, split, to_minor
from ledger.statements import execute
from payments.models import ChosenTender, PaymentEvent, PaymentOrder, Tender
from wallet import stored_value
from wallet.models import StoredValue, StoredValueEntry


@dataclass(frozen=True, slots=True)
class Plan:
    """What each stored value pays of a checkout (more than nothing each), and what is left for the PSP."""

    parts: Sequence[tuple[StoredValue, Money]]
    rest: Money


@dataclass(frozen=True, slots=True)
class Held:
    """One tender of an order that is executing, with the account that pays it."""

    id: int
    order_id: int
    value_id: int
    account: str
    amount: Money


HELD = """
SELECT tender.id, tender.order_id, tender.value_id, stored.kind, stored.buyer_id, tender.amount, tender.currency
FROM payments_tender AS tender JOIN wallet_storedvalue AS stored ON stored.id = tender.value_id
WHERE tender.order_id IN (SELECT order_id FROM json_to_recordset(%s) AS of (order_id bigint)) AND tender.status = 'HELD'
ORDER BY tender.id
"""

END = """
UPDATE payments_tender AS tender SET status = ended.status
FROM json_to_recordset(%s) AS ended (id bigint, status text) WHERE tender.id = ended.id
"""

WALLET_LAST = Case(When(value__kind=StoredValue.Kind.WALLET, then=Value(1)), default=Value(0), output_field=IntegerField())


def wanted(event: PaymentEvent) -> QuerySet[ChosenTender]:
    """Return what the buyer wants to pay with, in the order in which it is used: no gift card that was chosen by a code which is over by now."""
    is_by_its_code = Q(value__gift_card__code_made_at=None) | Q(value__gift_card__code_made_at__lte=F("created_at"))
    return ChosenTender.objects.filter(is_by_its_code, event=event).order_by(WALLET_LAST, "pk")


def chosen(event: PaymentEvent) -> list[StoredValue]:
    """Return the stored values that the buyer wants to pay with, in the order in which they are used."""
    return [row.value for row in wanted(event).select_related("value")]


def planned(values: Sequence[StoredValue], total: Money, *, now: datetime) -> Plan:
    """Let each stored value pay as much of the total as it can, in their order.  Pure: of rows that were read."""
    parts, rest = [], total
    for value in values:
        part = min(stored_value.usable(value, currency=total.currency.code, now=now), rest)
        if part:
            parts.append((value, part))
            rest -= part
    return Plan(parts, rest)


def plan(event: PaymentEvent, total: Money, *, now: datetime) -> Plan:
    """Return what the chosen stored values would pay of the total as things stand.  Locks nothing: the page shows it."""
    return planned(chosen(event), total, now=now)


def locked_plan(event: PaymentEvent, total: Money, *, now: datetime) -> Plan:
    """Return what the chosen stored values pay of the total, and hold their rows until the caller's transaction ends."""
    in_order = [value.pk for value in chosen(event)]
    values = {value.pk: value for value in stored_value.lock(in_order)}
    return planned([values[pk] for pk in in_order], total, now=now)


def hold(orders: Sequence[PaymentOrder], plan: Plan) -> None:
    """Hold the plan's parts on the orders, whose sum is the plan's total, and write on each what is tendered of it.

    The caller holds the orders and the stored values, and saves `tendered` with the rest.
    """
    if not plan.parts:
        return
    charges = charge_shares([order.amount for order in orders], plan.rest)
    rows = []
    left = [(value, amount) for value, amount in plan.parts]
    for order, charge in zip(orders, charges, strict=True):
        order.tendered = order.amount - charge
        open_part = order.tendered
        while open_part:
            value, amount = left[0]
            part = min(amount, open_part)
            rows.append(Tender(order=order, value=value, amount=part, refunded=part * 0))
            open_part -= part
            left[0] = (value, amount - part)
            if not left[0][1]:
                left.pop(0)
    Tender.objects.bulk_create(rows)
    stored_value.change([stored_value.Change(value.pk, amount=part * 0, held=part) for value, part in plan.parts])


def charge_shares(amounts: Sequence[Money], rest: Money) -> list[Money]:
    """Share what the PSP is charged over the orders by their amounts; they add up to the rest, and none is more than its order.

    Each order is charged a minor unit at least, if the rest has as many: so that no order is paid before the buyer's card is.
    """
    currency = rest.currency.code
    count, units = len(amounts), to_minor(rest)
    least = 1 if units >= count else 0
    weights = [to_minor(amount) - least for amount in amounts]
    beyond = from_minor(units - least * count, currency)
    if not any(weights) or not beyond:
        return [from_minor(least, currency) for _amount in amounts]
    return [share + from_minor(least, currency) for share in split(beyond, weights)]


def held(order_ids: Collection[int]) -> dict[int, list[Held]]:
    """Return, by order, the tenders that are held of these orders, which the caller has locked."""
    found: dict[int, list[Held]] = {}
    if not order_ids:
        return found
    for tender_id, order_id, value_id, kind, buyer_id, amount, currency in execute(HELD, [{"order_id": each} for each in order_ids]):
        account = chart.gift_cards() if kind == StoredValue.Kind.GIFT_CARD else chart.buyer_wallet(buyer_id)
        found.setdefault(order_id, []).append(Held(tender_id, order_id, value_id, account, Money(amount, currency)))
    return found


def lock(orders: Sequence[PaymentOrder]) -> None:
    """Lock the stored values that these locked orders hold or have filled, for whoever lets them go one order after the other."""
    held_values = Tender.objects.filter(order__in=orders, status=Tender.Status.HELD).values_list("value_id", flat=True)
    stored_value.lock({*held_values, *(order.fills_id for order in orders if order.fills_id is not None)})


def take(tenders: Sequence[tuple[Held, int, str]]) -> None:
    """Take what was held: each with the journal entry that says so and its order's public id.  Inside the caller's transaction."""
    changes = [
        stored_value.Change(
            tender.value_id, -tender.amount, -tender.amount, kind=StoredValueEntry.Kind.SPENT, source=source, journal_entry_id=entry
        )
        for tender, entry, source in tenders
    ]
    stored_value.change(changes)
    end([tender for tender, _entry, _source in tenders], Tender.Status.TAKEN)


def let_go(order_ids: Collection[int]) -> None:
    """Let go what was held of these orders, which the caller has locked; the caller writes that nothing is tendered any more.  Inside the caller's transaction."""
    tenders = [tender for of_order in held(order_ids).values() for tender in of_order]
    stored_value.change([stored_value.Change(tender.value_id, tender.amount * 0, -tender.amount) for tender in tenders])
    end(tenders, Tender.Status.RELEASED)


def end(tenders: Sequence[Held], status: Tender.Status) -> None:
    if tenders:
        execute(END, [{"id": tender.id, "status": status} for tender in tenders])
