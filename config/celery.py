"""Celery: the worker's and beat's settings.  Messages are nudges without arguments; losing or doubling one changes nothing but time."""

import os

from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402

from config import startup  # noqa: E402

VISIBILITY = {"visibility_timeout": 600, "unacked_restore_interval": 10, "unacked_restore_throttle": 1}

app = Celery("onebook")
app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_transport_options={
        **VISIBILITY,
        "max_retries": 1,  # of connecting: whoever rings a dead doorbell would be held for six seconds by kombu's default
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.1,
        "socket_timeout": 5,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_publish_retry=False,
    task_time_limit=120,
    task_soft_time_limit=90,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=1000,
    worker_soft_shutdown_timeout=25,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_schedule={
        "execute_due_orders": {"task": "payments.tasks.execute_due_orders", "schedule": 2.0, "options": {"expires": 10}},
        "apply_psp_events": {"task": "payments.tasks.apply_psp_events", "schedule": 2.0, "options": {"expires": 10}},
        "execute_due_refunds": {"task": "payments.tasks.execute_due_refunds", "schedule": 5.0, "options": {"expires": 20}},
        "expire_checkouts": {"task": "payments.tasks.expire_checkouts", "schedule": 30.0, "options": {"expires": 60}},
        "take_snapshots": {"task": "payments.tasks.take_snapshots", "schedule": 300.0, "options": {"expires": 300}},
        "purge_idempotency_records": {
            "task": "wallet.tasks.purge_idempotency_records",
            "schedule": 3600.0,
            "options": {"expires": 3600},
        },
    },
)
app.autodiscover_tasks()


@worker_init.connect
def refuse_unsafe(**_kwargs: object) -> None:
    """A worker never starts on a Postgres that may forget what it acknowledged."""
    startup.refuse_unsafe()
