"""Finance's rows: what the watch over the invariants found, whoever accepted another chain of seals, and the heartbeat of each queue.

Nothing here is money.  Runs and heartbeats are written by beat's tasks; runs are deleted when they are old.
"""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class InvariantRun(models.Model):
    """One look at the invariants: when, how many were checked, and the rows that broke one.

    `seal_head` is what the next look compares the chain of seals with: the head that this one saw, or the older one that it missed.
    """

    class Scope(models.TextChoices):
        QUICK = "quick", _("Quick")
        FULL = "full", _("Full")

    scope = models.TextField(choices=Scope)
    started_at = models.DateTimeField(db_index=True)
    took_ms = models.PositiveIntegerField()
    checked = models.PositiveIntegerField()
    violations = models.JSONField(default=list, blank=True)
    seal_head = models.TextField(default="", blank=True)

    class Meta:
        verbose_name = _("invariant run")
        verbose_name_plural = _("invariant runs")

    def __str__(self) -> str:
        return f"{self.scope} run of {self.started_at:%Y-%m-%d %H:%M:%S}"


class AcceptedHead(models.Model):
    """A person's word that the chain of seals was rightly cut off or written anew: from `instead_of`, the watch goes on with `head`."""

    head = models.TextField()
    instead_of = models.TextField(db_index=True)
    accepted_by = models.TextField()
    note = models.TextField()
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("accepted head")
        verbose_name_plural = _("accepted heads")

    def __str__(self) -> str:
        return f"{self.head[:16]} instead of {self.instead_of[:16]}, by {self.accepted_by}"


class QueueHeartbeat(models.Model):
    """When a worker last worked on a queue, by Postgres' clock: the canary that beat sends through it wrote this."""

    queue = models.TextField(primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("queue heartbeat")
        verbose_name_plural = _("queue heartbeats")

    def __str__(self) -> str:
        return self.queue
