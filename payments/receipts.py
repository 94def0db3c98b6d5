"""Receipts: what was paid to whom, how, and how statements name it; on a page, on paper (receipt_pdf.py), and by e-mail to the buyer.

A payment that is done is told in the outbox by the transaction that made it so.  From there the e-mail becomes a row, one for each payment
for ever, and is sent like every e-mail of the house: claimed, handed over with no transaction open, tried again for three days.  Whoever
dies between the mail server and the row sends it twice; nothing else does.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from babel import Locale
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Prefetch, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from djmoney.money import Money

from ledger import money
from ledger.errors import DomainError
from payments import queries, wording
from payments.methods import registry as methods
from payments.models import PaymentEvent, PaymentOrder, ReceiptMail, Tender
from payments.states import OrderStatus
from wallet import branding
from wallet.models import StoredValue
from wallet.notifications import relay

logger = logging.getLogger(__name__)

NAME = "receipts"
LEASE = timedelta(minutes=5)  # longer than the mail server takes for all of a batch
SENT_AT_ONCE = 5
RETRY_AFTER_S = (60, 300, 1800, 3600, 6 * 3600)  # the last one again and again
GIVE_UP_AFTER = timedelta(hours=72)
LONGEST_ERROR = 80
TEST_PSPS = frozenset({"sandbox"})
WORD_JOINER = "\N{WORD JOINER}"  # no line of text ends there
PSP_NAMES = {"sandbox": "Sandbox Payments"}

TAKE_NOTE = """
INSERT INTO payments_receiptmail (event_id, address, noted_at, next_attempt_at, tries)
SELECT event.id, buyer.email, %(now)s, %(now)s, 0
FROM wallet_outboxmessage AS message
JOIN payments_paymentevent AS event ON event.public_id = message.about
JOIN wallet_shop AS shop ON shop.id = event.shop_id AND shop.sends_receipts
JOIN wallet_buyer AS buyer ON buyer.id = event.buyer_id AND buyer.email <> ''
WHERE message.id > %(after)s AND message.id <= %(last)s AND message.topic IN ('payment.paid', 'payment.partly_paid')
  AND message.created_at > %(oldest)s
