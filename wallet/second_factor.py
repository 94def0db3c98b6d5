"""The second factor of a login: the code of an authenticator app (TOTP, RFC 6238), and ten recovery codes for when the app is gone.

A code is taken once: the step of the last one is kept, and neither it nor an older one is taken again.  The clock of a phone may be one
step (30 s) off.  Secrets are kept sealed, recovery codes as SHA-256, and whoever the login belongs to is told of every change
(login_notices.py).  What a session has proved is step_up's, and counting wrong codes is its callers' (logins.py).
"""

import base64
import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import segno
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from ledger.errors import DomainError
from ledger.sealed import CannotOpen, Ring
from wallet import login_notices
from wallet.models import RecoveryCode, SecondFactor, SecondFactorChange

logger = logging.getLogger(__name__)

KEYS = Ring("SECOND_FACTOR_KEYS")
ISSUER = "Onebook"
SECRET_BYTES = 20  # as long as SHA-1's output: RFC 4226, 4 R6
DIGITS, STEP_S, DRIFT = 6, 30, (0, -1, 1)
RECOVERY_CODES = 10
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
GROUPS, GROUP = 4, 4  # 16 letters: 79 bits, too many to be found from their hash
Kind = SecondFactorChange.Kind


class AlreadySetUp(DomainError):
    code = "second_factor_already_set_up"


class NotYourOwn(DomainError):
    """Nobody resets a second factor for themselves: that would be a way around it."""

    code = "maker_may_not_reset"


@dataclass(frozen=True, slots=True)
class SetUp:
    """A second factor that stands now, and its recovery codes, to be shown once."""

    factor: SecondFactor
    recovery_codes: list[str] = field(repr=False)


def of(user: Any) -> SecondFactor | None:
    """Return the second factor of the login as it is in the database now, None if it has none."""
    return SecondFactor.objects.filter(user_id=user.pk).first()


def is_required_of_seller(user: Any) -> bool:
    """Must this login set one up before it may move a seller's money?"""
    return bool(settings.SELLER_SECOND_FACTOR) and of(user) is None


@sensitive_variables()
def new_sealed_secret(user: Any) -> str:
    """Return a new secret, sealed for the login, for the session in which it is being set up: no other session may know it."""
    return KEYS.seal(base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode(), owner=named(user))


@sensitive_variables()
def secret_in(sealed: str, user: Any) -> str:
    """Return the secret in base32, as people type it into an app.  Raises CannotOpen."""
    return KEYS.open(sealed, owner=named(user))


@sensitive_variables()
def picture_of(secret: str, user: Any) -> str:
    """Return the QR code that an app reads the secret from, as the address (`data:`) of a picture."""
    address = TOTP(bytes_of(secret), DIGITS, SHA1(), STEP_S).get_provisioning_uri(user.get_username(), ISSUER)  # noqa: S303 - RFC 6238
    return segno.make(address, micro=False).svg_data_uri(light="#fff", omitsize=True)


@sensitive_variables("sealed", "code")
@transaction.atomic(durable=True)
def set_up(user: User, *, sealed: str, code: str, now: datetime) -> SetUp | None:
    """Make the secret the login's second factor if the code is one of its, and tell; return None, and do nothing, if it is not.

    Raises AlreadySetUp, CannotOpen.
    """
    step = step_of(code, secret=secret_in(sealed, user), now=now)
    if step is None:
        return None
    factor, is_new = SecondFactor.objects.get_or_create(user=user, defaults={"sealed": sealed, "last_step": step, "set_up_at": now})
    if not is_new:
        raise AlreadySetUp("This login has a second factor already. Switch that off first.")
    login_notices.tell(user, Kind.SET_UP, by=person(user), now=now)
    return SetUp(factor, replace_recovery_codes(factor))


