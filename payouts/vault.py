"""Where bank details are kept: encrypted with AES-256-GCM under keys that only the environment knows, never in the database or its dumps.

What is sealed for one bank account opens for no other (its public id is authenticated with it).  `settings.BANK_DETAILS_KEYS` lists the
keys, the one that seals first; older ones still open until `manage.py reseal_bank_accounts` has sealed everything anew.  Fingerprints have
a key of their own, `settings.BANK_DETAILS_FINGERPRINT_KEY`, which is never rotated: equal details stay equal for ever.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from ledger.sealed import CannotOpen, Ring

__all__ = ["CannotOpen", "current_mark", "fingerprint", "open_sealed", "seal"]

KEYS = Ring("BANK_DETAILS_KEYS")


@sensitive_variables()
def seal(details: Mapping[str, str], *, owner: str) -> str:
    """Encrypt the details of the bank account with the public id `owner` under the current key.  Two calls never give the same text."""
    return KEYS.seal(json.dumps(dict(details)), owner=named(owner))


@sensitive_variables()
def open_sealed(sealed: str, *, owner: str) -> dict[str, str]:
    """Return what `seal` was given for this owner.  Raises CannotOpen."""
    return dict(json.loads(KEYS.open(sealed, owner=named(owner))))


@sensitive_variables()
def fingerprint(text: str) -> str:
    """Return 64 hexadecimal digits (HMAC-SHA256), equal for equal texts; whoever has the database alone cannot find the text by trying."""
    key = base64.b64decode(settings.BANK_DETAILS_FINGERPRINT_KEY, validate=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def current_mark() -> str:
    """Return how everything begins that was sealed with the key that seals now; the rest is for `manage.py reseal_bank_accounts`."""
    return KEYS.mark


def named(owner: str) -> str:
    return f"bank account {owner}"
