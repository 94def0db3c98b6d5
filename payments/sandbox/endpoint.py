"""What every call under /v1 has in common: the account's API key, the method, refusals as answers, keys and numbers."""

import hmac
from collections.abc import Callable, Mapping
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from payments.sandbox import transport, wire
from payments.sandbox.errors import NoAnswer, Refusal
from payments.sandbox.transport import Manner

View = Callable[..., HttpResponseBase]


def endpoint(**views: View) -> View:
    """Return one view out of a view per HTTP method: it checks the API key and turns refusals into answers."""

    @wraps(next(iter(views.values())))
    def dispatch(request: HttpRequest, **names: str) -> HttpResponseBase:
        view = views.get((request.method or "").lower())
        try:
            _authenticate(request)
            if view is None:
                raise Refusal(405, "method_not_allowed", f"Use {', '.join(views).upper()} here.")
            return view(request, **names)
        except Refusal as refusal:
            return _refused(refusal)
        except NoAnswer:
            return transport.unanswered(Manner("reset"))

    return dispatch


def _refused(refusal: Refusal) -> HttpResponse:
    response = wire.answer(refusal.as_wire(), status=refusal.status)
    if refusal.retry_after_s is not None:
        response["Retry-After"] = str(refusal.retry_after_s)
    return response


def _authenticate(request: HttpRequest) -> None:
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {settings.SANDBOX_API_KEY}".encode()):
        raise Refusal(401, "unauthorized", "Send the account's API key: Authorization: Bearer <key>.")


def idempotency_key(request: HttpRequest) -> str:
    """Return the Idempotency-Key; money does not move without one."""
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Refusal(400, "idempotency_key_missing", "Send an Idempotency-Key of 1 to 255 characters.", field="Idempotency-Key")
    return key


def wanted_key(request: HttpRequest) -> str:
    """Return the key that is looked up: ?key=..."""
    key = request.GET.get("key", "")
    if not key or "\x00" in key:
        raise Refusal(400, "missing_field", "Say which: ?key=<idempotency key>.", field="key")
    return key


def number(query: Mapping[str, str], name: str, *, default: int, at_most: int) -> int:
    """Return a whole number of the query."""
    given = query.get(name, str(default))
    if not (given.isascii() and given.isdigit() and int(given) <= at_most):
        raise Refusal(400, "invalid_field", f"{name} must be a whole number up to {at_most}.", field=name)
    return int(given)
