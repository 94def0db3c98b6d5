"""What a newcomer can try in the demo, each in a minute: one checkout for each way to pay that is always ready.

`demo_data` opens them all, the demo's table lists them, and the page /demo/ (config/stories.py) shows them.  A checkout that was used, or is
about to expire, is followed by a new one; so is a gift card of which something was spent.  What makes anything ready holds `one_at_a_time`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from djmoney.money import Money

from ledger.money import exact, zero
from payments import saved_cards
from payments.management import baskets
from payments.management.baskets import GOOD, Basket
from payments.models import ChosenTender, PaymentEvent
from payments.states import SessionStatus
from wallet import buyer_wallets, gift_card_codes, gift_cards, stored_value
from wallet.gift_cards import NewGiftCard
from wallet.models import GiftCard, Shop

GRANTED_BY = "staff:admin"
USED = (SessionStatus.COMPLETE, SessionStatus.IN_REVIEW, SessionStatus.FAILED, SessionStatus.UNUSED)
LEFT = timedelta(hours=1)  # for which a checkout that is offered must be open yet
# Whoever is before us may wait for a worker that pays (baskets.DEADLINE_S), which is longer than the house waits for any other lock
LOCK = "SELECT set_config('lock_timeout', '30s', false), pg_advisory_lock(hashtextextended('demo.stories', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('demo.stories', 0))"
VALID_DAYS = 30  # of the gift cards, so that the test clock ends them within a month

ROSA = ("Rosa Martín", "rosa.martin@example.com")  # signed in: she has a saved card, and money in her wallet
MAX, AMELIE, LUCIA, NOUR, YUKI = (
    ("Max Brandt", "max.brandt@example.com"),
    ("Amélie Laurent", "amelie.laurent@example.com"),
    ("Lucía Ferrer", "lucia.ferrer@example.com"),
    ("نور الصباح", "nour.alsabah@example.com"),
    ("佐藤 由紀", "yuki.sato@example.com"),
)


@dataclass(frozen=True)
class Story:
    """A way to pay: what to do, what is seen then, and what is typed for it, each with its label; a `hint` where nothing is.

    With a `gift_card` over so much, a code of one is typed, too.
    """

    title: str
    basket: Basket
    do: str
    see: str
    types: tuple[tuple[str, str], ...] = ()
    gift_card: str = ""
    hint: str = ""

    @property
    def name(self) -> str:
        return self.basket.name


THREE = (("ada", "24.90", "The Sea, hardback"), ("bolt", "89.00", "Pannier bag"), ("cleo", "14.50", "Espresso cup"))
VISA = ("Card number", "4242 4242 4242 4242")

STORIES = (
    Story(
        "Card",
        Basket("card", ROSA, "EUR", THREE),
        "Type the card number, any month to come and any three digits, and pay.",
        "One press pays three sellers. The fields belong to the PSP: the number never reaches Onebook.",
        (VISA,),
    ),
    Story(
        "3-D Secure",
        Basket("card-3ds", MAX, "EUR", (("bolt", "54.00", "Lock"), ("ada", "16.90", "Road atlas"))),
        "Type this card number, press Pay, and answer the bank's question.",
        "The bank asks whether it is really you. Say no, and nothing is charged; you can try again.",
        (("Card number", "4000 0025 0000 3155"),),
    ),
    Story(
        "Saved card",
        Basket("saved-card", ROSA, "EUR", (("cleo", "32.00", "Two soup bowls"),), signed_in=True),
        "Leave the saved Visa as it is chosen, and press Pay.",
        "The shop says that Rosa is signed in, so the page offers what she saved before. Nothing is typed.",
    ),
    Story(
        "Digital wallet",
        Basket("digital-wallet", MAX, "EUR", (("ada", "27.50", "A cookery book"), ("emi", "12.00", "Green tea"))),
        "Choose Digital wallet, continue, and pay with a card of the sheet.",
        "The wallet's own sheet leads back by itself. Two of its four cards are declined when they are charged.",
    ),
    Story(
        "QR code",
        Basket("qr", MAX, "EUR", (("bolt", "39.90", "Helmet"),)),
        "Choose QR code, open the phone's page below it, and approve there.",
        "The page follows by itself. The code is good for five minutes: an hour on the test clock ends it, and the page offers a new one.",
    ),
    Story(
        "Pay later, approved",
        Basket("pay-later", MAX, "EUR", (("bolt", "240.00", "Trailer"),)),
        "Choose Pay later, continue, leave Ada chosen, and agree.",
        "Three instalments and their days are shown before anything is agreed. The sellers have all of it at once.",
        hint="ada@approved.example",
    ),
    Story(
        "Pay later, declined",
        Basket("pay-later-declined", MAX, "EUR", (("cleo", "90.00", "Vase"),)),
        "Choose Pay later, continue, choose Dan, and agree.",
        "The provider says no, nothing is charged, and every other way to pay is still there.",
        hint="dan@declined.example",
    ),
    Story(
        "Pay later, looked at",
        Basket("pay-later-referred", MAX, "EUR", (("dune", "129.00", "Headphones"),)),
        "Choose Pay later, continue, choose Rita, and agree.",
        "A person at the provider decides: after a minute by itself, or at once on the sandbox's front page. You may close the page meanwhile.",
        hint="rita@referred.example",
    ),
    Story(
        "Gift card",
        Basket("gift-card", MAX, "EUR", (("ada", "22.50", "Haiku"),)),
        "Open Gift card, apply the code, and press Pay.",
        "The card pays all of it: no PSP is asked, and the payment is settled by that very press. What is left stays on the card.",
        gift_card="25.00",
    ),
    Story(
        "Gift card and card",
        Basket("gift-card-and-card", MAX, "EUR", THREE),
        "Apply the code, then pay the rest by card.",
        "The gift card is held first and taken when the card has paid; if the card is declined, it is whole again.",
        (VISA,),
        gift_card="20.00",
    ),
    Story(
        "Buyer's wallet",
        Basket("wallet", ROSA, "EUR", (("emi", "18.00", "Oolong"), ("ada", "9.50", "Poems")), signed_in=True),
        "Press “Use 27.50 EUR of your balance”, then Pay.",
        "Rosa, who is signed in, topped up 40.00 by card before. What she spends comes off that, and no PSP is asked.",
    ),
    Story(
        "Buy a gift card",
        Basket("buy-gift-card", MAX, "EUR", (("", "50.00", "Gift card"),), fills="gift_card"),
        "Pay by card, or in any other way but a gift card.",
        "No seller has a part in it and there is no fee: it is owed to whoever holds the card.",
        (VISA,),
    ),
    Story(
        "Top up the wallet",
        Basket("top-up", ROSA, "EUR", (("", "30.00", "Top-up"),), signed_in=True, fills="wallet"),
        "Leave the saved Visa as it is chosen, and press Pay.",
        "Rosa's balance grows by 30.00: open “Buyer's wallet” after it.",
    ),
    Story(
        "In French",
        Basket("french", AMELIE, "EUR", (("ada", "1249.00", "L'Encyclopédie, 28 volumes"), ("cleo", "36.00", "Bol à thé")), locale="fr"),
        "Pay in any way.",
        "The page is in the language that the shop asked for, with its figures; the menu changes it.",
        (VISA,),
    ),
    Story(
        "In Spanish",
        Basket("spanish", LUCIA, "EUR", (("bolt", "75.00", "Cesta de mimbre"),), locale="es"),
        "Pay in any way.",
        "The notices and the receipt are in Spanish, too.",
        (VISA,),
    ),
    Story(
        "In Japanese, in yen",
        Basket("japanese", YUKI, "JPY", (("emi", "4800", "抹茶"), ("cleo", "5200", "茶碗")), locale="ja"),
        "Pay in any way.",
        "Yen have no minor unit: there is no decimal point anywhere.",
        (VISA,),
    ),
    Story(
        "In Arabic, in dinars",
        Basket("arabic", NOUR, "KWD", (("dune", "12.750", "سماعات"), ("emi", "3.125", "شاي")), locale="ar"),
        "Pay in any way.",
        "The page runs from right to left. Kuwaiti dinars have three decimals.",
        (VISA,),
    ),
)
BY_NAME: Mapping[str, Story] = {story.name: story for story in STORIES}
TOPPED_UP = Basket("topped-up", ROSA, "EUR", (("", "40.00", "Top-up"),), signed_in=True, fills="wallet")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until nobody else makes a story ready: two who did so at once would pay one top-up twice, or make each other's codes worthless.

    A lock of Postgres that ends with this process or its connection.  No transaction may be open.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(UNLOCK)
            cursor.execute("RESET lock_timeout")


def get_ready(shop: Shop, *, now: datetime) -> dict[str, str]:
    """Open whatever is not ready, and return the codes of the gift cards, by story."""
    with one_at_a_time():
        rosa_has_paid_before(shop, now=now)
        for story in STORIES:
            checkout_of(shop, story, now=now)
        return {story.name: code_of(shop, story, now=now) for story in STORIES if story.gift_card}


def checkout_of(shop: Shop, story: Story, *, now: datetime) -> PaymentEvent:
    """Return the story's checkout that nobody has used; a new one if the last was used or is about to expire."""
    opened = opened_of(shop, story.basket)
    unused = opened.filter(confirmations=0, expires_at__gt=now + LEFT, return_url__startswith=f"{settings.PSP_SANDBOX_URL}/")
    waiting = unused.exclude(sessions__status__in=USED).exclude(pk__in=ChosenTender.objects.filter(event__in=unused).values("event")).last()
    return waiting or baskets.open_basket(shop, story.basket, checkout_id=f"try.{story.name}.{opened.count() + 1}")


