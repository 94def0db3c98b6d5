"""kill -9 at every hop of a payment and of a refund: what is left is found, asked for, and finished once."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

from config.supervisor import Child, log_line, stop_together, wait_until_ready
from ledger.models import JournalEntry
from payments import claims, executor, expiry, inbox, refund_executor, refunds, sessions, settlement, tasks
from payments.management import buyer
from payments.models import CheckoutSession, DueOrder, LateCharge, PaymentEvent, PspAttempt, PspEvent, Refund
from payments.settlement import Failure
from reconciliation import ingestion, invariants
from reconciliation.models import StagedLine
from tests import webhooks
from tests.factories import eur
from tests.fixtures_money import (
    Oracle,
    captures_of,
    charge_and_keep_the_answer,
    confirm_card,
    environment_of_a_child,
    execute_refunds,
    execute_until_settled,
    statuses,
)
from tests.fixtures_services import ROOT, SandboxCompany
from tests.settlement_files import settlement_file

Open = Callable[..., PaymentEvent]
DYING_WORKER = Path(__file__).with_name("dying_worker.py")
DEADLINE_S = 40
pytestmark = pytest.mark.crash


def wait_until(holds: Callable[[], bool], *, what: str) -> None:
    """Look again and again, asking Postgres for a hundredth of a second in between; fail after DEADLINE_S."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {DEADLINE_S} s"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")


@pytest.fixture(scope="session")
def nursery(sandbox_company: SandboxCompany, django_db_setup: None) -> Iterator[subprocess.Popen[str]]:
    """Keep a process that forks workers: a fork is there at once, and dies like any other process."""
    environment = environment_of_a_child() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(DYING_WORKER)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def killed_at(books_hold: None, nursery: subprocess.Popen[str], tmp_path: Path) -> Callable[[str], None]:
    """Run a worker until it comes to a point, and kill it there with -9."""
    marks = (tmp_path / f"stands-{number}" for number in itertools.count())

    def kill_at(point: str) -> None:
        mark = next(marks)
        said, heard = nursery.stdin, nursery.stdout
        assert said is not None
        assert heard is not None
        said.write(f"{point}\t{mark}\n")
        said.flush()
        worker = int(heard.readline())
        try:
            wait_until(mark.exists, what=f"the worker comes to {point}")
        finally:
            os.kill(worker, signal.SIGKILL)
            end = int(heard.readline())
        assert end == -signal.SIGKILL
        assert_nobody_is_left()

    return kill_at


def assert_nobody_is_left() -> None:
    """Wait until Postgres has noticed the death: what the dead one had not committed is undone, and what it was alone at is free."""
    until = time.monotonic() + DEADLINE_S
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (xact_start IS NOT NULL OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))"
    )
    with connection.cursor() as cursor:
        while cursor.execute(others).fetchone() != (0,):
            assert time.monotonic() < until, "the dead worker's transaction is still open"
            cursor.execute("SELECT pg_sleep(0.01)")


def after_the_lease(*, seconds: int = 5) -> int:
    return executor.execute_due_orders(now=timezone.now() + timedelta(seconds=claims.LEASE_S + seconds))


@pytest.mark.parametrize(
    ("point", "attempts", "charged_at_least"),
    [
        ("payments.claims.claim_due", [], 0),
        ("payments.executor.call_all", ["SENDING"] * 3, 0),
        ("payments.executor.call", ["SENDING"] * 3, 0),
        ("payments.executor.hand_over", ["SENDING"] * 3, 1),
        ("payments.settlement.settle", ["SENDING"] * 3, 1),
        ("payments.settlement.lock_executing", ["SENDING"] * 3, 1),
        ("ledger.journal.post", ["SENDING"] * 3, 1),
        ("after:ledger.journal.post", ["SENDING"] * 3, 1),
        ("wallet.balances.credit", ["SENDING"] * 3, 1),
        ("after:wallet.balances.credit", ["SENDING"] * 3, 1),
        ("wallet.notifications.publish", ["SENDING"] * 3, 1),
        ("after:wallet.notifications.publish", ["SENDING"] * 3, 1),
    ],
)
def test_a_worker_killed_at_any_hop_leaves_a_payment_that_is_finished_once(
    open_payment: Open,
    killed_at: Callable[[str], None],
    oracle: Oracle,
    point: str,
    attempts: list[str],
    charged_at_least: int,
) -> None:
    event = open_payment("10.00", "20.00", "30.00")
    confirm_card(event)
    killed_at(point)
    assert statuses(event) == ["EXECUTING"] * 3
    assert list(PspAttempt.objects.values_list("status", flat=True)) == attempts
    assert JournalEntry.objects.count() == 0
    assert invariants.violations() == []
    if attempts:
        assert executor.execute_due_orders(now=timezone.now()) == 0, "the dead one's lease still runs"
    oracle.wait_for("charge.succeeded", count=charged_at_least)
    after_the_lease()
    execute_until_settled()
    event.refresh_from_db()
    assert event.status == "paid"
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


