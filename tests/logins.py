"""Second factors for tests: give a login one, read the code that its app would show, and let a browser have proved it."""

from datetime import datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from wallet import second_factor
from wallet.models import SecondFactor
from wallet.step_up import PROVED


def code_of(factor: SecondFactor, *, at: datetime) -> str:
    """Return what the app shows at that moment."""
    return code_for(second_factor.secret_in(factor.sealed, factor.user), at=at)


def code_for(secret: str, *, at: datetime) -> str:
    return TOTP(second_factor.bytes_of(secret), 6, SHA1(), 30).generate(int(at.timestamp())).decode()


def new_factor(user: User) -> SecondFactor:
    """Give the login a second factor, set up a while ago."""
    before = timezone.now() - timedelta(hours=1)
    sealed = second_factor.new_sealed_secret(user)
    code = code_for(second_factor.secret_in(sealed, user), at=before)
    done = second_factor.set_up(user, sealed=sealed, code=code, now=before)
    assert done is not None
    return done.factor


def step_up(browser: Client, user: User, *, at: datetime | None = None) -> None:
    """Let the browser, in which the user is logged in, have confirmed password and code at that moment, or just now."""
    factor = second_factor.of(user) or new_factor(user)
    session = browser.session
    session[PROVED] = {"factor": factor.pk, "at": int((at or timezone.now()).timestamp())}
    session.save()
