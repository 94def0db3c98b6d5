"""What the payment page says: a payment's rows become the words, sections and links that its templates lay out.

Reads rows that are loaded already, asks nobody and changes nothing.  All text is in the active language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from babel import Locale
from django.urls import reverse
from django.utils.translation import get_language, gettext
from djmoney.money import Money

from ledger import money
from ledger.errors import DomainError
from payments import queries, results, wording
from payments.models import PaymentEvent, PaymentOrder
from payments.results import Result
from payments.standing import Standing, State
from payments.states import OrderStatus

PSP_NAMES = {"sandbox": "Sandbox Payments"}
BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover"}
SLOW_AFTER = timedelta(seconds=30)
TEMPLATES = {
    State.PAY: "checkout/pay.html",
    State.WAITING: "checkout/waiting.html",
    State.PAID: "checkout/paid.html",
    State.PARTLY_PAID: "checkout/paid.html",
    State.FAILED: "checkout/closed.html",
    State.EXPIRED: "checkout/closed.html",
    State.CANCELLED: "checkout/closed.html",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a seller's part.  `amount` is empty if the shop did not say it."""

    name: str
    quantity: int
    amount: str


@dataclass(frozen=True, slots=True)
class Section:
    """One seller's part of the basket.  `outcome` is paid, failed, cancelled or empty (not decided)."""

    seller: str
    description: str
    reference: str
    amount: str
    items: Sequence[Item]
    outcome: str
    reason: str


def template_of(standing: Standing) -> str:
    """Return the template of a state; where something can be paid, that is the card form whatever went before."""
    return "checkout/pay.html" if standing.can_pay else TEMPLATES[standing.state]


def page_of(event: PaymentEvent, standing: Standing, *, now: datetime) -> dict[str, Any]:
    """Return the context of the payment page's templates."""
    locale = locale_of(event)
    orders = list(event.orders.all())
    sections = [section_of(order, locale) for order in orders]
    to_pay, paid = wording.amount_text(standing.to_pay, locale), wording.amount_text(standing.paid, locale)
    return {
        "event": event,
        "shop": event.shop.name,
        "standing": standing,
        "state": standing.state.value,
        "title": title_of(standing, locale=locale),
        "total": wording.amount_text(total_of(event, orders), locale),
        "to_pay": to_pay,
        "paid": paid,
        "currency": event.amount.currency.code,
        "sections": sections,
        "basket": wording.basket_words(len({order.seller_id for order in orders})),
        "paid_sections": [section for section in sections if section.outcome == "paid"],
        "unpaid_sections": [section for section in sections if section.outcome == "failed"],
        "reason": wording.reason_of([order.failure_code for order in orders if order.status == OrderStatus.FAILED]),
        "in_part": standing.state == State.PARTLY_PAID,
        "statement": wording.statement_name(event.shop.name),
        "card": card_text(event.card_brand, event.card_last4),
        "paid_at": paid_at(orders, locale),
        "is_slow": is_slow(orders, now=now),
        "psp": PSP_NAMES.get(event.psp, event.psp.title()),
        "is_test": event.psp == "sandbox",
        "back_url": back_url(event, standing, now=now),
        "urls": {name: reverse(f"checkout-{name}", args=[event.token]) for name in ("session", "hosted", "complete", "status", "return")},
        "page_url": reverse("checkout", args=[event.token]),
    }


def total_of(event: PaymentEvent, orders: Sequence[PaymentOrder]) -> Money:
    """Return what the basket costs without its cancelled parts; all of it if every part was cancelled."""
    standing_orders = [order for order in orders if order.status != OrderStatus.CANCELLED]
    return queries.sum_of(standing_orders) if standing_orders else event.amount


def locale_of(event: PaymentEvent) -> Locale:
    """Return the locale in which the page of the active language writes this payment's figures."""
    return wording.locale_of(event.locale, language=get_language() or "en")


def title_of(standing: Standing, *, locale: Locale) -> str:
    """Return what the tab says first."""
    titles = {
        State.PAY: gettext("Pay %(amount)s") % {"amount": wording.amount_text(standing.to_pay, locale)},
        State.WAITING: gettext("Confirming your payment"),
        State.PAID: gettext("Paid"),
        State.PARTLY_PAID: gettext("Partly paid"),
        State.FAILED: gettext("Not paid"),
        State.EXPIRED: gettext("Expired"),
        State.CANCELLED: gettext("Cancelled"),
    }
    return titles[standing.state]


def section_of(order: PaymentOrder, locale: Locale) -> Section:
    outcomes = {OrderStatus.SUCCESS: "paid", OrderStatus.FAILED: "failed", OrderStatus.CANCELLED: "cancelled"}
    return Section(
        seller=order.seller.name,
        description=order.description,
        reference=order.reference,
        amount=wording.amount_text(order.amount, locale),
        items=[item_of(item, locale) for item in order.items],
        outcome=outcomes.get(OrderStatus(order.status), ""),
        reason=wording.reason_of([order.failure_code]).what if order.status == OrderStatus.FAILED else "",
    )


def item_of(item: Mapping[str, Any], locale: Locale) -> Item:
    """Read one item as the shop sent it; an amount that cannot be read is left out rather than shown wrong."""
    try:
        amount = wording.amount_text(money.exact(item["amount"]["amount"], item["amount"]["currency"]), locale)
    except (KeyError, TypeError, DomainError):
        amount = ""
    return Item(str(item.get("name", "")), int(item.get("quantity") or 1), amount)


def card_text(brand: str, last4: str) -> str:
    """Return "Visa ending 4242", or nothing when no card is known."""
    if not last4:
        return ""
    return gettext("%(brand)s ending %(last4)s") % {"brand": BRANDS.get(brand, brand.title() or gettext("Card")), "last4": last4}


def paid_at(orders: Sequence[PaymentOrder], locale: Locale) -> str:
    """Return when the PSP took the last of the money, or nothing."""
    moments = [order.journal_entry.happened_at for order in orders if order.journal_entry]
    return wording.moment_text(max(moments), locale) if moments else ""


def is_slow(orders: Sequence[PaymentOrder], *, now: datetime) -> bool:
    """Tell whether an order has been executing for more than half a minute."""
    executing = [order for order in orders if order.status == OrderStatus.EXECUTING]
    return any(attempt.created_at < now - SLOW_AFTER for order in executing for attempt in order.attempts.all() if not attempt.finished_at)


def back_url(event: PaymentEvent, standing: Standing, *, now: datetime) -> str:
    """Return the way back to the shop with the signed result on it; nothing if the shop gave no address."""
    if not event.return_url:
        return ""
    result = Result(event.public_id, standing.result_status, int(now.timestamp()))
    return results.signed_address(event.return_url, result, secret=event.shop.signing_secret)
