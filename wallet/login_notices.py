"""What a login's person is told of its second factor: a row is kept for good, and an e-mail goes to the address as it is then.

The row is written by the transaction that makes the change, and is the queue of its e-mail: claimed, sent with no transaction open, and
tried again for three days.  Whoever dies in between sends it twice.
"""

import logging
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, QuerySet
from django.template.loader import render_to_string
from django.utils import translation

from wallet.models import SecondFactorChange

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)  # longer than the mail server takes for all of a batch
SENT_AT_ONCE = 5
RETRY_AFTER_S = (60, 300, 1800, 3600, 6 * 3600)  # the last one again and again
GIVE_UP_AFTER = timedelta(hours=72)
LONGEST_REASON = 200
SUBJECTS = {
    SecondFactorChange.Kind.SET_UP: "Your login has a second factor now",
    SecondFactorChange.Kind.SWITCHED_OFF: "The second factor of your login was switched off",
    SecondFactorChange.Kind.RESET: "The second factor of your login was reset",
    SecondFactorChange.Kind.RECOVERY_CODE_USED: "Somebody logged in with one of your recovery codes",
    SecondFactorChange.Kind.RECOVERY_CODES_RENEWED: "Your login has new recovery codes",
}


def tell(user: User, kind: SecondFactorChange.Kind, *, by: str, now: datetime, reason: str = "") -> SecondFactorChange:
    """Keep what happened, and the e-mail about it, inside the caller's transaction."""
    due = now if user.email else None
    return SecondFactorChange.objects.create(
        user=user, kind=kind, by=by, reason=reason[:LONGEST_REASON], at=now, address=user.email, next_attempt_at=due
    )


def send_due(*, now: datetime) -> int:
    """Send the e-mails that are due, SENT_AT_ONCE at most; return how many were tried."""
    claimed = claim(now=now)
    for change in claimed:
        send(change, now=now)
    return len(claimed)


@transaction.atomic(durable=True)
def claim(*, now: datetime) -> list[SecondFactorChange]:
    """Take due e-mails for as long as LEASE and return them."""
    due = SecondFactorChange.objects.select_for_update(skip_locked=True, of=("self",)).filter(next_attempt_at__lte=now)
    claimed = list(due.select_related("user").order_by("next_attempt_at")[:SENT_AT_ONCE])
    SecondFactorChange.objects.filter(pk__in=[change.pk for change in claimed]).update(next_attempt_at=now + LEASE, tries=F("tries") + 1)
    for change in claimed:
        change.tries += 1
    return claimed


def send(change: SecondFactorChange, *, now: datetime) -> None:
    """Hand one e-mail to the mail server, and write down how that ended unless somebody else has claimed it meanwhile."""
    try:
        EmailMessage(SUBJECTS[SecondFactorChange.Kind(change.kind)], text_of(change), to=[change.address]).send()
    except OSError as error:  # smtplib's errors are among them; their words may hold the address
        logger.warning("notice %s to login %s was not sent: %s", change.pk, change.user_id, type(error).__name__)
        mine(change).update(next_attempt_at=next_try(change, now=now))
    else:
        mine(change).update(next_attempt_at=None, sent_at=now)


def next_try(change: SecondFactorChange, *, now: datetime) -> datetime | None:
    """Return when to try again; None, with an error in the log, when the time for it is up."""
    if now - change.at >= GIVE_UP_AFTER:
        logger.error("notice %s to login %s is given up: its mail server takes no e-mail", change.pk, change.user_id)
        return None
    return now + timedelta(seconds=RETRY_AFTER_S[min(change.tries, len(RETRY_AFTER_S)) - 1])


def mine(change: SecondFactorChange) -> QuerySet[SecondFactorChange]:
    return SecondFactorChange.objects.filter(pk=change.pk, tries=change.tries, sent_at=None)


def text_of(change: SecondFactorChange) -> str:
    with translation.override("en"):
        return render_to_string("dashboard/second_factor_changed.txt", {"change": change, "Kind": SecondFactorChange.Kind})
