"""The desk of mismatches in a real browser: the queue, one mismatch, and many at once, on a phone and on a desk."""

from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from reconciliation import notes, resolution
from reconciliation.models import Mismatch
from reconciliation.notes import NewFile
from tests.browser.test_admin_desk import PASSWORD, TOO_WIDE
from tests.flows.test_matching import charged, sell, settle

pytestmark = pytest.mark.browser
NOW = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
LIST = "reconciliation/mismatch/"


@pytest.fixture
def queue(site: str) -> list[Mismatch]:
    """Give two orders that the PSP settled twice, for one of which something is proposed, beside many of which no file has anything."""
    cache.clear()
    User.objects.create_superuser("finance", password=PASSWORD)
    for one in range(60):
        found_at = timezone.now() - timedelta(hours=5 * one)
        Mismatch.objects.create(kind="missing_there", psp="sandbox", currency="EUR", subject=f"ord_{one:032}", found_at=found_at)
    large, small = sell("987654321012.34", "10.00")
    settle(charged(large), charged(large), charged(small), charged(small))
    proposed, other = Mismatch.objects.filter(kind="duplicate").order_by("pk")
    resolution.take_over(proposed.pk, actor="staff:ada", reason="Mine")
    resolution.propose(proposed.pk, "psp_receivable:sandbox", "The PSP settled it twice", actor="staff:ada", now=NOW)
    notes.write(proposed.pk, "The PSP's support has it:\nticket 4711", actor="staff:ada", now=NOW)
    letter = NewFile("the letter of the PSP about what it settled twice.pdf", b"%PDF-1.7", "Their letter")
    notes.attach(proposed.pk, letter, actor="staff:ada", now=NOW)
    return [proposed, other]


def log_in(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/login/")
    page.locator("#id_username").fill("finance")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    page.wait_for_url("**/admin/")


def require_fit(page: Page) -> None:
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(TOO_WIDE) == [], (page.url, width)


def test_the_desk_of_mismatches_fits_and_many_are_approved_at_once(site: str, queue: list[Mismatch], page: Page) -> None:
    log_in(page, site)
    for path in (LIST, *(f"{LIST}{queue[0].pk}/{what}/" for what in ("change", "approve", "assign", "attach", "write_note"))):
        page.goto(f"{site}/admin/{path}")
        require_fit(page)
    page.goto(f"{site}/admin/{LIST}?in_suspense=yes")
    for box in page.locator("input.action-select").all():
        box.check()
    page.locator("select[name=action]").select_option("approve")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading", name="All of them together")).to_be_visible()
    expect(page.get_by_text("Nothing is proposed.")).to_be_visible()
    require_fit(page)
    read_styles_itself = {"preload": False}  # else axe writes Django's imported style sheets into the page, which its policy forbids
    assert [violation["id"] for violation in Axe().run(page, options=read_styles_itself).response["violations"]] == []
    page.get_by_label("Why").fill("I saw the letter")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Done, to 1 mismatch.")).to_be_visible()
    queue[0].refresh_from_db()
    assert queue[0].resolved_at is not None
