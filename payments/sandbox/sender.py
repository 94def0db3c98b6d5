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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from payments.sandbox import approvals, charges, clock, deliveries, disputes, doorbell, payouts, refunds
from payments.sandbox.deliveries import Address, Due, Tried

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
AFTER_AN_ACCIDENT_S = 2.0
TIMEOUT_S = 10
PARALLEL = 8
BATCH = 64
RIPENING = (charges.ripen, refunds.ripen, disputes.ripen, payouts.ripen, approvals.ripen)
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
    ripened = max(ripen(now=now, limit=BATCH) for ripen in RIPENING)
    addresses = [address for address, url in urls().items() if url]
    if not addresses:
        return ripened == BATCH
    due = deliveries.claim_due(addresses=addresses, now=now, limit=BATCH)
    if due:
        tries = list(pool.map(_try, due))
        deliveries.record(tries, now=clock.now())
    return len(due) == BATCH


def urls() -> Mapping[Address, str]:
    """Return where webhooks go; an empty one has nobody who wants them."""
    return {"payments": settings.SANDBOX_WEBHOOK_URL, "payouts": settings.SANDBOX_PAYOUT_WEBHOOK_URL}


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


class _Lines(threading.local):
    """One connection per sending thread and address, kept open between deliveries."""

    def __init__(self) -> None:
        self.open: dict[Address, http.client.HTTPConnection] = {}


_lines = _Lines()


def _try(due: Due) -> Tried:
    """Send one delivery; whatever goes wrong becomes its result, but for a kept line that the other side closed meanwhile."""
    was_kept = due.address in _lines.open
    try:
        status = _post(due)
    except (OSError, http.client.HTTPException) as accident:
        _hang_up(due.address)
        if was_kept:
            return _try(due)
        return Tried(due, type(accident).__name__, arrived=False)
    return Tried(due, f"HTTP {status}", arrived=200 <= status < 300)


def _post(due: Due) -> int:
    target, body = urlsplit(urls()[due.address]), due.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Sandbox-Payments-Webhooks/1.0",
        "Sandbox-Signature": signature_of(due, body),
    }
    line = _lines.open.get(due.address)
    if line is None:
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        line = _lines.open[due.address] = kind(target.hostname or "", target.port, timeout=TIMEOUT_S)
    path = target.path + (f"?{target.query}" if target.query else "")
    line.request("POST", path or "/", body, headers)
    with line.getresponse() as response:
        response.read()
        return response.status


def _hang_up(address: Address) -> None:
    line = _lines.open.pop(address, None)
    if line is not None:
        line.close()
