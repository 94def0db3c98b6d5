"""A shop's brand for the pages that its buyers see: its style sheet and its logo, kept by browsers for good under their digests."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from wallet import branding
from wallet.models import Shop, ShopLogo

FOR_GOOD = "public, max-age=31536000, immutable"


@require_safe
def style(request: HttpRequest, shop: str, digest: str) -> HttpResponse:
    """The brand's style sheet; under an old digest the present one, which is not kept."""
    sheet = branding.style_sheet(get_object_or_404(Shop, public_id=shop))
    is_current = branding.digest_of(sheet.encode()) == digest
    return HttpResponse(sheet, content_type="text/css; charset=utf-8", headers={"Cache-Control": FOR_GOOD if is_current else "no-cache"})


@require_safe
def logo(request: HttpRequest, shop: str, digest: str) -> HttpResponse:
    """The logo of that digest."""
    found = ShopLogo.objects.filter(shop__public_id=shop, digest=digest).first()
    if found is None:
        raise Http404
    headers = {"Cache-Control": FOR_GOOD, "Content-Disposition": "inline", "Content-Security-Policy": "default-src 'none'; sandbox"}
    return HttpResponse(bytes(found.content), content_type="image/webp", headers=headers)
