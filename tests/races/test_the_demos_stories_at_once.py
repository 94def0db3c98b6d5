"""Two visitors of the demo press the same story at the same moment, and nobody has pressed it before: both come to a checkout."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import resolve

from config.stories import shown_codes
from ledger import clock
from payments.management import stories
from payments.management.commands import demo_data
from payments.management.stories import BY_NAME
from payments.models import PaymentEvent, SavedCard
from tests.fixtures_money import all_at_once, errors_in
from tests.fixtures_services import SandboxCompany
from wallet.models import GiftCard, Shop

pytestmark = pytest.mark.race


@pytest.fixture
def shop(books_hold: None, settings: Any, tmp_path: Path) -> Shop:
    settings.DEMO_SHOWN_FILE = str(tmp_path / "shown.json")
    return demo_data.open_shop()


def press(name: str) -> str:
    answer = Client().post(f"/demo/{name}")
    assert answer.status_code == 303, answer.content
    return answer.headers["Location"]


def test_two_first_presses_of_a_story_both_lead_to_a_checkout(shop: Shop, sandbox: SandboxCompany) -> None:
    """The PSP keeps one of them waiting for as long as the other one needs to have Rosa pay, which she does once."""
    sandbox.fault(operation="session", kind="slow", delay_s=1, times=1)
    for name in ("saved-card", "buy-gift-card"):
        answers = all_at_once(partial(press, name), partial(press, name))
        assert errors_in(answers) == []
        tokens = {resolve(str(address)).kwargs["token"] for address in answers}
        events = PaymentEvent.objects.filter(token__in=tokens, checkout_id__startswith=f"try.{name}.", confirmations=0)
        assert events.count() == len(tokens)
    assert SavedCard.objects.count() == stories.opened_of(shop, stories.TOPPED_UP).count() == 1


def test_two_first_presses_of_stories_with_gift_cards_leave_two_codes_that_are_good(shop: Shop) -> None:
    names = ["gift-card", "gift-card", "gift-card-and-card", "gift-card-and-card"]
    answers = all_at_once(*(partial(press, name) for name in names))
    assert errors_in(answers) == []
    codes = shown_codes()
    assert set(codes) == {name for name, story in BY_NAME.items() if story.gift_card}
    assert all(stories.is_good(shop, code, now=clock.now()) for code in codes.values())
    assert GiftCard.objects.count() == len(codes)
