"""API keys: 256 random bits after a prefix that says what it is (`ob_test_…`, `ob_live_…`), shown once and kept as a SHA-256.

Used by the create_api_key command, the admin, and whoever authenticates a request.
"""

import hashlib
import secrets
import string
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import Q

from ledger.errors import DomainError
from wallet.models import ApiKey, Shop

ALPHABET = string.ascii_letters + string.digits
LENGTH = 43  # letters and digits: 256 bits
SHOWN_LETTERS = 6
USE_IS_NOTED_EVERY = timedelta(minutes=1)
EVERYDAY_SCOPES = (
    ApiKey.Scope.PAYMENTS_READ,
    ApiKey.Scope.PAYMENTS_WRITE,
    ApiKey.Scope.WALLET_READ,
    ApiKey.Scope.WALLET_WRITE,
    ApiKey.Scope.PAYOUTS_READ,
    ApiKey.Scope.PAYOUTS_WRITE,
    ApiKey.Scope.WEBHOOKS_READ,
    ApiKey.Scope.WEBHOOKS_WRITE,
    ApiKey.Scope.GIFT_CARDS_READ,
    ApiKey.Scope.GIFT_CARDS_WRITE,
    ApiKey.Scope.BUYERS_READ,
    ApiKey.Scope.BUYERS_WRITE,
)


class UnknownScope(DomainError):
    code = "unknown_scope"


def issue(shop: Shop, *, name: str, scopes: Collection[str], mode: str) -> tuple[ApiKey, str]:
    """Make a key of the shop and return it with its token, which nobody can ever read again.  `mode` is test or live.

    Raises UnknownScope.
    """
    unknown = sorted(set(scopes) - set(ApiKey.Scope.values))
    if unknown or not scopes:
        raise UnknownScope(f"A key has one or more of these scopes: {', '.join(ApiKey.Scope.values)}; not {unknown}.", field="scopes")
    prefix = f"ob_{mode}_"
    token = prefix + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    shown = token[: len(prefix) + SHOWN_LETTERS]
    return ApiKey.objects.create(shop=shop, name=name, prefix=shown, sha256=digest(token), scopes=sorted(set(scopes))), token


def find(token: str) -> ApiKey | None:
    """Return the key that this token opens, revoked or not, with its shop; None if there is none."""
    return ApiKey.objects.select_related("shop").filter(sha256=digest(token)).first()


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Keep when the key was used last; written once a minute at most."""
    if key.last_used_at is None or key.last_used_at <= now - USE_IS_NOTED_EVERY:
        due = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_IS_NOTED_EVERY)
        ApiKey.objects.filter(due, pk=key.pk).update(last_used_at=now)


def revoke(key: ApiKey, *, now: datetime) -> None:
    """End the key at once and for ever.  Revoking again keeps the first moment."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
