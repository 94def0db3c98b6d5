"""The buyer's minute, in a real browser: card form, 3-D Secure, mistakes, declines, keyboard, no JavaScript, and what everybody can read.

Nothing is mocked: the site, the worker and the sandbox PSP run.  `live_house` compares the books with the PSP's journal at the end.
"""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FrameLocator, Page, expect

from payments.states import OrderStatus
from tests.fixtures_house import LiveHouse

pytestmark = pytest.mark.browser

VISA = "4242 4242 4242 4242"
ASKS = "4000 0027 6000 3184"
NO_MONEY = "4000 0000 0000 9995"
MISTYPED = "4242 4242 4242 4241"
PENDING = "4000 0000 0000 9110"


def card_form(page: Page) -> FrameLocator:
    """The PSP's fields, once they can be used."""
    expect(page.get_by_role("button", name=re.compile("^Pay |^Bezahlen|zahlen$"))).to_have_attribute("aria-disabled", "false")
    return page.frame_locator("#fields iframe")


def type_card(page: Page, number: str, *, expiry: str = "12 / 34", cvc: str = "123") -> None:
    fields = card_form(page)
    fields.locator("#number").fill(number)
    fields.locator("#expiry").fill(expiry)
    fields.locator("#cvc").fill(cvc)


def press_pay(page: Page) -> None:
    page.locator("#pay-button").click()


def expect_paid(page: Page, amount: str) -> None:
    expect(page.get_by_role("heading", name="Paid. Thank you.")).to_be_visible()
    expect(page.locator(".alone-head .figure")).to_have_text(amount.replace(" ", "\u00a0"))
    expect(page).to_have_title("Paid – Northwind")


def statuses(live_house: LiveHouse, url: str) -> set[str]:
    return set(live_house.payment(url).orders.values_list("status", flat=True))


def test_a_card_pays_three_sellers_at_once(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout(sellers=3, amounts=["24.90", "89.00", "14.50"], currency="EUR")
    page.goto(url)
    expect(page).to_have_title("Pay 128.40\u00a0EUR – Northwind")
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    expect(page.locator(".receipt")).to_contain_text(re.compile("Visa.* ending 4242"))
    expect(page.locator(".receipt-statement")).to_have_text(re.compile("3 charges from NORTHWIND"))
    payment = live_house.payment(url)
    assert (payment.status, payment.is_payment_done, payment.confirmations) == ("paid", True, 1)
    assert len(live_house.charges_of(payment)) == 3


def test_the_way_back_to_the_shop_carries_a_signed_result(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout(sellers=1, amounts=["10.00"])
    page.goto(url)
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "10.00 EUR")
    address = page.get_by_role("link", name="Back to Northwind").last.get_attribute("href") or ""
    assert "onebook_status=paid" in address
    assert f"onebook_payment={live_house.payment(url).public_id}" in address
    assert re.search("onebook_signature=[0-9a-f]{64}$", address)


def test_a_card_with_3d_secure_pays_after_the_banks_question(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, ASKS)
    press_pay(page)
    dialog = page.get_by_role("dialog", name="Your bank asks: is it you?")
    expect(dialog).to_be_visible()
    expect(page.locator("#pay-button")).to_have_text("Paying …")
    page.frame_locator("#challenge-frame iframe").locator("button[value=succeed]").click()
    expect_paid(page, "128.40 EUR")
    assert len(live_house.charges_of(live_house.payment(url))) == 3


@pytest.mark.parametrize("answer", ["fail", "abandon"])
def test_saying_no_to_the_bank_charges_nothing_and_the_card_form_stays(live_house: LiveHouse, page: Page, answer: str) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, ASKS)
    press_pay(page)
    page.frame_locator("#challenge-frame iframe").locator(f"button[value={answer}]").click()
    expect(page.get_by_role("alert")).to_contain_text("You were not charged.")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert statuses(live_house, url) == {OrderStatus.NOT_STARTED}
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")


def test_escape_stops_the_banks_question_and_says_so(live_house: LiveHouse, page: Page) -> None:
    page.goto(live_house.checkout())
    type_card(page, ASKS)
    press_pay(page)
    page.frame_locator("#challenge-frame iframe").locator("button[value=succeed]").wait_for()
    page.locator("#challenge-close").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("alert")).to_contain_text("You stopped the check by your bank.")
    expect(page.locator("#pay-button")).to_be_focused()
    press_pay(page)
    page.frame_locator("#challenge-frame iframe").locator("button[value=succeed]").click()
    expect_paid(page, "128.40 EUR")


