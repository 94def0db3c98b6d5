"""Every registered way to pay keeps the one contract, against the running sandbox: what it asks for is enough to get a session complete.

From there on all ways are one: the token is charged once per seller's order, refunds go back in part, books and the sandbox's journal agree.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from djmoney.money import Money

from ledger.money import exact
from payments import confirmation, executor, queries, refunds
from payments.confirmation import Confirmed
from payments.management import buyer
from payments.methods.method import Asks, Method
from payments.methods.registry import METHODS, MethodNotPossible, UnknownMethod, method_named, offered, require_possible
from payments.models import PaymentEvent
from payments.psp.protocol import (
    Charged,
    ChargeRequest,
    Declined,
    Psp,
    PspOutcomeUnknown,
    PspRejectedRequest,
    RefundRequest,
    Session,
    SessionRequest,
)
from payments.psp.registry import psp_named
from tests.contract.sandbox.conftest import eventually
from tests.factories import eur
from tests.fixtures_money import DECLINED, VISA, Oracle, execute_refunds, statuses
from tests.fixtures_services import SandboxCompany

AT_THE_PSP = [name for name, method in METHODS.items() if method.needs_psp]
WITH_US = [name for name, method in METHODS.items() if not method.needs_psp]
Open = Callable[..., PaymentEvent]

# What the buyer does where the method leads him, and how he is declined: by his bank when the money is taken, or before that.
APPROVE: dict[str, Callable[[Session], str]] = {
    "card": lambda session: buyer.give_card(session.hosted_url, number=VISA),
    "digital_wallet": lambda session: buyer.approve(session.hosted_url),
    "qr": lambda session: buyer.approve(session.hosted_url),
    "pay_later": lambda session: buyer.approve(session.hosted_url),
}
DECLINE: dict[str, Callable[[Session], str]] = {
    "card": lambda session: buyer.give_card(session.hosted_url, number=DECLINED),
    "digital_wallet": lambda session: buyer.approve(session.hosted_url, card="visa_us_0002"),
    "qr": lambda session: buyer.approve(session.hosted_url, answer="decline"),
    "pay_later": lambda session: buyer.approve(session.hosted_url, person="dan@declined.example"),
}
DECLINED_AS = {"card": "card_declined", "digital_wallet": "card_declined", "qr": "declined_by_buyer", "pay_later": "declined_by_provider"}


@pytest.fixture
def psp(sandbox: SandboxCompany) -> Psp:
    return psp_named("sandbox")


def asked(method: str, *, amount: Money | None = None, nonce: str = "", **terms: Any) -> SessionRequest:
    name, back = nonce or uuid.uuid4().hex, "https://shop.example/thanks"
    return SessionRequest(name, amount or eur("128.40"), "https://pay.example", back, "en", "Northwind", method=method, **terms)


def charged(psp: Psp, session: Session, amount: str) -> Any:
    key = f"ord_{uuid.uuid4().hex}"
    return psp.charge(ChargeRequest(key, session.payment_token, exact(amount, "EUR"), reference=key))


def stands_as(psp: Psp, session_id: str, status: str) -> bool:
    return psp.session(session_id).status == status


def refund_of(taken: Charged) -> RefundRequest:
    return RefundRequest(uuid.uuid4().hex, taken.psp_reference, eur("1.00"), reference=f"ref_{uuid.uuid4().hex}")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_all_that_a_page_must_know(name: str) -> None:
    method = method_named(name)
    assert method.name == name
    assert str(method.label)
    assert method.needs_psp == (method.asks in (Asks.PSP_FIELDS, Asks.REDIRECT, Asks.SHOW_CODE))
    assert not method.confirms_itself or method.needs_psp
    assert method.offered_for(eur("128.40"), "AT")


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_what_the_method_asks_for_completes_a_session(name: str, psp: Psp) -> None:
    method, request = method_named(name), asked(name)
    opened = psp.open_session(request)
    assert (opened.status, opened.method, opened.payment_token, opened.amount) == ("open", name, "", request.amount)
    assert method.asks_in(opened) == method.asks
    assert bool(opened.code_text) == (method.asks == Asks.SHOW_CODE)
    assert bool(opened.fields_url) == (method.asks == Asks.PSP_FIELDS)
    assert opened.expires_at
    leads_to = APPROVE[name](opened)
    assert leads_to == ("" if method.asks == Asks.SHOW_CODE else request.return_url)
    complete = psp.session(opened.id)
    assert (complete.status, complete.method, method.asks_in(complete)) == ("complete", name, Asks.NOTHING)
    assert psp.open_session(request) == complete, "the same nonce is the same session"


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_a_basket_of_two_sellers_is_paid_and_refunded_in_part(name: str, psp: Psp, open_payment: Open, oracle: Oracle) -> None:
    event = open_payment("89.10", "39.30")
    session = psp.open_session(asked(name, amount=queries.sum_of(list(event.orders.all()))))
    APPROVE[name](session)
    for _twice in range(2):
        confirmation.confirm(event.pk, Confirmed.by(psp.session(session.id)), now=timezone.now())
    executor.execute_due_orders(now=timezone.now())
    assert statuses(event) == ["SUCCESS", "SUCCESS"]
    order = event.orders.order_by("id")[0]
    refunds.request_refund(order.pk, amount=eur("0.07"), reason="broken", now=timezone.now())
    execute_refunds(now=timezone.now())
    assert sorted(row["amount"] for row in oracle.rows("charge.succeeded")) == [3930, 8910]
    assert [row["amount"] for row in oracle.rows("refund.succeeded")] == [7]


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_a_decline_takes_nothing_and_says_why(name: str, psp: Psp, oracle: Oracle) -> None:
    session = psp.open_session(asked(name))
    DECLINE[name](session)
    declined = psp.session(session.id)
    if declined.status == "complete":
        result = charged(psp, declined, "128.40")
        assert isinstance(result, Declined)
        assert result.code == DECLINED_AS[name]
    else:
        assert (declined.status, declined.payment_token, declined.failure_code) == ("failed", "", DECLINED_AS[name])
    assert oracle.charged() == []


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_what_the_buyer_abandons_expires_and_can_no_longer_be_approved(name: str, psp: Psp, sandbox: SandboxCompany) -> None:
    session = psp.open_session(asked(name))
    sandbox.client.put("/v1/clock", json={"advance_s": 24 * 3600 + 1}).raise_for_status()
    expired = psp.session(session.id)
    assert (expired.status, method_named(name).asks_in(expired)) == ("expired", Asks.NOTHING)
    with pytest.raises(ValueError, match="has expired"):
        APPROVE[name](session)
    assert psp.session(session.id).payment_token == ""


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_what_was_confirmed_is_never_charged_twice_over(name: str, psp: Psp) -> None:
    session = psp.open_session(asked(name))
    APPROVE[name](session)
    complete = psp.session(session.id)
    assert isinstance(charged(psp, complete, "128.39"), Charged)
    with pytest.raises(PspRejectedRequest):
        charged(psp, complete, "0.02")
    assert isinstance(charged(psp, complete, "0.01"), Charged)


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_refunds_end_with_the_days_that_the_method_says(name: str, psp: Psp, sandbox: SandboxCompany) -> None:
    rule, session = method_named(name).refunds, psp.open_session(asked(name))
    APPROVE[name](session)
    taken = charged(psp, psp.session(session.id), "10.00")
    days = rule.within_days or 1000
    assert rule.are_possible(paid_at=taken.at, now=taken.at + timedelta(days=days - 1))
    assert rule.are_possible(paid_at=taken.at, now=taken.at + timedelta(days=days)) == (rule.within_days is None)
    assert isinstance(psp.refund(refund_of(taken)), Charged)
    if rule.within_days:
        sandbox.client.put("/v1/clock", json={"advance_s": days * 24 * 3600}).raise_for_status()
        with pytest.raises(PspRejectedRequest, match="refund_too_late"):
            psp.refund(refund_of(taken))


@pytest.mark.parametrize("name", WITH_US)
def test_what_we_keep_ourselves_needs_no_psp_and_gets_no_session(name: str, psp: Psp) -> None:
    assert method_named(name) in offered(psp, exact("1.000", "KWD"))
    with pytest.raises(PspRejectedRequest, match="method"):
        psp.open_session(asked(name))


@pytest.mark.parametrize(
    ("name", "amount", "country", "says"),
    [
        ("qr", exact("10.000", "KWD"), "", "QR code cannot be paid in KWD. Choose another way to pay."),
        ("pay_later", exact("5000", "JPY"), "", "Pay later cannot be paid in JPY. Choose another way to pay."),
        ("pay_later", eur("34.99"), "AT", "Pay later is possible from 35.00\u00a0EUR on. Choose another way to pay."),
        ("pay_later", eur("1500.01"), "AT", "Pay later is possible up to 1,500.00\u00a0EUR. Choose another way to pay."),
        ("pay_later", eur("100.00"), "JP", "Pay later is not offered in JP. Choose another way to pay."),
    ],
)
def test_an_amount_that_a_method_cannot_do_is_refused_in_words(name: str, amount: Money, country: str, says: str, psp: Psp) -> None:
    assert method_named(name) not in offered(psp, amount, country)
    with pytest.raises(MethodNotPossible) as refused:
        require_possible(name, psp, amount, country)
    assert refused.value.detail == says
    with pytest.raises(PspRejectedRequest, match="method_not_possible"):
        psp.open_session(asked(name, amount=amount, country=country))


def test_the_bounds_that_the_adapter_declares_are_the_psps_own(psp: Psp, sandbox: SandboxCompany) -> None:
    theirs = {way["name"]: way for way in sandbox.client.get("/v1/methods").json()["data"]}
    assert set(theirs) == set(psp.methods) == set(AT_THE_PSP)
    for name, capability in psp.methods.items():
        assert sorted(capability.currencies) == sorted(theirs[name]["currencies"])
        assert sorted(capability.countries) == sorted(theirs[name]["countries"])
        for bound in ("smallest", "largest"):
            ours: dict[str, int] = {
                currency: int(value * 10 ** (0 if currency in ("JPY", "VND", "KRW") else 2))
                for currency, value in getattr(capability, bound).items()
            }
            assert ours == theirs[name][bound]
        assert method_named(name).refunds.within_days == theirs[name]["refundable_days"]


def test_a_psp_without_a_method_is_not_asked_for_it(psp: Psp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psp, "methods", {"card": psp.methods["card"]})
    assert [method.name for method in offered(psp, eur("100.00"))] == ["card", "wallet", "gift_card"]
    with pytest.raises(MethodNotPossible, match="QR code is not offered here"):
        require_possible("qr", psp, eur("100.00"))
    with pytest.raises(UnknownMethod, match="'cheque'"):
        method_named("cheque")


def test_a_referred_buyer_waits_for_a_person_and_is_paid_then(psp: Psp, sandbox: SandboxCompany) -> None:
    method: Method = method_named("pay_later")
    for person, ends_as in (("rita@referred.example", "complete"), ("rob@referred.example", "failed")):
        session = psp.open_session(asked("pay_later"))
        assert sum((one.amount for one in session.schedule), start=eur("0.00")) == session.amount
        buyer.approve(session.hosted_url, person=person)
        waiting = psp.session(session.id)
        assert (waiting.status, method.asks_in(waiting), waiting.payment_token) == ("in_review", Asks.WAIT, "")
        sandbox.client.put("/v1/clock", json={"advance_s": 3600}).raise_for_status()
        eventually(partial(stands_as, psp, session.id, ends_as), f"{person} is decided: {ends_as}")


def test_a_card_is_kept_for_its_buyer_and_forgotten_when_the_buyer_says_so(psp: Psp) -> None:
    session = psp.open_session(asked("card", save_card=True, buyer="buy_1"))
    APPROVE["card"](session)
    kept = psp.session(session.id).saved_card
    assert kept
    assert (kept.brand, kept.last4, kept.exp_month, kept.exp_year, kept.funding) == ("visa", "4242", 12, 2034, "credit")
    again = psp.open_session(asked("card", saved_card=kept.token, buyer="buy_1"))
    assert (again.status, again.card_last4, again.saved_card) == ("complete", "4242", None)
    for _twice in range(2):
        psp.forget_card(kept.token)
    with pytest.raises(PspRejectedRequest, match="unknown_card"):
        psp.open_session(asked("card", saved_card=kept.token, buyer="buy_1"))


@pytest.mark.parametrize("name", AT_THE_PSP)
def test_an_opening_whose_answer_is_lost_is_the_same_session_when_it_is_asked_for_again(
    name: str, psp: Psp, sandbox: SandboxCompany, oracle: Oracle
) -> None:
    request = asked(name)
    sandbox.fault(operation="session", kind="execute_then_500", times=1)
    with pytest.raises(PspOutcomeUnknown):
        psp.open_session(request)
    sessions = {psp.open_session(request).id for _twice in range(2)}
    APPROVE[name](psp.open_session(request))
    assert {row["object_id"] for row in oracle.rows("session.completed") if row["reference"] == request.nonce} == sessions
