"""Cancellations over REST: call an order or a whole payment off, or end the retries of an order that is being charged."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from payments import cancellations, queries, rescue, tasks
from payments.api.asking import READ, WRITE, AboutOrder, actor_of, only, payment_of, wish_of
from payments.models import Cancellation
from payments.serializers.cancellations import CancellationSerializer, CancellationsSerializer, ReasonSerializer
from payments.states import CancellationStatus
from wallet.api import shop_of


class OrderCancellation(AboutOrder):
    @operation(WRITE, body=ReasonSerializer, answers={202: CancellationSerializer, 200: CancellationSerializer})
    def post(self, request: Request, order: str) -> Response:
        """Cancel an order

        Whatever its state: what was never charged is called off at once (200), what is being charged is voided at the PSP, and what was
        paid is refunded in full with its fee (202: read the cancellation to see its end).  Asking again answers with the same cancellation.
        To give back more of a paid order than a key may (`API_REFUND_LIMITS`) answers 409 with `approval_needed`.
        """
        cancellation = cancellations.cancel_order(
            self.order.pk,
            reason=self.read(request)["reason"],
            once=wish_of(request),
            requested_by=actor_of(request),
            now=clock.now(),
            limits=settings.API_REFUND_LIMITS,
        )
        return answer_to(self, cancellation)


class PaymentCancellation(Endpoint):
    def locate(self, request: Request, *, payment: str) -> None:  # type: ignore[override]
        self.payment = payment_of(request, payment)

    @operation(WRITE, body=ReasonSerializer, answers={202: CancellationsSerializer, 200: CancellationsSerializer})
    def post(self, request: Request, payment: str) -> Response:
        """Cancel a payment

        Cancel each of its orders, as if one by one.  202: some of it is under way still.
        """
        made = cancellations.cancel_event(
            self.payment.pk,
            reason=self.read(request)["reason"],
            once=wish_of(request),
            requested_by=actor_of(request),
            now=clock.now(),
            limits=settings.API_REFUND_LIMITS,
        )
        nudge()
        shown = list(queries.cancellations_of(shop_of(request)).filter(pk__in=[each.pk for each in made]).order_by("order_id", "pk"))
        return self.answer(shown, status=202 if any(map(is_under_way, shown)) else 200)


class OneCancellation(Endpoint):
    def locate(self, request: Request, *, cancellation: str) -> None:  # type: ignore[override]
        self.cancellation = only(queries.cancellations_of(shop_of(request)).filter(public_id=cancellation))

    @operation(READ, answers={200: CancellationSerializer})
    def get(self, request: Request, cancellation: str) -> Response:
        """Read a cancellation"""
        return self.answer(self.cancellation)


class StoppedRetries(AboutOrder):
    @operation(WRITE, body=ReasonSerializer, answers={202: CancellationSerializer, 200: CancellationSerializer})
    def post(self, request: Request, order: str) -> Response:
        """Stop the retries of an order

        For an order that is being charged and whose PSP gives no answer: it is charged no more (200 where nothing was sent yet).  What the
        PSP may have taken already is voided, or refunded as soon as it is known (202: read the cancellation to see its end).
        """
        reason = self.read(request)["reason"]
        cancellation = rescue.stop_retries(self.order.pk, actor=actor_of(request), note=reason, now=clock.now())
        return answer_to(self, cancellation)


def answer_to(endpoint: Endpoint, cancellation: Cancellation) -> Response:
    """Let the worker begin, and answer with the cancellation as it stands."""
    nudge()
    shown = queries.cancellations_of(shop_of(endpoint.request)).get(pk=cancellation.pk)
    return endpoint.answer(shown, status=202 if is_under_way(shown) else 200)


def is_under_way(cancellation: Cancellation) -> bool:
    return cancellation.status == CancellationStatus.EXECUTING


def nudge() -> None:
    tasks.nudge_executor()
    tasks.nudge_refunds()
