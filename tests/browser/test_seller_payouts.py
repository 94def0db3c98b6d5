"""The seller's payout pages in a real browser: everybody can read them, and a seller gets paid from a phone without JavaScript."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from payouts import requests, settlement
from payouts.models import Payout
from tests.browser.test_seller_pages import LONG_NAME, PASSWORD, log_in
from tests.factories import eur, make_available, new_bank_account, new_sellers, new_shop
from wallet.models import Seller

pytestmark = pytest.mark.browser


@pytest.fixture
def seller(site: str, settings: Any) -> Seller:
    """Give a seller with a long name, large amounts, and a payout that came back."""
    settings.SELLER_SECOND_FACTOR = False
    cache.clear()
    [seller] = new_sellers(new_shop(), LONG_NAME)
    seller.users.add(User.objects.create_user("ada", password=PASSWORD))
    new_bank_account(seller)
    make_available(seller, eur("987654321012.34"))
    now = timezone.now()
    payout = requests.request_payout(seller, amount=eur("123456789012.34"), now=now)
    settlement.settle_payout(payout.pk, provider_reference="b_1", paid_at=now)
    settlement.return_payout(payout.pk, provider_reference="b_1", code="account_closed", returned_at=now)
    return seller


@pytest.fixture
def plain_page(browser: Browser) -> Iterator[Page]:
    """Give a phone of somebody who has switched JavaScript off."""
    context = browser.new_context(java_script_enabled=False, locale="en-GB", viewport={"width": 375, "height": 800})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(("width", "scheme", "language"), [(375, "dark", "de"), (1280, "light", "en")])
def test_everybody_can_read_the_payout_pages(width: int, scheme: str, language: str, site: str, seller: Seller, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    log_in(page, site)
    page.locator(f"button[name=language][value={language}]").click()
    expect(page.locator("html")).to_have_attribute("lang", language)
    payout = Payout.objects.get()
    for path in ("payouts", "payouts/new", f"payouts/{payout.public_id}", "balance", "bank-accounts", "bank-accounts/EUR"):
        page.goto(f"{site}/seller/{path}")
        violations = Axe().run(page).response["violations"]
        assert [(violation["id"], path) for violation in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_seller_gets_paid_from_a_phone_without_javascript(site: str, seller: Seller, plain_page: Page) -> None:
    log_in(plain_page, site)
    plain_page.get_by_role("link", name="Payouts", exact=True).click()
    plain_page.get_by_role("link", name="Ask for a payout").click()
    plain_page.get_by_label("Amount in EUR").fill("lots")
    plain_page.get_by_role("button", name="Pay out to").click()
    expect(plain_page.locator(".field-error")).to_contain_text("Write an amount such as")
    plain_page.get_by_label("Amount in EUR").fill("1,250.50")
    plain_page.get_by_role("button", name="Pay out to").click()
    expect(plain_page.get_by_role("heading", level=1)).to_contain_text("Payout of 1,250.50")
    expect(plain_page.locator(".order-head")).to_contain_text("On its way")
    plain_page.get_by_role("link", name="Payouts", exact=True).first.click()
    plain_page.get_by_role("link", name="Bank details").click()
    plain_page.get_by_role("link", name="Give another account").click()
    plain_page.get_by_text("My account has no IBAN").click()
    expect(plain_page.get_by_label("Account number")).to_be_visible()
