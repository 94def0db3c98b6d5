"""What the storm is made of, and what is looked at after it."""

import hashlib
import hmac
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from ledger.models import JournalEntry
from payments.models import PaymentOrder, PspEvent
from payments.states import OrderStatus
from reconciliation import invariants
from tests.programmes import shoppers
from tests.programmes.live import LiveHouse, percentile, wait_until

VISA = "4242424242424242"
SHARE_OF_ORDERS = 7  # one order for so many webhooks
IN_FLIGHT = 64
API_VERSION = "2026-10-01"


@dataclass(frozen=True)
class Shot:
    """One webhook: its body, how it is signed, and whether it may be accepted."""

    body: bytes
    is_genuine: bool
    secret: str
    age_s: int = 0


@dataclass
class Figures:
    sent: int
    doubled: int
    forged_accepted: int
    refused: int
    p99_ms: float


def rage(house: LiveHouse, *, count: int, rate: int, seed: int) -> Figures:
    """Charge, forget, and let the webhooks come; return what came of it."""
    house.stop("beat", "worker-money")  # nobody but the webhooks may settle
    market = shoppers.open_marketplace()
    shoppers.confirm_many(market, payments=max(1, count // SHARE_OF_ORDERS // 3), card=VISA)
    charged = shoppers.charge_and_forget()
    print(f"{charged} orders are charged, and nobody knows", flush=True)
    shots = storm_of(house, count=count, seed=seed)
    answered = fire(house, shots, rate=rate)
    if not wait_until(lambda: not PspEvent.objects.filter(status="received").exists(), deadline_s=120):
        house.start_again("beat")
        wait_until(lambda: not PspEvent.objects.filter(status="received").exists(), deadline_s=60)
    times = sorted(seconds for _shot, _status, seconds in answered)
    return Figures(
        sent=len(answered),
        doubled=double_effects(house),
        forged_accepted=sum(status == 200 and not shot.is_genuine for shot, status, _seconds in answered),
        refused=sum(status != 200 and shot.is_genuine for shot, status, _seconds in answered),
        p99_ms=1000 * percentile(times, 0.99),
    )


def storm_of(house: LiveHouse, *, count: int, seed: int) -> list[Shot]:
    """Return so many webhooks in a random order: each charge's own first, then copies, replays and forgeries of them."""
    chance = random.Random(seed)
    true = [event_of(row) for row in house.journal() if row["type"] == "charge.succeeded"]
    shots = [Shot(json.dumps(event).encode(), is_genuine=True, secret=house.webhook_secret) for event in true]
    while len(shots) < count:
        event = chance.choice(true)
        shots.append(chance.choices((doubled, forged, altered, old, of_another_account), weights=(6, 1, 1, 1, 1))[0](event, house, chance))
    chance.shuffle(shots)
    return shots


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the event by which the PSP tells of one row of its journal."""
    charge = {name: row[name] for name in ("key", "reference", "amount", "currency")}
    charge |= {"id": row["object_id"], "object": "charge", "status": "succeeded", "created_at": row["at"], "failure": None}
    return {
        "id": f"evt_{row['seq']}",
        "type": "charge.succeeded",
        "api_version": API_VERSION,
        "account": row["account"],
        "created_at": row["at"],
        "data": {"object": charge},
    }


def doubled(event: dict[str, Any], house: LiveHouse, chance: random.Random) -> Shot:
    return Shot(json.dumps(event).encode(), is_genuine=True, secret=house.webhook_secret)


def forged(event: dict[str, Any], house: LiveHouse, chance: random.Random) -> Shot:
    event = event | {"id": f"evt_forged_{chance.randrange(10**9)}"}
    return Shot(json.dumps(event).encode(), is_genuine=False, secret="whoever-signs-this-is-not-the-psp")


def altered(event: dict[str, Any], house: LiveHouse, chance: random.Random) -> Shot:
    """A genuine signature over another body: one byte of what was signed has changed."""
    body = bytearray(json.dumps(event).encode())
    body[chance.randrange(len(body))] ^= 1
    return Shot(bytes(body), is_genuine=False, secret=f"over:{json.dumps(event)}")


def old(event: dict[str, Any], house: LiveHouse, chance: random.Random) -> Shot:
    return Shot(json.dumps(event).encode(), is_genuine=False, secret=house.webhook_secret, age_s=chance.choice((301, 86_400, -400)))


def of_another_account(event: dict[str, Any], house: LiveHouse, chance: random.Random) -> Shot:
    event = event | {"account": "acct_somebody_else", "id": f"evt_other_{chance.randrange(10**9)}"}
    return Shot(json.dumps(event).encode(), is_genuine=False, secret=house.webhook_secret)


def signature_of(shot: Shot, house: LiveHouse) -> str:
    moment = int(time.time()) - shot.age_s
    signed, secret = (shot.body, shot.secret)
    if shot.secret.startswith("over:"):
        signed, secret = shot.secret.removeprefix("over:").encode(), house.webhook_secret
    digest = hmac.new(secret.encode(), b"%d." % moment + signed, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def fire(house: LiveHouse, shots: list[Shot], *, rate: int) -> list[tuple[Shot, int, float]]:
    """Send each at its moment; return status and seconds of each, the wait for its turn included."""
    begun = time.monotonic() + 0.5
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)

    def send(numbered: tuple[int, Shot]) -> tuple[Shot, int, float]:
        number, shot = numbered
        moment = begun + number / rate
        time.sleep(max(0.0, moment - time.monotonic()))
        headers = {"Content-Type": "application/json", "Sandbox-Signature": signature_of(shot, house)}
        status = client.post("/webhooks/psp/sandbox", content=shot.body, headers=headers).status_code
        return shot, status, time.monotonic() - moment

    with (
        httpx.Client(base_url=house.place.url, timeout=30, limits=limits, trust_env=False) as client,
        ThreadPoolExecutor(IN_FLIGHT) as pool,
    ):
        return list(pool.map(send, enumerate(shots)))


def double_effects(house: LiveHouse) -> int:
    """Count what was booked more than once or not at all, and whatever else does not hold."""
    journal = house.journal()
    charged = Counter(str(row["reference"]) for row in journal if row["type"] == "charge.succeeded")
    booked = Counter(JournalEntry.objects.filter(kind="sale").values_list("reference", flat=True))
    paid = set(PaymentOrder.objects.filter(status=OrderStatus.SUCCESS).values_list("public_id", flat=True))
    wrong = {reference for reference in charged | booked if booked[reference] != 1 or charged[reference] != 1 or reference not in paid}
    broken = [*invariants.violations(), *invariants.differences_from(journal, psp="sandbox")]
    for each in broken:
        print(each, flush=True)
    return len(wrong) + len(broken)
