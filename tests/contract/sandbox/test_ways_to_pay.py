"""The sandbox's other ways to pay: wallet, QR code, pay later. Each answer counts once, and the page says what became of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import httpx
import pytest
from babel.dates import format_date

from tests.contract.sandbox.conftest import Buyer, Clock, eventually, told_about
from tests.contract.sandbox.days import Days
from tests.fixtures_services import SandboxCompany


def answer(buyer: Buyer, session: dict[str, Any], **form: str) -> httpx.Response:
    return buyer.http.post(session["hosted_url"], data=form)


def refused(buyer: Buyer, **terms: Any) -> tuple[int, str, str]:
    with pytest.raises(httpx.HTTPStatusError) as failed:
        buyer.session(**terms)
    error = failed.value.response.json()["error"]
    return failed.value.response.status_code, error["code"], error["field"]


def test_a_code_that_is_approved_twice_pays_once(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(method="qr", description="Northwind")
    page = buyer.http.get(session["hosted_url"])
    assert "Northwind asks for" in page.text
    assert "100.00\u00a0EUR" in page.text
    assert "You paid" in answer(buyer, session, answer="approve").text
    token = buyer.show(session)["payment_token"]
    for late in ("approve", "decline"):
        again = answer(buyer, session, answer=late)
        assert (again.status_code, "You were not charged a second time" in again.text) == (409, True)
    assert buyer.show(session)["payment_token"] == token
    assert [row["type"] for row in sandbox.journal(reference=session["nonce"])] == ["session.completed"]


def test_of_two_phones_at_once_one_pays(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(method="qr")
    with ThreadPoolExecutor(4) as phones:
        pages = list(phones.map(lambda _: answer(buyer, session, answer="approve").status_code, range(4)))
    assert sorted(pages) == [200, 409, 409, 409]
    assert [row["type"] for row in sandbox.journal(reference=session["nonce"])] == ["session.completed"]


def test_a_code_is_good_for_minutes(buyer: Buyer, clock: Clock) -> None:
    session = buyer.session(method="qr")
    clock.advance(minutes=5, seconds=1)
    late = answer(buyer, session, answer="approve")
    assert (late.status_code, "This code has expired" in late.text) == (410, True)
    assert (buyer.show(session)["status"], buyer.show(session)["payment_token"]) == ("expired", None)


def test_a_code_that_was_declined_stays_declined(buyer: Buyer) -> None:
    session = buyer.session(method="qr")
    assert "You declined" in answer(buyer, session, answer="decline").text
    late = answer(buyer, session, answer="approve")
    assert (late.status_code, "declined already" in late.text) == (409, True)
    assert (buyer.show(session)["status"], buyer.show(session)["failure"]["code"]) == ("failed", "declined_by_buyer")


def test_a_code_that_nobody_made_leads_to_no_payment(sandbox: SandboxCompany) -> None:
    page = sandbox.client.post("/phone/AAAAAAAAAAAA", data={"answer": "approve"})
    assert (page.status_code, "leads to no payment" in page.text) == (404, True)


def test_a_sheet_that_was_cancelled_may_be_opened_again(buyer: Buyer) -> None:
    session = buyer.session(method="digital_wallet")
    assert answer(buyer, session, answer="cancel").headers["Location"] == session["return_url"]
    assert (buyer.show(session)["status"], buyer.show(session)["failure"]["code"]) == ("failed", "canceled_by_buyer")
    assert "You cancelled. You were not charged." in buyer.http.get(session["hosted_url"]).text
    paid = answer(buyer, session, answer="pay", card="mastercard_fr_8210")
    assert (paid.status_code, paid.headers["Location"]) == (303, session["return_url"])
    shown = buyer.show(session)
    assert (shown["status"], shown["failure"], shown["card"]["funding"]) == ("complete", None, "debit")
    answer(buyer, session, answer="cancel")
    assert buyer.show(session)["payment_token"] == shown["payment_token"]


def test_a_card_that_is_not_in_the_wallet_pays_nothing(buyer: Buyer) -> None:
    session = buyer.session(method="digital_wallet")
    assert answer(buyer, session, answer="pay", card="visa_us_9011").status_code == 404
    assert buyer.show(session)["status"] == "open"


def test_pay_later_shows_what_is_due_and_when(buyer: Buyer) -> None:
    session = buyer.session(amount=100_00, method="pay_later")
    assert [one["amount"] for one in session["schedule"]] == [33_34, 33_33, 33_33]
    page = buyer.http.get(session["hosted_url"]).text
    assert all(format_date(date.fromisoformat(one["due_date"]), format="long", locale="en") in page for one in session["schedule"])
    assert page.count("33.33\u00a0EUR") == 2
    assert answer(buyer, session, person="ada@approved.example").headers["Location"] == session["return_url"]
    assert buyer.show(session)["status"] == "complete"


def test_a_person_at_the_provider_decides_on_the_front_page(buyer: Buyer, sandbox: SandboxCompany) -> None:
    for outcome, status in (("approve", "complete"), ("decline", "failed")):
        session = buyer.session(method="pay_later", description=f"Shop that is {outcome}d")
        answer(buyer, session, person="rita@referred.example")
        assert buyer.show(session)["status"] == "in_review"
        assert "A person decides soon. You were not charged." in buyer.http.get(session["hosted_url"]).text
        assert f"Shop that is {outcome}d" in sandbox.client.get("/").text
        for _twice in range(2):
            assert sandbox.client.post("/reviews", data={"session": session["id"], "outcome": outcome}).status_code == 303
        assert buyer.show(session)["status"] == status
        assert sandbox.client.post("/reviews", data={"session": session["id"], "outcome": "approve"}).status_code == 303
        assert buyer.show(session)["status"] == status


def test_what_is_in_review_does_not_expire_and_is_decided_by_the_clock(buyer: Buyer, clock: Clock) -> None:
    session = buyer.session(method="pay_later")
    answer(buyer, session, person="rob@referred.example")
    clock.advance(days=2)
    eventually(lambda: buyer.show(session)["status"] == "failed", "the provider declines")
    assert buyer.show(session)["failure"]["code"] == "declined_by_provider"
    assert "We cannot offer this to you" in buyer.http.get(session["hosted_url"]).text


def test_the_shop_is_told_of_each_way(buyer: Buyer, sandbox: SandboxCompany, clock: Clock) -> None:
    waiting, code = buyer.session(method="pay_later"), buyer.session(method="qr")
    answer(buyer, waiting, person="rita@referred.example")
    answer(buyer, code, answer="approve")
    clock.advance(minutes=2)
    assert {event["type"] for event in told_about(sandbox, waiting["id"], times=2)} == {"session.in_review", "session.completed"}
    [event] = told_about(sandbox, code["id"])
    assert (event["type"], event["data"]["object"]["method"], event["data"]["object"]["payment_token"]) == ("session.completed", "qr", None)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"method": "qr", "currency": "KWD"}, "currency"),
        ({"method": "pay_later", "currency": "JPY"}, "currency"),
        ({"method": "pay_later", "amount": 34_99}, "amount"),
        ({"method": "pay_later", "amount": 1_500_01}, "amount"),
        ({"method": "qr", "amount": 10**13}, "amount"),
        ({"method": "pay_later", "country": "JP"}, "country"),
    ],
)
def test_what_a_way_cannot_do_opens_no_session(buyer: Buyer, terms: dict[str, Any], field: str) -> None:
    assert refused(buyer, **terms) == (400, "method_not_possible", field)


def test_the_buyers_country_is_one_of_a_sessions_terms(buyer: Buyer) -> None:
    session = buyer.session(method="pay_later", country="AT")
    assert session["country"] == "AT"
    assert refused(buyer, method="pay_later", country="DE", nonce=session["nonce"]) == (422, "nonce_reused", "country")
    assert refused(buyer, country="at") == (400, "invalid_field", "country")
    assert buyer.session(country="JP")["status"] == "open", "a card is for every country"


def test_no_card_is_typed_where_none_is_asked_for(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(method="pay_later")
    assert session["fields_url"] is None
    typed = {"number": "4242424242424242", "expiry": "12/34", "cvc": "123"}
    assert sandbox.client.post(f"/fields/{session['id']}", data=typed).status_code == 404
    assert sandbox.client.post(f"/hosted/{session['id']}", data=typed).status_code == 404
    assert buyer.show(session)["status"] == "open"


def test_a_settlement_file_says_how_it_was_paid(buyer: Buyer, days: Days) -> None:
    for method, form in (
        ("qr", {"answer": "approve"}),
        ("pay_later", {"person": "ada@approved.example"}),
        ("digital_wallet", {"card": "visa_us_4242"}),
    ):
        session = buyer.session(method=method)
        answer(buyer, session, **form)
        buyer.charge(buyer.show(session)["payment_token"])
    buyer.charged()
    day = days.end()
    ours = [row for row in days.settled(day) if row["type"] == "charge"]
    assert [row["method"] for row in ours] == ["qr", "pay_later", "digital_wallet", "visa"]
    stripe = [row for row in days.settled(day, form="stripe_payout") if row["reporting_category"] == "charge"]
    assert [(row["payment_method_type"], row["card_brand"]) for row in stripe][::3] == [("qr", ""), ("card", "visa")]


def test_the_front_page_lists_ways_and_test_people(sandbox: SandboxCompany) -> None:
    page = sandbox.client.get("/").text
    for known in ("digital_wallet", "35.00\u00a0EUR to 1,500.00\u00a0EUR", "rita@referred.example", "every currency"):
        assert known in page


def test_a_code_without_a_phone_is_read_on_the_front_page(buyer: Buyer, sandbox: SandboxCompany) -> None:
    session = buyer.session(method="qr", description="Shop with a code")
    assert "Shop with a code" in sandbox.client.get("/").text
    assert session["hosted_url"].removeprefix(sandbox.url) in sandbox.client.get("/").text
    answer(buyer, session, answer="approve")
    assert "Shop with a code" not in sandbox.client.get("/").text
