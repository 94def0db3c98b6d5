"""Baskets of the demo: what somebody buys of whom, opened and paid the usual way: intake, the PSP's own page, the executor, settlement."""

import time
from dataclasses import dataclass
from typing import Literal

from django.conf import settings
from django.core.management.base import CommandError

from ledger import clock
from ledger.money import exact
from payments import executor, intake, sessions
from payments.intake import NewOrder, NewPayment
from payments.management import buyer
from payments.models import PaymentEvent
from payments.states import OrderStatus
from wallet.buyer_wallets import TopUp
from wallet.gift_cards import NewGiftCard, Sale
from wallet.models import Seller, Shop

DEADLINE_S = 20
GOOD = "4242424242424242"


@dataclass(frozen=True)
class Basket:
    """One basket of the story: who buys, what of whom (seller, amount, what it is), and how it goes.

    What `fills` a gift card or the buyer's wallet has one line, of no seller.
    """

    name: str
    buyer: tuple[str, str]
    currency: str
    lines: tuple[tuple[str, str, str], ...]
    card: str = GOOD
    refund: str = ""
    expired: bool = False
    delivered: bool = False
    signed_in: bool = False
    locale: str = "en"
    fills: Literal["", "gift_card", "wallet"] = ""


def open_basket(shop: Shop, basket: Basket, *, checkout_id: str) -> PaymentEvent:
    name, email = basket.buyer
    payment = NewPayment(
        checkout_id=checkout_id,
        buyer_reference=email,
        buyer_name=name,
        buyer_email=email,
        buyer_signed_in=basket.signed_in,
        orders=[bought(basket, checkout_id)] if basket.fills else sold(shop, basket, checkout_id),
        return_url=f"{settings.PSP_SANDBOX_URL}/shop/thanks",
        locale=basket.locale,
    )
    event, _is_new = intake.open_event(shop, payment, now=clock.now())
    return event


def sold(shop: Shop, basket: Basket, checkout_id: str) -> list[NewOrder]:
    sellers = dict(Seller.objects.filter(shop=shop).values_list("reference", "public_id"))
    return [
        NewOrder(sellers[seller], exact(amount, basket.currency), reference=f"{checkout_id}-{number}", description=what)
        for number, (seller, amount, what) in enumerate(basket.lines, start=1)
    ]


def bought(basket: Basket, checkout_id: str) -> NewOrder:
    [(_nobody, figures, what)] = basket.lines
    amount = exact(figures, basket.currency)
    is_card = basket.fills == "gift_card"
    fills = Sale(NewGiftCard(amount, reference=checkout_id), now=clock.now()) if is_card else TopUp(basket.currency)
    return NewOrder("", amount, reference=f"{checkout_id}-1", description=what, fills=fills)


def pay(event: PaymentEvent, *, number: str, save_card: bool = False) -> None:
    """Pay as the buyer would: card to the PSP's page, one confirmation, then the executor's turn."""
    opened = sessions.open_session(event, language="en", now=clock.now(), save_card=save_card)
    buyer.give_card(opened.session.hosted_url, number=number)
    sessions.confirm(opened.row, sessions.ask(opened.row, now=clock.now()), now=clock.now())
    while executor.execute_due_orders(now=clock.now()):
        pass


def wait_until_paid(event: PaymentEvent) -> None:
    """Wait for the orders that the demo's own worker was faster to claim.  Raises CommandError after DEADLINE_S."""
    until = time.monotonic() + DEADLINE_S
    while event.orders.filter(status=OrderStatus.EXECUTING).exists():
        if time.monotonic() > until:
            raise CommandError(f"{event.checkout_id} is not paid after {DEADLINE_S} s")
        time.sleep(0.05)
