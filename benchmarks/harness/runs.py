"""Two ways to run the same batches: pgbench with one statement each (the limit), and processes of Django (what is measured).

Both take batch after batch of consecutive orders, client k of n the batches k, k + n, ..., and stop after the same time.  Both warm up
first: after a checkpoint each page is written to the log whole when it is touched first, which is over after some 10,000 orders, and would
be all that a run of a few seconds sees.
"""

import gc
import multiprocessing
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection
from djmoney.money import Money

from benchmarks.harness.databases import Marketplace
from config.devprograms import find_postgres
from payments.models import PaymentOrder
from payments.settlement import Capture

Settle = Callable[[Sequence[Capture]], object]


@dataclass(frozen=True, slots=True)
class Load:
    """How hard to drive: clients at once, orders per batch, seconds, and how many batches each client settles before they count."""

    clients: int
    batch: int
    seconds: int
    warm_up: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did: how many orders it settled in all, per second once warm, and the CPU time that our own processes took for each."""

    settled: int
    rate: float
    client_us: float = 0


class RanOut(RuntimeError):
    """A client met the end of the orders that wait: what it counted afterwards is not settling."""


def pgbench(script: Path, load: Load, marketplace: Marketplace, *, url: str) -> Outcome:
    """Run the script with pgbench for the load's seconds; each transaction settles one batch."""
    transactions, _ = answer_of(script, load, marketplace, f"--transactions={load.warm_up}", turn=0, url=url)
    more, per_second = answer_of(script, load, marketplace, f"--time={load.seconds}", turn=load.warm_up, url=url)
    return counted(Outcome((transactions + more) * load.batch, per_second * load.batch), marketplace)


def answer_of(script: Path, load: Load, marketplace: Marketplace, until: str, *, turn: int, url: str) -> tuple[int, float]:
    """Run pgbench once, from that turn of every client on; return its transactions, and how many they were per second."""
    parts = urlsplit(url)
    program = str(find_postgres().path.with_name("pgbench"))
    variables = {"turn": turn, "settled": marketplace.settled, "clients": load.clients, "batch": load.batch}
    answer = subprocess.run(
        [program, "--no-vacuum", "--protocol=prepared", f"--client={load.clients}", f"--jobs={load.clients}", until]
        + [f"--define={name}={value}" for name, value in variables.items()]
        + [
            f"--file={script}",
            f"--host={parts.hostname}",
            f"--port={parts.port}",
            f"--username={parts.username}",
            parts.path.strip("/"),
        ],
        env=os.environ | {"PGPASSWORD": parts.password or ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    transactions = re.search(r"actually processed: (\d+)", answer)
    per_second = re.search(r"tps = ([\d.]+)", answer)
    if transactions is None or per_second is None:
        raise RuntimeError(f"pgbench said something else than usual: {answer}")
    return int(transactions[1]), float(per_second[1])


def processes(settle: Settle, load: Load, marketplace: Marketplace) -> Outcome:
    """Settle in that many processes at once, each with a connection of its own."""
    context = multiprocessing.get_context("fork")
    outcomes, start = context.SimpleQueue(), context.Barrier(load.clients)
    workers = [context.Process(target=work, args=(settle, load, marketplace, client, start, outcomes)) for client in range(load.clients)]
    connection.close()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a process of the benchmark failed; its traceback is above")
    done = [outcomes.get() for _ in workers]
    total = sum(outcome.settled for outcome in done)
    client_us = sum(outcome.client_us * outcome.settled for outcome in done) / total
    return counted(Outcome(total, sum(outcome.rate for outcome in done), client_us), marketplace)


def work(settle, load, marketplace, client, start, outcomes) -> None:  # type: ignore[no-untyped-def]
    """Settle batch after batch until the time is over (the body of one process)."""
    batches = batches_of(client, load, marketplace)
    gc.freeze()  # what the PSP would have told us is none of settling's garbage
    for batch in batches[: load.warm_up]:
        settle(batch)
    start.wait()
    settled, began, cpu_began = 0, time.perf_counter(), time.process_time()
    for batch in batches[load.warm_up :]:
        settle(batch)
        settled += len(batch)
        if time.perf_counter() - began >= load.seconds:
            break
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    connection.close()
    outcomes.put(Outcome(load.warm_up * load.batch + settled, settled / elapsed, cpu / settled * 1e6))


def batches_of(client: int, load: Load, marketplace: Marketplace) -> list[list[Capture]]:
    """Return what the PSP would say of this client's orders, batch by batch; the seed gives an attempt its order's number."""
    now, first = datetime.now(UTC), marketplace.settled + 1
    waiting = PaymentOrder.objects.filter(id__gte=first).order_by("id").values_list("id", "public_id", "amount", "currency")
    mine = [row for row in waiting if (row[0] - first) // load.batch % load.clients == client]
    said = [Capture(id, id, f"{name}:1", f"ch_{id}", Money(amount, currency), now) for id, name, amount, currency in mine]
    return [said[start : start + load.batch] for start in range(0, len(said), load.batch)]


def counted(outcome: Outcome, marketplace: Marketplace) -> Outcome:
    """Return the outcome if the database has settled exactly that many orders.  Raises RanOut."""
    settled = PaymentOrder.objects.filter(status="SUCCESS").count() - marketplace.settled
    connection.close()
    if settled != outcome.settled:
        raise RanOut(f"{outcome.settled} orders were counted, and {settled} are settled: let more of them wait")
    return outcome
