"""`manage.py demo_data`: a small marketplace with a story, and a checkout for each way to pay that waits for it.  Safe to run again.

Prints one JSON line: addresses, logins, the API key, test cards, and what is ready to be tried, with the codes of its gift cards.  All money
moves as it would for a real buyer: through intake, the PSP's own page, the executor, settlement and, once it is delivered, the release.  How
the sellers are paid is `demo_payouts`' part.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db.models import F

from ledger import clock
from ledger.money import exact
from payments import expiry, refund_executor, refunds, releases
from payments.management import baskets, stories
from payments.management.baskets import GOOD, Basket
from payments.models import FeeSchedule, PaymentEvent, PaymentOrder
from payments.states import OrderStatus
from wallet import branding, rates
from wallet.management import demo, demo_rates
from wallet.models import ApiKey, Seller, Shop
from wallet.rates import RateRefused

logger = logging.getLogger(__name__)

LOGO, ACCENT = Path(__file__).parent.parent / "northwind.webp", "#0b6b5d"
SHOP = "api:Demo"  # who says that an order was delivered: the shop's back end, by the name of its API key
DEBIT, DECLINED, POOR, PENDING = (
    "4000056655665556",
    "4000000000000002",
    "4000000000009995",
    "4000000000009110",
)
TEST_CARDS = [
    (GOOD, "pays"),
    ("5555555555554444", "pays (Mastercard)"),
    ("4000002500003155", "asks for 3-D Secure, then pays"),
    (DECLINED, "the bank declines"),
    (POOR, "not enough money"),
    ("4242424242424241", "a wrong digit"),
    ("4000000000009011", "the PSP takes 3 seconds"),
    ("4000000000009037", "the PSP charges, then answers 500"),
    ("4000000000009029", "the PSP charges, then says nothing"),
]
SELLERS = {
    "ada": "Ada's Books",
    "bolt": "Bolt Bikes",
    "cleo": "Cleo Ceramics",
    "dune": "Dune Audio",
    "emi": "Emi Tea House",
}
ADA, BEN, CHIO = (
    ("Ada Lindqvist", "ada.lindqvist@example.com"),
    ("Ben Okafor", "ben.okafor@example.com"),
    ("Chio Sato", "chio.sato@example.com"),
)
STORY = (
    Basket("spring-reading", ADA, "EUR", (("ada", "42.80", "Two novels and a map"), ("cleo", "36.00", "Tea bowl")), delivered=True),
    Basket("commuter", BEN, "EUR", (("bolt", "649.00", "City bike, blue"), ("bolt", "39.90", "Helmet")), delivered=True),
    Basket("studio", BEN, "USD", (("dune", "1280.00", "Studio monitors, pair"),), card=DEBIT, delivered=True),
    Basket("matcha", CHIO, "JPY", (("emi", "4800", "Matcha, ceremonial grade"), ("cleo", "5200", "Whisk and bowl")), delivered=True),
    Basket("broken-bowl", ADA, "EUR", (("cleo", "58.00", "Serving bowl"),), refund="58.00"),
    Basket("one-book-too-many", BEN, "EUR", (("ada", "31.50", "Three paperbacks"),), refund="10.50", delivered=True),
    Basket("winter-shelf", CHIO, "EUR", (("ada", "86.40", "Collected stories"), ("cleo", "112.00", "Six dinner plates")), delivered=True),
    Basket("gift-box", ADA, "EUR", (("ada", "64.20", "Atlas of islands"), ("bolt", "54.00", "Lock"), ("cleo", "48.00", "Teapot"))),
    Basket("no-luck", CHIO, "EUR", (("ada", "18.00", "Poems"), ("bolt", "24.00", "Bell and lights")), card=POOR),
    Basket("gave-up", BEN, "EUR", (("cleo", "75.00", "Vase"),), card=DECLINED, expired=True),
    Basket("forgotten", ADA, "USD", (("dune", "89.00", "Headphones"),), card="", expired=True),
    Basket("still-open", CHIO, "EUR", (("bolt", "119.00", "Child seat"),), card=""),
    Basket("bank-is-thinking", CHIO, "USD", (("dune", "27.30", "Long cable"),), card=PENDING),
)


class Command(BaseCommand):
    help = "Write the demo's story (once) and print where everything is as one JSON line."

    def handle(self, *args: Any, **options: Any) -> None:
        demo.require_demo()
        shop = Shop.objects.filter(name=demo.SHOP_NAME).first()
        if not shop:
            shop = open_shop()
        Shop.objects.filter(pk=shop.pk).update(return_origins=[settings.PSP_SANDBOX_URL])  # its port may be another one today
        ApiKey.objects.filter(shop=shop, name="Demo").update(scopes=list(ApiKey.Scope.values))  # there may be more of them today
        shop.refresh_from_db()
        for basket in STORY:
            if not PaymentEvent.objects.filter(shop=shop, checkout_id=basket.name).exists():
                live_through(shop, basket)
        deliver_what_was_sent(shop)
        expiry.expire_checkouts(now=clock.now())
        load_rates()
        codes = stories.get_ready(shop, now=clock.now())
        self.stdout.write(json.dumps(what_there_is(shop, codes)))


def open_shop() -> Shop:
    """Make the shop with its sellers, fees, logins and API key."""
    shop = Shop.objects.create(name=demo.SHOP_NAME, return_origins=[settings.PSP_SANDBOX_URL])
    give_it_a_brand(shop)
    user_model = get_user_model()
    user_model.objects.create_superuser("admin", "admin@example.com", demo.password_of("admin"))
    for username, name in SELLERS.items():
        seller = Seller.objects.create(shop=shop, name=name, reference=username)
        seller.users.add(user_model.objects.create_user(username, f"{username}@example.com", demo.password_of(username)))
    FeeSchedule.objects.create(shop=shop, basis_points=900, fixed=exact("0.30", "EUR"))
    FeeSchedule.objects.create(shop=shop, basis_points=900, fixed=exact("0.35", "USD"))
    FeeSchedule.objects.create(shop=shop, seller=shop.sellers.get(reference="bolt"), basis_points=650, fixed=exact("0.30", "EUR"))
    token = demo.api_key_token()
    ApiKey.objects.create(
        shop=shop,
        name="Demo",
        prefix=token[:12],
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        scopes=[scope.value for scope in ApiKey.Scope],
    )
    return shop


def give_it_a_brand(shop: Shop) -> None:
    """Let the shop's pages have its logo and its colour."""
    branding.keep_logo(shop, branding.redrawn(LOGO.read_bytes()))
    shop.accent = ACCENT
    shop.save(update_fields=["logo", "accent"])


