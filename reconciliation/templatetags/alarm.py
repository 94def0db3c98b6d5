"""The red banners of the admin."""

from django import template
from django.utils import timezone

from ledger import clock
from payouts import stops
from payouts.models import PayoutStop
from reconciliation import expected, matching, sftp, watch
from reconciliation.expected import Missing
from reconciliation.models import SettlementBatch, SftpSource

register = template.Library()


@register.simple_tag
def alarm() -> watch.Alarm | None:
    """Return why finance must look at once; None while all is well."""
    return watch.alarm(now=timezone.now())


@register.simple_tag
def missing_files() -> list[Missing]:
    """Return the files of PSPs and banks that should be here and are not, the oldest first."""
    return expected.missing(now=clock.now())


@register.simple_tag
def stuck_batches() -> list[SettlementBatch]:
    """Return the settlement batches that cannot be compared with our books, the oldest first."""
    return matching.stuck(now=clock.now())


@register.simple_tag
def payout_stop() -> PayoutStop | None:
    """Return the stop of all payouts that stands; None while they go."""
    return stops.active()


@register.simple_tag
def failing_servers() -> list[SftpSource]:
    """Return the sources whose files cannot be fetched over SFTP."""
    return sftp.failing()
