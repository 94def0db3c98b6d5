"""The sandbox's own front page: its ways to pay, its faults, its clock, the bank's disputes and the journal, each with what a person may do.

A page of another origin may do nothing here.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET, require_POST

from payments.sandbox import amounts, approvals, cards, clock, disputes, journal, outage, wire
from payments.sandbox.approvals import PEOPLE
from payments.sandbox.bank_accounts import ANY_OTHER, TEST_ACCOUNTS, TestAccount
from payments.sandbox.cards import TEST_CARDS
from payments.sandbox.errors import Refusal
from payments.sandbox.fault_kinds import KINDS, OPERATIONS, Kind
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.methods import METHODS, Method
from payments.sandbox.models import Dispute, Session
from payments.sandbox.pages import away, page

View = Callable[[HttpRequest], HttpResponse]
JOURNAL_ROWS = 40
DISPUTE_ROWS = 20
REVIEW_ROWS = 20
CODE_ROWS = 5
STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "three_days": timedelta(days=3), "month": timedelta(days=30)}


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """What this is, how it misbehaves at present, and what happened last."""
    request.get_host()
    rows = [{"row": row, "amount": _shown(row.amount, row.currency)} for row in journal.latest(JOURNAL_ROWS)]
    context = {
        "account": settings.SANDBOX_ACCOUNT,
        "methods": [_reach_of(method) for method in METHODS.values()],
        "people": PEOPLE.values(),
        "codes": [_waiting(session) for session in approvals.wait_for_a_phone(now=clock.now(), limit=CODE_ROWS)],
        "reviews": [_waiting(session) for session in approvals.in_review(REVIEW_ROWS)],
        "switches": switchboard.all(),
        "faults": [{"kind": kind, "about": about} for kind, about in KINDS.items()],
        "operations": OPERATIONS,
        "outage": outage.current(),
        "now": clock.now(),
        "away": _from_real_time(clock.offset_s()),
        "disputes": [_row_of(dispute) for dispute in disputes.latest(DISPUTE_ROWS)],
        "accounts": [{"number": _written(known), "says": known.says} for known in TEST_ACCOUNTS],
        "any_other": ANY_OTHER.says,
        "rows": rows,
    }
    return page(request, "home.html", context)


def _reach_of(method: Method) -> Mapping[str, object]:
    """Return the method with its currencies as people read them: "EUR 35.00 to 1,500.00", or "EUR" without bounds."""
    bounds = [
        f"{amounts.shown(method.smallest[currency], currency, language='en')} to {amounts.shown(method.largest[currency], currency, language='en')}"
        if currency in method.smallest
        else currency
        for currency in method.currencies
    ]
    return {"method": method, "reach": ", ".join(bounds) or "every currency"}


def _waiting(session: Session) -> Mapping[str, object]:
    return {"session": session, "amount": _shown(session.amount, session.currency)}


def _written(known: TestAccount) -> str:
    """Return "AT61 1904 3002 3457 3201", or "US 110000000 000123456789"."""
    account = known.account
    return f"{account.country} {account.bank_code} {account.number}" if account.bank_code else _spaced(account.number, "iban")


def _from_real_time(offset_s: float) -> str:
    """Return "3 days, 0:00:00 ahead of", "0:10:00 behind", or nothing."""
    distance = timedelta(seconds=round(abs(offset_s)))
    return f"{distance} {'ahead of' if offset_s > 0 else 'behind'}" if distance else ""


def _row_of(dispute: Dispute) -> Mapping[str, object]:
    lost = _shown(dispute.lost_amount, dispute.currency) if dispute.status != "open" else ""
    return {"dispute": dispute, "amount": _shown(dispute.amount, dispute.currency), "lost": lost}


def _shown(amount: int | None, currency: str | None) -> str:
    return amounts.shown(amount, currency, language="en") if amount is not None and currency else ""


def _own_forms(view: View) -> View:
    """Return the view for forms of our own pages: those of another origin are refused, what makes no sense is said."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        own = f"{request.scheme}://{request.get_host()}"
        if request.headers.get("Origin", own) != own:
            return wire.answer({"error": {"code": "foreign_origin"}}, status=403)
        try:
            return view(request)
        except Refusal as refusal:
            return page(request, "refused.html", {"refusal": refusal}, status=refusal.status)

    return require_POST(guarded)


@_own_forms
def change_faults(request: HttpRequest) -> HttpResponse:
    """Switch one fault on or off."""
    wanted = request.POST.get("off", "")
    if wanted.isascii() and wanted.isdigit():
        switchboard.switch_off(int(wanted))
    if "end_outage" in request.POST:
        outage.end()
    kind = next((known for known in KINDS if known == request.POST.get("kind")), None)
    if kind is not None:
        times = request.POST.get("times", "")
        switchboard.switch_on(
            _operation(kind, request.POST.get("operation", "")),
            Fault(kind, KINDS[kind].delay_s),
            card=None,
            reference=None,
            times=int(times) if times in ("1", "10", "100") else None,
            rate=None,
        )
    return away("/#faults")


def _operation(kind: Kind, wanted: str) -> str:
    possible = KINDS[kind].operations
    return wanted if wanted in possible else possible[0]


@_own_forms
def move_clock(request: HttpRequest) -> HttpResponse:
    """Move the test clock on, or back to real time."""
    step = STEPS.get(request.POST.get("step", ""))
    if step:
        clock.advance(step.total_seconds())
    else:
        clock.set_offset(0)
    return away("/#clock")


@_own_forms
def change_disputes(request: HttpRequest) -> HttpResponse:
    """Open a dispute of all of a charge, named by its id or reference, or close one as won or lost."""
    dispute_id = request.POST.get("dispute", "")
    if dispute_id:
        won = request.POST.get("outcome") == "won"
        disputes.close(dispute_id, outcome="won" if won else "lost", lost_amount=None, now=clock.now())
    else:
        terms = {"amount": None, "currency": None, "fee": disputes.FEE, "reason": "fraudulent"}
        disputes.open_dispute(_charge_named(request.POST.get("charge", "")), terms=terms, now=clock.now())
    return away("/#disputes")


@_own_forms
def end_review(request: HttpRequest) -> HttpResponse:
    """Decide, as a person at the provider of pay later does."""
    approvals.end_review(request.POST.get("session", ""), approved=request.POST.get("outcome") == "approve", now=clock.now())
    return away("/#methods")


def _charge_named(name: str) -> str:
    wanted = name.strip().replace("\x00", "")[:255]
    return wanted if wanted.startswith("ch_") else disputes.charge_of(wanted)


@require_GET
def test_cards(request: HttpRequest) -> HttpResponse:
    """All published test cards, by what they do."""
    groups: dict[str, list[dict[str, str]]] = {}
    for card in TEST_CARDS:
        groups.setdefault(card.group, []).append({"number": _spaced(card.number, card.brand), "says": card.says})
    mistyped = {"number": _spaced(cards.MISTYPED_NUMBER, "visa"), "says": "A typing mistake: the form says so"}
    groups["It is declined"].append(mistyped)
    return page(request, "test_cards.html", {"groups": groups})


def _spaced(number: str, brand: str) -> str:
    if brand == "amex":
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))
