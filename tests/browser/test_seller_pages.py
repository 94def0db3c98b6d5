"""The seller's pages and the admin in a real browser: what everybody can read, on every width, in both languages, without complaints.

`page` fails a test on anything said in the console, so that each of these also proves the Content-Security-Policy.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from ledger.money import exact
from payments import confirmation, intake, refunds, settlement
from payments.confirmation import Confirmed
from payments.models import PaymentOrder, PspAttempt
from payments.settlement import Capture
from tests.factories import basket, new_sellers, new_shop
from wallet import months
from wallet.models import Seller

pytestmark = pytest.mark.browser
PASSWORD = "as-long-as-it-is-calm"
NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)
LONG_NAME = "Königlich-Bayerische Manufaktur für handbemaltes Porzellan eK"


@pytest.fixture
def seller(site: str) -> Seller:
    """Return a seller with a long name, large amounts, several currencies, a refund and more movements than a page shows."""
    cache.clear()
    [seller] = new_sellers(new_shop(), LONG_NAME)
    seller.users.add(User.objects.create_user("ada", password=PASSWORD))
    [order] = sell(seller, "100.00")
    sell(seller, *["24.90"] * 60)
    sell(seller, "987654321012.34")
    sell(seller, "1234.567", currency="KWD")
    refund = refunds.request_refund(order.pk, amount=exact("30.00", "EUR"), reason="Damaged", now=NOW)
    settlement.settle_refund(refund.pk, psp_reference="re_1", refunded_at=NOW)
    return seller


def sell(seller: Seller, *amounts: str, currency: str = "EUR") -> list[PaymentOrder]:
    event, _is_new = intake.open_event(seller.shop, basket([seller], *amounts, currency=currency), now=NOW)
    orders = confirmation.confirm(event.pk, Confirmed("cs_1", "tok_1", event.amount), now=NOW)
    attempts = [PspAttempt.objects.create(order=order, number=1, psp="sandbox", psp_key=order.public_id) for order in orders]
    settlement.settle(
        [Capture(a.order_id, a.pk, a.psp_key, f"ch_{a.pk}", order.amount, NOW) for order, a in zip(orders, attempts, strict=True)]
    )
    return orders


def log_in(page: Page, site: str, *, username: str = "ada") -> None:
    page.goto(f"{site}/seller/login")
    page.locator("#username").fill(username)
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    expect(page.locator("h1")).not_to_have_text("Log in")


@pytest.fixture
def plain_page(browser: Browser) -> Iterator[Page]:
    """Give a tab of somebody who has switched JavaScript off."""
    context = browser.new_context(java_script_enabled=False, locale="en-GB", viewport={"width": 375, "height": 800})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("width", [375, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_everybody_can_read_every_page(width: int, scheme: str, language: str, site: str, seller: Seller, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    log_in(page, site)
    page.locator(f"button[name=language][value={language}]").click()
    expect(page.locator("html")).to_have_attribute("lang", language)
    order = PaymentOrder.objects.order_by("pk")[0]
    paths = (
        "/seller/",
        "/seller/movements",
        "/seller/movements?kind=refund&currency=KWD",
        f"/seller/orders/{order.public_id}",
        "/seller/documents",
        f"/seller/documents/EUR/{months.of(timezone.now())}",
    )
    for path in paths:
        page.goto(site + path)
        violations = Axe().run(page).response["violations"]
        assert [(violation["id"], path) for violation in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_seller_leafs_through_movements_filters_them_and_opens_an_order(site: str, seller: Seller, page: Page) -> None:
    log_in(page, site)
    page.get_by_role("link", name="All movements").click()
    expect(page.locator(".movements tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".movements tbody tr")).to_have_count(14)
    page.get_by_role("link", name="Newer").click()
    expect(page.locator(".movements tbody tr")).to_have_count(50)
    page.get_by_label("Kind").select_option("refund")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".movements tbody tr")).to_have_count(1)
    page.locator(".movements a").click()
    expect(page.locator(".sum").first).to_contain_text("Yours after refunds63.00\u00a0EUR")


def test_the_movements_are_downloaded_as_a_file(site: str, seller: Seller, page: Page) -> None:
    log_in(page, site)
    page.goto(f"{site}/seller/movements?currency=EUR")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 1 + 63
    assert download.value.suggested_filename.startswith("movements-")


def test_everything_works_without_javascript_on_a_phone(site: str, seller: Seller, plain_page: Page) -> None:
    log_in(plain_page, site)
    plain_page.get_by_role("link", name="Movements", exact=True).click()
    plain_page.get_by_label("Currency").select_option("KWD")
    plain_page.get_by_role("button", name="Show").click()
    expect(plain_page.locator(".movements tbody tr")).to_have_count(1)
    expect(plain_page.locator(".movements tbody td.net")).to_be_visible()
    plain_page.get_by_role("button", name="Log out").click()
    expect(plain_page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(site: str, seller: Seller, page: Page) -> None:
    log_in(page, site)
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    reached = []
    while "All movements" not in reached:
        page.keyboard.press("Tab")
        expect(page.locator("main :focus")).not_to_have_css("outline-style", "none")
        reached.append(page.locator("main :focus").inner_text())
    assert reached[0] == "Set it up"  # what needs doing comes first


def test_the_admin_breaks_no_content_security_policy(site: str, seller: Seller, page: Page) -> None:
    User.objects.create_superuser("finance", password=PASSWORD)
    page.goto(f"{site}/admin/login/")
    page.locator("#id_username").fill("finance")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    expect(page.get_by_role("heading", name="Today")).to_be_visible()
    order = PaymentOrder.objects.order_by("pk")[0]
    for path in (
        "payments/paymentorder/",
        f"payments/paymentorder/{order.pk}/change/",
        f"payments/paymentevent/{order.event_id}/change/",
        f"ledger/journalentry/{order.journal_entry_id}/change/",
        f"wallet/seller/{seller.pk}/change/",
        "payments/feeschedule/add/",
        "wallet/apikey/add/",
    ):
        page.goto(f"{site}/admin/{path}")
        expect(page.locator("#content h1")).to_be_visible()
    page.get_by_label("Name").fill("back end")
    page.locator("#id_shop").select_option(label="Northwind")
    page.locator("input[name=_save]").click()
    expect(page.locator("#token")).to_have_value(page.locator("#token").input_value())
    assert page.locator("#token").input_value().startswith("ob_test_")
