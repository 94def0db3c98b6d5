"""Questions to pay-in's rows.  The one that locks says so; the others write nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from djmoney.money import Money

from ledger import money
from ledger.statements import execute
from payments.fees import FeeTerms
from payments.models import FeeSchedule, PaymentEvent, PaymentOrder
from wallet.models import Shop


@dataclass(frozen=True, slots=True)
class ExecutingOrder:
    """What is known of an order whose charge is under way: what to book, for whom, and the key under which the PSP knows the charge."""

    id: int
    event_id: int
    shop_id: int
    seller_id: int
    public_id: str
    reference: str
    psp: str
    psp_key: str
    amount: Money
    fee: Money
    net: Money


LOCK_EXECUTING = """
SELECT payment.id, payment.event_id, payment.shop_id, payment.seller_id, payment.public_id, payment.reference, payment.psp, due.psp_key,
       payment.amount, payment.fee, payment.net, payment.currency
FROM payments_paymentorder AS payment JOIN payments_dueorder AS due ON due.order_id = payment.id
WHERE payment.id IN (SELECT order_id FROM json_to_recordset(%s) AS outcome (order_id bigint)) AND payment.status = 'EXECUTING'
ORDER BY payment.id FOR NO KEY UPDATE OF payment
"""


def lock_executing(order_ids: Iterable[int]) -> list[ExecutingOrder]:
    """Lock those of the orders that are executing, by ascending id, and return them.  Inside the caller's transaction.

    A hundred of them are read as they are, not as models: building those would cost more than all else that settling does in Python.
    """
    rows = execute(LOCK_EXECUTING, [{"order_id": order_id} for order_id in order_ids])
    return [ExecutingOrder(*known, *(Money(part, currency) for part in (amount, fee, net))) for *known, amount, fee, net, currency in rows]


def fee_terms(shop: Shop, *, seller_ids: Sequence[int], currency: str) -> dict[int, FeeTerms]:
    """Return each seller's fee terms in the currency: the seller's own schedule, else the shop's for all, else the shop's plain share."""
    schedules = FeeSchedule.objects.filter(shop=shop, currency=currency)
    by_seller = {schedule.seller_id: FeeTerms(schedule.basis_points, schedule.fixed) for schedule in schedules}
    default = by_seller.get(None, FeeTerms(shop.fee_basis_points, money.zero(currency)))
    return {seller_id: by_seller.get(seller_id, default) for seller_id in seller_ids}


def sum_of(orders: Sequence[PaymentOrder]) -> Money:
    """Return the sum of one or more orders."""
    return sum((order.amount for order in orders[1:]), start=orders[0].amount)


def payments_of(shop: Shop) -> QuerySet[PaymentEvent]:
    """Return the shop's payments with what a reader needs to show them, in a fixed number of queries."""
    return PaymentEvent.objects.filter(shop=shop).select_related("buyer", "shop").prefetch_related("orders__seller", "orders__attempts")


def wire(amount: Money) -> dict[str, str]:
    """Return the amount as it goes on the wire: `{"amount": "19.99", "currency": "USD"}`."""
    return {"amount": money.text(amount), "currency": amount.currency.code}
