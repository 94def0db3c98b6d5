"""The queues, with real workers on the real broker: none holds up another, nothing is believed that a broker keeps, no message dies with its worker.

Work is made to take long by holding the lock that it needs (`sealing_waits`), or by a PSP that does not answer.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from celery import Task
from django.conf import settings
from django.db import connection

from config import celery
from config.celery import app
from config.supervisor import Child, log_line, stop_together, wait_until_ready
from ledger.models import LedgerSeal
from payments import tasks as payments_tasks
from payments.models import PaymentEvent, PspAttempt
from payments.states import AttemptStatus
from reconciliation import queues, tasks
from reconciliation.models import QueueHeartbeat
from tests.fixtures_money import confirm_card, environment_of_a_child, execute_until_settled, statuses
from tests.fixtures_services import ROOT, SandboxCompany, admin_url

DEADLINE_S = 40
APPS = ("config", "ledger", "wallet", "payments", "payouts", "reconciliation")
Open = Callable[..., PaymentEvent]
StartWorker = Callable[..., Child]

WAITING = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def wait_until(holds: Callable[[], bool], *, what: str) -> None:
    """Look again and again, asking Postgres for a hundredth of a second in between; fail after DEADLINE_S."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {DEADLINE_S} s"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")


@pytest.fixture
def broker(books_hold: None) -> Iterator[redis.Redis]:
    """Give the broker, empty before and after."""
    line = redis.Redis.from_url(settings.REDIS_URL)
    line.flushdb()
    yield line
    line.flushdb()
    line.close()


@pytest.fixture
def start_worker(broker: redis.Redis, tmp_path: Path) -> Iterator[StartWorker]:
    """Start a worker of some queues, as the demo does: `start_worker("money")`; what still runs is ended after the test."""
    started: list[Child] = []

    def start(*names: str) -> Child:
        name = "-".join(names)
        options = ["-Q", ",".join(names), "-n", f"{name}@%h", "--concurrency=1", "--loglevel=INFO", "--without-mingle", "--without-gossip"]
        environment = environment_of_a_child() | {"LOG_LEVEL": "INFO"}
        command = [sys.executable, "-m", "celery", "-A", "config", "--skip-checks", "worker", *options]
        child = Child(name, command=command, log=tmp_path / f"{name}.log", env=environment, cwd=ROOT)
        child.when(log_line(" ready.")).start()
        started.append(child)
        return child

    yield start
    for child in started:
        child.stop_signal = signal.SIGKILL
    stop_together(started)


@contextmanager
def sealing_waits() -> Iterator[Callable[[], set[int]]]:
    """Hold the lock of the sealers; give a question for the backends that wait for it."""
    with psycopg.connect(admin_url(str(connection.settings_dict["NAME"])), autocommit=True) as line:
        line.execute("SELECT pg_advisory_lock(hashtext('ledger.seals'))")
        yield lambda: {pid for (pid,) in line.execute(WAITING).fetchall()}


@pytest.fixture
def ours() -> dict[str, Task]:
    """Give our tasks by name, all of them loaded as a worker does."""
    app.loader.import_default_modules()
    return {name: task for name, task in app.tasks.items() if name.split(".")[0] in APPS}


def children_of(child: Child) -> list[int]:
    assert child.process is not None
    return [int(pid) for pid in Path(f"/proc/{child.process.pid}/task/{child.process.pid}/children").read_text().split()]


# --- None holds up another ------------------------------------------------------------------------------------------


@pytest.mark.crash
def test_cel_11_a_long_task_does_not_delay_the_money_queue(
    open_payment: Open, pay: Open, start_worker: StartWorker, broker: redis.Redis
) -> None:
    pay(open_payment("10.00"))
    event = open_payment("20.00", "30.00")
    wait_until_ready([start_worker("money"), start_worker("bulk")])
    with sealing_waits() as waiting:
        for _ in range(8):
            tasks.seal_the_books.apply_async()
        wait_until(lambda: len(waiting()) == 1, what="the bulk worker is busy")
        confirm_card(event)
        payments_tasks.nudge_executor()
        wait_until(lambda: statuses(event) == ["SUCCESS", "SUCCESS"], what="the payment is paid")
        assert broker.llen("bulk") >= 3, "the bulk queue is as long as it was"
        broker.delete("bulk")


@pytest.mark.crash
def test_cel_11_a_silent_psp_does_not_delay_the_webhooks(open_payment: Open, start_worker: StartWorker, sandbox: SandboxCompany) -> None:
    event = open_payment("10.00")
    sandbox.fault(operation="charge", kind="execute_then_silence")
    confirm_card(event)
    wait_until_ready([start_worker("money"), start_worker("webhooks")])
    payments_tasks.nudge_executor()
    wait_until(lambda: PspAttempt.objects.filter(status=AttemptStatus.SENDING).exists(), what="the charge is on its way")
    tasks.canary.apply_async(queue="webhooks")
    wait_until(lambda: QueueHeartbeat.objects.filter(queue="webhooks").exists(), what="the webhooks are worked on")
    assert PspAttempt.objects.get().status == AttemptStatus.SENDING, "the PSP has still not answered"
    sandbox.clear_faults()
    wait_until(lambda: not PspAttempt.objects.filter(status=AttemptStatus.SENDING).exists(), what="the call is given up")
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"]


