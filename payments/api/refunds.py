"""Refunds and late charges over REST: ask for one, read what became of it."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from payments import queries, refunds, tasks
from payments.api.asking import READ, WRITE, AboutOrder, actor_of, asked_for, only, wish_of
from payments.refunds import To
from payments.serializers.refunds import (
    LateChargeSerializer,
    NewRefundSerializer,
    ObjectsQuery,
    RefundSerializer,
    RefundsOfOrderQuery,
    RefundsQuery,
)
from wallet.api import shop_of


class OrderRefunds(AboutOrder):
    @operation(READ, query=RefundsOfOrderQuery, answers={200: RefundSerializer})
    def get(self, request: Request, order: str) -> Response:
        """List the refunds of an order"""
        return self.answer_page(asked_for(queries.refunds_of(shop_of(request)).filter(order=self.order), request, self.query))

    @operation(WRITE, body=NewRefundSerializer, answers={201: RefundSerializer, 200: RefundSerializer})
    def post(self, request: Request, order: str) -> Response:
        """Refund an order

        Give the buyer back a part of a paid order, or, without an `amount`, all that is left of it.  The money is reserved now and sent
        at once; read the refund to see its end.  The same Idempotency-Key, or the same `reference`, is one refund, for ever: it answers
        200 with the refund that stands, and 409 with the name of what differs.  While a dispute is open nothing can be refunded.

        Of an order that gift cards or the buyer's wallet paid in part, the card is given back first, then the wallet, then gift cards;
        `refund_to` turns that round.  Of a gift card or a top-up that was bought, no more goes back than is left there.

        Some ways to pay give money back for some days only.  Afterwards 409 with `refund_too_late` names the last day; what gift cards or the
        wallet paid can still go back there.

        Where this installation lets a key give back up to an amount of an order only (`API_REFUND_LIMITS`), more of it answers 409 with
        `approval_needed`: staff ask for it in the admin, where a second person approves it.
        """
        wanted = self.read(request)
        standing = set(self.order.refunds.values_list("pk", flat=True))
        refund = refunds.request_refund(
            self.order.pk,
            amount=wanted.get("amount"),
            reason=wanted["reason"],
            now=clock.now(),
            fee_policy=wanted["fee_policy"],
            reference=wanted["reference"],
            once=wish_of(request),
            requested_by=actor_of(request),
            limits=settings.API_REFUND_LIMITS,
            to=To(wanted["refund_to"]),
        )
        tasks.nudge_refunds()
        shown = queries.refunds_of(shop_of(request)).get(pk=refund.pk)
        return self.answer(shown, status=200 if refund.pk in standing else 201)


class Refunds(Endpoint):
    @operation(READ, query=RefundsQuery, answers={200: RefundSerializer})
    def get(self, request: Request) -> Response:
        """List refunds

        Newest first.
        """
        return self.answer_page(asked_for(queries.refunds_of(shop_of(request)), request, self.query))


class OneRefund(Endpoint):
    def locate(self, request: Request, *, refund: str) -> None:  # type: ignore[override]
        self.refund = only(queries.refunds_of(shop_of(request)).filter(public_id=refund))

    @operation(READ, answers={200: RefundSerializer})
    def get(self, request: Request, refund: str) -> Response:
        """Read a refund"""
        return self.answer(self.refund)


class LateCharges(Endpoint):
    @operation(READ, query=ObjectsQuery, answers={200: LateChargeSerializer})
    def get(self, request: Request) -> Response:
        """List late charges

        Charges that succeeded when their order could not take them any more: it was given up, cancelled, or paid otherwise.  Each is
        given back to the buyer by itself; you need not do anything.
        """
        return self.answer_page(asked_for(queries.late_charges_of(shop_of(request)), request, self.query))


class OneLateCharge(Endpoint):
    def locate(self, request: Request, *, late_charge: str) -> None:  # type: ignore[override]
        self.late_charge = only(queries.late_charges_of(shop_of(request)).filter(public_id=late_charge))

    @operation(READ, answers={200: LateChargeSerializer})
    def get(self, request: Request, late_charge: str) -> Response:
        """Read a late charge"""
        return self.answer(self.late_charge)
