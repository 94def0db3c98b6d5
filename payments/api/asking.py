"""What the addresses of pay-in share: the scopes, who asks, the order that an address names, and the filters of what hangs on orders."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework.request import Request

from ledger.endpoint import Endpoint
from payments import queries
from payments.models import PaymentEvent, PaymentOrder
from wallet.api import NotInShop, shop_of

Row = TypeVar("Row", bound=Model)

READ, WRITE = "payments:read", "payments:write"
FILTERS = {"status": "status", "created_since": "created_at__gte", "created_until": "created_at__lt"}


class AboutOrder(Endpoint):
    """An address below /v1/orders/{order}."""

    def locate(self, request: Request, *, order: str) -> None:  # type: ignore[override]
        self.order = order_of(request, order)


def order_of(request: Request, public_id: str) -> PaymentOrder:
    """Return an order of the caller's shop.  Raises Http404."""
    return only(PaymentOrder.objects.filter(shop=shop_of(request), public_id=public_id))


def payment_of(request: Request, public_id: str) -> PaymentEvent:
    """Return a payment of the caller's shop.  Raises Http404."""
    return only(queries.payments_of(shop_of(request)).filter(public_id=public_id))


def only(rows: QuerySet[Row]) -> Row:
    """Return the one row there is.  Raises Http404 where there is none."""
    row = rows.first()
    if row is None:
        raise Http404
    return row


def asked_for(rows: QuerySet[Row], request: Request, query: Mapping[str, Any]) -> QuerySet[Row]:
    """Return those of the rows, each of which hangs on an order, that the query asks for.  Raises NotInShop for another shop's order."""
    for name, column, find in (("order", "order", order_of), ("payment", "order__event", payment_of)):
        if name in query:
            try:
                rows = rows.filter(**{column: find(request, query[name])})
            except Http404:
                raise NotInShop(f"There is no {name} {query[name]!r} in your shop.", field=name) from None
    return rows.filter(**{column: query[name] for name, column in FILTERS.items() if name in query})


def actor_of(request: Request) -> str:
    """Say who asks, for the record: the beginning of the API key."""
    key: Any = request.auth
    return f"api:{key.prefix}"


def wish_of(request: Request) -> str:
    """Return the Idempotency-Key: what is asked for under it is done once, for ever."""
    return str(request.headers["Idempotency-Key"])
