"""The whole path of a payment, and what makes a figure, in a real browser: on a phone and on a desk, opened to the last posting."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.urls import reverse
from playwright.sync_api import Page, expect

from ledger.models import Account
from tests.browser.test_admin_desk import PASSWORD, TOO_WIDE, log_in
from tests.flows.test_payment_path import travelled
from wallet.models import Seller

pytestmark = pytest.mark.browser
LONG_NAME = "Königlich-Bayerische Manufaktur für handbemaltes Porzellan eK"
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"


def test_a_payment_is_found_by_an_id_and_its_path_and_what_makes_a_figure_fit_every_width(site: str, page: Page) -> None:
    cache.clear()
    User.objects.create_superuser("finance", password=PASSWORD)
    event = travelled(6)
    Seller.objects.update(name=LONG_NAME)
    account = Account.objects.get(code="fee_revenue")
    log_in(page, site)
    page.get_by_label("Find a payment").fill(event.orders.order_by("pk")[0].public_id)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name=f"Payment {event.checkout_id}")).to_be_visible()
    page.get_by_role("link", name="Show all orders").click()
    expect(page.get_by_text("The 6 orders one by one")).to_be_visible()
    day = f"kind=sale&month={event.created_at:%Y-%m}&day={event.created_at:%Y-%m-%d}"
    for path in (
        reverse("payment_path", args=[event.public_id]),
        f"{reverse('explain_account', args=[account.pk])}?{day}",
    ):
        page.goto(f"{site}{path}")
        page.evaluate(OPEN_ALL)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) == [], (path, width)
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, (path, width)
        assert [one["id"] for one in Axe().run(page).response["violations"]] == [], path
