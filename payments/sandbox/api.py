"""The server-to-server API of sessions and money under /v1: each view reads a request, makes one call and answers.

Every call needs the account's key as a bearer token; calls that move money need an Idempotency-Key. A switched fault
strikes every call it matches; the fault of a test card strikes only the call that really executed. What tests and people
steer is in control.py.
"""

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse

from payments.sandbox import (
    balance,
    bank_accounts,
    charges,
    clock,
    disputes,
    methods,
    misbehaviour,
    payouts,
    refunds,
    saved_cards,
    sessions,
    voids,
    wire,
)
from payments.sandbox.endpoint import idempotency_key, number, wanted_key
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.idempotency import Answer
from payments.sandbox.wire import Field

CURRENCY = Field(wire.text(at_most=3, pattern="[A-Z]{3}"))
AMOUNT = Field(wire.amount)
REFERENCE = Field(wire.text())
LONGEST_LIST = 1000

SESSION = {
    "nonce": Field(wire.text()),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "parent_origin": Field(wire.origin),
    "return_url": Field(wire.url),
    "locale": Field(wire.text(at_most=16, pattern="[A-Za-z0-9_-]+"), default="en"),
    "description": Field(wire.text(at_least=0, at_most=500), default=""),
    "method": Field(wire.one_of(*methods.METHODS), default="card"),
    "customer": Field(wire.text(at_least=0, at_most=64), default=""),
    "country": Field(wire.text(at_least=0, at_most=2, pattern="([A-Z]{2})?"), default=""),
    "save_card": Field(wire.yes_or_no, default=False),
    "saved_card": Field(wire.text(at_least=0, at_most=48), default=""),
}
CHARGE = {
    "token": Field(wire.text()),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "reference": REFERENCE,
    "metadata": Field(wire.labels, default={}),
    "statement_descriptor": Field(wire.descriptor, default=""),
}
REFUND = {"charge": Field(wire.text()), "amount": AMOUNT, "currency": CURRENCY, "reference": REFERENCE}
PAYOUT = {
    "amount": AMOUNT,
    "currency": CURRENCY,
    "reference": REFERENCE,
    "holder": Field(wire.name),
    "account": Field(bank_accounts.read),
    "statement_text": Field(wire.text(at_least=0, at_most=140), default=""),
}
VOID = {"key": Field(wire.text())}


def _answered(answer: Answer) -> HttpResponse:
    response = wire.raw_answer(answer.body, status=answer.status)
    if answer.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def _lag_s(fault: Fault | None) -> float:
    return fault.delay_s if fault and fault.kind == "status_lags" else 0.0


def open_session(request: HttpRequest) -> HttpResponse:
    terms = wire.read(request, SESSION)
    nonce, now = terms.pop("nonce"), clock.now()
    fault = switchboard.fire("session", card=None, references=[nonce])
    misbehaviour.before(fault)
    opened = sessions.open_session(nonce, terms=terms, now=now)
    body = sessions.as_wire(opened.session, now=now)
    return misbehaviour.after(wire.answer(body, status=201 if opened.is_new else 200), fault)


def show_session(request: HttpRequest, session_id: str) -> HttpResponse:
    session = sessions.by_id(session_id)
    fault = switchboard.fire("session", card=session.card_last4, references=[session.nonce])
    misbehaviour.before(fault)
    return misbehaviour.after(wire.answer(sessions.as_wire(session, now=clock.now())), fault)


def forget_card(request: HttpRequest, token: str) -> HttpResponse:
    saved_cards.forget(token, now=clock.now())
    return wire.answer({"object": "card", "token": token, "deleted": True})


def list_methods(request: HttpRequest) -> HttpResponse:
    """The ways to pay, and what each can do."""
    return wire.answer({"data": [methods.as_wire(method) for method in methods.METHODS.values()]})


def make_charge(request: HttpRequest) -> HttpResponse:
    key = idempotency_key(request)
    terms = wire.read(request, CHARGE)
    payer = sessions.payer_of(terms["token"])
    card = payer.card
    fault = switchboard.fire("charge", card=card.last4, references=[terms["reference"], key])
    misbehaviour.before(fault or card.fault, key=key)
    answer = charges.charge(payer, key=key, terms=terms, fault=fault, now=clock.now())
    if fault is None and not answer.replayed:
        fault = card.fault
    return misbehaviour.after(_answered(answer), fault, key=key)


def find_charge(request: HttpRequest) -> HttpResponse:
    key = wanted_key(request)
    fault = switchboard.fire("find", card=None, references=[key])
    misbehaviour.before(fault)
    found = charges.by_key(key, now=clock.now(), lag_s=_lag_s(fault))
    return misbehaviour.after(wire.answer({"data": [charges.as_wire(made) for made in found]}), fault)


def show_charge(request: HttpRequest, charge_id: str) -> HttpResponse:
    return wire.answer(charges.as_wire(charges.by_id(charge_id)))


