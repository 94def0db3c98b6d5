"""Setting up a second factor and logging in with it in a real browser, and that everybody can read these pages on every width."""

import re
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests import logins
from tests.browser.test_seller_pages import PASSWORD
from tests.factories import new_sellers, new_shop
from wallet import second_factor

pytestmark = pytest.mark.browser


def readable(page: Page) -> None:
    """Look at the page on a phone and a desktop."""
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def session_of(page: Page) -> str:
    [session] = [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "sessionid"]
    return session


def submit(page: Page) -> None:
    page.locator("main form button[type=submit]").first.click()


def test_a_seller_sets_up_a_second_factor_logs_in_with_it_and_confirms_once_more(site: str, page: Page) -> None:
    cache.clear()
    [seller] = new_sellers(new_shop(), "Königlich-Bayerische Manufaktur für handbemaltes Porzellan eK")
    ada = User.objects.create_user("ada", password=PASSWORD)
    seller.users.add(ada)
    page.goto(f"{site}/seller/second-factor")
    page.locator("#username").fill("ada")
    page.locator("#password").fill(PASSWORD)
    submit(page)
    readable(page)
    page.get_by_role("link", name="Set up").click()
    expect(page.locator(".qr")).to_have_js_property("complete", True)
    assert page.locator(".qr").evaluate("picture => picture.naturalWidth") > 0
    readable(page)
    secret = page.locator(".key").inner_text().replace(" ", "")
    page.locator("#code").fill(logins.code_for(secret, at=timezone.now()))
    submit(page)
    expect(page.locator(".recovery-codes li")).to_have_count(10)
    readable(page)
    [recovery_code] = page.locator(".recovery-codes li").nth(4).all_inner_texts()
    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator("main")).to_contain_text("10 of them are left.")
    readable(page)

    page.get_by_role("button", name="Log out").click()
    page.locator("#username").fill("ada")
    page.locator("#password").fill(PASSWORD)
    submit(page)
    readable(page)
    page.locator("#code").fill("000000")
    submit(page)
    expect(page.locator("#code-error")).to_be_visible()
    page.get_by_text("Is the app gone?").click()
    page.locator("#recovery_code").fill(recovery_code.upper())
    page.get_by_role("button", name="Log in with a recovery code").click()
    expect(page).to_have_url(re.compile("/seller/$"))

    session = session_of(page)
    page.goto(f"{site}/seller/confirm?next=/seller/movements")
    readable(page)
    page.locator("#password").fill(PASSWORD)
    factor = second_factor.of(ada)
    assert factor is not None
    page.locator("#code").fill(logins.code_of(factor, at=timezone.now() + timedelta(seconds=30)))
    submit(page)
    expect(page).to_have_url(re.compile("/seller/movements$"))
    assert session_of(page) != session
