"""The hosted payment page: show, open the PSP's card form, confirm, follow.  The token in its address is the buyer's key to it.

No card number reaches this process: the fields live on the PSP's origin, in an iframe or on its own page.  The views parse, make one call
and render; what the PSP cannot do at the moment becomes a page that says so, and that nothing was charged.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from ledger import clock
from ledger.errors import DomainError
from payments import card_session, checkout_page, confirmation, standing
from payments.card_session import NotReady
from payments.models import PaymentEvent, PaymentOrder
from payments.psp import registry
from payments.psp.protocol import PspError, Session
from payments.psp.registry import UnknownPsp
from payments.states import PAYABLE

LANGUAGE_COOKIE = "checkout_language"
SEE_OTHER, CONFLICT, UNAVAILABLE = 303, 409, 503

View = Callable[..., HttpResponse]


def checkout_view(view: View) -> View:
    """Load the payment by its token, speak the buyer's language, and keep the answer out of every cache."""

    @wraps(view)
    def opened(request: HttpRequest, token: str) -> HttpResponse:
        event = event_with(token)
        if event is None:
            response = unknown(request)
        else:
            language = language_of(request, event)
            with translation.override(language):
                response = view(request, event)
            response["Content-Language"] = language
            keep_language(request, response)
        response["Cache-Control"] = "no-store"
        response["X-Robots-Tag"] = "noindex, nofollow"
        return response

    return opened


