"""Shops, sellers, baskets and drafts for tests: each made with what a story cares about, the rest filled in."""

import itertools
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from djmoney.money import Money

from ledger import chart
from ledger.journal import Draft
from ledger.money import exact
from payments.intake import NewOrder, NewPayment
from wallet.models import Seller, Shop

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
RECEIVABLE = chart.psp_receivable("sandbox")
FEES = chart.fee_revenue()


def new_shop(name: str = "Northwind", **terms: Any) -> Shop:
    """Open a shop that may send buyers back to https://shop.example."""
    return Shop.objects.create(name=name, **{"return_origins": ["https://shop.example"], **terms})


def new_sellers(shop: Shop, *names: str) -> list[Seller]:
    """Let the named sellers sell in the shop."""
    return [Seller.objects.create(shop=shop, name=name) for name in names]


def basket(sellers: Sequence[Seller], *amounts: str, currency: str = "EUR", **terms: Any) -> NewPayment:
    """Ask for one order per amount, each of the next seller in turn, under a checkout id of its own."""
    orders = [
        NewOrder(seller.public_id, exact(amount, currency)) for seller, amount in zip(itertools.cycle(sellers), amounts, strict=False)
    ]
    asked: dict[str, Any] = {
        "checkout_id": f"basket-{secrets.token_hex(6)}",
        "buyer_reference": "rosa",
        "orders": orders,
    }
    return NewPayment(**(asked | terms))


def eur(amount: str) -> Money:
    return exact(amount, "EUR")


def draft(reference: str, amount: str = "5.00", **terms: Any) -> Draft:
    """Draft an entry of so many euros from the fees to the PSP; `debits` and `credits` may say otherwise."""
    said: dict[str, Any] = {
        "kind": "manual",
        "reference": reference,
        "effective_at": NOON,
        "debits": [(RECEIVABLE, eur(amount))],
        "credits": [(FEES, eur(amount))],
    }
    return Draft(**(said | terms))
