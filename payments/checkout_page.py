"""What the payment page says: a payment's rows become the words, sections and links that its templates lay out.

Reads rows that are loaded already, asks nobody and changes nothing.  All text is in the active language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from babel import Locale
from django.urls import reverse
from django.utils.translation import get_language, gettext
from djmoney.money import Money

from ledger import money
from payments import queries, receipts, results, wording
from payments.choices import Choices, Offer, seconds_left, state_of
from payments.methods.card import CARD
from payments.methods.method import Asks, Method
from payments.methods.registry import METHODS
from payments.models import CheckoutSession, ChosenTender, PaymentEvent, PaymentOrder, SavedCard
from payments.results import Result
from payments.saved_cards import is_expired
from payments.standing import Standing, State
from payments.states import OrderStatus
from wallet import stored_value

ADDRESSES = (
    "session",
    "hosted",
    "complete",
    "status",
    "return",
    "gift_card",
    "gift_card_remove",
    "wallet",
    "card_forget",
    "qr",
    "receipt",
    "receipt_pdf",
)
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


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to pay as the page offers it; `disabled_reason` says why it cannot be chosen."""

    name: str
    label: str
    asks: str
    selected: bool
    disabled_reason: str


@dataclass(frozen=True, slots=True)
class Card:
    """A saved card as the page offers it."""

    id: str
    text: str
    expires: str
    is_expired: bool
    selected: bool


@dataclass(frozen=True, slots=True)
class TenderLine:
    """A gift card or the wallet, with what it pays; `left_after` is empty if nothing is left on it."""

    id: int
    kind: str
    label: str
    amount: str
    left_after: str
    remove_url: str


def template_of(standing: Standing) -> str:
    """Return the template of a state; where something can be paid, that is the card form whatever went before."""
    return "checkout/pay.html" if standing.can_pay else TEMPLATES[standing.state]


def page_of(event: PaymentEvent, standing: Standing, choices: Choices, *, now: datetime) -> dict[str, Any]:
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
        "statement": receipts.statement_of(event),
        "card": wording.card_text(event.card_brand, event.card_last4, funding=event.card_funding),
        "paid_at": paid_at(orders, locale),
        "is_slow": is_slow(orders, now=now),
        "psp": receipts.psp_name(event),
        "is_test": event.psp in receipts.TEST_PSPS,
        "back_url": back_url(event, standing, now=now),
        "urls": {name: reverse(f"checkout-{name.replace('_', '-')}", args=[event.token]) for name in ADDRESSES},
        "page_url": reverse("checkout", args=[event.token]),
        "expires_at": event.expires_at.isoformat(),
        "expires_text": wording.moment_text(event.expires_at, locale),
        "seconds_left": max(int((event.expires_at - now).total_seconds()), 0),
        **ways_to_pay(event, standing, choices, locale, now=now),
    }


def ways_to_pay(event: PaymentEvent, standing: Standing, choices: Choices, locale: Locale, *, now: datetime) -> dict[str, Any]:
    """Return what the page shows of the ways to pay: those there are, what was chosen, and what of it is ready."""
    methods = [choice_of(offer, selected=offer.method == choices.method) for offer in choices.offers]
    failed = failed_method(event, standing, choices)
    cards = [saved_card_of(card, choices.session, now=now) for card in choices.saved_cards]
    return {
        "methods": methods,
        "method": next((each for each in methods if each.selected), None),
        "method_state": state_of(choices.session, now=now),
        "saved_cards": cards,
        "chosen_card": chosen_card(cards),
        "may_save_card": event.buyer_signed_in,
        "tenders": [tender_of(chosen, event, choices, locale, now=now) for chosen in choices.tenders],
        "may_use_gift_card": choices.takes_gift_cards,
        "wallet": wallet_of(choices, locale, now=now),
        "rest": wording.amount_text(choices.plan.rest, locale),
        "needs_method": bool(choices.plan.rest),
        "pay_label": pay_label(choices, standing, locale),
        "qr": code_of(choices.session, now=now),
        "schedule": schedule_of(choices.session, locale),
        "failed": {"method": failed.name, "label": failed.label} if failed else None,
        "other_methods": [each for each in methods if not each.disabled_reason and each.name != (failed or choices.method or CARD).name],
    }


