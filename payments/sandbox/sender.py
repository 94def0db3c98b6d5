"""The thread that sends webhooks and ripens what is pending, inside the serving process.

It sleeps until a commit rings or half a second has passed. Each delivery is signed at the moment of sending, by the test
clock: `Sandbox-Signature: t=<unix seconds>,v1=<hex hmac-sha256 of "<t>.<body>">`. What is not answered with 2xx comes
again. Faults of signatures are carried out here.
"""

import hashlib
import hmac
import http.client
import logging
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from payments.sandbox import charges, clock, deliveries, disputes, doorbell, refunds
from payments.sandbox.deliveries import Due, Tried

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
AFTER_AN_ACCIDENT_S = 2.0
TIMEOUT_S = 10
PARALLEL = 8
BATCH = 64
ANOTHER_SECRET = "whsec_of_another_account_0123456789"  # noqa: S105 - the point is that it opens nothing


def start() -> None:
    """Start the thread; it ends with the process."""
    threading.Thread(target=_run, name="webhook-sender", daemon=True).start()


def _run() -> NoReturn:
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="webhook") as pool:
        while True:
            try:
                while _work(pool):
                    pass
                doorbell.wait(LOOK_EVERY_S)
            except DatabaseError:
                logger.exception("the sender lost its database and tries again")
                connection.close()
                time.sleep(AFTER_AN_ACCIDENT_S)


def _work(pool: ThreadPoolExecutor) -> bool:
    """Ripen and send what is due now; tell whether there may be more."""
    now = clock.now()
    ripened = max(ripen(now=now, limit=BATCH) for ripen in (charges.ripen, refunds.ripen, disputes.ripen))
    if not settings.SANDBOX_WEBHOOK_URL:
        return ripened == BATCH
    due = deliveries.claim_due(now=now, limit=BATCH)
    if due:
        tries = list(pool.map(_try, due))
        deliveries.record(tries, now=clock.now())
    return len(due) == BATCH


def signature(body: bytes, *, secret: str, at: int) -> str:
    """Return the value of the Sandbox-Signature header for a body sent at `at` (unix seconds)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def signature_of(due: Due, body: bytes) -> str:
    """Return the signature that this try is sent with: the true one, unless a fault says otherwise."""
    secret = {"webhook_forged": secrets.token_hex(16), "webhook_wrong_key": ANOTHER_SECRET}.get(due.fault)
    is_skewed = due.fault != "clock_skew" or due.attempts == 1  # then somebody sets the clock right
    at = clock.now().timestamp() + (due.skew_s if is_skewed else 0.0)
    return signature(body, secret=secret or settings.SANDBOX_WEBHOOK_SECRET, at=int(at))


class _Line(threading.local):
    """One connection per sending thread, kept open between deliveries."""

    open: http.client.HTTPConnection | None = None


_line = _Line()


def _try(due: Due) -> Tried:
    """Send one delivery; whatever goes wrong becomes its result, but for a kept line that the other side closed meanwhile."""
    was_kept = _line.open is not None
    try:
        status = _post(due)
    except (OSError, http.client.HTTPException) as accident:
        _hang_up()
        if was_kept:
            return _try(due)
        return Tried(due, type(accident).__name__, arrived=False)
    return Tried(due, f"HTTP {status}", arrived=200 <= status < 300)


def _post(due: Due) -> int:
    target, body = urlsplit(settings.SANDBOX_WEBHOOK_URL), due.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Sandbox-Payments-Webhooks/1.0",
        "Sandbox-Signature": signature_of(due, body),
    }
    if _line.open is None:
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        _line.open = kind(target.hostname or "", target.port, timeout=TIMEOUT_S)
    path = target.path + (f"?{target.query}" if target.query else "")
    _line.open.request("POST", path or "/", body, headers)
    with _line.open.getresponse() as response:
        response.read()
        return response.status


def _hang_up() -> None:
    if _line.open is not None:
        _line.open.close()
        _line.open = None
