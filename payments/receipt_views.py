"""The receipt of a payment: a page to print, and a PDF.  As long as nothing is paid, both lead to the payment page."""

from dataclasses import asdict

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from ledger import clock
from payments import receipt_pdf, receipts
from payments.checkout.opening import checkout_view
from payments.models import PaymentEvent
from payments.receipts import NoReceipt, Receipt


@require_safe
@checkout_view
def page(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """The receipt on a page of its own, to be printed."""
    event = loaded(event)
    try:
        receipt = receipts.receipt_of(event)
    except NoReceipt:
        return to_page(event)
    context = {
        **asdict(receipt),
        "event": event,
        "title": gettext("Receipt"),
        "page_url": reverse("checkout", args=[event.token]),
        "urls": {"receipt_pdf": reverse("checkout-receipt-pdf", args=[event.token])},
        "languages": settings.LANGUAGES,
    }
    return render(request, "checkout/receipt.html", context)


@require_safe
@checkout_view
def pdf(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """The receipt as a file."""
    event = loaded(event)
    try:
        content, number = written(event)
    except NoReceipt:
        return to_page(event)
    name = "".join(letter for letter in number if letter.isascii() and (letter.isalnum() or letter in "-_"))
    headers = {"Content-Disposition": f'attachment; filename="receipt-{name or "payment"}.pdf"'}
    return HttpResponse(content, content_type="application/pdf", headers=headers)


def written(event: PaymentEvent) -> tuple[bytes, str]:
    """Return the PDF and the order's number."""
    receipt: Receipt = receipts.receipt_of(event)
    return receipt_pdf.written(receipt, now=clock.now()), receipt.number


def loaded(event: PaymentEvent) -> PaymentEvent:
    return receipts.with_all(PaymentEvent.objects.filter(pk=event.pk)).get()


def to_page(event: PaymentEvent) -> HttpResponse:
    return HttpResponseRedirect(reverse("checkout", args=[event.token]))