def void_charge(request: HttpRequest) -> HttpResponse:
    key = idempotency_key(request)
    charge_key = wire.read(request, VOID)["key"]
    fault = switchboard.fire("void", card=None, references=[charge_key, key])
    misbehaviour.before(fault)
    return misbehaviour.after(_answered(voids.void(key, charge_key=charge_key, now=clock.now())), fault)


def make_refund(request: HttpRequest) -> HttpResponse:
    key = idempotency_key(request)
    terms = wire.read(request, REFUND)
    card = charges.by_id(terms["charge"]).session.card_last4
    fault = switchboard.fire("refund", card=card, references=[terms["reference"], key])
    misbehaviour.before(fault, key=key)
    answer = refunds.refund(key, terms=terms, fault=fault, now=clock.now())
    return misbehaviour.after(_answered(answer), fault, key=key)


def find_refund(request: HttpRequest) -> HttpResponse:
    key = wanted_key(request)
    fault = switchboard.fire("find", card=None, references=[key])
    misbehaviour.before(fault)
    found = refunds.by_key(key, now=clock.now(), lag_s=_lag_s(fault))
    return misbehaviour.after(wire.answer({"data": [refunds.as_wire(made) for made in found]}), fault)


def show_refund(request: HttpRequest, refund_id: str) -> HttpResponse:
    return wire.answer(refunds.as_wire(refunds.by_id(refund_id)))


def list_disputes(request: HttpRequest) -> HttpResponse:
    """The disputes that changed at ?updated_since=<moment> or later, by the time of their last change."""
    limit = number(request.GET, "limit", default=100, at_most=LONGEST_LIST)
    since = _moment(request.GET["updated_since"]) if "updated_since" in request.GET else None
    fault = switchboard.fire("dispute", card=None, references=[])
    misbehaviour.before(fault)
    found = disputes.updated_since(since, limit=limit + 1)
    body = {"data": [disputes.as_wire(dispute) for dispute in found[:limit]], "has_more": len(found) > limit}
    return misbehaviour.after(wire.answer(body), fault)


def show_balance(request: HttpRequest) -> HttpResponse:
    """What was taken for the merchant from ?since=<moment> on and before ?until=<moment>, less what was given back, by currency."""
    since, until = (_moment(request.GET.get(name, ""), field=name) for name in ("since", "until"))
    fault = switchboard.fire("find", card=None, references=[])
    misbehaviour.before(fault)
    taken = [{"currency": currency, "amount": amount} for currency, amount in balance.taken(since=since, until=until)]
    return misbehaviour.after(wire.answer({"data": taken}), fault)


def _moment(given: str, *, field: str = "updated_since") -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{field} must be a moment with its zone, such as 2026-11-01T08:00:00Z."
        raise Refusal(400, "invalid_field", message, field=field)
    return moment.astimezone(UTC)


def show_dispute(request: HttpRequest, dispute_id: str) -> HttpResponse:
    dispute = disputes.by_id(dispute_id)
    fault = switchboard.fire("dispute", card=None, references=[dispute.charge.reference, dispute.charge.key, dispute.id])
    misbehaviour.before(fault)
    return misbehaviour.after(wire.answer(disputes.as_wire(dispute)), fault)


def make_payout(request: HttpRequest) -> HttpResponse:
    key = idempotency_key(request)
    terms = wire.read(request, PAYOUT)
    fault = switchboard.fire("payout", card=terms["account"].last4, references=[terms["reference"], key])
    misbehaviour.before(fault, key=key)
    answer = payouts.pay_out(key, terms=terms, fault=fault, now=clock.now())
    return misbehaviour.after(_answered(answer), fault, key=key)


def find_payouts(request: HttpRequest) -> HttpResponse:
    """The payouts under ?key=<idempotency key>, or those that changed at ?updated_since=<moment> or later."""
    return _payouts_updated(request) if "updated_since" in request.GET else _payouts_under_key(request)


def _payouts_under_key(request: HttpRequest) -> HttpResponse:
    key = wanted_key(request)
    fault = switchboard.fire("find", card=None, references=[key])
    misbehaviour.before(fault)
    found = payouts.by_key(key, now=clock.now(), lag_s=_lag_s(fault))
    return misbehaviour.after(wire.answer({"data": [payouts.as_wire(made) for made in found]}), fault)


def _payouts_updated(request: HttpRequest) -> HttpResponse:
    limit, since = number(request.GET, "limit", default=100, at_most=LONGEST_LIST), _moment(request.GET["updated_since"])
    fault = switchboard.fire("find", card=None, references=[])
    misbehaviour.before(fault)
    found = payouts.updated_since(since, limit=limit + 1)
    body = {"data": [payouts.as_wire(made) for made in found[:limit]], "has_more": len(found) > limit}
    return misbehaviour.after(wire.answer(body), fault)


def show_payout(request: HttpRequest, payout_id: str) -> HttpResponse:
    return wire.answer(payouts.as_wire(payouts.by_id(payout_id)))
