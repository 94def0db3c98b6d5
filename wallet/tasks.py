"""Celery's side of the wallet: housekeeping that decides nothing and may run twice or not at all."""

from celery import shared_task
from django.utils import timezone

from wallet import idempotency


@shared_task
def purge_idempotency_records() -> None:
    """Forget the answers that are older than they are kept for."""
    idempotency.purge(now=timezone.now())
