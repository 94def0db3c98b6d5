"""A shop's brand on the pages that its buyers see: an accent colour, as a style sheet of its own, and a logo that we drew anew; and its name
on their statements.

A logo is read by Pillow as PNG, JPEG or WebP and written again as WebP: what is served is our picture of it, without the file's other
contents.  SVG is not taken, for it can hold scripts.  Style sheet and logo have the digest of their content in their address, so that a
browser keeps them for good; neither needs an exception of the Content-Security-Policy.
"""

import hashlib
import io
import warnings

from django.conf import settings
from django.urls import reverse
from PIL import Image, UnidentifiedImageError

from ledger.errors import DomainError
from wallet import colours, statement_names
from wallet.models import Shop, ShopLogo

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 512 * 1024  # of the file that is given
MOST_PIXELS = 4096 * 4096
SHOWN_WIDTH, SHOWN_HEIGHT = 480, 120  # twice the room that the page has for it
MOST_SHOWN_BYTES = 32 * 1024
QUALITIES = (90, 75, 50)


class UnfitLogo(DomainError):
    code = "unfit_logo"


def keep_logo(shop: Shop, drawn: bytes) -> None:
    """Keep a logo that was drawn anew, and let the shop show it; the caller saves the shop."""
    shop.logo = digest_of(drawn)
    ShopLogo.objects.get_or_create(shop=shop, digest=shop.logo, defaults={"content": drawn})


def redrawn(file: bytes) -> bytes:
    """Return the picture as WebP, no larger than the page shows it.  Raises UnfitLogo."""
    if len(file) > MOST_BYTES:
        raise UnfitLogo(f"The file has {len(file) // 1024} kB. Choose one of at most {MOST_BYTES // 1024} kB.", field="logo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of a picture that would take too much memory
            given = Image.open(io.BytesIO(file), formats=FORMATS)
            if given.width * given.height > MOST_PIXELS:
                raise UnfitLogo(f"The picture has {given.width} x {given.height} pixels. Choose a smaller one.", field="logo")
            picture = given.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        raise UnfitLogo("The file is not a picture that we can read. Choose a PNG, JPEG or WebP file.", field="logo") from None
    picture.thumbnail((SHOWN_WIDTH, SHOWN_HEIGHT), Image.Resampling.LANCZOS)
    for quality in QUALITIES:
        drawn = io.BytesIO()
        picture.save(drawn, format="WEBP", quality=quality, method=6)
        if drawn.tell() <= MOST_SHOWN_BYTES:
            return drawn.getvalue()
    raise UnfitLogo("The picture is too detailed for a logo. Choose a plainer one.", field="logo")


def style_sheet(shop: Shop) -> str:
    """Return the brand's tokens as CSS; nothing if the shop has no colour of its own."""
    if not shop.accent:
        return ""
    light, dark = (
        "".join(f"{name}:{colour};" for name, colour in scheme.items())
        for scheme in (colours.light_scheme(shop.accent), colours.dark_scheme(shop.accent))
    )
    # On paper the accent stays black, as base.css has it
    return f"@media screen{{:root{{{light}}}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def style_address(shop: Shop) -> str:
    """Return where the brand's style sheet is, with its digest; nothing if there is none."""
    sheet = style_sheet(shop)
    return reverse("brand-style", args=[shop.public_id, digest_of(sheet.encode())]) if sheet else ""


def logo_address(shop: Shop) -> str:
    """Return where the shop's logo is; nothing if it has none."""
    return reverse("brand-logo", args=[shop.public_id, shop.logo]) if shop.logo else ""


def statement_name_of(shop: Shop) -> str:
    """Return how card statements name the shop: what a checkout shows its buyer, and what the PSP is told (frozen when it is opened)."""
    return statement_names.made_of(shop.statement_name or shop.name, platform=settings.STATEMENT_NAME)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
