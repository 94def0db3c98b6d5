"""Questions to pay-in's rows.  The one that locks says so; the others write nothing."""

from collections.abc import Iterable, Sequence

from django.db.models import BigAutoField, F, Lookup, QuerySet
from djmoney.money import Money

from ledger import money
from payments.fees import FeeTerms
from payments.models import FeeSchedule, PaymentEvent, PaymentOrder
from payments.states import PAYABLE, OrderStatus
from wallet.models import Shop


@BigAutoField.register_lookup
class AnyOf(Lookup):  # type: ignore[type-arg]
    """`id__any=[...]`: one array parameter in place of a hundred, so that one prepared plan serves every batch size."""

    lookup_name = "any"
    prepare_rhs = False

    def as_sql(self, compiler, connection):  # type: ignore[no-untyped-def]
        lhs, parameters = self.process_lhs(compiler, connection)
        return f"{lhs} = ANY (%s)", [*parameters, list(self.rhs)]


def lock_executing(order_ids: Iterable[int]) -> list[tuple[PaymentOrder, str]]:
    """Lock those of the orders that are executing, by ascending id; return each with the PSP key under which it executes."""
    executing = PaymentOrder.objects.filter(id__any=order_ids, status=OrderStatus.EXECUTING).annotate(executing_key=F("due__psp_key"))
    locked = executing.order_by("id").select_for_update(no_key=True, of=("self",)).defer("items", "description")
    return [(order, order.executing_key) for order in locked]


def fee_terms(shop: Shop, *, seller_ids: Sequence[int], currency: str) -> dict[int, FeeTerms]:
    """Return each seller's fee terms in the currency: the seller's own schedule, else the shop's for all, else the shop's plain share."""
    schedules = FeeSchedule.objects.filter(shop=shop, currency=currency)
    by_seller = {schedule.seller_id: FeeTerms(schedule.basis_points, schedule.fixed) for schedule in schedules}
    default = by_seller.get(None, FeeTerms(shop.fee_basis_points, money.zero(currency)))
    return {seller_id: by_seller.get(seller_id, default) for seller_id in seller_ids}


def outstanding(event: PaymentEvent) -> Money:
    """Return what the buyer still has to confirm: the sum of the event's orders that are neither paid nor being paid."""
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    return sum_of(payable) if payable else money.zero(event.amount.currency.code)


def sum_of(orders: Sequence[PaymentOrder]) -> Money:
    """Return the sum of one or more orders."""
    return sum((order.amount for order in orders[1:]), start=orders[0].amount)


def payments_of(shop: Shop) -> QuerySet[PaymentEvent]:
    """Return the shop's payments with what a reader needs to show them, in a fixed number of queries."""
    return PaymentEvent.objects.filter(shop=shop).select_related("buyer", "shop").prefetch_related("orders__seller", "orders__attempts")


def wire(amount: Money) -> dict[str, str]:
    """Return the amount as it goes on the wire: `{"amount": "19.99", "currency": "USD"}`."""
    return {"amount": money.text(amount), "currency": amount.currency.code}
