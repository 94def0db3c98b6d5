"""`manage.py self_check`: pay a basket as a stranger would, over HTTP only, and see that everybody agrees about the money.

The shop's back end gives a gift card away and posts a checkout over REST, the buyer walks the page without JavaScript and pays with that card and
a bank card, the worker settles; then the REST API and the PSP's journal are asked.  Exit code 1 and the reason if anything is not as it must be.
"""

import secrets
import time
from decimal import Decimal
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments.management import buyer
from payments.psp import registry
from wallet.management import demo
from wallet.models import Seller

DEADLINE_S = 45
CARD = "4242424242424242"
LINES = {"ada": "24.90", "bolt": "89.00", "cleo": "14.50"}
GIFT_CARD, CHARGED = "20.00", 10840  # what the PSP has to charge is in cents


class Command(BaseCommand):
    help = "Pay a basket over HTTP and compare REST, books and the PSP's journal."

    def handle(self, *args: Any, **options: Any) -> None:
        demo.require_demo()
        started = time.monotonic()
        try:
            with shop_back_end() as shop, httpx.Client(timeout=20, trust_env=False) as browser:
                before = {seller: pending(shop, seller) for seller in LINES}
                payment = open_checkout(shop)
                walk_the_page(browser, payment["checkout_url"], code=new_gift_card(shop))
                paid = wait_until_done(shop, payment["id"])
                after = {seller: pending(shop, seller) for seller in LINES}
        except httpx.HTTPError as error:
            raise CommandError(f"the demo does not answer as it must: {error}") from error
        require_paid(paid, {seller: after[seller] - before[seller] for seller in LINES})
        self.stdout.write(
            f"paid {paid['amount']['amount']} {paid['amount']['currency']} to {len(LINES)} sellers over HTTP, by gift card and card"
        )
        self.stdout.write("wallets, books and orders agree; the PSP charged each order once")
        self.stdout.write(f"self-check passed in {time.monotonic() - started:.1f} s")


def shop_back_end() -> httpx.Client:
    headers = {"Authorization": f"Bearer {demo.api_key_token()}"}
    return httpx.Client(base_url=settings.PUBLIC_URL, headers=headers, timeout=20, trust_env=False)


def asked(response: httpx.Response) -> Any:
    """Return the answer's JSON.  Raises CommandError with what the answer says instead."""
    if response.is_error:
        raise CommandError(f"{response.request.method} {response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    return response.json()


def seller_id(name: str) -> str:
    return Seller.objects.get(reference=name, shop__name=demo.SHOP_NAME).public_id


def pending(shop: httpx.Client, seller: str) -> Decimal:
    """Ask the REST API what is pending for a seller, in EUR."""
    wallets = asked(shop.get("/v1/wallet", params={"seller": seller_id(seller)}))["data"]
    return sum((Decimal(wallet["pending"]["amount"]) for wallet in wallets if wallet["pending"]["currency"] == "EUR"), Decimal(0))


def open_checkout(shop: httpx.Client) -> Any:
    name = f"self-check-{secrets.token_hex(6)}"
    body = {
        "checkout_id": name,
        "buyer": {"reference": "self-check", "email": "self-check@example.com"},
        "payment_orders": [
            {"seller": seller_id(seller), "amount": {"amount": amount, "currency": "EUR"}} for seller, amount in LINES.items()
        ],
    }
    return asked(shop.post("/v1/payments", json=body, headers={"Idempotency-Key": name}))


def new_gift_card(shop: httpx.Client) -> str:
    """Give a gift card away, and return its code."""
    name = f"self-check-{secrets.token_hex(6)}"
    body = {"amount": {"amount": GIFT_CARD, "currency": "EUR"}, "reason": "Self-check", "reference": name}
    card = asked(shop.post("/v1/gift_cards", json=body, headers={"Idempotency-Key": name}))
    return str(asked(shop.post(f"/v1/gift_cards/{card['id']}/code", json={}, headers={"Idempotency-Key": f"{name}-code"}))["code"])


def walk_the_page(browser: httpx.Client, checkout_url: str, *, code: str = "") -> None:
    """Apply the gift card, if there is one, go from our page to the PSP's, give the bank card there, come back and press the one button."""
    if code:
        applied = submit(browser, browser.get(checkout_url), towards="/gift-card", code=code)
        if not applied.is_redirect:
            raise CommandError(f"the gift card is not taken: {applied.status_code} {applied.text[:500]}")
    hosted = submit(browser, browser.get(checkout_url), towards="/hosted")
    back = buyer.give_card(hosted.headers["Location"], number=CARD)
    done = submit(browser, browser.get(back), towards="/complete")
    if done.is_error:
        raise CommandError(f"confirming answered {done.status_code}: {done.text[:500]}")


def submit(browser: httpx.Client, page: httpx.Response, *, towards: str, **typed: str) -> httpx.Response:
    """Submit the page's form whose address ends so, with what is typed.  Raises CommandError if the page has none."""
    for address, fields in buyer.forms_of(page):
        if address.partition("?")[0].endswith(towards):
            return browser.post(address, data=fields | typed, headers={"Referer": str(page.url), "Origin": settings.PUBLIC_URL})
    raise CommandError(f"{page.url.path} answered {page.status_code} without a form towards {towards}")


def wait_until_done(shop: httpx.Client, payment_id: str) -> Any:
    """Ask for the payment until it is done.  Raises CommandError after DEADLINE_S."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        payment = asked(shop.get(f"/v1/payments/{payment_id}"))
        if payment["is_payment_done"]:
            return payment
        time.sleep(0.1)
    raise CommandError(f"{payment_id} is not done after {DEADLINE_S} s: {payment['status']}, {payment['payment_orders']}")


def require_paid(payment: Any, gained: dict[str, Decimal]) -> None:
    """Compare the payment, the wallets, the invariants and the PSP's journal.  Raises CommandError with what does not agree."""
    orders = payment["payment_orders"]
    if [order["status"] for order in orders] != ["SUCCESS"] * len(LINES):
        raise CommandError(f"not every order succeeded: {orders}")
    nets = {seller: Decimal(order["net"]["amount"]) for seller, order in zip(LINES, orders, strict=True)}
    if gained != nets:
        raise CommandError(f"the wallets gained {gained}, the orders' nets are {nets}")
    charged = [row for row in psp_journal() if row["type"] == "charge.succeeded" and row["reference"] in {order["id"] for order in orders}]
    if len(charged) != len(orders):
        raise CommandError(f"the PSP charged {len(charged)} times for {len(orders)} orders: {charged}")
    if sum(row["amount"] for row in charged) != CHARGED:
        raise CommandError(f"the PSP should have charged {CHARGED} cents beside the gift card: {charged}")


def psp_journal() -> list[dict[str, Any]]:
    """Read the whole journal of the sandbox over HTTP."""
    rows: list[dict[str, Any]] = []
    headers = {"Authorization": f"Bearer {settings.PSP_SANDBOX_API_KEY}"}
    with httpx.Client(base_url=registry.psp_named("sandbox").origin, headers=headers, timeout=20, trust_env=False) as psp:
        while True:
            after = rows[-1]["seq"] if rows else 0
            page = asked(psp.get("/v1/journal", params={"after": after, "limit": 1000}))
            rows += page["data"]
            if not page["has_more"]:
                return rows