def live_through(shop: Shop, basket: Basket) -> None:
    """Open the basket, pay it with its card, refund it: whatever its story says."""
    event = baskets.open_basket(shop, basket, checkout_id=basket.name)
    if basket.card:
        baskets.pay(event, number=basket.card)
    if basket.refund or basket.delivered:
        baskets.wait_until_paid(event)
    if basket.refund:
        order = event.orders.get()
        refunds.request_refund(order.pk, amount=exact(basket.refund, basket.currency), reason="Returned by the buyer", now=clock.now())
        refund_executor.execute_due_refunds(now=clock.now())
    if basket.expired:
        event.open_checkout.expires_at = clock.now()
        event.open_checkout.save()
        PaymentEvent.objects.filter(pk=event.pk).update(expires_at=clock.now())


def deliver_what_was_sent(shop: Shop) -> None:
    """Say, as the shop's back end would, that the baskets of the story arrived; what was sold in them becomes available."""
    names = [basket.name for basket in STORY if basket.delivered]
    sent = PaymentOrder.objects.filter(event__shop=shop, event__checkout_id__in=names, status=OrderStatus.SUCCESS, delivered_at=None)
    for order in sent.exclude(refunded=F("amount")):
        releases.deliver(order.pk, at=clock.now(), actor=SHOP, now=clock.now())
    while releases.release_due(now=clock.now()):
        pass


def load_rates() -> None:
    """Take rates of the day that the clock shows; `demo_rates` made them up.  What staff have set meanwhile stays."""
    try:
        rates.load(demo_rates.file_of(clock.now().date()), by=SHOP, now=clock.now())
    except RateRefused:
        logger.info("the demo's rates are not taken: others are there")


def what_there_is(shop: Shop, codes: dict[str, str]) -> dict[str, Any]:
    """Return what the demo's table shows; `codes` are those of the gift cards, by story."""
    url = settings.PUBLIC_URL
    checkouts = {story.name: f"{url}/checkout/{stories.checkout_of(shop, story, now=clock.now()).token}" for story in stories.STORIES}
    return {
        "urls": {
            "stories": f"{url}/demo/",
            "checkout": checkouts["card"],
            "seller": f"{url}/seller/",
            "admin": f"{url}/admin/",
            "docs": f"{url}/docs",
            "sandbox": f"{settings.PSP_SANDBOX_URL}/",
        },
        "logins": [
            {"who": "Superuser", "url": f"{url}/admin/", "user": "admin", "password": demo.password_of("admin")},
            *[
                {"who": f"Seller {name}", "url": f"{url}/seller/", "user": user, "password": demo.password_of(user)}
                for user, name in SELLERS.items()
            ],
        ],
        "api_key": demo.api_key_token(),
        "test_cards": [{"number": number, "what": what} for number, what in TEST_CARDS],
        "ready": [
            {
                "name": story.name,
                "title": story.title,
                "url": checkouts[story.name],
                "type": ", ".join([*([codes[story.name]] if story.gift_card else []), *(text for _label, text in story.types)])
                or story.hint,
            }
            for story in stories.STORIES
        ],
        "gift_cards": codes,
    }
