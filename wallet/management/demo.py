"""What the demo's commands share: credentials that are the same at every start, made from the secret of this installation.

Only where ONEBOOK_ENV is demo or test: a derived password has no place in production.
"""

import base64
import hashlib
import hmac

from django.conf import settings
from django.core.management.base import CommandError

SHOP_NAME = "Northwind"


def require_demo() -> None:
    """Raise CommandError outside of a demo or a test."""
    if settings.ENVIRONMENT not in {"demo", "test"}:
        raise CommandError("This command writes demo data and runs only with ONEBOOK_ENV=demo. Use ./run demo.")


def derived(purpose: str) -> str:
    """Return a secret of its own for the purpose: 52 letters and digits."""
    digest = hmac.new(settings.SECRET_KEY.encode(), f"onebook demo {purpose}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def password_of(username: str) -> str:
    return derived(f"password of {username}")[:14]


def api_key_token() -> str:
    return f"ob_test_{derived('API key')}"
