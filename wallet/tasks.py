"""Celery's side of the wallet: what it does decides nothing, takes nothing, and may run twice or not at all."""

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from ledger import approvals, clock
from ledger.errors import DomainError
from wallet import gift_card_expiry, gift_card_tries, idempotency, invoices, login_notices, monthly, rates, rates_fetch
from wallet.notifications import delivery, relay

logger = logging.getLogger(__name__)


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


@shared_task
def close_expired_approvals() -> None:
    """Close what has waited for its second person for too long."""
    approvals.close_expired(now=clock.now())


@shared_task
def send_login_notices() -> None:
    """Send the e-mails that tell of changes of second factors, by true time as they were written."""
    while login_notices.send_due(now=timezone.now()):
        pass


@shared_task
def issue_fee_invoices() -> None:
    """Invoice the fees of the months that are over to all who are not invoiced yet; by true time, as movements are (months.py)."""
    invoices.issue_due(now=timezone.now(), by="machine")


@shared_task
def keep_monthly_sums() -> None:
    """Add up what the sellers' months came to, so that their home need not; by true time, as movements are (months.py)."""
    while monthly.keep_sums(now=timezone.now()):
        pass


@shared_task
def fetch_rates() -> None:
    """Fetch the European Central Bank's rates, if an address is set; what cannot be fetched or taken is logged, and tried again."""
    if settings.RATES_URL:
        try:
            rates.load(rates_fetch.fetch(settings.RATES_URL), by="fetched", now=clock.now())
        except (rates_fetch.RatesNotFetched, DomainError) as error:
            logger.error("no rates were taken from %s: %s", settings.RATES_URL, error)


@shared_task
def expire_gift_cards() -> None:
    """Let what is left on gift cards whose time is up expire, and forget the counts of wrong codes that are over."""
    while gift_card_expiry.expire_due(now=clock.now()):
        pass
    gift_card_tries.purge(now=clock.now())
