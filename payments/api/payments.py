"""Payments and their orders over REST.  Hop 1 of the seven (README): parse, one call into the domain, render."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from payments import confirmation, intake, queries, releases, tasks
from payments.api.asking import READ, WRITE, AboutOrder, actor_of, only, wish_of
from payments.intake import NewOrder, NewPayment
from payments.serializers.payments import (
    ExecutionSerializer,
    NewDeliverySerializer,
    NewPaymentSerializer,
    PaymentDetailSerializer,
    PaymentOrderDetailSerializer,
    PaymentSerializer,
    PaymentsQuery,
)
from payments.states import OrderStatus
from wallet.api import shop_of

FILTERS = {
    "checkout_id": "checkout_id",
    "status": "status",
    "is_payment_done": "is_payment_done",
    "created_since": "created_at__gte",
    "created_until": "created_at__lt",
}


class Payments(Endpoint):
    @operation(READ, query=PaymentsQuery, answers={200: PaymentSerializer})
    def get(self, request: Request) -> Response:
        """List payments

        Newest first.
        """
        asked = {column: self.query[name] for name, column in FILTERS.items() if name in self.query}
        return self.answer_page(queries.payments_of(shop_of(request)).filter(**asked))

    @operation(WRITE, body=NewPaymentSerializer, answers={201: PaymentSerializer, 200: PaymentSerializer})
    def post(self, request: Request) -> Response:
        """Open a payment

        Send what the buyer is about to pay, one payment order for each seller, and send the buyer to `checkout_url`.  The platform's fee is
        fixed now.  A `checkout_id` is used once: the same terms again answer 200 with the same payment, other terms 409 with the name of
        what differs.
        """
        payment = new_payment(self.read(request))
        event, is_new = intake.open_event(shop_of(request), payment, now=clock.now())
        shown = queries.payments_of(shop_of(request)).get(pk=event.pk)
        return self.answer(shown, status=201 if is_new else 200)


def new_payment(body: dict[str, Any]) -> NewPayment:
    buyer = body["buyer"]
    return NewPayment(
        checkout_id=body["checkout_id"],
        buyer_reference=buyer["reference"],
        buyer_name=buyer["name"],
        buyer_email=buyer["email"],
        buyer_signed_in=buyer["signed_in"],
        buyer_country=buyer["country"],
        orders=[new_order(order) for order in body["payment_orders"]],
        return_url=body["return_url"],
        locale=body["locale"],
        metadata=body["metadata"],
    )


def new_order(order: dict[str, Any]) -> NewOrder:
    items = [item | {"amount": queries.wire(item["amount"])} for item in order.get("items", [])]
    return NewOrder(
        seller=order["seller"],
        amount=order["amount"],
        reference=order["reference"],
        description=order["description"],
        category=order["category"],
        items=items,
    )


class OnePayment(Endpoint):
    def locate(self, request: Request, *, payment: str) -> None:  # type: ignore[override]
        self.payment = only(queries.payments_in_detail(shop_of(request)).filter(public_id=payment))

    @operation(READ, answers={200: PaymentDetailSerializer})
    def get(self, request: Request, payment: str) -> Response:
        """Read a payment

        With every call to the PSP that was made for it, its refunds, disputes and cancellations.
        """
        return self.answer(self.payment)


class OneOrder(Endpoint):
    def locate(self, request: Request, *, order: str) -> None:  # type: ignore[override]
        self.order = only(queries.orders_in_detail(shop_of(request)).filter(public_id=order))

    @operation(READ, answers={200: PaymentOrderDetailSerializer})
    def get(self, request: Request, order: str) -> Response:
        """Read a payment order

        With every call to the PSP that was made for it, its refunds, disputes and cancellation.
        """
        return self.answer(self.order)

    @operation(WRITE, body=ExecutionSerializer, answers={202: PaymentOrderDetailSerializer, 200: PaymentOrderDetailSerializer})
    def post(self, request: Request, order: str) -> Response:
        """Execute a payment order

        Charge this one order now, with payment details that the PSP gave you a token for; buyers at the hosted page need no such call.
        202: the charge is on its way, read the order to see its end.  200: the order had been paid already, nothing was sent.  A cancelled
        order is 409.
        """
        details = self.read(request)
        confirmation.confirm_order(self.order.pk, payment_token=details["payment_token"], once=wish_of(request), now=clock.now())
        tasks.nudge_executor()
        shown = queries.orders_in_detail(shop_of(request)).get(pk=self.order.pk)
        return self.answer(shown, status=200 if shown.status == OrderStatus.SUCCESS else 202)


class OrderDelivery(AboutOrder):
    @operation(WRITE, body=NewDeliverySerializer, answers={200: PaymentOrderDetailSerializer})
    def post(self, request: Request, order: str) -> Response:
        """Deliver an order

        Say that the buyer has it.  What is pending of it becomes available to its seller as the shop's terms say: at once, or some days
        later; `delivery` tells when.  The first word counts: an order that was delivered before answers as it stands.
        """
        now = clock.now()
        at = self.read(request).get("delivered_at", now)
        releases.deliver(self.order.pk, at=at, actor=actor_of(request), now=now)
        tasks.nudge_releases()
        return self.answer(queries.orders_in_detail(shop_of(request)).get(pk=self.order.pk))
