"""The demo's page in a real browser: everybody can read it, on every width, in both schemes, and what is to be typed can be copied."""

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from payments.management.stories import STORIES
from tests.fixtures_services import SandboxCompany
from wallet.management import demo
from wallet.models import Shop

pytestmark = pytest.mark.browser


def test_the_demos_page_can_be_read_by_everybody(site: str, sandbox: SandboxCompany, page: Page, settings: Any, tmp_path: Path) -> None:
    settings.DEMO_SHOWN_FILE, settings.TEST_CLOCK_FILE = str(tmp_path / "shown.json"), str(tmp_path / "clock")
    Shop.objects.create(name=demo.SHOP_NAME, return_origins=[sandbox.url])
    for width, scheme in ((390, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(f"{site}/demo/")
        expect(page.locator(".demo-story h2")).to_have_text([story.title for story in STORIES])
        expect(page.get_by_role("heading", name="Test clock")).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert [(found["id"], [node["html"] for node in found["nodes"]]) for found in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.locator("#gift-card .demo-foot button").click()
    code = page.locator("#gift-card code")
    expect(code).to_be_visible()
    assert json.loads((tmp_path / "shown.json").read_text())["gift_cards"] == {"gift-card": code.inner_text()}
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#gift-card").get_by_role("button", name="Copy").click()
    expect(page.locator("#gift-card .demo-copy")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == code.inner_text()
