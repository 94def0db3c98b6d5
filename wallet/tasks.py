"""Celery's side of the wallet: what it does decides nothing, takes nothing, and may run twice or not at all."""

from celery import shared_task

from ledger import clock
from wallet import idempotency
from wallet.notifications import delivery, relay


@shared_task
def purge_idempotency_records() -> None:
    """Forget the answers that are older than they are kept for."""
    idempotency.purge(now=clock.now())


@shared_task
def deliver_webhooks() -> None:
    """Make deliveries of what was published, and send what is due."""
    while relay.fan_out(now=clock.now()):
        pass
    delivery.send_due(clock=clock.now)


@shared_task
def purge_webhook_deliveries() -> None:
    """Forget the deliveries that arrived long ago."""
    while delivery.purge(now=clock.now()):
        pass
