"""Finance's rows: what the watch over the invariants found, and the heartbeat of each queue.

Nothing here is money: rows are written by beat's tasks and may be deleted.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class InvariantRun(models.Model):
    """One look at the invariants: when, how many were checked, and the rows that broke one."""

    class Scope(models.TextChoices):
        QUICK = "quick", _("Quick")
        FULL = "full", _("Full")

    scope = models.TextField(choices=Scope)
    started_at = models.DateTimeField(db_index=True)
    took_ms = models.PositiveIntegerField()
    checked = models.PositiveIntegerField()
    violations = models.JSONField(default=list, blank=True)
    seal_head = models.TextField(default="", blank=True)

    def __str__(self) -> str:
        return f"{self.scope} run of {self.started_at:%Y-%m-%d %H:%M:%S}"


class QueueHeartbeat(models.Model):
    """When a worker last worked on a queue, by Postgres' clock: the canary that beat sends through it wrote this."""

    queue = models.TextField(primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.queue
