"""The topics: what is published, what a shop can ask for and what docs/webhooks.md tells are the same."""

import re
from pathlib import Path

import pytest

from payments.states import EventStatus
from wallet.notifications import PING, vocabulary

ROOT = Path(__file__).resolve().parents[3]
PUBLISHERS = (
    "payments/news.py",
    "payouts/news.py",
    "payouts/notices.py",
    "wallet/conversion_news.py",
    "wallet/gift_card_news.py",
    "wallet/notifications/endpoints.py",
)


def test_every_topic_that_is_published_can_be_asked_for_and_no_other() -> None:
    written = {topic for path in PUBLISHERS for topic in re.findall(r'"([a-z_]+\.[a-z_]+)"', (ROOT / path).read_text())}
    of_payments = {f"payment.{status}" for status in EventStatus.values if status != EventStatus.OPEN}
    assert written | of_payments == set(vocabulary.TOPICS)


def test_nobody_else_makes_messages() -> None:
    houses = ("ledger", "wallet", "payments", "payouts", "reconciliation", "config")
    code = [path for house in houses for path in (ROOT / house).rglob("*.py")]
    makers = {str(path.relative_to(ROOT)) for path in code if re.search(r"(?<!class )\bMessage\(\w", path.read_text())}
    assert makers == set(PUBLISHERS)


def test_every_topic_is_told_in_the_documentation() -> None:
    told = re.findall(r"^\| `([a-z_]+\.[a-z_]+|ping)` \|", (ROOT / "docs" / "webhooks.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted([*vocabulary.TOPICS, PING])


@pytest.mark.parametrize(
    ("wanted", "is_known"), [("refund.failed", True), ("refund.*", True), ("refund", False), ("ref.*", False), ("*", False)]
)
def test_a_star_stands_for_what_comes_after_a_dot(wanted: str, is_known: bool) -> None:
    assert vocabulary.is_known(wanted) == is_known
