"""Each published test card does what the list of test cards says, and no other card in the world is taken."""

import pytest

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany

DECLINES = {
    "4000000000000002": ("card_declined", None),
    "4000000000000341": ("card_declined", None),
    "4000000000009995": ("insufficient_funds", "try_again_later"),
    "4000000000009987": ("lost_card", "do_not_try_again"),
    "4000000000009979": ("stolen_card", "do_not_try_again"),
    "4000000000006975": ("card_velocity_exceeded", "try_again_later"),
    "4000000000000069": ("expired_card", "do_not_try_again"),
    "4000000000000127": ("incorrect_cvc", None),
    "4000000000000119": ("processing_error", "try_again_later"),
}


@pytest.mark.parametrize(
    ("number", "cvc", "brand", "funding", "country"),
    [
        ("4242 4242 4242 4242", "123", "visa", "credit", "US"),
        ("5555-5555-5555-4444", "123", "mastercard", "credit", "US"),
        ("3782 822463 10005", "1234", "amex", "credit", "US"),
        ("6011111111111117", "123", "discover", "credit", "US"),
        ("4000056655665556", "123", "visa", "debit", "DE"),
        ("5105105105105100", "123", "mastercard", "prepaid", "NL"),
    ],
)
def test_a_good_card_completes_the_session(buyer: Buyer, number: str, cvc: str, brand: str, funding: str, country: str) -> None:
    session = buyer.session()
    assert buyer.enter(session, number, cvc=cvc).json()["status"] == "complete"
    shown = buyer.show(session)
    assert shown["payment_token"].startswith("tok_")
    digits = "".join(filter(str.isdigit, number))
    card = shown["card"]
    assert (shown["method"], card["brand"], card["funding"], card["country"]) == ("card", brand, funding, country)
    assert (card["last4"], card["exp_month"], card["exp_year"]) == (digits[-4:], 12, 2034)
    assert buyer.charge(shown["payment_token"]).json()["status"] == "succeeded"


@pytest.mark.parametrize("number", DECLINES)
def test_a_declining_card_declines_when_it_is_charged(buyer: Buyer, number: str) -> None:
    answer = buyer.charge(buyer.token(number))
    assert answer.status_code == 402
    body = answer.json()
    assert body["status"] == "failed"
    assert (body["failure"]["code"], body["failure"]["advice"]) == DECLINES[number]


def test_a_typing_mistake_is_said_under_the_number(buyer: Buyer) -> None:
    session = buyer.session()
    answer = buyer.enter(session, "4242424242424241")
    assert answer.status_code == 422
    assert set(answer.json()["fields"]) == {"number"}
    assert buyer.show(session)["status"] == "open"


def test_any_other_card_is_refused_and_leaves_no_trace(buyer: Buyer) -> None:
    session = buyer.session()
    answer = buyer.enter(session, "4539578763621486")  # passes the check digit, but nobody published it
    assert (answer.status_code, answer.json()["code"]) == (422, "test_cards_only")
    shown = buyer.show(session)
    assert (shown["status"], shown["card"]) == ("open", None)


@pytest.mark.parametrize(
    ("expiry", "cvc", "field"),
    [
        ("01/20", "123", "expiry"),
        ("13/34", "123", "expiry"),
        ("", "123", "expiry"),
        ("12/34", "12", "cvc"),
        ("12/34", "", "cvc"),
    ],
)
def test_date_and_code_are_checked_field_by_field(buyer: Buyer, expiry: str, cvc: str, field: str) -> None:
    answer = buyer.enter(buyer.session(), "4242424242424242", expiry=expiry, cvc=cvc)
    assert set(answer.json()["fields"]) == {field}


def test_complaints_come_in_the_language_of_the_session(buyer: Buyer) -> None:
    answer = buyer.enter(buyer.session(locale="de-AT"), "")
    assert answer.json()["fields"]["number"] == "Geben Sie die Kartennummer ein."


@pytest.mark.parametrize("number", ["4000002760003184", "4000002500003155", "4000000000003220"])
def test_three_d_secure_asks_and_then_completes(buyer: Buyer, number: str) -> None:
    session = buyer.session()
    answer = buyer.enter(session, number).json()
    assert answer["status"] == "requires_action"
    assert buyer.show(session)["payment_token"] is None
    told = buyer.http.post(answer["challenge_url"], data={"outcome": "succeed"}, headers={"Accept": "application/json"})
    assert told.json()["status"] == "complete"
    assert buyer.charge(buyer.show(session)["payment_token"]).status_code == 201


@pytest.mark.parametrize("outcome", ["fail", "abandon"])
def test_after_a_failed_challenge_another_card_may_be_tried(buyer: Buyer, outcome: str) -> None:
    session = buyer.session()
    challenge_url = buyer.enter(session, "4000002760003184").json()["challenge_url"]
    buyer.http.post(challenge_url, data={"outcome": outcome})
    assert buyer.show(session)["status"] == "failed"
    assert buyer.enter(session, "4242424242424242").json()["status"] == "complete"


def test_an_optional_three_d_secure_does_not_ask(buyer: Buyer) -> None:
    assert buyer.enter(buyer.session(), "4000000000003055").json()["status"] == "complete"


@pytest.mark.parametrize(("number", "code"), [("4000008400001629", "card_declined"), ("4000008260003178", "insufficient_funds")])
def test_three_d_secure_may_succeed_and_the_charge_fail(buyer: Buyer, number: str, code: str) -> None:
    session = buyer.session()
    buyer.http.post(buyer.enter(session, number).json()["challenge_url"], data={"outcome": "succeed"})
    assert buyer.charge(buyer.show(session)["payment_token"]).json()["failure"]["code"] == code


def test_a_challenge_cannot_be_answered_without_being_asked(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session()
    sandbox.client.post(f"/challenge/{session['id']}", data={"outcome": "succeed"})
    assert buyer.show(session)["status"] == "open"


def test_a_complete_session_keeps_its_first_card(buyer: Buyer) -> None:
    session = buyer.session()
    buyer.enter(session, "4242424242424242")
    buyer.enter(session, "5555555555554444")
    assert buyer.show(session)["card"]["last4"] == "4242"


def test_a_refund_may_be_pending(buyer: Buyer) -> None:
    charge = buyer.charged("4000000000007726")
    assert buyer.refund(charge, amount=1_00).json()["status"] == "pending"


def test_every_published_card_passes_the_form(buyer: Buyer, sandbox: SandboxCompany) -> None:
    for card in sandbox.client.get("/v1/test_cards").json()["data"]:
        cvc = "1234" if card["brand"] == "amex" else "123"
        expected = {"none": "complete", "challenge": "requires_action", "broken": "failed"}[card["authentication"]]
        answer = buyer.enter(buyer.session(), card["number"], cvc=cvc)
        assert answer.json()["status"] == expected, card


def test_the_same_nonce_opens_one_session(buyer: Buyer, sandbox: SandboxCompany) -> None:
    first = buyer.session(nonce="checkout_7f")
    assert buyer.session(nonce="checkout_7f")["id"] == first["id"]
    terms = {name: first[name] for name in ("nonce", "currency", "parent_origin", "return_url", "locale", "description")}
    other = sandbox.client.post("/v1/sessions", json={**terms, "amount": first["amount"] + 1})
    assert (other.status_code, other.json()["error"]["field"]) == (422, "amount")
