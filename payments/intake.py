"""Intake: a shop's checkout becomes a payment event and its payment orders, each with its fee frozen.  Hop 2 of the seven (README).

The checkout id is the shop's and is used once, for ever: the same terms again answer with the same event, changed terms are refused with
the name of what changed.

An order may fill a gift card or a buyer's wallet instead of selling what a seller has: it has no fee, and the shop itself stands for its
seller (`Seller.is_house`), without a wallet of its own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.utils import translation
from django.utils.translation import gettext as _
from djmoney.money import Money
from psycopg.errors import DeadlockDetected

from ledger import chart, journal, money
from ledger.currencies import WITHDRAWN
from ledger.errors import DomainError
from payments import fee_schedules
from payments.fees import FeeTerms, fee_and_net
from payments.models import FeeSchedule, OpenCheckout, PaymentEvent, PaymentOrder
from payments.psp import registry
from wallet import balances, branding
from wallet.models import Buyer, Seller, Shop, StoredValue

MOST_ORDERS = 1000
REFERENCE_CONSTRAINT = "order_reference_is_unique_in_its_shop"


class InvalidCheckout(DomainError):
    code = "invalid_checkout"


class UnknownSeller(DomainError):
    code = "unknown_seller"


class MixedCurrencies(DomainError):
    code = "mixed_currencies"


class WithdrawnCurrency(DomainError):
    code = "currency_withdrawn"


class CheckoutConflict(DomainError):
    code = "checkout_conflict"


class OrderReferenceUsed(DomainError):
    code = "order_reference_used"


class ReturnUrlRefused(DomainError):
    code = "return_url_not_allowed"


class TakesNoStoredValue(DomainError):
    code = "takes_no_stored_value"


class Purchase(Protocol):
    """Stored value that an order buys, and that may not be there yet (wallet/gift_cards.py, wallet/buyer_wallets.py)."""

    def prepare(self, buyer: Buyer) -> StoredValue:
        """Return what is to be filled, making it where it is not there; inside the transaction that opens the checkout."""

    def is_same(self, standing: StoredValue) -> bool:
        """Is this what an order fills already?"""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What one seller is to get: `seller` is a seller's public id, `reference` the shop's own id of the order (may be empty).

    `category` is the shop's own word for what is sold, by which fee schedules may differ (may be empty).  An order that `fills` a gift card
    or a wallet has no seller ("").
    """

    seller: str
    amount: Money
    reference: str = ""
    description: str = ""
    category: str = ""
    items: Sequence[Mapping[str, Any]] = ()
    fills: StoredValue | Purchase | None = None


@dataclass(frozen=True, slots=True)
class NewPayment:
    """What a shop's back end asks for.  All orders are in one currency; the total is their sum.

    `buyer_signed_in`: the shop vouches that whoever gets the page is this buyer, whose wallet and saved cards may be offered.
    `buyer_country` (ISO 3166, two letters) is where the buyer is: ways to pay that are not for it are not offered.  Empty: not known.
    """

    checkout_id: str
    buyer_reference: str
    orders: Sequence[NewOrder]
    buyer_name: str = ""
    buyer_email: str = ""
    buyer_signed_in: bool = False
    buyer_country: str = ""
    return_url: str = ""
    locale: str = "en"
    metadata: Mapping[str, str] = field(default_factory=dict)


def open_event(shop: Shop, payment: NewPayment, *, now: datetime) -> tuple[PaymentEvent, bool]:
    """Store the event and its orders; return it, and whether it is new.

    Commits one transaction of its own.  Raises, before anything is stored: InvalidCheckout, MixedCurrencies, WithdrawnCurrency, UnknownSeller,
    ReturnUrlRefused, OrderReferenceUsed, UnknownPsp (none is configured); and CheckoutConflict if the checkout id stands with other terms.
    """
    if not settings.DEFAULT_PSP:
        raise registry.UnknownPsp("No payment service provider is configured. Set DEFAULT_PSP.")
    currency = require_orders(payment.orders)
    require_return_url(shop, payment.return_url)
    sellers = sellers_of(shop, payment.orders)
    standing = PaymentEvent.objects.filter(shop=shop, checkout_id=payment.checkout_id).first()
    if standing:
        return require_same(standing, payment), False
    require_in_use(currency)
    require_new_references(shop, payment.orders)
    try:
        return store(shop, payment, sellers=sellers, currency=currency, now=now), True
    except OperationalError as error:  # a checkout with the same references in another order; Postgres let it go on, so that it is first
        if not isinstance(error.__cause__, DeadlockDetected):
            raise
        return open_event(shop, payment, now=now)
    except IntegrityError as error:  # somebody else was first, in this very moment
        standing = PaymentEvent.objects.filter(shop=shop, checkout_id=payment.checkout_id).first()
        if standing:
            return require_same(standing, payment), False
        if REFERENCE_CONSTRAINT in str(error):
            require_new_references(shop, payment.orders)
        raise


