"""The buyer's saved cards on the payment page: deleted by whom they belong to."""

from contextlib import suppress

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from ledger import clock
from payments import saved_cards
from payments.checkout.opening import checkout_view, done
from payments.models import PaymentEvent
from payments.saved_cards import UnknownSavedCard


@require_POST
@checkout_view
def forget(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Delete a saved card; one that is not there is deleted already."""
    with suppress(UnknownSavedCard):
        saved_cards.forget(event, request.POST.get("card", ""), now=clock.now())
    return done(request, event)