@sensitive_variables("code")
@transaction.atomic(durable=True)
def take(user: User, code: str, *, now: datetime) -> SecondFactor | None:
    """Return the login's second factor if the code is its app's now; that code, and those before it, are never taken again.

    Returns None for a code that is wrong, too old or taken already.  Locks the factor.
    """
    factor = SecondFactor.objects.select_for_update(no_key=True).filter(user=user).first()
    if factor is None:
        return None
    try:
        secret = secret_in(factor.sealed, user)
    except CannotOpen as error:  # recovery codes still work
        logger.error("no code of login %s can be checked: %s", user.pk, error)
        return None
    step = step_of(code, secret=secret, now=now)
    if step is None or step <= factor.last_step:
        return None
    factor.last_step = step
    if not factor.sealed.startswith(KEYS.mark):
        factor.sealed = KEYS.seal(secret, owner=named(user))
    factor.save(update_fields=["last_step", "sealed"])
    return factor


@sensitive_variables("code")
@transaction.atomic(durable=True)
def take_recovery_code(user: User, code: str, *, now: datetime) -> SecondFactor | None:
    """Return the login's second factor if this is one of its recovery codes, which opens nothing after that; tell.  None if it is not."""
    factor = of(user)
    if factor is None or not factor.recovery_codes.filter(sha256=hash_of(factor, code), used_at=None).update(used_at=now):
        return None
    login_notices.tell(user, Kind.RECOVERY_CODE_USED, by=person(user), now=now)
    return factor


@transaction.atomic(durable=True)
def renew_recovery_codes(factor: SecondFactor, *, now: datetime) -> list[str]:
    """Replace all recovery codes by new ones and tell; return them, to be shown once.  Locks the factor."""
    login_notices.tell(factor.user, Kind.RECOVERY_CODES_RENEWED, by=person(factor.user), now=now)
    return replace_recovery_codes(factor)


def recovery_codes_left(factor: SecondFactor) -> int:
    return factor.recovery_codes.filter(used_at=None).count()


@transaction.atomic(durable=True)
def switch_off(user: User, *, now: datetime) -> None:
    """Take the second factor, if there is one, off the login, as its person wants, and tell."""
    _count, gone = SecondFactor.objects.filter(user=user).delete()
    if gone:
        login_notices.tell(user, Kind.SWITCHED_OFF, by=person(user), now=now)


@transaction.atomic(durable=True)
def reset(factor: SecondFactor, *, reason: str, actor: str, now: datetime) -> SecondFactorChange:
    """Take the second factor off a login whose person has lost it, and tell them; the reason is kept.  `actor` is `staff:` and a name.

    Raises NotYourOwn.
    """
    user = factor.user
    if actor.partition(":")[2] == user.get_username():
        raise NotYourOwn("This is your own second factor. Somebody else must reset it.")
    SecondFactor.objects.filter(pk=factor.pk).delete()
    return login_notices.tell(user, Kind.RESET, by=actor, reason=reason, now=now)


@sensitive_variables()
def step_of(code: str, *, secret: str, now: datetime) -> int | None:
    """Return the step (of 30 s since 1970) whose code this is: the one of now, or the one before or after it; None if it is none of theirs."""
    typed = "".join(code.split())
    clock, here = HOTP(bytes_of(secret), DIGITS, SHA1()), int(now.timestamp()) // STEP_S  # noqa: S303 - what apps know
    steps = (here + drift for drift in DRIFT)
    return next((step for step in steps if constant_time_compare(clock.generate(step).decode(), typed)), None)


def replace_recovery_codes(factor: SecondFactor) -> list[str]:
    """Put new codes in the place of the old ones, inside the caller's transaction."""
    SecondFactor.objects.select_for_update(no_key=True).get(pk=factor.pk)
    codes = ["-".join(letters(GROUP) for _group in range(GROUPS)) for _code in range(RECOVERY_CODES)]
    factor.recovery_codes.all().delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(factor=factor, sha256=hash_of(factor, code)) for code in codes)
    return codes


def letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _letter in range(count))


def hash_of(factor: SecondFactor, code: str) -> str:
    """Return what is kept of a recovery code, however it was typed: spaces, hyphens and capitals do not count."""
    typed = "".join(letter for letter in code.casefold() if letter.isalnum())
    return hashlib.sha256(f"recovery code of {factor.pk}: {typed}".encode()).hexdigest()


def bytes_of(secret: str) -> bytes:
    return base64.b32decode(secret)


def named(user: Any) -> str:
    return f"the login {user.pk}"


def person(user: User) -> str:
    return f"user:{user.get_username()}"
