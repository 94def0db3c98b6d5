"""Gift cards and the buyer's wallet on the payment page: used, and taken back.  Nothing is held before the buyer confirms."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from ledger import clock
from ledger.errors import DomainError
from payments import choices, standing
from payments.checkout.opening import CONFLICT, UNPROCESSABLE, checkout_view, done, to_page, wants_json
from payments.checkout.pages import page
from payments.models import PaymentEvent
from wallet.logins import address_of

TOO_MANY = 429
LONGEST_CODE = 64


@sensitive_post_parameters("code")
@require_POST
@checkout_view
@sensitive_variables("code")
def use_gift_card(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Use a gift card by its code; what is wrong with it stands at the field, and what was typed is kept."""
    if not can_pay(event):
        return moved(request, event)
    code = request.POST.get("code", "")[:LONGEST_CODE]
    try:
        choices.use_gift_card(event, code, address=address_of(request), now=clock.now())
    except DomainError as error:
        return wrong(request, event, error, field="code", name="gift_card", typed=code)
    return done(request, event)


@require_POST
@checkout_view
def remove_gift_card(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Use a gift card no more."""
    tender = request.POST.get("tender", "")
    if tender.isascii() and tender.isdigit() and len(tender) < 19:
        choices.remove_tender(event, int(tender))
    return done(request, event)


@require_POST
@checkout_view
def use_wallet(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    """Use the buyer's wallet as far as it goes, or no more."""
    if not can_pay(event):
        return moved(request, event)
    try:
        choices.use_wallet(event, wanted=request.POST.get("use") == "1", now=clock.now())
    except DomainError as error:
        return wrong(request, event, error, field="use", name="wallet")
    return done(request, event)


def can_pay(event: PaymentEvent) -> bool:
    return standing.standing_of(event, list(event.orders.all()), now=clock.now()).can_pay


def moved(request: HttpRequest, event: PaymentEvent) -> HttpResponse:
    return JsonResponse({"code": "checkout_moved"}, status=CONFLICT) if wants_json(request) else to_page(event)


def wrong(request: HttpRequest, event: PaymentEvent, error: DomainError, *, field: str, name: str, typed: str = "") -> HttpResponse:
    """Say at the field what is wrong.  To the script with 200: of any other status browsers write an error into the console."""
    text = words_of(error)
    if wants_json(request):
        return JsonResponse({"code": error.code, "field": field, "text": text})
    status = TOO_MANY if error.code == "too_many_codes_tried" else UNPROCESSABLE
    return page(request, event, status=status, errors={name: text}, typed={name: typed})


def words_of(error: DomainError) -> str:
    """Return what the buyer reads, in their language."""
    words = {
        "unknown_gift_card": gettext("There is no gift card with this code. Check the code and try again."),
        "gift_card_expired": gettext("This gift card has expired. Nothing was taken from it."),
        "gift_card_empty": gettext("Nothing is left on this gift card."),
        "gift_card_frozen": gettext("This gift card cannot be used at the moment. Ask the shop."),
        "gift_card_other_currency": gettext("This gift card is in another currency than this payment."),
        "too_many_codes_tried": gettext("Too many codes were tried. Wait an hour and try again, or pay another way."),
        "too_many_gift_cards": gettext("No more gift cards can be used for this payment."),
        "takes_no_stored_value": gettext("Gift cards and top-ups cannot be paid with a gift card or your balance."),
        "wallet_not_offered": gettext("There is nothing in your balance that can be used here."),
    }
    return words.get(error.code, error.detail)
