"""The server-to-server API under /v1: each view reads a request, makes one call and answers.

Every call needs the account's key as a bearer token; calls that move money need an Idempotency-Key. A switched fault
strikes every call it matches; the fault of a test card strikes only the call that really executed.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from payments.sandbox import cards, charges, deliveries, faults, journal, late, refunds, sessions, wire
from payments.sandbox.cards import TEST_CARDS
from payments.sandbox.errors import Refusal
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.idempotency import Answer
from payments.sandbox.late import Lateness
from payments.sandbox.wire import Field

View = Callable[..., HttpResponse]
CURRENCY = Field(wire.text(at_most=3, pattern="[A-Z]{3}"))
AMOUNT = Field(wire.amount)
REFERENCE = Field(wire.text())

SESSION = {
    "nonce": Field(wire.text()),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "parent_origin": Field(wire.origin),
    "return_url": Field(wire.url),
    "locale": Field(wire.text(at_most=16, pattern="[A-Za-z0-9_-]+"), default="en"),
    "description": Field(wire.text(at_least=0, at_most=500), default=""),
}
CHARGE = {
    "token": Field(wire.text()),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "reference": REFERENCE,
    "metadata": Field(wire.labels, default={}),
}
REFUND = {"charge": Field(wire.text()), "amount": AMOUNT, "currency": CURRENCY, "reference": REFERENCE}
FAULT = {
    "operation": Field(wire.one_of(*faults.OPERATIONS)),
    "kind": Field(wire.one_of(*faults.KINDS)),
    "card": Field(wire.text(at_most=24), default=None),
    "reference": Field(wire.text(), default=None),
    "times": Field(wire.whole_number, default=None),
    "rate": Field(wire.share, default=None),
    "delay_s": Field(wire.seconds, default=None),
}


def endpoint(**views: View) -> View:
    """Return one view out of a view per HTTP method: it checks the API key and turns refusals into answers."""

    @wraps(next(iter(views.values())))
    def dispatch(request: HttpRequest, **names: str) -> HttpResponse:
        view = views.get((request.method or "").lower())
        try:
            _authenticate(request)
            if view is None:
                raise Refusal(405, "method_not_allowed", f"Use {', '.join(views).upper()} here.")
            return view(request, **names)
        except Refusal as refusal:
            return wire.answer(refusal.as_wire(), status=refusal.status)

    return dispatch


def _authenticate(request: HttpRequest) -> None:
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {settings.SANDBOX_API_KEY}".encode()):
        raise Refusal(401, "unauthorized", "Send the account's API key: Authorization: Bearer <key>.")


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Refusal(400, "idempotency_key_missing", "Send an Idempotency-Key of 1 to 255 characters.", field="Idempotency-Key")
    return key


def _now() -> datetime:
    return datetime.now(UTC)


def _before(fault: Fault | None) -> None:
    """Refuse when the fault says that nothing is executed."""
    if fault and fault.kind == "refuse_500":
        raise Refusal(500, "internal_error", "Something went wrong on our side. Nothing was executed.")


def _after(response: HttpResponse, fault: Fault | None) -> HttpResponse:
    """Spoil the answer to what was executed as the fault says."""
    if fault is None or fault.concerns_webhooks:
        return response
    if fault.kind == "execute_then_500":
        broken = Refusal(500, "internal_error", "Something went wrong on our side.")
        return wire.answer(broken.as_wire(), status=500)
    if fault.kind in ("slow", "execute_then_silence"):
        return late.mark(response, Lateness(fault.delay_s, silent=fault.kind == "execute_then_silence"))
    return response


def _answered(answer: Answer) -> HttpResponse:
    response = wire.raw_answer(answer.body, status=answer.status)
    if answer.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def open_session(request: HttpRequest) -> HttpResponse:
    terms = wire.read(request, SESSION)
    nonce, now = terms.pop("nonce"), _now()
    fault = switchboard.fire("session", card=None, references=[nonce])
    _before(fault)
    opened = sessions.open_session(nonce, terms=terms, now=now)
    body = sessions.as_wire(opened.session, now=now)
    return _after(wire.answer(body, status=201 if opened.is_new else 200), fault)


def show_session(request: HttpRequest, session_id: str) -> HttpResponse:
    session = sessions.by_id(session_id)
    fault = switchboard.fire("session", card=session.card_last4, references=[session.nonce])
    _before(fault)
    return _after(wire.answer(sessions.as_wire(session, now=_now())), fault)


def make_charge(request: HttpRequest) -> HttpResponse:
    key = _idempotency_key(request)
    terms = wire.read(request, CHARGE)
    payer = sessions.payer_of(terms["token"])
    card = payer.card
    fault = switchboard.fire("charge", card=card.last4, references=[terms["reference"], key])
    _before(fault or card.fault)
    answer = charges.charge(payer, key=key, terms=terms, now=_now())
    if fault is None and not answer.replayed:
        fault = card.fault
    return _after(_answered(answer), fault)


def find_charge(request: HttpRequest) -> HttpResponse:
    key = _wanted_key(request)
    fault = switchboard.fire("find", card=None, references=[key])
    _before(fault)
    return _after(wire.answer({"data": [charges.as_wire(made) for made in charges.by_key(key)]}), fault)


def show_charge(request: HttpRequest, charge_id: str) -> HttpResponse:
    return wire.answer(charges.as_wire(charges.by_id(charge_id)))


def make_refund(request: HttpRequest) -> HttpResponse:
    key = _idempotency_key(request)
    terms = wire.read(request, REFUND)
    card = charges.by_id(terms["charge"]).session.card_last4
    fault = switchboard.fire("refund", card=card, references=[terms["reference"], key])
    _before(fault)
    return _after(_answered(refunds.refund(key, terms=terms, now=_now())), fault)


def find_refund(request: HttpRequest) -> HttpResponse:
    key = _wanted_key(request)
    fault = switchboard.fire("find", card=None, references=[key])
    _before(fault)
    return _after(wire.answer({"data": [refunds.as_wire(made) for made in refunds.by_key(key)]}), fault)


def show_refund(request: HttpRequest, refund_id: str) -> HttpResponse:
    return wire.answer(refunds.as_wire(refunds.by_id(refund_id)))


def _wanted_key(request: HttpRequest) -> str:
    key = request.GET.get("key", "")
    if not key or "\x00" in key:
        raise Refusal(400, "missing_field", "Say which: ?key=<idempotency key>.", field="key")
    return key


def show_journal(request: HttpRequest) -> HttpResponse:
    limit = _number(request.GET, "limit", default=100, at_most=1000)
    rows = journal.rows_after(_number(request.GET, "after", default=0, at_most=2**62), limit=limit + 1)
    return wire.answer({"data": [journal.as_wire(row) for row in rows[:limit]], "has_more": len(rows) > limit})


def _number(query: Mapping[str, str], name: str, *, default: int, at_most: int) -> int:
    given = query.get(name, str(default))
    if not (given.isascii() and given.isdigit() and int(given) <= at_most):
        raise Refusal(400, "invalid_field", f"{name} must be a whole number up to {at_most}.", field=name)
    return int(given)


def show_deliveries(request: HttpRequest) -> HttpResponse:
    """How the webhooks about one object fared: ?object=ch_..."""
    wanted = request.GET.get("object", "")
    return wire.answer({"data": [deliveries.as_wire(delivery) for delivery in deliveries.of_object(wanted)]})


def switch_fault_on(request: HttpRequest) -> HttpResponse:
    wanted = wire.read(request, FAULT)
    concerns_webhooks = wanted["kind"].startswith("webhook_")
    if concerns_webhooks != (wanted["operation"] == "webhook"):
        raise Refusal(400, "invalid_field", "webhook_ kinds and the operation webhook belong together.", field="kind")
    delay_s = wanted["delay_s"]
    if delay_s is None:
        delay_s = faults.DEFAULT_DELAY_S.get(wanted["kind"], 0.0)
    card = wanted["card"]
    switch = switchboard.switch_on(
        wanted["operation"],
        Fault(wanted["kind"], delay_s),
        card=card[-4:] if card else None,
        reference=wanted["reference"],
        times=wanted["times"],
        rate=wanted["rate"],
    )
    return wire.answer(switch.as_wire())


def show_faults(request: HttpRequest) -> HttpResponse:
    return wire.answer({"data": [switch.as_wire() for switch in switchboard.all()]})


def switch_faults_off(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("id", "")
    if wanted.isascii() and wanted.isdigit():
        switchboard.switch_off(int(wanted))
    elif wanted:
        raise Refusal(400, "invalid_field", "id must be the number of a switch.", field="id")
    else:
        switchboard.switch_all_off()
    return show_faults(request)


def show_test_cards(request: HttpRequest) -> HttpResponse:
    """Public: these numbers are printed in every manual."""
    return wire.answer({"data": [card_as_wire(card) for card in TEST_CARDS]})


def card_as_wire(card: cards.TestCard) -> dict[str, object]:
    return {
        "number": card.number,
        "brand": card.brand,
        "funding": card.funding,
        "country": card.country,
        "group": card.group,
        "says": card.says,
        "authentication": card.authentication,
        "failure": card.failure.as_wire() if card.failure else None,
        "charge": card.charge,
        "refund": card.refund,
        "fault": card.fault.kind if card.fault else None,
    }