def opened_of(shop: Shop, basket: Basket) -> QuerySet[PaymentEvent]:
    """Return all checkouts that were opened for it, in their order."""
    return PaymentEvent.objects.filter(shop=shop, checkout_id__startswith=f"try.{basket.name}.").order_by("pk")


def rosa_has_paid_before(shop: Shop, *, now: datetime) -> None:
    """Let Rosa have a saved card, and enough in her wallet for its story: topped up by a payment with a card that she keeps."""
    rosa = buyer_wallets.buyer_of(shop, ROSA[1])
    wallet = buyer_wallets.in_currency(rosa, "EUR") if rosa else None
    needed = total_of(BY_NAME["wallet"].basket)
    has_enough = wallet is not None and stored_value.usable(wallet, currency="EUR", now=now) >= needed
    if has_enough and saved_cards.offered_to(checkout_of(shop, BY_NAME["saved-card"], now=now)):
        return
    event = baskets.open_basket(shop, TOPPED_UP, checkout_id=f"try.topped-up.{opened_of(shop, TOPPED_UP).count() + 1}")
    baskets.pay(event, number=GOOD, save_card=True)
    baskets.wait_until_paid(event)


def code_of(shop: Shop, story: Story, *, now: datetime) -> str:
    """Return a new code of a card for the story of which nothing was spent, making one if there is none; a code is kept nowhere."""
    given = GiftCard.objects.filter(shop=shop, origin=GiftCard.Origin.GRANTED, reference__startswith=f"try.{story.name}.")
    card = next((card for card in given.select_related("value") if is_whole(card, now=now)), None)
    if card is None:
        amount = exact(story.gift_card, story.basket.currency)
        wanted = NewGiftCard(amount, reference=f"try.{story.name}.{len(given) + 1}", valid_days=VALID_DAYS)
        card, _is_new = gift_cards.grant(shop, wanted, reason="To try the demo", by=GRANTED_BY, now=now)
    return gift_cards.make_code(card.pk, now=now)


def is_good(shop: Shop, code: str, *, now: datetime) -> bool:
    """Does the code open a card of which nothing was spent?"""
    hashed = gift_card_codes.hash_of(gift_card_codes.normalised(code))
    card = GiftCard.objects.filter(shop=shop, code_hash=hashed).select_related("value").first()
    return card is not None and is_whole(card, now=now)


def is_whole(card: GiftCard, *, now: datetime) -> bool:
    return stored_value.usable(card.value, currency=card.amount.currency.code, now=now) == card.amount


def total_of(basket: Basket) -> Money:
    return sum((exact(amount, basket.currency) for _seller, amount, _what in basket.lines), start=zero(basket.currency))
