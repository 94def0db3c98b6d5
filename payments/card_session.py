"""The PSP's session behind a payment page: open it for what is left to pay, ask how it stands, and confirm once it is complete.

The browser is never believed: a page may say that the card is ready, but only the PSP's own answer, asked for by us, starts a payment.
No function here may run inside a transaction; the confirmation commits its own.
"""

import hashlib
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from djmoney.money import Money

from ledger.errors import DomainError
from payments import confirmation, queries, tasks
from payments.confirmation import Confirmed
from payments.models import PaymentEvent, PaymentOrder
from payments.psp import registry
from payments.psp.protocol import Session, SessionRequest
from payments.states import PAYABLE

LONGEST_DESCRIPTION = 200


class CheckoutMoved(DomainError):
    code = "checkout_moved"


class NotReady(DomainError):
    """The PSP says that the buyer's card is not confirmed.  `status` is the session's: open, requires_action, failed or expired."""

    code = "card_not_confirmed"

    def __init__(self, status: str) -> None:
        super().__init__(f"The card form is {status}; the buyer has not confirmed a card.")
        self.status = status


def nonce_of(event: PaymentEvent, *, amount: Money, origin: str) -> str:
    """Return our key of the session: one per confirmation and what is confirmed, so that another sum or another address is another session."""
    terms = hashlib.sha256(f"{amount.amount} {amount.currency} {origin}".encode()).hexdigest()[:12]
    return f"{event.public_id}:{event.confirmations + 1}:{terms}"


def open_session(event: PaymentEvent, *, language: str) -> Session:
    """Open the PSP's session for what is left to pay, or find the one that stands, and keep its id.

    Raises the PspErrors, UnknownPsp, NothingToPay, and CheckoutMoved when another tab confirmed meanwhile.
    """
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    if not payable:
        raise confirmation.NothingToPay(f"Nothing of {event.public_id} is left to pay.")
    amount, origin = queries.sum_of(payable), origin_of(settings.PUBLIC_URL)
    session = registry.psp_named(event.psp).open_session(
        SessionRequest(
            nonce=nonce_of(event, amount=amount, origin=origin),
            amount=amount,
            parent_origin=origin,
            return_url=settings.PUBLIC_URL + reverse("checkout-return", args=[event.token]),
            locale=language,
            description=event.shop.name[:LONGEST_DESCRIPTION],
        )
    )
    kept = PaymentEvent.objects.filter(pk=event.pk, confirmations=event.confirmations).update(psp_session=session.id)
    if not kept:
        raise CheckoutMoved(f"{event.public_id} was confirmed meanwhile. Load the page again.")
    return session


def standing_session(event: PaymentEvent) -> Session | None:
    """Ask the PSP how the latest session stands; None if there is none, or if it was confirmed before.  Raises the PspErrors, UnknownPsp."""
    if not event.psp_session or event.psp_session == event.confirmed_session:
        return None
    return registry.psp_named(event.psp).session(event.psp_session)


def complete(event: PaymentEvent, *, now: datetime) -> list[PaymentOrder]:
    """Confirm the checkout if the PSP says that its session is complete; return the orders started now.

    None are started by a second call, of a double click or of another tab.  Raises the PspErrors, UnknownPsp, NotReady, and what
    `confirmation.confirm` raises.
    """
    session = standing_session(event)
    if session is None:
        return []
    if session.status != "complete" or not session.payment_token:
        raise NotReady(session.status)
    confirmed = Confirmed.by(session)
    started = confirmation.confirm(event.pk, confirmed, now=now)
    tasks.nudge_executor()
    return started


def origin_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