@require_safe
@checkout_view
def show(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """The page, in whatever state the payment is."""
    return page(request, event)


@require_POST
@checkout_view
def open_session(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Open the PSP's session for the card fields in our page (JSON)."""
    try:
        session = session_of(event)
    except (PspError, UnknownPsp):
        return JsonResponse({"code": "unavailable", **cannot_load()}, status=UNAVAILABLE)
    except DomainError as error:
        return JsonResponse({"code": error.code}, status=CONFLICT)
    answer = {"status": session.status, "fields_url": session.fields_url, "hosted_url": session.hosted_url}
    card = checkout_page.card_text(session.card_brand, session.card_last4) if session.payment_token else ""
    return JsonResponse({**answer, "origin": registry.psp_named(event.psp).origin, "card": card})


@require_POST
@checkout_view
def open_hosted(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Lead the buyer to the PSP's own page: the way without JavaScript."""
    try:
        session = session_of(event)
    except (PspError, UnknownPsp):
        return page(request, event, notice=cannot_load(), status=UNAVAILABLE)
    except DomainError:
        return to_page(event)
    return redirect(reverse("checkout-return", args=[event.token]) if session.payment_token else session.hosted_url)


@require_safe
@checkout_view
def come_back(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Where the PSP's own page leads back to.  Shows the card that is ready to be charged and asks to confirm; changes nothing itself."""
    now = clock.now()
    if not standing.standing_of(event, list(event.orders.all()), now=now).can_pay:
        return to_page(event)
    try:
        session = card_session.standing_session(event)
    except (PspError, UnknownPsp):
        return page(request, event, notice=cannot_ask(), template="checkout/notice.html", status=UNAVAILABLE)
    match session:
        case Session(status="complete"):
            card = checkout_page.card_text(session.card_brand, session.card_last4)
            return page(request, event, template="checkout/confirm.html", ready_card=card)
        case Session(status="failed"):
            return page(request, event, notice=not_confirmed("failed"))
        case _:
            return to_page(event)


@require_POST
@checkout_view
def complete(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Confirm the payment if the PSP itself says that the card is ready; then the page follows it.  A second press changes nothing."""
    try:
        card_session.complete(event, now=clock.now())
    except (PspError, UnknownPsp):
        return refuse(request, event, cannot_ask(), code="unavailable", status=UNAVAILABLE)
    except NotReady as error:
        return refuse(request, event, not_confirmed(error.status), code=error.code, status=CONFLICT)
    except DomainError as error:  # expired, nothing left, another sum: the page as it stands now says it
        return refuse(request, event, None, code=error.code, status=CONFLICT)
    return JsonResponse({"url": reverse("checkout", args=[event.token])}) if wants_json(request) else to_page(event)


@require_safe
@checkout_view
def status(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Say how the payment stands, for the page that waits (JSON)."""
    now = clock.now()
    stands = standing.standing_of(event, list(event.orders.all()), now=now)
    title = checkout_page.title_of(stands, locale=checkout_page.locale_of(event))
    return JsonResponse({"state": stands.state, "title": title, "can_pay": stands.can_pay})


def session_of(event: PaymentEvent) -> Session:
    """Open the PSP's session in the page's language, for a checkout that can be paid.  Raises as `card_session` and `confirmation` do."""
    payable = [order for order in event.orders.all() if order.status in PAYABLE]
    confirmation.require_open(event, payable, now=clock.now())
    return card_session.open_session(event, language=translation.get_language() or settings.LANGUAGE_CODE)


def page(
    request: HttpRequest, event: PaymentEvent, *, notice: dict[str, str] | None = None, template: str = "", status: int = 200, **more: Any
) -> HttpResponse:
    """Render the payment as it stands, allowing what its template needs of the PSP's origin and no more."""
    now = clock.now()
    stands = standing.standing_of(event, list(event.orders.all()), now=now)
    template = template or checkout_page.template_of(stands)
    context = {**checkout_page.page_of(event, stands, now=now), "notice": notice, "languages": settings.LANGUAGES, **more}
    try:
        origin = registry.psp_named(event.psp).origin
    except UnknownPsp:
        origin = ""
        context["notice"] = cannot_load() if stands.can_pay else notice
    response = render(request, template, {**context, "psp_origin": origin}, status=status)
    if origin and template == "checkout/pay.html":
        return allowing(request, response, origin=origin)
    return response


def allowing(request: HttpRequest, response: HttpResponse, *, origin: str) -> HttpResponse:
    """Let the page frame the PSP's card fields, and let its form be led on to the PSP's own page."""
    csp_update({"frame-src": [origin], "form-action": [origin]})(lambda _request: response)(request)
    return response


def event_with(token: str) -> PaymentEvent | None:
    """Load all that the page shows, in three queries; the orders as the shop gave them."""
    orders = PaymentOrder.objects.select_related("seller", "journal_entry").prefetch_related("attempts").order_by("id")
    events = PaymentEvent.objects.select_related("shop", "buyer").prefetch_related(Prefetch("orders", orders))
    return events.filter(token=token).first()


def unknown(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"code": "unknown_checkout"}, status=404)
    return render(request, "checkout/unknown.html", status=404)


def language_of(request: HttpRequest, event: PaymentEvent) -> str:
    """Return the language of the page: chosen now, chosen before, or the one the shop asked for."""
    for tag in (request.GET.get("lang", ""), request.COOKIES.get(LANGUAGE_COOKIE, ""), event.locale):
        try:
            return translation.get_supported_language_variant(tag.lower().replace("_", "-"))
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def keep_language(request: HttpRequest, response: HttpResponse) -> None:
    """Remember a language that was chosen, for the checkout's pages only."""
    if request.GET.get("lang") in dict(settings.LANGUAGES):
        response.set_cookie(
            LANGUAGE_COOKIE,
            request.GET["lang"],
            max_age=365 * 86400,
            path="/checkout/",
            secure=settings.HTTPS,
            httponly=True,
            samesite="Lax",
        )


def refuse(request: HttpRequest, event: PaymentEvent, notice: dict[str, str] | None, *, code: str, status: int) -> HttpResponse:
    """Answer a confirmation that started nothing: to the script in JSON, to a browser with the page."""
    if wants_json(request):
        return JsonResponse({"code": code, **(notice or {})}, status=status)
    return page(request, event, notice=notice, status=status) if notice else to_page(event)


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def to_page(event: PaymentEvent) -> HttpResponse:
    return redirect(reverse("checkout", args=[event.token]))


def redirect(address: str) -> HttpResponse:
    response = HttpResponseRedirect(address)
    response.status_code = SEE_OTHER
    return response


def cannot_load() -> dict[str, str]:
    return {
        "title": gettext("The card form cannot be loaded at the moment."),
        "text": gettext("You were not charged. Wait a moment and try again."),
    }


def cannot_ask() -> dict[str, str]:
    return {
        "title": gettext("We cannot reach the card company at the moment."),
        "text": gettext("You were not charged. Wait a moment and try again; your card is still ready."),
    }


def not_confirmed(status: str) -> dict[str, str]:
    """Return the words for a session that is not complete."""
    if status == "failed":
        return {
            "title": gettext("Your bank did not confirm that it is you."),
            "text": gettext("You were not charged. Try again, or try another card."),
        }
    return {
        "title": gettext("The card is not confirmed yet."),
        "text": gettext("You were not charged. Fill in the card form and try again."),
    }
