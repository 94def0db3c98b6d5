"""Deaf workers: after an accident of the broker a worker may live on and hear nothing.  It notices by itself, and ends, to be started anew.

A worker is deaf when messages wait in its queues while it has heard none for a while: a short one if it has nothing to do, and longer than
any task may take if it has.  Redis away, or no messages, says nothing.  Whoever supervises the workers starts them again; `check_queues`
and /metrics tell of a queue that stays silent all the same.
"""

import logging
import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import redis
from celery.signals import task_received
from celery.worker import state
from django.conf import settings

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5
DEAF_AFTER_S = 20
DEAF_AFTER_WORK_S = 100  # no task lives longer than 90 s (task_soft_time_limit)
EXIT_CODE = 70


@dataclass
class Hearing:
    """What one worker knows of its own hearing; times are of the monotonic clock, in seconds."""

    heard_at: float
    waiting_since: float | None = None

    def heard(self, *, at: float) -> None:
        self.heard_at, self.waiting_since = at, None

    def is_deaf(self, *, waiting: bool, busy: bool, at: float) -> bool:
        """Say whether messages have waited for too long while none was heard, given whether some wait now and a task is being worked on."""
        if not waiting:
            self.waiting_since = None
            return False
        if self.waiting_since is None:
            self.waiting_since = at
        silent_s = at - max(self.heard_at, self.waiting_since)
        return silent_s >= (DEAF_AFTER_WORK_S if busy else DEAF_AFTER_S)


@dataclass
class Watch:
    """The thread that looks, beside the worker's own loop: that loop may be what hangs."""

    queues: Collection[str]
    hearing: Hearing = field(default_factory=lambda: Hearing(time.monotonic()))

    def start(self) -> None:
        task_received.connect(self.note, weak=False)
        threading.Thread(target=self.run, name="hearing", daemon=True).start()

    def note(self, **_message: Any) -> None:
        self.hearing.heard(at=time.monotonic())

    def run(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            waiting = self.messages_wait()
            if self.hearing.is_deaf(waiting=waiting, busy=bool(state.active_requests), at=time.monotonic()):
                logger.critical("this worker is deaf: messages wait in %s and none arrives; it ends", ", ".join(self.queues))
                os._exit(EXIT_CODE)  # its own shutdown would wait for the loop that hangs; what it had taken is delivered again

    def messages_wait(self) -> bool:
        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as broker:
                return any(broker.llen(queue) for queue in self.queues)
        except redis.RedisError:
            return False


def watch(sender: Any, **_kwargs: Any) -> None:
    """Begin to look as soon as the worker listens."""
    Watch(tuple(sender.app.amqp.queues.consume_from)).start()
