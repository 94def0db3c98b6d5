"""The payment page in scripts that are not Latin: mirrored where it is read from right to left, readable, nothing cut off."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.fixtures_house import LiveHouse

pytestmark = pytest.mark.browser

TITLES = {"ar": "تم الدفع. شكرًا لك.", "ja": "お支払いが完了しました。ありがとうございます。"}


def expect_readable(page: Page) -> None:
    violations = Axe().run(page, options={"iframes": False}).response["violations"]
    assert [(found["id"], [node["html"] for node in found["nodes"]]) for found in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("language", ["ar", "ja"])
def test_a_buyer_pays_in_a_script_that_is_not_latin(live_house: LiveHouse, page: Page, language: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(live_house.checkout(locale=language))
    expect(page.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
    expect(page.locator("#pay-button")).to_have_attribute("aria-disabled", "false")
    fields = page.frame_locator("#fields iframe")
    expect(fields.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
    fields.locator("#number").fill("4242 4242 4242 4242")
    assert fields.locator("#number").evaluate("field => getComputedStyle(field).direction") == "ltr"
    fields.locator("#expiry").fill("12 / 34")
    fields.locator("#cvc").fill("123")
    expect_readable(page)
    page.locator("#pay-button").click()
    expect(page.get_by_role("heading", name=TITLES[language])).to_be_visible()
    page.locator(".receipt-ways a").first.click()
    expect(page.locator("#print")).to_be_visible()
    expect_readable(page)
