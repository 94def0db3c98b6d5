"""The payment page as it stands, whatever stands: rendered, and told to the script that waits."""

from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ledger import clock
from payments import checkout_page, choices, receipts, standing
from payments.checkout import notices
from payments.checkout.notices import Notice
from payments.checkout.opening import checkout_view, to_page, wants_json
from payments.models import PaymentEvent
from payments.psp import registry
from payments.psp.registry import UnknownPsp


@require_safe
@checkout_view
def show(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """The page, in whatever state the payment is."""
    return page(request, event)


@require_safe
@checkout_view
def status(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Say how the payment stands, for the page that waits (JSON)."""
    now = clock.now()
    stands = standing.standing_of(event, list(event.orders.all()), now=now)
    chosen = choices.choices_of(event, stands.to_pay, now=now)
    followed = chosen.failed or chosen.session
    method = {
        "name": followed.method if followed else chosen.method.name if chosen.method else "",
        "state": choices.state_of(followed, now=now),
        "seconds_left": choices.seconds_left(followed, now=now),
    }
    title = checkout_page.title_of(stands, locale=checkout_page.locale_of(event))
    left = max(int((event.expires_at - now).total_seconds()), 0)
    return JsonResponse({"state": stands.state, "title": title, "can_pay": stands.can_pay, "seconds_left": left, "method": method})


def page(
    request: HttpRequest, event: PaymentEvent, *, notice: Notice | None = None, template: str = "", status: int = 200, **more: Any
) -> HttpResponse:
    """Render the payment as it stands, allowing what its template needs of the PSP's origin and no more."""
    now = clock.now()
    stands = standing.standing_of(event, list(event.orders.all()), now=now)
    chosen = choices.choices_of(event, stands.to_pay, now=now)
    template = template or checkout_page.template_of(stands)
    context = {**checkout_page.page_of(event, stands, chosen, now=now), "languages": settings.LANGUAGES, "errors": {}, "typed": {}, **more}
    context["notice"] = notice or (notices.about(chosen.failed) if stands.can_pay and chosen.failed else None)
    context["unused"] = notices.unused(chosen.unused) if chosen.unused else None
    if stands.paid:
        receipt = receipts.receipt_of(receipts.with_all(PaymentEvent.objects.filter(pk=event.pk)).get())
        told = ("paid_with", "statement_lines", "credit", "instalments")
        context |= {name: getattr(receipt, name) for name in told}
    try:
        origin = registry.psp_named(event.psp).origin
    except UnknownPsp:
        origin = ""
        context["notice"] = notices.cannot_load() if stands.can_pay else notice
    response = render(request, template, {**context, "psp_origin": origin}, status=status)
    if origin and template == "checkout/pay.html":
        return allowing(request, response, origin=origin)
    return response


def allowing(request: HttpRequest, response: HttpResponse, *, origin: str) -> HttpResponse:
    """Let the page frame the PSP's card fields, and let its form be led on to the PSP's own page."""
    csp_update({"frame-src": [origin], "form-action": [origin]})(lambda _request: response)(request)
    return response


def refuse(request: HttpRequest, event: PaymentEvent, notice: Notice | None, *, code: str, status: int) -> HttpResponse:
    """Answer a press that started nothing: to the script in JSON, to a browser with the page."""
    if wants_json(request):
        return JsonResponse({"code": code, **(notice or {})}, status=status)
    return page(request, event, notice=notice, status=status) if notice else to_page(event)
