"""The sandbox's pages for other ways to pay, in a real browser: wide and narrow, axe finds nothing, and the console stays empty."""

import uuid
from contextlib import closing

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ledger.money import exact
from payments.management import buyer
from payments.psp.protocol import SessionRequest
from tests.fixtures_money import sandbox_psp
from tests.fixtures_services import SandboxCompany

pytestmark = pytest.mark.browser

SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1280, "height": 900}}
METHODS = ("digital_wallet", "pay_later", "qr")


def opened(sandbox: SandboxCompany, method: str, locale: str = "en") -> str:
    """Open a session that leads back to the sandbox's own shop; return the address of its page."""
    back = f"{sandbox.url}/shop/thanks"
    asked = SessionRequest(uuid.uuid4().hex, exact("128.40", "EUR"), sandbox.url, back, locale, "Northwind", method=method)
    with closing(sandbox_psp(sandbox)) as psp:
        return psp.open_session(asked).hosted_url


@pytest.mark.parametrize("size", SIZES)
def test_every_page_of_the_sandbox_can_be_read_by_everybody(sandbox: SandboxCompany, page: Page, size: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
    buyer.approve(opened(sandbox, "pay_later"), person="rita@referred.example")
    sandbox.fault(operation="settlement", kind="line_amount", reference=f"ord_{'0' * 32}", times=1)
    for address in (*(opened(sandbox, method) for method in METHODS), sandbox.url):
        page.goto(address)
        found = Axe().run(page).response["violations"]
        assert not found, [(one["id"], one["nodes"][0]["html"]) for one in found]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} is wider than the screen"
    assert said == []


@pytest.mark.parametrize("method", ["card", *METHODS])
def test_a_page_in_arabic_is_written_from_right_to_left(sandbox: SandboxCompany, page: Page, method: str) -> None:
    page.set_viewport_size(SIZES["phone"])  # type: ignore[arg-type]
    page.goto(opened(sandbox, method, "ar"))
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    found = Axe().run(page).response["violations"]
    assert not found, [(one["id"], one["nodes"][0]["html"]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_pays_with_one_touch_and_cannot_pay_again(sandbox: SandboxCompany, page: Page) -> None:
    address = opened(sandbox, "qr")
    page.set_viewport_size(SIZES["phone"])  # type: ignore[arg-type]
    page.goto(address)
    page.get_by_role("button", name="Pay 128.40").click()
    expect(page.get_by_role("heading")).to_have_text("You paid 128.40\u00a0EUR")
    page.goto(address)
    expect(page.get_by_role("heading")).to_have_text("This code is paid already")


@pytest.mark.parametrize("method", ["digital_wallet", "pay_later"])
def test_an_approval_leads_back_to_the_shop(sandbox: SandboxCompany, page: Page, method: str) -> None:
    page.goto(opened(sandbox, method))
    page.locator("button.pay").click()
    expect(page.get_by_role("heading", name="Thank you for your order")).to_be_visible()
