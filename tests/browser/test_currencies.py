"""Currencies in a real browser: a seller converts without JavaScript, and everybody can read the pages, finance's too."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect

from ledger import clock
from ledger.money import exact
from payouts import conversions
from tests.browser import test_admin_desk as desk
from tests.browser.test_seller_pages import LONG_NAME, PASSWORD, log_in
from tests.factories import make_available, new_bank_account, new_sellers, new_shop
from tests.rates import quote_euro
from wallet.conversions import Wish
from wallet.models import Conversion, Seller

pytestmark = pytest.mark.browser
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture
def seller(site: str, settings: Any) -> Seller:
    """Give a seller with large amounts in several currencies, of which one waits for a rate, and a conversion."""
    settings.SELLER_SECOND_FACTOR = False
    cache.clear()
    now = clock.now()
    quote_euro(now, USD="1.0512", JPY="163.11", IDR="17215.63")
    [seller] = new_sellers(new_shop(), LONG_NAME)
    seller.users.add(User.objects.create_user("ada", password=PASSWORD))
    User.objects.create_superuser("finance", password=PASSWORD)
    new_bank_account(seller)
    for amount, currency in (("123456789.34", "USD"), ("20.000", "KWD"), ("987654321", "JPY"), ("10.00", "EUR")):
        make_available(seller, exact(amount, currency))
    conversions.convert(seller, Wish(exact("50000000.00", "USD"), "IDR"), now=now)
    conversions.choose(seller, "EUR", by="user:ada", now=now)
    return seller


@pytest.fixture
def plain_page(browser: Browser) -> Iterator[Page]:
    """Give a phone of somebody who has switched JavaScript off."""
    context = browser.new_context(java_script_enabled=False, locale="en-GB", viewport={"width": 390, "height": 800})
    yield context.new_page()
    context.close()


def test_everybody_can_read_the_pages_about_currencies(site: str, seller: Seller, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    log_in(page, site)
    made = Conversion.objects.get()
    for path in ("", "currencies?currency=USD&amount=1,250.50&to=JPY", f"conversions/{made.public_id}", "movements", "payouts"):
        page.goto(f"{site}/seller/{path}")
        violations = Axe().run(page).response["violations"]
        assert [(violation["id"], path) for violation in violations] == []
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) <= 0, (path, width)


def test_finance_sees_rates_and_positions_on_a_phone_and_a_desk(site: str, seller: Seller, page: Page) -> None:
    desk.log_in(page, site)
    made = Conversion.objects.get()
    for path in (
        "wallet/exchangerate/",
        "wallet/exchangerate/propose/",
        "wallet/exchangerate/position/",
        "wallet/conversion/",
        f"wallet/conversion/{made.pk}/change/",
        "payouts/payoutcurrency/",
    ):
        page.goto(f"{site}/admin/{path}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) <= 0, (path, width)


def test_a_seller_converts_from_a_phone_without_javascript(site: str, seller: Seller, plain_page: Page) -> None:
    log_in(plain_page, site)
    plain_page.get_by_role("link", name="Convert").last.click()
    plain_page.get_by_label("From").select_option("USD")
    plain_page.get_by_label("Amount").fill("1,250.50")
    plain_page.get_by_label("Into").select_option("EUR")
    plain_page.get_by_role("button", name="Show what I get").click()
    plain_page.get_by_role("button", name="Convert 1,250.50").click()
    expect(plain_page.get_by_role("heading", level=1)).to_have_text("Converted from USD into EUR")
    expect(plain_page.locator(".sum-total")).to_contain_text("1,189.59")
    assert Conversion.objects.filter(seller=seller, requested_by="user:ada").count() == 1