def require_in_use(currency: str) -> None:
    """Raise WithdrawnCurrency for one that ISO 4217 has dropped: what stands in it can be refunded and paid out, and nothing new begins."""
    instead = WITHDRAWN.get(currency)
    if instead is not None:
        raise WithdrawnCurrency(
            f"{currency} is no longer in use: {instead} took its place. Send amounts in {instead}.",
            field="payment_orders[0].amount.currency",
        )


@transaction.atomic(durable=True)
def store(shop: Shop, payment: NewPayment, *, sellers: Mapping[str, Seller], currency: str, now: datetime) -> PaymentEvent:
    """Write the event, its orders with their frozen fees, and whatever wallets and accounts they will need.

    The name for the buyer's statement is frozen too: a charge that is asked for again, after the shop took another name, is the same one.
    """
    buyer, _is_new = Buyer.objects.get_or_create(
        shop=shop, reference=payment.buyer_reference, defaults={"name": payment.buyer_name, "email": payment.buyer_email}
    )
    sold = [new for new in payment.orders if new.fills is None]
    asked = [(sellers[new.seller].id, new.category) for new in sold]
    terms = iter(fee_schedules.terms_of(shop, asked, currency=currency, method=FeeSchedule.Method.CARD, now=now) if sold else ())
    event = PaymentEvent.objects.create(
        shop=shop,
        checkout_id=payment.checkout_id,
        buyer=buyer,
        buyer_signed_in=payment.buyer_signed_in,
        buyer_country=payment.buyer_country,
        statement_name=branding.statement_name_of(shop),
        amount=total(payment.orders),
        psp=settings.DEFAULT_PSP,
        return_url=payment.return_url,
        locale=payment.locale,
        metadata=dict(payment.metadata),
        expires_at=now + timedelta(seconds=settings.CHECKOUT_LIFETIME_S),
    )
    orders = []
    for index, new in enumerate(payment.orders):
        if new.fills is None:
            orders.append(sale(event, new, seller=sellers[new.seller], terms=next(terms)))
        else:
            orders.append(purchase(event, new, value=value_of(new, buyer, index=index)))
    PaymentOrder.objects.bulk_create(orders)
    OpenCheckout.objects.create(event=event, expires_at=event.expires_at)
    journal.open_accounts([chart.psp_receivable(event.psp), chart.fee_revenue()], currency=currency)
    balances.open_wallets([seller.id for seller in sellers.values()], currency=currency)
    return event


def sale(event: PaymentEvent, new: NewOrder, *, seller: Seller, terms: FeeTerms) -> PaymentOrder:
    """Return the order of what a seller sells, with its fee frozen."""
    order = order_of(event, new)
    order.seller, order.description = seller, new.description
    order.fee, order.net = fee_and_net(new.amount, terms)
    return order


def purchase(event: PaymentEvent, new: NewOrder, *, value: StoredValue) -> PaymentOrder:
    """Return the order of what fills stored value: all of it is the buyer's, and nothing a seller's or ours."""
    order = order_of(event, new)
    order.seller, order.fills = house_seller(event.shop), value
    order.description = new.description or name_of(value, locale=event.locale)
    order.fee, order.net = new.amount * 0, new.amount
    return order


def order_of(event: PaymentEvent, new: NewOrder) -> PaymentOrder:
    order = PaymentOrder(event=event, shop=event.shop, reference=new.reference, amount=new.amount, psp=event.psp)
    order.category, order.items = new.category, [dict(item) for item in new.items]
    order.tendered = order.tendered_back = order.refunded = order.disputed = order.unreleased = new.amount * 0
    return order


def value_of(new: NewOrder, buyer: Buyer, *, index: int) -> StoredValue:
    """Return what the order fills.  Raises InvalidCheckout for what is another shop's or buyer's, or in another currency."""
    if new.fills is None:
        raise ValueError("the order fills nothing")
    value = new.fills if isinstance(new.fills, StoredValue) else new.fills.prepare(buyer)
    is_the_buyers = value.kind != StoredValue.Kind.WALLET or value.buyer_id == buyer.pk
    if value.shop_id != buyer.shop_id or not is_the_buyers or value.balance.currency != new.amount.currency:
        raise InvalidCheckout(
            "A gift card or wallet of another shop, buyer or currency cannot be filled.", field=f"payment_orders[{index}]"
        )
    return value


def house_seller(shop: Shop) -> Seller:
    """Return who stands for the shop where it sells gift cards and top-ups.  Inside the caller's transaction."""
    seller, _is_new = Seller.objects.get_or_create(shop=shop, is_house=True, defaults={"name": shop.name})
    return seller


def name_of(value: StoredValue, *, locale: str) -> str:
    """Return what an order that fills it is called, in the buyer's language."""
    with translation.override(locale):
        return _("Gift card") if value.kind == StoredValue.Kind.GIFT_CARD else _("Top-up")


def require_takes_stored_value(event: PaymentEvent) -> None:
    """Raise TakesNoStoredValue where a gift card or top-up is bought: that is paid with money, and not with a gift card or a wallet."""
    if event.orders.filter(fills__isnull=False).exists():
        raise TakesNoStoredValue("A gift card or top-up cannot be paid with a gift card or from the wallet. Choose another way to pay.")


