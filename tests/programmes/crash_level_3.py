"""Crash programme, level 3: the real house under load over HTTP, and kill -9 of one of its processes at a random moment.

Each injection begins a few payments at once, kills something while they are under way, and waits until every payment that was begun is at
its end.  Clients ask again with the same key when they get no answer; whatever has ended is started again, as a supervisor does; the clocks
of house and PSP are moved on, so that leases of the dead are over soon.  Each kind of victim has its turn before one has its second.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from payments.models import DueOrder, PaymentEvent, PaymentOrder
from payments.states import OrderStatus
from tests.factories import eur, new_sellers, new_shop
from tests.fixtures_money import session_for
from tests.fixtures_services import Letterbox, SandboxCompany
from tests.programmes import verdicts
from tests.programmes.crash_level_1 import InThisProcess, Say, Score
from tests.programmes.flows import CARDS, Case
from tests.programmes.house import House, Journal, Listener
from tests.programmes.live import LiveHouse
from tests.programmes.points import POINTS
from tests.programmes.trap import Trap
from tests.programmes.verdicts import Verdicts
from wallet import api_keys
from wallet.models import ApiKey

PAYMENTS_AT_ONCE = 6
KILL_WITHIN_S = 0.6
DEADLINE_S = 180
MOVE_CLOCKS_EVERY_S = 1
A_LEASE_S = 65
NO_ANSWER = (httpx.HTTPError,)
POSTGRES_IS_AWAY = (DatabaseError, InterfaceError)

WORKERS = ("worker-money", "worker-webhooks")

ONE_BACKEND = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 1
"""


