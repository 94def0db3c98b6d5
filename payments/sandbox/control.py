"""How tests and people steer the sandbox and look into it: journal, deliveries, faults, clock, outage, the bank's disputes.

No part of what a real PSP offers, and never struck by a fault or an outage.
"""

from django.http import HttpRequest, HttpResponse

from payments.sandbox import bank_accounts, broken_addresses, cards, clock, deliveries, disputes, fault_kinds, journal, outage, wire
from payments.sandbox.bank_accounts import TEST_ACCOUNTS
from payments.sandbox.cards import TEST_CARDS
from payments.sandbox.endpoint import number
from payments.sandbox.errors import Refusal
from payments.sandbox.fault_kinds import BEFORE_ANY_REQUEST, BY_ID, KINDS, OPERATIONS
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.wire import Field

FAULT = {
    "operation": Field(wire.one_of(*OPERATIONS)),
    "kind": Field(wire.one_of(*KINDS, *BY_ID, *BEFORE_ANY_REQUEST)),
    "card": Field(wire.text(at_most=24), default=None),
    "reference": Field(wire.text(), default=None),
    "times": Field(wire.whole_number, default=None),
    "rate": Field(wire.share, default=None),
    "seed": Field(wire.whole_number, default=None),
    "delay_s": Field(wire.offset, default=None),
    "retry_after_s": Field(wire.retry_after, default=None),
}
CLOCK = {"offset_s": Field(wire.offset, default=None), "advance_s": Field(wire.offset, default=None)}
OUTAGE = {"kind": Field(wire.one_of(*outage.KINDS)), "seconds": Field(wire.seconds, default=0.0)}
DISPUTE = {
    "charge": Field(wire.text(), default=None),
    "reference": Field(wire.text(), default=None),
    "amount": Field(wire.amount, default=None),
    "currency": Field(wire.text(at_most=3, pattern="[A-Z]{3}"), default=None),
    "reason": Field(wire.text(at_most=64, pattern="[a-z_]+"), default="fraudulent"),
    "fee": Field(wire.money_or_nothing, default=disputes.FEE),
}
DECISION = {
    "outcome": Field(wire.one_of("won", "lost", "partial")),
    "lost_amount": Field(wire.money_or_nothing, default=None),
}


def show_journal(request: HttpRequest) -> HttpResponse:
    limit = number(request.GET, "limit", default=100, at_most=1000)
    rows = journal.rows_after(number(request.GET, "after", default=0, at_most=2**62), limit=limit + 1)
    return wire.answer({"data": [journal.as_wire(row) for row in rows[:limit]], "has_more": len(rows) > limit})


def show_deliveries(request: HttpRequest) -> HttpResponse:
    """How the webhooks about one object fared: ?object=ch_..."""
    wanted = request.GET.get("object", "")
    return wire.answer({"data": [deliveries.as_wire(delivery) for delivery in deliveries.of_object(wanted)]})


def switch_fault_on(request: HttpRequest) -> HttpResponse:
    wanted = wire.read(request, FAULT)
    card = wanted["card"]
    switch = switchboard.switch_on(
        wanted["operation"],
        _fault(wanted["kind"], operation=wanted["operation"], delay_s=wanted["delay_s"], retry_after_s=wanted["retry_after_s"]),
        card=card[-4:] if card else None,
        reference=wanted["reference"],
        times=wanted["times"],
        rate=wanted["rate"],
        seed=wanted["seed"],
    )
    return wire.answer(switch.as_wire())


def _fault(kind: str, *, operation: str, delay_s: float | None, retry_after_s: int | None) -> Fault:
    if kind in BEFORE_ANY_REQUEST:
        message = f"{kind} happens before any request: take its address from GET /v1/broken_addresses, or PUT /v1/outage."
        raise Refusal(400, "invalid_field", message, field="kind")
    known = BY_ID.get(kind, kind)
    about = KINDS[known]  # type: ignore[index]
    if operation not in about.operations:
        message = f"{known} can strike {', '.join(about.operations)}, not {operation}."
        raise Refusal(400, "invalid_field", message, field="kind")
    wait_s = about.delay_s if delay_s is None else delay_s
    if wait_s < 0 and known != "clock_skew":
        raise Refusal(400, "invalid_field", "Only a clock_skew may be below zero.", field="delay_s")
    if abs(wait_s) > 7 * 24 * 3600:
        raise Refusal(400, "invalid_field", "delay_s must be a number of seconds, at most a week.", field="delay_s")
    return Fault(known, wait_s, retry_after_s)  # type: ignore[arg-type]


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


def show_fault_kinds(request: HttpRequest) -> HttpResponse:
    return wire.answer({"data": [fault_kinds.as_wire(kind) for kind in KINDS]})


def show_broken_addresses(request: HttpRequest) -> HttpResponse:
    return wire.answer(broken_addresses.addresses(int(request.META["SERVER_PORT"])))


def begin_outage(request: HttpRequest) -> HttpResponse:
    wanted = wire.read(request, OUTAGE)
    return wire.answer(outage.begin(wanted["kind"], seconds=wanted["seconds"]).as_wire())


def show_outage(request: HttpRequest) -> HttpResponse:
    lasting = outage.current()
    return wire.answer(lasting.as_wire() if lasting else {"kind": None, "until": None})


def end_outage(request: HttpRequest) -> HttpResponse:
    outage.end()
    return show_outage(request)


def show_clock(request: HttpRequest) -> HttpResponse:
    return wire.answer({"now": wire.moment(clock.now()), "offset_s": clock.offset_s()})


def move_clock(request: HttpRequest) -> HttpResponse:
    wanted = wire.read(request, CLOCK)
    if (wanted["offset_s"] is None) == (wanted["advance_s"] is None):
        raise Refusal(400, "missing_field", "Send offset_s or advance_s, and not both.", field="offset_s")
    if wanted["offset_s"] is not None:
        clock.set_offset(wanted["offset_s"])
    else:
        clock.advance(wanted["advance_s"])
    return show_clock(request)


def reset_clock(request: HttpRequest) -> HttpResponse:
    clock.set_offset(0)
    return show_clock(request)


def open_dispute(request: HttpRequest) -> HttpResponse:
    """The bank's doing, by the charge's id or by its reference."""
    terms = wire.read(request, DISPUTE)
    charge_id, reference = terms.pop("charge"), terms.pop("reference")
    if (charge_id is None) == (reference is None):
        raise Refusal(400, "missing_field", "Say which charge: charge or reference, and not both.", field="charge")
    opened = disputes.open_dispute(charge_id or disputes.charge_of(reference), terms=terms, now=clock.now())
    return wire.answer(disputes.as_wire(opened), status=201)


def close_dispute(request: HttpRequest, dispute_id: str) -> HttpResponse:
    decision = wire.read(request, DECISION)
    closed = disputes.close(dispute_id, outcome=decision["outcome"], lost_amount=decision["lost_amount"], now=clock.now())
    return wire.answer(disputes.as_wire(closed))


def show_test_cards(request: HttpRequest) -> HttpResponse:
    """Public: these numbers are printed in every manual."""
    return wire.answer({"data": [card_as_wire(card) for card in TEST_CARDS]})


def show_test_accounts(request: HttpRequest) -> HttpResponse:
    """Public, as the test cards are."""
    return wire.answer({"data": [bank_accounts.as_wire(known) for known in TEST_ACCOUNTS]})


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
        "dispute": {"reason": card.disputed.reason, "then": card.disputed.then or None} if card.disputed else None,
        "fault": card.fault.kind if card.fault else None,
    }