def test_a_mistyped_number_is_told_under_its_field_and_kept(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, MISTYPED)
    press_pay(page)
    fields = card_form(page)
    expect(fields.locator("#number-error")).not_to_be_empty()
    expect(fields.locator("#number")).to_have_value(MISTYPED)
    expect(fields.locator("#number")).to_be_focused()
    assert statuses(live_house, url) == {OrderStatus.NOT_STARTED}
    fields.locator("#number").fill(VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")


def test_after_a_decline_another_card_pays(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, NO_MONEY)
    press_pay(page)
    expect(page.get_by_role("heading", name="Your bank declined the card: there is not enough money on it.")).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("You were not charged.")
    expect(page.locator("#notice")).to_be_focused()
    expect(page).to_have_title("Not paid – Northwind")
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    payment = live_house.payment(url)
    assert (payment.confirmations, len(live_house.charges_of(payment))) == (2, 3)


def test_a_hiccup_of_the_psp_over_one_seller_is_waited_out(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    unlucky = live_house.payment(url).orders.order_by("id")[1]
    live_house.sandbox.fault(operation="charge", kind="refuse_500", reference=unlucky.public_id, times=1)
    page.goto(url)
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    assert len(live_house.charges_of(live_house.payment(url))) == 3


def test_pressing_pay_twice_pays_once(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, VISA)
    page.locator("#pay-button").dblclick()
    expect_paid(page, "128.40 EUR")
    payment = live_house.payment(url)
    assert (payment.confirmations, len(live_house.charges_of(payment))) == (1, 3)


def test_two_tabs_pay_once(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(url)
        type_card(tab, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    press_pay(other)
    expect_paid(other, "128.40 EUR")
    payment = live_house.payment(url)
    assert (payment.confirmations, len(live_house.charges_of(payment))) == (1, 3)


def test_a_reload_before_the_confirmation_asks_for_it_without_the_card(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    page.route("**/complete", lambda route: route.fulfill(status=200, json={"url": url}))  # the buyer's connection ends here
    type_card(page, VISA)
    press_pay(page)
    expect(page.locator("#ready-text")).to_have_text(re.compile("Visa.* ending 4242"))
    assert statuses(live_house, url) == {OrderStatus.NOT_STARTED}
    page.unroute("**/complete")
    press_pay(page)
    expect_paid(page, "128.40 EUR")


def test_the_whole_payment_by_keyboard(live_house: LiveHouse, page: Page) -> None:
    page.goto(live_house.checkout())
    card_form(page).locator("#number").wait_for()
    tab_until(page, lambda: page.evaluate("document.activeElement.tagName") == "IFRAME")
    for typed in ("4242424242424242", "1234", "123"):
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
    tab_until(page, lambda: page.evaluate("document.activeElement.id") == "pay-button")
    page.keyboard.press("Enter")
    expect_paid(page, "128.40 EUR")


def test_enter_in_the_last_field_pays(live_house: LiveHouse, page: Page) -> None:
    page.goto(live_house.checkout())
    type_card(page, VISA)
    page.frame_locator("#fields iframe").locator("#cvc").press("Enter")
    expect_paid(page, "128.40 EUR")


def tab_until(page: Page, is_there: Callable[[], bool]) -> None:
    for _step in range(20):
        if is_there():
            return
        page.keyboard.press("Tab")
    raise AssertionError("the Tab key does not lead there")


def test_a_pending_payment_waits_and_follows_by_itself(live_house: LiveHouse, page: Page) -> None:
    page.goto(live_house.checkout(sellers=1, amounts=["10.00"]))
    type_card(page, PENDING)
    press_pay(page)
    expect(page.get_by_role("heading", name="Confirming your payment")).to_be_visible()
    expect(page).to_have_title("Confirming your payment – Northwind")
    page.get_by_role("link", name="Check now").click()
    expect(page.get_by_role("heading", name="Paid. Thank you.")).to_be_visible(timeout=30_000)


def test_reopening_a_paid_checkout_shows_the_receipt_and_no_form(live_house: LiveHouse, page: Page) -> None:
    url = live_house.checkout()
    page.goto(url)
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    page.goto(url)
    expect_paid(page, "128.40 EUR")
    expect(page.locator("form")).to_have_count(0)


def test_german_pages_and_figures(live_house: LiveHouse, page: Page) -> None:
    page.goto(live_house.checkout(amounts=["1000.00", "89.00", "14.50"], locale="de-DE"))
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#pay-button")).to_have_text("1.103,50\u00a0EUR bezahlen")
    page.locator(".menu-handle").click()
    page.get_by_role("link", name="English").click()
    expect(page.locator("#pay-button")).to_have_text("Pay 1,103.50\u00a0EUR")


@pytest.mark.parametrize("number", [VISA, ASKS], ids=["plain", "3-D Secure"])
def test_without_javascript_the_psps_own_page_takes_the_card(live_house: LiveHouse, browser: Browser, number: str) -> None:
    url = live_house.checkout()
    context = browser.new_context(java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="Continue to the card form").click()
    assert page.url.startswith(live_house.sandbox.url)
    page.locator("#number").fill(number)
    page.locator("#expiry").fill("12 / 34")
    page.locator("#cvc").fill("123")
    page.locator("button[type=submit]").click()
    if number == ASKS:
        page.locator("button[value=succeed]").click()
    expect(page.get_by_text("Nothing is charged before you press the button.")).to_be_visible()
    assert statuses(live_house, url) == {OrderStatus.NOT_STARTED}
    page.get_by_role("button", name="Pay 128.40\u00a0EUR").click()
    live_house.wait_until(lambda: live_house.payment(url).is_payment_done, what="the payment is done")
    page.goto(url)
    expect_paid(page, "128.40 EUR")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_everybody_can_read_and_use_each_state(live_house: LiveHouse, page: Page, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(live_house.checkout(sellers=1, amounts=["999999999999.99"]))
    card_form(page)
    expect_readable(page, width)
    page.goto(live_house.checkout())
    type_card(page, NO_MONEY)
    press_pay(page)
    expect(page.locator("#notice")).to_be_visible()
    card_form(page)
    expect_readable(page, width)
    type_card(page, VISA)
    press_pay(page)
    expect_paid(page, "128.40 EUR")
    expect_readable(page, width)


def expect_readable(page: Page, width: int) -> None:
    """No violation, nothing cut off.  The PSP's own page in the iframe is the PSP's to judge."""
    violations = Axe().run(page, options={"iframes": False}).response["violations"]
    assert [(found["id"], [node["html"] for node in found["nodes"]]) for found in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
