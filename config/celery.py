"""Celery: the workers' and beat's settings.  Messages are nudges without arguments; losing or doubling one changes nothing but time.

Each queue (reconciliation/queues.py) has workers of its own, `celery -A config worker -Q money`, so that neither a silent PSP nor a long
look at the books holds up the rest.
"""

import os

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from config import hearing, startup  # noqa: E402
from reconciliation.queues import QUEUES  # noqa: E402

VISIBILITY_TIMEOUT_S = 600  # more than twice the longest task: a message comes back only when its worker is surely gone
VISIBILITY = {"visibility_timeout": VISIBILITY_TIMEOUT_S, "unacked_restore_interval": 10, "unacked_restore_throttle": 1}
CANARY_S = 30

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
    result_backend_transport_options=VISIBILITY,
    visibility_timeout=VISIBILITY_TIMEOUT_S,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES},
    task_default_queue="bulk",
    task_default_routing_key="bulk",
    task_create_missing_queues=False,
    task_routes={
        "payments.tasks.apply_psp_events": {"queue": "webhooks"},
        "payments.tasks.take_snapshots": {"queue": "bulk"},
        "payments.tasks.watch_disputes": {"queue": "webhooks"},
        "payments.tasks.ask_for_orphans": {"queue": "bulk"},
        "payments.tasks.release_due": {"queue": "bulk"},
        "payments.tasks.free_reserves": {"queue": "bulk"},
        "payments.tasks.forget_cards": {"queue": "bulk"},
        "payments.tasks.send_receipts": {"queue": "bulk"},
        "payments.tasks.*": {"queue": "money"},
        "payouts.tasks.watch_returns": {"queue": "webhooks"},
        "payouts.tasks.send_notices": {"queue": "bulk"},
        "payouts.tasks.run_due_payouts": {"queue": "bulk"},
        "payouts.tasks.*": {"queue": "money"},
        "wallet.tasks.deliver_webhooks": {"queue": "webhooks"},
    },
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
        "look_at_sessions": {"task": "payments.tasks.look_at_sessions", "schedule": 2.0, "options": {"expires": 10}},
        "forget_cards": {"task": "payments.tasks.forget_cards", "schedule": 300.0, "options": {"expires": 300}},
        "execute_due_refunds": {"task": "payments.tasks.execute_due_refunds", "schedule": 5.0, "options": {"expires": 20}},
        "follow_cancellations": {"task": "payments.tasks.follow_cancellations", "schedule": 5.0, "options": {"expires": 20}},
        "close_dead_letters": {"task": "payments.tasks.close_dead_letters", "schedule": 60.0, "options": {"expires": 60}},
        "watch_disputes": {"task": "payments.tasks.watch_disputes", "schedule": 600.0, "options": {"expires": 600}},
        "ask_for_orphans": {"task": "payments.tasks.ask_for_orphans", "schedule": 3600.0, "options": {"expires": 3600}},
        "release_due": {"task": "payments.tasks.release_due", "schedule": 60.0, "options": {"expires": 60}},
        "free_reserves": {"task": "payments.tasks.free_reserves", "schedule": 300.0, "options": {"expires": 300}},
        "execute_due_payouts": {"task": "payouts.tasks.execute_due_payouts", "schedule": 2.0, "options": {"expires": 10}},
        "run_due_payouts": {"task": "payouts.tasks.run_due_payouts", "schedule": 300.0, "options": {"expires": 300}},
        "send_notices": {"task": "payouts.tasks.send_notices", "schedule": 60.0, "options": {"expires": 60}},
        "watch_returns": {"task": "payouts.tasks.watch_returns", "schedule": 600.0, "options": {"expires": 600}},
        "send_receipts": {"task": "payments.tasks.send_receipts", "schedule": 15.0, "options": {"expires": 15}},
        "expire_checkouts": {"task": "payments.tasks.expire_checkouts", "schedule": 30.0, "options": {"expires": 60}},
        "take_snapshots": {"task": "payments.tasks.take_snapshots", "schedule": 300.0, "options": {"expires": 300}},
        "seal_the_books": {"task": "reconciliation.tasks.seal_the_books", "schedule": 60.0, "options": {"expires": 60}},
        "check_invariants": {"task": "reconciliation.tasks.check_invariants", "schedule": 300.0, "options": {"expires": 300}},
        "check_all_invariants": {
            "task": "reconciliation.tasks.check_all_invariants",
            "schedule": crontab(hour=3, minute=17),
            "options": {"expires": 3600},
        },
        "pick_up_files": {"task": "reconciliation.tasks.pick_up_files", "schedule": 60.0, "options": {"expires": 60}},
        "stage_files": {"task": "reconciliation.tasks.stage_files", "schedule": 15.0, "options": {"expires": 15}},
        "look_for_what_is_missing": {
            "task": "reconciliation.tasks.look_for_what_is_missing",
            "schedule": 1800.0,
            "options": {"expires": 1800},
        },
        "purge_idempotency_records": {
            "task": "wallet.tasks.purge_idempotency_records",
            "schedule": 3600.0,
            "options": {"expires": 3600},
        },
        "close_expired_approvals": {"task": "wallet.tasks.close_expired_approvals", "schedule": 3600.0, "options": {"expires": 3600}},
        "issue_fee_invoices": {
            "task": "wallet.tasks.issue_fee_invoices",  # each night: what one night missed, the next one makes up
            "schedule": crontab(hour=4, minute=23),
            "options": {"expires": 3600},
        },
        "send_login_notices": {"task": "wallet.tasks.send_login_notices", "schedule": 60.0, "options": {"expires": 60}},
        "fetch_rates": {"task": "wallet.tasks.fetch_rates", "schedule": 1800.0, "options": {"expires": 1800}},
        "expire_gift_cards": {"task": "wallet.tasks.expire_gift_cards", "schedule": 3600.0, "options": {"expires": 3600}},
        "keep_monthly_sums": {"task": "wallet.tasks.keep_monthly_sums", "schedule": 300.0, "options": {"expires": 300}},
        "deliver_webhooks": {"task": "wallet.tasks.deliver_webhooks", "schedule": 2.0, "options": {"expires": 10}},
        "purge_webhook_deliveries": {
            "task": "wallet.tasks.purge_webhook_deliveries",
            "schedule": 3600.0,
            "options": {"expires": 3600},
        },
        **{
            f"canary_{queue}": {
                "task": "reconciliation.tasks.canary",
                "schedule": CANARY_S,
                "options": {"queue": queue, "expires": 2 * CANARY_S},
            }
            for queue in QUEUES
        },
    },
)
app.autodiscover_tasks()


worker_ready.connect(hearing.watch)


@worker_init.connect
def refuse_unsafe(**_kwargs: object) -> None:
    """A worker never starts on a Postgres that may forget what it acknowledged, and never shares a connection with those it forks."""
    startup.refuse_unsafe()
    connections.close_all()
