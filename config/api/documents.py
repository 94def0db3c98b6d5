"""The API described: as OpenAPI 3.1 for programs (/v1/openapi.json) and as a page for people (/docs).  Both are open to everyone."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe

from config.api import reference, schema
from wallet.models import ApiKey

SCOPES = {
    ApiKey.Scope.PAYMENTS_READ: "Read payments, orders, refunds, cancellations, disputes and events",
    ApiKey.Scope.PAYMENTS_WRITE: "Open payments; execute, deliver, refund and cancel orders",
    ApiKey.Scope.WALLET_READ: "Read sellers, wallets and their entries, statements and fee invoices",
    ApiKey.Scope.WALLET_WRITE: "Add sellers, open wallets",
    ApiKey.Scope.PAYOUTS_READ: "Read payouts and bank accounts, of which no number is shown",
    ApiKey.Scope.PAYOUTS_WRITE: "Set bank accounts, ask for payouts and cancel them",
    ApiKey.Scope.LEDGER_READ: "Read the books of the whole installation",
    ApiKey.Scope.LEDGER_WRITE: "Post manual entries into them",
    ApiKey.Scope.FILES_READ: "Read which files of PSPs and banks were received",
    ApiKey.Scope.FILES_WRITE: "Send files of PSPs and banks",
    ApiKey.Scope.WEBHOOKS_READ: "Read webhook endpoints and their deliveries",
    ApiKey.Scope.WEBHOOKS_WRITE: "Add and change webhook endpoints, send events again",
}


@require_safe
def openapi(request: HttpRequest) -> JsonResponse:
    """Answer with the description that programs read."""
    return JsonResponse(schema.document(), json_dumps_params={"indent": 1})


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the description that people read; it is written in English."""
    shown = {
        "groups": reference.groups(),
        "errors": reference.errors(),
        "scopes": [(scope.value, meaning) for scope, meaning in SCOPES.items()],
        "version": schema.VERSION,
        "address": settings.PUBLIC_URL,
    }
    with translation.override("en"):
        return render(request, "docs/reference.html", shown)