@pytest.mark.crash
def test_cel_05_a_canary_comes_through_each_queue(start_worker: StartWorker) -> None:
    assert set(queues.silent()) == set(queues.QUEUES)
    wait_until_ready([start_worker(*queues.QUEUES)])
    for queue in queues.QUEUES:
        tasks.canary.apply_async(queue=queue)
    wait_until(lambda: queues.silent() == {}, what="every queue has its heartbeat")


def test_every_task_has_a_queue_and_what_moves_money_is_not_held_up(ours: dict[str, Task]) -> None:
    went = {name: app.amqp.router.route({}, name)["queue"].name for name in ours}
    assert set(went.values()) <= set(queues.QUEUES)
    expected = {
        "payments.tasks.execute_due_orders": "money",
        "payments.tasks.execute_due_refunds": "money",
        "payments.tasks.look_at_sessions": "money",
        "payments.tasks.expire_checkouts": "money",
        "payments.tasks.apply_psp_events": "webhooks",
        "payments.tasks.take_snapshots": "bulk",
        "payments.tasks.release_due": "bulk",
        "payments.tasks.free_reserves": "bulk",
        "wallet.tasks.purge_idempotency_records": "bulk",
        "reconciliation.tasks.seal_the_books": "bulk",
        "reconciliation.tasks.check_invariants": "bulk",
    }
    assert {name: went[name] for name in expected} == expected
    assert app.amqp.router.route({}, "a.task.that.was.forgotten")["queue"].name == "bulk"


# --- Nothing is lost ------------------------------------------------------------------------------------------------


@pytest.mark.crash
def test_cel_03_the_message_of_a_worker_that_was_killed_is_delivered_again(
    open_payment: Open, pay: Open, start_worker: StartWorker
) -> None:
    pay(open_payment("10.00"))
    worker = start_worker("bulk")
    wait_until_ready([worker])
    with sealing_waits() as waiting:
        tasks.seal_the_books.apply_async()
        wait_until(lambda: len(waiting()) == 1, what="a child works on the message")
        dead = waiting()
        for child in children_of(worker):
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: bool(waiting() - dead), what="another child works on it")
    wait_until(LedgerSeal.objects.exists, what="the books are sealed")


@pytest.mark.crash
def test_cel_13_a_worker_that_is_stopped_finishes_what_it_began_and_leaves_the_rest(
    open_payment: Open, pay: Open, start_worker: StartWorker, broker: redis.Redis
) -> None:
    pay(open_payment("10.00"))
    worker = start_worker("bulk")
    wait_until_ready([worker])
    with sealing_waits() as waiting:
        for _ in range(3):
            tasks.seal_the_books.apply_async()
        wait_until(lambda: len(waiting()) == 1, what="the worker is busy")
        assert worker.process is not None
        worker.process.terminate()
        wait_until(lambda: "Warm shutdown" in worker.log.read_text(), what="the worker has heard")
        assert len(waiting()) == 1
    assert worker.process.wait(timeout=DEADLINE_S) is not None
    assert LedgerSeal.objects.count() == 1
    assert broker.llen("bulk") >= 1, "the rest waits for the next worker, and for no timeout"


# --- Settings -------------------------------------------------------------------------------------------------------


def test_cel_01_no_message_waits_in_the_broker_and_none_comes_back_while_its_task_may_run(ours: dict[str, Task]) -> None:
    later = re.compile(r"\b(eta|countdown)\s*=|\.retry\(|autoretry_for|retry_backoff")
    code = [path for name in APPS for path in (ROOT / name).rglob("*.py")]
    assert len(code) > 100
    assert [str(path) for path in code if "sandbox" not in path.parts and later.search(path.read_text())] == []
    longest = max([app.conf.task_time_limit, *(task.time_limit or 0 for task in ours.values())])
    timeouts = {
        app.conf.broker_transport_options["visibility_timeout"],
        app.conf.result_backend_transport_options["visibility_timeout"],
        app.conf.visibility_timeout,
    }
    assert len(timeouts) == 1
    assert timeouts.pop() > 2 * longest


def test_cel_12_no_result_backend(ours: dict[str, Task]) -> None:
    assert app.conf.task_ignore_result
    assert not app.conf.result_backend
    assert all(task.ignore_result for task in ours.values())


def test_the_worker_s_settings_are_those_that_lose_nothing(ours: dict[str, Task]) -> None:
    conf = app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert (conf.worker_prefetch_multiplier, conf.worker_max_tasks_per_child, conf.worker_soft_shutdown_timeout) == (1, 1000, 25)
    assert (conf.task_time_limit, conf.task_soft_time_limit) == (120, 90)
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert conf.task_publish_retry is False
    assert {entry["options"]["expires"] > 0 for entry in conf.beat_schedule.values()} == {True}
    assert {entry["task"] for entry in conf.beat_schedule.values()} <= set(ours)


def test_a_worker_forks_without_a_connection(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr("config.celery.connections.close_all", lambda: closed.append("all"))
    celery.refuse_unsafe()
    assert closed == ["all"]
