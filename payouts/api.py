"""Payouts over REST, each of the caller's own shop; another shop's are not found."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from ledger.wire import PageQuery
from payouts import queries, requests, tasks
from payouts.models import Payout, PayoutRun
from payouts.serializers import (
    NewPayoutSerializer,
    PayableQuery,
    PayableSerializer,
    PayoutInDetailSerializer,
    PayoutSerializer,
    PayoutsQuery,
    ReasonOfCancellationSerializer,
)
from wallet.api import NoSuchSeller, NotInShop, seller_asked_for, seller_of, shop_of
from wallet.models import Seller
from wallet.serializers import WalletEntrySerializer

READ, WRITE = "payouts:read", "payouts:write"
FILTERS = {
    "status": "status",
    "currency": "currency",
    "reference": "reference",
    "created_since": "created_at__gte",
    "created_until": "created_at__lt",
}


def actor_of(request: Request) -> str:
    """Say who asks, for the record: the beginning of the API key."""
    key: Any = request.auth
    return f"api:{key.prefix}"


class Payouts(Endpoint):
    @operation(READ, query=PayoutsQuery, answers={200: PayoutSerializer})
    def get(self, request: Request) -> Response:
        """List payouts

        Newest first.
        """
        found = queries.payouts_of(shop_of(request))
        if "seller" in self.query:
            found = found.filter(seller=seller_asked_for(request, self.query["seller"]))
        if "run" in self.query:
            run = PayoutRun.objects.filter(shop=shop_of(request), public_id=self.query["run"]).first()
            if run is None:
                raise NotInShop(f"There is no payout run {self.query['run']!r} in your shop.", field="run")
            found = found.filter(run=run)
        return self.answer_page(found.filter(**{column: self.query[name] for name, column in FILTERS.items() if name in self.query}))

    @operation(WRITE, body=NewPayoutSerializer, answers={201: PayoutInDetailSerializer, 200: PayoutInDetailSerializer})
    def post(self, request: Request) -> Response:
        """Pay a seller out

        Send an amount, or a currency to pay out all that can be.  The money is taken off the seller's available balance now and sent to the
        bank account at once; above the limit that was agreed, a person of the platform approves it first (`WAITING`).  The same
        Idempotency-Key, or the same `reference`, is one payout, for ever: it answers 200 with the payout that stands, and 409 with the
        name of what differs.
        """
        wanted, now = self.read(request), clock.now()
        seller = Seller.objects.filter(shop=shop_of(request), public_id=wanted["seller"], is_house=False).first()
        if seller is None:
            raise NoSuchSeller(f"There is no seller {wanted['seller']!r} in this shop. GET /v1/sellers lists them.", field="seller")
        try:
            payout = requests.request_payout(
                seller,
                amount=wanted.get("amount"),
                currency=wanted.get("currency", ""),
                reference=wanted["reference"],
                once=str(request.headers["Idempotency-Key"]),
                requested_by=actor_of(request),
                now=now,
            )
        except queries.NotPayable as error:
            raise queries.NotPayable(error.detail, field="amount" if "amount" in wanted else "currency") from error
        tasks.nudge_payouts()
        return self.answer(in_detail(request, payout), status=201 if payout.created_at == now else 200)


class OnePayout(Endpoint):
    def locate(self, request: Request, *, payout: str) -> None:  # type: ignore[override]
        self.payout = payout_of(request, payout)

    @operation(READ, answers={200: PayoutInDetailSerializer})
    def get(self, request: Request, payout: str) -> Response:
        """Read a payout

        With what it is made of: the movements since the payout before it.
        """
        return self.answer(in_detail(request, self.payout))


class Payable(Endpoint):
    def locate(self, request: Request, *, seller: str) -> None:  # type: ignore[override]
        self.seller = seller_of(request, seller)

    @operation(READ, query=PayableQuery, answers={200: PayableSerializer})
    def get(self, request: Request, seller: str) -> Response:
        """Read what can be paid out

        To a seller in one currency, as things stand now, and what is in the way if nothing can.  Nothing is set aside: a payout asked for
        later may find less.
        """
        return self.answer(queries.payable(self.seller, self.query["currency"], now=clock.now()))


class PayoutEntries(Endpoint):
    def locate(self, request: Request, *, payout: str) -> None:  # type: ignore[override]
        self.payout = payout_of(request, payout)

    @operation(READ, query=PageQuery, answers={200: WalletEntrySerializer})
    def get(self, request: Request, payout: str) -> Response:
        """List a payout's entries

        The movements that it is made of, newest first, each with the order, refund or dispute behind it: `contents` adds up their
        `available` by kind.
        """
        return self.answer_page(queries.movements_in(self.payout))


class PayoutCancellation(Endpoint):
    def locate(self, request: Request, *, payout: str) -> None:  # type: ignore[override]
        self.payout = payout_of(request, payout)

    @operation(WRITE, body=ReasonOfCancellationSerializer, answers={200: PayoutInDetailSerializer})
    def post(self, request: Request, payout: str) -> Response:
        """Cancel a payout

        One that waits for approval: its money is available again at once.  Asking again answers with the same payout.  What is on its way
        cannot be called back.
        """
        requests.cancel(self.payout.pk, actor=actor_of(request), reason=self.read(request)["reason"], now=clock.now())
        return self.answer(in_detail(request, self.payout))


def payout_of(request: Request, public_id: str) -> Payout:
    """Return a payout of the caller's shop.  Raises Http404."""
    payout = queries.payouts_of(shop_of(request)).filter(public_id=public_id).first()
    if payout is None:
        raise Http404
    return payout


def in_detail(request: Request, payout: Payout) -> Payout:
    """Return the payout as it stands, with its `contents`."""
    shown = queries.payouts_of(shop_of(request)).get(pk=payout.pk)
    shown.contents = queries.contents(shown)  # type: ignore[attr-defined]
    return shown
