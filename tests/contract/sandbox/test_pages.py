"""The sandbox's pages: framed only by the origin that opened the session, strict everywhere, usable without JavaScript."""

import pytest

from tests.contract.sandbox.conftest import Buyer
from tests.fixtures_services import SandboxCompany


def policy(sandbox: SandboxCompany, address: str) -> dict[str, str]:
    header = sandbox.client.get(address).headers["Content-Security-Policy"]
    return dict(directive.strip().split(" ", 1) for directive in header.split(";"))


def test_card_fields_and_challenge_are_framed_by_the_parent_alone(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(parent_origin="https://pay.example")
    assert policy(sandbox, session["fields_url"])["frame-ancestors"] == "https://pay.example"
    assert policy(sandbox, f"/challenge/{session['id']}")["frame-ancestors"] == "https://pay.example"
    assert policy(sandbox, session["hosted_url"])["frame-ancestors"] == "'none'"


def test_every_page_loads_nothing_foreign_and_nothing_inline(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session()
    for address in ("/", "/test-cards", "/shop/thanks", session["fields_url"], session["hosted_url"]):
        rules = policy(sandbox, address)
        assert rules["default-src"] == "'none'"
        assert (rules["script-src"], rules["style-src"]) == ("'self'", "'self'")
        page = sandbox.client.get(address).text
        assert "<style" not in page
        assert " style=" not in page
        assert "<script>" not in page


def test_the_hosted_page_ends_at_the_return_address(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(return_url="https://pay.example/return?x=1")
    entered = {"number": "4242424242424242", "expiry": "12/34", "cvc": "123"}
    answer = sandbox.client.post(session["hosted_url"], data=entered)
    assert (answer.status_code, answer.headers["Location"]) == (303, "https://pay.example/return?x=1")


def test_the_hosted_page_shows_what_is_wrong_and_forgets_the_security_code(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session()
    entered = {"number": "4242424242424241", "expiry": "12/34", "cvc": "987"}
    answer = sandbox.client.post(session["hosted_url"], data=entered)
    assert answer.status_code == 422
    assert "typing mistake" in answer.text
    assert "987" not in answer.text


def test_an_unknown_session_is_a_page_of_its_own(sandbox: SandboxCompany) -> None:
    for place in ("fields", "hosted", "challenge"):
        answer = sandbox.client.get(f"/{place}/cs_nobody")
        assert answer.status_code == 404
        assert "leads to no payment" in answer.text


@pytest.mark.parametrize("name", ["payment_token", "client_secret", "api_key"])
def test_the_shop_page_shows_no_secrets(sandbox: SandboxCompany, name: str) -> None:
    page = sandbox.client.get("/shop/thanks", params={name: "do-not-show", "payment": "pay_1"}).text
    assert "do-not-show" not in page
    assert "pay_1" in page
