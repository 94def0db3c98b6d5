"""A worker that hears nothing while messages wait ends by itself, so that whoever supervises it starts another."""

import secrets
import subprocess
import sys

import pytest
import redis
from django.conf import settings

from config import hearing
from tests.fixtures_money import environment_of_a_child
from tests.fixtures_services import ROOT

pytestmark = pytest.mark.crash

LISTEN = """
import sys, threading
from config import celery, hearing
hearing.LOOK_EVERY_S, hearing.DEAF_AFTER_S = 0.05, 0.2
hearing.Watch((sys.argv[1],)).start()
print("it listens", flush=True)
threading.Event().wait(30)
"""


@pytest.mark.parametrize(("messages", "code"), [(1, hearing.EXIT_CODE), (0, None)], ids=["messages wait", "nothing waits"])
def test_cel_05_a_worker_in_front_of_messages_that_it_does_not_hear_ends(real_db: None, messages: int, code: int | None) -> None:
    queue = f"lonely-{secrets.token_hex(4)}"
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.lpush(queue, *["message"] * messages) if messages else None
    command = [sys.executable, "-c", LISTEN, queue]
    with subprocess.Popen(command, cwd=ROOT, env=environment_of_a_child(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        try:
            ended = worker.wait(timeout=20 if messages else 1)
        except subprocess.TimeoutExpired:
            ended = None
        worker.kill()
    broker.delete(queue)
    assert ended == code
