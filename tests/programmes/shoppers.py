"""People who pay, for the programmes with a live house: over HTTP as the shop's back end and a buyer's browser, or in this process, in bulk."""

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from payments import claims, executor, intake
from payments.management.commands.self_check import walk_the_page
from payments.models import PaymentEvent
from tests.factories import basket, new_sellers, new_shop
from tests.fixtures_money import confirm_card
from wallet import api_keys
from wallet.models import ApiKey, Seller, Shop

AMOUNTS = ("24.90", "89.00", "14.50")


@dataclass
class Marketplace:
    """A shop with three sellers and its key."""

    shop: Shop
    sellers: list[Seller]
    token: str


def open_marketplace() -> Marketplace:
    shop = new_shop("Northwind")
    _key, token = api_keys.issue(shop, name="programme", scopes=ApiKey.Scope.values, mode="test")
    return Marketplace(shop, new_sellers(shop, "Ada", "Bolt", "Cleo"), token)


def confirm_many(market: Marketplace, *, payments: int, card: str) -> list[PaymentEvent]:
    """Open and confirm so many baskets of three sellers; nothing is charged before an executor runs."""

    def one(_number: int) -> PaymentEvent:
        try:
            event, _is_new = intake.open_event(market.shop, basket(market.sellers, *AMOUNTS), now=timezone.now())
            confirm_card(event, card)
            return event
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(payments)))


def charge_and_forget() -> int:
    """Claim what is due, charge it, and die with the answers: only webhooks and look-ups can tell now.  Return how many were charged."""
    charged = 0
    while works := claims.claim_due(now=timezone.now(), limit=100):
        for _answered in executor.call_all(works):
            pass
        charged += len(works)
    return charged


@dataclass
class Load:
    """Buyers who pay one basket after the other over HTTP until told to stop; who is sent away tries again, as people do."""

    url: str
    market: Marketplace
    buyers: int = 4
    card: str = "4242424242424242"
    pause_s: float = 0.0
    begun: dict[str, float] = field(default_factory=dict)
    turned_away: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._buy, daemon=True) for _buyer in range(self.buyers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _buy(self) -> None:
        headers = {"Authorization": f"Bearer {self.market.token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False) as shop:
            while not self._stop.wait(self.pause_s):
                try:
                    self._buy_once(shop)
                except (httpx.HTTPError, CommandError, ValueError, KeyError):
                    self.turned_away += 1
                    self._stop.wait(0.3)

    def _buy_once(self, shop: httpx.Client) -> None:
        wish = secrets.token_hex(8)
        orders = [
            {"seller": seller.public_id, "amount": {"amount": amount, "currency": "EUR"}}
            for seller, amount in zip(self.market.sellers, AMOUNTS, strict=True)
        ]
        body = {"checkout_id": wish, "buyer": {"reference": "rosa"}, "payment_orders": orders}
        answer = shop.post("/v1/payments", json=body, headers={"Idempotency-Key": wish})
        answer.raise_for_status()
        payment = answer.json()
        with httpx.Client(timeout=20, trust_env=False) as browser:
            self.begun[payment["id"]] = time.monotonic()
            walk_the_page(browser, payment["checkout_url"])