def choice_of(offer: Offer, *, selected: bool) -> Choice:
    return Choice(offer.method.name, str(offer.method.label), offer.method.asks.value, selected, offer.refusal)


def saved_card_of(card: SavedCard, session: CheckoutSession | None, *, now: datetime) -> Card:
    return Card(
        id=card.public_id,
        text=wording.card_text(card.brand, card.last4, funding=card.funding),
        expires=f"{card.exp_month:02}/{card.exp_year % 100:02}",
        is_expired=is_expired(card, now=now),
        selected=session is not None and session.saved_card_id == card.pk,
    )


def chosen_card(cards: Sequence[Card]) -> str:
    """Return the id of the saved card that the page proposes: the one chosen before, else the latest; empty if none is good any more."""
    good = [card for card in cards if not card.is_expired]
    return next((card.id for card in good if card.selected), good[0].id if good else "")


def tender_of(chosen: ChosenTender, event: PaymentEvent, choices: Choices, locale: Locale, *, now: datetime) -> TenderLine:
    """Return a gift card or the wallet that is used: what it pays, and what then is left on it."""
    part, currency = choices.part_of(chosen.value), choices.plan.rest.currency.code
    left = stored_value.usable(chosen.value, currency=currency, now=now) - part
    return TenderLine(
        id=chosen.pk,
        kind=chosen.value.kind,
        label=receipts.value_words(chosen.value),
        amount=wording.amount_text(part, locale),
        left_after=wording.amount_text(left, locale) if left else "",
        remove_url=reverse("checkout-gift-card-remove", args=[event.token]),
    )


def wallet_of(choices: Choices, locale: Locale, *, now: datetime) -> dict[str, Any] | None:
    """Return the buyer's wallet, if there is money in it that can be used here, or it is used."""
    if choices.wallet is None:
        return None
    used = any(chosen.value_id == choices.wallet.pk for chosen in choices.tenders)
    usable = stored_value.usable(choices.wallet, currency=choices.plan.rest.currency.code, now=now)
    if not (usable or used):
        return None
    part = choices.part_of(choices.wallet) if used else min(usable, choices.plan.rest)
    return {
        "balance": wording.amount_text(usable, locale),
        "will_pay": wording.amount_text(part, locale),
        "used": used,
        "is_enough": not choices.plan.rest if used else usable >= choices.plan.rest,
    }


def pay_label(choices: Choices, standing: Standing, locale: Locale) -> str:
    """Return what the button says that it does."""
    if choices.plan.rest and choices.method and choices.method.asks == Asks.REDIRECT:
        return gettext("Continue to %(method)s") % {"method": choices.method.label}
    if choices.plan.rest and choices.method and choices.method.asks == Asks.SHOW_CODE:
        return gettext("Show the code")
    amount = choices.plan.rest or standing.to_pay
    return gettext("Pay %(amount)s") % {"amount": wording.amount_text(amount, locale)}


def code_of(session: CheckoutSession | None, *, now: datetime) -> dict[str, Any] | None:
    """Return where the session's QR code is, and for how long it is good; None if it has none."""
    if session is None or not session.code_text:
        return None
    return {
        "svg_url": f"{reverse('checkout-qr', args=[session.event.token])}?code={session.pk}",
        "expires_at": session.expires_at.isoformat() if session.expires_at else "",
        "seconds_left": seconds_left(session, now=now),
        "is_over": state_of(session, now=now) != "waiting_for_phone",
    }


def schedule_of(session: CheckoutSession | None, locale: Locale) -> Sequence[Mapping[str, str]]:
    """Return what the buyer of pay later pays to the provider, and when."""
    return [
        {
            "due": wording.day_text(date.fromisoformat(each["due"]), locale),
            "amount": wording.amount_text(money.exact(each["amount"], each["currency"]), locale),
        }
        for each in (session.schedule if session else [])
    ]


def failed_method(event: PaymentEvent, standing: Standing, choices: Choices) -> Method | None:
    """Return the way to pay that failed last: declined when it was charged, or not approved."""
    if choices.failed:
        return METHODS[choices.failed.method]
    return METHODS.get(event.method or "card") if standing.state == State.FAILED else None


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
    return Item(str(item.get("name", "")), int(item.get("quantity") or 1), receipts.item_amount(item, locale))


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
