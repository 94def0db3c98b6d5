"""A shop that calls the REST API, another shop whose things it must never see, and what is stored at any moment."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from ledger.ids import new_id
from ledger.models import Account, JournalEntry, Posting
from payments import confirmation, settlement
from payments.models import Cancellation, PaymentEvent, PaymentOrder, PspAttempt, Refund
from payments.settlement import Capture
from wallet import api_keys
from wallet.models import ApiKey, Buyer, IdempotencyRecord, Seller, Shop, Wallet

KEYS = itertools.count(1)
STORED = (PaymentEvent, PaymentOrder, Refund, Cancellation, JournalEntry, Posting, Account, Buyer, IdempotencyRecord, Seller, Wallet)


@dataclass
class Caller:
    """The back end of one shop."""

    shop: Shop
    token: str
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query, headers=self.headers())

    def post(self, path: str, body: Any, *, key: str | None = "", **headers: str) -> Any:
        """Send the body as JSON (bytes as they are); a fresh Idempotency-Key unless one is given, none for None."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers |= {"Idempotency-Key": key or f"test-{next(KEYS)}"}
        content_type = headers.pop("content_type", "application/json")
        return self.client.post(path, sent, content_type=content_type, headers=self.headers() | headers)

    def put(self, path: str, body: Any, *, key: str = "") -> Any:
        headers = {"Idempotency-Key": key or f"test-{next(KEYS)}"}
        return self.client.put(path, json.dumps(body).encode(), content_type="application/json", headers=self.headers() | headers)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def caller_of(shop: Shop, *scopes: str) -> Caller:
    _key, token = api_keys.issue(shop, name="test", scopes=scopes or ApiKey.Scope.values, mode="test")
    return Caller(shop, token)


def stored() -> dict[str, int]:
    """Return how many rows of each kind there are."""
    return {model.__name__: model._default_manager.count() for model in STORED}


@pytest.fixture(autouse=True)
def no_rate_is_left_over() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def shop(db: None) -> Shop:
    return Shop.objects.create(name="Northwind", return_origins=["https://shop.example"])


@pytest.fixture
def api(shop: Shop) -> Caller:
    return caller_of(shop)


@pytest.fixture
def stranger(db: None) -> Caller:
    return caller_of(Shop.objects.create(name="Southwind"))


@pytest.fixture
def ada(shop: Shop) -> Seller:
    return Seller.objects.create(shop=shop, name="Ada's Books", reference="ada")


@pytest.fixture
def bolt(shop: Shop) -> Seller:
    return Seller.objects.create(shop=shop, name="Bolt Bikes", reference="bolt")


@pytest.fixture
def basket(ada: Seller, bolt: Seller) -> dict[str, Any]:
    """A checkout that can be opened: two sellers, every optional field."""
    return {
        "checkout_id": "basket-1",
        "buyer": {"reference": "customer-1", "name": "Grace", "email": "grace@shop.example", "country": "AT"},
        "payment_orders": [
            {
                "seller": ada.public_id,
                "amount": {"amount": "24.90", "currency": "EUR"},
                "reference": "order-1a",
                "description": "Books",
                "items": [{"name": "The Sea", "quantity": 1, "amount": {"amount": "24.90", "currency": "EUR"}}],
            },
            {"seller": bolt.public_id, "amount": {"amount": "89.00", "currency": "EUR"}, "reference": "order-1b"},
        ],
        "return_url": "https://shop.example/thanks",
        "locale": "de-AT",
        "metadata": {"campaign": "autumn"},
    }


def pay(order_id: str) -> None:
    """Let the PSP take the money of one order."""
    order = PaymentOrder.objects.get(public_id=order_id)
    confirmation.confirm_order(order.pk, payment_token="tok_1", once=new_id("wish"), now=timezone.now())
    attempt = PspAttempt.objects.create(order=order, number=1, psp=order.psp, psp_key=order.due.psp_key)
    capture = Capture(
        order_id=order.pk,
        attempt_id=attempt.pk,
        psp_key=attempt.psp_key,
        psp_reference=f"ch_{attempt.pk}",
        amount=order.amount,
        charged_at=timezone.now(),
    )
    settlement.settle([capture])


@pytest.fixture
def paid(api: Caller, basket: dict[str, Any]) -> dict[str, Any]:
    """Give an order of 24.90 EUR that is paid; the other order of its payment is not."""
    order: dict[str, Any] = api.post("/v1/payments", basket).json()["payment_orders"][0]
    pay(order["id"])
    return order