def total(orders: Sequence[NewOrder]) -> Money:
    return sum((order.amount for order in orders[1:]), start=orders[0].amount)


def require_orders(orders: Sequence[NewOrder]) -> str:
    """Return the one currency of the orders.  Raises InvalidCheckout, MixedCurrencies."""
    if not 1 <= len(orders) <= MOST_ORDERS:
        raise InvalidCheckout(f"A checkout has 1 to {MOST_ORDERS} payment orders; this one has {len(orders)}.", field="payment_orders")
    currency = orders[0].amount.currency
    for index, order in enumerate(orders):
        if order.amount.currency != currency:
            raise MixedCurrencies(
                f"All payment orders of a checkout are in one currency; this one is in {order.amount.currency}, the first in {currency}.",
                field=f"payment_orders[{index}].amount.currency",
            )
        if order.amount.amount <= 0:
            raise InvalidCheckout("An amount must be more than zero.", field=f"payment_orders[{index}].amount.amount")
    if total(orders).amount > money.LARGEST:
        raise money.TooLarge(
            f"The sum of the orders is larger than the largest amount, which is {int(money.LARGEST)} in any currency.",
            field="payment_orders",
        )
    counts = Counter(order.reference for order in orders if order.reference)
    for index, order in enumerate(orders):
        if counts[order.reference] > 1:
            raise OrderReferenceUsed(
                f"{order.reference} comes more than once in this checkout. Give each order its own.",
                field=f"payment_orders[{index}].reference",
            )
    return str(currency.code)


def require_return_url(shop: Shop, return_url: str) -> None:
    """Raise ReturnUrlRefused unless the address is empty or at one of the shop's own origins, so that nobody is sent elsewhere."""
    if not return_url:
        return
    try:
        parts = urlsplit(return_url)
        origin = f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        origin = ""
    strange = any(ord(character) <= 32 or ord(character) == 127 for character in return_url) or "\\" in return_url
    if strange or origin not in shop.return_origins:
        allowed = ", ".join(shop.return_origins) or "none yet"
        raise ReturnUrlRefused(
            f"Buyers of this shop may be sent back to these origins only: {allowed}. Ask for yours to be added.", field="return_url"
        )


def sellers_of(shop: Shop, orders: Sequence[NewOrder]) -> dict[str, Seller]:
    """Return the sellers of what is sold by public id.  Raises UnknownSeller for one that is not the shop's, or stands for the shop."""
    asked = {order.seller for order in orders if order.fills is None}
    known = {seller.public_id: seller for seller in Seller.objects.filter(shop=shop, public_id__in=asked, is_house=False)}
    for index, order in enumerate(orders):
        if order.fills is None and order.seller not in known:
            raise UnknownSeller(
                f"There is no seller {order.seller[:60]!r} in this shop. GET /v1/sellers lists them.",
                field=f"payment_orders[{index}].seller",
            )
    return known


def require_new_references(shop: Shop, orders: Sequence[NewOrder]) -> None:
    """Raise OrderReferenceUsed for a reference that another checkout of the shop has used."""
    wanted = {order.reference: index for index, order in enumerate(orders) if order.reference}
    used = PaymentOrder.objects.filter(shop=shop, reference__in=wanted).exclude(reference="").values_list("reference", flat=True).first()
    if used is not None:
        raise OrderReferenceUsed(
            f"{used} belongs to another checkout. Give each order a reference of its own.",
            field=f"payment_orders[{wanted[used]}].reference",
        )


def require_same(event: PaymentEvent, payment: NewPayment) -> PaymentEvent:
    """Return the event that stands under the checkout id.  Raises CheckoutConflict naming the first term that is not the same."""
    orders = list(event.orders.select_related("seller", "fills").order_by("id"))
    differences = {
        "buyer.reference": event.buyer.reference != payment.buyer_reference,
        "buyer.signed_in": event.buyer_signed_in != payment.buyer_signed_in,
        "buyer.country": event.buyer_country != payment.buyer_country,
        "return_url": event.return_url != payment.return_url,
        "payment_orders": len(orders) != len(payment.orders),
    }
    for index, (order, new) in enumerate(zip(orders, payment.orders, strict=False)):
        differences |= {
            f"payment_orders[{index}].seller": not has_same_taker(order, new),
            f"payment_orders[{index}].amount": order.amount != new.amount,
            f"payment_orders[{index}].reference": order.reference != new.reference,
            f"payment_orders[{index}].category": order.category != new.category,
        }
    for term, differs in differences.items():
        if differs:
            raise CheckoutConflict(
                f"Checkout {event.checkout_id} was opened before, with another {term}. Use a new checkout_id for new terms.", field=term
            )
    return event


def has_same_taker(order: PaymentOrder, new: NewOrder) -> bool:
    """Does the order go to the same seller, or fill the same stored value?"""
    if order.fills is None or new.fills is None:
        return order.fills is None and new.fills is None and order.seller.public_id == new.seller
    return order.fills == new.fills if isinstance(new.fills, StoredValue) else new.fills.is_same(order.fills)
