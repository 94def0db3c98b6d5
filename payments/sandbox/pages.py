"""What a buyer's browser sees: the card fields for an iframe, the hosted page and 3-D Secure.

Nothing comes from elsewhere and nothing is inline. The fields and the challenge may be framed by the session's parent
origin only. What a buyer types is read here, judged in sessions.py and forgotten; a rejected form shows the number and
the date again, never the security code.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods

from payments.sandbox import amounts, clock, sessions, wire, words
from payments.sandbox.cards import EnteredCard
from payments.sandbox.errors import Refusal
from payments.sandbox.models import Session
from payments.sandbox.sessions import CardRefused

FIELDS = ("number", "expiry", "cvc")


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    session: Session | None = None,
) -> HttpResponse:
    """Render a page that loads only its own files; those of a session may lead back to its return address."""
    response = render(request, f"sandbox/{template}", dict(context), status=status)
    leads_to = f" {wire.origin_of(session.return_url)}" if session else ""
    framed_by = session.parent_origin if session and template in ("fields.html", "challenge.html") else "'none'"
    response["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        f"form-action 'self'{leads_to}; base-uri 'none'; frame-ancestors {framed_by}"
    )
    return _careful(response)


def _careful(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "same-origin"
    return response


def away(address: str) -> HttpResponse:
    """Lead the browser on to another page after a form."""
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return _careful(response)


def found(session_id: str) -> Session | None:
    try:
        return sessions.by_id(session_id)
    except Refusal:
        return None


def context_of(session: Session, **more: object) -> dict[str, object]:
    says = words.for_locale(session.locale)
    amount = amounts.shown(session.amount, session.currency, language=says["language"])
    return {
        "session": session,
        "words": says,
        "amount": amount,
        "pay": says["pay"].format(amount=amount),
        "question": says["challenge_question"].format(amount=amount, last4=session.card_last4),
        "fields_in_error": {},
        "entered": None,
        **more,
    }


def notice(request: HttpRequest, session: Session | None, name: str, *, status: int) -> HttpResponse:
    """A page of its own for what cannot go on: expired, nothing to confirm, unknown."""
    says = words.for_locale(session.locale if session else "en")
    amount = amounts.shown(session.amount, session.currency, language=says["language"]) if session else ""
    title = says[f"{name}_title"].format(amount=amount)
    context = {"words": says, "title": title, "text": says[name], "session": session}
    return page(request, "notice.html", context, status=status)


def _entered(request: HttpRequest) -> EnteredCard:
    return EnteredCard(*(request.POST.get(name, "")[:64] for name in FIELDS))


@require_http_methods(["GET", "POST"])
def fields(request: HttpRequest, session_id: str) -> HttpResponse:
    """The card fields inside somebody's checkout; their script posts the form here and is answered in JSON."""
    session = found(session_id)
    if session is None or session.method != "card":
        return notice(request, None, "unknown", status=404)
    if request.method == "GET":
        status = sessions.status_at(session, clock.now())
        return page(request, "fields.html", context_of(session, status=status), session=session)
    says = words.for_locale(session.locale)
    try:
        session = sessions.confirm(session_id, entered=_entered(request), now=clock.now())
    except CardRefused as refused:
        code = "test_cards_only" if "test_cards_only" in refused.fields.values() else "card_refused"
        complaints = {name: says[complaint] for name, complaint in refused.fields.items()}
        return wire.answer({"status": "invalid", "code": code, "fields": complaints}, status=422)
    status = sessions.status_at(session, clock.now())
    message = {"failed": says["authentication_failed"], "expired": says["expired"]}.get(status)
    return wire.answer({"status": status, "message": message, "challenge_url": _challenge_url(session)})


def _challenge_url(session: Session) -> str:
    return f"{settings.SANDBOX_PUBLIC_URL}/challenge/{session.id}"


@require_http_methods(["GET", "POST"])
def hosted(request: HttpRequest, session_id: str) -> HttpResponse:
    """The same form on a page of its own, without JavaScript; it ends at the session's return address."""
    session = found(session_id)
    if session is None or session.method != "card":
        return notice(request, None, "unknown", status=404)
    if request.method == "GET":
        return _hosted_step(request, session)
    entered = _entered(request)
    try:
        session = sessions.confirm(session_id, entered=entered, now=clock.now())
    except CardRefused as refused:
        says = words.for_locale(session.locale)
        complaints = {name: says[complaint] for name, complaint in refused.fields.items()}
        context = context_of(session, fields_in_error=complaints, entered=entered)
        return page(request, "hosted.html", context, status=422, session=session)
    return _hosted_step(request, session)


def _hosted_step(request: HttpRequest, session: Session) -> HttpResponse:
    """Show what comes next: the form (again), the way back, or that it is too late."""
    status = sessions.status_at(session, clock.now())
    if status == "complete":
        return away(session.return_url)
    if status == "expired":
        return notice(request, session, "expired", status=410)
    if status == "requires_action" and (session.saved_card or request.method == "POST"):
        return away(_challenge_url(session))
    if status == "failed" and session.saved_card:
        return notice(request, session, "kept_card_failed", status=409)
    return page(request, "hosted.html", context_of(session, status=status), session=session)


@require_http_methods(["GET", "POST"])
def challenge(request: HttpRequest, session_id: str) -> HttpResponse:
    """The bank's question. Inside a frame its script tells the parent how it ended; on its own it leads back."""
    session = found(session_id)
    if session is None:
        return notice(request, None, "unknown", status=404)
    if request.method == "GET":
        context = context_of(session, status=sessions.status_at(session, clock.now()))
        return page(request, "challenge.html", context, session=session)
    succeeded = request.POST.get("outcome") == "succeed"
    session = sessions.answer_challenge(session_id, succeeded=succeeded, now=clock.now())
    if request.headers.get("Accept") != "application/json":
        return away(session.return_url)
    status = sessions.status_at(session, clock.now())
    message = None if status == "complete" else words.for_locale(session.locale)["authentication_failed"]
    return wire.answer({"status": status, "message": message})


@require_GET
def thanks(request: HttpRequest) -> HttpResponse:
    """The page of a made-up shop to which a demo checkout returns; it shows what it was told."""
    told = [(name, value) for name, value in sorted(request.GET.items()) if _may_show(name)]
    return page(request, "thanks.html", {"told": told})


def _may_show(name: str) -> bool:
    return not any(word in name.lower() for word in ("secret", "token", "signature", "key"))


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """Say whether the sandbox can reach its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return wire.answer({"status": "ok"})


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say in JSON or on a page that there is nothing at this address."""
    if request.path.startswith("/v1/"):
        return wire.answer(Refusal(404, "unknown_address", "There is nothing at this address.").as_wire(), status=404)
    return notice(request, None, "unknown", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    """Say that the fault is ours; whether the call was executed must be asked with its key."""
    return wire.answer(Refusal(500, "internal_error", "Something went wrong on our side.").as_wire(), status=500)
