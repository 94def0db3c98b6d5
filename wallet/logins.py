"""Logins of people, sellers and staff alike, guarded against guessing.

After ten wrong tries for one user name, or from one address, within 15 minutes, that name or address is refused for 15 minutes, right
password or not.  Wrong passwords and wrong codes of second factors count alike, and only a whole login begins the count anew: whoever
knows the password cannot wash off wrong codes with it.  The counts are kept in Django's cache: with its default, the memory of the process, each web process counts for itself,
and a restart forgets them.  A cache that the processes share makes the limit exact.
"""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

MOST_FAILURES = 10
WINDOW_S = 15 * 60
REFUSED = "login_refused"
TOO_MANY = _("Too many wrong tries. To keep guessers out, nobody can log in as this user or from this place for 15 minutes.")


def address_of(request: HttpRequest) -> str:
    """Return where the request comes from.  Behind our own proxy (PUBLIC_URL is https) that is what the proxy wrote last."""
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.HTTPS else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


def names_of(request: HttpRequest, username: str) -> list[str]:
    """Return the names under which tries are counted: who is to be logged in, and from where.  Hashed: whatever was typed is a key."""
    subjects = [f"user {username.strip().casefold()}", f"address {address_of(request)}"]
    return [f"login-failures:{hashlib.sha256(subject.encode()).hexdigest()}" for subject in subjects]


def is_refused(request: HttpRequest, username: str) -> bool:
    """Were there too many wrong tries?"""
    return any(count >= MOST_FAILURES for count in cache.get_many(names_of(request, username)).values())


def count_failure(request: HttpRequest, username: str) -> None:
    """Count one wrong try; the one too many closes the door for the whole window from now."""
    for name in names_of(request, username):
        cache.add(name, 0, WINDOW_S)
        if cache.incr(name) >= MOST_FAILURES:
            cache.touch(name, WINDOW_S)


def forget_failures(request: HttpRequest, username: str) -> None:
    """Begin to count the user's wrong tries anew, after a whole login.  The address keeps its count: others may guess from there."""
    cache.delete(names_of(request, username)[0])


class Guarded(AuthenticationForm):
    """A login form that counts wrong tries and, after too many, no longer asks whether the password is right."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username", "")
        if is_refused(self.request, username):
            raise ValidationError(TOO_MANY, code=REFUSED)
        try:
            return super().clean()
        except ValidationError as error:
            if error.code == "invalid_login":
                count_failure(self.request, username)
            raise


class SellerLogin(Guarded):
    error_messages = {
        "invalid_login": _("That user name and password do not fit together. Check both; capitals count in the password."),
        "inactive": _("This login is switched off. Ask the shop that sells for you."),
    }


class StaffLogin(Guarded, AdminAuthenticationForm):
    """The admin's login form, guarded like the sellers'."""
