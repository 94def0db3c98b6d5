"""What a session has proved: whose it is, by which second factor, and when that was last confirmed.

A password that is right opens a session half if the login has a second factor: for ten minutes it may ask for the code, and nothing else.
What moves a seller's money asks for more than being logged in: `required` lets in only who has confirmed password and code within the
past ten minutes, and leads everybody else to the page that asks, and back.  Sessions are rotated at each of these steps.  What was proved
names the second factor: a session from before that was set up has not proved it.  By true time: how long a person stays logged in is not
business time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

from wallet import logins, second_factor
from wallet.models import SecondFactor

FRESH_FOR = timedelta(minutes=10)
NEXT = "next"
HALF_OPEN = "half_open"  # in the session: whose password was right, and when
PROVED = "proved"  # in the session: with which second factor, and when password and code were last confirmed

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


# --- Logging in -----------------------------------------------------------------------------------------------------


def open_half(request: HttpRequest, user: User, *, now: datetime) -> None:
    """Note that the user's password was right, and that the code is still missing.  Nobody is logged in by this."""
    request.session.cycle_key()
    request.session[HALF_OPEN] = {"user": user.pk, "password": user.get_session_auth_hash(), "at": int(now.timestamp())}


def waiting(request: HttpRequest, *, now: datetime) -> User | None:
    """Return whose code the session waits for; None if nobody's, or if the time for it is up or the password has changed meanwhile."""
    half = request.session.get(HALF_OPEN)
    if not half or not is_recent(half["at"], now=now):
        return None
    user = User.objects.filter(pk=half["user"], is_active=True).first()
    return user if user and constant_time_compare(half["password"], user.get_session_auth_hash()) else None


def enter(request: HttpRequest, user: User, *, factor: SecondFactor | None, now: datetime) -> None:
    """Log the user in, in a new session, which knows the second factor that was proved (None: the login has none)."""
    request.session.pop(HALF_OPEN, None)
    auth.login(request, user)
    note(request, factor, now=now)
    logins.forget_failures(request, user.get_username())


def confirm(request: HttpRequest, *, factor: SecondFactor | None, now: datetime) -> None:
    """Note, in a new session, that the user has just confirmed the password, and the code if there is a second factor."""
    request.session.cycle_key()
    note(request, factor, now=now)


def note(request: HttpRequest, factor: SecondFactor | None, *, now: datetime) -> None:
    request.session[PROVED] = {"factor": factor.pk if factor else None, "at": int(now.timestamp())}


# --- What was proved ------------------------------------------------------------------------------------------------


def is_fresh(request: HttpRequest, *, now: datetime) -> bool:
    """Were password and code confirmed lately, with the second factor that the login has now?"""
    proved = request.session.get(PROVED)
    return proved is not None and proved["factor"] == factor_of(request) and is_recent(proved["at"], now=now)


def opens_admin(request: HttpRequest) -> bool:
    """Has the session proved the login's second factor?  Without one it opens the admin only where settings demand none."""
    factor = factor_of(request)
    if factor is None:
        return not settings.ADMIN_SECOND_FACTOR
    return bool(request.session.get(PROVED, {}).get("factor") == factor)


def factor_of(request: HttpRequest) -> int | None:
    """Return the key of the second factor that the login has now; it is asked for once in a request."""
    factor = getattr(request.user, "second_factor", None)
    return factor.pk if factor else None


def is_recent(at: int, *, now: datetime) -> bool:
    return 0 <= now.timestamp() - at < FRESH_FOR.total_seconds()


# --- Asking for more ------------------------------------------------------------------------------------------------


def required(view: View[P]) -> View[P]:
    """Let in whoever has confirmed password and code lately; lead others to set up a second factor, if they must have one, or to confirm."""

    confirmed = fresh(view)

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if second_factor.is_required_of_seller(request.user):
            return led_to("seller-second-factor-set-up", request)
        return confirmed(request, *args, **kwargs)

    return never_cache(login_required(guarded))


def fresh(view: View[P]) -> View[P]:
    """Let in whoever has confirmed the password lately, and the code if there is one; lead others to confirm."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not is_fresh(request, now=timezone.now()):
            return led_to("seller-confirm", request)
        return view(request, *args, **kwargs)

    return never_cache(login_required(guarded))


def led_to(name: str, request: HttpRequest) -> HttpResponseRedirect:
    """Send the browser to the page of that name, which comes back here; to the page before this one if here nothing can be looked at."""
    return HttpResponseRedirect(with_next(name, request.get_full_path() if request.method in ("GET", "HEAD") else page_before(request)))


def page_before(request: HttpRequest) -> str:
    """Return the path of our own page that sent this form, which browsers tell us; where they do not, the address of the form."""
    before = urlsplit(request.headers.get("Referer", ""))
    if before.netloc != request.get_host() or not is_own_path(before.path):
        return request.path
    return before._replace(scheme="", netloc="", fragment="").geturl()


def with_next(name: str, path: str) -> str:
    return f"{resolve_url(name)}?{urlencode({NEXT: path})}"


def next_path(request: HttpRequest, *, otherwise: str) -> str:
    """Return where to go on: what the form or the address says if that is a path of ours, else the page named `otherwise`."""
    wanted = request.POST.get(NEXT) or request.GET.get(NEXT) or ""
    return wanted if is_own_path(wanted) else resolve_url(otherwise)


def is_own_path(path: str) -> bool:
    return path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