@pytest.mark.parametrize(
    ("point", "status"),
    [
        ("payments.sessions.ask", "NOT_STARTED"),
        ("payments.sessions.confirm", "NOT_STARTED"),
        ("after:payments.confirmation.confirm", "EXECUTING"),
        ("payments.sessions.end", "EXECUTING"),
    ],
)
def test_a_worker_killed_between_the_approval_and_its_confirmation_leaves_one_payment(
    open_payment: Open, killed_at: Callable[[str], None], oracle: Oracle, point: str, status: str
) -> None:
    event = open_payment("10.00", "20.00")
    opened = sessions.open_session(event, language="en", now=timezone.now(), method="qr")
    buyer.approve(opened.session.hosted_url)
    CheckoutSession.objects.update(look_at=timezone.now())
    killed_at(point)
    assert statuses(event) == [status] * 2
    assert sessions.look(now=timezone.now()) == 0, "the dead one's lease still runs"
    assert sessions.look(now=timezone.now() + sessions.LEASE) == 1
    executor.execute_due_orders(now=timezone.now() + sessions.LEASE)
    event.refresh_from_db()
    assert (event.status, event.confirmations) == ("paid", 1)
    assert CheckoutSession.objects.get().status == "confirmed"
    assert oracle.charged() == sorted(order.public_id for order in event.orders.all())


def test_workers_killed_one_after_the_other_leave_one_charge_each(
    open_payment: Open, killed_at: Callable[[str], None], oracle: Oracle
) -> None:
    event = open_payment("10.00", "20.00")
    confirm_card(event)
    for point in ("payments.executor.call", "payments.settlement.settle", "after:wallet.balances.credit"):
        killed_at(point)
        DueOrder.objects.update(claimed_until=timezone.now(), next_attempt_at=timezone.now())
    execute_until_settled()
    assert (statuses(event), len(oracle.charged())) == (["SUCCESS", "SUCCESS"], 2)


@pytest.mark.parametrize(
    ("point", "given_back_by_then"),
    [
        ("payments.refund_executor.execute", 0),
        ("payments.refund_executor.open_attempt", 0),
        ("after:payments.refund_executor.open_attempt", 0),
        ("payments.refund_executor.answered", 1),
        ("payments.settlement.settle_refund", 1),
        ("after:ledger.journal.post", 1),
        ("after:wallet.balances.change", 1),
    ],
)
def test_a_worker_killed_at_any_hop_of_a_refund_gives_the_money_back_once(
    open_payment: Open, pay: Open, killed_at: Callable[[str], None], oracle: Oracle, point: str, given_back_by_then: int
) -> None:
    order = pay(open_payment("10.00")).orders.get()
    refunds.request_refund(order.pk, amount=eur("4.00"), reason="", now=timezone.now())
    killed_at(point)
    assert Refund.objects.get().status == "EXECUTING"
    assert len(oracle.rows("refund.succeeded")) == given_back_by_then
    assert refund_executor.execute_due_refunds(now=timezone.now()) == 0
    refund_executor.execute_due_refunds(now=timezone.now() + timedelta(seconds=refund_executor.LEASE_S + 5))
    assert Refund.objects.get().status == "SUCCESS"
    assert len(oracle.rows("refund.succeeded")) == 1


@pytest.mark.parametrize("point", ["payments.inbox.verdicts_on", "payments.inbox.after_settlement"])
def test_bug_44_a_worker_killed_over_an_event_leaves_it_to_the_next(
    open_payment: Open, pay: Open, killed_at: Callable[[str], None], sandbox: SandboxCompany, oracle: Oracle, point: str
) -> None:
    event = pay(open_payment("10.00"))
    oracle.wait_for("webhook.delivered", count=2)
    [body] = [json.loads(body) for _headers, body in sandbox.letterbox.deliveries if event.orders.get().public_id.encode() in body]
    PspEvent.objects.create(psp="sandbox", event_id=body["id"], type=body["type"], body=body, status="received")
    killed_at(point)
    assert PspEvent.objects.get().status == "received"
    assert inbox.apply_received(now=timezone.now()) == 1
    assert PspEvent.objects.get().status == "applied"
    assert JournalEntry.objects.count() == 1


