"""Paying: open the PSP's session for the chosen way to pay, lead to the PSP's own page and back, confirm.

A GET confirms one thing only: what the buyer has approved at the PSP already, where that approval is the confirmation.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import translation
from django.views.decorators.http import require_POST, require_safe

from ledger import clock
from ledger.errors import DomainError
from payments import checkout_page, confirmation, saved_cards, sessions, standing, tasks, wording
from payments.checkout import notices
from payments.checkout.opening import CONFLICT, UNAVAILABLE, UNPROCESSABLE, checkout_view, done, redirect, to_page, wants_json
from payments.checkout.pages import page, refuse
from payments.methods.method import Asks
from payments.methods.registry import METHODS, MethodNotPossible, method_named
from payments.models import PaymentEvent
from payments.psp import registry
from payments.psp.protocol import PspError, PspRejectedRequest
from payments.psp.registry import UnknownPsp
from payments.sessions import NotReady, Opened
from payments.states import PAYABLE, SessionStatus


@require_POST
@checkout_view
def open_session(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Choose a way to pay, and open the PSP's session for it."""
    try:
        opened = opened_for(request, event)
    except (PspError, UnknownPsp) as error:
        if is_card_refused(request, error):
            return refuse(request, event, notices.card_is_refused(), code="card_refused", status=UNPROCESSABLE)
        notice = notices.cannot_open(wanted_method(request, event))
        return refuse(request, event, notice, code="unavailable", status=UNAVAILABLE)
    except MethodNotPossible as error:
        return refuse(request, event, notices.not_possible(error), code=error.code, status=CONFLICT)
    except DomainError as error:
        return JsonResponse({"code": error.code}, status=CONFLICT) if wants_json(request) else to_page(event)
    return JsonResponse(told(event, opened)) if wants_json(request) else to_page(event)


@require_POST
@checkout_view
def open_hosted(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Lead the buyer to the PSP's own page: for ways that are approved there, and for cards without JavaScript."""
    try:
        opened = opened_for(request, event)
    except (PspError, UnknownPsp) as error:
        if is_card_refused(request, error):
            return page(request, event, notice=notices.card_is_refused(), status=UNPROCESSABLE)
        return page(request, event, notice=notices.cannot_open(wanted_method(request, event)), status=UNAVAILABLE)
    except MethodNotPossible as error:
        return page(request, event, notice=notices.not_possible(error), status=CONFLICT)
    except DomainError:
        return to_page(event)
    if opened.session.payment_token:
        return redirect(f"{reverse('checkout-return', args=[event.token])}?method={opened.row.method}")
    if opened.session.status == SessionStatus.FAILED or method_named(opened.row.method).asks == Asks.SHOW_CODE:
        return to_page(event)
    return redirect(opened.session.hosted_url)


@require_safe
@checkout_view
def come_back(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Where the PSP's own page leads back to.  Shows the card that is ready to be charged and asks to confirm, and charges nothing itself.

    What the buyer approved at the PSP for good is confirmed, as it is when nobody comes back.
    """
    now = clock.now()
    if not standing.standing_of(event, list(event.orders.all()), now=now).can_pay:
        return to_page(event)
    row = sessions.row_of(event, method=request.GET.get("method", ""))
    if row is None or row.status in sessions.CONFIRMED_OR_UNUSED:
        return to_page(event)
    try:
        session = sessions.ask(row, now=now)
    except (PspError, UnknownPsp):
        return page(request, event, notice=notices.cannot_ask(row.method), template="checkout/notice.html", status=UNAVAILABLE)
    if session.status == SessionStatus.COMPLETE and method_named(row.method).confirms_itself:
        sessions.confirm_by_itself(row, session, now=now)
        tasks.nudge_executor()
        return to_page(event)
    if session.status == SessionStatus.COMPLETE:
        card = wording.card_text(session.card_brand, session.card_last4, funding=session.card_funding)
        return page(request, event, template="checkout/confirm.html", ready_card=card, ready_session=session.id)
    if session.status == SessionStatus.FAILED:
        return page(request, event, notice=notices.not_confirmed("failed", method=row.method, failure_code=session.failure_code))
    return to_page(event)


@require_POST
@checkout_view
def complete(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Confirm the payment if the PSP itself says that it is approved; then the page follows it.  A second press changes nothing.

    The button of a page where gift cards and the wallet pay all names no session.
    """
    now, session_id = clock.now(), request.POST.get("session", "")
    try:
        if session_id:
            sessions.complete(event, session_id=session_id, now=now)
        else:
            sessions.complete_by_stored_value(event, now=now)
    except (PspError, UnknownPsp):
        return refuse(request, event, notices.cannot_ask(event.chosen_method), code="unavailable", status=UNAVAILABLE)
    except NotReady as error:
        notice = notices.not_confirmed(error.status, method=error.method, failure_code=error.failure_code)
        return refuse(request, event, notice, code=error.code, status=CONFLICT)
    except DomainError as error:  # expired, nothing left, another sum: the page as it stands now says it
        return refuse(request, event, None, code=error.code, status=CONFLICT)
    tasks.nudge_executor()
    return done(request, event)


def opened_for(request: HttpRequest, event: PaymentEvent, *, method: str = "") -> Opened:
    """Open the PSP's session that the form asks for, in the page's language, for a checkout that can be paid.

    Raises as `sessions`, `saved_cards` and `confirmation` do.
    """
    now = clock.now()
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    confirmation.require_open(event, payable, now=now)
    card = request.POST.get("saved_card", "")
    return sessions.open_session(
        event,
        language=translation.get_language() or settings.LANGUAGE_CODE,
        now=now,
        method=method or wanted_method(request, event),
        saved_card=saved_cards.named(event, card) if card else None,
        save_card=request.POST.get("save_card") == "on",
    )


def is_card_refused(request: HttpRequest, error: Exception) -> bool:
    """Did the PSP refuse the saved card that was chosen, as it does with one that it has forgotten?"""
    return isinstance(error, PspRejectedRequest) and bool(request.POST.get("saved_card"))


def wanted_method(request: HttpRequest, event: PaymentEvent) -> str:
    return request.POST.get("method") or (event.chosen_method if event.chosen_method in METHODS else "card")


def told(event: PaymentEvent, opened: Opened) -> dict[str, Any]:
    """Return what the page's script may know of a session: where its fields or its code are, and what is ready."""
    row, session = opened.row, opened.session
    locale = checkout_page.locale_of(event)
    card = wording.card_text(session.card_brand, session.card_last4, funding=session.card_funding)
    return {
        "method": row.method,
        "session": session.id,
        "status": session.status,
        "asks": method_named(row.method).asks_in(session),
        "fields_url": session.fields_url,
        "hosted_url": session.hosted_url,
        "origin": registry.psp_named(event.psp).origin,
        "card": card if session.payment_token else "",
        "amount": wording.amount_text(session.amount, locale),
        "qr": checkout_page.code_of(row, now=clock.now()),
        "schedule": checkout_page.schedule_of(row, locale),
    }
