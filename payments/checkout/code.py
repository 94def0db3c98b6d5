"""The QR code on the payment page: as a picture, and a new one once it is over."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from ledger import clock
from ledger.errors import DomainError
from payments import checkout_page, qr, sessions
from payments.checkout import notices
from payments.checkout.opening import CONFLICT, UNAVAILABLE, checkout_view, to_page, wants_json
from payments.checkout.pages import refuse
from payments.checkout.paying import opened_for
from payments.methods.registry import MethodNotPossible
from payments.models import PaymentEvent
from payments.psp.protocol import PspError
from payments.psp.registry import UnknownPsp


@require_http_methods(["GET", "HEAD", "POST"])
@checkout_view
def code(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """GET draws the latest code; POST shows a new one if that is over, and the same one if it is still good."""
    return new_code(request, event) if request.method == "POST" else drawn(event)


def drawn(event: PaymentEvent) -> HttpResponse:
    row = sessions.row_of(event, method="qr")
    if row is None or not row.code_text:
        return HttpResponse(status=404)
    picture = qr.svg(row.code_text, label=gettext("QR code"))
    return HttpResponse(picture, content_type="image/svg+xml")


def new_code(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    try:
        opened = opened_for(request, event, method="qr")
    except (PspError, UnknownPsp):
        return refuse(request, event, notices.cannot_open("qr"), code="unavailable", status=UNAVAILABLE)
    except MethodNotPossible as error:
        return refuse(request, event, notices.not_possible(error), code=error.code, status=CONFLICT)
    except DomainError as error:
        return JsonResponse({"code": error.code}, status=CONFLICT) if wants_json(request) else to_page(event)
    return JsonResponse(checkout_page.code_of(opened.row, now=clock.now()) or {}) if wants_json(request) else to_page(event)