@pytest.mark.parametrize("point", ["payments.late.receive", "after:ledger.journal.post", "after:wallet.notifications.publish"])
def test_bug_59_a_worker_killed_over_a_late_charge_books_and_gives_it_back_once(
    open_payment: Open, killed_at: Callable[[str], None], sandbox: SandboxCompany, oracle: Oracle, point: str
) -> None:
    event = open_payment("10.00")
    [capture] = captures_of(charge_and_keep_the_answer(event))
    settlement.fail([Failure(capture.order_id, capture.attempt_id, capture.psp_key, "", "gave_up", "")])
    expiry.expire_checkouts(now=event.expires_at)
    [delivery] = webhooks.deliveries(sandbox, oracle, "charge.succeeded", count=1)
    webhooks.post(delivery)
    killed_at(point)
    assert (LateCharge.objects.count(), Refund.objects.count(), JournalEntry.objects.count()) == (0, 0, 0)
    assert webhooks.apply() == [("charge.succeeded", "applied", "")]
    execute_refunds(now=timezone.now())
    assert (Refund.objects.get().status, len(oracle.rows("refund.succeeded"))) == ("SUCCESS", 1)


# --- The real worker, and Redis ---------------------------------------------------------------------------------------


@pytest.fixture
def celery_worker(books_hold: None, tmp_path: Path) -> Iterator[Child]:
    """Run a real worker, without beat, on this test's database and an emptied broker."""
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--concurrency=1", "--loglevel=INFO"]
    environment = environment_of_a_child() | {"LOG_LEVEL": "INFO"}
    child = Child("worker", command=command, log=tmp_path / "worker.log", env=environment, cwd=ROOT)
    child.when(log_line("ready.")).start()
    try:
        wait_until_ready([child])
        yield child
    finally:
        stop_together([child])


def test_cel_06_a_broker_that_forgets_everything_loses_no_payment(open_payment: Open, celery_worker: Child, oracle: Oracle) -> None:
    """First the nudge arrives; then Redis is emptied right after the nudge, and the sweep alone must find the work."""
    nudged, forgotten = open_payment("10.00", "20.00"), open_payment("30.00", "40.00")
    confirm_card(nudged)
    tasks.nudge_executor()
    wait_until(lambda: set(statuses(nudged)) == {"SUCCESS"}, what="the nudged payment is paid")
    stop_together([celery_worker])
    confirm_card(forgotten)
    tasks.nudge_executor()
    broker = redis.Redis.from_url(settings.REDIS_URL)
    assert broker.llen("money") >= 1
    broker.flushdb()
    assert statuses(forgotten) == ["EXECUTING", "EXECUTING"]
    tasks.execute_due_orders()
    assert statuses(forgotten) == ["SUCCESS", "SUCCESS"]
    assert len(oracle.charged()) == 4


def test_cel_14_a_message_that_comes_many_times_or_much_later_does_nothing_twice(
    open_payment: Open, celery_worker: Child, oracle: Oracle
) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    for _copy in range(20):
        tasks.nudge_executor()
    wait_until(lambda: statuses(event) == ["SUCCESS"], what="the payment is paid")
    wait_until(lambda: redis.Redis.from_url(settings.REDIS_URL).llen("money") == 0, what="all messages are read")
    assert (len(oracle.charged()), JournalEntry.objects.count()) == (1, 1)


RING = """
import time
from config import celery
from payments import tasks
for _ring in range(2):
    started = time.monotonic()
    tasks.nudge_executor()
    print(time.monotonic() - started)
"""


def test_cel_08_a_dead_doorbell_holds_nobody_up(open_payment: Open) -> None:
    event = open_payment("10.00")
    confirm_card(event)
    deaf = environment_of_a_child() | {"REDIS_URL": "redis://127.0.0.1:1/0"}
    rung = subprocess.run([sys.executable, "-c", RING], cwd=ROOT, env=deaf, capture_output=True, text=True, check=True, timeout=60)
    assert [float(seconds) < 2 for seconds in rung.stdout.split()] == [True, True], rung.stdout
    execute_until_settled()
    assert statuses(event) == ["SUCCESS"]


@pytest.mark.parametrize(
    ("point", "left"),
    [("reconciliation.staging.advance", 0), ("after:reconciliation.staging.advance", 0), ("reconciliation.staging.finish", 4)],
)
def test_cp_39_a_worker_killed_over_a_settlement_file_leaves_it_to_the_next(
    killed_at: Callable[[str], None], point: str, left: int
) -> None:
    now = timezone.now()
    file, _is_new = ingestion.receive(io.BytesIO(settlement_file(3)), "sb.csv", source="sandbox", received_by="folder", now=now)
    killed_at(point)
    file.refresh_from_db()
    assert (file.status, file.staged, StagedLine.objects.count()) == ("RECEIVED", left, left)
    assert ingestion.stage_waiting(now=now) == 1
    assert list(StagedLine.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3, 4]
