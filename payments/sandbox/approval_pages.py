"""Where buyers approve without typing a card: the wallet's sheet, pay later, and the phone that has read a QR code.

All of it works without JavaScript. The lock of the session decides (approvals.py): what is answered twice, or too late, changes nothing, and
the page says so.
"""

from babel.dates import format_date
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from payments.sandbox import amounts, approvals, clock, pages, sessions, words
from payments.sandbox.approvals import PEOPLE, WALLET_CARDS
from payments.sandbox.errors import Refusal
from payments.sandbox.models import Session


@require_http_methods(["GET", "POST"])
def hosted(request: HttpRequest, session_id: str) -> HttpResponse:
    """The session's page in a browser, for whatever way to pay; it ends at the session's return address."""
    session = pages.found(session_id)
    match session.method if session else "":
        case "digital_wallet":
            return wallet_sheet(request, session_id)
        case "pay_later":
            return pay_later(request, session_id)
        case "qr" if session:
            return pages.away(sessions.phone_url(session))
        case _:
            return pages.hosted(request, session_id)


def wallet_sheet(request: HttpRequest, session_id: str) -> HttpResponse:
    """The sheet that a wallet shows: its cards, one button to pay, one to cancel."""
    now = clock.now()
    if request.method == "POST" and request.POST.get("answer") == "cancel":
        return pages.away(approvals.cancel(session_id, now=now).session.return_url)
    try:
        if request.method == "POST":
            approvals.pay_with_wallet(session_id, card=request.POST.get("card", ""), now=now)
        session = sessions.by_id(session_id)
    except Refusal as refusal:
        return pages.page(request, "refused.html", {"refusal": refusal}, status=refusal.status)
    status = sessions.status_at(session, now)
    if status == "complete":
        return pages.away(session.return_url)
    if status == "expired":
        return pages.notice(request, session, "expired", status=410)
    return pages.page(request, "wallet_sheet.html", pages.context_of(session, status=status, cards=WALLET_CARDS), session=session)


def pay_later(request: HttpRequest, session_id: str) -> HttpResponse:
    """What pay later costs and when, and who asks for it."""
    now = clock.now()
    if request.method == "POST" and request.POST.get("answer") == "cancel":
        return pages.away(approvals.cancel(session_id, now=now).session.return_url)
    try:
        if request.method == "POST":
            session = approvals.apply_to_pay_later(session_id, email=request.POST.get("person", ""), now=now).session
            return pages.away(session.return_url) if sessions.status_at(session, now) != "expired" else _expired(request, session)
        session = sessions.by_id(session_id)
    except Refusal as refusal:
        return pages.page(request, "refused.html", {"refusal": refusal}, status=refusal.status)
    match sessions.status_at(session, now):
        case "complete":
            return pages.away(session.return_url)
        case "expired":
            return _expired(request, session)
        case "in_review":
            return pages.notice(request, session, "later_review", status=200)
        case "failed" if session.failure_code != sessions.CANCELED:
            return pages.notice(request, session, "later_declined", status=200)
        case status:
            return pages.page(request, "pay_later.html", _terms_of(session, status=status), session=session)


def _expired(request: HttpRequest, session: Session) -> HttpResponse:
    return pages.notice(request, session, "expired", status=410)


def _terms_of(session: Session, *, status: str) -> dict[str, object]:
    language = words.for_locale(session.locale)["language"]
    rows = [
        {
            "due_date": format_date(one.due_date, format="long", locale=language),
            "amount": amounts.shown(one.amount, session.currency, language=language),
        }
        for one in sessions.schedule(session)
    ]
    return pages.context_of(session, status=status, schedule=rows, people=PEOPLE.values())


@require_http_methods(["GET", "POST"])
def phone(request: HttpRequest, short_code: str) -> HttpResponse:
    """What the phone shows that has read a QR code: who asks for how much, and afterwards what became of it."""
    now = clock.now()
    try:
        session = approvals.by_short_code(short_code)
    except Refusal:
        return pages.notice(request, None, "phone_unknown", status=404)
    answered = None
    if request.method == "POST":
        answered = approvals.answer_on_phone(short_code, approved=request.POST.get("answer") == "approve", now=now)
        session = answered.session
    is_new, status = answered is not None and answered.is_new, 409 if answered and not answered.is_new else 200
    match sessions.status_at(session, now):
        case "complete":
            return pages.notice(request, session, "phone_paid" if is_new else "phone_again", status=status)
        case "failed":
            return pages.notice(request, session, "phone_declined" if is_new else "phone_over", status=status)
        case "expired":
            return pages.notice(request, session, "phone_expired", status=410)
        case _:
            return pages.page(request, "phone.html", _asked(session), session=session)


def _asked(session: Session) -> dict[str, object]:
    context = pages.context_of(session)
    says = words.for_locale(session.locale)
    shop = session.description or says["paying_for"]
    return context | {
        "asks": says["phone_asks"].format(shop=shop),
        "until": says["phone_until"].format(until=f"{session.expires_at:%H:%M:%S}"),
        "approve": says["phone_approve"].format(amount=context["amount"]),
    }
