"""The reference at /docs: it holds everything that the description does, and nothing from elsewhere."""

import re
from typing import Any

import pytest
from django.test import Client

from config.api import schema
from config.api.errors import PROBLEMS


@pytest.fixture(scope="module")
def html() -> str:
    answer = Client().get("/docs", headers={"Accept-Language": "de"})
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_is_written_in_english_whatever_the_reader_prefers(html: str) -> None:
    assert '<html lang="en"' in html


def test_every_operation_and_every_error_has_its_place(html: str) -> None:
    operations = [each["operationId"] for methods in schema.document()["paths"].values() for each in methods.values()]
    for operation in operations:
        if not operation.endswith("payment_event") and operation != "list_payments_event":
            assert f'id="{operation}"' in html
    for code in PROBLEMS:
        assert f'id="error-{code}"' in html


def test_every_link_on_it_leads_somewhere(html: str) -> None:
    anchors = set(re.findall(r'id="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= anchors


def test_it_holds_no_inline_script_or_style_and_no_foreign_host(html: str) -> None:
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
    assert all(address.startswith("/static/") for address in re.findall(r'(?:src|rel="stylesheet" href)="([^"]+)"', html))


@pytest.mark.browser
def test_a_browser_has_nothing_to_say_about_it(site: str, browser: Any) -> None:
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 375)):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message, said=said: said.append(message.text))
        tab.on("pageerror", lambda error, said=said: said.append(str(error)))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(f"{site}/docs#error-must_be_a_string", wait_until="networkidle")
        assert said == []
        assert all(address.startswith(site) for address in asked)
        assert tab.locator("#error-must_be_a_string").is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        context.close()