@dataclass
class Client:
    """A shop's back end that has one basket paid, whoever dies at the other end."""

    house: House
    url: str
    number: str
    chance: random.Random
    begun: str = ""
    is_done: bool = False
    refused: list[str] = field(default_factory=list)
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10, trust_env=False))

    def pay(self, token_of: Mapping[str, str]) -> None:
        sellers = self.house.sellers[: self.chance.randint(1, 3)]
        orders = [
            {"seller": seller.public_id, "amount": {"amount": f"{self.chance.randint(1, 99)}.00", "currency": "EUR"}} for seller in sellers
        ]
        body = {"checkout_id": self.number, "buyer": {"reference": "rosa"}, "payment_orders": orders}
        payment = self.insist("/v1/payments", body, key=self.number)
        self.begun = payment.get("id", "")
        for order in payment.get("payment_orders", []):
            token = token_of[self.chance.choice(list(token_of))]
            self.insist(f"/v1/orders/{order['id']}", {"payment_token": token}, key=f"pay-{order['id']}")
        self.is_done = True

    def insist(self, path: str, body: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """Post until there is a yes; a no that is no accident is written down."""
        until = time.monotonic() + DEADLINE_S
        headers = {"Authorization": f"Bearer {self.house.token}", "Idempotency-Key": key}
        while time.monotonic() < until:
            try:
                answer = self._http.post(self.url + path, json=body, headers=headers)
            except NO_ANSWER:
                time.sleep(0.1)
                continue
            if answer.is_success:
                return dict(answer.json())
            if answer.status_code not in (409, 429) and answer.status_code < 500:
                break
            time.sleep(0.1)
        self.refused.append(f"{path} was never answered with yes")
        return {}


def run(live: LiveHouse, *, injections: int, seed: str, say: Say) -> Score:
    """Kill so many times, and count."""
    score, started = Score(), time.monotonic()
    house = house_of(live)
    tokens = {card: session_for(eur("900000.00"), card, nonce=f"level-3-{card[-4:]}").payment_token for card in set(CARDS)}
    for number in range(injections):
        chance = random.Random(f"{seed}:{number}")
        name = victim(seed, number)
        clients = [
            Client(house, live.place.url, f"{seed}-{number}-{place}", random.Random(f"{seed}:{number}:{place}"))
            for place in range(PAYMENTS_AT_ONCE)
        ]
        threads = [threading.Thread(target=client.pay, args=(tokens,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(chance.random() * KILL_WITHIN_S)
        VICTIMS[name](live, chance)
        score.injected += 1
        found = outcome(live, house, clients, threads)
        score.verdicts.add(found)
        for sentence in found.sentences():
            score.failures.append(sentence)
            say(f"FAILED after the death of {name}: {sentence}\n  again: ./run crash --level 3 --n {number + 1} --seed {seed}")
        say(f"{score}: {name}, {time.monotonic() - started:.0f} s")
    found = patiently(live, lambda: verdicts.on_house(house))
    score.verdicts.add(found)
    score.failures += found.sentences()
    for sentence in found.sentences():
        say(f"FAILED the house: {sentence}\n  again: ./run crash --level 3 --n {injections} --seed {seed}")
    return score


def house_of(live: LiveHouse) -> House:
    """Return what the verdicts need to know of the running house, with a shop in it."""
    kept, url = settings, live.place.sandbox_url
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {kept.PSP_SANDBOX_API_KEY}"}, timeout=20, trust_env=False)
    sandbox = SandboxCompany(
        url, kept.PSP_SANDBOX_API_KEY, kept.PSP_SANDBOX_ACCOUNT, kept.PSP_SANDBOX_WEBHOOK_SECRETS[0], Letterbox(), client
    )
    shop = new_shop()
    _key, token = api_keys.issue(shop, name="programme", scopes=ApiKey.Scope.values, mode="test")
    clock_file = live.place.state / "clock"
    sellers = new_sellers(shop, "Ada", "Bolt", "Cleo")
    return House(sandbox, Journal(sandbox), clock_file, shop, sellers, token, Listener(shop, sellers, Letterbox()))


def victim(seed: str, number: int) -> str:
    """Return who dies at this injection: in each round through all of them the order is drawn anew."""
    turn, place = divmod(number, len(VICTIMS))
    return random.Random(f"{seed}:{turn}").sample(list(VICTIMS), len(VICTIMS))[place]


def outcome(live: LiveHouse, house: House, clients: list[Client], threads: list[threading.Thread]) -> Verdicts:
    """Wait until every payment that was begun is at its end, moving the clocks on, and judge them all."""
    until, next_move = time.monotonic() + DEADLINE_S, time.monotonic()
    while any(thread.is_alive() for thread in threads) or not patiently(live, lambda: at_rest(house, clients)):
        if time.monotonic() > until:
            break
        live.look_after()
        if time.monotonic() > next_move:
            house.advance(A_LEASE_S)
            next_move = time.monotonic() + MOVE_CLOCKS_EVERY_S
        time.sleep(0.05)
    found = Verdicts(stuck=[sentence for client in clients for sentence in client.refused])
    found.add(patiently(live, lambda: verdicts.on_case(case_of(house, clients))))
    found.stuck += [f"{client.number} was begun and is not known" for client in clients if not client.begun]
    return found


def patiently(live: LiveHouse, ask: Callable[[], Any]) -> Any:
    """Ask Postgres, again if it went away meanwhile; somebody must start it."""
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask()
        except POSTGRES_IS_AWAY:
            connection.close()
            live.look_after()
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def case_of(house: House, clients: list[Client]) -> Case:
    event_ids = list(PaymentEvent.objects.filter(public_id__in=[client.begun for client in clients]).values_list("pk", flat=True))
    return Case(house, InThisProcess(Trap()), 0, random.Random(0), POINTS[0], passage=1, is_armed=True, event_ids=event_ids)


def at_rest(house: House, clients: list[Client]) -> bool:
    mine = PaymentOrder.objects.filter(event__public_id__in=[client.begun for client in clients])
    return not (mine.filter(status=OrderStatus.EXECUTING).exists() or DueOrder.objects.filter(order__in=mine).exists())


# --- Who dies ---------------------------------------------------------------------------------------------------------


def kill_backend(live: LiveHouse, chance: random.Random) -> None:
    """One backend of Postgres: its postmaster ends all others and recovers."""

    def one() -> int:
        with connection.cursor() as cursor:
            cursor.execute(ONE_BACKEND)
            row = cursor.fetchone()
            return int(row[0]) if row else 0

    pid = patiently(live, one)
    if pid:
        os.kill(pid, signal.SIGKILL)


def flush_redis(live: LiveHouse, chance: random.Random) -> None:
    redis.Redis.from_url(settings.REDIS_URL).flushall()


def one_of(*names: str) -> Callable[[LiveHouse, random.Random], None]:
    """A whole process: all that it forked ends, too."""

    def die(live: LiveHouse, chance: random.Random) -> None:
        live.kill(chance.choice(names))

    return die


def hand_of(*names: str) -> Callable[[LiveHouse, random.Random], None]:
    """A process that one of these forked."""

    def die(live: LiveHouse, chance: random.Random) -> None:
        live.kill_hand(chance.choice(names), chance.choice)

    return die


VICTIMS: Mapping[str, Callable[[LiveHouse, random.Random], None]] = {
    "the postmaster": one_of("postgres"),
    "a backend of Postgres": kill_backend,
    "Redis": one_of("redis"),
    "all that Redis knew": flush_redis,
    "a worker": one_of(*WORKERS),
    "a worker's hand": hand_of(*WORKERS),
    "beat": one_of("beat"),
    "the web server": one_of("web"),
    "a web process": hand_of("web"),
}
