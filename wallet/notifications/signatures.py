"""Signatures of outgoing webhooks, by the Standard Webhooks scheme (standardwebhooks.com, specification 1.0.0).

The signed text is `{webhook-id}.{webhook-timestamp}.{body}`; the header holds one `v1,<base64 of HMAC-SHA256>` for each valid secret,
separated by spaces, so that a receiver may change secrets without missing a message.  A secret is `whsec_` and the base64 of its bytes.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32  # the scheme allows 24 to 64


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, body: bytes, *, secrets: Sequence[str], at: int) -> dict[str, str]:
    """Return the three headers of a message that is sent `at` that time (unix seconds)."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(message_id, body, secret=secret, at=at) for secret in secrets),
    }


def signature(message_id: str, body: bytes, *, secret: str, at: int) -> str:
    """Return one signature, such as `v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
