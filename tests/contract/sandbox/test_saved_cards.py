"""Cards that are kept for a buyer: a token pays without typing, for that buyer alone, until it is forgotten."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.contract.sandbox.conftest import Buyer, Clock
from tests.fixtures_services import SandboxCompany

CARD, STOLEN_LATER, ASKS_EVERY_TIME = "4242424242424242", "4000000000009169", "4000002760003184"


def kept(buyer: Buyer, number: str = CARD, *, customer: str, expiry: str = "12 / 34") -> dict[str, Any]:
    """Pay once with a card and let it be kept; return what is told of it."""
    session = buyer.session(save_card=True, customer=customer)
    assert session["saved_card"] is None
    buyer.enter(session, number, expiry=expiry)
    if buyer.show(session)["status"] == "requires_action":
        succeed(buyer, session)
    shown = buyer.show(session)
    assert buyer.charge(shown["payment_token"]).json()["status"] == "succeeded"
    return dict(shown["saved_card"])


def succeed(buyer: Buyer, session: dict[str, Any], outcome: str = "succeed") -> None:
    buyer.http.post(f"/challenge/{session['id']}", data={"outcome": outcome})


def refusal(buyer: Buyer, **terms: Any) -> str:
    with pytest.raises(httpx.HTTPStatusError) as failed:
        buyer.session(**terms)
    return str(failed.value.response.json()["error"]["code"])


@pytest.fixture
def customer() -> str:
    return f"buy_{uuid.uuid4().hex}"


def test_a_kept_card_pays_without_typing(buyer: Buyer, customer: str) -> None:
    card = kept(buyer, customer=customer)
    assert (card["brand"], card["funding"], card["last4"], card["exp_month"], card["exp_year"]) == ("visa", "credit", "4242", 12, 2034)
    session = buyer.session(saved_card=card["token"], customer=customer)
    assert (session["status"], session["card"]["last4"], session["saved_card"]) == ("complete", "4242", None)
    assert buyer.charge(session["payment_token"]).json()["status"] == "succeeded"


def test_the_same_card_is_kept_once_and_its_new_expiry_counts(buyer: Buyer, customer: str) -> None:
    first, second = kept(buyer, customer=customer), kept(buyer, customer=customer, expiry="01 / 35")
    assert (first["token"], second["exp_year"]) == (second["token"], 2035)
    assert kept(buyer, customer=f"{customer}2")["token"] != first["token"]


def test_a_card_that_is_kept_by_two_payments_at_once_is_kept_once(buyer: Buyer, customer: str) -> None:
    sessions = [buyer.session(save_card=True, customer=customer) for _ in range(4)]
    with ThreadPoolExecutor(4) as tabs:
        list(tabs.map(lambda session: buyer.enter(session, CARD), sessions))
    tokens = {buyer.show(session)["saved_card"]["token"] for session in sessions}
    assert len(tokens) == 1


def test_the_wish_to_keep_the_card_may_come_after_the_page_was_opened(buyer: Buyer, customer: str) -> None:
    session = buyer.session(nonce=customer)
    buyer.session(nonce=customer, save_card=True, customer=customer)
    buyer.enter(session, CARD)
    complete = buyer.session(nonce=customer, save_card=True, customer=customer)
    assert (complete["id"], complete["status"]) == (session["id"], "complete")
    assert complete["saved_card"]["token"].startswith("card_")


def test_a_kept_card_asks_its_bank_when_that_wants_to_be_asked(buyer: Buyer, customer: str) -> None:
    card = kept(buyer, ASKS_EVERY_TIME, customer=customer)
    for outcome, status in (("succeed", "complete"), ("fail", "failed")):
        session = buyer.session(saved_card=card["token"], customer=customer)
        assert session["status"] == "requires_action"
        assert buyer.http.get(session["hosted_url"]).headers["Location"].endswith(f"/challenge/{session['id']}")
        succeed(buyer, session, outcome)
        assert buyer.show(session)["status"] == status
    page = buyer.http.get(session["hosted_url"])
    assert (page.status_code, "You were not charged" in page.text) == (409, True)
    assert buyer.enter(session, CARD).json()["status"] == "failed", "another card is another session"


def test_a_forgotten_card_pays_for_nothing(buyer: Buyer, sandbox: SandboxCompany, customer: str) -> None:
    card = kept(buyer, customer=customer)
    for _twice in range(2):
        assert sandbox.client.delete(f"/v1/cards/{card['token']}").json() == {"object": "card", "token": card["token"], "deleted": True}
    assert refusal(buyer, saved_card=card["token"], customer=customer) == "unknown_card"
    assert kept(buyer, customer=customer)["token"] != card["token"]


def test_a_card_that_is_forgotten_while_its_bank_asks_pays_for_nothing(buyer: Buyer, sandbox: SandboxCompany, customer: str) -> None:
    card = kept(buyer, ASKS_EVERY_TIME, customer=customer)
    session = buyer.session(saved_card=card["token"], customer=customer)
    sandbox.client.delete(f"/v1/cards/{card['token']}").raise_for_status()
    succeed(buyer, session)
    assert (buyer.show(session)["status"], buyer.show(session)["failure"]["code"]) == ("failed", "card_forgotten")


def test_a_card_of_somebody_else_pays_for_nothing(buyer: Buyer, customer: str) -> None:
    card = kept(buyer, customer=customer)
    assert refusal(buyer, saved_card=card["token"], customer="buy_somebody_else") == "unknown_card"
    assert refusal(buyer, saved_card=card["token"]) == "missing_field"
    assert refusal(buyer, save_card=True) == "missing_field"
    assert refusal(buyer, saved_card=card["token"], save_card=True, customer=customer) == "invalid_field"
    assert refusal(buyer, saved_card=card["token"], method="qr", customer=customer) == "invalid_field"


def test_a_kept_card_is_declined_when_it_was_stolen_since(buyer: Buyer, customer: str) -> None:
    card = kept(buyer, STOLEN_LATER, customer=customer)
    session = buyer.session(saved_card=card["token"], customer=customer)
    declined = buyer.charge(session["payment_token"])
    assert (declined.status_code, declined.json()["failure"]["code"]) == (402, "stolen_card")


def test_a_kept_card_is_declined_when_it_has_expired_since(buyer: Buyer, clock: Clock, customer: str) -> None:
    card = kept(buyer, customer=customer, expiry=f"{clock.now() + timedelta(days=1):%m / %Y}")  # on a month's last day, the next
    clock.advance(days=33)
    session = buyer.session(saved_card=card["token"], customer=customer)
    declined = buyer.charge(session["payment_token"])
    assert (declined.status_code, declined.json()["failure"]["code"]) == (402, "expired_card")
