"""A shop's brand: set in the admin, refused where it could not be read or is no picture, and served so that no policy needs an exception."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from payments.models import PaymentEvent
from tests.factories import new_shop
from wallet import branding
from wallet.models import Shop, ShopLogo


def picture(kind: str = "PNG", size: tuple[int, int] = (960, 240)) -> bytes:
    drawn = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(drawn, format=kind)
    return drawn.getvalue()


@pytest.fixture
def desk(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("finance", "finance@example.com", "secret"))
    return client


def save(desk: Client, shop: Shop, **given: Any) -> Any:
    kept = {"name": shop.name, "return_origins": "", "refund_fee_policy": "pro_rata", "sends_receipts": "on"}
    return desk.post(reverse("admin:wallet_shop_change", args=[shop.pk]), kept | given)


def test_a_colour_is_taken_and_reaches_the_page_as_a_style_sheet_of_its_own(desk: Client) -> None:
    shop = new_shop()
    assert branding.style_address(shop) == ""
    assert save(desk, shop, accent="#8A1F5C").status_code == 302
    shop.refresh_from_db()
    assert shop.accent == "#8a1f5c"
    sheet = desk.get(branding.style_address(shop))
    assert (sheet["Content-Type"], sheet["Cache-Control"]) == ("text/css; charset=utf-8", "public, max-age=31536000, immutable")
    assert "--accent:#8a1f5c;" in sheet.content.decode()
    assert "prefers-color-scheme:dark" in sheet.content.decode()
    old = reverse("brand-style", args=[shop.public_id, "0" * 16])
    assert desk.get(old)["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("accent", "said"),
    [
        ("#ffcc00", "#ffcc00 stands out from the page by 1.33 to 1; words need 4.5 to 1. The nearest that does is #836900."),
        ("red", "Write the colour as # and six digits, such as #2a50b0."),
    ],
)
def test_a_colour_that_nobody_could_read_is_refused_with_the_nearest_one(desk: Client, accent: str, said: str) -> None:
    shop = new_shop()
    page = save(desk, shop, accent=accent)
    assert page.status_code == 200
    assert said in page.content.decode()
    shop.refresh_from_db()
    assert shop.accent == ""


@pytest.mark.parametrize("name", ["NW", "12345", "NW*BOOKS", "O'Neill", "x" * 23])
def test_a_statement_name_that_a_psp_would_refuse_is_refused(desk: Client, name: str) -> None:
    shop = new_shop()
    page = save(desk, shop, statement_name=name)
    assert page.status_code == 200
    assert "statement_name" in page.context["adminform"].form.errors
    shop.refresh_from_db()
    assert shop.statement_name == ""
    assert save(desk, shop, statement_name=" NW Books ").status_code == 302
    shop.refresh_from_db()
    assert shop.statement_name == "NW Books"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_logo_is_drawn_anew_and_served_for_good(desk: Client, kind: str) -> None:
    shop = new_shop()
    file = SimpleUploadedFile("logo", picture(kind) + b"<script>alert(1)</script>")
    assert save(desk, shop, new_logo=file).status_code == 302
    shop.refresh_from_db()
    served = desk.get(branding.logo_address(shop))
    assert (served["Content-Type"], served["Cache-Control"]) == ("image/webp", "public, max-age=31536000, immutable")
    assert b"script" not in served.content
    assert Image.open(io.BytesIO(served.content)).size == (480, 120)
    assert save(desk, shop, no_logo="on").status_code == 302
    shop.refresh_from_db()
    assert branding.logo_address(shop) == ""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "The file is not a picture that we can read."),
        (b"\x89PNG\r\n\x1a\nnothing", "The file is not a picture that we can read."),
        (b"x" * (512 * 1024 + 1), "Choose one of at most 512 kB."),
    ],
)
def test_what_is_no_picture_is_refused(desk: Client, file: bytes, said: str) -> None:
    shop = new_shop()
    page = save(desk, shop, new_logo=SimpleUploadedFile("logo.png", file))
    assert said in page.content.decode()
    assert not ShopLogo.objects.exists()


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(branding.UnfitLogo, match="pixels"):
        branding.redrawn(picture(size=(4200, 4100)))


def test_the_payment_page_wears_the_brand_without_a_style_of_its_own(client: Client, open_payment: Callable[..., PaymentEvent]) -> None:
    event = open_payment()
    shop = event.shop
    shop.accent, shop.statement_name, shop.support_email = "#8a1f5c", "NW BOOKS", "help@northwind.example"
    branding.keep_logo(shop, branding.redrawn(picture()))
    shop.save()
    page = client.get(reverse("checkout", args=[event.token])).content.decode()
    assert f'href="{branding.style_address(shop)}"' in page
    assert re.search(f'<img class="logo" src="{branding.logo_address(shop)}" alt="Northwind"', page)
    assert 'href="mailto:help@northwind.example"' in page
    assert not re.search(r"<style|\sstyle=", page)
