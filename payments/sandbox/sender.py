"""The thread that sends webhooks and ripens what is pending, inside the serving process.

It sleeps until a commit rings or half a second has passed. Each delivery is signed at the moment of sending:
`Sandbox-Signature: t=<unix seconds>,v1=<hex hmac-sha256 of "<t>.<body>">`. What is not answered with 2xx comes again.
"""

import hashlib
import hmac
import http.client
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from payments.sandbox import charges, deliveries, doorbell, refunds
from payments.sandbox.deliveries import Due, Tried

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
AFTER_AN_ACCIDENT_S = 2.0
TIMEOUT_S = 10
PARALLEL = 8
BATCH = 64


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
    now = datetime.now(UTC)
    ripened = charges.ripen(now=now, limit=BATCH) + refunds.ripen(now=now, limit=BATCH)
    if not settings.SANDBOX_WEBHOOK_URL:
        return ripened == BATCH
    due = deliveries.claim_due(now=now, limit=BATCH)
    if due:
        tries = list(pool.map(_try, due))
        deliveries.record(tries, now=datetime.now(UTC))
    return len(due) == BATCH


def signature(body: bytes, *, secret: str, at: int) -> str:
    """Return the value of the Sandbox-Signature header for a body sent at `at` (unix seconds)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class _Line(threading.local):
    """One connection per sending thread, kept open between deliveries."""

    open: http.client.HTTPConnection | None = None


_line = _Line()


def _try(due: Due) -> Tried:
    """Send one delivery; whatever goes wrong becomes its result, but for a kept line that the other side closed meanwhile."""
    was_kept = _line.open is not None
    try:
        status = _post(due.body.encode())
    except (OSError, http.client.HTTPException) as accident:
        _hang_up()
        if was_kept:
            return _try(due)
        return Tried(due, type(accident).__name__, arrived=False)
    return Tried(due, f"HTTP {status}", arrived=200 <= status < 300)


def _post(body: bytes) -> int:
    target = urlsplit(settings.SANDBOX_WEBHOOK_URL)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Sandbox-Payments-Webhooks/1.0",
        "Sandbox-Signature": signature(body, secret=settings.SANDBOX_WEBHOOK_SECRET, at=int(time.time())),
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