ON CONFLICT (event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A thing that was bought, or a way in which it was paid, with its amount."""

    label: str
    amount: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one seller got, and for what; read by the templates as a section of the payment page is."""

    seller: str
    description: str
    amount: str
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge as the buyer's statement shows it.  `seller` is empty where it would say the shop's name again."""

    name: str
    seller: str
    amount: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that a receipt says, as the reader writes it.

    `statement` is how statements name the shop; no charge: nothing of the shop's stands there.  What was bought on credit is no charge of
    the shop's: `credit` says whom the buyer pays instead, and `instalments` when and how much, if they are of just what was paid.
    """

    shop: str
    support: str
    buyer: str
    number: str
    paid_at: str
    sections: Sequence[Part]
    paid: str
    paid_with: Sequence[Line]
    statement: str
    statement_lines: Sequence[Charge]
    credit: str
    instalments: Sequence[Line]
    is_test: bool


class NoReceipt(DomainError):
    """Nothing of the payment is paid."""

    code = "no_receipt"


def with_all(events: QuerySet[PaymentEvent]) -> QuerySet[PaymentEvent]:
    """Load what a receipt is made of."""
    tenders = Tender.objects.filter(status=Tender.Status.TAKEN).select_related("value__gift_card").order_by("pk")
    orders = PaymentOrder.objects.filter(status=OrderStatus.SUCCESS).select_related("seller", "journal_entry").order_by("pk")
    paid = orders.prefetch_related(Prefetch("tenders", tenders, to_attr="taken"))
    return events.select_related("shop", "buyer").prefetch_related(Prefetch("orders", paid, to_attr="paid_orders"), "sessions")


def receipt_of(event: PaymentEvent) -> Receipt:
    """Return the receipt in the language that is active now, for an event that `with_all` loaded.  Raises NoReceipt."""
    orders: list[PaymentOrder] = event.paid_orders  # type: ignore[attr-defined]  # with_all puts it there
    if not orders:
        raise NoReceipt(f"Nothing of {event.public_id} is paid.")
    locale = wording.locale_of(event.locale, language=translation.get_language() or "en")
    name = statement_of(event)
    entries = [order.journal_entry for order in orders if order.journal_entry]
    charged = [order for order in orders if order.charge.amount]
    on_credit = [order for order in charged if is_on_credit(order)]
    return Receipt(
        shop=event.shop.name,
        support=event.shop.support_email,
        buyer=event.buyer.name,
        number=event.checkout_id,
        paid_at=wording.moment_text(max(entry.happened_at for entry in entries), locale),
        sections=[part_of(order, locale) for order in orders],
        paid=wording.amount_text(queries.sum_of(orders), locale),
        paid_with=[Line(label, wording.amount_text(amount, locale)) for label, amount in ways_of(event, orders)],
        statement=name,
        statement_lines=[charge_of(order, name, locale) for order in charged if order not in on_credit],
        credit=credit_words(on_credit[0], event, name) if on_credit else "",
        instalments=instalments_of(event, on_credit, locale),
        is_test=event.psp in TEST_PSPS,
    )


def statement_of(event: PaymentEvent) -> str:
    """Return how card statements name the shop: as the PSP is told, which it is not of what was opened before it could be."""
    return event.statement_name or branding.statement_name_of(event.shop)


def psp_name(event: PaymentEvent) -> str:
    """Return the PSP's name as a buyer knows it."""
    return PSP_NAMES.get(event.psp, event.psp.title())


def is_on_credit(order: PaymentOrder) -> bool:
    method = methods.METHODS.get(queries.method_of(order))
    return method is not None and method.is_credit


def charge_of(order: PaymentOrder, name: str, locale: Locale) -> Charge:
    return Charge(name, "" if order.seller.is_house else order.seller.name, wording.amount_text(order.charge, locale))


def credit_words(order: PaymentOrder, event: PaymentEvent, name: str) -> str:
    said = {"method": method_words(order, event), "psp": psp_name(event), "name": name}
    return gettext("%(method)s: you pay %(psp)s in instalments. Your statement shows those instead of a charge from %(name)s.") % said


def instalments_of(event: PaymentEvent, orders: Sequence[PaymentOrder], locale: Locale) -> Sequence[Line]:
    """Return what is paid for these orders and when, as it was agreed; nothing where that was for more than became paid."""
    sessions = {order.confirmed_by for order in orders}
    agreed = [each for session in event.sessions.all() if session.session in sessions for each in session.schedule]
    amounts = [money.exact(each["amount"], each["currency"]) for each in agreed]
    if not agreed or sum(amounts[1:], amounts[0]) != sum((order.charge for order in orders[1:]), orders[0].charge):
        return []
    days = [wording.day_text(date.fromisoformat(each["due"]), locale) for each in agreed]
    return [Line(day, wording.amount_text(amount, locale)) for day, amount in zip(days, amounts, strict=True)]


def part_of(order: PaymentOrder, locale: Locale) -> Part:
    items = [
        {"name": item.get("name", ""), "quantity": item.get("quantity") or 1, "amount": item_amount(item, locale)} for item in order.items
    ]
    return Part(order.seller.name, order.description, wording.amount_text(order.amount, locale), items)


def item_amount(item: Mapping[str, Any], locale: Locale) -> str:
    """Return an item's amount as the shop sent it; nothing for one that cannot be read."""
    try:
        return wording.amount_text(money.exact(item["amount"]["amount"], item["amount"]["currency"]), locale)
    except (KeyError, TypeError, DomainError):
        return ""


def ways_of(event: PaymentEvent, orders: Sequence[PaymentOrder]) -> list[tuple[str, Money]]:
    """Return how it was paid: each gift card, the balance, and last what the PSP charged, in each way in which it did."""
    sums: dict[StoredValue, Money] = {}
    charged: dict[str, Money] = {}
    for tender in (tender for order in orders for tender in order.taken):  # type: ignore[attr-defined]  # with_all puts it there
        sums[tender.value] = sums[tender.value] + tender.amount if tender.value in sums else tender.amount
    for order in orders:
        if order.charge:
            words = method_words(order, event)
            charged[words] = charged[words] + order.charge if words in charged else order.charge
    return [*((value_words(value), amount) for value, amount in sums.items()), *charged.items()]


def value_words(value: StoredValue) -> str:
    if value.kind == StoredValue.Kind.WALLET:
        return gettext("Your balance")
    return gettext("Gift card ending %(last4)s") % {"last4": value.gift_card.code_last4}


def method_words(order: PaymentOrder, event: PaymentEvent) -> str:
    """Return "Visa debit ending 4242", or the name of another way to pay.  Which card it was is known of the checkout's last try alone."""
    is_the_last = order.confirmed_by == event.confirmed_session
    card = wording.card_text(event.card_brand, event.card_last4, funding=event.card_funding) if is_the_last else ""
    method = queries.method_of(order)
    if method in ("", "card"):
        return card or gettext("Card")
    label = str(methods.METHODS[method].label) if method in methods.METHODS else method
    return f"{label} ({card})" if card else label


# The e-mail


def mailed_to(event: PaymentEvent) -> str:
    """Return to whom the receipt goes, masked, for whoever has the page's address sees it; nothing if it goes to nobody."""
    if not (event.shop.sends_receipts and event.buyer.email):
        return ""
    return masked(event.buyer.email)


def masked(address: str) -> str:
    """Return an e-mail address as it is shown to those who need not know it."""
    name, _at, host = address.partition("@")
    return f"{name[:2]}…{WORD_JOINER}@{host}"


@transaction.atomic(durable=True)
def take_note(*, now: datetime) -> int:
    """Make a row of the receipt of each payment that was told as done since; return how many messages were passed."""
    return relay.pass_on(NAME, TAKE_NOTE, {"now": now, "oldest": now - GIVE_UP_AFTER})


def send_due(*, now: datetime) -> int:
    """Send the receipts that are due, SENT_AT_ONCE at most; return how many were tried."""
    claimed = claim(now=now)
    for mail in claimed:
        send(mail, now=now)
    return len(claimed)


@transaction.atomic(durable=True)
def claim(*, now: datetime) -> list[ReceiptMail]:
    """Take due receipts for as long as LEASE and return them."""
    due = ReceiptMail.objects.select_for_update(skip_locked=True, of=("self",)).filter(next_attempt_at__lte=now)
    claimed = list(due.order_by("next_attempt_at")[:SENT_AT_ONCE])
    ReceiptMail.objects.filter(pk__in=[mail.pk for mail in claimed]).update(next_attempt_at=now + LEASE, tries=F("tries") + 1)
    for mail in claimed:
        mail.tries += 1
    return claimed


def send(mail: ReceiptMail, *, now: datetime) -> None:
    """Hand one receipt to the mail server, and write down how that ended unless somebody else has claimed it meanwhile.

    Whatever is wrong with one keeps no other waiting.
    """
    try:
        message_of(mail).send()
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is; its words may hold the address, and are not logged
        logger.warning("the receipt of %s was not sent: %s", mail.pk, type(error).__name__)
        mine(mail).update(next_attempt_at=next_try(mail, now=now), error=type(error).__name__[:LONGEST_ERROR])
    else:
        mine(mail).update(next_attempt_at=None, sent_at=now, error="")


def next_try(mail: ReceiptMail, *, now: datetime) -> datetime | None:
    """Return when to try again; None, with an error in the log, when the time for it is up."""
    if now - mail.noted_at >= GIVE_UP_AFTER:
        logger.error("the receipt of %s is given up: its mail server takes no e-mail", mail.pk)
        return None
    return now + timedelta(seconds=RETRY_AFTER_S[min(mail.tries, len(RETRY_AFTER_S)) - 1])


def mine(mail: ReceiptMail) -> QuerySet[ReceiptMail]:
    return ReceiptMail.objects.filter(pk=mail.pk, tries=mail.tries, sent_at=None)


def message_of(mail: ReceiptMail) -> EmailMultiAlternatives:
    """Return the e-mail in the buyer's language, as text and as HTML; answers go to the shop if it has an address for them."""
    event = with_all(PaymentEvent.objects.filter(pk=mail.pk)).get()
    with translation.override(language_of(event)):
        receipt = receipt_of(event)
        said = {
            **asdict(receipt),
            "page": settings.PUBLIC_URL + reverse("checkout", args=[event.token]),
            "language": translation.get_language(),
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            "end": "left" if translation.get_language_bidi() else "right",
        }
        subject = gettext("Receipt: %(amount)s to %(shop)s") % {"amount": receipt.paid, "shop": receipt.shop}
        if receipt.is_test:
            subject = gettext("Test: %(subject)s") % {"subject": subject}
        message = EmailMultiAlternatives(
            one_line([subject]),
            render_to_string("emails/receipt.txt", said),
            to=[mail.address],
            reply_to=[receipt.support] if receipt.support else None,
        )
        message.attach_alternative(render_to_string("emails/receipt.html", said), "text/html")
    return message


def language_of(event: PaymentEvent) -> str:
    """Return the language that the shop asked for, or ours."""
    try:
        return translation.get_supported_language_variant(event.locale.lower().replace("_", "-"))
    except LookupError:
        return settings.LANGUAGE_CODE


def one_line(words: Iterable[str]) -> str:
    """Return the words without what would end a header of an e-mail."""
    return " ".join(" ".join(words).split())
