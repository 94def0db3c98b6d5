"""Opening the payment page: the payment by its token, the buyer's language, and an answer that stays out of every cache."""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation

from payments.models import PaymentEvent, PaymentOrder

LANGUAGE_COOKIE = "checkout_language"
SEE_OTHER, CONFLICT, UNPROCESSABLE, UNAVAILABLE = 303, 409, 422, 503

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


def event_with(token: str) -> PaymentEvent | None:
    """Load all that the page shows of the payment itself, in four queries; the orders as the shop gave them."""
    orders = PaymentOrder.objects.select_related("seller", "journal_entry").prefetch_related("attempts").order_by("id")
    events = PaymentEvent.objects.select_related("shop", "buyer").prefetch_related(Prefetch("orders", orders), "sessions")
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


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def done(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Lead to the page as it stands now: a browser by a redirect, a script by the address."""
    return JsonResponse({"url": reverse("checkout", args=[event.token])}) if wants_json(request) else to_page(event)


def to_page(event: PaymentEvent) -> HttpResponse:
    return redirect(reverse("checkout", args=[event.token]))


def redirect(address: str) -> HttpResponse:
    response = HttpResponseRedirect(address)
    response.status_code = SEE_OTHER
    return response
