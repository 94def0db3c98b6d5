"""The PSP's sessions behind a payment page: opened for one way to pay and what it is to charge, asked how they stand, confirmed once approved.

The browser is never believed, nor is a webhook: only the PSP's own answer, asked for by us, starts a payment.  Where approving at the PSP is
the buyer's confirmation (`Method.confirms_itself`), the server confirms even if the page was closed: the row says when the PSP is asked, a
webhook only brings that forward, and a lost one changes nothing but time.  An approval that cannot be confirmed any more takes no money.
No function here may run inside a transaction; each commits its own.
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.urls import reverse

from ledger.errors import DomainError
from payments import confirmation, queries, saved_cards, tenders
from payments.confirmation import Confirmed
from payments.methods.registry import UnknownMethod, method_named, require_possible
from payments.models import CheckoutSession, PaymentEvent, PaymentOrder, SavedCard
from payments.psp import registry
from payments.psp.protocol import PspError, Session, SessionRequest
from payments.psp.registry import UnknownPsp
from payments.states import PAYABLE, SessionStatus
from payments.tenders import Plan
from wallet.models import StoredValue

logger = logging.getLogger(__name__)

LONGEST_DESCRIPTION = 200
LEASE = timedelta(seconds=60)  # longer than the PSP takes to answer; whoever dies over a session loses it to the next one
SOONEST, LATEST = timedelta(seconds=5), timedelta(minutes=5)
ASKED_AFTER_THE_END = timedelta(
    days=1
)  # of the checkout: then a PSP that does not know a session, or gives no token for it, is asked no more
CONFIRMED_OR_UNUSED = (SessionStatus.CONFIRMED, SessionStatus.UNUSED)
MOST_TURNS = 3
TURNS = (SessionStatus.FAILED, SessionStatus.EXPIRED, SessionStatus.UNUSED)  # after each of these the same wish is another session


class CheckoutMoved(DomainError):
    code = "checkout_moved"


class NotReady(DomainError):
    """The PSP says that the buyer has not approved.  `status` is the session's: open, requires_action, in_review, failed or expired."""

    code = "card_not_confirmed"

    def __init__(self, status: str, *, method: str = "card", failure_code: str = "") -> None:
        super().__init__(f"The session is {status}; the buyer has not approved the payment.")
        self.status, self.method, self.failure_code = status, method, failure_code


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that stands: what we keep of it, and what the PSP says."""

    row: CheckoutSession
    session: Session


def plan_of(event: PaymentEvent, *, now: datetime) -> Plan:
    """Return what the chosen gift cards and wallet would pay of what is left, and the rest for a PSP.  Raises NothingToPay."""
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    if not payable:
        raise confirmation.NothingToPay(f"Nothing of {event.public_id} is left to pay.")
    return tenders.plan(event, queries.sum_of(payable), now=now)


def nonce_of(event: PaymentEvent, *, terms: str) -> str:
    """Return our key of the session: one per confirmation and what is confirmed, so that another sum or another way is another session."""
    return f"{event.public_id}:{event.confirmations + 1}:{hashlib.sha256(terms.encode()).hexdigest()[:12]}"


def open_session(
    event: PaymentEvent, *, language: str, now: datetime, method: str = "card", saved_card: SavedCard | None = None, save_card: bool = False
) -> Opened:
    """Open the PSP's session for what it is to charge, or find the one that stands, and keep it.  One that is over is followed by a new one.

    Raises the PspErrors, UnknownPsp, UnknownMethod, MethodNotPossible, NothingToPay (also where gift cards and wallet pay all), and
    CheckoutMoved when another tab confirmed meanwhile.
    """
    rest = plan_of(event, now=now).rest
    if not rest:
        raise confirmation.NothingToPay(f"Nothing of {event.public_id} is left for a PSP to charge.")
    psp = registry.psp_named(event.psp)
    if not method_named(method).needs_psp:
        raise UnknownMethod(f"No PSP has part in {method}.", field="method")
    require_possible(method, psp, rest, event.buyer_country)
    origin = origin_of(settings.PUBLIC_URL)
    for _turn in range(MOST_TURNS):
        turn = CheckoutSession.objects.filter(event=event, method=method, status__in=TURNS).count()
        terms = f"{rest.amount} {rest.currency} {origin} {method} {saved_card.public_id if saved_card else ''} {turn}"
        session = psp.open_session(
            SessionRequest(
                nonce=nonce_of(event, terms=terms),
                amount=rest,
                parent_origin=origin,
                return_url=f"{settings.PUBLIC_URL}{reverse('checkout-return', args=[event.token])}?method={method}",
                locale=language,
                description=event.shop.name[:LONGEST_DESCRIPTION],
                method=method,
                save_card=save_card and event.buyer_signed_in and saved_card is None,
                saved_card=saved_card.token if saved_card else "",
                buyer=event.buyer.public_id if event.buyer_signed_in else "",
                country=event.buyer_country,
            )
        )
        row, is_new = keep(event, session, method=method, saved_card=saved_card, now=now)
        if row.status not in TURNS or (is_new and row.status == SessionStatus.FAILED):
            break
    return Opened(row, session)


@transaction.atomic(durable=True)
def keep(
    event: PaymentEvent, session: Session, *, method: str, saved_card: SavedCard | None, now: datetime
) -> tuple[CheckoutSession, bool]:
    """Keep the session as the one that the page shows; return its row, and whether it is new.  Raises CheckoutMoved."""
    is_current = Q(pk=event.pk, confirmations=event.confirmations)
    if not PaymentEvent.objects.filter(is_current).update(psp_session=session.id, chosen_method=method):
        raise CheckoutMoved(f"{event.public_id} was confirmed meanwhile. Load the page again.")
    told = {
        "event": event,
        "method": method,
        "saved_card": saved_card,
        "amount": session.amount,
        "status": session.status,
        "failure_code": session.failure_code,
        "code_text": session.code_text,
        "schedule": [{"due": each.due_date.isoformat(), **queries.wire(each.amount)} for each in session.schedule],
        "expires_at": session.expires_at,
        "look_at": now + SOONEST if method_named(method).confirms_itself else None,
    }
    row, is_new = CheckoutSession.objects.get_or_create(psp=event.psp, session=session.id, defaults=told)
    if not is_new:
        note(row, session, now=now)
    return row, is_new


def row_of(event: PaymentEvent, *, session_id: str = "", method: str = "") -> CheckoutSession | None:
    """Return the event's session of that id, else its latest of that way to pay, else the latest that was opened; None if there is none.

    They are those that were read with the event; what a browser sends is compared with them, and asked of no database.
    """
    rows = sorted((row for row in event.sessions.all() if row.psp == event.psp), key=lambda row: row.pk)
    if method and not session_id:
        of_method = [row for row in rows if row.method == method]
        return of_method[-1] if of_method else None
    return next((row for row in rows if row.session == (session_id or event.psp_session)), None)


def ask(row: CheckoutSession, *, now: datetime) -> Session:
    """Ask the PSP how the session stands, and note it; a card that it keeps for the buyer is kept.  Raises the PspErrors, UnknownPsp."""
    session = registry.psp_named(row.psp).session(row.session)
    if session.saved_card:
        saved_cards.keep(row.event, row.psp, session.saved_card)
    note(row, session, now=now)
    return session


def note(row: CheckoutSession, session: Session, *, now: datetime) -> None:
    """Write down what the PSP says, and when it is asked next; what is confirmed or unused stays so.

    What a webhook brought forward while the PSP was asked stays too: its news may be newer than the answer.
    """
    standing = CheckoutSession.objects.filter(pk=row.pk).exclude(status__in=CONFIRMED_OR_UNUSED)
    is_as_read = Q(look_at=row.look_at) | Q(look_at=None)
    next_look = Case(When(is_as_read, then=Value(next_look_of(row, session, now=now))), default=F("look_at"))
    if standing.update(status=session.status, failure_code=session.failure_code, look_at=next_look):
        row.status, row.failure_code = session.status, session.failure_code
    else:
        row.refresh_from_db(fields=["status", "failure_code", "look_at"])


def next_look_of(row: CheckoutSession, session: Session, *, now: datetime) -> datetime | None:
    """Return when the PSP is asked again: soon after the opening, then less and less often, the last time just after the session's end.

    What a person reviews is asked for until the checkout's end.  An approval is looked at until it is confirmed.
    """
    if not method_named(row.method).confirms_itself or session.status == SessionStatus.EXPIRED:
        return None
    last = row.event.expires_at
    if session.status != SessionStatus.IN_REVIEW:
        last = min(last, row.expires_at or last)
    if now >= (last if session.status != SessionStatus.COMPLETE else row.event.expires_at + ASKED_AFTER_THE_END):
        return None
    soon = now + min(max((now - row.created_at) / 2, SOONEST), LATEST)
    return soon if session.status == SessionStatus.COMPLETE else min(soon, last + SOONEST)


def complete(event: PaymentEvent, *, session_id: str, now: datetime) -> list[PaymentOrder]:
    """Confirm the checkout with the session that the page shows, if the PSP says that it is approved; return the orders started now.

    None are started with a session that is not the event's, nor by a second call, of a double click or of another tab.  Raises the PspErrors,
    UnknownPsp, NotReady, and what `confirmation.confirm` raises.
    """
    row = row_of(event, session_id=session_id)
    if row is None or row.status in CONFIRMED_OR_UNUSED:
        return []
    session = ask(row, now=now)
    if session.status != SessionStatus.COMPLETE or not session.payment_token:
        raise NotReady(session.status, method=row.method, failure_code=session.failure_code)
    return confirm(row, session, now=now)


def complete_by_stored_value(event: PaymentEvent, *, now: datetime) -> list[PaymentOrder]:
    """Confirm the checkout where the chosen gift cards and wallet pay all that is left; return the orders started now.

    None are started where they do not pay all (any more): a card that lies ready is not what the buyer said yes to.  No PSP is asked.  Raises
    what `confirmation.confirm` raises.
    """
    if not any(order.status in PAYABLE for order in event.orders.all()):
        return []
    plan = plan_of(event, now=now)
    if plan.rest:
        return []
    kinds = [value.kind for value, _part in plan.parts]
    method = "gift_card" if StoredValue.Kind.GIFT_CARD in kinds else "wallet"
    wish = f"stored:{event.public_id}:{event.confirmations + 1}"
    return confirmation.confirm(event.pk, Confirmed(wish, "", plan.rest, method=method), now=now)


def confirm(row: CheckoutSession, session: Session, *, now: datetime) -> list[PaymentOrder]:
    """Confirm the checkout with a session that the buyer approved, and write down whether it was used.

    Whoever dies before that is written down leaves the session to the next look, which finds the confirmation done.  Raises what
    `confirmation.confirm` raises; an approval that confirms itself, and cannot be used by then, never will be.
    """
    try:
        started = confirmation.confirm(row.event_id, Confirmed.by(session), now=now)
    except DomainError as error:
        if method_named(row.method).confirms_itself:
            end(row, SessionStatus.UNUSED, because=error.code)
        raise
    was_used = Q(confirmed_by=session.id) | Q(confirmed_before__contains=[session.id])
    is_used = bool(started) or PaymentOrder.objects.filter(was_used, event=row.event_id).exists()
    end(row, SessionStatus.CONFIRMED if is_used else SessionStatus.UNUSED, because="" if is_used else "paid_otherwise")
    return started


def end(row: CheckoutSession, status: SessionStatus, *, because: str) -> None:
    CheckoutSession.objects.filter(pk=row.pk).exclude(status__in=CONFIRMED_OR_UNUSED).update(
        status=status, failure_code=because, look_at=None
    )
    row.refresh_from_db(fields=["status", "failure_code", "look_at"])


def look(*, now: datetime, limit: int = 20) -> int:
    """Ask the PSPs how the sessions stand that are due, and confirm those that were approved; return how many were asked for.

    A PSP that does not answer is not asked for another one now; what was not asked for is due again once its lease is over.
    """
    silent: set[str] = set()
    rows = claim_due(now=now, limit=limit)
    for row in rows:
        if row.psp in silent:
            continue
        try:
            session = ask(row, now=now)
        except (PspError, UnknownPsp) as error:
            logger.warning("session %s of %s cannot be asked for: %s", row.pk, row.psp, error)
            if isinstance(error, UnknownPsp) or not error.answered:
                silent.add(row.psp)
            if row.event.expires_at + ASKED_AFTER_THE_END < now:
                CheckoutSession.objects.filter(pk=row.pk).update(look_at=None)
            continue
        if row.status == SessionStatus.COMPLETE and session.payment_token and method_named(row.method).confirms_itself:
            confirm_by_itself(row, session, now=now)
    return len(rows)


def confirm_by_itself(row: CheckoutSession, session: Session, *, now: datetime) -> None:
    """Confirm what the buyer approved at the PSP; what cannot be confirmed any more is not charged, and nobody waits for it."""
    try:
        confirm(row, session, now=now)
    except DomainError as error:
        logger.info("session %s was approved and is not used: %s", row.pk, error.code)


@transaction.atomic(durable=True)
def claim_due(*, now: datetime, limit: int) -> list[CheckoutSession]:
    """Take the sessions that are due, each for as long as LEASE; those that somebody else takes at this moment are left to them."""
    due = CheckoutSession.objects.select_for_update(skip_locked=True, of=("self",)).filter(look_at__lte=now).order_by("look_at")
    rows = list(due.select_related("event")[:limit])
    for row in rows:
        row.look_at = now + LEASE
    CheckoutSession.objects.bulk_update(rows, ["look_at"])
    return rows


def origin_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
