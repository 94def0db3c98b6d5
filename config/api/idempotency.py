"""The HTTP side of `Idempotency-Key`: same key and body, one effect and the same answer, byte for byte.

Only an answer of success is kept.  Refusals (4xx), accidents (5xx) and exceptions let the key go, so that a mended request may use it
again.  No transaction is open around the view: it commits its own.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from ledger import clock
from ledger.wire import refusal
from wallet import idempotency
from wallet.api import shop_of

HEADER = "Idempotency-Key"
KEY_PATTERN = "[!-~]([ -~]{0,253}[!-~])?"
Post = Callable[..., HttpResponseBase]


def once(post: Post, *, key_is_required: bool = True, digest: Callable[[str], str] = str) -> Post:
    """Wrap a view's `post` (or `put`) so that each key of a shop takes effect once.

    `digest` makes the request's fingerprint into one that tells nothing even to who can guess most of the body.
    """

    @functools.wraps(post)
    def post_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        fingerprint = digest(fingerprint_of(request))  # reads the body: what is not JSON ends here
        key = key_of(request, is_required=key_is_required)
        if not key:
            return post(view, request, *args, **kwargs)
        asked = idempotency.Request(shop_of(request), f"{request.method} {request.path}", key, fingerprint)
        claim = idempotency.claim(asked, now=clock.now())
        if isinstance(claim, idempotency.Answer):
            return answer(claim, replayed=True)
        try:
            response: Any = post(view, request, *args, **kwargs)
        except BaseException:
            idempotency.release(claim)
            raise
        if not 200 <= response.status_code < 300:
            idempotency.release(claim)
            return response  # type: ignore[no-any-return]
        kept = idempotency.Answer(response.status_code, JSONRenderer().render(response.data).decode())
        idempotency.finish(claim, kept)
        return answer(kept, replayed=False)

    return post_once


def answer(kept: idempotency.Answer, *, replayed: bool) -> HttpResponse:
    response = HttpResponse(kept.body, status=kept.status, content_type="application/json")
    if replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def key_of(request: Request, *, is_required: bool) -> str:
    key = str(request.headers.get(HEADER, ""))
    if not key and HEADER not in request.headers and not is_required:
        return ""
    if not re.fullmatch(KEY_PATTERN, key):
        said = "Send the header Idempotency-Key with 1 to 255 printable ASCII characters, a new one for each request."
        raise ValidationError({HEADER: refusal(said, "invalid_idempotency_key")})
    return key


def fingerprint_of(request: Request) -> str:
    """Return the SHA-256 of method, path and body; two bodies that differ only in spaces or in the order of keys are the same."""
    canonical = json.dumps(request.data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=repr)
    return hashlib.sha256(f"{request.method} {request.path}\n{canonical}".encode()).hexdigest()
